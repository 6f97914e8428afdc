"""What the law of an SMS delay may be, before and while little of it was seen.

Theory of operation
-------------------
A few dozen observations don't fill forty bins: a law made of them alone is mostly noise, and a plan
made of noise waits where it should not. So they are first asked which *smooth* law they speak for.
The candidates are copies of one law, faster or slower, narrower or wider, with more or fewer SMS
that never come, each believed in beforehand as much as its distance allows; and, for a
(service, country), what is known of its service. Bayes' rule weighs them by the evidence, and the
weighted mean of their survival functions is the prior of the bins. They stand far apart, which is
as well while little is known; once a few are left, each gives way to its parts, which stand closer
than some hundred observations can tell.

For hazards that are constant on each bin, the logarithm of the likelihood of a candidate with
hazards h_k is the sum over the bins of d_k log h_k - e_k h_k, with d_k events and e_k seconds of
waiting, censored or not.

Pure: no clock, no chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import product
from math import exp, log
from operator import itemgetter, mul, neg

import attrs

from papsms_async.delays import EDGES, DelayLaw

__all__ = ["Candidates", "candidates_of"]

FACTORS = tuple(2.0 ** (k / 2) for k in range(-8, 9))
"""How much slower than the given law a candidate is."""
SPREAD = 0.9
"""Standard deviation of the logarithm of that factor, beforehand: services differ by about 2.5."""
WIDTHS = ((0.5, 0.25), (0.75, 0.4), (1.0, 0.35))
"""How wide it is on a logarithmic scale, as a share of the given law's width, and the belief."""
NEVERS = ((0.3, 0.25), (1.0, 0.5), (3.0, 0.25))
"""How many more SMS never come, as a factor, and the belief."""
PARTS = (-1 / 3, 0.0, 1 / 3)
"""A candidate stands for a cell of factors, widths and nevers: the middles of the parts of each, in
cells."""
FACTOR_CELL, WIDTH_CELL, NEVER_CELL = 2.0**0.5, 0.25, 10.0**0.5
LIKELY = 0.01
"""A candidate of a smaller share is not among the few that are left."""
FEW_LEFT = 8
PARTS_KEPT = 24
"""Of so many candidates the parts are kept, about 0.1 MiB each."""
MOST_NEVER = 0.6
LEAST_HAZARD = 1e-7
NEGLIGIBLE = 1e-4
"""A candidate of a smaller share is left out of the mean."""


@attrs.frozen(eq=False)
class Candidate:
    """One law that may be true.

    Attributes:
        belief: logarithm of the belief in it beforehand.
        shape: its factor, its width, and how many more SMS never come; empty for another law.
        terms: what its likelihood is made of: minus its hazards, SMS per second among those still
            waiting, one for each bin but the last, and after them their logarithms.
        survivals: S at the edges.
    """

    belief: float
    shape: tuple[float, ...]
    terms: tuple[float, ...]
    survivals: tuple[float, ...]

    @classmethod
    def of(
        cls, survivals: tuple[float, ...], belief: float, shape: tuple[float, ...] = ()
    ) -> Candidate:
        """Make a candidate of a law's survivals at the edges; its belief as a probability."""
        hazards = tuple(
            max(LEAST_HAZARD, log(max(low, 1e-300) / max(high, 1e-300)) / (after - before))
            for before, after, low, high in zip(
                EDGES, EDGES[1:], survivals, survivals[1:], strict=False
            )
        )
        terms = (*map(neg, hazards), *map(log, hazards))
        return cls(log(belief), shape, terms, survivals)


class Candidates:
    """The laws that may be true of one service.

    Args:
        law: What they are copies of.
    """

    def __init__(self, law: DelayLaw) -> None:
        self._law = law
        self._never = law.survival(EDGES[-1])
        self._middle = _median(law)
        distant = {factor: exp(-((log(factor) / SPREAD) ** 2) / 2) for factor in FACTORS}
        total = sum(distant.values()) * sum(dict(WIDTHS).values()) * sum(dict(NEVERS).values())
        self._all = [
            copy
            for factor in FACTORS
            for width, belief in WIDTHS
            for copy in self._copies(
                factor,
                width,
                [(more, distant[factor] * belief * also / total) for more, also in NEVERS],
            )
        ]
        self._parts: dict[tuple[float, ...], list[Candidate]] = {}

    def _copies(
        self, factor: float, width: float, nevers: Iterable[tuple[float, float]]
    ) -> Iterator[Candidate]:
        """Make a copy for each of how many more SMS never come, with the belief in it."""
        pending = _pending(self._law, self._never, self._middle, factor, width)
        for more, belief in nevers:
            share = min(MOST_NEVER, more * self._never)
            survivals = tuple(share + (1 - share) * value for value in pending)
            yield Candidate.of(survivals, belief, (factor, width, more))

    def _parts_of(self, whole: Candidate) -> list[Candidate]:
        """Return what stands for the parts of a candidate's cell, which share its belief."""
        parts = self._parts.pop(whole.shape, None)
        if parts is None:
            factor, width, more = whole.shape
            belief = exp(whole.belief) / len(PARTS) ** 3
            nevers = [(more * NEVER_CELL**part, belief) for part in PARTS]
            parts = [
                copy
                for a, b in product(PARTS, repeat=2)
                for copy in self._copies(factor * FACTOR_CELL**a, width + WIDTH_CELL * b, nevers)
            ]
        self._parts[whole.shape] = parts
        while len(self._parts) > PARTS_KEPT:
            del self._parts[next(iter(self._parts))]
        return parts

    def posterior(
        self,
        events: Sequence[float],
        exposure: Sequence[float],
        *,
        parent: DelayLaw | None = None,
        belief: float = 0.0,
    ) -> DelayLaw:
        """Return the mean of all candidates, weighted by what was seen.

        Args:
            events: SMS seen in each bin but the last.
            exposure: seconds of waiting spent in it.
            parent: another candidate, such as the law of the service.
            belief: the share of belief that it gets beforehand, below 1.
        """
        # Made at every tenth of new evidence, for each service: what is zero need not be looked at
        # some hundred times. Two terms at least, because itemgetter gives no tuple of one.
        counted = (*exposure, *events)
        places = [k for k, value in enumerate(counted) if value]
        seen = (*(counted[k] for k in places), 0.0, 0.0)
        terms = itemgetter(*places, 0, 0)

        def weighed(these: Iterable[Candidate], belief: float) -> list[tuple[float, Candidate]]:
            more = log(belief)
            return [
                (more + one.belief + sum(map(mul, seen, terms(one.terms))), one) for one in these
            ]

        scores = weighed(self._all, 1 - belief)
        likely = _likely(scores, LIKELY)
        if 0 < len(likely) <= FEW_LEFT:
            parts = (part for _, one in likely for part in self._parts_of(one))
            scores = weighed(parts, 1 - belief)
        if parent is not None and belief > 0:
            scores += weighed([Candidate.of(parent.tables(EDGES)[0], 1.0)], belief)
        weights, kept = zip(*_likely(scores, NEGLIGIBLE), strict=True)
        total = sum(weights)
        curves = zip(*(one.survivals for one in kept), strict=True)
        means = (sum(map(mul, weights, values)) / total for values in curves)
        return DelayLaw.from_survival(dict(zip(EDGES, means, strict=True)).__getitem__)


def _likely(
    scores: Sequence[tuple[float, Candidate]], least: float
) -> list[tuple[float, Candidate]]:
    """Return those whose share is more than ``least``, with what is in proportion to it."""
    best = max(score for score, _ in scores)
    shares = [(exp(score - best), one) for score, one in scores]
    least *= sum(share for share, _ in shares)
    return [(share, one) for share, one in shares if share > least]


@lru_cache(maxsize=16)
def candidates_of(law: DelayLaw) -> Candidates:
    """Return the candidates around a law, made once."""
    return Candidates(law)


def _median(law: DelayLaw) -> float:
    """Return the median delay of the SMS that come, in seconds."""
    never = law.survival(EDGES[-1])
    middle = never + (1 - never) / 2
    low, high = 0.0, EDGES[-1]
    while high - low > 1e-3 * high:
        age = (low + high) / 2
        low, high = (age, high) if law.survival(age) > middle else (low, age)
    return max(high, 1e-3)


def _pending(
    law: DelayLaw, never: float, middle: float, factor: float, width: float
) -> list[float]:
    """Return which share of the SMS that come has not come by each edge, for a copy of a law.

    Args:
        law: The original.
        never: Its share of SMS that never come.
        middle: Its median, in seconds.
        factor: How much slower the copy is.
        width: How wide it is on a logarithmic scale, as a share of the original's width.
    """
    ages = [middle * (edge / (factor * middle)) ** (1 / width) for edge in EDGES]
    survivals, _ = law.tables(ages)
    return [max(0.0, value - never) / max(1e-9, 1 - never) for value in survivals]
