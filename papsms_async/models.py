"""The values that callers and the service exchange: frozen, and silent about secrets.

Money is a ``Decimal`` in US dollars, instants are aware ``datetime``s in UTC, durations are
seconds. No ``repr`` shows a whole phone number, a code or a message text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import attrs

from papsms_async.errors import ConfigurationError


def mask_number(number: str) -> str:
    """Return ``number`` with all but its first two and last two characters blanked out."""
    return number if len(number) <= 4 else f"{number[:2]}{'*' * (len(number) - 4)}{number[-2:]}"


def _hidden(value: object) -> str:
    return "None" if value is None else "'***'"


class Status(StrEnum):
    """The words that the service is known to use for the state of an activation."""

    WAITING = "waiting"
    RECEIVED = "received"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class FinishStatus(StrEnum):
    """What an activation is finished as."""

    COMPLETED = "completed"
    """The code was received and used."""
    CANCELLED = "cancelled"
    """The number was not used; the price is refunded."""


@attrs.frozen(kw_only=True)
class Activation:
    """One purchased number.

    Attributes:
        activation_id: The service's id of it.
        phone_number: The number in E.164 form, with ``+``.
        country: Two-letter code of its country, in lower case.
        service: Name of the service it was bought for.
        expires_at: When the service takes it back (UTC).
        cost: What it cost, in US dollars.
    """

    activation_id: str
    phone_number: str = attrs.field(repr=lambda number: repr(mask_number(number)))
    country: str
    service: str
    expires_at: datetime
    cost: Decimal


@attrs.frozen(kw_only=True)
class Sms:
    """An SMS that arrived.

    Attributes:
        code: The code that the service recognised in it, or ``None`` if it recognised none.
        full_text: The whole text.
        received_at: When it arrived (UTC), or ``None`` where the service did not say.
    """

    code: str | None = attrs.field(repr=_hidden)
    full_text: str = attrs.field(repr=_hidden)
    received_at: datetime | None = None


@attrs.frozen(kw_only=True)
class WebhookEvent:
    """What a webhook says: for this activation an SMS came.

    Attributes:
        activation_id: The service's id of the activation.
        sms: The SMS, as far as the webhook holds it; ``None`` where it only tells that one came.
        phone_number: The number, in E.164 form, where the webhook says it.
        service: The service it was bought for, where the webhook says it.
        country: Two-letter code of its country, where the webhook says it.
        signed: Whether a signature was verified.
    """

    activation_id: str
    sms: Sms | None = None
    phone_number: str | None = attrs.field(
        default=None, repr=lambda number: "None" if number is None else repr(mask_number(number))
    )
    service: str | None = None
    country: str | None = None
    signed: bool = False


@attrs.frozen(kw_only=True)
class ActivationStatus:
    """The state of an activation, as the service told it.

    Attributes:
        status: The service's word for it, see `Status`; an unknown word is kept as it is.
        sms: The SMS, once one arrived.
    """

    status: str
    sms: Sms | None = None

    @property
    def is_over(self) -> bool:
        """Whether the service says that no SMS can come any more."""
        return self.status in _OVER


_OVER = frozenset({Status.COMPLETED, Status.CANCELLED, Status.EXPIRED})


@attrs.frozen(kw_only=True)
class Country:
    """A country on offer.

    Attributes:
        code: Two-letter code in lower case, as used in purchases.
        name: Its name in English, or ``None`` where the service did not say.
        price: Lowest price in US dollars, where the service says one.
        available: How many numbers are left, where the service says so.
    """

    code: str
    name: str | None = None
    price: Decimal | None = None
    available: int | None = None


class QuotaProfile(StrEnum):
    """How closely the local limiter follows the server's limit; see `papsms_async.bucket`."""

    STEADY = "steady"
    """No 429 on any usual kind of server limit; about 95 % of the limit. The default."""
    FAST = "fast"
    """For a server known to count an exact window; about 99 % of the limit."""
    SERIAL = "serial"
    """One request at a time, evenly spaced, for a leaky bucket; about 87 % of the limit."""


@attrs.frozen
class RateLimit:
    """The limit of an API key: ``requests`` in any window of ``per`` seconds.

    Args:
        requests: Number of requests, 1 or more.
        per: Length of the window in seconds.
        profile: How closely the client may follow it.

    Raises:
        ConfigurationError: A number is not above zero.
    """

    requests: int = 60
    per: float = attrs.field(default=60.0, converter=float)
    profile: QuotaProfile = attrs.field(
        default=QuotaProfile.STEADY, kw_only=True, converter=QuotaProfile
    )

    def __attrs_post_init__(self) -> None:
        if self.requests < 1 or not 0 < self.per < float("inf"):
            raise ConfigurationError(
                f"A rate limit needs at least 1 request in a time above 0 s,"
                f" not {self.requests} in {self.per} s."
            )

    @classmethod
    def parse(cls, text: str) -> RateLimit:
        """Read a limit such as ``60/60s``, ``600/min`` or ``10/1.5s``.

        Raises:
            ConfigurationError: ``text`` has another form.
        """
        match = re.fullmatch(
            r"\s*(\d{1,9})\s*/\s*(?:(\d{1,6}(?:\.\d{1,6})?)\s*s|(s|min|m|h))\s*", text
        )
        if match is None:
            raise ConfigurationError(f"A limit looks like 60/60s or 60/min, not {text!r}.")
        seconds = float(match[2] or {"s": 1, "min": 60, "m": 60, "h": 3600}[match[3]])
        return cls(int(match[1]), seconds)

    def __str__(self) -> str:
        return f"{self.requests}/{self.per:g}s"


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


def _amount(value: Decimal | int | str | float) -> Decimal:
    try:
        # A float goes through its shortest text, so that 0.8 is 0.80 and not 0.8000000000000000444.
        amount = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    except (ArithmeticError, TypeError, ValueError) as error:
        raise ConfigurationError(
            "A budget's amounts must be numbers of US dollars, such as 20 or 0.80."
        ) from error
    if not amount.is_finite() or amount <= 0:
        raise ConfigurationError(f"A budget's amounts must be above 0, not {amount}.")
    return amount


@attrs.frozen(kw_only=True)
class TenantLimits:
    """What one tenant, such as an end user of a service, may do; ``None`` means no bound.

    Args:
        per_hour: Purchases in any hour.
        in_flight: Purchases that are not finished yet.
        spend: US dollars in all, as far back as the ledger reaches; unknown purchases count at the
            worst price.

    Raises:
        ConfigurationError: A bound is not above zero.
    """

    per_hour: int | None = None
    in_flight: int | None = None
    spend: Decimal | None = attrs.field(default=None, converter=attrs.converters.optional(_amount))

    def __attrs_post_init__(self) -> None:
        for name in ("per_hour", "in_flight"):
            bound = getattr(self, name)
            if bound is not None and (not isinstance(bound, int) or bound < 1):
                raise ConfigurationError(f"A tenant's {name} must be 1 or more, not {bound!r}.")


@attrs.frozen
class Budget:
    """What may be spent at most.

    Args:
        limit: US dollars in all.
        worst_price: US dollars that one purchase may cost at most; reserved before each purchase
            and set right by its answer. A purchase whose answer was lost keeps counting with it.

    Raises:
        ConfigurationError: An amount is not a number above zero.
    """

    limit: Decimal = attrs.field(converter=_amount)
    worst_price: Decimal = attrs.field(default=Decimal("3.00"), converter=_amount)
