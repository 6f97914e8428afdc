"""A verification as its caller has it: what is wanted, who goes first, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import attrs

from papsms_async.errors import ConfigurationError
from papsms_async.models import Activation, Sms


class Priority(StrEnum):
    """Who goes first: to a permit, and to a place among the activations in flight."""

    INTERACTIVE = "interactive"
    """Somebody waits for it. The default of `activate` and `verify`."""
    BULK = "bulk"
    """One of many that are to be done in time. The default of `run` and `submit`."""


def as_priority(value: Priority | str) -> Priority:
    """Return ``value`` as a priority.

    Raises:
        ConfigurationError: There is no such priority.
    """
    try:
        return Priority(value)
    except ValueError:
        raise ConfigurationError(
            f"The priority must be 'interactive' or 'bulk', not {value!r}."
        ) from None


def check_timeout(name: str, seconds: float) -> float:
    """Return ``seconds`` if it can be a timeout.

    Raises:
        ConfigurationError: It is not a number above 0 and up to a day.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ConfigurationError(f"{name} must be a number of seconds, not {seconds!r}.")
    if not 0 < seconds <= 86_400:
        raise ConfigurationError(f"{name} must be above 0 and up to 86400 seconds, not {seconds}.")
    return float(seconds)


def _word(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"The {name} must be a non-empty text, not {value!r}.")
    if len(value) > 100 or any(ord(char) < 32 for char in value):
        raise ConfigurationError(f"The {name} must be up to 100 printable characters.")
    return value.strip()


def _service(value: str) -> str:
    return _word("service", value)


def _country(value: str) -> str:
    return _word("country", value).lower()


def _countries(value: str | Iterable[str]) -> tuple[str, ...]:
    words = value.replace("|", ",").split(",") if isinstance(value, str) else value
    return tuple(_word("fallback country", word).lower() for word in words)


@attrs.frozen
class VerificationRequest:
    """One verification that is wanted.

    Args:
        service: Name of the service, as the PapSMS catalogue spells it.
        country: Two-letter country code.
        fallbacks: Countries that are tried in turn when ``country`` has no number.
        reference: The caller's own name for it, kept on results, events and in the ledger.
        tenant: On whose behalf it runs, for shares, limits and reports by tenant.
        sms_timeout: Seconds to wait for the SMS; ``None`` takes the manager's.
        priority: Who goes first; ``None`` takes the call's.

    Raises:
        ConfigurationError: A value can't be used.
    """

    service: str = attrs.field(converter=_service)
    country: str = attrs.field(default="us", converter=_country)
    fallbacks: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=_countries)
    reference: str | None = attrs.field(default=None, kw_only=True)
    tenant: str | None = attrs.field(default=None, kw_only=True)
    sms_timeout: float | None = attrs.field(default=None, kw_only=True)
    priority: Priority | None = attrs.field(
        default=None, kw_only=True, converter=attrs.converters.optional(as_priority)
    )

    def __attrs_post_init__(self) -> None:
        if self.sms_timeout is not None:
            check_timeout("sms_timeout", self.sms_timeout)

    @property
    def countries(self) -> tuple[str, ...]:
        """All countries to try, in order and each once."""
        return tuple(dict.fromkeys((self.country, *self.fallbacks)))


class Outcome(StrEnum):
    """How a verification ended."""

    COMPLETED = "completed"
    """An SMS came and the flow used it."""
    TIMED_OUT = "timed_out"
    """No SMS came in time; the number is released."""
    NO_NUMBERS = "no_numbers"
    """No country that was asked for had a number; nothing was bought."""
    NO_BALANCE = "no_balance"
    """The account's deposit does not cover the price; nothing was bought."""
    OVER_BUDGET = "over_budget"
    """The budget does not cover the price; nothing was bought."""
    OVER_LIMIT = "over_limit"
    """The tenant has used up one of its limits; nothing was bought."""
    REJECTED = "rejected"
    """The service refused the purchase for another reason; nothing was bought."""
    CANCELLED = "cancelled"
    """The flow gave the number back, or the activation was ended at the service."""
    FAILED = "failed"
    """The flow raised an error, or the service could not be used."""
    UNKNOWN = "unknown"
    """The answer to the purchase was lost; it may have been charged."""


@attrs.frozen(kw_only=True)
class VerificationResult:
    """What became of one `VerificationRequest`.

    Attributes:
        request: The request.
        outcome: How it ended.
        activation: The number that was bought, or ``None``.
        sms: The SMS, if one came.
        value: What ``flow`` returned.
        error: The error that ended it, or ``None``.
        attempts: How many purchases were tried, fallbacks included.
        cost: What it cost in US dollars, net of refunds that are expected or confirmed.
        cost_uncertain: What it may have cost beyond that: an unknown purchase, or a refund that is
            asked for and not yet confirmed.
        started_at: When it was begun.
        purchased_at: When the number was there, or ``None``.
        sms_at: When the SMS was seen by this client, or ``None``.
        ended_at: When the flow was over.
    """

    request: VerificationRequest
    outcome: Outcome
    activation: Activation | None = None
    sms: Sms | None = None
    value: Any = attrs.field(default=None, repr=False)
    error: BaseException | None = None
    attempts: int = 0
    cost: Decimal = Decimal(0)
    cost_uncertain: Decimal = Decimal(0)
    started_at: datetime
    purchased_at: datetime | None = None
    sms_at: datetime | None = None
    ended_at: datetime

    @property
    def ok(self) -> bool:
        """Whether the verification was completed."""
        return self.outcome is Outcome.COMPLETED

    @property
    def duration(self) -> float:
        """Seconds from its begin to its end."""
        return (self.ended_at - self.started_at).total_seconds()

    def raise_for_outcome(self) -> VerificationResult:
        """Return the result itself if it was completed.

        Raises:
            BaseException: The error that ended it.
        """
        if self.error is not None:
            raise self.error
        return self
