"""What the law of an SMS delay may be, before and while little of it was seen.

Theory of operation
-------------------
A few dozen observations don't fill forty bins: a law made of them alone is mostly noise, and a plan
made of noise waits where it should not. So they are first asked which *smooth* law they speak for.
The candidates are copies of one law, faster or slower, narrower or wider, with more or fewer SMS
that never come, each believed in beforehand as much as its distance allows; and, for a
(service, country), what is known of its service. Bayes' rule weighs them by the evidence, and the
weighted mean of their survival functions is the prior of the bins.

For hazards that are constant on each bin, the logarithm of the likelihood of a candidate with
hazards h_k is the sum over the bins of d_k log h_k - e_k h_k, with d_k events and e_k seconds of
waiting, censored or not.

Pure: no clock, no chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import exp, log
from operator import mul

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
MOST_NEVER = 0.6
LEAST_HAZARD = 1e-7
NEGLIGIBLE = 1e-4
"""A candidate of a smaller share is left out of the mean."""


@attrs.frozen(eq=False)
class Candidate:
    """One law that may be true.

    Attributes:
        belief: logarithm of the belief in it beforehand.
        hazards: SMS per second among those still waiting, one per bin but the last.
        logs: their logarithms.
        survivals: S at the edges.
    """

    belief: float
    hazards: tuple[float, ...]
    logs: tuple[float, ...]
    survivals: tuple[float, ...]

    @classmethod
    def of(cls, survivals: tuple[float, ...], belief: float) -> Candidate:
        """Make a candidate of a law's survivals at the edges."""
        hazards = tuple(
            max(LEAST_HAZARD, log(max(low, 1e-300) / max(high, 1e-300)) / (after - before))
            for before, after, low, high in zip(
                EDGES, EDGES[1:], survivals, survivals[1:], strict=False
            )
        )
        return cls(log(belief), hazards, tuple(map(log, hazards)), survivals)

    def likelihood(self, events: Sequence[float], exposure: Sequence[float]) -> float:
        """Return the logarithm of its likelihood, up to a constant.

        Both may end before the last bin: nothing was seen after it then.
        """
        gained: float = sum(map(mul, events, self.logs))
        lost: float = sum(map(mul, exposure, self.hazards))
        return gained - lost


class Candidates:
    """The laws that may be true of one service.

    Args:
        law: What they are copies of.
    """

    def __init__(self, law: DelayLaw) -> None:
        never = law.survival(EDGES[-1])
        middle = _median(law)
        self._all: list[Candidate] = []
        for factor in FACTORS:
            distant = exp(-((log(factor) / SPREAD) ** 2) / 2)
            for width, of_width in WIDTHS:
                pending = _pending(law, never, middle, factor, width)
                for more, of_more in NEVERS:
                    share = min(MOST_NEVER, more * never)
                    survivals = tuple(share + (1 - share) * value for value in pending)
                    self._all.append(Candidate.of(survivals, distant * of_width * of_more))
        total = sum(exp(one.belief) for one in self._all)
        self._total = log(total)

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
        # Made at every tenth of new evidence, for each service: the bins that nobody lived to see
        # need not be looked at a hundred and fifty times.
        pairs = enumerate(zip(events, exposure, strict=True), 1)
        seen = max((k for k, pair in pairs if any(pair)), default=0)
        events, exposure = events[:seen], exposure[:seen]
        candidates = self._all
        rest = log(1 - belief) - self._total
        scores = [one.belief + rest + one.likelihood(events, exposure) for one in candidates]
        if parent is not None and belief > 0:
            survivals, _ = parent.tables(EDGES)
            more = Candidate.of(survivals, belief)
            candidates = [*candidates, more]
            scores.append(more.belief + more.likelihood(events, exposure))
        best = max(scores)
        shares = [exp(score - best) for score in scores]
        least = NEGLIGIBLE * sum(shares)
        kept = [
            (share, one.survivals)
            for share, one in zip(shares, candidates, strict=True)
            if share > least
        ]
        weights, curves = zip(*kept, strict=True)
        total = sum(weights)
        means = (sum(map(mul, weights, values)) / total for values in zip(*curves, strict=True))
        return DelayLaw.from_survival(dict(zip(EDGES, means, strict=True)).__getitem__)


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
