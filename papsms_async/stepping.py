"""One short step at a time, for job engines: ``advance(intent_id) -> seconds | None``.

A job that sleeps twenty minutes blocks a worker and dies with it. A job engine that has a queue and
a clock rather runs one step, reads the seconds until the next is due, and schedules that; any
worker on the same ledger may run it. Between two steps nobody holds the purchase.

The step depends on where the purchase stands: a poll while it waits (the answer's seconds come from
the poll plan), nothing but a pause of zero when the SMS came, so that the caller can read it from
the ledger, then the finish. It ends with ``None``.

Steps go as bulk does, at its price, and give a number back early where the manager does.
"""

from __future__ import annotations

import asyncio
from functools import partial

from papsms_async.decisions import DecisionKind
from papsms_async.dispatcher import Dispatcher, Rank
from papsms_async.errors import ActivationNotFoundError, ConfigurationError, PapSMSError
from papsms_async.handover import owner_of
from papsms_async.hearing import Hearing
from papsms_async.ledger import LedgerEntry
from papsms_async.lifecycle import OPEN, SERVICE_END, Event, State
from papsms_async.models import Status
from papsms_async.observing import Observer
from papsms_async.poll_times import PollTimes
from papsms_async.protocol import read_status, status_request
from papsms_async.recovery import request_of
from papsms_async.release import ReleaseDesk
from papsms_async.tracking import Shared, Tracked
from papsms_async.verification import Priority
from papsms_async.watch import Watch

STEP_OF_OTHERS = 1.0
"""Seconds until the next step of a purchase that this process buys or a flow of it holds."""
AFTER_FAILURE = 5.0
"""Seconds until the next step after one that the service did not answer."""


class _Nobody:
    """Takes on no finish: the next step does it."""

    def owe(self, tracked: Tracked) -> None:
        """Do nothing."""


class Stepper:
    """Carries out single steps.

    Args:
        dispatcher: Sends the requests.
        shared: What the manager's parts share.
        desk: Knows how to finish.
        times: Knows the ages of polls.
        sms_timeout: Seconds to wait for an SMS.
        hearing: Knows what webhooks told; ``None`` where there are none.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        shared: Shared,
        desk: ReleaseDesk,
        times: PollTimes,
        *,
        sms_timeout: float,
        hearing: Hearing | None = None,
    ) -> None:
        self._dispatcher = dispatcher
        self._shared = shared
        self._desk = desk
        self._times = times
        self._observer = Observer(times.delays, shared.clock)
        self._sms_timeout = sms_timeout
        self._hearing = hearing

    async def advance(self, intent_id: str) -> float | None:
        """See `ActivationManager.advance`."""
        ledger = self._shared.ledger
        owner, lease = owner_of(self._shared)
        taken = await ledger.claim(owner, lease=lease, states=OPEN, intent_ids=(intent_id,))
        if not taken:
            return self._pause_of(await ledger.get(intent_id), lease)
        tracked = Tracked(
            taken[0],
            request_of(taken[0]),
            self._shared,
            _Nobody(),
            counted=False,
            priority=Priority.BULK,
        )
        try:
            pause = await self._step(tracked)
        finally:
            await ledger.release_leases(owner, intent_id=intent_id)
        return pause if tracked.state in OPEN else None

    def _pause_of(self, entry: LedgerEntry | None, lease: float) -> float | None:
        if entry is None:
            raise ConfigurationError("The ledger has no purchase of this intent id.")
        if entry.state not in OPEN:
            return None
        if entry.lease_until is None:
            return 0.0
        left = (entry.lease_until - self._shared.clock()).total_seconds()
        return min(max(0.0, left), lease)

    async def _step(self, tracked: Tracked) -> float:
        match tracked.state:
            case State.SENDING:
                await tracked.apply(Event.ANSWER_LOST, reason="left behind by an earlier process")
            case State.WAITING:
                return await self._poll(tracked)
            case State.RECEIVED:
                await tracked.apply(Event.KEEP)
                return await self._finish(tracked)
            case _:
                return await self._finish(tracked)
        return 0.0

    async def _finish(self, tracked: Tracked) -> float:
        _, pause = await self._desk.attempt(tracked)
        return pause.seconds

    async def _poll(self, tracked: Tracked) -> float:
        watch = self._watch(tracked)
        activation_id = tracked.entry.activation_id or ""
        # Before it is asked: what comes while the request waits is for the next step to find.
        age = max(0.0, watch.age())
        if self._hearing is not None:
            known = await self._hearing.known_sms(activation_id)
            if known is not None:
                sms, told_at = known
                self._observer.arrived(watch, sms, told_at=told_at)
                await tracked.apply(Event.SMS, sms=sms)
                return 0.0
        try:
            status = await self._dispatcher.call(
                status_request(activation_id),
                partial(read_status, activation_id=activation_id),
                rank=Rank.BULK_POLL,
                attempts=1,
                granted=partial(tracked.granted, DecisionKind.POLL),
                prepare=tracked.ensure_ours,
            )
        except PapSMSError as error:
            if isinstance(error, ActivationNotFoundError) and tracked.is_gone(error):
                await tracked.apply(Event.SERVICE_EXPIRED, reason="the service does not know it")
                return 0.0
            return max(AFTER_FAILURE, error.retry_after or 0.0)
        if status.sms is not None:
            self._observer.arrived(watch, status.sms)
            await tracked.apply(Event.SMS, sms=status.sms)
            return 0.0
        if status.is_over:
            await tracked.apply(SERVICE_END[Status(status.status)], reason="seen in its status")
            return 0.0
        timeout = self._times.last_age(tracked, self._sms_timeout)
        if age >= timeout:
            self._observer.gave_up(watch, age)
            await tracked.apply(Event.RELEASE, reason="no SMS in time")
            return 0.0
        due = self._times.next_age(tracked, last=age, timeout=timeout)
        return max(0.0, due - watch.age())

    def _watch(self, tracked: Tracked) -> Watch:
        """Return the wait for its SMS as this step sees it; none knows of the polls before."""
        # Nothing moves a waiting purchase but the purchase itself: that was when it was bought.
        age = (self._shared.clock() - tracked.entry.updated_at).total_seconds()
        start = asyncio.get_running_loop().time() - age
        return Watch(tracked, start, self._sms_timeout, grace=0.0)
