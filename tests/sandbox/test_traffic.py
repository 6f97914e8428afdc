"""The log of requests and the counts over time."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from papsms_async.sandbox import Delivery, LoggedRequest
from papsms_async.sandbox.traffic import Traffic


def entry(at: float, status: int = 200, *, counted: bool = True) -> LoggedRequest:
    """Return a request."""
    return LoggedRequest(at, "GET", "status", status, counted, Delivery.ANSWER)


REQUESTS = st.lists(
    st.tuples(st.floats(0, 300, allow_nan=False), st.sampled_from([200, 429, 500]), st.booleans()),
    max_size=60,
).map(lambda found: [entry(at, status, counted=c) for at, status, c in sorted(found)])


@given(REQUESTS, st.floats(1, 90), st.floats(0, 400))
def test_counts_are_those_of_the_log(requests: list[LoggedRequest], window: float, now: float):
    """What is counted in a window is what the log has in it."""
    traffic = Traffic()
    for request in requests:
        traffic.record(request)
    inside = [one for one in requests if one.counted and one.at > now - window]
    refused = [one for one in inside if one.status == 429]
    assert traffic.within(window, now) == (len(inside), len(refused))
    assert traffic.counted == sum(one.counted for one in requests)
    assert traffic.logged == len(requests)


@given(REQUESTS, st.integers(1, 120), st.integers(1, 40))
def test_bars_add_up(requests: list[LoggedRequest], window: int, number: int) -> None:
    """Each request of the last window is in one bar, and bars stand still between ticks."""
    traffic = Traffic()
    for request in requests:
        traffic.record(request)
    now = requests[-1].at if requests else 0.0
    bars = traffic.bars(float(window), now, number=number)
    width = window / number
    first = (math.floor(now / width) - number + 1) * width
    inside = [one for one in requests if one.counted and first <= one.at]
    assert len(bars) == number
    assert sum(all_ for all_, _ in bars) == len(inside)
    assert sum(refused for _, refused in bars) == sum(one.status == 429 for one in inside)


def test_the_latest_are_those_after_so_many() -> None:
    """Who has seen some is given the others, oldest first, and never more than asked for."""
    traffic = Traffic()
    for second in range(5):
        traffic.record(entry(float(second)))
    assert [one.at for one in traffic.latest(2, most=10)] == [2, 3, 4]
    assert [one.at for one in traffic.latest(0, most=2)] == [3, 4]
    assert traffic.latest(5, most=10) == []
    assert traffic.latest(9, most=10) == []
    traffic.clear()
    assert (traffic.logged, traffic.latest(0, most=10)) == (0, [])
