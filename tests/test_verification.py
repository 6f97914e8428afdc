"""Requests are checked at their edge; results tell how they ended, and nothing secret."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from papsms_async.errors import ConfigurationError, NoNumbersError
from papsms_async.models import Activation, Sms
from papsms_async.verification import (
    Outcome,
    VerificationRequest,
    VerificationResult,
    check_timeout,
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


def test_the_repr_of_a_result_hides_what_it_holds() -> None:
    """No repr shows a whole phone number, a code, a text, or what a flow returned."""
    shown = repr(result())
    assert "847291" not in shown
    assert "4155550123" not in shown
    assert "Your code" not in shown
    assert "hidden" not in shown
    assert "+1********23" in shown


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
