"""The requests that reached the service: the log of the latest, and counts over time."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from itertools import islice

import attrs

from .messages import Delivery

REQUEST_LOG_LENGTH = 200_000
"""Entries that `Traffic.log` keeps."""

_RATE_LIMITED = 429


@attrs.frozen
class LoggedRequest:
    """One entry of the request log.

    Attributes:
        at: Arrival in POSIX seconds.
        method: Upper-case verb, at most 16 characters.
        route: ``purchase``, ``status``, ``finish``, ``countries`` or ``unknown``.
        status: Status of the answer; 0 where the client got none.
        counted: Whether it reached the service and so the limit.
        delivery: The way the answer travelled.
    """

    at: float
    method: str
    route: str
    status: int
    counted: bool
    delivery: Delivery


class Traffic:
    """What has been asked since the start or the last reset, of all keys together."""

    def __init__(self) -> None:
        self.log: deque[LoggedRequest] = deque(maxlen=REQUEST_LOG_LENGTH)
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.log.clear()
        self.logged = 0
        self._counted = array("d")
        self._refused = array("d")

    def record(self, entry: LoggedRequest) -> None:
        """Note a request; entries come in the order of their arrival."""
        self.log.append(entry)
        self.logged += 1
        if entry.counted:
            self._counted.append(entry.at)
            if entry.status == _RATE_LIMITED:
                self._refused.append(entry.at)

    @property
    def counted(self) -> int:
        """How many requests reached the service."""
        return len(self._counted)

    def latest(self, after: int, *, most: int) -> list[LoggedRequest]:
        """Return the entries logged after so many others, oldest first, at most the latest."""
        number = min(self.logged - after, most, len(self.log))
        latest: Iterator[LoggedRequest] = islice(reversed(self.log), max(0, number))
        return list(latest)[::-1]

    def busiest_window(self, seconds: float) -> int:
        """Return the largest number of counted requests in any ``[t, t + seconds)``.

        O(n) in the requests since the start.
        """
        arrivals = self._counted
        most = first = 0
        for index, at in enumerate(arrivals):
            while at - arrivals[first] >= seconds:
                first += 1
            most = max(most, index - first + 1)
        return most

    def within(self, seconds: float, now: float) -> tuple[int, int]:
        """Return how many requests came in ``(now - seconds, now]``, and how many of them got 429.

        O(log n).
        """
        return _since(self._counted, now - seconds), _since(self._refused, now - seconds)

    def bars(self, seconds: float, now: float, *, number: int) -> list[list[int]]:
        """Return ``[requests, of them with 429]`` for each part of the last ``seconds``.

        Oldest first. The parts begin at multiples of their length, so they stand still between
        its ticks; the last one is not over.
        """
        width = seconds / number
        first = (math.floor(now / width) - number + 1) * width
        # No request is later than now, so the last part needs no end, and no rounding counts.
        edges = [*(first + index * width for index in range(number)), math.inf]
        counted, refused = (
            [bisect_left(times, edge) for edge in edges] for times in (self._counted, self._refused)
        )
        return [
            [counted[index + 1] - counted[index], refused[index + 1] - refused[index]]
            for index in range(number)
        ]


def _since(times: array[float], at: float) -> int:
    return len(times) - bisect_right(times, at)
