"""The durable ledger: one SQLAlchemy Core implementation for SQLite and PostgreSQL.

Theory of operation
===================

* Every change of state is ``UPDATE ... WHERE state = expected ... RETURNING``: the database decides
  who was first, whichever process asks. Its line of history is written in the same transaction.
* Writes go through `Writer`: those that wait at the same time share a transaction. A guard that
  fails has changed nothing and fails alone; a write that the database can't store makes all of
  its transaction run again one by one, so that it fails alone too.
* A budget is reserved under the lock of the whole ledger (`Store.lock`), in the transaction that
  adds the entry, so two processes can't both take its last dollar. What it holds is summed in
  `papsms_async.ledger.sql_sums`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from papsms_async.ledger import sql_sums
from papsms_async.ledger.base import (
    LedgerConflictError,
    LedgerEntry,
    LedgerEvent,
    check_changes,
    check_tenant,
    conflict,
    lease_seconds,
    over_budget,
)
from papsms_async.ledger.database import Database
from papsms_async.ledger.rows import change_row, entry_from_row, entry_row, event_from_row
from papsms_async.ledger.schema import ENTRIES, EVENTS, WEBHOOKS
from papsms_async.ledger.sql_delay_store import SqlDelayStore
from papsms_async.ledger.sql_inbox import SqlInbox
from papsms_async.ledger.store import Store
from papsms_async.ledger.writer import Batch
from papsms_async.lifecycle import OPEN, TERMINAL, State
from papsms_async.limits import TenantLimits


class SqlLedger:
    """Keeps entries in an SQL database; see `papsms_async.ledger.open_ledger`.

    Args:
        store: The database.
        store_codes: Whether codes and texts of SMS are stored. If not, an entry that is read has an
            SMS without code and with an empty text.
    """

    def __init__(self, store: Store, *, store_codes: bool = True) -> None:
        self._database = Database(store)
        self._store_codes = store_codes
        self._inbox = SqlInbox(self._database, store_codes=store_codes)
        self._delays = SqlDelayStore(self._database)

    def __repr__(self) -> str:
        return f"<SqlLedger {self._database.store.where.removeprefix('The ledger ')}>"

    @property
    def inbox(self) -> SqlInbox:
        """See `Ledger.inbox`."""
        return self._inbox

    @property
    def delays(self) -> SqlDelayStore:
        """See `Ledger.delays`."""
        return self._delays

    async def open(self) -> None:
        """See `Ledger.open`. Brings the schema up to date."""
        await self._database.open()

    async def aclose(self) -> None:
        """See `Ledger.aclose`. Writes that are under way are finished first."""
        await self._inbox.idle()
        await self._database.aclose()

    # Writing -------------------------------------------------------------------------------------

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

        def write(batch: Batch) -> None:
            row = entry_row(entry, store_codes=self._store_codes)
            if seconds is not None:
                row["owner"] = owner
                row["lease_until"] = self._until(batch.connection, now, seconds)
            if limit is not None:
                if batch.committed is None:
                    self._database.store.lock(batch.connection)
                    batch.committed = sql_sums.committed(batch.connection)
                if batch.committed + entry.worst_price > limit:
                    if _get(batch.connection, entry.intent_id) is not None:
                        raise _twice(entry)
                    raise over_budget(entry, batch.committed, limit)
            if tenant_limits is not None and entry.tenant is not None:
                self._database.store.lock(batch.connection)
                usage = sql_sums.usage(
                    batch.connection, entry.tenant, entry.created_at, tenant_limits
                )
                check_tenant(entry, usage, tenant_limits)
            if batch.connection.scalar(_insert(batch.connection, row)) is None:
                raise _twice(entry)
            if batch.committed is not None:
                batch.committed += entry.committed
            batch.events.append(
                _event(
                    entry.intent_id,
                    entry.created_at,
                    event,
                    entry.state,
                    reason=entry.reason,
                    actor=row["owner"],
                )
            )

        await self._database.write(write)

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

        def write(batch: Batch) -> LedgerEntry:
            values = change_row(changes, store_codes=self._store_codes)
            values.update(state=state.value, updated_at=at)
            if reason is not None:
                values["reason"] = reason
            if state not in OPEN:
                values.update(owner=None, lease_until=None)
            guarded = update(ENTRIES).where(
                ENTRIES.c.intent_id == intent_id, ENTRIES.c.state == expected.value
            )
            if owner is not None:
                guarded = guarded.where(ENTRIES.c.owner == owner)
            if fence is not None:
                guarded = guarded.where(ENTRIES.c.fence == fence)
            row = batch.connection.execute(
                guarded.values(**values).returning(ENTRIES)
            ).one_or_none()
            if row is None:
                raise conflict(_get(batch.connection, intent_id), intent_id, expected)
            # What it held before is not known here: the next one who asks sums again.
            batch.committed = None
            batch.events.append(_event(intent_id, at, event, state, reason=reason, actor=owner))
            return entry_from_row(row._mapping)

        entry = await self._database.write(write, entry=intent_id)
        return attrs.evolve(entry, sms=changes["sms"]) if "sms" in changes else entry

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
        passed_over = False

        def write(batch: Batch) -> tuple[LedgerEntry, ...]:
            nonlocal passed_over
            at = now or self._database.store.now(batch.connection)
            free: ColumnElement[bool] = ENTRIES.c.lease_until < at
            if let_go:
                free = or_(ENTRIES.c.lease_until.is_(None), free)
            wanted: ColumnElement[bool] = ENTRIES.c.state.in_([state.value for state in states])
            if intent_ids is not None:
                wanted = and_(wanted, ENTRIES.c.intent_id.in_(intent_ids))
            # SQLite drops FOR UPDATE silently; there BEGIN IMMEDIATE keeps all others out.
            # Elsewhere a CTE that locks is evaluated once; a sub-select might be more than once.
            chosen = (
                select(ENTRIES.c.seq)
                .where(wanted, free)
                .order_by(ENTRIES.c.seq)
                .limit(limit)
                .with_for_update(skip_locked=True)
                .cte("chosen")
            )
            rows = batch.connection.execute(
                update(ENTRIES)
                .where(ENTRIES.c.seq.in_(select(chosen.c.seq)), wanted, free)
                .values(
                    owner=owner,
                    fence=ENTRIES.c.fence + 1,
                    lease_until=at + timedelta(seconds=lease),
                )
                .returning(ENTRIES)
            ).all()
            taken = [entry_from_row(row._mapping) for row in sorted(rows, key=lambda row: row.seq)]
            batch.events += [
                _event(entry.intent_id, at, "claimed", entry.state, actor=owner) for entry in taken
            ]
            # Locked by whoever is changing it just now, or was stopped while it did.
            passed_over = (
                not self._database.store.single
                and len(taken) < limit
                and bool(batch.connection.scalar(select(exists().where(wanted, free))))
            )
            return tuple(taken)

        taken = await self._database.write(write)
        if passed_over and await self._database.unblock():
            taken += await self._database.write(write)
        return taken

    async def renew(
        self, owner: str, *, lease: float, now: datetime | None = None
    ) -> tuple[str, ...]:
        """See `Ledger.renew`."""
        lease_seconds(owner, lease)

        def write(batch: Batch) -> tuple[str, ...]:
            rows = batch.connection.execute(
                update(ENTRIES)
                .where(ENTRIES.c.owner == owner)
                .values(lease_until=self._until(batch.connection, now, lease))
                .returning(ENTRIES.c.seq, ENTRIES.c.intent_id)
            ).all()
            return tuple(row.intent_id for row in sorted(rows, key=lambda row: row.seq))

        return await self._database.write(write)

    async def release_leases(self, owner: str, *, intent_id: str | None = None) -> int:
        """See `Ledger.release_leases`."""

        def write(batch: Batch) -> int:
            held_by = update(ENTRIES).where(ENTRIES.c.owner == owner)
            if intent_id is not None:
                held_by = held_by.where(ENTRIES.c.intent_id == intent_id)
            return batch.connection.execute(held_by.values(owner=None, lease_until=None)).rowcount

        return await self._database.write(write)

    async def purge(self, older_than: datetime) -> int:
        """See `Ledger.purge`."""

        def write(batch: Batch) -> int:
            connection = batch.connection
            self._database.store.lock(connection)
            old = (
                ENTRIES.c.state.in_([state.value for state in TERMINAL]),
                ENTRIES.c.updated_at < older_than,
            )
            sql_sums.carry(connection, *old)
            connection.execute(
                delete(EVENTS).where(
                    EVENTS.c.intent_id.in_(select(ENTRIES.c.intent_id).where(*old))
                )
            )
            connection.execute(delete(WEBHOOKS).where(WEBHOOKS.c.received_at < older_than))
            return connection.execute(delete(ENTRIES).where(*old)).rowcount

        return await self._database.write(write)

    # Reading -------------------------------------------------------------------------------------

    async def get(self, intent_id: str) -> LedgerEntry | None:
        """See `Ledger.get`."""
        return await self._database.read(lambda connection: _get(connection, intent_id))

    async def entries(self, states: Collection[State] | None = None) -> tuple[LedgerEntry, ...]:
        """See `Ledger.entries`."""
        query = select(ENTRIES).order_by(ENTRIES.c.seq)
        if states is not None:
            query = query.where(ENTRIES.c.state.in_([state.value for state in states]))
        return await self._database.read(
            lambda connection: tuple(
                entry_from_row(row) for row in connection.execute(query).mappings()
            )
        )

    async def history(self, intent_id: str) -> tuple[LedgerEvent, ...]:
        """See `Ledger.history`."""
        query = select(EVENTS).where(EVENTS.c.intent_id == intent_id).order_by(EVENTS.c.seq)
        return await self._database.read(
            lambda connection: tuple(
                event_from_row(row) for row in connection.execute(query).mappings()
            )
        )

    async def instants(self, event: str) -> Mapping[str, datetime]:
        """See `Ledger.instants`."""
        earliest = func.min(EVENTS.c.at, type_=EVENTS.c.at.type).label("at")
        first = select(EVENTS.c.intent_id, earliest)
        query = first.where(EVENTS.c.event == event).group_by(EVENTS.c.intent_id)
        return await self._database.read(
            lambda connection: {row.intent_id: row.at for row in connection.execute(query)}
        )

    async def committed(self) -> Decimal:
        """See `Ledger.committed`."""
        return await self._database.read(sql_sums.committed)

    def _until(self, connection: Connection, now: datetime | None, lease: float) -> datetime:
        return (now or self._database.store.now(connection)) + timedelta(seconds=lease)


def _insert(connection: Connection, row: dict[str, Any]) -> Any:
    """Return the insertion of an entry; it gives no row where there is one of this id."""
    if connection.dialect.name == "postgresql":
        statement = postgresql_insert(ENTRIES).values(**row)
        return statement.on_conflict_do_nothing().returning(ENTRIES.c.seq)
    return sqlite_insert(ENTRIES).values(**row).on_conflict_do_nothing().returning(ENTRIES.c.seq)


def _get(connection: Connection, intent_id: str) -> LedgerEntry | None:
    query = select(ENTRIES).where(ENTRIES.c.intent_id == intent_id)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else entry_from_row(row)


def _event(
    entry_id: str,
    at: datetime,
    event: str,
    state: State,
    *,
    reason: str | None = None,
    actor: str | None = None,
) -> dict[str, Any]:
    return {
        "intent_id": entry_id,
        "at": at,
        "event": event,
        "state": state.value,
        "reason": reason,
        "actor": actor,
    }


def _twice(entry: LedgerEntry) -> LedgerConflictError:
    return LedgerConflictError(
        "The ledger already has an entry of this id.", intent_id=entry.intent_id
    )
