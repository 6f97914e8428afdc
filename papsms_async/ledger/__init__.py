"""The ledger: the authority on what was bought, and the seam behind which it is stored.

The manager writes here *before* it acts. `Ledger` is the whole seam; `MemoryLedger` keeps it in the
process, `open_ledger` gives the one that a setting names. Importing this loads no database driver.
"""

from papsms_async.ledger.base import Ledger, LedgerConflictError, LedgerEntry, LedgerEvent
from papsms_async.ledger.delay_store import DelayStore
from papsms_async.ledger.inbox import Inbox, InboxEntry
from papsms_async.ledger.memory import MemoryLedger
from papsms_async.ledger.passing import PassingLedger
from papsms_async.ledger.urls import open_ledger

__all__ = [
    "DelayStore",
    "Inbox",
    "InboxEntry",
    "Ledger",
    "LedgerConflictError",
    "LedgerEntry",
    "LedgerEvent",
    "MemoryLedger",
    "PassingLedger",
    "open_ledger",
]
