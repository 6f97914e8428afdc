"""The price of a request follows demand, supply and the objective."""

from __future__ import annotations

import math

import attrs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from papsms_async.delays import DelayLaw
from papsms_async.polling import AGE_BINS, PRICES, poll_plan
from papsms_async.pricing import (
    AHEAD,
    AWAITED,
    LEAST_AWAITED,
    OBJECTIVES,
    InFlight,
    Objective,
    PriceController,
    Reason,
    age_histogram,
    weighed,
)

MEASURED = DelayLaw.lognormal(12.0, 0.8, 0.08)
SUPPLY = 57.1 / 60
histograms = st.lists(st.integers(0, 9), min_size=AGE_BINS, max_size=AGE_BINS).map(tuple)


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
    assert controller.quote([], supply=SUPPLY).price == PRICES[0]
    assert controller.quote([in_flight(1)], supply=SUPPLY).price == PRICES[0]
    assert controller.quote([in_flight(60)], supply=100.0).price == PRICES[0]
    assert (
        controller.quote([InFlight(MEASURED, 120.0)], supply=SUPPLY, backlog=True).price
        == PRICES[0]
    )


@pytest.mark.parametrize(("count", "arrivals"), [(60, 0.0), (5, 10 / 60)])
def test_price_balances_demand_and_supply(count: int, arrivals: float) -> None:
    """What is to come at the price fits what is promised, and at the price below it does not.

    To come are the polls and finishes of those in flight, and all that the expected callers want.
    """
    group = in_flight(count)
    price = PriceController().quote([group], supply=SUPPLY, arrivals=arrivals).price
    assert PRICES[0] < price < PRICES[-1]
    ahead = AHEAD * 120.0

    def to_come(at: float) -> float:
        plan = poll_plan(MEASURED, at, 120.0)
        polls = sum(n * w for n, w in zip(group.counts, plan.demand(120.0), strict=True))
        return polls + count + arrivals * ahead * (2 + plan.mean_polls)

    promised = OBJECTIVES["balanced"].promised * SUPPLY * ahead
    assert to_come(price) <= promised < to_come(PRICES[PRICES.index(price) - 1])


def test_who_is_to_come_makes_polls_dear() -> None:
    """The more callers are expected, the more a poll has to save, though as many are in flight."""
    controller = PriceController()
    prices = [
        controller.quote([in_flight(5)], supply=SUPPLY, arrivals=rate / 60).price
        for rate in (0, 5, 10, 15)
    ]
    assert prices == sorted(set(prices))


def test_callers_in_line_count_less_than_bulk() -> None:
    """They go before polls that lose little anyway, so that the price need not do it."""
    controller = PriceController()
    group = in_flight(2, waiting=4)
    bulk = controller.quote([group], supply=SUPPLY)
    called = controller.quote([group], supply=SUPPLY, callers=4)
    assert called.reason is bulk.reason is Reason.LINE
    assert PRICES[0] < called.price < bulk.price


@settings(max_examples=60)
@given(
    counts=histograms,
    more=histograms,
    waiting=st.integers(0, 400),
    finishes=st.integers(0, 40),
    due=st.integers(0, 20),
    supply=st.floats(0.1, 10.0),
    arrivals=st.floats(0.0, 1.0),
)
def test_price_is_monotone(
    counts: tuple[int, ...],
    more: tuple[int, ...],
    waiting: int,
    finishes: int,
    due: int,
    supply: float,
    arrivals: float,
) -> None:
    """Less supply, more finishes, polls due, more callers to come, or a longer line never make
    polls cheaper."""
    assume(sum(counts))
    controller = PriceController()

    def price(
        counts: tuple[int, ...] = counts,
        waiting: int = waiting,
        supply: float = supply,
        finishes: int = finishes,
        due: int = due,
        arrivals: float = arrivals,
    ) -> float:
        group = InFlight(MEASURED, 120.0, counts, waiting)
        quote = controller.quote(
            [group], supply=supply, finishes=finishes, due=due, arrivals=arrivals
        )
        return quote.price

    assert price() in PRICES
    assert price() <= price(supply=supply / 2)
    assert price() <= price(finishes=finishes + 5)
    assert price() <= price(due=due + 5)
    assert price() <= price(arrivals=arrivals + 0.1)
    assert price() <= price(counts=tuple(map(sum, zip(counts, more, strict=True))))
    if waiting:
        assert price() <= price(waiting=waiting + 50)


def test_bulk_price_follows_the_law() -> None:
    """A long line holds the price at the objective's level, in proportion to the law's delays."""
    controller = PriceController()
    for scale in (0.1, 0.5, 1.0):
        group = InFlight(MEASURED.scaled(scale), 120.0 * scale, waiting=300)
        price = controller.quote([group], supply=SUPPLY / scale).price
        level = OBJECTIVES["balanced"].bulk * MEASURED.mean_delay(120.0)
        assert abs(math.log2(price / scale / level)) <= 0.26


def test_bulk_price_does_not_run_away() -> None:
    """A start-up cohort of young activations with a line behind is held at the bulk price.

    A price that rose with it would put the polls off, hand the permits to more purchases and rise
    again.
    """
    controller = PriceController(max_in_flight=60)
    settled = controller.quote([in_flight(8, waiting=250)], supply=SUPPLY).price
    assert (
        controller.quote([in_flight(30, waiting=250)], supply=SUPPLY, finishes=12).price == settled
    )


def test_an_endless_input_is_a_long_line() -> None:
    """One request pulled ahead of an endless input counts like three hundred in line."""
    controller = PriceController()
    long = controller.quote([in_flight(8, waiting=300)], supply=SUPPLY).price
    assert controller.quote([in_flight(8, waiting=1)], supply=SUPPLY, backlog=True).price == long
    assert controller.quote([in_flight(8, waiting=1)], supply=SUPPLY).price < long


def test_few_places_turn_over_faster() -> None:
    """With ten places polls are early, to free them; with sixty the bound does not matter."""

    def price(places: int | None) -> float:
        group = in_flight(min(places or 10, 10), waiting=300)
        return PriceController(max_in_flight=places).quote([group], supply=SUPPLY).price

    assert price(3) < price(10) < price(60) == price(None)


def test_bulk_awaits_no_more_than_the_quota_can_serve() -> None:
    """A little more than would be in flight for ever; any number once nobody waits."""
    controller = PriceController(objective=OBJECTIVES["throughput"])
    group = in_flight(8, waiting=9000)
    quote = controller.quote([group], supply=SUPPLY)
    plan = poll_plan(MEASURED, quote.price, 120.0)
    held = SUPPLY * plan.mean_duration / (2 + plan.mean_polls)
    assert quote.most_awaited == pytest.approx(AWAITED * held)
    # However many are in flight: neither clock nor memory makes it swing.
    crowded = controller.quote([in_flight(80, waiting=9000)], supply=SUPPLY)
    assert crowded.most_awaited == quote.most_awaited
    assert controller.quote([in_flight(8)], supply=SUPPLY).most_awaited == math.inf
    assert controller.quote([group], supply=SUPPLY / 50).most_awaited == LEAST_AWAITED
    ample = controller.quote([group], supply=SUPPLY * 10)
    assert ample.most_awaited == pytest.approx(10 * quote.most_awaited)


def test_laws_are_mixed_by_their_numbers() -> None:
    """Two services share one price, between those of each alone."""
    fast, slow = DelayLaw.lognormal(4.0, 0.8, 0.08), DelayLaw.lognormal(25.0, 0.8, 0.08)
    controller = PriceController()
    alone = [
        controller.quote([in_flight(6, waiting=200, law=law)], supply=SUPPLY).price
        for law in (fast, slow)
    ]
    groups = [in_flight(6, waiting=200, law=law) for law in (fast, slow)]
    assert alone[0] < controller.quote(groups, supply=SUPPLY).price < alone[1]


def test_only_proportions_count() -> None:
    """A thousand times as much in flight, in line and in supply leaves the price as it is."""
    few = InFlight(MEASURED, 120.0, (1,) * AGE_BINS, 3)
    many = InFlight(MEASURED, 120.0, (1000,) * AGE_BINS, 3000)
    controller = PriceController()
    for supply in (0.2, SUPPLY, 2.0):
        assert (
            controller.quote([few], supply=supply).price
            == controller.quote([many], supply=supply * 1000).price
        )


def test_a_surplus_in_flight_raises_the_price_even_in_bulk() -> None:
    """When polls alone want far more than the supply, waiting is all that is left."""
    group = InFlight(MEASURED, 120.0, (20,) * AGE_BINS, 300)
    assert PriceController().quote([group], supply=SUPPLY).price == PRICES[-1]


def test_objectives_order_the_bulk_price() -> None:
    """Who wants SMS soon pays for polls, who wants completions saves them, and a number is taken
    at its word."""

    def price(wanted: str | float) -> float:
        controller = PriceController(objective=Objective.of(wanted))
        return controller.quote([in_flight(8, waiting=300)], supply=SUPPLY).price

    assert price("latency") < price("balanced") < price("throughput")
    assert price(16.0) == 16.0
    for wrong in ("fast", -1.0, True, None, math.nan):
        with pytest.raises(ValueError, match="objective"):
            Objective.of(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("group", "reason"),
    [
        (in_flight(25), Reason.BALANCE),
        (in_flight(2, waiting=2), Reason.LINE),
        (in_flight(8, waiting=300), Reason.BULK),
        (InFlight(MEASURED, 120.0, (20,) * AGE_BINS, 300), Reason.OVERLOAD),
    ],
)
def test_a_quote_says_what_set_it(group: InFlight, reason: Reason) -> None:
    """The reason is the rule that the price comes from."""
    assert PriceController().quote([group], supply=SUPPLY).reason is reason


def test_few_places_are_a_reason() -> None:
    """With three places the price in bulk is what keeps them turning."""
    quote = PriceController(max_in_flight=3).quote([in_flight(3, waiting=300)], supply=SUPPLY)
    assert quote.reason is Reason.PLACES


@given(
    counts=histograms,
    waiting=st.integers(0, 400),
    supply=st.floats(0.1, 10.0),
    weight=st.sampled_from([2.0, 4.0, 8.0]),
)
def test_who_weighs_more_is_looked_for_sooner(
    counts: tuple[int, ...], waiting: int, supply: float, weight: float
) -> None:
    """A weight is a lower price for those, and never a lower price for all."""
    assume(sum(counts))
    light = InFlight(MEASURED, 120.0, counts, waiting)
    heavy = InFlight(MEASURED, 120.0, counts, waiting, weight)
    others = in_flight(20)
    controller = PriceController()
    plain = controller.quote([light, others], supply=supply).price
    weighted = controller.quote([heavy, others], supply=supply).price
    # A step of the grid less: plans have whole numbers of polls, so what is wanted within the
    # horizon does not fall at every step of the price.
    assert weighted >= 0.7 * plain
    assert heavy.plan(20).price == weighed(PRICES[20], weight) == PRICES[20] / weight
    assert heavy.plan(0).price == PRICES[0]
    assert heavy.plan(20).mean_polls >= light.plan(20).mean_polls


def test_weights_are_relative() -> None:
    """Where all weigh the same, each has the plan it would have had without."""
    light, heavy = in_flight(25), attrs.evolve(in_flight(25), weight=4.0)
    plain = PriceController().quote([light], supply=SUPPLY)
    weighted = PriceController().quote([heavy], supply=SUPPLY)
    assert weighed(weighted.price, 4.0) == pytest.approx(plain.price)
