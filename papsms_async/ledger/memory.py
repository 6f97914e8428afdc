"""A ledger that lives and dies with the process."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import Any

import attrs

from papsms_async.ledger.base import LedgerConflictError, LedgerEntry, LedgerEvent
from papsms_async.lifecycle import TERMINAL, State


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

    def __repr__(self) -> str:
        return f"<MemoryLedger entries={len(self._entries)}>"

    async def open(self) -> None:
        """Nothing to do."""

    async def aclose(self) -> None:
        """Nothing to do: what it holds stays readable."""

    async def add(self, entry: LedgerEntry, *, event: str = "intent") -> None:
        """See `Ledger.add`."""
        if entry.intent_id in self._entries:
            raise LedgerConflictError("The ledger already has an entry of this id.")
        self._entries[entry.intent_id] = entry
        self._history[entry.intent_id] = []
        self._committed += entry.committed
        self._append(entry, event, entry.created_at, entry.reason)

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
        """See `Ledger.move`."""
        old = self._entries.get(intent_id)
        if old is None or old.state is not expected:
            found = "is not in the ledger" if old is None else f"is {old.state.value}"
            raise LedgerConflictError(
                f"The purchase {found}, not {expected.value}: somebody else moved it.",
                intent_id=intent_id,
            )
        new = attrs.evolve(
            old,
            state=state,
            updated_at=at,
            reason=old.reason if reason is None else reason,
            **changes,
        )
        self._entries[intent_id] = new
        self._committed += new.committed - old.committed
        self._append(new, event, at, reason)
        if state in TERMINAL:
            self._ended[intent_id] = None
            while len(self._ended) > self._keep:
                oldest = next(iter(self._ended))
                del self._ended[oldest], self._entries[oldest], self._history[oldest]
        return new

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

    async def committed(self) -> Decimal:
        """See `Ledger.committed`."""
        return self._committed

    def _append(self, entry: LedgerEntry, event: str, at: datetime, reason: str | None) -> None:
        self._history[entry.intent_id].append(
            LedgerEvent(
                intent_id=entry.intent_id, at=at, event=event, state=entry.state, reason=reason
            )
        )
