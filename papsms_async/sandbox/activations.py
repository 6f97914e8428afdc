"""What the account keeps: bought numbers, their messages, and the entries of the charge log."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import attrs

from .magic import Magic


class ChargeKind(StrEnum):
    """What happened to money or to an activation."""

    PURCHASE = "purchase"
    COMPLETE = "complete"
    CANCEL = "cancel"
    REFUND = "refund"
    EXPIRE_REFUND = "expire_refund"


@attrs.frozen
class Charge:
    """One entry of the charge log.

    Attributes:
        at: POSIX seconds.
        kind: What happened.
        activation_id: To which activation.
        amount: US dollars taken (purchase) or given back (the refunds); 0 for the others.
        service: Its service.
        country: Its country.
    """

    at: float
    kind: ChargeKind
    activation_id: str
    amount: Decimal
    service: str
    country: str


@attrs.frozen
class Sms:
    """An SMS; code and text stay out of the repr.

    Attributes:
        at: When it arrives, in POSIX seconds.
        code: The code in it, ``None`` where none is recognised.
        text: Its text.
        entry: Tells SMS apart that arrive at the same time: a later one has a greater number.
    """

    at: float
    code: str | None = attrs.field(repr=False)
    text: str = attrs.field(repr=False)
    entry: int = attrs.field(repr=False)


class ActivationState(StrEnum):
    """How an activation stands; also the status word on the wire."""

    WAITING = "waiting"
    RECEIVED = "received"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    COMPLETED = "completed"


@attrs.define
class SandboxActivation:
    """One bought number. Phone number and SMS stay out of the repr.

    Attributes:
        activation_id: Digits.
        phone_number: E.164, from a range reserved for fiction or otherwise unassigned.
        country: Country code.
        service: Service name.
        cost: US dollars.
        bought_at: POSIX seconds.
        expires_at: POSIX seconds.
        sms_at: When the latest SMS arrived, or the purchase's own will; ``None`` for never.
        sms_code: The code in it, ``None`` where none is recognised.
        sms_text: Its text.
        sms_entry: See `Sms.entry`.
        earlier: SMS that had arrived before it, oldest first.
        later: SMS that are sent by hand and have not arrived, the next one first.
        ended: How it ended, ``None`` while it has not.
        ended_at: When.
        finishes: Finish requests that were executed; never above 1.
        status_calls: Status requests for it so far.
        finish_calls: Finish requests for it so far.
    """

    activation_id: str
    phone_number: str = attrs.field(repr=False)
    country: str
    service: str
    cost: Decimal
    bought_at: float
    expires_at: float
    magic: Magic = attrs.field(repr=False)
    sms_at: float | None = None
    sms_code: str | None = attrs.field(default=None, repr=False)
    sms_text: str = attrs.field(default="", repr=False)
    ended: ActivationState | None = None
    ended_at: float | None = None
    finishes: int = 0
    status_calls: int = 0
    finish_calls: int = 0
    holds_number: bool = attrs.field(default=True, repr=False)
    sms_entry: int = attrs.field(default=-1, repr=False)
    earlier: list[Sms] = attrs.field(factory=list, repr=False)
    later: list[Sms] = attrs.field(factory=list, repr=False)

    def has_sms(self, now: float) -> bool:
        """Whether the SMS has arrived, and before expiry."""
        return self.sms_at is not None and self.sms_at <= now and self.sms_at < self.expires_at

    def state(self, now: float) -> ActivationState:
        """How it stands at that time; `Account.settle` must have been called for it."""
        if self.ended is not None:
            return self.ended
        return ActivationState.RECEIVED if self.has_sms(now) else ActivationState.WAITING

    def next_arrives(self, entry: int, at: float) -> bool:
        """Take the SMS of an entry as arrived at that time.

        Returns:
            Whether it is one of this activation's, and comes before expiry.
        """
        if self.later and self.later[0].entry == entry and at < self.expires_at:
            if self.sms_at is not None:
                self.earlier.append(self._current(self.sms_at))
            sms = self.later.pop(0)
            self.sms_at, self.sms_code, self.sms_text = sms.at, sms.code, sms.text
            self.sms_entry = entry
        return self.sms_entry == entry and self.has_sms(at)

    def messages(self) -> list[Sms]:
        """Return all SMS, arrived or on their way, in the order of their arrival."""
        if self.sms_at is None:
            return [*self.earlier, *self.later]
        return [*self.earlier, self._current(self.sms_at), *self.later]

    def _current(self, at: float) -> Sms:
        return Sms(at, self.sms_code, self.sms_text, self.sms_entry)
