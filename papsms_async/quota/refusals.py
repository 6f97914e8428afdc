"""What follows from a 429: how long to wait, and when to give up the faster profile."""

from __future__ import annotations

import math
import random

from papsms_async.bucket import EPSILON

STRIKES = 2
"""Unexplained 429s after which the quota goes on one request at a time."""

PROBATION = 3600.0
"""Seconds for which a strike is remembered, and after which the first fallback is undone."""

LONGEST_PROBATION = 86_400.0
"""Seconds up to which the probation doubles with each further fallback."""


class Refusals:
    """Keeps count of the 429s of one key.

    A 429 that names a wait longer than the limit's own window is no matter of pace: no window would
    need it, so a ban or a limit on the account is behind it. Any other came although the limit was
    kept and is *unexplained*: a strike. Several requests that were out together and were refused
    together are one incident and one strike.

    The second strike within an hour falls back to one request at a time. That is undone after an
    hour without a 429, because a passing cause (another client with the same key) should not slow a
    long-lived service for weeks. A server that really wants even spacing answers that with a 429,
    which costs nothing and at once leads back for twice the time, at last for a day; so it refuses
    a handful of requests in the first day and one a day from then on.

    Args:
        rng: Source of the jitter.
        window: W, the seconds after which no request counts any more.
        base: Upper end of the first backoff, in seconds.
    """

    __slots__ = ("_attempt", "_base", "_probation", "_rng", "_strikes", "_window", "restore_at")

    def __init__(self, rng: random.Random, *, window: float, base: float = 1.0) -> None:
        self.restore_at = math.inf
        """When a fallback is to be undone; infinity while there is none."""
        self._rng = rng
        self._window = window
        self._base = base
        self._attempt = 0
        self._strikes: list[float] = []
        self._probation = 0.0

    def delay(self, retry_after: float | None, *, fresh: bool) -> float:
        """Return for how many seconds to leave the service alone.

        ``retry_after`` wins. Without it: full jitter below a bound that doubles with each incident
        up to a minute or the window, whichever is longer; nothing for a straggler of an incident
        that is already being waited out.

        Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
        """
        if fresh:
            self._attempt += 1
        if retry_after is not None and 0 < retry_after < math.inf:
            return retry_after
        if not fresh:
            return 0.0
        most = max(60.0, self._window)
        return self._rng.uniform(0.0, min(most, self._base * 2.0 ** min(self._attempt - 1, 40)))

    def calm(self) -> None:
        """Let the next backoff start small again."""
        self._attempt = 0

    def strike(self, retry_after: float | None, now: float) -> bool:
        """Count an incident; return whether the quota has to fall back because of it."""
        if retry_after is not None and self._window + EPSILON < retry_after < math.inf:
            return False
        if self.restore_at < math.inf:
            self.restore_at = now + self._probation
            return False
        self._strikes = [at for at in self._strikes if now - at < PROBATION]
        self._strikes.append(now)
        # After a relapse one strike is enough: what it means is already known.
        if len(self._strikes) < (STRIKES if not self._probation else 1):
            return False
        self._strikes.clear()
        self._probation = min(LONGEST_PROBATION, max(PROBATION, 2 * self._probation))
        self.restore_at = now + self._probation
        return True

    def restored(self) -> None:
        """Note that the fallback was undone."""
        self.restore_at = math.inf
