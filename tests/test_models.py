"""Values are frozen, and silent about numbers and codes."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import attrs
import pytest

from papsms_async.models import (
    Activation,
    ActivationStatus,
    Country,
    FinishStatus,
    Sms,
    Status,
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


def test_reprs_hide_numbers_codes_and_texts() -> None:
    """No repr shows a whole phone number, a code or a text."""
    shown = repr([ACTIVATION, SMS, ActivationStatus(status="received", sms=SMS)])
    assert "847291" not in shown
    assert "4155550123" not in shown
    assert "Your code" not in shown
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


def test_words_are_the_services_own() -> None:
    """The words that are sent are the documented ones."""
    assert [status.value for status in FinishStatus] == ["completed", "cancelled"]
    assert Country(code="us").price is None
