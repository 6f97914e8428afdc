"""The inbox: webhooks that were accepted, kept beside the purchases that they are about.

A webhook is written down before it is answered, so whatever happens next, it is not lost: any
process on the same ledger hears of it, and one that is about no purchase here (an *orphan*) stays
to be looked at. Copies of one webhook are one entry that counts them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import attrs

from papsms_async.models import WebhookEvent

MEMORY_KEEPS = 10_000
"""Webhooks that are kept in memory; older ones are forgotten."""


@attrs.frozen(kw_only=True)
class InboxEntry:
    """One webhook, as it is kept.

    Attributes:
        seq: Its number; later ones are higher.
        event: What it says.
        received_at: When it first came (UTC).
        copies: How often it came.
    """

    seq: int
    event: WebhookEvent
    received_at: datetime
    copies: int = 1


class Inbox(Protocol):
    """Where webhooks are written down; part of a ledger, open while that is."""

    async def put(self, event: WebhookEvent, *, at: datetime) -> InboxEntry:
        """Write a webhook down, durably once this returns, or count one more copy of it.

        Carried out also if its caller is cancelled meanwhile. `listen` of this same inbox does not
        tell of it.

        Args:
            event: What it says.
            at: When it came (UTC).

        Raises:
            LedgerError: It can't be written.
        """
        ...

    async def about(self, activation_id: str) -> tuple[InboxEntry, ...]:
        """Return the webhooks about one activation, oldest first."""
        ...

    async def orphans(self) -> tuple[InboxEntry, ...]:
        """Return the webhooks about activations of which the ledger has no entry, oldest first."""
        ...

    async def entries(self) -> tuple[InboxEntry, ...]:
        """Return all webhooks, oldest first."""
        ...

    async def listen(self, heard: Callable[[InboxEntry], None]) -> None:
        """Call ``heard`` with each webhook that another process writes from now on.

        It runs until it is cancelled, through every failure of the store; it returns at once where
        no other process can write. A webhook may be told of more than once.
        """
        ...


class MemoryInbox:
    """An inbox that lives and dies with the process.

    Args:
        known: Tells whether the ledger has an entry of an activation.
        keep: How many webhooks are kept.
    """

    def __init__(self, known: Callable[[str], bool], *, keep: int = MEMORY_KEEPS) -> None:
        self._known = known
        self._keep = keep
        self._entries: dict[tuple[object, ...], InboxEntry] = {}
        self._last = 0

    def __repr__(self) -> str:
        return f"<MemoryInbox entries={len(self._entries)}>"

    async def put(self, event: WebhookEvent, *, at: datetime) -> InboxEntry:
        """See `Inbox.put`."""
        sms = event.sms
        key = (event.activation_id, *((sms.code, sms.full_text) if sms is not None else ()))
        entry = self._entries.get(key)
        if entry is None:
            self._last += 1
            entry = InboxEntry(seq=self._last, event=event, received_at=at)
        else:
            signed = attrs.evolve(entry.event, signed=entry.event.signed or event.signed)
            entry = attrs.evolve(entry, event=signed, copies=entry.copies + 1)
        self._entries[key] = entry
        while len(self._entries) > self._keep:
            del self._entries[next(iter(self._entries))]
        return entry

    async def about(self, activation_id: str) -> tuple[InboxEntry, ...]:
        """See `Inbox.about`."""
        entries = self._entries.values()
        return tuple(entry for entry in entries if entry.event.activation_id == activation_id)

    async def orphans(self) -> tuple[InboxEntry, ...]:
        """See `Inbox.orphans`."""
        entries = self._entries.values()
        return tuple(entry for entry in entries if not self._known(entry.event.activation_id))

    async def entries(self) -> tuple[InboxEntry, ...]:
        """See `Inbox.entries`."""
        return tuple(self._entries.values())

    async def listen(self, heard: Callable[[InboxEntry], None]) -> None:
        """See `Inbox.listen`: there is no other process."""

    def purge(self, older_than: datetime) -> None:
        """Forget webhooks that came before ``older_than``."""
        for key, entry in tuple(self._entries.items()):
            if entry.received_at < older_than:
                del self._entries[key]
