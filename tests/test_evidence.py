"""Evidence of SMS delays: kept as text, merged, and taken up again, without loss or invention."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papsms_async.delays import EDGES
from papsms_async.evidence import (
    FORGOTTEN_AFTER,
    HALF_LIFE_OBSERVATIONS,
    HALF_LIFE_SECONDS,
    Evidence,
    Key,
    merged,
    news,
)
from papsms_async.learning import DelayModel

KEYS = [("whatsapp", "us"), ("whatsapp", "gb"), ("telegram", "us")]
# What activations lived through: whose, the age, whether the SMS came, and the pause before.
lives = st.lists(
    st.tuples(
        st.sampled_from(KEYS),
        st.floats(0.0, 150.0),
        st.booleans(),
        st.sampled_from([0.0, 1.0, 30.0, 5000.0]),
    ),
    max_size=40,
)
numbers = st.lists(st.floats(0.0, 50.0), min_size=len(EDGES), max_size=len(EDGES)).map(tuple)
evidence = st.builds(
    lambda events, exposure, age: Evidence(
        events=events, exposure=exposure, weight=sum(events), seen=2.0 + sum(events), age=age
    ),
    numbers,
    numbers,
    st.floats(0.0, 1e6),
)


def live(model: DelayModel, life: list, start: float = 0.0) -> float:
    """Let a model observe; return the time after it."""
    at = start
    for (service, country), age, arrived, pause in life:
        at += pause
        model.observe(service, country, age=age, arrived=arrived, at=at)
    return at


def restored(snapshot: Mapping[Key, Evidence], now: float) -> DelayModel:
    """Return a model that knows what was kept, and nothing else."""
    model = DelayModel()
    model.restore(snapshot, now)
    return model


def same(one: Evidence, other: Evidence, *, rel: float = 1e-9) -> bool:
    """Whether two are the same but for rounding."""
    return all(
        mine == pytest.approx(others, rel=rel, abs=1e-6)
        for mine, others in zip(
            (*one.events, *one.exposure, one.weight, one.seen, one.age),
            (*other.events, *other.exposure, other.weight, other.seen, other.age),
            strict=True,
        )
    )


@settings(max_examples=30)
@given(one=evidence)
def test_text_keeps_everything(one: Evidence) -> None:
    """What is written is read again, to the sixth decimal place."""
    assert same(Evidence.from_text(one.to_text(EDGES), EDGES, age=one.age), one, rel=1e-6)


@settings(max_examples=40)
@given(lives=lives)
def test_snapshot_is_taken_up_as_it_was(lives: list) -> None:
    """A model made from a snapshot has the same evidence, and so the same laws."""
    model = DelayModel()
    now = live(model, lives)
    snapshot = model.snapshot(now)
    again = restored(snapshot, 0.0)
    taken = again.snapshot(0.0)
    assert list(taken) == list(snapshot)
    for key, one in snapshot.items():
        assert same(taken[key], one.as_of(0.0))
    # Both laws made now, of all that there is.
    fresh = restored(model.snapshot(now), now)
    for key in KEYS:
        assert fresh.law(*key).hazards == pytest.approx(again.law(*key).hazards, rel=1e-6)


@settings(max_examples=40)
@given(lives=lives, cuts=st.lists(st.integers(0, 39), max_size=4))
def test_news_add_up_to_the_whole(lives: list, cuts: list[int]) -> None:
    """Saved in any number of pieces, what one process saw is what it has."""
    model, kept, saved, now = DelayModel(), {}, {}, 0.0
    for low, high in zip([0, *sorted(cuts)], [*sorted(cuts), len(lives)], strict=True):
        now = live(model, lives[low:high], now)
        # The ages of what is kept count from now, like those of what is new.
        kept = {key: aged(one, at, now) for key, (one, at) in kept.items()}
        for key, whole in model.snapshot(now).items():
            new = news(whole, aged(*saved[key], now)) if key in saved else whole
            if new.seen:
                kept[key] = merged(kept[key], new) if key in kept else new
            saved[key] = whole, now - whole.age
        kept = {key: (one, now - one.age) for key, one in kept.items()}
    for key, whole in model.snapshot(now).items():
        assert same(aged(*kept[key], now), whole, rel=1e-6)


def aged(one: Evidence, at: float, now: float) -> Evidence:
    """Return evidence of a last observation at ``at`` with its age."""
    return Evidence(
        events=one.events, exposure=one.exposure, weight=one.weight, seen=one.seen, age=now - at
    )


@pytest.mark.parametrize("count", [60, 600, 3000])
def test_two_processes_add_up_to_one_that_saw_both(count: int) -> None:
    """Evidence of two, saved every forty observations, makes the law of one that saw all of it."""
    rng = random.Random(count)
    one, two = DelayModel(), (DelayModel(), DelayModel())
    kept: Evidence | None = None
    saved: list[Evidence | None] = [None, None]
    for number in range(count):
        delay = 12.0 * math.exp(rng.gauss(0.0, 0.8))
        options = {"age": min(delay, 120.0), "arrived": delay <= 120.0, "at": float(number)}
        one.observe("whatsapp", "us", **options)
        two[rng.random() < 0.3].observe("whatsapp", "us", **options)
        if number % 40 == 39 or number == count - 1:
            for which, model in enumerate(two):
                whole = model.snapshot(float(number)).get(("whatsapp", "us"))
                if whole is not None:
                    before = saved[which]
                    new = whole if before is None else news(whole, before)
                    kept = new if kept is None else merged(kept, new)
                    saved[which] = whole
    assert kept is not None
    (whole,) = [one.snapshot(float(count - 1))["whatsapp", "us"]]
    assert kept.seen == pytest.approx(whole.seen)
    assert kept.weight == pytest.approx(whole.weight, rel=0.03)
    together = restored({("whatsapp", "us"): kept}, 0.0).law("whatsapp", "us")
    alone = restored({("whatsapp", "us"): whole}, 0.0).law("whatsapp", "us")
    for age in range(1, 121):
        assert together.survival(age) == pytest.approx(alone.survival(age), abs=0.01)


@settings(max_examples=30)
@given(old=evidence, new=evidence)
def test_nothing_is_lost_or_made_up_by_merging(old: Evidence, new: Evidence) -> None:
    """Both are in the sum, faded by no more than what came after them."""
    both = merged(old, new)
    age = min(old.age, new.age)
    expected = old.as_of(age, seen=new.seen).weight + new.as_of(age).weight
    assert both.weight == pytest.approx(expected)
    assert both.age == age
    assert both.seen == old.seen + new.seen
    assert both.weight <= old.weight + new.weight + 1e-9
    # And what was new can be told from what was there.
    again = news(both, old.as_of(age, seen=0.0))
    assert again.weight == pytest.approx(new.as_of(age).weight, rel=1e-6, abs=1e-6)


def test_evidence_fades_with_time_and_with_what_comes_after() -> None:
    """A half-life of either halves it; after many it is forgotten."""
    one = Evidence(
        events=(1.0,) * len(EDGES), exposure=(2.0,) * len(EDGES), weight=42.0, seen=42.0, age=0.0
    )
    old = aged(one, 0.0, HALF_LIFE_SECONDS)
    assert old.as_of(0.0).weight == pytest.approx(21.0)
    assert old.as_of(0.0).exposure[0] == pytest.approx(1.0)
    assert one.as_of(0.0, seen=HALF_LIFE_OBSERVATIONS).weight == pytest.approx(21.0)
    assert not old.is_forgotten
    forgotten = aged(one, 0.0, FORGOTTEN_AFTER)
    assert forgotten.is_forgotten
    model = restored({(): forgotten, ("a",): old}, 7.0)
    assert list(model.snapshot(7.0)) == [("a",)]


def test_what_was_observed_here_stays() -> None:
    """Taking up what was kept does not touch what the model saw meanwhile."""
    model, other = DelayModel(), DelayModel()
    model.observe("whatsapp", "us", age=5.0, arrived=True, at=0.0)
    for _ in range(9):
        other.observe("whatsapp", "gb", age=50.0, arrived=True, at=0.0)
    before = model.snapshot(0.0)
    model.restore(other.snapshot(0.0), 0.0)
    after = model.snapshot(0.0)
    assert {key: after[key] for key in before} == before
    assert after["whatsapp", "gb"].seen == 9.0
    assert set(model.snapshot(1.0, since=0.5)) == set()
    model.observe("whatsapp", "gb", age=5.0, arrived=True, at=1.0)
    assert set(model.snapshot(1.0, since=0.5)) == {("whatsapp", "gb"), ("whatsapp",), ()}


def test_other_bins_are_refused() -> None:
    """Evidence on other bins is no evidence."""
    short = Evidence(events=(1.0,), exposure=(1.0,), weight=1.0, seen=1.0)
    with pytest.raises(ValueError, match="bins"):
        restored({(): short}, 0.0)
    text = Evidence(
        events=(0.0,) * len(EDGES), exposure=(0.0,) * len(EDGES), weight=1.0, seen=1.0
    ).to_text(EDGES)
    with pytest.raises(ValueError, match="bins"):
        Evidence.from_text(text, [edge * 2 for edge in EDGES])


GOOD = json.loads(
    Evidence(
        events=(0.01,) * len(EDGES), exposure=(1.0,) * len(EDGES), weight=3.0, seen=5.0
    ).to_text(EDGES)
)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": "1"},
        {"edges": [1, 2, 3, 4]},
        {"edges": None},
        {"weight": "3"},
        {"weight": True},
        {"weight": -1},
        {"weight": None},
        {"weight": 10**400},
        {"weight": 6.0},
        {"seen": []},
        {"seen": 1e13},
        {"events": [0.01] * 41},
        {"events": 0.01},
        {"events": [1.0] * 42},
        {"events": [-1e-9] + [0.0] * 41},
        {"exposure": ["1.0"] * 42},
        {"exposure": [None] * 42},
        {"more": 1},
    ],
)
def test_what_can_not_have_been_seen_is_refused(change: dict) -> None:
    """Another version, other fields, other types, and sums that contradict each other."""
    assert Evidence.from_text(json.dumps(GOOD), EDGES).weight == 3.0
    with pytest.raises(ValueError, match="evidence"):
        Evidence.from_text(json.dumps(GOOD | change), EDGES)


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{}", "{", "NaN", '{"weight": Infinity}', "[" * 100_000, "\0", "7"]
)
def test_text_that_is_none_is_refused(text: str) -> None:
    """Whatever the text is, it is read or a ValueError is raised."""
    with pytest.raises(ValueError, match=r"evidence"):
        Evidence.from_text(text, EDGES)


@given(data=st.data())
def test_damaged_text_is_refused_or_read(data: st.DataObject) -> None:
    """A text with a bit of it changed or lost is refused, or is evidence that makes a law."""
    text = json.dumps(GOOD)
    at = data.draw(st.integers(0, len(text) - 1))
    put = data.draw(st.text(max_size=3))
    damaged = text[:at] + put + text[at + data.draw(st.integers(0, 3)) :]
    try:
        read = Evidence.from_text(damaged, EDGES)
    except ValueError:
        return
    law = restored({("a", "us"): read}, 0.0).law("a", "us")
    assert 0.0 <= law.survival(100.0) <= law.survival(1.0) <= 1.0
