"""The PostgreSQL server: what is special about it, and one sentence for each failure."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from papsms_async.errors import LedgerError
from papsms_async.ledger import LedgerEntry, open_ledger
from papsms_async.lifecycle import State
from papsms_async.models import Sms, WebhookEvent

asyncpg = pytest.importorskip(
    "asyncpg", reason="asyncpg is not installed: it comes with papsms-async[postgres]"
)
from papsms_async.ledger.postgresql import (  # noqa: E402 (it needs asyncpg)
    PostgresStore,
    _check_open,
)

Make = Callable[..., LedgerEntry]
Opened = Callable[..., Any]


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: str) -> None:
    """Speak as much of PostgreSQL's protocol as it takes to refuse a connection."""
    await reader.readexactly(8)
    writer.write(b"N")
    await reader.readexactly(int.from_bytes(await reader.readexactly(4)) - 4)
    fields = {"S": "FATAL", "V": "FATAL", "C": state, "M": 'no, user "ann" with secret-password'}
    body = b"".join(f"{key}{value}\0".encode() for key, value in fields.items()) + b"\0"
    writer.write(b"E" + (len(body) + 4).to_bytes(4) + body)
    writer.close()


@pytest.mark.parametrize(
    ("state", "sentence", "retryable"),
    [
        ("28P01", "refuses this user: wrong password", False),
        ("28000", "refuses this user", False),
        ("3D000", "does not exist", False),
        ("53300", "too many connections", True),
        ("57P03", "stopping or starting", True),
    ],
)
async def test_a_refused_connection_is_one_sentence(
    state: str, sentence: str, retryable: bool
) -> None:
    """What the server says is told without user name, password or the server's own words."""
    server = await asyncio.start_server(
        lambda reader, writer: _refuse(reader, writer, state), "127.0.0.1", 0
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        ledger = open_ledger(f"postgresql://ann:secret-password@127.0.0.1:{port}/shop")
        with pytest.raises(LedgerError, match=sentence) as caught:
            await ledger.open()
    error = caught.value
    assert error.retryable is retryable
    assert error.code == state
    assert f"127.0.0.1:{port}/shop" in str(error)
    assert error.__context__ is None
    assert "secret" not in repr(error) + str(error) + repr(ledger)
    assert "ann" not in str(error).replace("can", "") + repr(ledger)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (TimeoutError(), "does not answer in time"),
        (PoolTimeoutError(), "is too busy"),
        (ConnectionResetError(), "can't be reached"),
        (asyncpg.InterfaceError("closed"), "lost the connection"),
        (asyncpg.DiskFullError("secret"), "the server's disk is full"),
        (asyncpg.InsufficientPrivilegeError("secret"), "lacks a permission"),
        (asyncpg.ReadOnlySQLTransactionError("secret"), "is read-only"),
        (asyncpg.DataCorruptedError("secret"), "is damaged"),
    ],
)
def test_each_failure_has_its_sentence(error: Exception, sentence: str) -> None:
    """Wrapped or not, a failure is told by what it is and never in the driver's words."""
    store = PostgresStore("postgresql://ann:secret@db.example/shop")
    for one in (error, DBAPIError("SELECT secret", None, error)):
        found = store.explain(one)
        assert found is not None
        assert str(found).startswith("The ledger on PostgreSQL at db.example/shop ")
        assert sentence in str(found)
        assert "secret" not in str(found)


def test_a_value_that_can_not_be_stored_is_no_failure_of_the_server() -> None:
    """Such a write fails alone; see the writes beside it."""
    store = PostgresStore("postgresql://db.example/shop")
    assert store.explain(asyncpg.DataError("secret")) is None
    assert not store.should_repeat(asyncpg.DataError("secret"))


async def test_a_server_that_is_not_there_is_one_sentence() -> None:
    """Nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ledger = open_ledger(f"postgresql://ann:secret@127.0.0.1:{port}/shop")
    with pytest.raises(LedgerError, match="can't be reached") as caught:
        await ledger.open()
    assert caught.value.retryable
    assert "secret" not in str(caught.value)


async def test_a_database_without_a_ledger_is_told_and_left_alone(postgres_url: str) -> None:
    """Whoever only reads makes no tables in a database that was named by mistake."""
    ledger = open_ledger(postgres_url, create=False)
    with pytest.raises(LedgerError, match="does not exist: the database has none"):
        await ledger.open()
    connection = await asyncpg.connect(postgres_url)
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()"
    assert await connection.fetchval(tables) == 0
    await connection.close()
    made = open_ledger(postgres_url)
    await made.open()
    await made.aclose()
    await ledger.open()
    await ledger.aclose()


@pytest.mark.parametrize("looks", [True, False], ids=["seen", "unseen"])
async def test_a_connection_that_broke_is_replaced(
    postgres_url: str, opened: Opened, make_entry: Make, looks: bool
) -> None:
    """After a restart of the server the next write and the next read go through.

    Also where the end of a connection is only seen when it is used.
    """
    ledger = await opened(postgres_url)
    if not looks:
        event.remove(ledger._database._engine.sync_engine, "checkout", _check_open)
    await ledger.add(make_entry("0"))
    await _end_connection(ledger, postgres_url)
    await ledger.add(make_entry("1"))
    await _end_connection(ledger, postgres_url)
    assert len(await ledger.entries()) == 2


async def test_the_server_is_not_asked_whether_it_is_there(
    postgres_url: str, opened: Opened, make_entry: Make
) -> None:
    """A sender of a webhook waits for three trips: begin, one statement for all, commit."""
    ledger = await opened(postgres_url)
    sent: list[str] = []
    engine = ledger._database._engine
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
    one = WebhookEvent(activation_id="1", sms=Sms(code="1234", full_text="1234"))
    await ledger.inbox.put(one, at=datetime.now(UTC))

    def note(_: object, __: object, statement: str, *___: object) -> None:
        sent.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    # Tells of what has no parameters: transactions, and questions whether the server is there.
    with driver.query_logger(lambda record: sent.append(record.query)):
        for number in range(1, 4):
            several = [attrs.evolve(one, activation_id=f"{number}{n}") for n in range(number)]
            await asyncio.gather(*(ledger.inbox.put(e, at=datetime.now(UTC)) for e in several))
    written, begin, commit = sent[:3]  # a transaction begins when its first statement is there
    assert written.startswith("WITH written AS")
    assert begin.startswith("BEGIN")
    assert commit.startswith("COMMIT")
    assert sent == [written, begin, commit] * 3


async def _end_connection(ledger: Any, address: str) -> None:
    """End the ledger's connection, and wait until this process has seen it."""
    async with ledger._database._engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
    other = await asyncpg.connect(address)
    await other.execute("SELECT pg_terminate_backend($1)", driver.get_server_pid())
    await other.close()
    async with asyncio.timeout(10):
        while not driver.is_closed():
            await asyncio.sleep(0)


async def test_a_row_that_another_process_holds_is_told(
    postgres_url: str, opened: Opened, make_entry: Make
) -> None:
    """A lock is waited for a bounded time, then told; afterwards all goes on."""
    ledger = await opened(postgres_url, lock_timeout=0.05)
    entry = make_entry()
    await ledger.add(entry)

    async def move() -> LedgerEntry:
        return await ledger.move(
            "intent-1", State.SENDING, State.UNKNOWN, event="x", at=entry.created_at
        )

    other = await asyncpg.connect(postgres_url)
    async with other.transaction():
        await other.execute("SELECT * FROM papsms_entries FOR UPDATE")
        with pytest.raises(LedgerError, match="locked by another process") as caught:
            await move()
        assert caught.value.retryable
        # What is held is passed over, not waited for.
        assert await ledger.claim("a", lease=1) == ()
    await other.close()
    assert (await move()).state is State.UNKNOWN


async def test_transactions_that_meet_wait_in_turn(
    postgres_url: str, opened: Opened, make_entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes that move the same entries in opposite orders don't block one another."""
    first, second = await opened(postgres_url), await opened(postgres_url)
    repeated = []
    for store in (first._database.store, second._database.store):
        monkeypatch.setattr(store, "should_repeat", repeated.append)
    entries = [make_entry(f"{n:02}") for n in range(30)]
    await asyncio.gather(*map(first.add, entries))
    at = entries[0].created_at

    def moves(ledger: Any, ids: Any, before: State, after: State) -> list[Any]:
        return [ledger.move(one, before, after, event="x", at=at) for one in ids]

    ids = [entry.intent_id for entry in entries]
    results = await asyncio.gather(
        *moves(first, ids, State.SENDING, State.WAITING),
        *moves(second, reversed(ids), State.SENDING, State.UNKNOWN),
        return_exceptions=True,
    )
    moved = [result for result in results if isinstance(result, LedgerEntry)]
    assert repeated == []
    assert sorted(entry.intent_id for entry in moved) == ids
    for intent_id in ids:
        assert len(await first.history(intent_id)) == 2


async def test_a_transaction_that_is_sacrificed_is_repeated(
    postgres_url: str, opened: Opened, make_entry: Make
) -> None:
    """Whom the server chooses to break a circle of waiters tries again and succeeds."""
    other = await asyncpg.connect(postgres_url)
    if not await other.fetchval("SELECT usesuper FROM pg_user WHERE usename = current_user"):
        await other.close()
        pytest.skip("only a superuser can set deadlock_timeout")
    await other.execute("SET deadlock_timeout = '60s'")
    ledger = await opened(f"{postgres_url}&deadlock_timeout=400ms")
    entries = [make_entry("0"), make_entry("1")]
    await asyncio.gather(*map(ledger.add, entries))
    lock = "SELECT seq FROM papsms_entries WHERE intent_id = $1 FOR UPDATE"
    async with other.transaction():
        await other.execute(lock, "1")
        at = entries[0].created_at
        moves = asyncio.gather(
            *(
                ledger.move(intent_id, State.SENDING, State.UNKNOWN, event="x", at=at)
                for intent_id in ("0", "1")
            )
        )
        waiting = (
            "SELECT count(*) FROM pg_locks"
            " WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        )
        async with asyncio.timeout(10):
            while not await other.fetchval(waiting):
                pass
            # Closes the circle. The ledger's patience ends first, so this one gets its row.
            await other.execute(lock, "0")
    await other.close()
    assert [entry.state for entry in await moves] == [State.UNKNOWN, State.UNKNOWN]
    assert [len(await ledger.history(one.intent_id)) for one in entries] == [2, 2]


async def test_commits_are_durable_even_where_the_server_is_lax(
    postgres_url: str, opened: Opened
) -> None:
    """A server whose default is not to wait for the disk is told to wait."""
    ledger = await opened(f"{postgres_url}&synchronous_commit=off")
    async with ledger._database._engine.connect() as connection:
        found = (await connection.exec_driver_sql("SHOW synchronous_commit")).scalar()
        assert found == "on"
        bound = await connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout")
        assert bound.scalar() == "10s"


async def test_a_read_sees_one_state(postgres_url: str, opened: Opened) -> None:
    """A sum of several statements can't fall between the two halves of a purge."""
    database = (await opened(postgres_url))._database
    query = text("SHOW transaction_isolation")
    assert await database.read(lambda connection: connection.scalar(query)) == "repeatable read"
    found = await database.write(lambda batch: batch.connection.scalar(query))
    assert found == "read committed"


@asynccontextmanager
async def _cutting_proxy(address: str, at: bytes | int) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A way to the server that, once armed, is cut before the answer to a message.

    ``at`` is a part of the message, or how many messages come before it.
    """
    parts = urlsplit(address)
    armed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(parts.hostname, parts.port or 5432)
        cut = asyncio.Event()

        async def back() -> None:
            while data := await up_reader.read(65536):
                if cut.is_set():
                    break
                writer.write(data)
            writer.transport.abort()

        task = asyncio.create_task(back())
        passed = 0
        while data := await reader.read(65536):
            passed += armed.is_set()
            if armed.is_set() and (at in data if isinstance(at, bytes) else passed > at):
                armed.clear()
                cut.set()
            up_writer.write(data)
        await task
        up_writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    user = parts.username or "postgres"
    yield f"postgresql://{user}@127.0.0.1:{port}{parts.path}?{parts.query}&sslmode=disable", armed
    server.close()


@pytest.mark.parametrize("at", [0, 1, 2, 3, 4, b"UPDATE", b"COMMIT;"])
async def test_a_write_whose_connection_is_lost_is_carried_out_once(
    postgres_url: str, opened: Opened, make_entry: Make, at: bytes | int
) -> None:
    """Before the commit it is repeated; at the commit the server is asked what became of it.

    So a bought number is never taken for unwritten, nor written twice.
    """
    async with _cutting_proxy(postgres_url, at) as (address, armed):
        ledger = await opened(address)
        entry = make_entry()
        await ledger.add(entry)
        armed.set()
        moved = await ledger.move(
            "intent-1", State.SENDING, State.WAITING, event="bought", at=entry.created_at
        )
        assert not armed.is_set()
        assert moved.state is State.WAITING
        assert await ledger.get("intent-1") == moved
        assert [line.event for line in await ledger.history("intent-1")] == ["intent", "bought"]
        await ledger.aclose()
