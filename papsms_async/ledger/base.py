"""What a ledger is: entries, events, and the operations that every store offers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

import attrs

from papsms_async.errors import BudgetExceededError, LedgerError, TenantLimitError
from papsms_async.ledger.delay_store import DelayStore
from papsms_async.ledger.inbox import Inbox
from papsms_async.lifecycle import OPEN, OWED, State
from papsms_async.limits import TenantLimits
from papsms_async.models import Activation, Sms, mask_number


def held(state: State, worst_price: Decimal, cost: Decimal | None) -> Decimal:
    """Return the US dollars that a purchase in ``state`` holds of a budget.

    The one place that knows it; every ledger sums with it.
    """
    match state:
        case State.REFUSED | State.CANCELLED | State.EXPIRED:
            return Decimal(0)
        case State.SENDING | State.UNKNOWN:
            return worst_price
        case _:
            return worst_price if cost is None else cost


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
        owner: The process that drives it, where several share a ledger.
        fence: How often it was taken over; a writer that names an older one changes nothing.
        lease_until: Until when ``owner`` may be taken to be alive (UTC).
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
    owner: str | None = None
    fence: int = 0
    lease_until: datetime | None = None

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
        return held(self.state, self.worst_price, self.cost)

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


CHANGEABLE = frozenset({"activation_id", "phone_number", "country", "expires_at", "cost", "sms"})
"""The fields of an entry that `Ledger.move` can set besides the state."""


class Ledger(Protocol):
    """Where purchases are written down. Every write is durable when its call returns.

    A write that was begun is carried out even if its caller is cancelled meanwhile: either all of
    it is there afterwards or nothing. All methods raise `LedgerError` when the store can't be used.

    *Leases.* Where several processes share a ledger, each drives only entries whose lease it holds.
    A lease ends by itself; then `claim` gives the entry to another process and raises its
    ``fence``, and a write that names the old owner or fence is refused. Whoever holds leases must
    count their end on its own monotonic clock from *before* the call that gave or renewed them.

    *Whose clock.* ``now=None`` takes the clock that all sharing processes have in common: the
    database server's on PostgreSQL, the machine's on SQLite and in memory. So clocks of different
    machines that disagree neither end a lease early nor keep it. Only tests need to pass ``now``,
    and then all of them must.
    """

    @property
    def inbox(self) -> Inbox:
        """Where webhooks are written down."""
        ...

    @property
    def delays(self) -> DelayStore:
        """Where what was learned of SMS delays is kept."""
        ...

    async def open(self) -> None:
        """Make it ready. Safe to call twice."""

    async def aclose(self) -> None:
        """Let go of files and connections. Safe to call twice."""

    async def add(
        self,
        entry: LedgerEntry,
        *,
        event: str = "intent",
        limit: Decimal | None = None,
        tenant_limits: TenantLimits | None = None,
        owner: str | None = None,
        lease: float | None = None,
        now: datetime | None = None,
    ) -> None:
        """Write a new entry with the first line of its history.

        Args:
            entry: The entry. Its own ``owner`` and ``lease_until`` are kept where ``owner`` is not
                given.
            event: What happened, for the history.
            limit: US dollars that all entries may hold together, this one included. Checked and
                reserved in one step, also across processes. ``None`` means no limit.
            tenant_limits: What the entry's tenant may do, checked in the same step; an hour ends at
                the entry's ``created_at``. No tenant, no check.
            owner: The process that drives it, with a lease from the beginning.
            lease: Seconds that the lease lasts; needed with ``owner``.
            now: The instant from which the lease counts; see the class.

        Raises:
            LedgerConflictError: There is an entry of this id.
            BudgetExceededError: It would go over ``limit``. Nothing was written.
            TenantLimitError: It would go over ``tenant_limits``. Nothing was written.
        """

    async def move(
        self,
        intent_id: str,
        expected: State,
        state: State,
        *,
        event: str,
        at: datetime,
        reason: str | None = None,
        owner: str | None = None,
        fence: int | None = None,
        **changes: Any,
    ) -> LedgerEntry:
        """Move an entry from ``expected`` to ``state`` and append to its history.

        An entry that leaves the states that can be recovered loses its lease.

        Args:
            intent_id: Which entry.
            expected: The state that it must be in.
            state: The state that it gets.
            event: What happened, for the history.
            at: When (UTC).
            reason: Why, in a few words without secrets.
            owner: The process that must hold it; ``None`` does not ask.
            fence: The fence that it must have; ``None`` does not ask.
            **changes: Further fields of `LedgerEntry` to set: activation_id, phone_number,
                country, expires_at, cost, sms.

        Returns:
            The entry as it is now; an SMS that was passed is in it even where its code and text
            are not stored.

        Raises:
            LedgerConflictError: It is in another state or another process took it over, or there
                is no such entry. Nothing was changed.
        """
        ...

    async def claim(
        self,
        owner: str,
        *,
        lease: float,
        now: datetime | None = None,
        states: Collection[State] = OPEN,
        limit: int = 100,
        intent_ids: Collection[str] | None = None,
        let_go: bool = True,
    ) -> tuple[LedgerEntry, ...]:
        """Take over entries that no living process drives.

        Args:
            owner: A name that no other process, nor an earlier run of this one, has.
            lease: Seconds that the lease lasts.
            now: See the class.
            states: Only entries in these states.
            limit: How many at most.
            intent_ids: Only these entries.
            let_go: Also entries whose driver let go of them, besides those whose lease ended.

        Returns:
            The entries taken, each with its new fence, oldest first.
        """
        ...

    async def renew(
        self, owner: str, *, lease: float, now: datetime | None = None
    ) -> tuple[str, ...]:
        """Prolong all leases of ``owner``, also those that ended but that nobody took.

        Returns:
            The ids of the entries that it still holds: stop driving all others.
        """
        ...

    async def release_leases(self, owner: str, *, intent_id: str | None = None) -> int:
        """Give up all leases of ``owner`` at once, or one; return how many they were."""
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

    async def instants(self, event: str) -> Mapping[str, datetime]:
        """Return when ``event`` first happened to each entry that it happened to, by intent id."""
        ...

    async def committed(self) -> Decimal:
        """Return US dollars that all entries, purged ones too, together hold of a budget."""
        ...

    async def purge(self, older_than: datetime) -> int:
        """Forget ended entries that last changed before ``older_than``, with their history.

        What they hold of a budget stays in `committed`. Webhooks that came before are forgotten,
        too, whatever they are about.

        Returns:
            How many entries were forgotten.
        """
        ...


def check_changes(changes: Collection[str]) -> None:
    """Refuse fields that `Ledger.move` can't set.

    Raises:
        TypeError: There is such a field.
    """
    for name in changes:
        if name not in CHANGEABLE:
            raise TypeError(f"move() can't set the field {name!r} of an entry")


def lease_seconds(owner: str | None, lease: float | None) -> float | None:
    """Return the lease to give with a new entry, or ``None`` where no owner is named.

    Raises:
        TypeError: Only one of the two is given.
        ValueError: The lease is not above zero.
    """
    if (owner is None) != (lease is None):
        raise TypeError("owner and lease go together")
    if lease is not None and not 0 < lease < float("inf"):
        raise ValueError(f"a lease must be above 0 seconds, not {lease}")
    return lease


def over_budget(entry: LedgerEntry, committed: Decimal, limit: Decimal) -> BudgetExceededError:
    """Return the error for an entry that does not fit into ``limit``."""
    return BudgetExceededError(
        f"The purchase may cost up to ${entry.worst_price}, which does not fit into the budget"
        f" of ${limit}: ${committed} is spent or reserved.",
        intent_id=entry.intent_id,
    )


@attrs.frozen(kw_only=True)
class TenantUsage:
    """What a tenant has used of its limits."""

    last_hour: int
    in_flight: int
    committed: Decimal


def check_tenant(entry: LedgerEntry, usage: TenantUsage, limits: TenantLimits) -> None:
    """Refuse an entry whose tenant has used up a limit.

    Raises:
        TenantLimitError: It has; the sentence says which.
    """
    used_up = None
    if limits.per_hour is not None and usage.last_hour >= limits.per_hour:
        used_up = f"{limits.per_hour} verifications an hour"
    elif limits.in_flight is not None and usage.in_flight >= limits.in_flight:
        used_up = f"{limits.in_flight} verifications at once"
    elif limits.spend is not None and usage.committed + entry.worst_price > limits.spend:
        used_up = f"${limits.spend} (${usage.committed} spent or reserved)"
    if used_up is not None:
        raise TenantLimitError(
            f"The tenant has used up its limit of {used_up}; nothing was bought.",
            intent_id=entry.intent_id,
        )


def conflict(found: LedgerEntry | None, intent_id: str, expected: State) -> LedgerConflictError:
    """Return the error for a move whose guard failed."""
    if found is not None and found.state is expected:
        message = "Another process took the purchase over: nothing was changed."
    else:
        where = "is not in the ledger" if found is None else f"is {found.state.value}"
        message = f"The purchase {where}, not {expected.value}: somebody else moved it."
    return LedgerConflictError(message, intent_id=intent_id)
