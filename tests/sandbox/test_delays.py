"""SMS delay laws."""

from __future__ import annotations

from random import Random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async.sandbox import SandboxConfig
from papsms_async.sandbox.delays import (
    DEFAULT_DELAY,
    Fixed,
    Lognormal,
    Mixture,
    Never,
    SmsDelay,
    Uniform,
    parse_delay,
)


@pytest.mark.parametrize(
    ("text", "law"),
    [
        ("fixed:5", Fixed(5.0)),
        ("fixed:0.5s", Fixed(0.5)),
        ("uniform:2-10", Uniform(2.0, 10.0)),
        ("lognormal:12/0.8", Lognormal(12.0, 0.8)),
        ("lognormal:12/0.8,never:0.08", DEFAULT_DELAY),
        ("Fixed:3, never:0.5", Mixture(Fixed(3.0), 0.5)),
        ("never", Never()),
    ],
)
def test_notation(text: str, law: SmsDelay) -> None:
    """A law is read from its notation."""
    assert parse_delay(text) == law
    assert SandboxConfig(sms_delay=text).sms_delay == law


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fixed",
        "fixed:x",
        "fixed:-1",
        "uniform:9-2",
        "lognormal:0/1",
        "fixed:1,never:2",
        "a:1",
        "never:1",
        "fixed:1,5",
        "fixed:nan",
        "fixed:inf",
    ],
)
def test_a_wrong_notation_is_a_clear_error(text: str) -> None:
    """What is no law is a ValueError that says what a law is."""
    with pytest.raises(ValueError, match="not an SMS delay"):
        parse_delay(text)


def test_the_default_law() -> None:
    """By default half of the SMS that arrive do so within 12 s, and 8 % never do."""
    rng = Random(1)
    drawn = [DEFAULT_DELAY.sample(rng) for _ in range(20_000)]
    arrived = [seconds for seconds in drawn if seconds is not None]
    assert 1 - len(arrived) / len(drawn) == pytest.approx(0.08, abs=0.01)
    assert median(arrived) == pytest.approx(12.0, abs=0.5)


@given(low=st.floats(0, 100), width=st.floats(0, 100), seed=st.integers())
def test_uniform_stays_within(low: float, width: float, seed: int) -> None:
    """A uniform law stays within its bounds."""
    drawn = Uniform(low, low + width).sample(Random(seed))
    assert drawn is not None
    assert low <= drawn <= low + width


@given(share=st.floats(0, 1), seed=st.integers())
def test_never_leaves_the_other_numbers_alone(share: float, seed: int) -> None:
    """Changing the share without SMS changes no other number's delay."""
    some, none = Random(seed), Random(seed)
    for _ in range(20):
        with_share = Mixture(Uniform(1, 9), share).sample(some)
        without = Mixture(Uniform(1, 9), 0.0).sample(none)
        assert with_share in {None, without}
