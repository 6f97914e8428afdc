"""Request limits as servers really count them.

Every kind counts every request that reaches it, refused ones included, so a client that
hammers on stays refused. All of them are O(1) a request and know no clock: ``now`` is given.

=================== ============================================================================
kind                one key may send, with ``N/Ws``
=================== ============================================================================
sliding-log         N in any window of W seconds, exactly (the default)
fixed-window        N in each window of W seconds counted from the epoch
aligned-window      N in each window of W seconds that starts with the first request after the last
sliding-counter     N, estimated as this window's count plus the previous one's, weighted by overlap
whole-second        N in W seconds by timestamps cut to whole seconds, both ends included
token-bucket        a burst of N, refilled at N/W a second
gcra                a burst of 10 (N if that is less), then one each W/N seconds
leaky-bucket        no burst: one each W/N seconds
none                without limit
=================== ============================================================================
"""

from __future__ import annotations

import math
import re
from collections import deque
from enum import StrEnum
from typing import Protocol

import attrs

_EPSILON = 1e-6
"""Above the resolution of a float holding POSIX seconds, below anything a client can time."""

GCRA_BURST = 10
"""Requests that a ``gcra`` limit admits at once."""


MOST_REQUESTS = 1_000_000_000
"""Requests in a window that a limit can admit."""


class Limiter(Protocol):
    """Counts the requests of one key."""

    def admit(self, now: float) -> tuple[bool, float]:
        """Count one request.

        Args:
            now: Arrival in POSIX seconds; never less than at the call before.

        Returns:
            Whether it is admitted, and if not, the seconds after which one request would be
            (0.0 for an admitted one).
        """
        ...


class LimitKind(StrEnum):
    """The ways of counting; see the module's table."""

    SLIDING_LOG = "sliding-log"
    FIXED_WINDOW = "fixed-window"
    ALIGNED_WINDOW = "aligned-window"
    SLIDING_COUNTER = "sliding-counter"
    WHOLE_SECOND = "whole-second"
    TOKEN_BUCKET = "token-bucket"  # noqa: S105 - a kind of limit, no password
    GCRA = "gcra"
    LEAKY_BUCKET = "leaky-bucket"
    NONE = "none"


class NoLimit:
    """Admits everything."""

    def admit(self, now: float) -> tuple[bool, float]:
        """Admit the request."""
        return True, 0.0


class SlidingLog:
    """At most ``requests`` in any window ``(now - per, now]``."""

    def __init__(self, requests: int, per: float) -> None:
        self._requests = requests
        self._per = per
        # The N most recent requests decide alone, so older ones need not be kept.
        self._recent: deque[float] = deque(maxlen=requests)

    def admit(self, now: float) -> tuple[bool, float]:
        """Count one request; see `Limiter`."""
        recent = self._recent
        allowed = len(recent) < self._requests or self._wait(now) <= 0.0
        recent.append(now)
        return (True, 0.0) if allowed else (False, self._wait(now))

    def _wait(self, now: float) -> float:
        # One sum for both answers: rounded in two ways, a refusal could name no time at all.
        return self._recent[0] + self._per - now


class WholeSecondLog:
    """A sliding log whose timestamps are cut to whole seconds, both ends of the window included."""

    def __init__(self, requests: int, per: float) -> None:
        self._requests = requests
        self._per = per
        self._recent: deque[int] = deque(maxlen=requests)

    def admit(self, now: float) -> tuple[bool, float]:
        """Count one request; see `Limiter`."""
        recent = self._recent
        second = math.floor(now)
        allowed = len(recent) < self._requests or second - recent[0] > self._per
        recent.append(second)
        if allowed:
            return True, 0.0
        return False, max(0.0, recent[0] + math.floor(self._per) + 1 - now)


class FixedWindow:
    """At most ``requests`` in each window ``[k * per, (k + 1) * per)``."""

    def __init__(self, requests: int, per: float) -> None:
        self._requests = requests
        self._per = per
        self._window = -math.inf
        self._count = 0

    def admit(self, now: float) -> tuple[bool, float]:
        """Count one request; see `Limiter`."""
        window = math.floor(now / self._per)
        if window != self._window:
            self._window = window
            self._count = 0
        self._count += 1
        if self._count <= self._requests:
            return True, 0.0
        return False, max(0.0, (window + 1) * self._per - now)


class AlignedWindow:
    """A fixed window that starts with the first request after the window before has ended."""

    def __init__(self, requests: int, per: float) -> None:
        self._requests = requests
        self._per = per
        self._start = -math.inf
        self._count = 0

    def admit(self, now: float) -> tuple[bool, float]:
        """Count one request; see `Limiter`."""
        if now >= self._start + self._per:
            self._start = now
            self._count = 0
        self._count += 1
        if self._count <= self._requests:
            return True, 0.0
        return False, max(0.0, self._start + self._per - now)


class SlidingCounter:
    """Two fixed windows, the previous one weighted by what of it is still in sight."""

    def __init__(self, requests: int, per: float) -> None:
        self._requests = requests
        self._per = per
        self._window = 0
        self._count = 0
        self._previous = 0

    def admit(self, now: float) -> tuple[bool, float]:
        """Count one request; see `Limiter`."""
        window = math.floor(now / self._per)
        if window != self._window:
            self._previous = self._count if window == self._window + 1 else 0
            self._window = window
            self._count = 0
        self._count += 1
        elapsed = now / self._per - window
        if self._previous * (1.0 - elapsed) + self._count <= self._requests + _EPSILON:
            return True, 0.0
        return False, max(0.0, self._free_at(self._count, self._previous) - now)

    def _free_at(self, count: int, previous: int) -> float:
        room = self._requests - 1 - count
        if room >= 0:  # the previous window's weight has to fall to this window's room
            return (self._window + 1.0 - min(1.0, room / max(previous, 1))) * self._per
        room = self._requests - 1
        return (self._window + 2.0 - min(1.0, room / count)) * self._per


class TokenBucket:
    """A bucket of ``burst`` tokens, refilled at ``requests / per`` a second.

    A refused request spends the fraction of a token that has gathered: whoever sends faster
    than the refill is not admitted again before pausing for a whole token.
    """

    def __init__(self, requests: int, per: float, *, burst: int | None = None) -> None:
        self._rate = requests / per
        self._burst = float(requests if burst is None else burst)
        self._tokens = self._burst
        self._at = -math.inf

    def admit(self, now: float) -> tuple[bool, float]:
        """Count one request; see `Limiter`."""
        gathered = self._tokens + (now - self._at) * self._rate
        tokens = min(self._burst, gathered)
        self._at = now
        self._tokens = max(0.0, tokens - 1.0)
        if tokens >= 1.0 - _EPSILON:
            return True, 0.0
        return False, 1.0 / self._rate


class Gcra:
    """Generic cell rate algorithm: a theoretical arrival time with room for ``burst`` requests.

    A refused request pushes the theoretical arrival to its bound, as in `TokenBucket`.
    """

    def __init__(self, requests: int, per: float, *, burst: int = GCRA_BURST) -> None:
        self._interval = per / requests
        self._room = min(burst, requests) * self._interval
        self._arrival = -math.inf

    def admit(self, now: float) -> tuple[bool, float]:
        """Count one request; see `Limiter`."""
        arrival = max(self._arrival, now) + self._interval
        self._arrival = min(arrival, now + self._room)
        if arrival - now <= self._room + _EPSILON:
            return True, 0.0
        return False, self._interval


class LeakyBucket:
    """One request each ``per / requests`` seconds after the last one, refused or not."""

    def __init__(self, requests: int, per: float) -> None:
        self._interval = per / requests
        self._last = -math.inf

    def admit(self, now: float) -> tuple[bool, float]:
        """Count one request; see `Limiter`."""
        allowed = now - self._last >= self._interval - _EPSILON
        self._last = now
        return (True, 0.0) if allowed else (False, self._interval)


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_LIMIT = re.compile(r"(\d+)\s*/\s*(\d*(?:\.\d+)?)\s*([a-z]+)(?:\s*:\s*([a-z-]+))?", re.ASCII)


def _check_requests(_: object, __: object, value: int) -> None:
    if value < 1:
        raise ValueError("a limit admits at least 1 request; use 'none' for no limit")
    if value > MOST_REQUESTS:
        raise ValueError(
            f"a limit admits at most {MOST_REQUESTS} requests; use 'none' for no limit"
        )


def _check_per(_: object, __: object, value: float) -> None:
    if not 0.0 < value < math.inf:
        raise ValueError("a limit's window is a number of seconds above 0")


@attrs.frozen
class LimitSpec:
    """A limit before it counts: how many, per how long, and the way of counting.

    Attributes:
        requests: Requests in a window, 1 to `MOST_REQUESTS`.
        per: Length of the window in seconds, above 0.
        kind: The way of counting.

    Raises:
        ValueError: A number is out of its range.
    """

    requests: int = attrs.field(default=60, validator=_check_requests)
    per: float = attrs.field(default=60.0, validator=_check_per)
    kind: LimitKind = LimitKind.SLIDING_LOG

    @classmethod
    def parse(cls, text: str) -> LimitSpec:
        """Read a limit such as ``"60/60s"``, ``"600/1m:token-bucket"`` or ``"none"``.

        Args:
            text: ``REQUESTS/WINDOW[:KIND]``; the window's unit is ms, s, m (min) or h, its
                number 1 where left out (``"60/min"``); the kind is one of `LimitKind`.

        Raises:
            ValueError: It is not of that form; the message says what is.
        """
        cleaned = text.strip().lower()
        if cleaned in {"none", "unlimited", "off"}:
            return cls(kind=LimitKind.NONE)
        match = _LIMIT.fullmatch(cleaned)
        if match is None or match[3] not in _UNITS:
            raise ValueError(
                f"not a limit: {text!r}; write it like '60/60s', '600/1m:fixed-window' or 'none'"
            )
        kind = match[4] or LimitKind.SLIDING_LOG.value
        kinds = [member.value for member in LimitKind if member is not LimitKind.NONE]
        if kind not in kinds:
            raise ValueError(f"not a kind of limit: {kind!r}; known are {', '.join(kinds)}")
        per = float(match[2] or 1) * _UNITS[match[3]]
        return cls(requests=int(match[1]), per=per, kind=LimitKind(kind))

    def limiter(self) -> Limiter:
        """Return a fresh counter for one key."""
        match self.kind:
            case LimitKind.NONE:
                return NoLimit()
            case LimitKind.SLIDING_LOG:
                return SlidingLog(self.requests, self.per)
            case LimitKind.FIXED_WINDOW:
                return FixedWindow(self.requests, self.per)
            case LimitKind.ALIGNED_WINDOW:
                return AlignedWindow(self.requests, self.per)
            case LimitKind.SLIDING_COUNTER:
                return SlidingCounter(self.requests, self.per)
            case LimitKind.WHOLE_SECOND:
                return WholeSecondLog(self.requests, self.per)
            case LimitKind.TOKEN_BUCKET:
                return TokenBucket(self.requests, self.per)
            case LimitKind.GCRA:
                return Gcra(self.requests, self.per)
            case LimitKind.LEAKY_BUCKET:
                return LeakyBucket(self.requests, self.per)

    def __str__(self) -> str:
        if self.kind is LimitKind.NONE:
            return "none"
        return f"{self.requests}/{self.per:g}s:{self.kind.value}"
