"""A ledger that lives and dies with the process."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs

from papsms_async.ledger.base import (
    LedgerConflictError,
    LedgerEntry,
    LedgerEvent,
    TenantUsage,
    check_changes,
    check_tenant,
    conflict,
    lease_seconds,
    over_budget,
)
from papsms_async.ledger.delay_store import MemoryDelayStore
from papsms_async.ledger.inbox import MemoryInbox
from papsms_async.lifecycle import OPEN, TERMINAL, State
from papsms_async.limits import TenantLimits


class MemoryLedger:
    """Keeps entries in a dictionary: for tests, and for callers who need no recovery.

    Args:
        keep: How many ended entries stay readable; older ones are forgotten, so that an endless
            run does not grow without bound. Their sum stays in `committed`.
    """

    def __init__(self, *, keep: int = 10_000) -> None:
        self._keep = keep
        self._entries: dict[str, LedgerEntry] = {}
        self._history: dict[str, list[LedgerEvent]] = {}
        self._ended: dict[str, None] = {}
        self._committed = Decimal(0)
        self._inbox = MemoryInbox(self._has_activation)
        self._delays = MemoryDelayStore()

    def __repr__(self) -> str:
        return f"<MemoryLedger entries={len(self._entries)}>"

    @property
    def inbox(self) -> MemoryInbox:
        """See `Ledger.inbox`."""
        return self._inbox

    @property
    def delays(self) -> MemoryDelayStore:
        """See `Ledger.delays`."""
        return self._delays

    async def open(self) -> None:
        """Nothing to do."""

    async def aclose(self) -> None:
        """Nothing to do: what it holds stays readable."""

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
        """See `Ledger.add`."""
        seconds = lease_seconds(owner, lease)
        if entry.intent_id in self._entries:
            raise LedgerConflictError(
                "The ledger already has an entry of this id.", intent_id=entry.intent_id
            )
        if limit is not None and self._committed + entry.worst_price > limit:
            raise over_budget(entry, self._committed, limit)
        if tenant_limits is not None and entry.tenant is not None:
            check_tenant(entry, self._usage(entry.tenant, entry.created_at), tenant_limits)
        if seconds is not None:
            entry = attrs.evolve(entry, owner=owner, lease_until=_until(now, seconds))
        self._entries[entry.intent_id] = entry
        self._history[entry.intent_id] = []
        self._committed += entry.committed
        self._append(entry, event, entry.created_at, entry.reason, entry.owner)

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
        """See `Ledger.move`."""
        check_changes(changes)
        old = self._entries.get(intent_id)
        if (
            old is None
            or old.state is not expected
            or owner not in (None, old.owner)
            or fence not in (None, old.fence)
        ):
            raise conflict(old, intent_id, expected)
        if state not in OPEN:
            changes.update(owner=None, lease_until=None)
        new = attrs.evolve(
            old,
            state=state,
            updated_at=at,
            reason=old.reason if reason is None else reason,
            **changes,
        )
        self._entries[intent_id] = new
        self._committed += new.committed - old.committed
        self._append(new, event, at, reason, owner)
        if state in TERMINAL:
            self._ended[intent_id] = None
            while len(self._ended) > self._keep:
                self._forget(next(iter(self._ended)))
        return new

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
        """See `Ledger.claim`."""
        lease_seconds(owner, lease)
        at = now or datetime.now(UTC)
        taken: list[LedgerEntry] = []
        for old in self._entries.values():
            if len(taken) >= limit:
                break
            if intent_ids is not None and old.intent_id not in intent_ids:
                continue
            free = let_go if old.lease_until is None else old.lease_until < at
            if free and old.state in states:
                taken.append(
                    attrs.evolve(
                        old, owner=owner, fence=old.fence + 1, lease_until=_until(at, lease)
                    )
                )
        for new in taken:
            self._entries[new.intent_id] = new
            self._append(new, "claimed", at, None, owner)
        return tuple(taken)

    async def renew(
        self, owner: str, *, lease: float, now: datetime | None = None
    ) -> tuple[str, ...]:
        """See `Ledger.renew`."""
        lease_seconds(owner, lease)
        mine = tuple(entry for entry in self._entries.values() if entry.owner == owner)
        for entry in mine:
            self._entries[entry.intent_id] = attrs.evolve(entry, lease_until=_until(now, lease))
        return tuple(entry.intent_id for entry in mine)

    async def release_leases(self, owner: str, *, intent_id: str | None = None) -> int:
        """See `Ledger.release_leases`."""
        mine = [
            entry
            for entry in self._entries.values()
            if entry.owner == owner and intent_id in (None, entry.intent_id)
        ]
        for entry in mine:
            self._entries[entry.intent_id] = attrs.evolve(entry, owner=None, lease_until=None)
        return len(mine)

    async def get(self, intent_id: str) -> LedgerEntry | None:
        """See `Ledger.get`."""
        return self._entries.get(intent_id)

    async def entries(self, states: Collection[State] | None = None) -> tuple[LedgerEntry, ...]:
        """See `Ledger.entries`."""
        return tuple(
            entry for entry in self._entries.values() if states is None or entry.state in states
        )

    async def history(self, intent_id: str) -> tuple[LedgerEvent, ...]:
        """See `Ledger.history`."""
        return tuple(self._history.get(intent_id, ()))

    async def instants(self, event: str) -> Mapping[str, datetime]:
        """See `Ledger.instants`."""
        return {
            intent_id: min(line.at for line in lines if line.event == event)
            for intent_id, lines in self._history.items()
            if any(line.event == event for line in lines)
        }

    async def committed(self) -> Decimal:
        """See `Ledger.committed`."""
        return self._committed

    async def purge(self, older_than: datetime) -> int:
        """See `Ledger.purge`."""
        old = [
            entry.intent_id
            for entry in self._entries.values()
            if entry.state in TERMINAL and entry.updated_at < older_than
        ]
        for intent_id in old:
            self._forget(intent_id)
        self._inbox.purge(older_than)
        return len(old)

    def _has_activation(self, activation_id: str) -> bool:
        return any(entry.activation_id == activation_id for entry in self._entries.values())

    def _usage(self, tenant: str, at: datetime) -> TenantUsage:
        entries = [entry for entry in self._entries.values() if entry.tenant == tenant]
        hour_ago = at - timedelta(hours=1)
        return TenantUsage(
            last_hour=sum(
                entry.created_at > hour_ago and entry.state is not State.REFUSED
                for entry in entries
            ),
            in_flight=sum(entry.state in OPEN for entry in entries),
            committed=sum((entry.committed for entry in entries), Decimal(0)),
        )

    def _forget(self, intent_id: str) -> None:
        self._ended.pop(intent_id, None)
        del self._entries[intent_id], self._history[intent_id]

    def _append(
        self, entry: LedgerEntry, event: str, at: datetime, reason: str | None, actor: str | None
    ) -> None:
        self._history[entry.intent_id].append(
            LedgerEvent(
                intent_id=entry.intent_id,
                at=at,
                event=event,
                state=entry.state,
                reason=reason,
                actor=actor,
            )
        )


def _until(now: datetime | None, lease: float) -> datetime:
    return (now or datetime.now(UTC)) + timedelta(seconds=lease)
