"""A ledger in front of another one: what it does not change, it passes on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from papsms_async.ledger.base import Ledger, LedgerEntry, LedgerEvent
from papsms_async.ledger.delay_store import DelayStore
from papsms_async.ledger.inbox import Inbox
from papsms_async.lifecycle import State


class PassingLedger:
    """Passes every call on; see `papsms_async.ledger.base.Ledger` for what they do.

    Args:
        inner: The ledger behind it.
    """

    def __init__(self, inner: Ledger) -> None:
        self._inner = inner

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._inner!r}>"

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

    async def add(self, entry: LedgerEntry, **options: Any) -> None:
        """See `Ledger.add`."""
        await self._inner.add(entry, **options)

    async def move(
        self, intent_id: str, expected: State, state: State, **options: Any
    ) -> LedgerEntry:
        """See `Ledger.move`."""
        return await self._inner.move(intent_id, expected, state, **options)

    async def claim(self, owner: str, **options: Any) -> tuple[LedgerEntry, ...]:
        """See `Ledger.claim`."""
        return await self._inner.claim(owner, **options)

    async def renew(self, owner: str, **options: Any) -> tuple[str, ...]:
        """See `Ledger.renew`."""
        return await self._inner.renew(owner, **options)

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

    async def instants(self, event: str) -> Mapping[str, datetime]:
        """See `Ledger.instants`."""
        return await self._inner.instants(event)

    async def committed(self) -> Decimal:
        """See `Ledger.committed`."""
        return await self._inner.committed()

    async def purge(self, older_than: datetime) -> int:
        """See `Ledger.purge`."""
        return await self._inner.purge(older_than)
