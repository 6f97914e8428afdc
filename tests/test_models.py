"""Values are frozen, checked at their edge, and silent about numbers and codes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest

from papsms_async.errors import ConfigurationError, NoNumbersError
from papsms_async.models import (
    Activation,
    ActivationStatus,
    Budget,
    Country,
    FinishStatus,
    Outcome,
    QuotaProfile,
    RateLimit,
    Sms,
    Status,
    VerificationRequest,
    VerificationResult,
    check_timeout,
    mask_number,
)

NOW = datetime(2026, 4, 19, 15, 30, tzinfo=UTC)
ACTIVATION = Activation(
    activation_id="1",
    phone_number="+14155550123",
    country="us",
    service="whatsapp",
    expires_at=NOW,
    cost=Decimal("0.80"),
)
SMS = Sms(code="847291", full_text="Your code: 847291", received_at=NOW)


def result(**changes: Any) -> VerificationResult:
    """Return a completed verification, with ``changes``."""
    values: dict[str, Any] = {
        "request": VerificationRequest("whatsapp"),
        "outcome": Outcome.COMPLETED,
        "activation": ACTIVATION,
        "sms": SMS,
        "value": "hidden",
        "started_at": NOW,
        "ended_at": NOW + timedelta(seconds=12.5),
    }
    return VerificationResult(**(values | changes))


def test_reprs_hide_numbers_codes_and_texts() -> None:
    """No repr shows a whole phone number, a code, a text, or what a flow returned."""
    shown = repr([ACTIVATION, SMS, ActivationStatus(status="received", sms=SMS), result()])
    assert "847291" not in shown
    assert "4155550123" not in shown
    assert "Your code" not in shown
    assert "hidden" not in shown
    assert "+1********23" in shown
    assert "code=None" in repr(Sms(code=None, full_text=""))


@pytest.mark.parametrize("number", ["+14155550123", "12345"])
def test_masks_keep_both_ends_only(number: str) -> None:
    """A masked number keeps two characters at each end, and its length."""
    masked = mask_number(number)
    assert masked == number[:2] + "*" * (len(number) - 4) + number[-2:]


def test_values_are_frozen() -> None:
    """A value can't be changed."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        SMS.code = "1"  # type: ignore[misc]
    assert not hasattr(ACTIVATION, "__dict__")


@pytest.mark.parametrize("status", Status)
def test_an_activation_is_over_when_the_service_says_so(status: Status) -> None:
    """Completed, cancelled and expired are the end; words that are not known are not."""
    over = {Status.COMPLETED, Status.CANCELLED, Status.EXPIRED}
    assert ActivationStatus(status=status.value).is_over == (status in over)
    assert not ActivationStatus(status="on hold").is_over


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


def test_requests_are_checked_and_cleaned() -> None:
    """Countries are in lower case, fallbacks a tuple or words with commas, each tried once."""
    request = VerificationRequest(" whatsapp ", "US", fallbacks="gb, US|de")
    assert request.countries == ("us", "gb", "de")
    assert request.service == "whatsapp"
    assert VerificationRequest("x", fallbacks=["GB"]).fallbacks == ("gb",)


@pytest.mark.parametrize(
    "arguments",
    [
        {"service": ""},
        {"service": None},
        {"service": "a\nb"},
        {"service": "x" * 101},
        {"service": "a", "country": " "},
        {"service": "a", "fallbacks": ("",)},
        {"service": "a", "sms_timeout": 0},
        {"service": "a", "sms_timeout": True},
        {"service": "a", "sms_timeout": float("nan")},
        {"service": "a", "sms_timeout": 90_000},
    ],
)
def test_bad_requests_are_refused(arguments: dict[str, Any]) -> None:
    """What can't be sent is refused before anything is bought."""
    with pytest.raises(ConfigurationError):
        VerificationRequest(**arguments)


def test_timeouts_are_seconds() -> None:
    """A timeout is a number of seconds."""
    assert check_timeout("timeout", 5) == 5.0
    with pytest.raises(ConfigurationError, match="timeout"):
        check_timeout("timeout", "5")  # type: ignore[arg-type]


def test_results_tell_how_they_ended() -> None:
    """A result knows its duration, whether it is fine, and raises its error."""
    fine = result()
    assert fine.ok
    assert fine.duration == 12.5
    assert fine.raise_for_outcome() is fine
    error = NoNumbersError("none")
    with pytest.raises(NoNumbersError):
        result(outcome=Outcome.NO_NUMBERS, error=error).raise_for_outcome()


@pytest.mark.parametrize("amount", [0, -1, "x", "NaN", float("inf"), None, ()])
def test_budgets_are_amounts_above_zero(amount: Any) -> None:
    """A budget that is no amount of money is refused."""
    with pytest.raises(ConfigurationError):
        Budget(amount)


def test_budgets_are_exact() -> None:
    """Amounts are exact, also when given as a float."""
    assert Budget(0.8, "3").limit == Decimal("0.8")  # type: ignore[arg-type]
    assert Budget(Decimal(5)).worst_price == Decimal("3.00")


def test_words_are_the_services_own() -> None:
    """The words that are sent are the documented ones."""
    assert [status.value for status in FinishStatus] == ["completed", "cancelled"]
    assert Country(code="us").price is None
