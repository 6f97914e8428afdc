"""Ledgers of every kind, fresh for each test, and entries to put into them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
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
