"""What is exchanged with the service: values that are frozen, and silent about secrets.

Money is a ``Decimal`` in US dollars, instants are aware ``datetime``s in UTC, durations are
seconds. No ``repr`` shows a whole phone number, a code or a message text.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import attrs


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
