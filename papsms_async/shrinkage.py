"""How far what was counted is believed against the smooth law that it speaks for.

Theory of operation
-------------------
In each bin there are d events in e seconds of exposure, and the prior law would have had kappa * d0
in kappa * e0, kappa activations being what it weighs. With the hazard gamma-distributed beforehand,

    h = (d + kappa * d0) / (e + kappa * e0)

How much the prior should weigh is not known. Where the smooth law is right, all that bins differ
from it by is noise, and it should weigh much; where the true law has two humps, it should weigh
little. The counts themselves tell: the logarithm of their probability, the hazards integrated out,
is up to a constant the sum over the bins of

    lgamma(a + d) - lgamma(a) + a * log(b) - (a + d) * log(b + e),   a = kappa * d0, b = kappa * e0

By it a few values of kappa are weighed, and the mean of their hazards is taken.

Pure: no clock, no chance.

Source: the negative binomial marginal of a Poisson count with a gamma prior (empirical Bayes).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import exp, lgamma, log
from operator import mul

from papsms_async.delays import EDGES, DelayLaw

__all__ = ["KAPPAS", "shrunk"]

KAPPAS: tuple[float, ...] = (30.0, 120.0, 480.0, 1920.0)
"""What the prior law may weigh, in activations, each believed in as much as the others beforehand.

Between the least, at which a law of any form is learned in the bins that were lived through often,
and one that leaves hardly more than the smooth law."""

_LEAST = 1e-9
"""A bin of the prior has at least so many events and seconds an activation, so that it has a
logarithm."""


def shrunk(
    prior: DelayLaw,
    events: Sequence[float],
    exposure: Sequence[float],
    kappas: Sequence[float] = KAPPAS,
) -> DelayLaw:
    """Return the law of what was counted, as near to a prior as the counts are.

    Args:
        prior: the law that they are shrunk to.
        events: SMS seen in each bin of `papsms_async.delays.EDGES` but the last.
        exposure: seconds of waiting spent in it.
        kappas: what the prior may weigh, in activations, each more than 0.
    """
    survivals, integrals = prior.tables(EDGES)
    expected = [low - high for low, high in pairwise(survivals)]
    waited = [high - low for low, high in pairwise(integrals)]
    counted = tuple(zip(events, exposure, expected, waited, strict=True))
    scores = [_evidence(kappa, counted) for kappa in kappas] if len(kappas) > 1 else [0.0]
    best = max(scores)
    shares = [exp(score - best) for score in scores]
    total = sum(shares)
    hazards = (
        sum(map(mul, shares, (_hazard(kappa, *one) for kappa in kappas))) / total for one in counted
    )
    return DelayLaw(EDGES, (*hazards, 0.0))


def _hazard(kappa: float, events: float, exposure: float, expected: float, waited: float) -> float:
    seconds = exposure + kappa * waited
    return (events + kappa * expected) / seconds if seconds > 1e-12 else 0.0


def _evidence(kappa: float, counted: Sequence[tuple[float, float, float, float]]) -> float:
    """Return the logarithm of the probability of what was counted, up to a constant."""
    total = 0.0
    for events, exposure, expected, waited in counted:
        if exposure > 0.0:
            a, b = kappa * max(expected, _LEAST), kappa * max(waited, _LEAST)
            total += lgamma(a + events) - lgamma(a) + a * log(b) - (a + events) * log(b + exposure)
    return total
