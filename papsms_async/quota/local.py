"""The limiter of one process: a heap of waiters in front of a `Bucket`, and one timer.

Theory of operation
===================

All decisions are taken synchronously in `LocalQuota._pump`: while somebody waits and the bucket is
ready, the most urgent waiter gets the next permit; then *one* timer is set for the instant at which
the bucket will be ready again. The pump runs when that timer fires, when a permit comes back, and
when a ticket is drawn, so nothing is ever granted late, and a waiter is woken exactly once, with
its permit in hand.

The heap is ordered by (priority, age). A ticket that leaves or changes its priority stays in the
heap as a stale entry, told by its version; stale entries are skipped at the top, and swept out when
they are the majority, so a million waiters that give up leave nothing behind.

The clock is the event loop's; the quota is bound to the first loop that uses it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from heapq import heapify, heappop, heappush

from papsms_async.bucket import Bucket, Pace, QuotaHint
from papsms_async.limits import QuotaProfile, RateLimit
from papsms_async.quota.base import Priority, QuotaStatistics
from papsms_async.quota.refusals import PROBATION, Refusals
from papsms_async.quota.tickets import GRANTED, REFUSED, WAITING, LocalPermit, LocalTicket

_log = logging.getLogger("papsms_async.quota")

_FEW_STALE = 64


class LocalQuota:
    """Hands out the permits of one API key within one process and one event loop.

    Args:
        rate_limit: The key's limit, and how closely to follow it.
        rng: Source of the backoff's jitter; a fresh one by default.
        longest_block: Seconds up to which a Retry-After is waited out; a longer one is an error for
            everybody who wants a permit before it is over.
        lost_grace: Seconds for which a request whose answer was lost may still be on its way.
    """

    def __init__(
        self,
        rate_limit: RateLimit,
        *,
        rng: random.Random | None = None,
        longest_block: float = 300.0,
        lost_grace: float = 30.0,
    ) -> None:
        pace = Pace.of(rate_limit)
        self._rate_limit = rate_limit
        self._longest_block = longest_block
        self._lost_grace = lost_grace
        self._bucket = Bucket(pace)
        # The jitter keeps clients apart; nobody gains by guessing it.
        self._refusals = Refusals(rng or random.Random(), window=pace.window)  # noqa: S311
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heap: list[tuple[Priority, int, int, LocalTicket]] = []
        self._waiting = 0
        self._drawn = 0
        self._refusing_until = -math.inf
        # A 429 of a permit up to this number belongs to the incident that is already known.
        self._incident = 0
        self._stragglers = 0
        self._issued = self._returned = self._missing = 0
        self._rate_limited = self._fallbacks = 0

    def __repr__(self) -> str:
        bucket = self._bucket
        return (
            f"<LocalQuota {self._rate_limit} {bucket.pace.profile.value}"
            f" held={bucket.held} waiting={self._waiting}>"
        )

    # Waiting ---------------------------------------------------------------------------------

    def enqueue(self, priority: Priority = (0,)) -> LocalTicket:
        """See `papsms_async.quota.Quota.enqueue`.

        Raises:
            RuntimeError: There is no running event loop, or it is another one than before.
        """
        now = self._now()
        self._drawn += 1
        ticket = LocalTicket(self, self._drawn)
        if now < self._refusing_until:
            ticket._retry_after = self._refusing_until - now
            ticket._state = REFUSED
        elif not self._waiting and now < self._refusals.restore_at and self._ready(now):
            ticket._permit = self._issue(now)
            ticket._state = GRANTED
        else:
            heappush(self._heap, (priority, ticket._age, 0, ticket))
            self._waiting += 1
            self._pump(now)
        return ticket

    async def acquire(self, priority: Priority = (0,)) -> LocalPermit:
        """See `papsms_async.quota.Quota.acquire`."""
        return await self.enqueue(priority)

    def next_in_line(self) -> Priority | None:
        """See `papsms_async.quota.Quota.next_in_line`."""
        while self._heap and not _is_live(self._heap[0]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _now(self) -> float:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if self._loop is not None:
                raise RuntimeError(
                    "This quota belongs to another event loop: its waiters and its clock can't be"
                    " shared. Make one quota (or client) for each event loop."
                )
            self._loop = loop
        return loop.time()

    def _new_future(self) -> asyncio.Future[None]:
        self._now()  # for its check of the loop
        return asyncio.get_running_loop().create_future()

    def _reprioritise(self, ticket: LocalTicket, priority: Priority) -> None:
        ticket._version += 1
        heappush(self._heap, (priority, ticket._age, ticket._version, ticket))
        self._sweep()

    def _forget(self) -> None:
        self._waiting -= 1
        if self._waiting:
            self._sweep()
        else:
            self._heap.clear()
            self._set_timer(math.inf)

    def _sweep(self) -> None:
        stale = len(self._heap) - self._waiting
        if stale > _FEW_STALE and stale > self._waiting:
            self._heap = [entry for entry in self._heap if _is_live(entry)]
            heapify(self._heap)

    # Granting --------------------------------------------------------------------------------

    def _ready(self, now: float) -> bool:
        return self._bucket.ready_at(now) <= now

    def _issue(self, now: float) -> LocalPermit:
        self._bucket.take(now)
        self._issued += 1
        return LocalPermit(self, self._issued)

    def _pump(self, now: float) -> None:
        if now >= self._refusals.restore_at:
            self._restore(now)
        when = math.inf
        while self._waiting:
            when = self._bucket.ready_at(now)
            if when > now:
                break
            entry = heappop(self._heap)
            if _is_live(entry):
                ticket = entry[3]
                self._waiting -= 1
                ticket._permit = self._issue(now)
                ticket._wake(GRANTED)
        self._set_timer(when if self._waiting else math.inf)

    def _set_timer(self, when: float) -> None:
        timer = self._timer
        if timer is not None:
            if timer.when() == when:
                return
            timer.cancel()
            self._timer = None
        loop = self._loop
        if when < math.inf and loop is not None and not loop.is_closed():
            self._timer = loop.call_at(when, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._loop is not None:
            self._pump(self._loop.time())

    # Permits that come back ------------------------------------------------------------------

    def _back(self, number: int) -> float:
        if self._stragglers and number <= self._incident:
            self._stragglers -= 1
        return self._loop.time() if self._loop is not None else 0.0

    def _answered(self, number: int) -> None:
        now = self._back(number)
        self._bucket.answered(now)
        self._came_back(now)

    def _lost(self, number: int, grace: float | None) -> None:
        now = self._back(number)
        self._missing += 1
        self._bucket.lost(now, self._lost_grace if grace is None else max(0.0, grace))
        self._came_back(now)

    def _came_back(self, now: float) -> None:
        # It counts for another window, so a timer for an earlier instant is right as it is.
        timer = self._timer
        if self._waiting and (timer is None or timer.when() > now + self._bucket.pace.window):
            self._pump(now)

    def _unsent(self, number: int) -> None:
        now = self._back(number)
        self._returned += 1
        self._bucket.unsent()
        if self._waiting and self._loop is not None and not self._loop.is_closed():
            self._pump(now)

    # What the service says -------------------------------------------------------------------

    def rate_limited(self, retry_after: float | None) -> None:
        """See `papsms_async.quota.Quota.rate_limited`."""
        now = self._now()
        self._rate_limited += 1
        bucket = self._bucket
        fresh = not self._stragglers and not bucket.blocked_for(now)
        delay = self._refusals.delay(retry_after, fresh=fresh)
        bucket.block(now + delay)
        if fresh:
            self._incident, self._stragglers = self._issued, bucket.held
            serial = self._rate_limit.profile is QuotaProfile.SERIAL
            if not serial and self._refusals.strike(retry_after, now):
                self._fall_back(now)
        if delay > self._longest_block:
            self._refuse(now, now + delay)
        self._pump(now)

    def _refuse(self, now: float, until: float) -> None:
        self._refusing_until = max(self._refusing_until, until)
        _log.warning(
            "The service wants to be left alone for %.0f s; until then every request is refused.",
            self._refusing_until - now,
        )
        refused = [entry[3] for entry in sorted(self._heap, key=_order) if _is_live(entry)]
        self._heap.clear()
        self._waiting = 0
        for ticket in refused:
            ticket._retry_after = self._refusing_until - now
            ticket._wake(REFUSED)

    def _fall_back(self, now: float) -> None:
        self._fallbacks += 1
        self._bucket.change_pace(Pace.of(self._rate_limit, QuotaProfile.SERIAL), now)
        _log.warning(
            "The service answered 429 again although no more than %s were sent: going on with one"
            " request at a time, evenly spaced, for at least %.0f minutes. Either the service"
            " allows no bursts, or the key's limit is lower than configured, or another client uses"
            " the same key.",
            self._rate_limit,
            (self._refusals.restore_at - now) / 60,
        )

    def _restore(self, now: float) -> None:
        self._refusals.restored()
        self._bucket.change_pace(Pace.of(self._rate_limit), now)
        _log.info("No 429 for %.0f minutes or more: trying the faster pace again.", PROBATION / 60)

    def succeeded(self) -> None:
        """See `papsms_async.quota.Quota.succeeded`."""
        self._refusals.calm()

    def observe(self, hint: QuotaHint) -> None:
        """See `papsms_async.quota.Quota.observe`."""
        now = self._now()
        self._bucket.tighten(hint, now)
        if self._waiting:
            self._pump(now)

    def statistics(self) -> QuotaStatistics:
        """See `papsms_async.quota.Quota.statistics`; may be called outside the event loop."""
        now = self._loop.time() if self._loop is not None else 0.0
        bucket = self._bucket
        return QuotaStatistics(
            limit=self._rate_limit,
            profile=bucket.pace.profile,
            held=bucket.held,
            cooling=bucket.cooling(now),
            available=0 if self._waiting or now < self._refusing_until else bucket.available(now),
            waiting=self._waiting,
            blocked_for=bucket.blocked_for(now),
            granted=self._issued - self._returned,
            unsent=self._returned,
            lost=self._missing,
            rate_limited=self._rate_limited,
            fallbacks=self._fallbacks,
        )


def _is_live(entry: tuple[Priority, int, int, LocalTicket]) -> bool:
    _, _, version, ticket = entry
    return ticket._state == WAITING and ticket._version == version


def _order(entry: tuple[Priority, int, int, LocalTicket]) -> tuple[Priority, int, int]:
    return entry[:3]
