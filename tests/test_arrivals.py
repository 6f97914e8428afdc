"""How often callers come is learned from those who came."""

from __future__ import annotations

import random

import pytest

from papsms_async.arrivals import MEMORY, PRIOR, ArrivalRate


def test_nobody_is_expected_before_anybody_came() -> None:
    """Without a caller there is nothing to go by."""
    assert ArrivalRate().rate(1000.0) == 0.0


def test_first_callers_do_not_pass_for_a_crowd() -> None:
    """One caller is one a minute, five at once are five a minute, at whatever time they come."""
    rate = ArrivalRate()
    rate.came(5000.0)
    assert rate.rate(5000.0) == pytest.approx(1 / PRIOR)
    for _ in range(4):
        rate.came(5000.0)
    assert rate.rate(5000.0) == pytest.approx(5 / PRIOR)


@pytest.mark.parametrize("per_minute", [0.5, 10.0, 200.0])
def test_steady_rate_is_found(per_minute: float) -> None:
    """After two hours it is known to within three standard deviations."""
    rng, rate, now = random.Random(1), ArrivalRate(), 0.0
    while now < 4 * MEMORY:
        now += rng.expovariate(per_minute / 60)
        rate.came(now)
    # So many callers count, of those who came while it remembers.
    counted = 2 * MEMORY * per_minute / 60
    assert rate.rate(now) * 60 == pytest.approx(per_minute, rel=3 / counted**0.5)


def test_what_is_over_is_forgotten() -> None:
    """When nobody comes any more, less and less is expected, without a jump."""
    rate = ArrivalRate()
    for second in range(0, 3600, 6):
        rate.came(float(second))
    rates = [rate.rate(3600.0 + 60.0 * minute) for minute in range(200)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == pytest.approx(1 / 6, rel=0.05)
    assert rates[1] > 0.95 * rates[0]
    assert rates[-1] < 0.01 * rates[0]


def test_clock_that_steps_back_changes_nothing() -> None:
    """An instant before the last is taken for it."""
    rate = ArrivalRate()
    rate.came(100.0)
    assert rate.rate(50.0) == rate.rate(100.0)
