"""What may be used at most: requests of an API key, money, and what one tenant may do."""

from __future__ import annotations

import re
from decimal import Decimal
from enum import StrEnum

import attrs

from papsms_async.errors import ConfigurationError


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
