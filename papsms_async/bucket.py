"""When the next request may be sent: the arithmetic of the quota, without a clock of its own.

Theory of operation
===================

The service allows N requests in any W0 seconds, counted where they *arrive*. Two rules together
keep a client under that, whatever kind of window the service uses.

**The window guard** is a proof. A permit is taken before a request is sent and stays taken until W
seconds after its answer was received, W > W0. Take any closed window [x, x + W0] at the server and
let j be the request that was sent last among those that arrive in it. For every other one, i,

    s_j <= a_j <= x + W0 <= a_i + W0 < a_i + W <= r_i + W        (sent, arrived, answer received)

so at s_j all of them still hold a permit, and there are only N. Delays, jitter and reordering do
not occur in the argument. A limiter that counts *sending* times has no such argument: two requests
that were sent W0 apart arrive closer together when the first is delayed more than the second. When
an answer is lost, nothing is known but that the request arrived before ``grace`` had passed, so its
permit comes back after ``grace + W``.

**Pacing** is a token bucket of ``burst`` tokens filled at ``rate``. With burst + rate * W <= N it
satisfies the servers that the guard alone does not: counters that assume an even spread, logs in
whole seconds, buckets smaller than N. And the burst of a start does not spend the whole minute at
once. The bucket is kept as one instant, ``_full_at``, at which it will be full again.

Three more rules may only delay a permit: a block after a 429, hints from ``RateLimit`` headers, and
in the serial profile the spacing after each answer.
"""

from __future__ import annotations

import math
from heapq import heappop, heappush

import attrs

from papsms_async.limits import QuotaProfile, RateLimit

EPSILON = 1e-6
"""Seconds within which two instants count as the same. Far above the rounding errors of a clock's
reading (1e-9 s after months), far below every margin, so the proof does not notice it."""

TICK = 0.05
"""Seconds that a timer may come late on an ordinary machine. The burst covers as much, or limits
of many requests a second could not be reached."""

_LONGEST_FRONT = 32


@attrs.frozen
class QuotaHint:
    """What an answer's ``RateLimit`` headers say.

    Attributes:
        remaining: Requests that are left, or ``None`` where it is not said.
        reset_after: Seconds until the count starts anew, or ``None`` where it is not said.
    """

    remaining: int | None = None
    reset_after: float | None = None


@attrs.frozen(kw_only=True)
class Pace:
    """A rate limit and a profile, as the numbers that the bucket works with.

    Attributes:
        profile: The profile that they are for.
        limit: N, how many permits may be held or cooling at once.
        window: W, seconds for which a permit is kept after its answer.
        burst: Permits that may be granted at once after a pause.
        rate: Permits a second in the long run, above 0.
        spacing: Seconds from an answer to the next permit, one permit at a time; 0 for no such
            rule.
    """

    profile: QuotaProfile
    limit: int
    window: float
    burst: int
    rate: float
    spacing: float = 0.0

    @classmethod
    def of(cls, rate_limit: RateLimit, profile: QuotaProfile | None = None) -> Pace:
        """Work out the numbers for ``rate_limit``, with ``profile`` in place of its own if given.

        Saturated, at 60 requests in 60 s: STEADY 57 a minute, FAST nearly 60, SERIAL about 52 at
        a round trip of 0.14 s.
        """
        profile = profile or rate_limit.profile
        limit, per = rate_limit.requests, rate_limit.per
        if profile is QuotaProfile.FAST:
            # The server's window is known to be exact, so the margin covers no more than the
            # granularity of its timestamps, and at most 5 % of a short window. The guard alone
            # carries the proof: tokens come at the guard's own rate, and only spread the start.
            window = per + max(10 * EPSILON, min(0.25, 0.05 * per))
            burst = min(limit, _burst(5, limit / window))
            return cls(
                profile=profile, limit=limit, window=window, burst=burst, rate=limit / window
            )
        # A margin of a sixtieth satisfies servers that count in whole seconds.
        window = per + min(1.0, max(0.25, per / 60))
        if profile is QuotaProfile.SERIAL:
            spacing = window / limit
            return cls(
                profile=profile,
                limit=limit,
                window=window,
                burst=1,
                rate=1 / spacing,
                spacing=spacing,
            )
        # The burst is taken from the rate, so small limits keep it small; a limit of 1 is carried
        # by the guard alone.
        burst = max(1, min(_burst(2, limit / window), limit // 5))
        return cls(
            profile=profile,
            limit=limit,
            window=window,
            burst=burst,
            rate=max(1, limit - burst) / window,
        )


def _burst(least: int, rate: float) -> int:
    return max(least, math.ceil(rate * TICK))


class Bucket:
    """The permits of one key. Every method takes ``now``, seconds on a clock that never goes back.

    Args:
        pace: The numbers to keep to.
    """

    __slots__ = (
        "_blocked_until",
        "_cooling",
        "_full_at",
        "_hints",
        "_interval",
        "_slack",
        "_spaced_until",
        "_spent",
        "held",
        "pace",
    )

    def __init__(self, pace: Pace) -> None:
        self.held = 0
        """Permits that are out: their requests have no answer yet."""
        self._cooling: list[float] = []  # heap of the instants at which answered permits return
        self._full_at = -math.inf
        self._spaced_until = -math.inf
        self._blocked_until = -math.inf
        self._spent = 0
        # Hints in force as (until, value of _spent that must not be passed), both ascending: what
        # is stricter for longer replaces what it makes redundant.
        self._hints: list[tuple[float, int]] = []
        self._set_pace(pace)

    def _set_pace(self, pace: Pace) -> None:
        self.pace = pace
        self._interval = 1 / pace.rate
        self._slack = (pace.burst - 1) / pace.rate

    def change_pace(self, pace: Pace, now: float) -> None:
        """Go on with other numbers for the same limit; what is held or cooling stays so."""
        self._set_pace(pace)
        # A change must not hand out a full bucket.
        self._full_at = max(self._full_at, now + self._slack)
        self._spaced_until = max(self._spaced_until, now + pace.spacing)

    def ready_at(self, now: float) -> float:
        """Return when the next permit can be granted: ``now`` itself, later, or infinity.

        Infinity means that it depends on a permit that is out.
        """
        edge = now + EPSILON
        cooling = self._cooling
        while cooling and cooling[0] <= edge:
            heappop(cooling)
        when = self._full_at - self._slack
        if self._blocked_until > when:
            when = self._blocked_until
        pace = self.pace
        if self.held + len(cooling) >= pace.limit:
            if not cooling:
                return math.inf
            when = max(when, cooling[0])
        if pace.spacing:
            if self.held:
                return math.inf
            when = max(when, self._spaced_until)
        if self._hints:
            self._forget_hints(edge)
            for until, most in self._hints:
                if most <= self._spent:
                    when = max(when, until)
        return when if when > edge else now

    def take(self, now: float) -> None:
        """Take one permit; `ready_at` must have returned ``now``."""
        self.held += 1
        self._spent += 1
        self._full_at = (self._full_at if self._full_at > now else now) + self._interval
        if self.held + len(self._cooling) > self.pace.limit:
            raise AssertionError("more permits are out than the limit has")

    def answered(self, now: float) -> None:
        """Note that a request was answered: its permit returns in W seconds."""
        self._cool(now, 0.0)

    def lost(self, now: float, grace: float) -> None:
        """Note that an answer will not come; the request may arrive up to ``grace`` s from now."""
        self._cool(now, grace)

    def _cool(self, now: float, grace: float) -> None:
        self.held -= 1
        heappush(self._cooling, now + grace + self.pace.window)
        self._spaced_until = max(self._spaced_until, now + grace + self.pace.spacing)

    def unsent(self) -> None:
        """Take back a permit whose request was certainly not sent, and its token with it."""
        self.held -= 1
        self._spent -= 1
        self._full_at -= self._interval

    def block(self, until: float) -> None:
        """Grant nothing before ``until``; never shortens an earlier block."""
        self._blocked_until = max(self._blocked_until, until)

    def blocked_for(self, now: float) -> float:
        """Return the seconds for which everything is still blocked, 0 if nothing is."""
        left = self._blocked_until - now
        return left if left > EPSILON else 0.0

    def tighten(self, hint: QuotaHint, now: float) -> None:
        """Heed an answer's ``RateLimit`` headers where they allow less than the bucket itself.

        Until its reset, not more than ``remaining`` less the permits that are out, which the server
        may not have counted yet. The time is capped at W: no window reaches further. A hint that
        leaves as much as the bucket's own count is no news, and heeding it would do harm: on a
        sliding window ``remaining`` comes back bit by bit, not at the reset, and a client that
        waits for the reset gets about half of its limit.
        """
        if hint.remaining is None or hint.reset_after is None or not hint.reset_after > 0:
            return
        edge = now + EPSILON
        while self._cooling and self._cooling[0] <= edge:
            heappop(self._cooling)
        if hint.remaining + self.held + len(self._cooling) >= self.pace.limit:
            return
        self._forget_hints(edge)
        until = now + min(hint.reset_after, self.pace.window)
        most = self._spent + max(0, hint.remaining - self.held)
        if any(u >= until and m <= most for u, m in self._hints):
            return
        front = [(u, m) for u, m in self._hints if u > until or m < most]
        front.append((until, most))
        front.sort()
        if len(front) > _LONGEST_FRONT:
            # Stricter than both and one less to look at.
            (_, most), (until, _) = front[-2:]
            front[-2:] = [(until, most)]
        self._hints = front

    def _forget_hints(self, edge: float) -> None:
        if self._hints and self._hints[0][0] <= edge:
            self._hints = [hint for hint in self._hints if hint[0] > edge]

    def cooling(self, now: float) -> int:
        """Return how many permits are kept back because their requests may still count."""
        edge = now + EPSILON
        return sum(1 for instant in self._cooling if instant > edge)

    def available(self, now: float) -> int:
        """Return how many permits could be granted at this instant."""
        if self.ready_at(now) > now:
            return 0
        pace = self.pace
        if pace.spacing:
            return 1
        used = max(0.0, self._full_at - now - EPSILON) * pace.rate
        free = min(pace.burst - math.ceil(used), pace.limit - self.held - len(self._cooling))
        return min([free, *(most - self._spent for _, most in self._hints)])
