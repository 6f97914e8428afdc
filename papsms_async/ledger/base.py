"""What a ledger is: entries, events, and the operations that every store offers."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

import attrs

from papsms_async.errors import LedgerError
from papsms_async.lifecycle import OWED, State
from papsms_async.models import Activation, Sms, mask_number


@attrs.frozen(kw_only=True)
class LedgerEntry:
    """The current state of one purchase.

    Attributes:
        intent_id: Our id of it, made before the purchase is sent.
        state: Where it stands.
        service: What was asked for.
        country: Where.
        reference: The caller's own name for it.
        tenant: On whose behalf it runs.
        worst_price: US dollars that it counts with while its price is not known.
        activation_id: The service's id, once bought.
        phone_number: The number, once bought.
        expires_at: When the service takes the number back (UTC).
        cost: The price in US dollars, once known.
        sms: The SMS, once one came.
        reason: Why it is in this state, in a few words without secrets.
        created_at: When the intent was written (UTC).
        updated_at: When it last changed (UTC).
    """

    intent_id: str
    state: State
    service: str
    country: str
    reference: str | None = None
    tenant: str | None = None
    worst_price: Decimal = Decimal(3)
    activation_id: str | None = None
    phone_number: str | None = attrs.field(
        default=None, repr=lambda number: "None" if number is None else repr(mask_number(number))
    )
    expires_at: datetime | None = None
    cost: Decimal | None = None
    sms: Sms | None = None
    reason: str | None = None
    created_at: datetime
    updated_at: datetime

    @property
    def activation(self) -> Activation | None:
        """The activation as the service described it, or ``None`` where parts of it are missing."""
        if (
            self.activation_id is None
            or self.phone_number is None
            or self.expires_at is None
            or self.cost is None
        ):
            return None
        return Activation(
            activation_id=self.activation_id,
            phone_number=self.phone_number,
            country=self.country,
            service=self.service,
            expires_at=self.expires_at,
            cost=self.cost,
        )

    @property
    def committed(self) -> Decimal:
        """US dollars that this purchase holds of a budget in its present state."""
        match self.state:
            case State.REFUSED | State.CANCELLED | State.EXPIRED:
                return Decimal(0)
            case State.SENDING | State.UNKNOWN:
                return self.worst_price
            case _:
                return self.worst_price if self.cost is None else self.cost

    @property
    def is_owed(self) -> bool:
        """Whether a finish is owed to the service."""
        return self.state in OWED


@attrs.frozen(kw_only=True)
class LedgerEvent:
    """One line of the append-only history of a purchase."""

    intent_id: str
    at: datetime
    event: str
    state: State
    """The state after it."""
    reason: str | None = None
    actor: str | None = None
    """Which process did it."""


class LedgerConflictError(LedgerError):
    """The entry is not in the state that the writer thought; somebody else moved it."""


class Ledger(Protocol):
    """Where purchases are written down. Every write is durable when its call returns.

    All methods raise `LedgerError` when the store can't be used.
    """

    async def open(self) -> None:
        """Make it ready. Safe to call twice."""

    async def aclose(self) -> None:
        """Let go of files and connections. Safe to call twice."""

    async def add(self, entry: LedgerEntry, *, event: str = "intent") -> None:
        """Write a new entry with the first line of its history."""

    async def move(
        self,
        intent_id: str,
        expected: State,
        state: State,
        *,
        event: str,
        at: datetime,
        reason: str | None = None,
        **changes: Any,
    ) -> LedgerEntry:
        """Move an entry from ``expected`` to ``state`` and append to its history.

        Args:
            intent_id: Which entry.
            expected: The state that it must be in.
            state: The state that it gets.
            event: What happened, for the history.
            at: When (UTC).
            reason: Why, in a few words without secrets.
            **changes: Further fields of `LedgerEntry` to set: activation_id, phone_number,
                country, expires_at, cost, sms.

        Returns:
            The entry as it is now.

        Raises:
            LedgerConflictError: It is in another state, or there is no such entry.
        """
        ...

    async def get(self, intent_id: str) -> LedgerEntry | None:
        """Return one entry, or ``None``."""
        ...

    async def entries(self, states: Collection[State] | None = None) -> tuple[LedgerEntry, ...]:
        """Return the entries in any of ``states`` (all if ``None``), oldest first."""
        ...

    async def history(self, intent_id: str) -> tuple[LedgerEvent, ...]:
        """Return the history of one entry, oldest first."""
        ...

    async def committed(self) -> Decimal:
        """Return US dollars that all entries together hold of a budget."""
        ...
