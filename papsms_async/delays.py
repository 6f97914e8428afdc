"""The law of the SMS delay.

A law is a survival function S(age): the probability that no SMS has come by that age. It is kept
as a hazard (SMS per second among those still waiting) that is constant on each of some forty
log-spaced bins, so any law with a smooth hazard on a logarithmic scale is met within a few per
cent, at delays of one second as well as of ten minutes. The SMS that never come need no parameter
of their own: once the hazard has died down, S stays where it is.

Laws are learned in `papsms_async.learning`.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable
from math import erfc, exp, expm1, isfinite, log, sqrt

import attrs

__all__ = ["COLD_START", "EDGES", "DelayLaw"]

BINS_PER_OCTAVE = 3
EDGES: tuple[float, ...] = (0.0, *(0.125 * 2 ** (k / BINS_PER_OCTAVE) for k in range(41)))
"""Lower edges of the bins, in seconds: 0, 1/8 s, then three an octave up to 1290 s; the last bin
is open."""

_versions = itertools.count(1)


def _next_version() -> Hashable:
    return next(_versions)


@attrs.frozen(eq=False)
class DelayLaw:
    """An immutable law of the SMS delay: piecewise-constant hazard on bins.

    Attributes:
        edges: lower edges of the bins in seconds, increasing, the first is 0; the last bin is open.
        hazards: SMS per second among those still waiting, one per bin.
        version: identity of this law within the process, for caches.
    """

    edges: tuple[float, ...] = attrs.field(repr=False)
    hazards: tuple[float, ...] = attrs.field(repr=False)
    version: Hashable = attrs.field(init=False, factory=_next_version)
    _survivals: tuple[float, ...] = attrs.field(init=False, repr=False)
    _integrals: tuple[float, ...] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Check the bins and tabulate S and I at their lower edges."""
        edges, hazards = self.edges, self.hazards
        if len(edges) != len(hazards) or not edges or edges[0] != 0.0:
            raise ValueError("a law needs one hazard per bin, and the first bin starts at 0")
        if any(high <= low for low, high in itertools.pairwise(edges)):
            raise ValueError("the edges of the bins must increase")
        if any(not isfinite(h) or h < 0 for h in hazards):
            raise ValueError("hazards must be finite and not negative")
        survival, integral = 1.0, 0.0
        survivals, integrals = [survival], [integral]
        for k, (low, high) in enumerate(itertools.pairwise(edges)):
            integral += survival * _mean_exposure(hazards[k], high - low)
            survival *= exp(-hazards[k] * (high - low))
            survivals.append(survival)
            integrals.append(integral)
        object.__setattr__(self, "_survivals", tuple(survivals))
        object.__setattr__(self, "_integrals", tuple(integrals))

    @classmethod
    def from_survival(
        cls, survival: Callable[[float], float], *, edges: tuple[float, ...] = EDGES
    ) -> DelayLaw:
        """Make the law that agrees with a survival function at every edge (and is flat after the
        last).

        Args:
            survival: age in seconds to the probability that no SMS has come, not increasing.
            edges: lower edges of the bins, in seconds.
        """
        values = [max(survival(edge), 1e-300) for edge in edges]
        hazards = [
            max(0.0, log(s_low / s_high)) / (high - low)
            for (low, high), (s_low, s_high) in zip(
                itertools.pairwise(edges), itertools.pairwise(values), strict=True
            )
        ]
        return cls(edges, (*hazards, 0.0))

    @classmethod
    def lognormal(
        cls, median: float, sigma: float, never: float, *, edges: tuple[float, ...] = EDGES
    ) -> DelayLaw:
        """Make a lognormal law with a share of SMS that never come.

        Args:
            median: seconds, of those that come.
            sigma: standard deviation of the logarithm.
            never: share without SMS, from 0 to 1.
            edges: lower edges of the bins, in seconds.
        """

        def survival(age: float) -> float:
            if age <= 0:
                return 1.0
            return never + (1 - never) * erfc(log(age / median) / (sigma * sqrt(2))) / 2

        return cls.from_survival(survival, edges=edges)

    def survival(self, age: float) -> float:
        """Return S(age), the probability that no SMS has come by `age` seconds."""
        if age <= 0:
            return 1.0
        k = bisect_right(self.edges, age) - 1
        return self._survivals[k] * exp(-self.hazards[k] * (age - self.edges[k]))

    def integral(self, age: float) -> float:
        """Return I(age), the integral of S from 0 to `age`: mean seconds of waiting up to that
        age."""
        if age <= 0:
            return 0.0
        k = bisect_right(self.edges, age) - 1
        return self._integrals[k] + self._survivals[k] * _mean_exposure(
            self.hazards[k], age - self.edges[k]
        )

    def tables(self, ages: Iterable[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return S and I at many ages: what `survival` and `integral` give, in one walk.

        Args:
            ages: seconds, 0 or more, not decreasing.
        """
        survivals, integrals = [], []
        edges, hazards, last = self.edges, self.hazards, len(self.edges) - 1
        k = 0
        for age in ages:
            while k < last and edges[k + 1] <= age:
                k += 1
            width, survival = age - edges[k], self._survivals[k]
            survivals.append(survival * exp(-hazards[k] * width))
            integrals.append(self._integrals[k] + survival * _mean_exposure(hazards[k], width))
        return tuple(survivals), tuple(integrals)

    def mean_delay(self, timeout: float) -> float:
        """Return the mean delay, in seconds, of the SMS that come within `timeout` seconds.

        `timeout` itself when (almost) none comes.
        """
        survival = self.survival(timeout)
        if survival > 1 - 1e-9:
            return timeout
        return (self.integral(timeout) - timeout * survival) / (1 - survival)

    def scaled(self, factor: float) -> DelayLaw:
        """Return the law of a service whose delays are all `factor` times as long."""
        return DelayLaw(
            tuple(edge * factor for edge in self.edges), tuple(h / factor for h in self.hazards)
        )


def _mean_exposure(hazard: float, width: float) -> float:
    """Mean seconds spent in a bin of this width by one that enters it."""
    if hazard * width < 1e-9:
        return width
    return -expm1(-hazard * width) / hazard


COLD_START = DelayLaw.lognormal(median=15.0, sigma=1.0, never=0.1)
"""What is believed before anything was seen: median 15 s, sigma 1, one in ten never comes."""
