"""Learns the law of the SMS delay while it is used.

Theory of operation
-------------------
The hazard in each bin is events over exposure, shrunk towards a prior law as far as the counts
themselves speak for it (`papsms_async.shrinkage`).

Events are the SMS seen in the bin, exposure the seconds that activations spent waiting in it. An
activation given up without an SMS adds exposure and no event, which is all that right-censoring
takes; one that is still in flight adds its exposure up to its last poll, so that the quick ones,
which are heard of first, do not make the service look quicker than it is.

The prior is the smooth law that the counts speak for (`papsms_async.delay_prior`). Among what it
may be is the law of the parent: of a (service, country) its service, of a service everything seen.
The parent is believed in as far as it knows of others than the child itself.

Counts are halved every `HALF_LIFE_OBSERVATIONS` observations, and with time. Three hundred
observations keep about 430 in memory, an error of S of 2 %; at the service's limit they pass in
twenty minutes, which is how fast the law follows drift. Time alone takes hours to forget: when so
little happens that time matters, permits lie idle and the law decides next to nothing, and
yesterday's law is still better than the cold start.

Source: the occurrence/exposure rate.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from math import inf, log2

from papsms_async.delay_prior import Candidates, candidates_of
from papsms_async.delays import BINS_PER_OCTAVE, COLD_START, EDGES, DelayLaw
from papsms_async.evidence import HALF_LIFE_OBSERVATIONS, HALF_LIFE_SECONDS, Evidence, Key
from papsms_async.shrinkage import KAPPAS, shrunk

__all__ = ["DelayModel"]

PARENT_BELIEF = 0.75
"""How likely a (service, country) is to be like its service beforehand, or a service like all, were
everything known of the parent learned from others."""

THIN = 30.0
"""Below this weight (in observations) a (service, country) counts as thinly observed."""

USUAL_TIMEOUT = 60.0
REBUILD_SHARE = 0.1
FEW = 10.0
"""A law is made anew after a tenth more of evidence than so many observations and what was seen."""
MAX_KEYS = 4096
_RESCALE_ABOVE = 1e9


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

    def add(
        self, evidence: list[tuple[int, float, float]], at: float, grow: float, weight: float
    ) -> None:
        elapsed = max(0.0, at - self.at)
        self.at = max(self.at, at)
        # Beyond ten half-lives nothing is left worth a number; the bound keeps the power finite.
        self.gain *= grow * 2.0 ** min(elapsed / HALF_LIFE_SECONDS, 10.0)
        gain = self.gain
        for k, events, exposure in evidence:
            self.events[k] += events * gain
            self.exposure[k] += exposure * gain
        self.weight += gain * weight
        self.seen += weight
        self.fresh += weight
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

    def law_under(
        self, parent: DelayLaw, belief: float, kappas: Sequence[float], candidates: Candidates
    ) -> DelayLaw:
        """Return the law of these counts; the last one made while little is new.

        Args:
            parent: What is known of more than these counts.
            belief: How likely this is like the parent, beforehand.
            kappas: What the prior may weigh.
            candidates: What else it may be like.
        """
        enough = self.fresh > REBUILD_SHARE * (self.current_weight() + FEW)
        if self.law is not None and self.parent is parent and not enough:
            return self.law
        last = len(EDGES) - 1
        exposures = [seconds / self.gain for seconds in self.exposure[:last]]
        seen = [events / self.gain for events in self.events[:last]]
        prior = candidates.posterior(seen, exposures, parent=parent, belief=belief)
        self.law = shrunk(prior, seen, exposures, kappas)
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
        kappas: what each prior may weigh, in activations, more than 0.
    """

    def __init__(self, *, prior: DelayLaw = COLD_START, kappas: Sequence[float] = KAPPAS) -> None:
        if not kappas or min(kappas) <= 0:
            raise ValueError("kappas must be more than 0")
        self._prior = prior
        self._kappas = tuple(kappas)
        self._grow = 2.0 ** (1.0 / HALF_LIFE_OBSERVATIONS)
        self._counts: OrderedDict[tuple[str, ...], _Counts] = OrderedDict()
        self._laws: dict[tuple[str, str], DelayLaw] = {}

    @classmethod
    def for_timeout(cls, timeout: float) -> DelayModel:
        """Make a model whose cold start suits callers that wait `timeout` seconds.

        The guide's callers wait 60 s and more, and get `COLD_START`. Who waits less knows of a
        faster service (a test service, most likely), so its delays are believed to be shorter in
        proportion.
        """
        if timeout >= USUAL_TIMEOUT:
            return cls()
        return cls(prior=_faster(round(BINS_PER_OCTAVE * log2(USUAL_TIMEOUT / timeout))))

    def observe_waiting(
        self, service: str, country: str, *, low: float, high: float, at: float
    ) -> None:
        """Learn from a poll: the SMS had not come by age `low`, and still has not by `high`.

        What ends the wait is then to be told with ``since=high``.
        """
        self._add(service, country, [(k, 0.0, w) for k, w in _walk(low, high)], at, ended=False)

    def observe(
        self,
        service: str,
        country: str,
        *,
        age: float,
        arrived: bool,
        at: float,
        since: float = 0.0,
    ) -> None:
        """Learn from one activation: its SMS came at `age`, or had not come by `age`.

        Args:
            service: as in the request.
            country: as in the request.
            age: seconds since the SMS was asked for; exact when `arrived`, else how long it was
                watched.
            arrived: whether the SMS came.
            at: seconds on any monotonic clock, always the same one.
            since: age up to which the wait was told of already.
        """
        evidence = [(k, 0.0, width) for k, width in _walk(since, age)]
        if arrived and age < EDGES[-1]:
            k = max(0, bisect_left(EDGES, age) - 1)
            evidence.append((k, 1.0, 0.0))
        self._add(service, country, evidence, at)

    def observe_interval(
        self,
        service: str,
        country: str,
        *,
        low: float,
        high: float,
        at: float,
        since: float = 0.0,
    ) -> None:
        """Learn from an SMS known only to have come after age `low` and by age `high`.

        The event is spread over the interval as the present law would have it: one step of
        expectation-maximisation, which does not favour either end as a guess at a midpoint would.
        """
        low = max(0.0, low)
        if high <= low:
            self.observe(service, country, age=low, arrived=True, at=at, since=since)
            return
        law = self.law(service, country)
        after_low, after_high = law.survival(low), law.survival(high)
        inside = after_low - after_high
        evidence = [(k, 0.0, width) for k, width in _walk(since, low)]
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
        # Between two observations it is asked for everything in flight or in the line.
        known = self._laws.get((service, country))
        if known is None:
            known = self._laws[service, country] = self._law(service, country)
        return known

    def _law(self, service: str, country: str) -> DelayLaw:
        law, weight = self._prior, 0.0
        for key in ((), (service,), (service, country)):
            counts = self._counts.get(key)
            if counts is not None:
                mine = counts.current_weight()
                # Of what the parent knows, that much was learned from others.
                others = 0.0 if weight <= 0.0 else max(0.0, 1.0 - mine / weight)
                candidates = candidates_of(self._prior)
                law = counts.law_under(law, PARENT_BELIEF * others, self._kappas, candidates)
                weight = mine
        return law

    def is_thin(self, service: str, country: str) -> bool:
        """Return whether too little was seen of a (service, country) to skip a poll on its word."""
        counts = self._counts.get((service, country))
        return counts is None or counts.current_weight() < THIN

    def grounds(self, service: str, country: str) -> tuple[Key | None, float]:
        """Return what the law of a (service, country) was mostly learned from, and how much.

        Returns:
            The most specific key that more was seen of than its prior weighs at least, else the
            general one, with the activations that its evidence stands for; None and 0 where
            nothing was seen.
        """
        for key in ((service, country), (service,), ()):
            counts = self._counts.get(key)
            weight = 0.0 if counts is None else counts.current_weight()
            if weight > min(self._kappas) or (weight > 0.0 and not key):
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
        self._laws.clear()
        self._forget_oldest()

    def _add(
        self,
        service: str,
        country: str,
        evidence: list[tuple[int, float, float]],
        at: float,
        *,
        ended: bool = True,
    ) -> None:
        for key in ((service, country), (service,), ()):
            counts = self._counts.get(key)
            if counts is None:
                counts = self._counts[key] = _Counts(at)
            self._counts.move_to_end(key)
            counts.add(evidence, at, self._grow if ended else 1.0, weight=float(ended))
        self._laws.clear()
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        while len(self._counts) > MAX_KEYS:
            self._counts.popitem(last=False)


@lru_cache(maxsize=64)
def _faster(steps: int) -> DelayLaw:
    """Return the cold start of a service so many bins faster, always the same object of it."""
    return COLD_START.scaled(2.0 ** (-steps / BINS_PER_OCTAVE))


def _walk(low: float, high: float) -> Iterator[tuple[int, float]]:
    """Cut [low, high) at the edges: (bin, seconds in it), up to the last edge."""
    k = max(0, bisect_right(EDGES, low) - 1)
    while low < high and k < len(EDGES) - 1:
        end = min(high, EDGES[k + 1])
        yield k, end - low
        low = end
        k += 1
