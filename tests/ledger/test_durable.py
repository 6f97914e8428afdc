"""What the durable ledgers promise beyond the contract, over SQLite and PostgreSQL alike."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import inspect, text

from papsms_async.errors import LedgerError
from papsms_async.ledger import LedgerConflictError, LedgerEntry, open_ledger, schema
from papsms_async.lifecycle import State
from papsms_async.models import Sms

Make = Callable[..., LedgerEntry]
Opened = Callable[..., Any]


async def test_what_was_written_is_there_after_reopening(
    database: str, opened: Opened, make_entry: Make, now: datetime
) -> None:
    """A new ledger on the same database has all that an earlier one acknowledged."""
    first = await opened(database)
    await first.add(make_entry())
    moved = await first.move("intent-1", State.SENDING, State.UNKNOWN, event="x", at=now)
    await first.aclose()
    second = await opened(database)
    assert await second.get("intent-1") == moved
    assert len(await second.history("intent-1")) == 2


async def test_open_and_close_may_be_repeated(
    database: str, opened: Opened, make_entry: Make
) -> None:
    """Opening and closing twice is harmless, also at once; between, the ledger is not usable."""
    ledger = open_ledger(database)
    with pytest.raises(LedgerError, match="not open"):
        await ledger.get("x")
    await ledger.aclose()
    await asyncio.gather(ledger.open(), ledger.open())
    await ledger.open()
    await ledger.add(make_entry())
    await asyncio.gather(ledger.aclose(), ledger.aclose())
    with pytest.raises(LedgerError, match="not open"):
        await ledger.add(make_entry())
    await ledger.open()
    assert await ledger.get("intent-1") is not None
    await ledger.aclose()


async def test_closing_waits_for_writes_under_way(
    database: str, opened: Opened, make_entry: Make
) -> None:
    """A write that was begun is finished before the connection goes."""
    ledger = await opened(database)
    writes = [asyncio.create_task(ledger.add(make_entry(f"{n}"))) for n in range(5)]
    reads = [asyncio.create_task(ledger.entries()) for _ in range(3)]
    await asyncio.sleep(0)
    await ledger.aclose()
    await asyncio.gather(*writes, *reads)
    again = await opened(database)
    assert len(await again.entries()) == 5


@pytest.mark.parametrize("turns", range(0, 24, 2))
async def test_a_cancelled_caller_leaves_no_half_transaction(
    database: str, opened: Opened, make_entry: Make, now: datetime, turns: int
) -> None:
    """Wherever the caller is cancelled, the write is whole and the connection stays usable."""
    ledger = await opened(database)
    await ledger.add(make_entry())
    task = asyncio.create_task(
        ledger.move("intent-1", State.SENDING, State.WAITING, event="bought", at=now)
    )
    for _ in range(turns + 1):
        await asyncio.sleep(0)
    task.cancel()
    task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(result, asyncio.CancelledError | LedgerEntry)
    # A later write queues behind it, so what is seen now is final.
    await ledger.add(make_entry("intent-2"))
    found = await ledger.get("intent-1")
    assert found.state is State.WAITING
    assert [line.event for line in await ledger.history("intent-1")] == ["intent", "bought"]


@pytest.mark.parametrize("turns", [1, 3, 8, 20])
async def test_a_cancelled_reader_poisons_nothing(
    database: str, opened: Opened, make_entry: Make, turns: int
) -> None:
    """Reads and writes go on after a reader was cancelled in the middle."""
    ledger = await opened(database)
    await ledger.add(make_entry())
    task = asyncio.create_task(ledger.entries())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await ledger.add(make_entry("intent-2"))
    assert len(await ledger.entries()) == 2


def test_a_loop_that_ends_in_the_middle_ends_quietly(
    database: str, make_entry: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Leaving without closing neither hangs nor complains, and the database stays whole."""

    async def leave() -> list[asyncio.Task[None]]:
        ledger = open_ledger(database)
        await ledger.open()
        tasks = [asyncio.create_task(ledger.add(make_entry(f"{n}"))) for n in range(20)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return tasks

    async def look() -> int:
        ledger = open_ledger(database)
        await ledger.open()
        count = len(await ledger.entries())
        await ledger.aclose()
        return count

    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        tasks = asyncio.run(leave())
        assert all(task.cancelled() for task in tasks)
        del tasks
        gc.collect()
    assert "never retrieved" not in caplog.text
    assert asyncio.run(look()) in (0, 20)


@pytest.mark.parametrize("turns", [1, 4, 30])
async def test_a_cancelled_opening_can_be_repeated(
    database: str, opened: Opened, make_entry: Make, turns: int
) -> None:
    """Whoever is cancelled while opening can open again, and nothing is left behind."""
    ledger = open_ledger(database)
    task = asyncio.create_task(ledger.open())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await ledger.open()
    await ledger.add(make_entry())
    await ledger.aclose()


async def test_one_that_can_not_be_stored_fails_alone(
    database: str, opened: Opened, make_entry: Make, now: datetime
) -> None:
    """Writes that share a transaction with an impossible one go through."""
    ledger = await opened(database)
    results = await asyncio.gather(
        ledger.add(make_entry("0")),
        ledger.add(make_entry("1", created_at=now.replace(tzinfo=None))),
        ledger.add(make_entry("2", worst_price=Decimal("1E+999999"))),
        ledger.add(make_entry("0")),
        ledger.add(make_entry("3")),
        return_exceptions=True,
    )
    assert results[0] is None
    assert results[4] is None
    assert type(results[1]) is type(results[2]) is LedgerError
    assert isinstance(results[3], LedgerConflictError)
    assert [entry.intent_id for entry in await ledger.entries()] == ["0", "3"]
    assert len(await ledger.history("0")) == 1


async def test_writes_that_wait_together_share_a_transaction(
    database: str, opened: Opened, make_entry: Make
) -> None:
    """A hundred writes at once cost a handful of commits."""
    ledger = await opened(database)
    commits = 0
    real = ledger._database._transaction

    async def counted(work: Any, *, write: bool) -> Any:
        nonlocal commits
        commits += write
        return await real(work, write=write)

    ledger._database._transaction = counted
    await asyncio.gather(*(ledger.add(make_entry(f"{n}")) for n in range(100)))
    assert commits <= 3
    assert len(await ledger.entries()) == 100


async def test_any_text_can_be_stored(
    database: str, opened: Opened, make_entry: Make, now: datetime
) -> None:
    """A paid-for SMS is never lost for a character that the database refuses."""
    ledger = await opened(database)
    await ledger.add(make_entry(state=State.WAITING))
    await ledger.move(
        "intent-1",
        State.WAITING,
        State.RECEIVED,
        event="sms",
        at=now,
        sms=Sms(code="12\x0034", full_text="lone \ud800 and 😀"),
    )
    found = await ledger.get("intent-1")
    assert found.sms == Sms(code="12\ufffd34", full_text="lone ? and 😀")


async def test_codes_can_be_kept_out(
    database: str, opened: Opened, make_entry: Make, now: datetime
) -> None:
    """With store_codes=False neither code nor text reaches the database, yet the caller has it."""
    ledger = await opened(database, store_codes=False)
    await ledger.add(make_entry(state=State.WAITING))
    sms = Sms(code="847291", full_text="Your code: 847291", received_at=now)
    moved = await ledger.move(
        "intent-1", State.WAITING, State.RECEIVED, event="sms", at=now, sms=sms
    )
    assert moved.sms == sms
    found = await ledger.get("intent-1")
    assert found.sms == Sms(code=None, full_text="", received_at=now)
    await ledger.add(make_entry("intent-2", sms=sms))
    async with ledger._database._engine.connect() as connection:
        rows = (await connection.execute(text("SELECT * FROM papsms_entries"))).all()
    assert "847291" not in repr(rows)


async def test_no_error_shows_what_was_written(
    database: str, opened: Opened, make_entry: Make
) -> None:
    """Failures carry no value, no statement and no chain that leads to one."""
    ledger = await opened(database)
    entry = make_entry(
        phone_number="+14155550123",
        sms=Sms(code="847291", full_text="Your code"),
        cost=Decimal("1E+999999"),
    )
    with pytest.raises(LedgerError) as caught:
        await ledger.add(entry)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    for secret in ("4155550123", "847291", "INSERT"):
        assert secret not in str(error) + repr(error) + repr(error.__dict__)


# The schema --------------------------------------------------------------------------------------


async def test_the_tables_are_what_the_code_thinks(database: str, opened: Opened) -> None:
    """The steps together make exactly the columns that the statements use."""
    ledger = await opened(database)
    async with ledger._database._engine.connect() as connection:
        for table in (schema.ENTRIES, schema.EVENTS, schema.META):
            columns = await connection.run_sync(
                lambda sync, name=table.name: inspect(sync).get_columns(name)
            )
            keys = {column.name for column in table.primary_key}
            assert {one["name"] for one in columns} == set(table.columns.keys())
            for one in columns:
                if one["name"] not in keys:
                    assert one["nullable"] == table.columns[one["name"]].nullable


async def test_a_new_step_brings_an_old_database_up_to_date(
    database: str, opened: Opened, make_entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing steps are carried out once, and what was there stays."""
    first = await opened(database)
    await first.add(make_entry())
    await first.aclose()
    steps = (
        *schema.STEPS,
        ("CREATE TABLE papsms_later (amount {money})",),
        ("DROP TABLE papsms_later",),
    )
    monkeypatch.setattr(schema, "STEPS", steps)
    second = await opened(database)
    assert len(await second.entries()) == 1
    async with second._database._engine.connect() as connection:
        assert await connection.run_sync(schema.read_meta, "schema") == str(len(steps))


async def test_a_step_that_fails_leaves_the_version_before_it(
    database: str, opened: Opened, make_entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step is carried out wholly or not at all."""
    await (await opened(database)).add(make_entry())
    with monkeypatch.context() as patch:
        patch.setattr(
            schema,
            "STEPS",
            (*schema.STEPS, ("CREATE TABLE papsms_later (a TEXT)", "CREATE nonsense")),
        )
        with pytest.raises(LedgerError):
            await opened(database)
    again = await opened(database)
    assert len(await again.entries()) == 1
    async with again._database._engine.connect() as connection:
        assert not await connection.run_sync(lambda sync: inspect(sync).has_table("papsms_later"))


async def test_a_newer_schema_is_refused(database: str, opened: Opened) -> None:
    """A database of a newer version is left alone, and the sentence says what to do."""
    ledger = await opened(database)
    async with ledger._database._engine.begin() as connection:
        await connection.run_sync(schema.write_meta, "schema", "99")
    await ledger.aclose()
    with pytest.raises(LedgerError, match=r"newer version of papsms-async \(schema 99"):
        await opened(database)


async def test_an_unreadable_version_is_one_sentence(database: str, opened: Opened) -> None:
    """A database that was tampered with is not guessed about."""
    ledger = await opened(database)
    async with ledger._database._engine.begin() as connection:
        await connection.run_sync(schema.write_meta, "schema", "one")
    await ledger.aclose()
    with pytest.raises(LedgerError, match="does not say which version"):
        await opened(database)


# Several processes -------------------------------------------------------------------------------


_BUYER = """
import asyncio, json, sys
from datetime import UTC, datetime
from decimal import Decimal
from papsms_async.errors import BudgetExceededError
from papsms_async.ledger import LedgerEntry, open_ledger
from papsms_async.lifecycle import State

async def main(database, name):
    ledger = open_ledger(database, lock_timeout=30)
    await ledger.open()
    now = datetime.now(UTC)
    bought = 0
    try:
        while True:
            entry = LedgerEntry(intent_id=f"{name}-{bought}", state=State.SENDING, service="x",
                                country="us", created_at=now, updated_at=now,
                                worst_price=Decimal("0.70"))
            await ledger.add(entry, limit=Decimal("8.40"))
            bought += 1
    except BudgetExceededError:
        pass
    taken = [entry.intent_id for entry in await ledger.claim(name, lease=600, limit=5)]
    await ledger.aclose()
    print(json.dumps({"bought": bought, "taken": taken}))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_processes_share_a_fresh_database(database: str, opened: Opened) -> None:
    """Three processes create it at once, keep one budget, and share the entries out."""
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", _BUYER, database, f"process-{n}", stdout=subprocess.PIPE
        )
        for n in range(3)
    ]
    answers = []
    for process in processes:
        output, _ = await process.communicate()
        assert process.returncode == 0
        answers.append(json.loads(output))
    assert sum(answer["bought"] for answer in answers) == 12
    taken = [intent_id for answer in answers for intent_id in answer["taken"]]
    assert len(taken) == len(set(taken)) == 12
    ledger = await opened(database)
    assert await ledger.committed() == Decimal("8.40")


async def test_ledgers_open_a_fresh_database_at_once(database: str, opened: Opened) -> None:
    """Whoever comes second finds what the first one made."""
    ledgers = await asyncio.gather(*(opened(database) for _ in range(5)))
    assert all([await ledger.entries() == () for ledger in ledgers])


_WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from papsms_async.ledger import LedgerEntry, open_ledger
from papsms_async.lifecycle import State

async def write(ledger, number):
    now = datetime.now(UTC)
    await ledger.add(LedgerEntry(intent_id=f"{number}", state=State.SENDING, service="x",
                                 country="us", created_at=now, updated_at=now))
    print(f"added {number}", flush=True)
    await ledger.move(f"{number}", State.SENDING, State.WAITING, event="bought", at=now)
    print(f"moved {number}", flush=True)

async def main(database):
    ledger = open_ledger(database)
    await ledger.open()
    for start in range(0, 1_000_000, 7):
        await asyncio.gather(*(write(ledger, number) for number in range(start, start + 7)))

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("acknowledged", [1, 40])
async def test_what_a_killed_process_was_told_is_there(
    database: str, opened: Opened, acknowledged: int
) -> None:
    """After SIGKILL in the middle of writing every acknowledged write is whole."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WRITER, database, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    lines = [await process.stdout.readline() for _ in range(acknowledged)]
    process.kill()
    lines += (await process.stdout.read()).splitlines(keepends=True)
    await process.wait()
    ledger = await opened(database)
    found = {entry.intent_id: entry for entry in await ledger.entries()}
    told = [line.split() for line in lines if line.endswith(b"\n")]
    assert len(told) >= acknowledged
    for word, number in told:
        entry = found[number.decode()]
        assert entry.state is State.WAITING or word == b"added"
    # The server may still be at the last transaction: what is read first may be older.
    for intent_id, entry in found.items():
        events = [line.event for line in await ledger.history(intent_id)]
        later = await ledger.get(intent_id)
        assert events in (["intent"], ["intent", "bought"])
        assert len(events) == 2 or entry.state is State.SENDING
        assert len(events) == 1 or later.state is State.WAITING
