"""A process that stops in the middle of a transaction on PostgreSQL does not stop the others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest

from papsms_async.errors import LedgerError
from papsms_async.ledger import Ledger, LedgerConflictError, LedgerEntry
from papsms_async.ledger.sql import SqlLedger
from papsms_async.lifecycle import State

pytest.importorskip(
    "asyncpg", reason="asyncpg is not installed: it comes with papsms-async[postgres]"
)
from papsms_async.ledger.postgresql import PostgresStore

Make = Callable[..., LedgerEntry]

SILENCE = 0.1
"""Seconds after which the tests take a process in a transaction for stopped."""


@attrs.define
class Way:
    """A way to the server that freezes with its process: the connection stays, nothing moves.

    Attributes:
        address: What the ledger connects to.
        after: Messages of the client that still pass; ``None`` for all.
        frozen: Set when one did not pass.
        thawed: Set to let everything pass again.
    """

    address: str
    after: int | None = None
    frozen: asyncio.Event = attrs.field(factory=asyncio.Event)
    thawed: asyncio.Event = attrs.field(factory=asyncio.Event)


@asynccontextmanager
async def freezing_way(address: str) -> AsyncIterator[Way]:
    """Stand between a ledger and the server."""
    parts = urlsplit(address)
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        up_reader, up_writer = await asyncio.open_connection(parts.hostname, parts.port or 5432)

        async def back() -> None:
            while data := await up_reader.read(65536):
                if way.frozen.is_set():
                    await way.thawed.wait()
                writer.write(data)
            writer.close()

        tasks.add(asyncio.create_task(back()))
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if way.after is not None:
                    way.after -= 1
                    if way.after < 0:
                        way.frozen.set()
                        await way.thawed.wait()
                up_writer.write(data)
        up_writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    user = parts.username or "postgres"
    way = Way(f"postgresql://{user}@127.0.0.1:{port}{parts.path}?{parts.query}&sslmode=disable")
    yield way
    way.thawed.set()
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


@asynccontextmanager
async def opened_ledger(address: str, **options: Any) -> AsyncIterator[Ledger]:
    """Give an open ledger of one connection, so that it is clear what it locks."""
    options = {"lock_timeout": 0.1, "silence": SILENCE, "connections": 1} | options
    ledger = SqlLedger(PostgresStore(address, **options))
    await ledger.open()
    yield ledger
    await ledger.aclose()


@pytest.mark.parametrize("after", range(6))
async def test_a_stopped_process_holds_no_purchase_back(
    postgres_url: str, make_entry: Make, after: int
) -> None:
    """Wherever in a write it stops, its purchase can be claimed once its lease is over."""
    async with freezing_way(postgres_url) as way, opened_ledger(postgres_url) as ours:
        async with opened_ledger(way.address) as theirs:
            entry = make_entry()
            await theirs.add(entry, owner="theirs", lease=0.01)
            way.after = after
            move = asyncio.create_task(
                theirs.move(
                    entry.intent_id,
                    State.SENDING,
                    State.WAITING,
                    event="bought",
                    at=entry.created_at,
                    owner="theirs",
                    fence=0,
                )
            )
            done, _ = await asyncio.wait(
                {move, asyncio.create_task(way.frozen.wait())},
                return_when=asyncio.FIRST_COMPLETED,
            )
            assert move not in done, f"a write has fewer than {after + 1} messages"
            async with asyncio.timeout(10):
                while not (taken := await ours.claim("ours", lease=60)):
                    await asyncio.sleep(0.02)
            assert taken[0].fence == 1
            moved = taken[0].state is State.WAITING
            assert len(await ours.history(entry.intent_id)) == (3 if moved else 2)
            # It wakes up: either it had written before, or it finds that it has lost it.
            way.thawed.set()
            if moved:
                assert (await move).state is State.WAITING
            else:
                with pytest.raises(LedgerConflictError):
                    await move


@pytest.mark.parametrize("after", range(8))
async def test_a_stopped_process_holds_no_budget_back(
    postgres_url: str, make_entry: Make, after: int
) -> None:
    """Wherever it stops while it reserves, the others can reserve, and nothing goes over."""
    limit = Decimal(9)
    async with freezing_way(postgres_url) as way, opened_ledger(postgres_url) as ours:
        async with opened_ledger(way.address) as theirs:
            await theirs.add(make_entry("before"), limit=limit)
            way.after = after
            add = asyncio.create_task(theirs.add(make_entry("theirs"), limit=limit))
            done, _ = await asyncio.wait(
                {add, asyncio.create_task(way.frozen.wait())}, return_when=asyncio.FIRST_COMPLETED
            )
            assert add not in done, f"a reservation has fewer than {after + 1} messages"
            async with asyncio.timeout(10):
                while True:
                    with contextlib.suppress(LedgerError):
                        await ours.add(make_entry("ours"), limit=limit)
                        break
            way.thawed.set()
            await add
            assert await ours.committed() == limit


async def test_a_transaction_that_goes_on_is_left_alone(
    postgres_url: str, make_entry: Make
) -> None:
    """Whoever holds a row and is heard of keeps it; the others are told that it is locked."""
    import asyncpg

    async with opened_ledger(postgres_url, silence=30.0) as ours:
        entry = make_entry()
        await ours.add(entry, owner="theirs", lease=0.01)
        other = await asyncpg.connect(postgres_url)
        async with other.transaction():
            await other.execute("SELECT * FROM papsms_entries FOR UPDATE")
            assert await ours.claim("ours", lease=60) == ()
            with pytest.raises(LedgerError, match="locked by another process") as caught:
                await ours.move(
                    entry.intent_id,
                    State.SENDING,
                    State.UNKNOWN,
                    event="x",
                    at=entry.created_at + timedelta(seconds=1),
                )
            assert caught.value.retryable
            assert await other.fetchval("SELECT 1") == 1
        await other.close()


async def test_somebody_elses_sessions_are_left_alone(postgres_url: str, make_entry: Make) -> None:
    """Only a session that holds something of this ledger is ended, however silent others are."""
    import asyncpg

    async with opened_ledger(postgres_url) as ours:
        silent, locking = [await asyncpg.connect(postgres_url) for _ in range(2)]
        await silent.execute("BEGIN")
        await silent.fetchval("SELECT 1")
        await ours.add(make_entry(), owner="theirs", lease=0.01)
        await locking.execute("BEGIN")
        await locking.execute("SELECT * FROM papsms_entries FOR UPDATE")
        async with asyncio.timeout(10):
            while not await ours.claim("ours", lease=60):
                await asyncio.sleep(0.02)
        assert await silent.fetchval("SELECT 1") == 1
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await locking.fetchval("SELECT 1")
        for one in (silent, locking):
            await one.close()
