"""What was paid for is not lost because a part of it is strange."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async.converter import ValueRefusedError
from papsms_async.leniency import (
    first,
    read_activation_status,
    read_country,
    read_country_list,
    read_sms,
)
from papsms_async.models import Country, Sms


@pytest.mark.parametrize(
    "value",
    [
        {"code": "12", "full_text": "t"},
        {"sms_code": "12", "text": "t"},
        {"code": 12, "fullText": "t", "received_at": "?"},
        {"code": Decimal("12.0"), "message": "t", "received_at": 5},
        [{"code": "1"}, {"code": "12", "full_text": "t"}],
    ],
)
def test_an_sms_is_read_in_many_forms(value: Any) -> None:
    """Aliases, numbers as codes, lists and strange instants all give the SMS."""
    assert read_sms(value) == Sms(code="12", full_text="t")


@pytest.mark.parametrize("value", [None, {}, [], "", " ", 7, True, {"code": None}, {"code": ""}])
def test_no_sms(value: Any) -> None:
    """Without code and text there is no SMS."""
    assert read_sms(value) is None


def test_an_instant_is_kept() -> None:
    """An instant that can be read is kept, under both spellings."""
    at = datetime(2026, 4, 19, 14, 35, 22, tzinfo=UTC)
    for key in ("received_at", "receivedAt"):
        sms = read_sms({"code": "1", key: "2026-04-19T14:35:22Z"})
        assert sms is not None
        assert sms.received_at == at


@pytest.mark.parametrize("code", [Decimal("NaN"), Decimal("1e99"), [], {}, True, "x" * 300])
def test_a_strange_code_does_not_cost_the_text(code: Any) -> None:
    """The text arrives, whatever the code is."""
    assert read_sms({"code": code, "full_text": "t"}) == Sms(code=None, full_text="t")
    assert read_sms({"code": Decimal("1.5"), "full_text": "t"}) == Sms(code="1.5", full_text="t")


@given(st.text(min_size=1, max_size=30).filter(lambda word: word.isprintable() and word.strip()))
def test_unknown_statuses_are_kept(word: str) -> None:
    """A status that is not known is kept as text."""
    kept = read_activation_status({"status": word}).status
    assert kept == word.strip() or kept in (
        "waiting", "received", "completed", "cancelled", "expired"
    )  # fmt: skip


@pytest.mark.parametrize("value", [None, [], "waiting", {}, {"status": None}, {"status": {}}])
def test_no_status(value: Any) -> None:
    """Without status and SMS there is nothing to say."""
    with pytest.raises(ValueRefusedError):
        read_activation_status(value)


def test_countries() -> None:
    """Entries are objects, names or codes; without a usable code there is no country."""
    assert read_country({"code": "US", "price": "x"}) == Country(code="us")
    assert read_country("Germany", "DE") == Country(code="de", name="Germany")
    assert read_country(Decimal("0.5"), "de") == Country(code="de")
    assert read_country(7) is None
    assert read_country({"name": "x"}) is None
    assert read_country({"code": True}) is None
    assert read_country(None, "de") is None
    assert read_country_list([]) == ()
    with pytest.raises(ValueRefusedError):
        read_country_list({})


def test_first_skips_null() -> None:
    """The first value that is there and not null counts, false and zero included."""
    assert first({"a": None, "b": 0}, "a", "b", "c") == 0
    assert first({}, "a") is None
