"""Ways to break the library on purpose: each has to be noticed by the judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from decimal import Decimal
from typing import Any
from unittest.mock import patch

from papsms_async import agenda, events, lifecycle, poller, purchasing, release, tracking
from papsms_async.bucket import Bucket
from papsms_async.dispatcher import Dispatcher
from papsms_async.events import EventKind
from papsms_async.ledger import MemoryLedger
from papsms_async.lifecycle import Effect, Event, State, Step
from papsms_async.quota.tickets import LocalPermit
from papsms_async.webhook.receiver import WebhookReceiver

Mutant = Callable[[], AbstractContextManager[object]]


def finish_sent_twice() -> AbstractContextManager[object]:
    """A finish that the service has taken is sent once more."""
    call = Dispatcher.call

    async def twice(self: Dispatcher, request: Any, read: Any, **options: Any) -> Any:
        answer = await call(self, request, read, **options)
        if request.operation == "finish":
            await call(self, request, lambda _: None, **options)
        return answer

    return patch.object(Dispatcher, "call", twice)


def purchase_sent_again() -> AbstractContextManager[object]:
    """A purchase is repeated after a lost answer, like any other request."""
    return patch.object(
        Dispatcher, "_may_repeat", staticmethod(lambda request, error: error.retryable)
    )


def lost_purchase_taken_for_refused() -> AbstractContextManager[object]:
    """A lost answer counts as not bought."""
    return _row((State.SENDING, Event.ANSWER_LOST), Step(State.REFUSED, (Effect.GIVE_BACK,)))


def permit_back_too_early() -> AbstractContextManager[object]:
    """A permit returns with the answer, not a window later."""

    def cool(self: Bucket, now: float, grace: float) -> None:
        self.held -= 1

    return patch.object(Bucket, "_cool", cool)


def lost_permit_back_at_once() -> AbstractContextManager[object]:
    """A request without an answer counts as never sent."""
    return patch.object(LocalPermit, "lost", lambda self, grace=None: LocalPermit.unsent(self))


def permit_never_back() -> AbstractContextManager[object]:
    """A permit whose request was not sent stays out."""
    return patch.object(LocalPermit, "unsent", lambda self: None)


def sms_dropped() -> AbstractContextManager[object]:
    """The SMS of the last poll is overlooked."""
    after = poller.Poller._after_answer

    async def overlook(self: Any, watch: Any, status: Any, asked_at: float) -> None:
        if asked_at >= watch.timeout - 1e-6 and status.sms is not None:
            self._time_out(watch)
            return
        await after(self, watch, status, asked_at)

    return patch.object(poller.Poller, "_after_answer", overlook)


def last_poll_left_out() -> AbstractContextManager[object]:
    """The wait ends at the timeout without asking once more."""

    async def poll(self: Any, watch: Any, due: float) -> None:
        if due >= watch.start + watch.timeout - 1e-6:
            watch.task = None
            self._time_out(watch)
            return
        await original(self, watch, due)

    original = poller.Poller._poll
    return patch.object(poller.Poller, "_poll", poll)


def abandoned_purchase_kept() -> AbstractContextManager[object]:
    """What was bought for a caller that is gone is not released."""

    def abandon(self: purchasing.Order) -> None:
        if self.task is not None and not (self.on_wire or self.writing):
            self.task.cancel()

    return patch.object(purchasing.Order, "abandon", abandon)


def failed_finish_forgotten() -> AbstractContextManager[object]:
    """A finish that failed once is not tried again."""
    return _row((State.CANCELLING, Event.FINISH_FAILED), Step(State.CANCELLED, (Effect.GIVE_BACK,)))


def race_lost() -> AbstractContextManager[object]:
    """A number that can't be cancelled is taken for cancelled."""
    return _row((State.CANCELLING, Event.SMS), Step(State.CANCELLED, (Effect.GIVE_BACK,)))


def used_number_cancelled() -> AbstractContextManager[object]:
    """A number whose SMS was used is given back."""
    return _row((State.RECEIVED, Event.KEEP), Step(State.CANCELLING, (Effect.SEND_FINISH,)))


def budget_ignored() -> AbstractContextManager[object]:
    """The ledger takes every intent."""
    add = MemoryLedger.add

    async def lenient(self: MemoryLedger, entry: Any, *, limit: Any = None, **rest: Any) -> None:
        await add(self, entry, **rest)

    return patch.object(MemoryLedger, "add", lenient)


def price_misread() -> AbstractContextManager[object]:
    """The statistics count a number at half its price."""
    account = tracking.Tracked._account

    def wrong(self: Any, old: Any, effects: Any) -> None:
        before = self._shared.money.charged
        account(self, old, effects)
        self._shared.money.charged = before + (self._shared.money.charged - before) / Decimal(2)

    return patch.object(tracking.Tracked, "_account", wrong)


def place_not_given_back() -> AbstractContextManager[object]:
    """A place in flight is lost with each failed purchase."""

    def done(self: Any, order: Any, task: Any) -> None:
        self._orders.pop(order, None)

    return patch.object(purchasing.Purchasing, "_done", done)


def timer_left_behind() -> AbstractContextManager[object]:
    """The timer of the next poll outlives its activation."""
    drop = agenda.Agenda.drop

    def keep(self: Any, watch: Any) -> None:
        watch.alarm = None
        drop(self, watch)
        agenda.asyncio.get_running_loop().call_later(1e7, lambda: None)

    return patch.object(agenda.Agenda, "drop", keep)


def owed_forgotten() -> AbstractContextManager[object]:
    """What is owed is not taken on."""
    return patch.object(release.ReleaseDesk, "owe", lambda self, tracked: None)


def forged_code_believed() -> AbstractContextManager[object]:
    """Every webhook's SMS is taken at its word, also where each was to be confirmed."""
    return patch.object(WebhookReceiver, "trusts", lambda self, event: event.sms is not None)


def event_told_twice() -> AbstractContextManager[object]:
    """Listeners hear of each SMS twice."""
    publish = events.EventHub.publish

    def twice(self: events.EventHub, event: events.VerificationEvent) -> None:
        publish(self, event)
        if event.kind is EventKind.SMS_RECEIVED:
            publish(self, event)

    return patch.object(events.EventHub, "publish", twice)


@contextmanager
def _row(key: tuple[State, Event], row: Step) -> Iterator[None]:
    """Put another row into the lifecycle table."""
    with ExitStack() as stack:
        table = {**lifecycle.TABLE, key: row}
        stack.enter_context(patch.object(lifecycle, "TABLE", table))
        yield


MUTANTS: tuple[Mutant, ...] = (
    finish_sent_twice,
    purchase_sent_again,
    lost_purchase_taken_for_refused,
    permit_back_too_early,
    lost_permit_back_at_once,
    permit_never_back,
    sms_dropped,
    last_poll_left_out,
    abandoned_purchase_kept,
    failed_finish_forgotten,
    race_lost,
    used_number_cancelled,
    budget_ignored,
    price_misread,
    place_not_given_back,
    timer_left_behind,
    owed_forgotten,
    forged_code_believed,
    event_told_twice,
)
"""All of them; none is ever active outside its context."""
