"""Waiting times and quota hints are read in all their spellings, relative to the server's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from papsms_async.headers import quota_hint, retry_after, server_date
from papsms_async.wire import WireAnswer

DATE = "Sun, 19 Apr 2026 15:00:00 GMT"
NOW = datetime(2026, 4, 19, 15, 0, tzinfo=UTC)


def answer(**headers: str) -> WireAnswer:
    """Return an answer with ``headers``, ``_`` for ``-``."""
    return WireAnswer(429, {key.replace("_", "-"): value for key, value in headers.items()}, b"")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("7, 7", 7.0),
        ("86400", 86400.0),
        ("Sun, 19 Apr 2026 15:00:30 GMT", 30.0),
        ("Sunday, 19-Apr-26 15:00:30 GMT", 30.0),
        ("Sun Apr 19 15:00:30 2026", 30.0),
        ("Sun, 19 Apr 2026 14:00:00 GMT", 0.0),
        (str(int(NOW.timestamp()) + 5), 5.0),
        (str((int(NOW.timestamp()) + 5) * 1000), 5.0),
        ("", None),
        ("soon", None),
        ("inf", None),
        ("9" * 400, None),
        ("Sun, 99 Apr 99999 99:99:99 GMT", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    """Seconds, HTTP dates in three forms and instants, counted from the server's own clock."""
    assert retry_after(answer(Retry_After=value, Date=DATE), None) == seconds
    # The server's date is trusted before the clock of this machine.
    wrong = NOW + timedelta(hours=1)
    assert retry_after(answer(retry_after=value, date=DATE), wrong) == seconds


def test_retry_after_without_a_date() -> None:
    """A date needs a present: the caller's, or there is no answer."""
    late = answer(Retry_After="Sun, 19 Apr 2026 15:00:30 GMT")
    assert retry_after(late, None) is None
    assert retry_after(late, NOW) == 30.0
    assert retry_after(answer(Retry_After="1776610800"), None) is None
    assert retry_after(answer(), NOW) is None


@pytest.mark.parametrize(
    ("headers", "hint"),
    [
        ({"RateLimit": '"default";r=5;t=30'}, (5, 30.0)),
        ({"RateLimit": "default;r=5"}, (5, None)),
        ({"RateLimit": '"a";r=50;t=3000, "b";r=5;t=30'}, (5, 30.0)),
        ({"RateLimit": '"a";t=3, "b";r=5;t=30'}, (5, 30.0)),
        ({"RateLimit": "limit=60, remaining=5, reset=30"}, (5, 30.0)),
        ({"RateLimit": "nonsense", "RateLimit-Remaining": "5"}, (5, None)),
        ({"RateLimit-Remaining": "5", "RateLimit-Reset": "30"}, (5, 30.0)),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"}, (0, 30.0)),
        ({"x-rate-limit-remaining": "5"}, (5, None)),
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()) + 30), "Date": DATE}, (None, 30.0)),
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()) - 30), "Date": DATE}, (None, 0.0)),
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()))}, None),
        ({"X-RateLimit-Remaining": "-1"}, (0, None)),
        ({"X-RateLimit-Remaining": "many"}, None),
        ({"X-RateLimit-Limit": "60"}, None),
        ({}, None),
    ],
)
def test_quota_hints(headers: dict[str, str], hint: tuple[int | None, float | None] | None) -> None:
    """All the headers in use are read, the tightest policy counts, nothing is guessed."""
    assert quota_hint(WireAnswer(200, headers, b"")) == hint


def test_dates_are_utc() -> None:
    """The server's date is read in UTC, or not at all."""
    assert server_date(answer(Date=DATE)) == NOW
    assert server_date(answer(Date="Sun, 19 Apr 2026 17:00:00 +0200")) == NOW
    assert server_date(answer(Date="today")) is None
    assert server_date(answer()) is None


def test_header_names_have_no_case() -> None:
    """Names are found in any case, and repeated lines are one list."""
    headers = CIMultiDict([("RateLimit", '"a";r=9'), ("ratelimit", '"b";r=2;t=4')])
    got = WireAnswer(200, headers, b"")
    assert got.header("RATELIMIT") == '"a";r=9, "b";r=2;t=4'
    assert quota_hint(got) == (2, 4.0)
    assert got.header("x") is None


@given(
    st.dictionaries(
        st.sampled_from(["Date", "Retry-After", "RateLimit", "X-RateLimit-Reset"]),
        st.text() | st.from_regex(r"[a-z\"]*;?[rt]=\d+(;t=\d+)?") | st.integers().map(str),
    )
)
def test_no_header_crashes(headers: dict[str, str]) -> None:
    """Whatever a proxy writes, waiting times are finite and not negative."""
    got = WireAnswer(429, headers, b"")
    seconds = retry_after(got, NOW)
    assert seconds is None or 0 <= seconds < 1e15
    hint = quota_hint(got)
    if hint is not None:
        assert hint != (None, None)
        assert all(value is None or value >= 0 for value in hint)
