"""The bound of ``--max-spend`` on the command line's own ledger, which every run adds to.

A budget counts all that its ledger holds. That is meant where several processes share a ledger that
somebody named for them. The command line's own one has the purchases of all earlier days in it, and
there the bound is the run's.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from papsms_async.errors import PapSMSError
from papsms_async.ledger import Ledger, LedgerEntry, PassingLedger
from papsms_async.ledger.base import over_budget
from papsms_async.lifecycle import State


class RunLedger(PassingLedger):
    """A ledger whose budget counts what was added through it; all else is the inner ledger's.

    Args:
        inner: Where everything is kept.
    """

    def __init__(self, inner: Ledger) -> None:
        super().__init__(inner)
        self._held: dict[str, Decimal] = {}
        self._sum = Decimal(0)

    async def add(
        self, entry: LedgerEntry, *, limit: Decimal | None = None, **options: Any
    ) -> None:
        """See `Ledger.add`; ``limit`` bounds what was added here."""
        if limit is not None and self._sum + entry.worst_price > limit:
            raise over_budget(entry, self._sum, limit)
        # Reserved before the first await, so that two purchases can't take the same dollar.
        before = self._held.get(entry.intent_id, Decimal(0))
        self._hold(entry.intent_id, before + entry.committed)
        try:
            await super().add(entry, **options)
        except PapSMSError:
            # Not after a cancellation: then it may be written all the same.
            self._hold(entry.intent_id, before)
            raise

    async def move(
        self, intent_id: str, expected: State, state: State, **options: Any
    ) -> LedgerEntry:
        """See `Ledger.move`."""
        entry = await super().move(intent_id, expected, state, **options)
        if intent_id in self._held:
            self._hold(intent_id, entry.committed)
        return entry

    async def committed(self) -> Decimal:
        """Return US dollars that the purchases added here hold of a budget."""
        return self._sum

    def _hold(self, intent_id: str, amount: Decimal) -> None:
        self._sum += amount - self._held.get(intent_id, Decimal(0))
        self._held[intent_id] = amount
