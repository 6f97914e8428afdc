"""Limits are read as people write them, and what is no limit is refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from papsms_async.errors import ConfigurationError
from papsms_async.limits import Budget, QuotaProfile, RateLimit


@pytest.mark.parametrize(
    ("text", "requests", "per"),
    [("60/60s", 60, 60), ("600/min", 600, 60), (" 10 / 1.5s ", 10, 1.5), ("5/h", 5, 3600)],
)
def test_rate_limits_are_read(text: str, requests: int, per: float) -> None:
    """A limit as people write it is read, and written so that it can be read again."""
    limit = RateLimit.parse(text)
    assert (limit.requests, limit.per) == (requests, per)
    assert RateLimit.parse(str(limit)) == limit


@pytest.mark.parametrize("text", ["", "60", "0/60s", "60/0s", "-1/60s", "60/60", "x/y", "1/inf"])
def test_bad_rate_limits_are_refused(text: str) -> None:
    """What is no limit is refused."""
    with pytest.raises(ConfigurationError):
        RateLimit.parse(text)


def test_rate_limit_options() -> None:
    """The profile may be given as its word."""
    assert RateLimit(5, 1, profile="fast").profile is QuotaProfile.FAST  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        RateLimit(5, float("nan"))


@pytest.mark.parametrize("amount", [0, -1, "x", "NaN", float("inf"), None, ()])
def test_budgets_are_amounts_above_zero(amount: Any) -> None:
    """A budget that is no amount of money is refused."""
    with pytest.raises(ConfigurationError):
        Budget(amount)


def test_budgets_are_exact() -> None:
    """Amounts are exact, also when given as a float."""
    assert Budget(0.8, "3").limit == Decimal("0.8")  # type: ignore[arg-type]
    assert Budget(Decimal(5)).worst_price == Decimal("3.00")
