"""The hooks take what is right and nothing else; money and instants are exact."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async.converter import (
    ValueRefusedError,
    boolean,
    converter,
    count,
    identifier,
    instant,
    number,
    phone_number,
    price,
    read_json,
    structure,
    text,
)
from papsms_async.models import Activation, ActivationStatus, Country, Sms

NOW = datetime(2026, 4, 19, 15, 30, tzinfo=UTC)


@given(st.decimals(min_value=0, max_value=1_000_000, places=6))
def test_prices_keep_their_digits(amount: Decimal) -> None:
    """A price is its digits, as a JSON number or as a text."""
    for body in (f"{amount:f}", f'"{amount:f}"'):
        got = price(read_json(body.encode()))
        assert str(got) == f"{amount:f}".removeprefix("-") or got == amount


@pytest.mark.parametrize(
    "value",
    [
        None, True, False, -1, "-1", Decimal("-0.01"), Decimal("NaN"), Decimal("sNaN"),
        Decimal("Infinity"), Decimal("1e30"), Decimal("1e-30"), 10**7, 0.8, "", "1e3", "1,5",
        "$1", "٣", "1_000", [], {},
    ],
)  # fmt: skip
def test_what_is_no_price_is_refused(value: Any) -> None:
    """Null, booleans, floats, negatives, NaN, Infinity and other texts are no price."""
    with pytest.raises(ValueRefusedError):
        price(value)


def test_prices() -> None:
    """Integers and minus zero are prices."""
    assert price(3) == Decimal(3)
    assert str(price(Decimal("-0.0"))) == "0.0"
    assert price(" 0.80 ") == Decimal("0.80")


NAIVE = st.datetimes(
    min_value=datetime(1, 1, 3),  # noqa: DTZ001
    max_value=datetime(9999, 12, 29),  # noqa: DTZ001
)


@given(
    NAIVE,
    st.integers(-23, 23),
)
def test_instants_are_the_same_in_utc(naive: datetime, hours: int) -> None:
    """An instant in any zone is the same instant in UTC; without a zone it is refused."""
    aware = naive.replace(tzinfo=timezone(timedelta(hours=hours)))
    got = instant(aware.isoformat())
    assert got == aware
    assert got.tzinfo is UTC
    assert instant(aware) == aware
    for value in (naive, naive.isoformat()):
        with pytest.raises(ValueRefusedError):
            instant(value)


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, 1776612600, "", "now", "2026-04-19", "2026-13-01T00:00:00Z", "Z" * 100,
        "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00", [],
    ],
)  # fmt: skip
def test_what_is_no_instant_is_refused(value: Any) -> None:
    """Null, numbers, dates and times beyond the calendar are no instant."""
    with pytest.raises(ValueRefusedError):
        instant(value)


def test_instants_may_be_written_in_small_letters() -> None:
    """RFC 3339 allows t and z."""
    assert instant("2026-04-19t15:30:00z") == NOW


@pytest.mark.parametrize(
    "value", [None, True, False, "", "  ", "a\nb", "x" * 201, "a\ufffd", 1.5, Decimal(1), [], {}]
)
def test_what_is_no_id_is_refused(value: Any) -> None:
    """A null id does not become the text 'None'."""
    with pytest.raises(ValueRefusedError):
        identifier(value)


def test_ids_are_texts() -> None:
    """Integer ids become texts, and space around an id is no part of it."""
    assert identifier(12345678) == "12345678"
    assert identifier(" ab ") == "ab"


@pytest.mark.parametrize(
    "value",
    ["+14155550123", "14155550123", 14155550123, "+1 (415) 555-0123", "0014155550123"],
)
def test_phone_numbers_become_e164(value: Any) -> None:
    """A number is a plus and digits, however it was written."""
    assert phone_number(value) == "+14155550123"


@pytest.mark.parametrize("value", [None, "", "pending", "+", "123", "+1415555x", "1" * 21, "٣" * 9])
def test_what_is_no_phone_number_is_refused(value: Any) -> None:
    """A word in the place of the number is refused."""
    with pytest.raises(ValueRefusedError):
        phone_number(value)


def test_small_hooks() -> None:
    """Counts, texts, booleans and measured numbers are what they say."""
    assert count("12") == count(12) == 12
    assert text("") == ""
    assert boolean(False) is False
    assert number(Decimal("1.5")) == 1.5
    for hook, values in (
        (count, (True, -1, "x", None, 1.0)),
        (text, (None, 1)),
        (boolean, (0, "true", None)),
        (number, (True, "1", None, float("nan"), float("inf"), 10**400)),
    ):
        for value in values:
            with pytest.raises(ValueRefusedError):
                hook(value)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"NO", b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b'"a\nb"', b"01"],
    ids=repr,
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """Broken, too deeply nested, or another format: one error, which quotes nothing."""
    with pytest.raises(ValueRefusedError) as caught:
        read_json(body)
    assert str(caught.value) == "not JSON"
    assert caught.value.__context__ is None


def test_json_numbers_are_exact() -> None:
    """Fractions are decimals, huge numbers no crash, a byte order mark no matter."""
    assert read_json(b"\xef\xbb\xbf[0.10, 7]") == [Decimal("0.10"), 7]
    for huge in (b"9" * 5_000, b"1e99999999999999999999", b"NaN"):
        assert read_json(huge).is_nan()
    assert not read_json(b"-Infinity").is_finite()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals()
    | st.text(max_size=9)
    | st.datetimes(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["activation_id", "phone_number", "code", "cost", "status", "sms"])
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(JSON, st.sampled_from([Activation, ActivationStatus, Country, Sms]))
def test_whatever_does_not_fit_is_refused(value: Any, cls: type[Any]) -> None:
    """Structuring gives an instance or one kind of error, without what it was given."""
    try:
        assert isinstance(structure(value, cls), cls)
    except ValueRefusedError as error:
        refused: ValueRefusedError | None = error
    else:
        refused = None
    if refused is not None:
        assert refused.__cause__ is None
        assert refused.__context__ is None
        assert str(refused).startswith("missing or unusable: ")


def test_an_error_names_fields_and_no_values() -> None:
    """The message says which fields are wrong, and nothing of what they hold."""
    with pytest.raises(ValueRefusedError) as caught:
        structure(
            {"activation_id": None, "phone_number": "+14155550123", "cost": "hidden"}, Activation
        )
    assert (
        str(caught.value)
        == "missing or unusable: activation_id, cost, country, expires_at, service"
    )


@given(
    st.decimals(min_value=0, max_value=1000, places=4),
    st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.none() | st.from_regex(r"[0-9]{4,8}", fullmatch=True),
    st.text(max_size=20),
)
def test_values_survive_json(cost: Decimal, at: datetime, code: str | None, full_text: str) -> None:
    """What is written as JSON is read back as the same value."""
    activation = Activation(
        activation_id="1", phone_number="+4915550123", country="de", service="x", expires_at=at,
        cost=abs(cost),
    )  # fmt: skip
    status = ActivationStatus(
        status="received", sms=Sms(code=code, full_text=full_text, received_at=at)
    )
    for value in (activation, status, Country(code="de", price=abs(cost), available=3)):
        written = json.dumps(converter().unstructure(value))
        assert structure(json.loads(written), type(value)) == value
