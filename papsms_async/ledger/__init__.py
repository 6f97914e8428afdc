"""The ledger: the authority on what was bought, and the seam behind which it is stored.

The manager writes here *before* it acts. `Ledger` is the whole seam; `MemoryLedger` keeps it in the
process.
"""

from papsms_async.ledger.base import Ledger, LedgerConflictError, LedgerEntry, LedgerEvent
from papsms_async.ledger.memory import MemoryLedger

__all__ = ["Ledger", "LedgerConflictError", "LedgerEntry", "LedgerEvent", "MemoryLedger"]
