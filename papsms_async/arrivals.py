"""How often callers come: what is learned of it from those who came.

The rate is that of the recent past: a caller counts for less and less, by a factor e every
`MEMORY` seconds. Before anybody came, a minute without callers is believed to have passed, so that
a single one does not pass for a crowd.

Source: the rate of a Poisson process with a gamma prior and exponential forgetting.
"""

from __future__ import annotations

from math import exp

__all__ = ["MEMORY", "ArrivalRate"]

MEMORY = 1800.0
"""Seconds after which a caller counts for 1/e."""

PRIOR = 60.0
"""Seconds without callers that are believed to have passed before the first."""


class ArrivalRate:
    """The rate at which callers come. Instants are seconds of any clock that does not go back."""

    def __init__(self) -> None:
        self._came = 0.0
        self._watched = PRIOR
        self._at: float | None = None

    def came(self, now: float) -> None:
        """A caller came."""
        self._pass(now)
        self._came += 1.0

    def rate(self, now: float) -> float:
        """Return how many come a second."""
        if self._at is None:
            return 0.0
        self._pass(now)
        return self._came / self._watched

    def _pass(self, now: float) -> None:
        if self._at is None:
            self._at = now
        kept = exp(-max(0.0, now - self._at) / MEMORY)
        self._came *= kept
        self._watched = self._watched * kept + MEMORY * (1.0 - kept)
        self._at = max(self._at, now)
