"""The law of the SMS delay, learned while it is used.

Theory of operation
-------------------
A law is a survival function S(age): the probability that no SMS has come by that age. It is kept
as a hazard (SMS per second among those still waiting) that is constant on each of some forty
log-spaced bins, so any law with a smooth hazard on a logarithmic scale is met within a few per
cent, at delays of one second as well as of ten minutes. The SMS that never come need no parameter
of their own: once the hazard has died down, S stays where it is.

The estimate in each bin k is events over exposure, shrunk towards a prior law worth `kappa`
activations:

    h_k = (d_k + kappa * h0_k * e0_k) / (e_k + kappa * e0_k)

d_k are the SMS seen in the bin, e_k the seconds that activations spent waiting in it, h0_k and
e0_k the same of the prior (e0_k is the time that one activation of the prior law would spend
there). An activation given up without an SMS adds exposure and no event, which is all that
right-censoring takes. The prior of a (service, country) is its service, of a service everything
seen, of everything the cold start.

Counts are halved every `HALF_LIFE_OBSERVATIONS` observations, and with time. Three hundred
observations keep about 430 in memory, an error of S of 2 %; at the service's limit they pass in
twenty minutes, which is how fast the law follows drift. Time alone takes hours to forget: when so
little happens that time matters, permits lie idle and the law decides next to nothing, and
yesterday's law is still better than the cold start.

Source: the occurrence/exposure rate with a gamma prior per
bin.
"""

from __future__ import annotations

import itertools
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from math import erfc, exp, expm1, inf, isfinite, log, sqrt
from typing import Any

import attrs

from papsms_async.evidence import HALF_LIFE_OBSERVATIONS, HALF_LIFE_SECONDS, Evidence, Key

__all__ = ["COLD_START", "EDGES", "DelayLaw", "DelayModel"]

BINS_PER_OCTAVE = 3
EDGES: tuple[float, ...] = (0.0, *(0.125 * 2 ** (k / BINS_PER_OCTAVE) for k in range(41)))
"""Lower edges of the bins, in seconds: 0, 1/8 s, then three an octave up to 1290 s; the last bin
is open."""

KAPPA = 6.0
"""What a prior law weighs, in activations."""

THIN = 30.0
"""Below this weight (in observations) a (service, country) counts as thinly observed."""

USUAL_TIMEOUT = 60.0
REBUILD_SHARE = 0.1
MAX_KEYS = 4096
_RESCALE_ABOVE = 1e9

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


class _Counts:
    """Decayed events and exposure per bin, and the law last made of them.

    Old counts are not shrunk at each observation; instead new ones weigh `gain`, which grows.
    Dividing by `gain` gives today's counts.
    """

    __slots__ = ("at", "events", "exposure", "fresh", "gain", "law", "parent", "seen", "weight")

    def __init__(self, at: float) -> None:
        self.events = array("d", bytes(8 * len(EDGES)))
        self.exposure = array("d", bytes(8 * len(EDGES)))
        self.weight = 0.0
        self.seen = 0.0
        self.gain = 1.0
        self.at = at
        self.fresh = 0.0
        self.law: DelayLaw | None = None
        self.parent: DelayLaw | None = None

    def add(self, evidence: list[tuple[int, float, float]], at: float, grow: float) -> None:
        elapsed = max(0.0, at - self.at)
        self.at = max(self.at, at)
        # Beyond ten half-lives nothing is left worth a number; the bound keeps the power finite.
        self.gain *= grow * 2.0 ** min(elapsed / HALF_LIFE_SECONDS, 10.0)
        gain = self.gain
        for k, events, exposure in evidence:
            self.events[k] += events * gain
            self.exposure[k] += exposure * gain
        self.weight += gain
        self.seen += 1.0
        self.fresh += 1.0
        if gain > _RESCALE_ABOVE:
            for k in range(len(EDGES)):
                self.events[k] /= gain
                self.exposure[k] /= gain
            self.weight /= gain
            self.gain = 1.0

    def current_weight(self) -> float:
        return self.weight / self.gain

    def evidence(self, now: float) -> Evidence:
        gain = self.gain
        return Evidence(
            events=tuple(value / gain for value in self.events),
            exposure=tuple(value / gain for value in self.exposure),
            weight=self.weight / gain,
            seen=self.seen,
            age=max(0.0, now - self.at),
        )

    @classmethod
    def of(cls, evidence: Evidence, now: float) -> _Counts:
        counts = cls(now)
        counts.events = array("d", evidence.events)
        counts.exposure = array("d", evidence.exposure)
        counts.weight, counts.seen = evidence.weight, evidence.seen
        return counts

    def law_under(self, parent: DelayLaw, kappa: float) -> DelayLaw:
        """Return the law of these counts shrunk towards `parent`; the last one made while little
        is new."""
        enough = self.fresh > REBUILD_SHARE * (self.current_weight() + kappa)
        if self.law is not None and self.parent is parent and not enough:
            return self.law
        gain = self.gain
        hazards = []
        survivals = [parent.survival(edge) for edge in EDGES]
        integrals = [parent.integral(edge) for edge in EDGES]
        for k in range(len(EDGES) - 1):
            prior_exposure = integrals[k + 1] - integrals[k]
            prior_events = survivals[k] - survivals[k + 1]
            exposure = self.exposure[k] / gain + kappa * prior_exposure
            events = self.events[k] / gain + kappa * prior_events
            hazards.append(events / exposure if exposure > 1e-12 else 0.0)
        self.law = DelayLaw(EDGES, (*hazards, 0.0))
        self.parent = parent
        self.fresh = 0.0
        return self.law


class DelayModel:
    """Learns the law of the SMS delay for each (service, country) from what activations lived
    through.

    Every observation also counts for its service and for everything together, which are what
    thinly observed pairs lean on. At most `MAX_KEYS` pairs and services are remembered, the
    longest unobserved go first.

    Args:
        prior: the law before anything was seen; scale it for a service whose delays are of
            another order.
        kappa: weight of each prior, in activations, more than 0.
    """

    def __init__(self, *, prior: DelayLaw = COLD_START, kappa: float = KAPPA) -> None:
        if kappa <= 0:
            raise ValueError("kappa must be more than 0")
        self._prior = prior
        self._kappa = kappa
        self._grow = 2.0 ** (1.0 / HALF_LIFE_OBSERVATIONS)
        self._counts: OrderedDict[tuple[str, ...], _Counts] = OrderedDict()

    @classmethod
    def for_timeout(cls, timeout: float) -> DelayModel:
        """Make a model whose cold start suits callers that wait `timeout` seconds.

        The guide's callers wait 60 s and more, and get `COLD_START`. Who waits less knows of a
        faster service (a test service, most likely), so its delays are believed to be shorter in
        proportion.
        """
        if timeout >= USUAL_TIMEOUT:
            return cls()
        return cls(prior=COLD_START.scaled(timeout / USUAL_TIMEOUT))

    def observe(self, service: str, country: str, *, age: float, arrived: bool, at: float) -> None:
        """Learn from one activation: its SMS came at `age`, or had not come by `age`.

        Args:
            service: as in the request.
            country: as in the request.
            age: seconds since the SMS was asked for; exact when `arrived`, else how long it was
                watched.
            arrived: whether the SMS came.
            at: seconds on any monotonic clock, always the same one.
        """
        evidence = [(k, 0.0, width) for k, width in _walk(0.0, age)]
        if arrived and age < EDGES[-1]:
            k = max(0, bisect_left(EDGES, age) - 1)
            evidence.append((k, 1.0, 0.0))
        self._add(service, country, evidence, at)

    def observe_interval(
        self, service: str, country: str, *, low: float, high: float, at: float
    ) -> None:
        """Learn from an SMS known only to have come after age `low` and by age `high`.

        The event is spread over the interval as the present law would have it: one step of
        expectation-maximisation, which does not favour either end as a guess at a midpoint would.
        """
        low = max(0.0, low)
        if high <= low:
            self.observe(service, country, age=low, arrived=True, at=at)
            return
        law = self.law(service, country)
        after_low, after_high = law.survival(low), law.survival(high)
        inside = after_low - after_high
        evidence = [(k, 0.0, width) for k, width in _walk(0.0, low)]
        start = low
        for k, width in _walk(low, high):
            end = start + width
            if inside > 1e-9:
                events = (law.survival(start) - law.survival(end)) / inside
                waited = law.integral(end) - law.integral(start)
                exposure = max(0.0, waited - width * after_high) / inside
            else:
                events = width / (high - low)
                exposure = width * (high - (start + end) / 2) / (high - low)
            evidence.append((k, events, exposure))
            start = end
        self._add(service, country, evidence, at)

    def law(self, service: str, country: str) -> DelayLaw:
        """Return the law of a (service, country); the same object until there is enough new
        evidence."""
        law = self._prior
        for key in ((), (service,), (service, country)):
            counts = self._counts.get(key)
            if counts is not None:
                law = counts.law_under(law, self._kappa)
        return law

    def is_thin(self, service: str, country: str) -> bool:
        """Return whether too little was seen of a (service, country) to skip a poll on its word."""
        counts = self._counts.get((service, country))
        return counts is None or counts.current_weight() < THIN

    def grounds(self, service: str, country: str) -> tuple[Key | None, float]:
        """Return what the law of a (service, country) was mostly learned from, and how much.

        Returns:
            The most specific key that more was seen of than its prior weighs, else the general one,
            with the activations that its evidence stands for; None and 0 where nothing was seen.
        """
        for key in ((service, country), (service,), ()):
            counts = self._counts.get(key)
            weight = 0.0 if counts is None else counts.current_weight()
            if weight > self._kappa or (weight > 0.0 and not key):
                return key, weight
        return None, 0.0

    def snapshot(self, now: float, *, since: float = -inf) -> dict[Key, Evidence]:
        """Return what was learned, in a form that can be kept.

        Args:
            now: the present, on the clock of the observations.
            since: leave out what was last observed before.

        Returns:
            Evidence by key, the latest observed first.
        """
        found = {}
        for key, counts in reversed(self._counts.items()):
            # They are in the order of their last observations.
            if counts.at < since:
                break
            found[key] = counts.evidence(now)
        return found

    def restore(self, snapshot: Mapping[Key, Evidence], now: float) -> None:
        """Take up what was kept, as far as it has not faded; what was observed here stays.

        Args:
            snapshot: as `snapshot` gave it, with ages that count from now.
            now: the present, on the clock of the observations to come.

        Raises:
            ValueError: it is not on these bins.
        """
        latest_first = sorted(snapshot.items(), key=lambda item: item[1].age)
        for key, evidence in reversed(latest_first):
            if {len(evidence.events), len(evidence.exposure)} != {len(EDGES)}:
                raise ValueError("the evidence is not on these bins")
            if key not in self._counts and not evidence.is_forgotten:
                self._counts[key] = _Counts.of(evidence.as_of(0.0), now)
        self._forget_oldest()

    @classmethod
    def from_snapshot(
        cls, snapshot: Mapping[Key, Evidence], now: float, **options: Any
    ) -> DelayModel:
        """Make a model that knows what was kept; options are those of `DelayModel`.

        Raises:
            ValueError: as `restore` does.
        """
        model = cls(**options)
        model.restore(snapshot, now)
        return model

    def _add(
        self, service: str, country: str, evidence: list[tuple[int, float, float]], at: float
    ) -> None:
        for key in ((service, country), (service,), ()):
            counts = self._counts.get(key)
            if counts is None:
                counts = self._counts[key] = _Counts(at)
            self._counts.move_to_end(key)
            counts.add(evidence, at, self._grow)
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        while len(self._counts) > MAX_KEYS:
            self._counts.popitem(last=False)


def _walk(low: float, high: float) -> Iterator[tuple[int, float]]:
    """Cut [low, high) at the edges: (bin, seconds in it), up to the last edge."""
    k = max(0, bisect_right(EDGES, low) - 1)
    while low < high and k < len(EDGES) - 1:
        end = min(high, EDGES[k + 1])
        yield k, end - low
        low = end
        k += 1
