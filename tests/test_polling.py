"""Poll plans are optimal and well-formed."""

from __future__ import annotations

import itertools
from functools import cache

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from papsms_async.delays import COLD_START, EDGES, DelayLaw
from papsms_async.polling import PRICES, give_up_age, index, poll_plan
from papsms_async.polling import _solve as solve

HALF_SECONDS = tuple(k * 0.5 for k in range(241))
MEASURED = DelayLaw.lognormal(12.0, 0.8, 0.08)

laws = st.builds(DelayLaw.lognormal, st.floats(0.5, 60.0), st.floats(0.2, 1.5), st.floats(0.0, 0.9))
any_laws = st.one_of(
    laws,
    st.lists(st.floats(0.0, 1.0), min_size=len(EDGES), max_size=len(EDGES)).map(
        lambda hazards: DelayLaw(EDGES, tuple(hazards))
    ),
)
prices = st.sampled_from(PRICES)
timeouts = st.floats(0.5, 1300.0)


def cost_of(law: DelayLaw, price: float, ages: tuple[float, ...]) -> float:
    """Expected cost of polling at these ages: the price of each poll made and the undetected
    wait."""
    cost = 0.0
    for last, age in itertools.pairwise((0.0, *ages)):
        alive = law.survival(last)
        cost += price * alive + (age - last) * alive - (law.integral(age) - law.integral(last))
    return cost


@pytest.mark.parametrize(
    ("price", "published"),
    [
        (3.0, (11.5, 20.0, 29.5, 41.0, 56.0, 78.5, 120.0)),
        (20.0, (22.5, 50.5, 120.0)),
    ],
)
def test_published_ages_are_met(price: float, published: tuple[float, ...]) -> None:
    """On half-second bins the plans are those of the design; on the log bins within two seconds."""
    exact = DelayLaw.lognormal(12.0, 0.8, 0.08, edges=HALF_SECONDS)
    assert poll_plan(exact, price, 120.0).ages == published
    assert poll_plan(MEASURED, price, 120.0).ages == pytest.approx(published, abs=2.0)


@settings(max_examples=60)
@given(
    law=any_laws,
    price=st.floats(0.01, 100.0),
    inner=st.sets(st.floats(0.5, 99.0), max_size=7),
)
def test_dynamic_program_against_brute_force(
    law: DelayLaw, price: float, inner: set[float]
) -> None:
    """On small grids no choice of ages at all is cheaper than the solver's."""
    grid = [0.0, *sorted(inner), 100.0]
    survivals = [law.survival(age) for age in grid]
    integrals = [law.integral(age) for age in grid]
    _, following = solve(grid, survivals, integrals, price, 0.0)
    node, ages = 0, []
    while node < len(grid) - 1:
        node = following[node]
        ages.append(grid[node])
    cheapest = min(
        cost_of(law, price, (*some, 100.0))
        for size in range(len(inner) + 1)
        for some in itertools.combinations(sorted(inner), size)
    )
    assert cost_of(law, price, tuple(ages)) == pytest.approx(cheapest, rel=1e-6, abs=1e-6)


@settings(max_examples=40)
@given(law=any_laws, price=prices, timeout=st.floats(5.0, 300.0))
def test_plan_against_a_quadratic_program(law: DelayLaw, price: float, timeout: float) -> None:
    """The linear-time program finds the same cost as the textbook one over all pairs of nodes."""
    plan = poll_plan(law, price, timeout)
    grid = plan._grid[:: max(1, len(plan._grid) // 60)]
    grid = (*grid, timeout) if grid[-1] != timeout else grid
    survivals = [law.survival(age) for age in grid]
    integrals = [law.integral(age) for age in grid]

    @cache
    def total(node: int) -> float:
        if node == len(grid) - 1:
            return 0.0
        alive = survivals[node]
        return min(
            price * alive
            + (grid[u] - grid[node]) * alive
            - (integrals[u] - integrals[node])
            + total(u)
            for u in range(node + 1, len(grid))
        )

    intercepts, _ = solve(grid, survivals, integrals, price, 0.0)
    assert intercepts[0] == pytest.approx(total(0), rel=1e-6, abs=1e-6)


@given(law=any_laws, price=prices, timeout=timeouts)
def test_ages_increase_and_end_at_the_timeout(law: DelayLaw, price: float, timeout: float) -> None:
    """Polls are ordered, decently apart, and the last is exactly at the timeout."""
    ages = poll_plan(law, price, timeout).ages
    decent = min(1.0, timeout / 120)
    assert ages[-1] == timeout
    assert all(high > low for low, high in itertools.pairwise(ages))
    inner = (0.0, *ages[:-1])
    assert all(high - low >= decent - 1e-9 for low, high in itertools.pairwise(inner))


@given(law=any_laws, price=prices, timeout=timeouts, share=st.floats(0.0, 1.0, exclude_max=True))
def test_next_poll_is_later_than_the_last(
    law: DelayLaw, price: float, timeout: float, share: float
) -> None:
    """The next poll is after the last one and not after the timeout."""
    last = share * timeout
    assume(last < timeout)
    due = poll_plan(law, price, timeout).next_poll(last)
    assert due is not None
    assert last < due <= timeout


@given(law=laws, price=prices, timeout=timeouts, late=st.floats(0.0, 2.0))
def test_now_moves_an_overdue_poll_but_no_other(
    law: DelayLaw, price: float, timeout: float, late: float
) -> None:
    """Given the present age, the answer is no earlier; a poll that is still to come stays."""
    plan = poll_plan(law, price, timeout)
    due = plan.next_poll(0.0)
    assert due is not None
    assert plan.next_poll(0.0, now=late * due) == max(due, late * due)


def test_no_poll_past_the_timeout_but_one_before_it() -> None:
    """Polled at the timeout there is no next poll; polled just before, one more is owed."""
    plan = poll_plan(COLD_START, 20.0, 120.0)
    assert plan.next_poll(120.0) is None
    assert plan.next_poll(500.0) is None
    assert plan.next_poll(119.99) == 120.0
    assert plan.next_poll(50.0, now=300.0) == 300.0


@settings(max_examples=50)
@given(law=laws, price=prices, last=st.floats(0.0, 119.0))
def test_next_poll_off_the_grid_is_the_best_of_all(
    law: DelayLaw, price: float, last: float
) -> None:
    """After a poll at any age, no age of the grid promises a lower cost than the one chosen, which
    is put off to a decent gap where it would be nearer."""
    plan = poll_plan(law, price, 120.0)
    due = plan.next_poll(last)
    assert due is not None
    survival = law.survival(last)
    costs = {
        age: age * survival + intercept
        for age, intercept in zip(plan._grid, plan._intercepts, strict=True)
        if age >= last + 1.0 or age == 120.0
    }
    if due in costs:
        assert costs[due] == pytest.approx(min(costs.values()), rel=1e-9, abs=1e-9)
    else:
        assert due == pytest.approx(last + 1.0)


@given(law=laws, price=prices, timeout=timeouts)
def test_following_the_plan_gives_its_ages(law: DelayLaw, price: float, timeout: float) -> None:
    """Asking for the next poll again and again gives `ages`."""
    plan = poll_plan(law, price, timeout)
    last, ages = 0.0, []
    while (due := plan.next_poll(last)) is not None:
        ages.append(due)
        last = due
    assert tuple(ages) == plan.ages


@pytest.mark.parametrize("factor", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("price", [2.0, 20.0])
def test_plans_scale(factor: float, price: float) -> None:
    """A service with all times shorter by a factor has the plan shorter by that factor."""
    plan = poll_plan(MEASURED, price, 120.0)
    scaled = poll_plan(MEASURED.scaled(factor), price * factor, 120.0 * factor)
    assert [age / factor for age in scaled.ages] == pytest.approx(list(plan.ages), abs=0.51)
    assert scaled.mean_polls == pytest.approx(plan.mean_polls, rel=0.02)


@given(law=laws, timeout=timeouts)
def test_dearer_polls_are_fewer(law: DelayLaw, timeout: float) -> None:
    """Along the prices an activation takes ever fewer polls, at least one, and longer."""
    plans = [poll_plan(law, price, timeout) for price in PRICES[::3]]
    for cheap, dear in itertools.pairwise(plans):
        assert 1.0 <= dear.mean_polls <= cheap.mean_polls + 1e-9
        assert dear.mean_duration >= cheap.mean_duration - 1e-9


def test_expected_polls_weights_by_survival() -> None:
    """The first poll is certain, each later one as probable as no SMS before it; all add up."""
    plan = poll_plan(MEASURED, 20.0, 120.0)
    first, second, _ = plan.ages
    assert plan.expected_polls(0.0, first - 1) == 0.0
    assert plan.expected_polls(0.0, first) == 1.0
    assert plan.expected_polls(0.0, second) == pytest.approx(1 + MEASURED.survival(first))
    assert plan.expected_polls(0.0, 120.0) == pytest.approx(plan.mean_polls)
    assert plan.expected_polls(first, 120.0) == pytest.approx(
        1 + MEASURED.survival(second) / MEASURED.survival(first)
    )
    assert plan.expected_polls(120.0, 60.0) == 0.0


def test_mean_duration_and_polls_make_up_the_cost() -> None:
    """Price times polls, plus duration less the wait for the SMS, is what the program minimises."""
    plan = poll_plan(MEASURED, 7.0, 120.0)
    undetected = plan.mean_duration - MEASURED.integral(120.0)
    assert 7.0 * plan.mean_polls + undetected == pytest.approx(
        cost_of(MEASURED, 7.0, plan.ages), rel=1e-9
    )


def test_plans_are_remembered() -> None:
    """The same law, price and timeout give the same plan; another law of equal shape its own."""
    assert poll_plan(MEASURED, 4.0, 120.0) is poll_plan(MEASURED, 4, 120)
    twin = DelayLaw.lognormal(12.0, 0.8, 0.08)
    assert poll_plan(twin, 4.0, 120.0).law is twin


@pytest.mark.parametrize(("price", "timeout"), [(1.0, 0.0), (1.0, -5.0), (-1.0, 120.0)])
def test_senseless_plans_are_refused(price: float, timeout: float) -> None:
    """No time to wait, or polls that pay, raise ValueError."""
    with pytest.raises(ValueError, match="plan"):
        poll_plan(MEASURED, price, timeout)


@given(law=any_laws, last=st.floats(0.0, 200.0), width=st.floats(0.0, 200.0))
def test_index_is_expected_undetected_waiting(law: DelayLaw, last: float, width: float) -> None:
    """It lies between nothing and all the time since the last poll, and grows with the age."""
    assume(law.survival(last) > 1e-9)
    value = index(law, last, last + width)
    assert 0.0 <= value <= width + 1e-9
    assert value <= index(law, last, last + width + 5.0) + 1e-6 * (1 + width)


def test_index_of_a_dead_law_is_zero() -> None:
    """When no SMS can be outstanding any more there is nothing to gain."""
    assert index(DelayLaw((0.0,), (50.0,)), 100.0, 110.0) == 0.0


@given(law=any_laws, chance=st.floats(0.0, 0.9), timeout=timeouts)
def test_giving_up_early_is_where_hope_ends(law: DelayLaw, chance: float, timeout: float) -> None:
    """Before the age an SMS is likely enough, from it on it is not; without a chance, never."""
    age = give_up_age(law, chance, timeout)
    assert 0.0 < age <= timeout
    if chance == 0.0:
        assert age == timeout or law.survival(age) <= 0.0
    hopeful = max(0.0, age - 0.5)
    if hopeful > 0.0 and law.survival(hopeful) > 0.0:
        assert 1.0 - law.survival(timeout) / law.survival(hopeful) >= chance - 1e-9
