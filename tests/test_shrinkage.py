"""How far counts are believed against a smooth law: as far as they differ from it by more than
noise."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async.delays import EDGES, DelayLaw
from papsms_async.shrinkage import KAPPAS, shrunk

SMOOTH = DelayLaw.lognormal(12.0, 0.8, 0.08)
HUMPS = DelayLaw.from_survival(
    lambda age: (
        DelayLaw.lognormal(4.0, 0.15, 0.0).survival(age) / 2
        + DelayLaw.lognormal(40.0, 0.15, 0.16).survival(age) / 2
    )
)
BINS = len(EDGES) - 1
counts = st.lists(st.floats(0.0, 200.0), min_size=BINS, max_size=BINS)


def counted(law: DelayLaw, rng: random.Random, activations: int) -> tuple[list[float], list[float]]:
    """Draw activations of a law, watched for two minutes: events and exposure per bin."""
    events, exposure = [0.0] * BINS, [0.0] * BINS
    for _ in range(activations):
        for k, (low, high) in enumerate(pairwise(EDGES)):
            if low >= 120.0:
                break
            wait = rng.expovariate(law.hazards[k]) if law.hazards[k] > 0 else high
            exposure[k] += min(wait, high - low)
            if wait < high - low:
                events[k] += 1
                break
    return events, exposure


def error(law: DelayLaw, truth: DelayLaw) -> float:
    """Return the mean difference of two survival functions within two minutes."""
    return sum(abs(law.survival(age) - truth.survival(age)) for age in range(1, 121)) / 120


def mean_errors(truth: DelayLaw, *candidates: tuple[float, ...]) -> list[float]:
    """Return the mean error after 60 activations, for each choice of kappas."""
    errors = [0.0] * len(candidates)
    for seed in range(20):
        events, exposure = counted(truth, random.Random(f"shrink {seed}"), 60)
        for which, kappas in enumerate(candidates):
            errors[which] += error(shrunk(SMOOTH, events, exposure, kappas), truth) / 20
    return errors


def test_a_smooth_law_is_not_bent_by_noise() -> None:
    """Where the prior is right, the counts say so, and half of the noise is gone."""
    light, chosen = mean_errors(SMOOTH, (min(KAPPAS),), KAPPAS)
    assert chosen < 0.6 * light


def test_a_law_of_another_form_is_followed() -> None:
    """Where the prior is wrong, the counts say so, and weigh as much as they may."""
    light, chosen, heavy = mean_errors(HUMPS, (min(KAPPAS),), KAPPAS, (max(KAPPAS),))
    assert chosen < 1.05 * light
    assert chosen < 0.6 * heavy


@pytest.mark.parametrize("kappas", [KAPPAS, (5.0,)])
def test_without_counts_it_is_the_prior(kappas: tuple[float, ...]) -> None:
    """Nothing seen, nothing moved."""
    nothing = [0.0] * BINS
    assert shrunk(SMOOTH, nothing, nothing, kappas).hazards == pytest.approx(SMOOTH.hazards)


@given(events=counts, exposure=counts)
def test_hazards_lie_between_counts_and_prior(events: list[float], exposure: list[float]) -> None:
    """Whatever was counted: events without a second of waiting, or seconds without end."""
    law = shrunk(SMOOTH, events, exposure)
    for k in range(BINS):
        low = high = SMOOTH.hazards[k]
        if events[k] > 0 or exposure[k] > 0:
            alone = events[k] / exposure[k] if exposure[k] > 0 else float("inf")
            low, high = min(low, alone), max(high, alone)
        assert low * (1 - 1e-6) - 1e-12 <= law.hazards[k] <= high * (1 + 1e-6)
