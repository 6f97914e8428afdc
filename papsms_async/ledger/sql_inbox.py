"""The inbox in an SQL database.

Webhooks come in bursts, and each waits to be answered until it is durable: so those that wait at
the same time are written by one statement, in a transaction that they share with whatever else the
ledger writes.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, func, or_, select

from papsms_async.errors import LedgerError
from papsms_async.ledger.database import Database
from papsms_async.ledger.inbox import InboxEntry
from papsms_async.ledger.rows import sms_columns, sms_from_row
from papsms_async.ledger.schema import ENTRIES, WEBHOOKS
from papsms_async.ledger.webhook_rows import MOST_TOLD, write_webhooks
from papsms_async.ledger.writer import Batch, Writer
from papsms_async.models import WebhookEvent

_log = logging.getLogger("papsms_async.ledger")

MISSED_FOR = 60.0
"""Seconds for which a number that was passed over may still appear: transactions get their numbers
before they commit, and not all commit."""
_MOST_MISSED = 1000


class SqlInbox:
    """Keeps webhooks in the ledger's database.

    Args:
        database: The database, opened and closed by the ledger.
        store_codes: Whether codes and texts of SMS are stored. If not, a webhook that is read tells
            only that an SMS came, and all webhooks about an activation are copies of one.
    """

    def __init__(self, database: Database, *, store_codes: bool = True) -> None:
        self._database = database
        self._store_codes = store_codes
        self._writer: Writer[_Row] = Writer(self._insert, most=MOST_TOLD)
        # Other processes are told of what is written here by this name, this one knows it already.
        self._name = uuid.uuid4().hex[:12]
        self._known = _Known()
        # What was written is known before anybody looks for what is not.
        self._turns = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<SqlInbox {self._database.store.where.removeprefix('The ledger ')}>"

    async def idle(self) -> None:
        """Return once no write is under way."""
        await self._writer.idle()

    # Writing -------------------------------------------------------------------------------------

    async def put(self, event: WebhookEvent, *, at: datetime) -> InboxEntry:
        """See `Inbox.put`."""
        seq, copies = await self._writer.submit(self._row(event, at))
        # What is told here is whole, also where the database may not know the code.
        return InboxEntry(seq=seq, event=event, received_at=at, copies=copies)

    def _row(self, event: WebhookEvent, at: datetime) -> _Row:
        return {
            "activation_id": event.activation_id,
            "digest": self._digest(event),
            **sms_columns(event.sms, store_codes=self._store_codes),
            "phone_number": event.phone_number,
            "service": event.service,
            "country": event.country,
            "signed": event.signed,
            "copies": 1,
            "received_at": at,
        }

    def _digest(self, event: WebhookEvent) -> str:
        # A code that must not be stored could be guessed from its digest.
        if event.sms is None or not self._store_codes:
            return ""
        parts = (event.sms.code, event.sms.full_text)
        said = repr([None if part is None else part.encode("utf-8", "replace") for part in parts])
        return hashlib.sha256(said.encode()).hexdigest()

    async def _insert(self, rows: Sequence[_Row]) -> list[Any]:
        merged: dict[tuple[str, str], _Row] = {}
        for row in rows:
            key = _key(row)
            if key in merged:
                merged[key]["copies"] += 1
                merged[key]["signed"] |= row["signed"]
            else:
                merged[key] = dict(row)

        def write(batch: Batch) -> dict[tuple[str, str], tuple[int, int]]:
            # In one order in all processes, so that none waits for one that waits for it.
            values = [merged[key] for key in sorted(merged)]
            found = write_webhooks(batch.connection, values, self._name)
            return {_key(row._mapping): (row.seq, row.copies) for row in found}

        try:
            async with self._turns:
                # However many purchases wait to be written: a sender waits for the answer.
                written = await self._database.write(write, first=True)
                self._known.add([seq for seq, _ in written.values()], _now())
        except LedgerError as error:
            if len(rows) > 1 and not error.retryable:
                # One of them can't be stored; the others shall be.
                return [(await self._insert([row]))[0] for row in rows]
            return [error for _ in rows]
        return [written[_key(row)] for row in rows]

    # Reading -------------------------------------------------------------------------------------

    async def about(self, activation_id: str) -> tuple[InboxEntry, ...]:
        """See `Inbox.about`."""
        return await self._read(WEBHOOKS.c.activation_id == activation_id)

    async def orphans(self) -> tuple[InboxEntry, ...]:
        """See `Inbox.orphans`."""
        bought = select(ENTRIES.c.seq).where(ENTRIES.c.activation_id == WEBHOOKS.c.activation_id)
        return await self._read(~bought.exists())

    async def entries(self) -> tuple[InboxEntry, ...]:
        """See `Inbox.entries`."""
        return await self._read()

    async def _read(self, *which: ColumnElement[bool]) -> tuple[InboxEntry, ...]:
        query = select(WEBHOOKS).where(*which).order_by(WEBHOOKS.c.seq)
        return await self._database.read(
            lambda connection: tuple(_entry(row) for row in connection.execute(query).mappings())
        )

    # Hearing of others' --------------------------------------------------------------------------

    async def listen(self, heard: Callable[[InboxEntry], None]) -> None:
        """See `Inbox.listen`."""
        newest = select(func.coalesce(func.max(WEBHOOKS.c.seq), 0))
        begun = False
        async with aclosing(self._database.store.news()) as news:
            async for author, seqs in news:
                if author == self._name:
                    continue
                try:
                    async with self._turns:
                        if not begun:
                            last = await self._database.read(lambda c: c.scalar(newest) or 0)
                            self._known.begin(last)
                            begun = True
                        found = await self._read(
                            WEBHOOKS.c.seq.in_(seqs) if seqs else self._known.unknown(_now())
                        )
                        self._known.add([entry.seq for entry in found], _now())
                except LedgerError as error:
                    # With the next news, what was missed is looked for too.
                    _log.debug("the inbox can't be read: %s", error.code)
                    continue
                for entry in found:
                    heard(entry)


class _Known:
    """Which rows were seen: all up to a number, but for those passed over lately."""

    def __init__(self) -> None:
        self._last = 0
        self._passed: dict[int, float] = {}

    def begin(self, last: int) -> None:
        self._last = max(self._last, last)

    def add(self, seqs: Collection[int], now: float) -> None:
        for seq in sorted(seqs):
            if seq > self._last:
                first = max(self._last + 1, seq - _MOST_MISSED)
                self._passed.update(dict.fromkeys(range(first, seq), now + MISSED_FOR))
                self._last = seq
            else:
                self._passed.pop(seq, None)

    def unknown(self, now: float) -> ColumnElement[bool]:
        for seq, until in tuple(self._passed.items()):
            if until < now or len(self._passed) > _MOST_MISSED:
                del self._passed[seq]
        newer = WEBHOOKS.c.seq > self._last
        return or_(newer, WEBHOOKS.c.seq.in_(list(self._passed))) if self._passed else newer


_Row = dict[str, Any]


def _key(row: _Row | RowMapping) -> tuple[str, str]:
    return row["activation_id"], row["digest"]


def _entry(row: RowMapping) -> InboxEntry:
    event = WebhookEvent(
        activation_id=row["activation_id"],
        sms=sms_from_row(row) if row["digest"] else None,
        phone_number=row["phone_number"],
        service=row["service"],
        country=row["country"],
        signed=row["signed"],
    )
    return InboxEntry(
        seq=row["seq"], event=event, received_at=row["received_at"], copies=row["copies"]
    )


def _now() -> float:
    return asyncio.get_running_loop().time()
