"""Looks for each activation's SMS at the ages where a request gains most.

Theory of operation
===================

An activation is *watched* from the moment its caller waits for the SMS, or says that it was
requested (`papsms_async.watch`). At which ages it is polled follows from the law of the SMS delay
and the present price of a request (`papsms_async.poll_times`). Until a poll is due it occupies
nothing but a timer (`papsms_async.agenda`); then it is one request (`papsms_async.asking`). What it
finds teaches the law (`papsms_async.observing`), and when the law or the price has changed,
everything is planned anew (`papsms_async.repricing`).

The last poll is at the timeout, and only its answer ends the wait: an SMS that came in time is
delivered. If the service can't be reached just then, the poll is repeated for a short grace.

Where somebody else tells of SMS too (webhooks), that is the agenda's net: it makes the plan sparse
while it trusts its source. `Poller.look` asks soon where an SMS is said to be there,
`Poller.deliver` hands over one that is known already; both end in the same lifecycle event as a
poll.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from math import inf

from papsms_async.agenda import Agenda
from papsms_async.asking import PollOverdueError, WaitEndedError, ask
from papsms_async.decisions import DecisionKind
from papsms_async.dispatcher import Dispatcher
from papsms_async.errors import (
    AccountError,
    ActivationNotFoundError,
    PapSMSError,
    SmsTimeoutError,
)
from papsms_async.events import EventKind
from papsms_async.explaining import Look
from papsms_async.lifecycle import SERVICE_END, Event, State
from papsms_async.models import ActivationStatus, Sms, Status
from papsms_async.observing import Observer
from papsms_async.poll_times import PollTimes
from papsms_async.running_line import RunningLine
from papsms_async.tasks import OwnedTasks
from papsms_async.tracking import Shared, Tracked
from papsms_async.watch import EPSILON, Waiting, Watch, grace_of

_log = logging.getLogger("papsms_async")

MISSES = 3
"""Polls in a row that may find no such activation before it is believed."""


class Poller:
    """Watches activations until their SMS is there, or can't be any more.

    Args:
        dispatcher: Sends the polls.
        line: Where they wait for permits.
        tasks: Owns the tasks that polls run in.
        shared: What the manager's parts share.
        times: Knows the ages of polls.
        supply: Permits a second.

    Attributes:
        agenda: Who is polled when.
        on_watch: Called when an activation is watched from now on.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        line: RunningLine,
        tasks: OwnedTasks,
        shared: Shared,
        *,
        times: PollTimes,
        supply: float,
    ) -> None:
        self.times = times
        self._supply = supply
        self.agenda = Agenda(tasks, times, self._poll)
        self.on_watch: Callable[[], None] = lambda: None
        self._dispatcher = dispatcher
        self._line = line
        self._shared = shared
        self._observer = Observer(times.delays, shared.clock)

    @property
    def due(self) -> int:
        """How many looks wait for a permit."""
        return self.agenda.in_line

    @property
    def watched(self) -> int:
        """How many activations wait for their SMS."""
        return len(self.agenda.watches)

    def waiting(self) -> Iterator[Waiting]:
        """Give everything that is watched, oldest watch first."""
        for watch in self.agenda.watches:
            law = self.times.law(watch.tracked)
            yield Waiting(watch.tracked, law, watch.age(), watch.last)

    def watch(self, tracked: Tracked, timeout: float) -> None:
        """Begin to look for the SMS of ``tracked``; a second call changes nothing.

        Args:
            tracked: A purchase in state WAITING; its ``wait_over`` is set at the end.
            timeout: Seconds from now to wait at most; less if the number expires before.
        """
        if self.agenda.get(tracked) or tracked.wait_over.is_set():
            return
        left = (tracked.activation.expires_at - self._shared.clock()).total_seconds()
        purchased = tracked.purchased_at or tracked.entry.created_at
        # A number can't be bought expired: such an instant is a wrong clock, theirs or ours.
        if tracked.activation.expires_at > purchased:
            timeout = max(EPSILON, min(timeout, left))
        now = asyncio.get_running_loop().time()
        watch = Watch(tracked, now, timeout, grace_of(timeout, self._supply))
        self.agenda.add(watch)
        self._publish(EventKind.WAITING_FOR_SMS, tracked)
        self.on_watch()
        if self.agenda.net is not None:
            self.agenda.net.watched(tracked)
        self.agenda.schedule(watch)

    def restart(self, tracked: Tracked, timeout: float) -> None:
        """The SMS was requested just now: count its age, and the timeout, from here."""
        self.unwatch(tracked)
        self.watch(tracked, timeout)

    def unwatch(self, tracked: Tracked) -> None:
        """Nobody waits any more; a poll that waits for its permit is withdrawn."""
        watch = self.agenda.get(tracked)
        if watch is not None:
            self.agenda.drop(watch)

    def look(self, tracked: Tracked, *, after: float = 0.0) -> None:
        """An SMS is said to be there: poll in ``after`` seconds, or as soon as may be after that.

        A poll that is asked later than that anyway is that look. Without effect where nobody waits.
        """
        watch = self.agenda.get(tracked)
        if watch is not None:
            watch.looks.append(watch.age() + after)
            self.agenda.schedule(watch)

    async def deliver(self, tracked: Tracked, sms: Sms, *, told_at: datetime | None = None) -> None:
        """The SMS is known without a poll: stop to look for it, and hand it over.

        Args:
            tracked: Whose SMS it is.
            sms: The SMS.
            told_at: When it became known (UTC), for the law of the delay where the SMS itself does
                not say when it came.
        """
        watch = self.agenda.get(tracked)
        if watch is not None:
            self._observer.arrived(watch, sms, told_at=told_at)
            self.agenda.drop(watch)
        await tracked.apply(Event.SMS, sms=sms)

    def replan(self) -> None:
        """Plan every poll anew: the price is another one, or the net changed its mind."""
        self.agenda.replan()

    def close(self) -> None:
        """Stop all timers; what is still watched stays undecided."""
        for watch in tuple(self.agenda.watches):
            self.agenda.drop(watch)

    # One poll ------------------------------------------------------------------------------------

    async def _poll(self, watch: Watch, due: float) -> None:
        try:
            answer = await ask(
                self._dispatcher,
                self._line,
                watch,
                due,
                cost=partial(self._delay_cost, watch),
                granted=partial(self._granted, watch, due),
            )
        except WaitEndedError:
            watch.task = None
            self._time_out(watch)
        except PollOverdueError as error:
            # It has waited long enough: without a pause, so that nobody goes before it.
            watch.task = None
            watch.last_error = error
            self.agenda.schedule(watch)
        except PapSMSError as error:
            watch.task = None
            self._after_failure(watch, error)
        except Exception as error:
            # A defect must not make a wait endless.
            watch.task = None
            _log.error("a poll failed with %s", type(error).__name__)
            self._after_failure(watch, PapSMSError("The status can't be read."))
        else:
            watch.failures = watch.misses = 0
            watch.task = None
            await self._after_answer(watch, answer.status, answer.asked_at)

    def _delay_cost(self, watch: Watch) -> float:
        """Return what it costs now that a poll which is due waits, in seconds of SMS a second."""
        age = watch.age()
        last_age = self.agenda.last_age(watch)
        if age >= last_age:
            return inf
        if any(look <= age for look in watch.looks):
            # An SMS is said to be there.
            return self.times.market.weight(watch.tracked.priority)
        return self.times.delay_cost(
            watch.tracked, last=watch.last, age=age, timeout=last_age, wait=1.0 / self._supply
        )

    def _granted(self, watch: Watch, due: float) -> None:
        self.agenda.permitted()
        look = None
        if self._shared.explainer.view is not None:
            look = Look(
                price=self.times.market.price_for(watch.tracked.priority),
                delay_cost=self._delay_cost(watch),
                age=watch.age(),
                last=watch.last,
                due=due - watch.start,
                timeout=watch.timeout,
            )
        watch.tracked.granted(DecisionKind.POLL, due, look)

    async def _after_answer(self, watch: Watch, status: ActivationStatus, asked_at: float) -> None:
        tracked = watch.tracked
        if watch.over and tracked.wait_over.is_set():
            return
        if status.sms is not None:
            self._observer.arrived(watch, status.sms)
            self.agenda.drop(watch)
            if self.agenda.net is not None:
                self.agenda.net.answered(tracked, status.sms, since=watch.start + watch.last)
            # If the caller left meanwhile, the purchase is being released and the table knows what
            # an SMS means there.
            await tracked.apply(Event.SMS, sms=status.sms)
            return
        if watch.over:
            return
        if status.is_over:
            self.agenda.drop(watch)
            if tracked.state is State.WAITING:
                await tracked.apply(SERVICE_END[Status(status.status)], reason="seen in its status")
            return
        watch.last = max(watch.last, asked_at)
        self._observer.waiting(watch)
        if self.agenda.net is not None:
            self.agenda.net.answered(tracked, None, since=watch.start + watch.last)
        self._publish(EventKind.POLLED, tracked, status.status)
        if asked_at >= self.agenda.last_age(watch) - EPSILON:
            self._time_out(watch)
        else:
            self.agenda.schedule(watch)

    def _after_failure(self, watch: Watch, error: PapSMSError) -> None:
        if watch.over:
            return
        watch.last_error = error
        watch.failures += 1
        age = watch.age()
        if isinstance(error, ActivationNotFoundError):
            watch.misses += 1
        if isinstance(error, AccountError) or watch.misses >= MISSES:
            self.agenda.drop(watch)
            watch.tracked.fail_wait(error)
        elif age >= watch.timeout + watch.grace - EPSILON:
            self._time_out(watch)
        else:
            self.agenda.schedule(watch, not_before=age + watch.pause_after_failure())

    def _time_out(self, watch: Watch) -> None:
        if watch.over:
            return
        tracked = watch.tracked
        # After a last answer, up to there; without one, nothing more is known than before it.
        waited = min(watch.timeout, watch.age())
        early = watch.last < watch.timeout - EPSILON and waited < watch.timeout - EPSILON
        self._observer.gave_up(watch, min(watch.last, watch.timeout))
        self.agenda.drop(watch)
        reason = f"No SMS came within {waited:.4g} s."
        if early:
            reason += " Hardly one comes after that, so the number is given back early."
        error = SmsTimeoutError(reason)
        error.__cause__ = watch.last_error
        tracked.fail_wait(error)
        self._publish(EventKind.TIMED_OUT, tracked)

    def _publish(self, kind: EventKind, tracked: Tracked, detail: str | None = None) -> None:
        self._shared.publish(
            kind,
            tracked.request,
            intent_id=tracked.entry.intent_id,
            activation=tracked.activation,
            detail=detail,
        )
