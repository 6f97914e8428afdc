"""Ledgers of every kind, fresh for each test, and entries to put into them."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from papsms_async.ledger import Ledger, LedgerEntry, open_ledger
from papsms_async.lifecycle import State

NOW = datetime(2026, 4, 19, 14, 30, 0, 123456, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    """The instant at which the tests' entries are made."""
    return NOW


@pytest.fixture
def make_entry() -> Callable[..., LedgerEntry]:
    """Makes an entry in SENDING; any field can be given."""

    def make(intent_id: str = "intent-1", **fields: Any) -> LedgerEntry:
        values: dict[str, Any] = {
            "state": State.SENDING,
            "service": "whatsapp",
            "country": "us",
            "created_at": NOW,
            "updated_at": NOW,
        }
        return LedgerEntry(intent_id=intent_id, **(values | fields))

    return make


def _execute(address: str, statement: str) -> None:
    """Run one statement, wherever the caller is: its thread may have a running loop."""
    import asyncpg

    async def run() -> None:
        connection = await asyncpg.connect(address)
        await connection.execute(statement)
        await connection.close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, run()).result()


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """The address of an empty schema of its own, dropped after the test."""
    address = os.environ.get("PAPSMS_TEST_POSTGRES")
    if not address:
        pytest.skip("PAPSMS_TEST_POSTGRES is unset: no PostgreSQL server to test against")
    address = address.replace("postgresql+asyncpg://", "postgresql://")
    schema = f"papsms_test_{uuid.uuid4().hex[:12]}"
    _execute(address, f"CREATE SCHEMA {schema}")
    yield f"{address}{'&' if '?' in address else '?'}search_path={schema}"
    _execute(address, f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The address of an SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """The address of an empty database, for every durable kind."""
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")


@pytest.fixture
async def opened() -> AsyncIterator[Callable[..., Any]]:
    """Opens ledgers that are closed after the test."""
    ledgers: list[Ledger] = []

    async def open_one(database: str | None, **options: Any) -> Ledger:
        ledger = open_ledger(database, **options)
        ledgers.append(ledger)
        await ledger.open()
        return ledger

    yield open_one
    for ledger in ledgers:
        await ledger.aclose()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def ledger(request: pytest.FixtureRequest, opened: Callable[..., Any]) -> Ledger:
    """An empty ledger of every kind."""
    match request.param:
        case "memory":
            return await opened(None)
        case "sqlite":
            return await opened(request.getfixturevalue("sqlite_url"))
        case _:
            return await opened(request.getfixturevalue("postgres_url"))
