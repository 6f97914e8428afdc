"""Looks for each activation's SMS at the ages where a request gains most.

Theory of operation
===================

An activation is *watched* from the moment its caller waits for the SMS, or says that it was
requested. Its plan (`papsms_async.polling`) names the ages at which to poll, given the law of the
SMS delay and the present price of a request; the law is learned from every SMS and every timeout,
and the price follows from what is in flight and what the quota gives. When a poll is due it becomes
one request of rank POLL; until then it occupies nothing but a timer.

The last poll is at the timeout, and only its answer ends the wait: an SMS that came in time is
delivered. If the service can't be reached just then, the poll is repeated for a short grace.

Where somebody else tells of SMS too (webhooks), that is a `Net`: it makes the plan sparse while it
trusts its source. `Poller.look` asks soon where an SMS is said to be there, `Poller.deliver` hands
over one that is known already; both end in the same lifecycle event as a poll.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Protocol

import anyio
import attrs

from papsms_async.decisions import DecisionKind
from papsms_async.delays import DelayLaw
from papsms_async.dispatcher import Dispatcher, Rank
from papsms_async.errors import (
    AccountError,
    ActivationNotFoundError,
    AnswerLostError,
    PapSMSError,
    SmsTimeoutError,
)
from papsms_async.events import EventKind
from papsms_async.explaining import Look
from papsms_async.learning import DelayModel
from papsms_async.lifecycle import Event, State
from papsms_async.market import Market, plan_timeout
from papsms_async.models import ActivationStatus, Priority, Sms, Status
from papsms_async.polling import CLOSEST, give_up_age, index, poll_plan
from papsms_async.protocol import read_status, status_request
from papsms_async.tasks import OwnedTasks
from papsms_async.tracking import Shared, Tracked

_log = logging.getLogger("papsms_async")

SERVICE_END = {
    Status.CANCELLED: Event.SERVICE_CANCELLED,
    Status.EXPIRED: Event.SERVICE_EXPIRED,
    Status.COMPLETED: Event.SERVICE_COMPLETED,
}
"""What a status that ends an activation means for its lifecycle."""

GRACE_SHARE = 0.1
"""Share of the timeout for which the last poll is repeated while the service can't be reached."""
MISSES = 3
"""Polls in a row that may find no such activation before it is believed."""
_RANKS = {Priority.INTERACTIVE: Rank.POLL, Priority.BULK: Rank.BULK_POLL}
FEW = 500
"""Up to so many in flight, the price is looked at whenever it may have changed."""
_EPSILON = 1e-6


@attrs.frozen
class Waiting:
    """An activation whose SMS is awaited, at one moment.

    Attributes:
        tracked: The purchase.
        law: The law of its SMS delay.
        age: Seconds since the wait began.
        last: Age of the last poll that found no SMS, 0 if there was none.
    """

    tracked: Tracked
    law: DelayLaw
    age: float
    last: float


class Net(Protocol):
    """The polls that are left where somebody else tells of SMS: a safety net.

    All methods are called in the event loop and must be quick.
    """

    def next_look(self, law: DelayLaw, *, timeout: float, last: float) -> float | None:
        """Return the age of the next poll, ``math.inf`` for none before the timeout.

        ``None`` leaves it to the plan, as if there were no net.

        Args:
            law: The law of the SMS delay.
            timeout: Seconds after which the wait ends, after a last poll.
            last: Age of the last poll that found no SMS, 0 if there was none. The answer has to be
                a decent gap above it.
        """
        ...

    def watched(self, tracked: Tracked) -> None:
        """A wait began, or began anew."""

    def answered(self, tracked: Tracked, sms: Sms | None, *, since: float) -> None:
        """A poll was answered.

        Args:
            tracked: Whose status was asked for.
            sms: The SMS, ``None`` while there is none.
            since: Loop time before which it certainly had not come.
        """


class _Watch:
    """One activation whose SMS is awaited."""

    def __init__(self, tracked: Tracked, start: float, timeout: float) -> None:
        self.tracked = tracked
        self.start = start
        self.timeout = timeout
        self.last = 0.0
        # Age up to which the wait without SMS was learned from.
        self.learned = 0.0
        self.failures = 0
        self.misses = 0
        self.looks: list[float] = []
        self.last_error: PapSMSError | None = None
        self.alarm: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None
        self.over = False

    @property
    def grace(self) -> float:
        return max(2.0, GRACE_SHARE * self.timeout)


class Poller:
    """Watches activations until their SMS is there, or can't be any more.

    Args:
        dispatcher: Sends the polls.
        tasks: Owns the tasks that polls run in.
        shared: What the manager's parts share.
        delays: What is known of SMS delays.
        market: What a permit costs.
        supply: Requests a second that the quota gives.
        early_cancel: Chance of an SMS before the timeout that is too small to wait for; 0 waits
            for every one.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        tasks: OwnedTasks,
        shared: Shared,
        *,
        delays: DelayModel,
        market: Market,
        supply: float,
        early_cancel: float = 0.0,
    ) -> None:
        self._early_cancel = early_cancel
        self.delays = delays
        self.market = market
        self.net: Net | None = None
        self._dispatcher = dispatcher
        self._tasks = tasks
        self._shared = shared
        self._watches: dict[Tracked, _Watch] = {}
        self._laws: dict[tuple[str, str], DelayLaw] = {}
        self._in_line: set[asyncio.Task[None] | None] = set()
        self._news = False
        # A few looks at the price per time in which the quota gives a handful of permits.
        self._interval = min(1.0, max(0.05, 1.0 / supply))
        self._tick_alarm: asyncio.TimerHandle | None = None

    @property
    def due(self) -> int:
        """How many looks wait for a permit."""
        return len(self._in_line)

    @property
    def watched(self) -> int:
        """How many activations wait for their SMS."""
        return len(self._watches)

    def watch(self, tracked: Tracked, timeout: float) -> None:
        """Begin to look for the SMS of ``tracked``; a second call changes nothing.

        Args:
            tracked: A purchase in state WAITING; its ``wait_over`` is set at the end.
            timeout: Seconds from now to wait at most; less if the number expires before.
        """
        if tracked in self._watches or tracked.wait_over.is_set():
            return
        left = (tracked.activation.expires_at - self._shared.clock()).total_seconds()
        purchased = tracked.purchased_at or tracked.entry.created_at
        # A number can't be bought expired: such an instant is a wrong clock, theirs or ours.
        if tracked.activation.expires_at > purchased:
            timeout = max(_EPSILON, min(timeout, left))
        watch = _Watch(tracked, asyncio.get_running_loop().time(), timeout)
        self._watches[tracked] = watch
        self._shared.publish(
            EventKind.WAITING_FOR_SMS,
            tracked.request,
            intent_id=tracked.entry.intent_id,
            activation=tracked.activation,
        )
        self._ensure_tick()
        if self.net is not None:
            self.net.watched(tracked)
        self._schedule(watch)

    def look(self, tracked: Tracked, *, after: float = 0.0) -> None:
        """An SMS is said to be there: poll in ``after`` seconds, or as soon as may be after that.

        A poll that is asked later than that anyway is that look. Without effect where nobody waits.
        """
        watch = self._watches.get(tracked)
        if watch is not None:
            watch.looks.append(self._age(watch) + after)
            self._schedule(watch)

    async def deliver(self, tracked: Tracked, sms: Sms, *, told_at: datetime | None = None) -> None:
        """The SMS is known without a poll: stop to look for it, and hand it over.

        Args:
            tracked: Whose SMS it is.
            sms: The SMS.
            told_at: When it became known (UTC), for the law of the delay where the SMS itself does
                not say when it came.
        """
        watch = self._watches.get(tracked)
        if watch is not None:
            at = sms.received_at or told_at
            self._learn_arrival(watch, attrs.evolve(sms, received_at=at))
            self._drop(watch)
        await tracked.apply(Event.SMS, sms=sms)

    def waiting(self) -> Iterator[Waiting]:
        """Give everything that is watched, oldest watch first."""
        for watch in self._watches.values():
            law = self._law(watch.tracked)
            yield Waiting(watch.tracked, law, self._age(watch), watch.last)

    def replan(self) -> None:
        """Plan every poll anew: the price is another one, or the net changed its mind."""
        for watch in tuple(self._watches.values()):
            if watch.failures == 0:
                self._recall(watch)
                self._schedule(watch)

    def _recall(self, watch: _Watch) -> None:
        """Take a poll back that still waits for its permit and is not due any more."""
        task = watch.task
        if (
            task is not None
            and task in self._in_line
            and self._age(watch) < self._due(watch) - _EPSILON
        ):
            task.cancel()
            watch.task = None

    def restart(self, tracked: Tracked, timeout: float) -> None:
        """The SMS was requested just now: count its age, and the timeout, from here."""
        watch = self._watches.get(tracked)
        if watch is None:
            self.watch(tracked, timeout)
        else:
            self._drop(watch)
            self.watch(tracked, timeout)

    def unwatch(self, tracked: Tracked) -> None:
        """Nobody waits any more; a poll that waits for its permit is withdrawn."""
        watch = self._watches.get(tracked)
        if watch is not None:
            self._drop(watch)

    def _age(self, watch: _Watch) -> float:
        return asyncio.get_running_loop().time() - watch.start

    def _law(self, tracked: Tracked) -> DelayLaw:
        return self.delays.law(tracked.entry.service, tracked.entry.country)

    def _schedule(self, watch: _Watch, *, not_before: float = 0.0) -> None:
        if watch.over or watch.task is not None:
            return
        if watch.alarm is not None:
            watch.alarm.cancel()
        age = max(self._due(watch), min(not_before, watch.timeout + watch.grace))
        watch.alarm = asyncio.get_running_loop().call_at(
            watch.start + age, self._launch, watch, watch.start + age
        )

    def _due(self, watch: _Watch) -> float:
        """Return the age at which its next poll is due at the present price."""
        law, due = self._law(watch.tracked), None
        timeout = self._last_age(watch)
        if self.net is not None:
            due = self.net.next_look(law, timeout=timeout, last=watch.last)
        if due is None:
            price = self.market.price_for(watch.tracked.priority)
            plan = poll_plan(law, price, plan_timeout(timeout))
            due = plan.next_poll(watch.last)
        age = timeout if due is None else min(due, timeout)
        return min([age, *watch.looks])

    def _last_age(self, watch: _Watch) -> float:
        """Return the age at which a poll without SMS is the last."""
        entry = watch.tracked.entry
        if not self._early_cancel or self.delays.is_thin(entry.service, entry.country):
            return watch.timeout
        return give_up_age(self._law(watch.tracked), self._early_cancel, watch.timeout)

    def _launch(self, watch: _Watch, due: float) -> None:
        watch.alarm = None
        if watch.over or watch.task is not None:
            return
        watch.task = task = self._tasks.spawn(self._poll(watch, due), name="papsms poll")
        # By the task and not inside it: one that is cancelled before its first step never runs.
        self._in_line.add(task)
        task.add_done_callback(self._in_line.discard)

    async def _poll(self, watch: _Watch, due: float) -> None:
        tracked = watch.tracked
        asked_at = watch.last
        looks: list[float] = []
        loop = asyncio.get_running_loop()

        def granted() -> None:
            self._in_line.discard(asyncio.current_task())
            look = None
            if self._shared.explainer.view is not None:
                look = Look(
                    price=self.market.price_for(tracked.priority),
                    age=self._age(watch),
                    last=watch.last,
                    due=due - watch.start,
                    timeout=watch.timeout,
                )
            tracked.granted(DecisionKind.POLL, due, look)

        async def permitted() -> None:
            nonlocal asked_at
            asked_at = self._age(watch)
            looks[:] = [age for age in watch.looks if age <= asked_at + _EPSILON]
            watch.looks = [age for age in watch.looks if age > asked_at + _EPSILON]
            if asked_at < watch.timeout - _EPSILON:
                # One that hangs must not take the last poll's place: that one is asked after the
                # timeout, so only its answer tells all.
                scope.deadline = watch.start + watch.timeout + watch.grace / 2

        # However long the queue or a block of the key: the wait for the SMS has an end.
        limit = max(watch.start + watch.timeout, loop.time()) + watch.grace
        try:
            with anyio.fail_after(limit - loop.time()) as scope:
                status = await self._dispatcher.call(
                    status_request(tracked.activation.activation_id),
                    partial(read_status, activation_id=tracked.activation.activation_id),
                    rank=_RANKS[tracked.priority],
                    due=due,
                    # An SMS that nobody looks for in time is money lost.
                    urgent_at=watch.start + watch.timeout,
                    attempts=1,
                    granted=granted,
                    prepare=permitted,
                )
        except PapSMSError as error:
            watch.task = None
            watch.looks += looks  # it is still to be looked
            self._after_failure(watch, error)
        except TimeoutError:
            watch.task = None
            if loop.time() < limit - _EPSILON:
                # It has waited long enough: without a pause, so that nobody goes before it.
                watch.last_error = AnswerLostError("No answer came before the timeout.")
                self._schedule(watch)
            else:
                self._time_out(watch)
        except Exception as error:
            # A defect must not make a wait endless.
            watch.task = None
            _log.error("a poll failed with %s", type(error).__name__)
            self._after_failure(watch, PapSMSError("The status can't be read."))
        else:
            watch.failures = watch.misses = 0
            watch.task = None
            await self._after_answer(watch, status, asked_at)

    async def _after_answer(self, watch: _Watch, status: ActivationStatus, asked_at: float) -> None:
        tracked = watch.tracked
        if watch.over and tracked.wait_over.is_set():
            return
        if status.sms is not None:
            self._learn_arrival(watch, status.sms)
            self._drop(watch)
            if self.net is not None:
                self.net.answered(tracked, status.sms, since=watch.start + watch.last)
            # If the caller left meanwhile, the purchase is being released and the table knows what
            # an SMS means there.
            await tracked.apply(Event.SMS, sms=status.sms)
            return
        if watch.over:
            return
        if status.is_over:
            self._drop(watch)
            if tracked.state is State.WAITING:
                await tracked.apply(SERVICE_END[Status(status.status)], reason="seen in its status")
            return
        watch.last = max(watch.last, asked_at)
        self._learn_waiting(watch)
        if self.net is not None:
            self.net.answered(tracked, None, since=watch.start + watch.last)
        self._shared.publish(
            EventKind.POLLED,
            tracked.request,
            intent_id=tracked.entry.intent_id,
            activation=tracked.activation,
            detail=status.status,
        )
        if asked_at >= self._last_age(watch) - _EPSILON:
            self._time_out(watch)
        else:
            self._schedule(watch)

    def _after_failure(self, watch: _Watch, error: PapSMSError) -> None:
        if watch.over:
            return
        watch.last_error = error
        watch.failures += 1
        age = self._age(watch)
        if isinstance(error, ActivationNotFoundError):
            watch.misses += 1
        if isinstance(error, AccountError) or watch.misses >= MISSES:
            self._drop(watch)
            watch.tracked.fail_wait(error)
        elif age >= watch.timeout + watch.grace - _EPSILON:
            self._time_out(watch)
        else:
            # At short timeouts everything is on a smaller scale, down to a bound: a number that
            # expires within a moment has next to no timeout left, but its grace all the same.
            first = min(1.0, max(watch.timeout / 60, watch.grace / 100))
            pause = first * 2.0 ** min(watch.failures - 1, 4)
            self._schedule(watch, not_before=age + pause)

    def _time_out(self, watch: _Watch) -> None:
        if watch.over:
            return
        tracked = watch.tracked
        # After a last answer, up to there; without one, nothing more is known than before it.
        waited = min(watch.timeout, self._age(watch))
        early = watch.last < watch.timeout - _EPSILON and waited < watch.timeout - _EPSILON
        self._learn(watch, watch.last if early else watch.timeout, arrived=False)
        self._drop(watch)
        reason = f"No SMS came within {waited:.4g} s."
        if early:
            reason += " Hardly one comes after that, so the number is given back early."
        error = SmsTimeoutError(reason)
        error.__cause__ = watch.last_error
        tracked.fail_wait(error)
        self._shared.publish(
            EventKind.TIMED_OUT,
            tracked.request,
            intent_id=tracked.entry.intent_id,
            activation=tracked.activation,
        )

    def _drop(self, watch: _Watch) -> None:
        watch.over = True
        if watch.alarm is not None:
            watch.alarm.cancel()
            watch.alarm = None
        if watch.task is not None and watch.task is not asyncio.current_task():
            watch.task.cancel()
        if self._watches.get(watch.tracked) is watch:
            del self._watches[watch.tracked]

    # Learning ------------------------------------------------------------------------------------

    def _learn_waiting(self, watch: _Watch) -> None:
        entry = watch.tracked.entry
        self.delays.observe_waiting(
            entry.service, entry.country, low=watch.learned, high=watch.last, at=self._now()
        )
        watch.learned = watch.last

    def _learn(self, watch: _Watch, age: float, *, arrived: bool) -> None:
        entry = watch.tracked.entry
        self.delays.observe(
            entry.service,
            entry.country,
            age=age,
            arrived=arrived,
            at=self._now(),
            since=watch.learned,
        )

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _learn_arrival(self, watch: _Watch, sms: Sms) -> None:
        # Since the last poll without SMS and before now: that much is certain.
        low, high = watch.last, max(self._age(watch), watch.last + _EPSILON)
        if sms.received_at is not None:
            ago = (self._shared.clock() - sms.received_at).total_seconds()
            earliest = self._age(watch) - ago
            # Instants without a fraction are cut off to whole seconds.
            latest = earliest + (0.0 if sms.received_at.microsecond else 1.0)
            # Where the service's clock contradicts what is certain, it is not believed.
            if earliest <= high and latest >= low:
                low, high = max(low, earliest), min(high, latest)
        entry = watch.tracked.entry
        if high - low <= _EPSILON:
            self._learn(watch, high, arrived=True)
        else:
            self.delays.observe_interval(
                entry.service,
                entry.country,
                low=low,
                high=high,
                at=self._now(),
                since=watch.learned,
            )

    # The price -----------------------------------------------------------------------------------

    def line_changed(self) -> None:
        """Purchases came or went: the price may be another one."""
        if self._watches and not self._news:
            self._news = True
            asyncio.get_running_loop().call_soon(self._look_at_news)

    def _look_at_news(self) -> None:
        self._news = False
        # Thousands in flight don't feel one purchase more, and looking at them costs.
        if self._watches and len(self._watches) < FEW:
            self._revalue()

    def _ensure_tick(self) -> None:
        if self._tick_alarm is None:
            # With thousands in flight, looking less often costs nothing and saves much.
            interval = self._interval * max(1.0, len(self._watches) / FEW)
            self._tick_alarm = asyncio.get_running_loop().call_later(interval, self._tick)

    def _tick(self) -> None:
        self._tick_alarm = None
        if self._watches:
            self._ensure_tick()
            self._revalue()
            self._use_idle_permit()

    def _use_idle_permit(self) -> None:
        """Look where it gains most, although it is not due, with a permit that would be lost.

        Permits can't be saved up: the bucket holds a few, of which one stays for whoever comes.
        """
        quota = self._dispatcher.quota.statistics()
        if self.net is not None or len(self._watches) >= FEW:
            return
        if quota.waiting or quota.available < 2:
            return
        now, best, most = self._now(), None, 0.0
        for watch in self._watches.values():
            age = now - watch.start
            closest = min(CLOSEST, watch.timeout / 120)
            if watch.task is not None or watch.failures or age < watch.last + closest:
                continue
            gain = index(self._law(watch.tracked), watch.last, age)
            if gain > most:
                best, most = watch, gain
        if best is not None:
            if best.alarm is not None:
                best.alarm.cancel()
            self._launch(best, now)

    def _revalue(self) -> None:
        now = asyncio.get_running_loop().time()
        flying = (
            (self._law(w.tracked), w.timeout, now - w.start, w.tracked.priority)
            for w in self._watches.values()
        )
        changed = self.market.update(flying, due=len(self._in_line))
        laws = {(w.tracked.entry.service, w.tracked.entry.country) for w in self._watches.values()}
        known = {pair: self.delays.law(*pair) for pair in laws}
        if changed or known != self._laws:
            self._laws = known
            self.replan()

    def close(self) -> None:
        """Stop all timers; what is still watched stays undecided."""
        if self._tick_alarm is not None:
            self._tick_alarm.cancel()
            self._tick_alarm = None
        for watch in tuple(self._watches.values()):
            self._drop(watch)
