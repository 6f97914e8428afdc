"""What a sandbox is told before it starts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum

import attrs

from .answers import CountriesShape, ErrorShape
from .delays import DEFAULT_DELAY, SmsDelay, parse_delay
from .faults import Fault, parse_faults
from .limits import LimitSpec
from .webhook_config import WebhookConfig


class RetryAfterStyle(StrEnum):
    """How a 429 of the limit says when to come back."""

    SECONDS = "seconds"
    DATE = "date"
    NONE = "none"


def _limit(value: str | LimitSpec) -> LimitSpec:
    return LimitSpec.parse(value) if isinstance(value, str) else value


def _key_limits(value: Mapping[str, str | LimitSpec]) -> dict[str, LimitSpec]:
    return {key: _limit(limit) for key, limit in value.items()}


def _delay(value: str | SmsDelay) -> SmsDelay:
    return parse_delay(value) if isinstance(value, str) else value


def _faults(value: str | Iterable[Fault]) -> tuple[Fault, ...]:
    return parse_faults(value) if isinstance(value, str) else tuple(value)


def _keys(value: str | Iterable[str]) -> frozenset[str]:
    return frozenset([value]) if isinstance(value, str) else frozenset(value)


def _ips(value: Iterable[str] | None) -> frozenset[str] | None:
    return None if value is None else frozenset(value)


def _accounts(value: Mapping[str, str] | None) -> Mapping[str, str] | None:
    return None if value is None else dict(value)


def _money(value: Decimal | int | str) -> Decimal:
    try:
        return Decimal(value)
    except InvalidOperation:
        raise ValueError(f"not an amount of US dollars: {value!r}") from None


def _seconds(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0.0 <= value < math.inf:
        raise ValueError(f"{attribute.name} is a number of seconds, 0 or more")


def _amount(_: object, __: object, value: Decimal) -> None:
    if not value.is_finite() or value < 0:
        raise ValueError("balance is an amount of US dollars, 0 or more")


def _one_or_more(_: object, __: object, value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError("max_open is 1 or more, or None")


@attrs.frozen(kw_only=True)
class SandboxConfig:
    """How the sandbox's account and service are set up.

    Attributes:
        api_keys: Accepted API keys, all of one account. Not in the repr.
        allowed_ips: Addresses from which the keys are accepted, ``None`` for any.
        balance: Money at the start, in US dollars.
        limit: Limit of each key, also as text: ``"60/60s"``, ``"600/60s:token-bucket"``,
            ``"none"``; see `papsms_async.sandbox.limits`.
        key_limits: Limits of single keys in place of ``limit``.
        retry_after: How a 429 says when to come back.
        sms_delay: Law of the time from purchase to SMS, also as text such as
            ``"lognormal:12/0.8,never:0.08"``; see `papsms_async.sandbox.delays`.
        lifetime: Seconds from purchase to expiry.
        min_cancel_age: Seconds after the purchase before which a cancel is EARLY_CANCEL_DENIED.
        max_open: Most numbers held at once, ``None`` for any number.
        latency: Seconds that each answer takes.
        latency_jitter: Up to so many seconds more, drawn evenly.
        faults: Faults in force from the start, also as text; see `papsms_async.sandbox.faults`.
        error_shape: Shape of errors.
        errors_with_200: Whether errors come with status 200, but for 401, 403 and the limit's 429.
        countries_shape: Shape of the list of countries.
        twilio_accounts: Token of each account (``AC...``) or API key (``SK...``) that
            `papsms_async.sandbox.twilio_api` accepts; ``None`` for any. Not in the repr.
        webhook: Where webhooks are posted, ``None`` for no webhooks.
        webhook_remote: Whether they may be posted to other machines than this one.

    Raises:
        ValueError: A value is out of its range or not of its form.
    """

    api_keys: frozenset[str] = attrs.field(
        default=frozenset({"sandbox"}), converter=_keys, repr=False
    )
    allowed_ips: frozenset[str] | None = attrs.field(default=None, converter=_ips)
    balance: Decimal = attrs.field(default=Decimal(1000), converter=_money, validator=_amount)
    limit: LimitSpec = attrs.field(factory=LimitSpec, converter=_limit)
    key_limits: Mapping[str, LimitSpec] = attrs.field(
        factory=dict, converter=_key_limits, repr=False
    )
    retry_after: RetryAfterStyle = attrs.field(
        default=RetryAfterStyle.SECONDS, converter=RetryAfterStyle
    )
    sms_delay: SmsDelay = attrs.field(default=DEFAULT_DELAY, converter=_delay)
    lifetime: float = attrs.field(default=1200.0, validator=_seconds)
    min_cancel_age: float = attrs.field(default=0.0, validator=_seconds)
    max_open: int | None = attrs.field(default=None, validator=_one_or_more)
    latency: float = attrs.field(default=0.0, validator=_seconds)
    latency_jitter: float = attrs.field(default=0.0, validator=_seconds)
    faults: tuple[Fault, ...] = attrs.field(default=(), converter=_faults)
    error_shape: ErrorShape = attrs.field(default=ErrorShape.OBJECT, converter=ErrorShape)
    errors_with_200: bool = False
    countries_shape: CountriesShape = attrs.field(
        default=CountriesShape.OBJECTS, converter=CountriesShape
    )
    twilio_accounts: Mapping[str, str] | None = attrs.field(
        default=None, converter=_accounts, repr=False
    )
    webhook: WebhookConfig | None = None
    webhook_remote: bool = False

    def __attrs_post_init__(self) -> None:
        self.check_webhook(self.webhook)

    def check_webhook(self, webhook: WebhookConfig | None) -> None:
        """See that webhooks may be posted there.

        Raises:
            ValueError: They may not leave this machine.
        """
        if webhook is not None and not webhook.stays_here and not self.webhook_remote:
            raise ValueError(
                "webhooks are posted to 127.0.0.1, ::1 or localhost only, unless the sandbox was"
                " started with --webhook-remote"
            )

    @staticmethod
    def parse_limit(text: str) -> LimitSpec:
        """Read a limit such as ``"60/60s"``; see `LimitSpec.parse`.

        Raises:
            ValueError: It is not of that form; the message says what is.
        """
        return LimitSpec.parse(text)

    @staticmethod
    def parse_delay(text: str) -> SmsDelay:
        """Read an SMS delay law such as ``"lognormal:12/0.8,never:0.08"``.

        Raises:
            ValueError: It is not of that form; the message says what is.
        """
        return parse_delay(text)

    @staticmethod
    def parse_accounts(texts: Iterable[str]) -> dict[str, str] | None:
        """Read Twilio accounts such as ``"AC...:TOKEN"``; none of them for any account.

        Raises:
            ValueError: One is not of that form.
        """
        found: dict[str, str] = {}
        for text in texts:
            account, _, token = text.partition(":")
            if not token or not account.isalnum() or account[:2] not in {"AC", "SK"}:
                raise ValueError("an account is written AC...:TOKEN, an API key SK...:SECRET")
            found[account] = token
        return found or None

    @staticmethod
    def parse_faults(text: str) -> tuple[Fault, ...]:
        """Read faults such as ``"purchase:drop_after@0.05,status:server_error#3"``.

        Raises:
            ValueError: One is not of that form; the message says what is wrong.
        """
        return parse_faults(text)
