"""The law of the SMS delay: what every law promises, and that it is learned from what was seen."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papsms_async import learning
from papsms_async.delay_prior import PARTS_KEPT, Candidates
from papsms_async.delays import COLD_START, EDGES, DelayLaw
from papsms_async.learning import DelayModel

laws = st.lists(
    st.floats(0.0, 2.0, allow_subnormal=False), min_size=len(EDGES), max_size=len(EDGES)
).map(lambda hazards: DelayLaw(EDGES, tuple(hazards)))
ages = st.floats(0.0, 3000.0)
KIND = ("whatsapp", "us")


def arrivals(
    median: float, sigma: float, never: float, *, seed: int, scale: float = 1.0
) -> Iterator[float]:
    """Endless delays drawn from a lognormal law, infinite for an SMS that never comes."""
    rng = random.Random(seed)
    while True:
        delay = scale * median * math.exp(rng.gauss(0.0, sigma))
        yield math.inf if rng.random() < never else delay


def feed(model: DelayModel, source: Iterator[float], count: int, *, timeout: float) -> None:
    """Show a model `count` activations that are given up at the timeout."""
    for number in range(count):
        delay = next(source)
        model.observe(*KIND, age=min(delay, timeout), arrived=delay <= timeout, at=float(number))


def gap(law: DelayLaw, other: DelayLaw, upto: float) -> float:
    """The largest difference of two survival functions up to an age."""
    steps = [upto * k / 100 for k in range(101)]
    return max(abs(law.survival(age) - other.survival(age)) for age in steps)


@given(law=laws, low=ages, high=ages)
def test_survival_is_a_survival_function(law: DelayLaw, low: float, high: float) -> None:
    """S starts at 1, never rises and stays between 0 and 1."""
    low, high = sorted((low, high))
    assert law.survival(0.0) == 1.0
    assert 0.0 <= law.survival(high) <= law.survival(low) * (1 + 1e-12) <= 1.0 + 1e-12


@given(law=laws, low=ages, width=st.floats(0.0, 100.0))
def test_integral_lies_between_its_bounds(law: DelayLaw, low: float, width: float) -> None:
    """I grows by no more than S at the start, and no less than S at the end, of any interval."""
    high = low + width
    grown = law.integral(high) - law.integral(low)
    slack = 1e-9 * (1 + law.integral(high))
    assert width * law.survival(high) - slack <= grown <= width * law.survival(low) + slack


@settings(max_examples=25)
@given(law=laws, upto=st.floats(0.1, 300.0))
def test_integral_agrees_with_quadrature(law: DelayLaw, upto: float) -> None:
    """I is the integral of S, as found by the trapezoidal rule between the edges."""
    points = sorted({0.0, upto, *(edge for edge in EDGES if edge < upto)})
    total = 0.0
    for low, high in itertools.pairwise(points):
        n = 40 + int(20 * (high - low))
        step = (high - low) / n
        inner = sum(law.survival(low + k * step) for k in range(1, n))
        total += step * (inner + (law.survival(low) + law.survival(high)) / 2)
    assert total == pytest.approx(law.integral(upto), rel=1e-3)


@given(law=laws, factor=st.floats(0.05, 20.0), age=ages)
def test_scaled_law_is_the_same_law_in_other_units(
    law: DelayLaw, factor: float, age: float
) -> None:
    """Scaling all times by a factor moves S along the axis and multiplies I."""
    scaled = law.scaled(factor)
    assert scaled.survival(age * factor) == pytest.approx(law.survival(age), rel=1e-6, abs=1e-12)
    assert scaled.integral(age * factor) == pytest.approx(factor * law.integral(age), rel=1e-6)


def test_lognormal_keeps_median_and_never() -> None:
    """The cold start has its median at 15 s and leaves one in ten without an SMS."""
    assert COLD_START.survival(15.0) == pytest.approx(0.1 + 0.9 / 2, abs=0.01)
    assert COLD_START.survival(10_000.0) == pytest.approx(0.1, abs=1e-4)


def test_mean_delay_is_of_those_that_arrive() -> None:
    """The mean delay of a lognormal law is exp(mu + sigma^2 / 2), whatever never comes."""
    law = DelayLaw.lognormal(12.0, 0.5, 0.5)
    assert law.mean_delay(1200.0) == pytest.approx(12.0 * math.exp(0.125), rel=0.02)
    assert DelayLaw.lognormal(12.0, 0.5, 1.0).mean_delay(120.0) == 120.0


@pytest.mark.parametrize(
    ("edges", "hazards"),
    [
        ((0.0, 1.0), (1.0,)),
        ((), ()),
        ((1.0, 2.0), (1.0, 1.0)),
        ((0.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
        ((0.0,), (-1.0,)),
        ((0.0,), (math.nan,)),
        ((0.0,), (math.inf,)),
    ],
)
def test_malformed_laws_are_refused(edges: tuple[float, ...], hazards: tuple[float, ...]) -> None:
    """Bins that do not fit, or a hazard that is none, raise ValueError."""
    with pytest.raises(ValueError, match=r"law|edges|hazards"):
        DelayLaw(edges, hazards)


def test_nothing_seen_gives_the_cold_start() -> None:
    """A model without observations answers with the very cold start, so that plans are shared."""
    model = DelayModel()
    assert model.law(*KIND) is COLD_START
    assert model.is_thin(*KIND)


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_learns_a_law_and_its_never_mass(scale: float) -> None:
    """A thousand activations teach S within a few per cent at any time scale, never-mass
    included."""
    model = DelayModel()
    source = arrivals(12.0, 0.8, 0.25, seed=1, scale=scale)
    feed(model, source, 1000, timeout=120.0 * scale)
    truth = DelayLaw.lognormal(12.0 * scale, 0.8, 0.25)
    law = model.law(*KIND)
    assert gap(law, truth, 120.0 * scale) < 0.06
    assert law.survival(120.0 * scale) == pytest.approx(truth.survival(120.0 * scale), abs=0.04)
    assert not model.is_thin(*KIND)


def test_a_hundred_observations_beat_the_cold_start() -> None:
    """With delays a third of what the cold start believes, a hundred activations suffice."""
    model = DelayModel()
    feed(model, arrivals(5.0, 0.8, 0.08, seed=2), 100, timeout=120.0)
    truth = DelayLaw.lognormal(5.0, 0.8, 0.08)
    assert gap(model.law(*KIND), truth, 120.0) < 0.12 < gap(COLD_START, truth, 120.0)


def test_censoring_does_not_bias() -> None:
    """Half the activations given up at 10 s, and still the law beyond 10 s is found."""
    model = DelayModel()
    source = arrivals(12.0, 0.8, 0.08, seed=3)
    for number in range(1500):
        delay, timeout = next(source), 10.0 if number % 2 else 120.0
        model.observe(*KIND, age=min(delay, timeout), arrived=delay <= timeout, at=0.0)
    assert gap(model.law(*KIND), DelayLaw.lognormal(12.0, 0.8, 0.08), 120.0) < 0.07


def test_intervals_teach_nearly_what_exact_ages_do() -> None:
    """SMS known only to lie between two polls still give the law, without bias to either end."""
    model = DelayModel()
    source = arrivals(12.0, 0.8, 0.08, seed=4)
    for _ in range(1500):
        delay = next(source)
        if delay > 120.0:
            model.observe(*KIND, age=120.0, arrived=False, at=0.0)
        else:
            low = 7.0 * (delay // 7.0)
            model.observe_interval(*KIND, low=low, high=low + 7.0, at=0.0)
    truth = DelayLaw.lognormal(12.0, 0.8, 0.08)
    law = model.law(*KIND)
    assert max(abs(law.survival(7.0 * k) - truth.survival(7.0 * k)) for k in range(18)) < 0.06


@given(
    low=st.floats(0.0, 200.0),
    width=st.floats(0.0, 100.0),
    others=st.lists(st.tuples(st.floats(0.0, 300.0), st.booleans()), max_size=8),
)
def test_interval_is_one_event(low: float, width: float, others: list[tuple[float, bool]]) -> None:
    """Whatever is believed, an interval counts as one SMS and as waiting that ends inside it."""
    model = DelayModel()
    for age, arrived in others:
        model.observe(*KIND, age=age, arrived=arrived, at=0.0)
    counts = model._counts[KIND] if others else None
    gain = counts.gain if counts else 1.0
    events = sum(counts.events) if counts else 0.0
    exposure = sum(counts.exposure) if counts else 0.0
    model.observe_interval(*KIND, low=low, high=low + width, at=0.0)
    counts = model._counts[KIND]
    assert counts.gain > gain
    assert (sum(counts.events) - events) / counts.gain == pytest.approx(1.0, rel=1e-6)
    waited = (sum(counts.exposure) - exposure) / counts.gain
    assert low - 1e-6 <= waited <= low + width + 1e-6


def test_follows_drift() -> None:
    """When delays grow fourfold, six hundred activations later the old law is mostly forgotten."""
    model = DelayModel()
    feed(model, arrivals(6.0, 0.8, 0.05, seed=5), 1000, timeout=120.0)
    old, new = DelayLaw.lognormal(6.0, 0.8, 0.05), DelayLaw.lognormal(24.0, 0.8, 0.05)
    assert gap(model.law(*KIND), old, 120.0) < 0.07
    feed(model, arrivals(24.0, 0.8, 0.05, seed=6), 600, timeout=120.0)
    law = model.law(*KIND)
    assert gap(law, new, 120.0) < gap(law, old, 120.0) / 2


def test_time_alone_forgets() -> None:
    """After a day the same few observations outweigh hundreds of old ones."""
    model = DelayModel()
    feed(model, arrivals(6.0, 0.8, 0.05, seed=7), 500, timeout=120.0)
    for _ in range(40):
        model.observe(*KIND, age=60.0, arrived=True, at=86_400.0)
    assert model.law(*KIND).survival(40.0) > 0.6


def test_a_clock_that_stands_or_goes_back_is_harmless() -> None:
    """Observations that come in out of order count like others."""
    model = DelayModel()
    for at in (100.0, 50.0, 50.0, 0.0):
        model.observe(*KIND, age=5.0, arrived=True, at=at)
    assert model.law(*KIND).survival(6.0) < COLD_START.survival(6.0)


@pytest.mark.parametrize("age", [-3.0, 0.0, 0.1, EDGES[5], EDGES[-1], 1e6])
@pytest.mark.parametrize("arrived", [True, False])
def test_extreme_ages_are_accepted(age: float, arrived: bool) -> None:
    """Ages before the beginning, on an edge or past the last bin leave a valid law."""
    model = DelayModel()
    for _ in range(50):
        model.observe(*KIND, age=age, arrived=arrived, at=0.0)
    law = model.law(*KIND)
    assert 0.0 <= law.survival(500.0) <= law.survival(5.0) <= 1.0


def test_thin_pairs_lean_on_service_then_on_everything() -> None:
    """A country never seen has the law of its service; a service never seen that of everything."""
    model = DelayModel()
    feed(model, arrivals(5.0, 0.5, 0.05, seed=8), 300, timeout=120.0)
    for _ in range(300):
        model.observe("telegram", "de", age=60.0, arrived=True, at=0.0)
    assert model.law("whatsapp", "fr").survival(10.0) < 0.2
    assert model.law("telegram", "fr").survival(30.0) > 0.8
    unseen = model.law("signal", "fr").survival(30.0)
    assert 0.3 < unseen < 0.8
    assert model.law("signal", "fr") is model.law("discord", "us")


def test_shrinkage_has_its_limits() -> None:
    """A heavy prior keeps to smooth laws, a feather-light one follows the data alone."""
    heavy, light = DelayModel(kappas=(1e7,)), DelayModel(kappas=(1e-6,))
    for model in (heavy, light):
        for number in range(200):
            # Half of them at 4 s, half at 40 s: no smooth law has that.
            age = (4.0, 40.0)[number % 2]
            model.observe(*KIND, age=age, arrived=True, at=float(number))
    between = [
        law.survival(8.0) - law.survival(30.0) for law in (light.law(*KIND), heavy.law(*KIND))
    ]
    assert between[0] < 1e-3
    assert between[1] > 0.2


def test_few_observations_make_no_noise() -> None:
    """A dozen SMS move the law towards their median and leave it smooth: no bin is empty."""
    model = DelayModel()
    feed(model, arrivals(30.0, 0.6, 0.0, seed=12), 12, timeout=120.0)
    law = model.law(*KIND)
    assert 0.3 < law.survival(30.0) < 0.7
    busy = [h for edge, h in zip(EDGES, law.hazards, strict=True) if 10.0 < edge < 80.0]
    assert max(busy) < 4 * min(busy)


def test_polls_teach_what_a_whole_wait_does() -> None:
    """A wait that is told poll by poll ends in the law that it has when told at once."""
    at_once, by_polls = DelayModel(), DelayModel()
    source = arrivals(12.0, 0.8, 0.08, seed=13)
    for number in range(100):
        delay, at = next(source), float(number)
        age, arrived = min(delay, 120.0), delay <= 120.0
        at_once.observe(*KIND, age=age, arrived=arrived, at=at)
        half = age / 2
        by_polls.observe_waiting(*KIND, low=0.0, high=half, at=at)
        by_polls.observe(*KIND, age=age, arrived=arrived, at=at, since=half)
    assert gap(at_once.law(*KIND), by_polls.law(*KIND), 120.0) < 0.01


def test_what_is_in_flight_corrects_what_was_heard_first() -> None:
    """The quick ones are heard of first; the others' waiting so far keeps the law from believing
    that all are quick."""
    naive, told = DelayModel(), DelayModel()
    source = arrivals(20.0, 0.8, 0.0, seed=14)
    for _ in range(200):
        delay = next(source)
        for model in (naive, told):
            if delay <= 10.0:
                model.observe(*KIND, age=delay, arrived=True, at=0.0)
        if delay > 10.0:
            told.observe_waiting(*KIND, low=0.0, high=10.0, at=0.0)
    truth = DelayLaw.lognormal(20.0, 0.8, 0.0).survival(10.0)
    assert told.law(*KIND).survival(10.0) == pytest.approx(truth, abs=0.05)
    assert naive.law(*KIND).survival(10.0) < 0.2
    with pytest.raises(ValueError, match="kappas"):
        DelayModel(kappas=(0.0,))


def test_law_object_lives_until_there_is_news() -> None:
    """Between rebuilds the same object comes back; laws made number few beside the observations."""
    model = DelayModel()
    source = arrivals(12.0, 0.8, 0.08, seed=10)
    versions = set()
    for _ in range(1000):
        feed(model, source, 1, timeout=120.0)
        versions.add(model.law(*KIND).version)
    assert model.law(*KIND) is model.law(*KIND)
    assert len(versions) < 150


def test_another_prior_may_be_given() -> None:
    """A scaled cold start is what a model of a fast test service begins with."""
    prior = COLD_START.scaled(0.1)
    model = DelayModel(prior=prior)
    assert model.law(*KIND) is prior
    model.observe(*KIND, age=1.5, arrived=True, at=0.0)
    assert model.law(*KIND).survival(1.5) == pytest.approx(0.55, abs=0.1)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pairs are seen, the oldest are dropped; the sum of all is kept."""
    monkeypatch.setattr(learning, "MAX_KEYS", 10)
    model = DelayModel()
    for number in range(200):
        model.observe(f"s{number}", "us", age=60.0, arrived=True, at=0.0)
    assert len(model._counts) <= 10
    assert model.law("s0", "us").survival(30.0) > 0.8


def test_counts_survive_a_long_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Putting the counts back to scale, which a long run needs, changes no law."""
    one, other = DelayModel(), DelayModel()
    feed(one, arrivals(12.0, 0.8, 0.08, seed=11), 800, timeout=120.0)
    monkeypatch.setattr(learning, "_RESCALE_ABOVE", 1.5)
    feed(other, arrivals(12.0, 0.8, 0.08, seed=11), 800, timeout=120.0)
    assert one.law(*KIND).hazards == pytest.approx(other.law(*KIND).hazards, rel=1e-9)


@pytest.mark.parametrize(("timeout", "median"), [(1200.0, 15.0), (60.0, 15.0), (12.0, 3.0)])
def test_cold_start_suits_the_timeout(timeout: float, median: float) -> None:
    """Callers that wait less than a minute are taken to know of a faster service."""
    law = DelayModel.for_timeout(timeout).law(*KIND)
    assert law.survival(median) == pytest.approx(0.55, abs=0.01)


def test_candidates_give_way_to_their_parts_once_few_are_left() -> None:
    """While many may be true they stay whole; and what was taken apart is not kept for ever."""
    candidates = Candidates(COLD_START)
    nothing = [0.0] * (len(EDGES) - 1)
    candidates.posterior(nothing, nothing)
    assert not candidates._parts
    for median in (3.0, 4.0, 6.0, 9.0, 13.0, 19.0, 28.0, 40.0):
        for sigma in (0.5, 0.75, 1.0):
            law = DelayLaw.lognormal(median, sigma, 0.05)
            survivals, integrals = law.tables(EDGES)
            events = [300 * (low - high) for low, high in itertools.pairwise(survivals)]
            exposure = [300 * (high - low) for low, high in itertools.pairwise(integrals)]
            assert gap(candidates.posterior(events, exposure), law, 120.0) < 0.03
            assert 0 < len(candidates._parts) <= PARTS_KEPT
