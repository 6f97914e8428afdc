"""Poll plans are optimal and well-formed; the price follows demand and supply."""

from __future__ import annotations

import itertools
from functools import cache

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from papsms_async.delays import COLD_START, EDGES, DelayLaw
from papsms_async.polling import (
    AGE_BINS,
    PRICES,
    InFlight,
    PriceController,
    age_histogram,
    index,
    poll_plan,
)
from papsms_async.polling import _solve as solve

HALF_SECONDS = tuple(k * 0.5 for k in range(241))
MEASURED = DelayLaw.lognormal(12.0, 0.8, 0.08)
SUPPLY = 57.1 / 60

laws = st.builds(DelayLaw.lognormal, st.floats(0.5, 60.0), st.floats(0.2, 1.5), st.floats(0.0, 0.9))
any_laws = st.one_of(
    laws,
    st.lists(st.floats(0.0, 1.0), min_size=len(EDGES), max_size=len(EDGES)).map(
        lambda hazards: DelayLaw(EDGES, tuple(hazards))
    ),
)
prices = st.sampled_from(PRICES)
timeouts = st.floats(0.5, 1300.0)
histograms = st.lists(st.integers(0, 9), min_size=AGE_BINS, max_size=AGE_BINS).map(tuple)


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
    decent = min(2.0, timeout / 60)
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
    """After a poll at any age, no age of the grid promises a lower cost than the one chosen."""
    plan = poll_plan(law, price, 120.0)
    due = plan.next_poll(last)
    assert due is not None
    survival = law.survival(last)
    costs = {
        age: age * survival + intercept
        for age, intercept in zip(plan._grid, plan._intercepts, strict=True)
        if age >= last + 2.0 or age == 120.0
    }
    assert costs[due] == pytest.approx(min(costs.values()), rel=1e-9, abs=1e-9)


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


def test_histogram_counts_everyone() -> None:
    """Ages below zero and beyond the timeout are counted at the ends."""
    counts = age_histogram([-1.0, 0.0, 60.0, 119.9, 120.0, 900.0], 120.0)
    assert len(counts) == AGE_BINS
    assert (counts[0], counts[AGE_BINS // 2], counts[-1]) == (2, 1, 3)


def in_flight(count: int, *, waiting: int = 0, law: DelayLaw = MEASURED) -> InFlight:
    """Activations bought one a second, the youngest just now."""
    return InFlight(law, 120.0, age_histogram(map(float, range(count)), 120.0), waiting)


def test_idle_permits_make_polls_cheap() -> None:
    """Alone, or with nobody in flight, the price is the lowest."""
    controller = PriceController()
    assert controller.price([], supply=SUPPLY) == PRICES[0]
    assert controller.price([in_flight(1)], supply=SUPPLY) == PRICES[0]
    assert controller.price([in_flight(60)], supply=100.0) == PRICES[0]
    assert controller.price([InFlight(MEASURED, 120.0)], supply=SUPPLY, backlog=True) == PRICES[0]


def test_price_balances_demand_and_supply() -> None:
    """In the tail, polls wanted at the price fit the supply, and at the price below they do not."""
    group = in_flight(25)
    price = PriceController().price([group], supply=SUPPLY)
    assert PRICES[0] < price < PRICES[-1]

    def wanted(at: float) -> float:
        plan = poll_plan(MEASURED, at, 120.0)
        return sum(n * w for n, w in zip(group.counts, plan.demand(45.0), strict=True))

    assert wanted(price) <= 45.0 * SUPPLY < wanted(PRICES[PRICES.index(price) - 1])


@settings(max_examples=60)
@given(
    counts=histograms,
    more=histograms,
    waiting=st.integers(0, 400),
    finishes=st.integers(0, 40),
    due=st.integers(0, 20),
    supply=st.floats(0.1, 10.0),
)
def test_price_is_monotone(
    counts: tuple[int, ...],
    more: tuple[int, ...],
    waiting: int,
    finishes: int,
    due: int,
    supply: float,
) -> None:
    """Less supply, more finishes, polls due, or a longer line never make polls cheaper."""
    assume(sum(counts))
    controller = PriceController()
    group = InFlight(MEASURED, 120.0, counts, waiting)
    price = controller.price([group], supply=supply, finishes=finishes, due=due)
    assert price in PRICES
    assert price <= controller.price([group], supply=supply / 2, finishes=finishes, due=due)
    assert price <= controller.price([group], supply=supply, finishes=finishes + 5, due=due)
    assert price <= controller.price([group], supply=supply, finishes=finishes, due=due + 5)
    assert price >= controller.price([group], supply=supply, finishes=finishes, due=due, idle=4.0)
    fuller = InFlight(MEASURED, 120.0, tuple(map(sum, zip(counts, more, strict=True))), waiting)
    assert price <= controller.price([fuller], supply=supply, finishes=finishes, due=due)
    if waiting:
        longer = InFlight(MEASURED, 120.0, counts, waiting + 50)
        assert price <= controller.price([longer], supply=supply, finishes=finishes, due=due)


def test_bulk_price_follows_the_law() -> None:
    """A long line holds the price near 64 s for the measured law, in proportion for others."""
    controller = PriceController()
    for scale in (0.1, 0.5, 1.0):
        group = InFlight(MEASURED.scaled(scale), 120.0 * scale, waiting=300)
        price = controller.price([group], supply=SUPPLY / scale)
        assert price / scale == pytest.approx(64.0, rel=0.2)


def test_bulk_price_does_not_run_away() -> None:
    """A start-up cohort of young activations with a line behind is held at the bulk price.

    A price that rose with it would put the polls off, hand the permits to more purchases and rise
    again.
    """
    controller = PriceController(max_in_flight=60)
    settled = controller.price([in_flight(8, waiting=250)], supply=SUPPLY)
    assert controller.price([in_flight(30, waiting=250)], supply=SUPPLY, finishes=12) == settled


def test_an_endless_input_is_a_long_line() -> None:
    """One request pulled ahead of an endless input counts like three hundred in line."""
    controller = PriceController()
    long = controller.price([in_flight(8, waiting=300)], supply=SUPPLY)
    assert controller.price([in_flight(8, waiting=1)], supply=SUPPLY, backlog=True) == long
    assert controller.price([in_flight(8, waiting=1)], supply=SUPPLY) < long


def test_few_places_turn_over_faster() -> None:
    """With ten places polls are early, to free them; with sixty the bound does not matter."""

    def price(places: int | None) -> float:
        group = in_flight(min(places or 10, 10), waiting=300)
        return PriceController(max_in_flight=places).price([group], supply=SUPPLY)

    assert price(3) < price(10) < price(60) == price(None)


def test_laws_are_mixed_by_their_numbers() -> None:
    """Two services share one price, between those of each alone."""
    fast, slow = DelayLaw.lognormal(4.0, 0.8, 0.08), DelayLaw.lognormal(25.0, 0.8, 0.08)
    controller = PriceController()
    alone = [
        controller.price([in_flight(6, waiting=200, law=law)], supply=SUPPLY)
        for law in (fast, slow)
    ]
    groups = [in_flight(6, waiting=200, law=law) for law in (fast, slow)]
    assert alone[0] < controller.price(groups, supply=SUPPLY) < alone[1]


def test_only_proportions_count() -> None:
    """A thousand times as much in flight, in line and in supply leaves the price as it is."""
    few = InFlight(MEASURED, 120.0, (1,) * AGE_BINS, 3)
    many = InFlight(MEASURED, 120.0, (1000,) * AGE_BINS, 3000)
    controller = PriceController()
    for supply in (0.2, SUPPLY, 2.0):
        assert controller.price([few], supply=supply) == controller.price(
            [many], supply=supply * 1000
        )


def test_a_surplus_in_flight_raises_the_price_even_in_bulk() -> None:
    """When polls alone want far more than the supply, waiting is all that is left."""
    group = InFlight(MEASURED, 120.0, (20,) * AGE_BINS, 300)
    assert PriceController().price([group], supply=SUPPLY) == PRICES[-1]
