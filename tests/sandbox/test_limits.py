"""Limits: each kind against a naive reference that remembers everything."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from papsms_async.sandbox import LimitKind, LimitSpec

Reference = Callable[[list[float], int, float], list[bool]]
"""Arrivals, requests and window; returns which arrivals are admitted."""


def sliding_log(arrivals: list[float], n: int, per: float) -> list[bool]:
    return [sum(a > t - per for a in arrivals[:i]) < n for i, t in enumerate(arrivals)]


def whole_second(arrivals: list[float], n: int, per: float) -> list[bool]:
    cut = [math.floor(a) for a in arrivals]
    return [sum(t - a <= per for a in cut[:i]) < n for i, t in enumerate(cut)]


def fixed_window(arrivals: list[float], n: int, per: float) -> list[bool]:
    cut = [math.floor(a / per) for a in arrivals]
    return [cut[: i + 1].count(t) <= n for i, t in enumerate(cut)]


def aligned_window(arrivals: list[float], n: int, per: float) -> list[bool]:
    admitted: list[bool] = []
    start, inside = -math.inf, 0
    for at in arrivals:
        start, inside = (at, 1) if at >= start + per else (start, inside + 1)
        admitted.append(inside <= n)
    return admitted


def sliding_counter(arrivals: list[float], n: int, per: float) -> list[bool]:
    cut = [math.floor(a / per) for a in arrivals]
    admitted: list[bool] = []
    for i, at in enumerate(arrivals):
        weight = 1 - (at / per - cut[i])
        admitted.append(cut[:i].count(cut[i] - 1) * weight + cut[: i + 1].count(cut[i]) <= n + 1e-6)
    return admitted


def bucket(arrivals: list[float], n: int, per: float, *, burst: int) -> list[bool]:
    admitted: list[bool] = []
    level, last = 0.0, -math.inf  # of water, where the others speak of tokens
    for at in arrivals:
        level = max(0.0, level - (at - last) * n / per) + 1
        admitted.append(level <= burst + 1e-6)
        level, last = min(level, burst), at
    return admitted


def token_bucket(arrivals: list[float], n: int, per: float) -> list[bool]:
    return bucket(arrivals, n, per, burst=n)


def gcra(arrivals: list[float], n: int, per: float) -> list[bool]:
    return bucket(arrivals, n, per, burst=min(10, n))


def leaky_bucket(arrivals: list[float], n: int, per: float) -> list[bool]:
    return bucket(arrivals, n, per, burst=1)


def no_limit(arrivals: list[float], n: int, per: float) -> list[bool]:
    return [True] * len(arrivals)


REFERENCES: dict[LimitKind, Reference] = {
    LimitKind.SLIDING_LOG: sliding_log,
    LimitKind.FIXED_WINDOW: fixed_window,
    LimitKind.ALIGNED_WINDOW: aligned_window,
    LimitKind.SLIDING_COUNTER: sliding_counter,
    LimitKind.WHOLE_SECOND: whole_second,
    LimitKind.TOKEN_BUCKET: token_bucket,
    LimitKind.GCRA: gcra,
    LimitKind.LEAKY_BUCKET: leaky_bucket,
    LimitKind.NONE: no_limit,
}

# Binary fractions are exact, so both sides compute with the same numbers; few of them, so that
# the ends of windows are met exactly and often.
GAPS = st.lists(st.sampled_from([0.0, 0.0, 0.125, 0.5, 1.0, 1.0, 2.0, 3.0, 8.0]), max_size=60)
REQUESTS = st.sampled_from([1, 2, 3, 12])


def times(gaps: list[float]) -> list[float]:
    arrivals: list[float] = []
    now = 1_776_607_200.0
    for gap in gaps:
        now += gap
        arrivals.append(now)
    return arrivals


def test_every_kind_has_a_reference() -> None:
    """No kind of limit is left without its naive reference."""
    assert set(REFERENCES) == set(LimitKind)


@pytest.mark.parametrize("kind", list(LimitKind))
@given(gaps=GAPS, requests=REQUESTS, per=st.sampled_from([1.0, 2.0, 4.0, 8.0]))
def test_admits_what_the_reference_admits(
    kind: LimitKind, gaps: list[float], requests: int, per: float
) -> None:
    """Each kind admits exactly the requests that remembering everything would admit."""
    arrivals = times(gaps)
    limiter = LimitSpec(requests, per, kind).limiter()
    assert [limiter.admit(at)[0] for at in arrivals] == REFERENCES[kind](arrivals, requests, per)


@pytest.mark.parametrize("kind", list(LimitKind))
# The end of a window that is met exactly, but for the rounding of its sum.
@example(gaps=[0.0, 0.0, 0.0, 0.125, 8.0, 0.0, 1.0, 3.0], requests=3)
@given(gaps=GAPS, requests=REQUESTS)
def test_retry_after_is_enough(kind: LimitKind, gaps: list[float], requests: int) -> None:
    """Whoever waits as long as a refusal says is admitted; an admission says no wait."""
    limiter = LimitSpec(requests, 4.0, kind).limiter()
    now = 0.0
    for gap in gaps:
        now += gap
        allowed, wait = limiter.admit(now)
        assert (wait == 0.0) if allowed else (0.0 < wait <= 9.0)
        if not allowed:
            now += wait + 1e-3
            assert limiter.admit(now)[0]


@pytest.mark.parametrize("kind", [kind for kind in LimitKind if kind is not LimitKind.NONE])
def test_refused_requests_count(kind: LimitKind) -> None:
    """Hammering on is never rewarded: after the burst, at most the windows' own share passes."""
    limiter = LimitSpec(10, 10.0, kind).limiter()
    admitted = sum(limiter.admit(1000.0 + n / 10)[0] for n in range(1000))
    windows = {LimitKind.FIXED_WINDOW: 100, LimitKind.ALIGNED_WINDOW: 100}
    assert admitted <= windows.get(kind, 12)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("60/60s", LimitSpec(60, 60.0)),
        ("600/1m:token-bucket", LimitSpec(600, 60.0, LimitKind.TOKEN_BUCKET)),
        (" 5 / 500ms : GCRA ", LimitSpec(5, 0.5, LimitKind.GCRA)),
        ("60/min", LimitSpec(60, 60.0)),
        ("1000/1.5h:leaky-bucket", LimitSpec(1000, 5400.0, LimitKind.LEAKY_BUCKET)),
        ("none", LimitSpec(kind=LimitKind.NONE)),
    ],
)
def test_notation(text: str, spec: LimitSpec) -> None:
    """A limit is read from its notation, and written so that it reads back."""
    assert LimitSpec.parse(text) == spec
    assert LimitSpec.parse(str(spec)) == spec


@pytest.mark.parametrize(
    "text",
    [
        "",
        "60",
        "60/",
        "60/60",
        "0/60s",
        "60/0s",
        "-1/60s",
        "1000000001/s",
        "60/60s:magic",
        "60/60y",
        "x/1s",
    ],
)
def test_a_wrong_notation_is_a_clear_error(text: str) -> None:
    """What is no limit is a ValueError that says what a limit is."""
    with pytest.raises(ValueError, match="limit"):
        LimitSpec.parse(text)


@given(st.text(max_size=30))
def test_any_text_is_a_limit_or_a_value_error(text: str) -> None:
    """No text brings anything but a limit or a ValueError."""
    try:
        spec = LimitSpec.parse(text)
    except ValueError:
        return
    assert spec.kind is LimitKind.NONE or (spec.requests >= 1 and spec.per > 0)
