"""Evidence of SMS delays in an SQL database: one row a (service, country), service, and all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, select, tuple_
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from papsms_async.delays import EDGES
from papsms_async.evidence import FORGOTTEN_AFTER, Evidence, Key, merged
from papsms_async.learning import MAX_KEYS
from papsms_async.ledger.database import Database
from papsms_async.ledger.delay_store import aged, instant_of, log_unreadable
from papsms_async.ledger.schema import DELAYS
from papsms_async.ledger.writer import Batch


class SqlDelayStore:
    """Keeps evidence in the ledger's database.

    Args:
        database: The database, opened and closed by the ledger.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def __repr__(self) -> str:
        return f"<SqlDelayStore {self._database.store.where.removeprefix('The ledger ')}>"

    async def load(self, *, now: datetime) -> dict[Key, Evidence]:
        """See `DelayStore.load`."""
        # No more than can be used, the newest.
        query = (
            select(DELAYS)
            .where(DELAYS.c.at > _forgotten_at(now))
            .order_by(DELAYS.c.at.desc())
            .limit(MAX_KEYS)
        )
        rows = await self._database.read(
            lambda connection: list(connection.execute(query).mappings())
        )
        found, unreadable = _read(rows, now)
        log_unreadable(unreadable)
        return found

    async def add(self, news: Mapping[Key, Evidence], *, now: datetime) -> None:
        """See `DelayStore.add`."""
        if not news:
            return

        def write(batch: Batch) -> None:
            connection = batch.connection
            # The row that another process adds to just now is not to be read before it has done so.
            self._database.store.lock(connection)
            wanted = [_columns(key) for key in news]
            query = select(DELAYS).where(tuple_(DELAYS.c.service, DELAYS.c.country).in_(wanted))
            kept, _ = _read(connection.execute(query).mappings(), now)
            rows = []
            for key, new in news.items():
                whole = merged(kept[key], new) if key in kept else new
                service, country = _columns(key)
                rows.append(
                    {
                        "service": service,
                        "country": country,
                        "at": instant_of(whole, now),
                        "evidence": whole.to_text(EDGES),
                    }
                )
            connection.execute(_upsert(connection), rows)
            connection.execute(delete(DELAYS).where(DELAYS.c.at < _forgotten_at(now)))

        await self._database.write(write)


def _forgotten_at(now: datetime) -> datetime:
    return now - timedelta(seconds=FORGOTTEN_AFTER)


def _columns(key: Key) -> tuple[str, str]:
    """Return a key as columns; what it does not name is empty, as no service or country is."""
    service, country = (*key, "", "")[:2]
    return service, country


def _read(rows: Any, now: datetime) -> tuple[dict[Key, Evidence], int]:
    """Return what rows hold, and how many can't be read."""
    found: dict[Key, Evidence] = {}
    unreadable = 0
    row: RowMapping
    for row in rows:
        key = tuple(name for name in (row["service"], row["country"]) if name)
        try:
            evidence = Evidence.from_text(row["evidence"], EDGES)
        except ValueError:
            unreadable += 1
        else:
            found[key] = aged(evidence, row["at"], now)
    return found, unreadable


def _upsert(connection: Connection) -> Any:
    make = postgresql_insert if connection.dialect.name == "postgresql" else sqlite_insert
    new = make(DELAYS)
    return new.on_conflict_do_update(
        index_elements=["service", "country"],
        set_={"at": new.excluded.at, "evidence": new.excluded.evidence},
    )
