"""Countries, services, prices, phone numbers."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async.sandbox.catalogue import COUNTRIES, SERVICES, find_country, find_service, price
from papsms_async.sandbox.phone_numbers import NumberPool


def test_there_is_enough_on_offer() -> None:
    """At least 85 countries and a good list of services are on offer."""
    assert len(COUNTRIES) >= 85
    assert len(SERVICES) >= 150
    assert all(re.fullmatch("[a-z]{2}", code) for code in COUNTRIES)


def test_prices_are_in_range_and_differ() -> None:
    """Every price is a whole number of cents from 0.10 to 3.00, and both ends occur."""
    prices = {price(name, country) for name in SERVICES for country in COUNTRIES.values()}
    assert min(prices) == Decimal("0.10")
    assert max(prices) == Decimal("3.00")
    assert all(amount == amount.quantize(Decimal("0.01")) for amount in prices)
    assert len(prices) > 30


def test_the_documented_price() -> None:
    """WhatsApp in the United States costs what the documentation's example costs."""
    assert price("whatsapp", COUNTRIES["us"]) == Decimal("0.80")


@pytest.mark.parametrize("name", ["service-5599", "a", "X", "some_thing.io", " WhatsApp "])
def test_any_sane_word_is_a_service(name: str) -> None:
    """A word that is not listed is a service at a default price."""
    service = find_service(name)
    assert service == name.strip().lower()
    assert Decimal("0.10") <= price(service, COUNTRIES["us"]) <= Decimal("3.00")


@pytest.mark.parametrize("name", ["", " ", "a b", "-x", "é", "x" * 65, "a/b", None, 5, ["x"]])
def test_what_is_no_word_is_no_service(name: object) -> None:
    """Anything but a word is no service."""
    assert find_service(name) is None


@given(st.one_of(st.text(), st.none(), st.integers()))
def test_an_unknown_country_is_none(code: object) -> None:
    """Any value is a country on offer, an out-of-stock one, or none."""
    found = find_country(code)
    assert found is None or found.code == "zz" or found is COUNTRIES[found.code]


@pytest.mark.parametrize("code", ["us", "ca", "gb", "fr"])
def test_fictional_numbers_do_not_repeat(code: str) -> None:
    """Numbers come from the ranges reserved for fiction and repeat only when all are out."""
    pattern = {
        "us": r"\+1[2-9]\d\d55501\d\d",
        "ca": r"\+1[2-9]\d\d55501\d\d",
        "gb": r"\+447700900\d{3}",
        "fr": r"\+3363998\d{4}",
    }[code]
    pool = NumberPool(seed=3)
    taken = [pool.take(COUNTRIES[code]) for _ in range(1000)]
    assert len(set(taken)) == 1000
    assert all(re.fullmatch(pattern, number) for number in taken)


@pytest.mark.parametrize("code", sorted(set(COUNTRIES) - {"us", "ca", "gb", "fr", "do"}))
def test_other_numbers_are_clearly_fake(code: str) -> None:
    """Elsewhere the number goes on with zeros, which no numbering plan assigns."""
    pool = NumberPool(seed=9)
    taken = [pool.take(COUNTRIES[code]) for _ in range(500)]
    assert len(set(taken)) == 500
    assert all(n.startswith(f"+{COUNTRIES[code].dial_code}000") for n in taken)
    assert all(10 <= len(n) <= 16 for n in taken)


@given(kept=st.integers(0, 990), passed=st.integers(0, 1500), seed=st.integers(0, 10**6))
def test_no_number_is_held_twice(kept: int, passed: int, seed: int) -> None:
    """A number is never held twice while others of its range are free."""
    pool = NumberPool(seed)
    held = {pool.take(COUNTRIES["gb"]) for _ in range(kept)}
    assert len(held) == kept
    for _ in range(passed):
        number = pool.take(COUNTRIES["gb"])
        assert number not in held
        pool.give_back("gb", number)
