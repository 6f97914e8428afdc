"""What the scheduler's mathematics promises, for laws and ages of any kind."""

from __future__ import annotations

import itertools
import math
import random
from bisect import bisect_right

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from papsms_async import evidence, learning
from papsms_async.delays import EDGES, DelayLaw
from papsms_async.learning import DelayModel
from papsms_async.polling import PRICES, index, poll_plan

lognormals = st.builds(
    DelayLaw.lognormal, st.floats(0.5, 60.0), st.floats(0.2, 1.5), st.floats(0.0, 0.9)
)
rough = st.lists(st.floats(0.0, 1.0), min_size=len(EDGES), max_size=len(EDGES)).map(
    lambda hazards: DelayLaw(EDGES, tuple(hazards))
)
laws = st.one_of(lognormals, rough)
ages = st.floats(0.0, 400.0)


# The law -----------------------------------------------------------------------------------------


@given(law=laws, ages=st.lists(st.floats(0.0, 5000.0), min_size=2, max_size=12))
def test_survival_falls_from_one_and_without_jumps(law: DelayLaw, ages: list[float]) -> None:
    """S(0) is 1, S never rises or leaves [0, 1], and it is continuous, at the edges of bins too."""
    values = [law.survival(age) for age in sorted(ages)]
    assert law.survival(0.0) == 1.0
    assert all(0.0 <= value <= 1.0 for value in values)
    assert all(low >= high - 1e-12 for low, high in itertools.pairwise(values))
    for edge in EDGES[1:]:
        steepest = max(law.hazards)
        step = 1e-7
        assert law.survival(edge - step) - law.survival(edge) <= 2 * steepest * step + 1e-12


@given(law=laws, low=ages, high=ages)
def test_hazards_are_what_the_survival_says(law: DelayLaw, low: float, high: float) -> None:
    """Between two ages S falls by the hazards' sum over the time between them."""
    low, high = sorted((low, high))
    assume(law.survival(high) > 1e-200)
    total = 0.0
    for k, start in enumerate(EDGES):
        end = EDGES[k + 1] if k + 1 < len(EDGES) else math.inf
        total += law.hazards[k] * max(0.0, min(high, end) - max(low, start))
    lost = math.log(law.survival(low)) - math.log(law.survival(high))
    assert lost == pytest.approx(total, rel=1e-6, abs=1e-9)


# The index ---------------------------------------------------------------------------------------


@given(law=laws, last=ages, widths=st.lists(st.floats(0.0, 200.0), min_size=2, max_size=8))
def test_index_grows_with_the_age(law: DelayLaw, last: float, widths: list[float]) -> None:
    """The longer ago the last look, the more one saves, and no faster than time passes."""
    assume(law.survival(last) > 1e-9)
    ages_now = [last + width for width in sorted(widths)]
    values = [index(law, last, age) for age in ages_now]
    assert index(law, last, last) == pytest.approx(0.0, abs=1e-9)
    for (age, value), (later, more) in itertools.pairwise(zip(ages_now, values, strict=True)):
        slack = 1e-6 * (1.0 + later)
        assert value - slack <= more <= value + (later - age) + slack


@settings(max_examples=60)
@given(law=laws, last=st.floats(0.0, 60.0), width=st.floats(0.1, 120.0))
def test_index_is_the_mean_wait_of_an_sms_that_nobody_saw(
    law: DelayLaw, last: float, width: float
) -> None:
    """It is the mean of how long ago the SMS came, over all that may have come since the last look.

    Summed over small steps of the law instead of by its integral.
    """
    alive = law.survival(last)
    assume(alive > 1e-6)
    points = sorted({last, last + width, *(edge for edge in EDGES if last < edge < last + width)})
    mean = 0.0
    for low, high in itertools.pairwise(points):
        count = 20 + int(4 * (high - low))
        step = (high - low) / count
        for k in range(count):
            start = low + k * step
            share = (law.survival(start) - law.survival(start + step)) / alive
            mean += share * (last + width - start - step / 2)
    assert index(law, last, last + width) == pytest.approx(mean, rel=0.02, abs=0.02)


@given(law=laws, last=ages, earlier=st.floats(0.0, 1.0), width=st.floats(0.1, 100.0))
def test_index_of_a_law_without_sms_is_zero(
    law: DelayLaw, last: float, earlier: float, width: float
) -> None:
    """Where no SMS can come in between, a look saves nothing, whatever came before."""
    until = last + width
    quiet = DelayLaw(
        EDGES,
        tuple(
            0.0 if start < until and end > earlier * last else hazard
            for start, end, hazard in zip(EDGES, (*EDGES[1:], math.inf), law.hazards, strict=True)
        ),
    )
    assume(quiet.survival(last) > 1e-9)
    assert index(quiet, last, until) == pytest.approx(0.0, abs=1e-6 * (1.0 + until))


# Learning ----------------------------------------------------------------------------------------

TRUTHS = {
    "lognormal": DelayLaw.lognormal(12.0, 0.8, 0.08),
    "quick": DelayLaw.lognormal(3.0, 0.4, 0.0),
    "seldom": DelayLaw.lognormal(30.0, 1.0, 0.6),
    "two humps": DelayLaw.from_survival(
        lambda age: (
            0.1
            + 0.45 * DelayLaw.lognormal(4.0, 0.3, 0.0).survival(age)
            + 0.45 * DelayLaw.lognormal(45.0, 0.2, 0.0).survival(age)
        )
    ),
}


def draw(law: DelayLaw, rng: random.Random) -> float:
    """Return a delay drawn from a law, infinite for an SMS that never comes."""
    left = rng.random()
    if left <= law.survival(EDGES[-1]):
        return math.inf
    k = bisect_right([-law.survival(edge) for edge in EDGES], -left) - 1
    low, high = EDGES[k], EDGES[k + 1]
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if law.survival(middle) > left else (low, middle)
    return high


GIVEN_UP = {
    "at one age": lambda rng: 60.0,
    "at any age": lambda rng: rng.uniform(0.0, 120.0),
    "often early": lambda rng: rng.expovariate(1 / 15.0),
    "at one of two": lambda rng: rng.choice((8.0, 120.0)),
}
"""When whoever waits gives up, whatever the SMS would have done."""


@pytest.fixture
def unfading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidence that never fades, so that much of it can be gathered."""
    for module in (learning, evidence):
        monkeypatch.setattr(module, "HALF_LIFE_OBSERVATIONS", 1e12)


def spread(law: DelayLaw, age: float, exposed: list[float]) -> float:
    """Return the standard error of S as estimated from activations watched for so long each.

    Source: Greenwood's formula, for a hazard that is constant on each bin.
    """
    variance = 0.0
    for k, (low, high) in enumerate(itertools.pairwise(EDGES)):
        if low >= age:
            break
        seconds = sum(max(0.0, min(one, high) - low) for one in exposed)
        width = min(high, age) - low
        if seconds:
            variance += law.hazards[k] * width**2 / seconds
    return law.survival(age) * math.sqrt(variance)


@pytest.mark.parametrize(
    ("truth", "given_up", "gap"),
    [
        *((truth, given_up, 0.0) for truth in TRUTHS for given_up in GIVEN_UP),
        *((truth, given_up, 2.0) for truth in TRUTHS for given_up in ("at one age", "often early")),
    ],
)
@pytest.mark.usefixtures("unfading")
def test_giving_up_does_not_bend_the_law(truth: str, given_up: str, gap: float) -> None:
    """However long callers wait, the law that is learned is the true one but for chance.

    Also where an SMS is only known to have come between two looks, ``gap`` seconds apart.
    """
    law, ends = TRUTHS[truth], GIVEN_UP[given_up]
    rng = random.Random(f"{truth} {given_up}")
    # A prior that weighs next to nothing, and is not the truth.
    model = DelayModel(kappas=(1e-3,))
    exposed = []
    for _ in range(2000):
        delay, end = draw(law, rng), ends(rng)
        exposed.append(min(delay, end))
        if delay > end:
            model.observe("s", "us", age=end, arrived=False, at=0.0)
        elif not gap:
            model.observe("s", "us", age=delay, arrived=True, at=0.0)
        else:
            low = gap * (delay // gap)
            model.observe_interval("s", "us", low=low, high=min(low + gap, end), at=0.0)
    # Made of all that was seen, and not of what was there when it was last made.
    fresh = DelayModel(kappas=(1e-3,))
    fresh.restore(model.snapshot(0.0), 0.0)
    learned = fresh.law("s", "us")
    watched = sorted(exposed)
    # Edges of bins: within one the truth may be finer than what is learned. And all but the first
    # are ages of looks: what is between two of them nobody knows.
    for age in (1.0, 4.0, 8.0, 16.0, 32.0, 64.0)[bool(gap) :]:
        # Where few were still watched, nothing can be known.
        if len(watched) - bisect_right(watched, age) >= 100:
            error = abs(learned.survival(age) - law.survival(age))
            assert error <= 4 * spread(law, age, exposed) + (0.03 if gap else 0.005), age


# Plans -------------------------------------------------------------------------------------------


def cost_of(law: DelayLaw, price: float, looks: tuple[float, ...]) -> float:
    """Return what it costs on average to look at these ages: looks, and undetected waiting."""
    cost = 0.0
    for last, age in itertools.pairwise((0.0, *looks)):
        alive = law.survival(last)
        cost += price * alive + (age - last) * alive - (law.integral(age) - law.integral(last))
    return cost


@settings(max_examples=60)
@given(
    law=laws,
    price=st.sampled_from(PRICES),
    timeout=st.floats(5.0, 300.0),
    shares=st.lists(st.floats(0.0, 1.0), max_size=12),
)
def test_no_other_ages_are_cheaper(
    law: DelayLaw, price: float, timeout: float, shares: list[float]
) -> None:
    """No ages at all, as far apart as is decent and the last at the timeout, cost less."""
    plan = poll_plan(law, price, timeout)
    best = cost_of(law, price, plan.ages)
    grid = plan._grid
    chosen = sorted({grid[min(int(share * len(grid)), len(grid) - 1)] for share in shares})
    looks: list[float] = []
    for age in (*chosen, timeout):
        if age - (looks[-1] if looks else 0.0) >= plan._gap:
            looks.append(age)
    if looks[-1] != timeout:
        looks[-1] = timeout
    assert best <= cost_of(law, price, tuple(looks)) + 1e-6 * (1.0 + best)


@settings(max_examples=40)
@given(law=laws, price=st.sampled_from(PRICES[6:]), timeout=st.floats(5.0, 300.0))
def test_no_look_can_be_moved_left_out_or_added(
    law: DelayLaw, price: float, timeout: float
) -> None:
    """Each change of one look makes the plan dearer, or leaves its cost as it is."""
    plan = poll_plan(law, price, timeout)
    best = cost_of(law, price, plan.ages)
    grid, gap = plan._grid, plan._gap
    others: list[tuple[float, ...]] = []
    for k, age in enumerate(plan.ages[:-1]):
        rest = (*plan.ages[:k], *plan.ages[k + 1 :])
        others.append(rest)
        node = grid.index(age)
        for near in (node - 3, node - 1, node + 1, node + 3):
            if 0 < near < len(grid) - 1:
                others.append(tuple(sorted((*rest, grid[near]))))
    others += [tuple(sorted((*plan.ages, age))) for age in grid[5:-1:9] if age not in plan.ages]
    for looks in others:
        if all(age - last >= gap for last, age in itertools.pairwise((0.0, *looks))):
            assert best <= cost_of(law, price, looks) + 1e-6 * (1.0 + best)


@settings(max_examples=40)
@given(law=laws, price=st.sampled_from(PRICES[::3]), timeout=st.floats(5.0, 300.0))
def test_plan_tells_its_own_cost(law: DelayLaw, price: float, timeout: float) -> None:
    """Looks and duration that a plan promises are those of its ages under the law."""
    plan = poll_plan(law, price, timeout)
    alive = [law.survival(last) for last in (0.0, *plan.ages[:-1])]
    assert plan.mean_polls == pytest.approx(sum(alive), rel=1e-9)
    assert plan.ages[-1] == timeout
    undetected = plan.mean_duration - law.integral(timeout)
    assert price * plan.mean_polls + undetected == pytest.approx(
        cost_of(law, price, plan.ages), rel=1e-6, abs=1e-6
    )


# The cost of delay -------------------------------------------------------------------------------


def cost_of_next(law: DelayLaw, price: float, last: float, age: float, end: float) -> float:
    """Return what polling at ``age``, and as is best from then on, costs, times S(last)."""
    plan = poll_plan(law, price, end)
    undetected = polls = 0.0
    while True:
        alive = law.survival(last)
        undetected += (age - last) * alive - (law.integral(age) - law.integral(last))
        polls += alive
        if age >= end:
            return undetected + price * polls
        last, following = age, plan.next_poll(age)
        assert following is not None
        age = following


@given(
    law=lognormals,
    price=st.floats(0.2, 30.0),
    last=st.floats(0.0, 60.0),
    late=st.floats(0.0, 15.0),
)
@settings(max_examples=100, deadline=None)
def test_delay_cost_is_what_a_later_poll_costs_more(
    law: DelayLaw, price: float, last: float, late: float
) -> None:
    """Over some seconds it adds up to the difference of what both polls, and all later, cost."""
    plan = poll_plan(law, price, 120.0)
    due = plan.next_poll(last)
    assume(due is not None and due + late + 2.0 < 120.0 and law.survival(last) > 0.02)
    assert due is not None
    age, wait = due + late, 2.0
    cost = plan.delay_cost(last, age, wait)
    later = cost_of_next(law, price, last, age + wait, 120.0)
    more = later - cost_of_next(law, price, last, age, 120.0)
    # Both are on a grid of ages, half a second and more apart.
    tolerance = 0.05 + 0.1 * price
    assert cost * wait * law.survival(last) == pytest.approx(more, abs=tolerance)
    assert cost <= 1.0 + 1e-9
    assert cost >= -tolerance / wait / law.survival(last)


def test_waiting_costs_most_where_an_sms_probably_is() -> None:
    """Before it is due waiting gains, then it costs more and more; from the timeout on it must not
    be."""
    plan = poll_plan(DelayLaw.lognormal(12.0, 0.8, 0.08), 2.0, 120.0)
    due = plan.next_poll(0.0)
    assert due is not None
    costs = [plan.delay_cost(0.0, due + late) for late in (-3.0, 2.0, 5.0, 10.0, 30.0)]
    assert costs[0] < 0.0 < costs[1]
    assert costs == sorted(costs)
    assert costs[-1] > 0.5
    assert plan.delay_cost(60.0, 120.0) == plan.delay_cost(0.0, 500.0) == math.inf
