"""The bound of ``--max-spend`` on the command line's own ledger, which every run adds to.

A budget counts all that its ledger holds. That is meant where several processes share a ledger that
somebody named for them. The command line's own one has the purchases of all earlier days in it, and
there the bound is the run's.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import Any

from papsms_async.errors import PapSMSError
from papsms_async.ledger import DelayStore, Inbox, Ledger, LedgerEntry, LedgerEvent
from papsms_async.ledger.base import over_budget
from papsms_async.lifecycle import OPEN, State
from papsms_async.models import TenantLimits


class RunLedger:
    """A ledger whose budget counts what was added through it; all else is the inner ledger's.

    Args:
        inner: Where everything is kept.
    """

    def __init__(self, inner: Ledger) -> None:
        self._inner = inner
        self._held: dict[str, Decimal] = {}
        self._sum = Decimal(0)

    def __repr__(self) -> str:
        return f"<RunLedger {self._inner!r}>"

    @property
    def inbox(self) -> Inbox:
        """See `Ledger.inbox`."""
        return self._inner.inbox

    @property
    def delays(self) -> DelayStore:
        """See `Ledger.delays`."""
        return self._inner.delays

    async def open(self) -> None:
        """See `Ledger.open`."""
        await self._inner.open()

    async def aclose(self) -> None:
        """See `Ledger.aclose`."""
        await self._inner.aclose()

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
        """See `Ledger.add`; ``limit`` bounds what was added here."""
        if limit is not None and self._sum + entry.worst_price > limit:
            raise over_budget(entry, self._sum, limit)
        # Reserved before the first await, so that two purchases can't take the same dollar.
        before = self._held.get(entry.intent_id, Decimal(0))
        self._hold(entry.intent_id, before + entry.committed)
        try:
            await self._inner.add(
                entry,
                event=event,
                tenant_limits=tenant_limits,
                owner=owner,
                lease=lease,
                now=now,
            )
        except PapSMSError:
            # Not after a cancellation: then it may be written all the same.
            self._hold(entry.intent_id, before)
            raise

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
        entry = await self._inner.move(
            intent_id,
            expected,
            state,
            event=event,
            at=at,
            reason=reason,
            owner=owner,
            fence=fence,
            **changes,
        )
        if intent_id in self._held:
            self._hold(intent_id, entry.committed)
        return entry

    async def claim(
        self,
        owner: str,
        *,
        lease: float,
        now: datetime | None = None,
        states: Collection[State] = OPEN,
        limit: int = 100,
        intent_id: str | None = None,
    ) -> tuple[LedgerEntry, ...]:
        """See `Ledger.claim`."""
        return await self._inner.claim(
            owner, lease=lease, now=now, states=states, limit=limit, intent_id=intent_id
        )

    async def renew(
        self, owner: str, *, lease: float, now: datetime | None = None
    ) -> tuple[str, ...]:
        """See `Ledger.renew`."""
        return await self._inner.renew(owner, lease=lease, now=now)

    async def release_leases(self, owner: str, *, intent_id: str | None = None) -> int:
        """See `Ledger.release_leases`."""
        return await self._inner.release_leases(owner, intent_id=intent_id)

    async def get(self, intent_id: str) -> LedgerEntry | None:
        """See `Ledger.get`."""
        return await self._inner.get(intent_id)

    async def entries(self, states: Collection[State] | None = None) -> tuple[LedgerEntry, ...]:
        """See `Ledger.entries`."""
        return await self._inner.entries(states)

    async def history(self, intent_id: str) -> tuple[LedgerEvent, ...]:
        """See `Ledger.history`."""
        return await self._inner.history(intent_id)

    async def committed(self) -> Decimal:
        """Return US dollars that the purchases added here hold of a budget."""
        return self._sum

    async def purge(self, older_than: datetime) -> int:
        """See `Ledger.purge`."""
        return await self._inner.purge(older_than)

    def _hold(self, intent_id: str, amount: Decimal) -> None:
        self._sum += amount - self._held.get(intent_id, Decimal(0))
        self._held[intent_id] = amount
