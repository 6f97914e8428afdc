# ruff: noqa: ASYNC240 (small local files, and nothing else runs)
"""The SQLite file: its mode, its durability settings, and one sentence for each failure."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from papsms_async.errors import LedgerError
from papsms_async.ledger import LedgerEntry
from papsms_async.ledger.sql import SqlLedger
from papsms_async.ledger.sqlite import SqliteStore
from papsms_async.lifecycle import State
from papsms_async.limits import TenantLimits
from papsms_async.models import Sms

Make = Callable[..., LedgerEntry]
Opened = Callable[..., Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger's file will be."""
    return tmp_path / "ledger.db"


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A directory that is used without root's right to do everything."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(directory, 65534, 65534)
        os.seteuid(65534)
    yield directory
    if is_root:
        os.seteuid(0)
    shutil.rmtree(directory)


async def pragma(ledger: Any, name: str) -> Any:
    """Return what a pragma says on the ledger's own connection."""
    async with ledger._database._engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        return next(iter(await driver.execute_fetchall(f"PRAGMA {name}")))[0]


def mode(path: Path) -> int:
    """Return the permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


# Mode --------------------------------------------------------------------------------------------


async def test_the_file_is_its_owners_alone(
    path: Path, opened: Opened, make_entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mode 0600 from its creation on, whatever the umask, and its journals too."""
    seen: list[int] = []
    connect = sqlite3.connect

    def spy(database: Any, *args: Any, **options: Any) -> sqlite3.Connection:
        seen.append(mode(Path(database)))
        return connect(database, *args, **options)

    monkeypatch.setattr("sqlite3.connect", spy)
    old = os.umask(0)
    try:
        ledger = await opened(str(path))
        async with ledger._database._engine.execution_options(papsms_write=True).begin() as write:
            await write.exec_driver_sql("INSERT INTO papsms_meta VALUES ('a', 'b')")
            files = {one.name: mode(one) for one in path.parent.iterdir()}
    finally:
        os.umask(old)
    assert seen
    assert set(seen) == {0o600}
    assert len(files) >= 2
    assert set(files.values()) == {0o600}


async def test_a_looser_mode_is_mended(
    path: Path, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that others could read no longer can be, and the log says so."""
    await (await opened(str(path))).aclose()
    path.chmod(0o644)
    await opened(str(path))
    assert mode(path) == 0o600
    assert "readable by others" in caplog.text


async def test_a_looser_mode_of_another_user_is_refused(
    path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can't be mended is not used."""
    path.touch(0o644)

    def refuse(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr("papsms_async.ledger.sqlite.os.chmod", refuse)
    with pytest.raises(LedgerError, match="belongs to another user"):
        await opened(str(path))


# Durability --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wal", "journal", "synchronous"), [(True, "wal", 2), (False, "delete", 3)]
)
async def test_writes_are_synced(
    path: Path, make_entry: Make, wal: bool, journal: str, synchronous: int
) -> None:
    """WAL goes with FULL, a rollback journal with EXTRA; either survives a power cut."""
    ledger = SqlLedger(SqliteStore(str(path), wal=wal))
    await ledger.open()
    await ledger.add(make_entry())
    assert await pragma(ledger, "journal_mode") == journal
    assert await pragma(ledger, "synchronous") == synchronous
    assert await pragma(ledger, "integrity_check") == "ok"
    await ledger.aclose()


async def test_wal_is_used_only_where_it_is_sound(path: Path, opened: Opened) -> None:
    """Libraries before 3.51.3 can lose a write when they reset the log."""
    ledger = await opened(str(path))
    expected = "wal" if sqlite3.sqlite_version_info >= (3, 51, 3) else "delete"
    assert await pragma(ledger, "journal_mode") == expected


async def test_a_journal_that_others_use_is_waited_for_and_then_told(path: Path) -> None:
    """The journal's kind can't be changed under another process."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA journal_mode=wal")
        other.execute("CREATE TABLE t (a)")
        path.chmod(0o600)
        ledger = SqlLedger(SqliteStore(str(path), wal=False, lock_timeout=0.05))
        with pytest.raises(LedgerError, match="locked by another process") as caught:
            await ledger.open()
        assert caught.value.retryable
    await ledger.open()
    await ledger.aclose()


async def test_what_is_purged_is_gone_from_the_file(
    path: Path, opened: Opened, make_entry: Make, now: datetime
) -> None:
    """No number and no code can be read from the free space of the file."""
    ledger = await opened(str(path))
    for number in range(30):
        sms = Sms(code="847291", full_text="Your code: 847291")
        await ledger.add(
            make_entry(f"{number}", state=State.COMPLETED, phone_number="+14155550123", sms=sms)
        )
    content = path.read_bytes()
    assert b"847291" in content
    assert await pragma(ledger, "secure_delete") == 1
    assert await ledger.purge(now + timedelta(days=1)) == 30
    content = path.read_bytes()
    assert b"847291" not in content
    assert b"4155550123" not in content


# Failures ----------------------------------------------------------------------------------------


async def test_a_missing_directory_is_one_sentence(tmp_path: Path, opened: Opened) -> None:
    """Nothing is created beside what was asked for."""
    with pytest.raises(
        LedgerError, match=r"ledger\.db can't be opened: no such file or directory\."
    ):
        await opened(str(tmp_path / "missing" / "ledger.db"))
    assert list(tmp_path.iterdir()) == []


async def test_a_directory_is_not_a_ledger(tmp_path: Path, opened: Opened) -> None:
    """The sentence says that it is no file."""
    with pytest.raises(LedgerError, match="is not a file"):
        await opened(str(tmp_path))


async def test_an_unwritable_directory_is_one_sentence(unprivileged: Path, opened: Opened) -> None:
    """A ledger that can't be created is told at once."""
    unprivileged.chmod(0o555)
    with pytest.raises(LedgerError, match="permission denied"):
        await opened(str(unprivileged / "ledger.db"))


async def test_a_read_only_file_is_one_sentence(
    unprivileged: Path, opened: Opened, make_entry: Make
) -> None:
    """It can be read, and a write is refused with the reason."""
    path = unprivileged / "ledger.db"
    await (await opened(str(path))).aclose()
    path.chmod(0o400)
    ledger = await opened(str(path))
    assert await ledger.entries() == ()
    with pytest.raises(LedgerError, match="read-only"):
        await ledger.add(make_entry())
    await ledger.aclose()


async def test_a_full_disk_is_one_sentence(path: Path, opened: Opened, make_entry: Make) -> None:
    """What does not fit is refused whole; what was there stays, and smaller things go on."""
    ledger = await opened(str(path))
    await ledger.add(make_entry("0"))
    pages = await pragma(ledger, "page_count")
    await pragma(ledger, f"max_page_count={pages}")
    with pytest.raises(LedgerError, match="the disk is full") as caught:
        await ledger.add(make_entry("1", reason="x" * 100_000))
    assert caught.value.retryable
    assert caught.value.__context__ is None
    assert [entry.intent_id for entry in await ledger.entries()] == ["0"]
    await pragma(ledger, "max_page_count=1000000")
    await ledger.add(make_entry("1", reason="x" * 100_000))
    assert len(await ledger.entries()) == 2
    assert await pragma(ledger, "integrity_check") == "ok"


async def test_another_file_is_not_a_ledger(path: Path, opened: Opened) -> None:
    """A file of another kind is told, and left as it is."""
    content = b"service,country\nwhatsapp,us\n" * 100
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(LedgerError, match="is not an SQLite database"):
        await opened(str(path))
    assert path.read_bytes() == content


async def test_a_damaged_file_is_one_sentence(path: Path, opened: Opened, make_entry: Make) -> None:
    """Damage is found when the damaged part is read."""
    ledger = await opened(str(path))
    await asyncio.gather(*(ledger.add(make_entry(f"{n}", reason="x" * 500)) for n in range(50)))
    size = await pragma(ledger, "page_size")
    await ledger.aclose()
    content = bytearray(path.read_bytes())
    content[size:] = b"\xa5" * (len(content) - size)
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="is damaged"):
        await (await opened(str(path))).entries()


async def test_a_row_that_nobody_wrote_is_one_sentence(
    path: Path, opened: Opened, make_entry: Make
) -> None:
    """A value that makes no sense is an error of the ledger, not a crash."""
    ledger = await opened(str(path))
    await ledger.add(make_entry())
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE papsms_entries SET state = 'nonsense'")
        other.commit()
    with pytest.raises(LedgerError, match="could not be used"):
        await ledger.entries()


async def test_a_lock_is_waited_for_and_then_told(
    path: Path, opened: Opened, make_entry: Make
) -> None:
    """Another process's write delays for a bounded time; then one sentence; then it goes on."""
    ledger = await opened(str(path), lock_timeout=0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="locked by another process") as caught:
            await ledger.add(make_entry())
        assert caught.value.retryable
        assert await ledger.get("intent-1") is None
        other.execute("ROLLBACK")
    await ledger.add(make_entry())
    assert await ledger.get("intent-1") is not None


async def test_a_short_lock_is_only_a_delay(path: Path, opened: Opened, make_entry: Make) -> None:
    """A write waits for another process's write to end."""
    ledger = await opened(str(path))
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        task = asyncio.create_task(ledger.add(make_entry()))
        await asyncio.sleep(0)
        await asyncio.to_thread(other.execute, "ROLLBACK")
        await task
    assert await ledger.get("intent-1") is not None


async def test_several_failures_are_told_to_each_caller(
    path: Path, opened: Opened, make_entry: Make
) -> None:
    """Callers whose writes shared a transaction each get an error of their own."""
    ledger = await opened(str(path), lock_timeout=0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        results = await asyncio.gather(
            *(ledger.add(make_entry(f"{n}")) for n in range(5)), return_exceptions=True
        )
    assert all(isinstance(result, LedgerError) for result in results)
    assert len({id(result) for result in results}) == 5


async def test_limits_of_a_tenant_read_no_whole_table(
    sqlite_url: str, opened: Opened, make_entry: Make
) -> None:
    """Each limit is found by an index: the last hour, what is open, and a sum without the rows."""
    ledger = await opened(sqlite_url)
    limits = TenantLimits(per_hour=9, in_flight=9, spend=Decimal(99))
    asked: list[tuple[str, Any]] = []
    event.listen(
        ledger._database._engine.sync_engine,
        "before_cursor_execute",
        lambda *args: asked.append((args[2], args[3])),
    )
    await ledger.add(make_entry(tenant="acme"), tenant_limits=limits)
    counts = [one for one in asked if one[0].startswith("SELECT") and "papsms_entries" in one[0]]
    assert len(counts) == 3
    plans = []
    async with ledger._database._engine.connect() as connection:
        for statement, values in counts:
            plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            plans.append(" ".join(row.detail for row in plan))
    assert all("SEARCH papsms_entries USING" in plan for plan in plans)
    assert sum("COVERING INDEX papsms_entries_tenant_state" in plan for plan in plans) == 2


async def test_limits_that_a_tenant_does_not_have_cost_no_query(
    sqlite_url: str, opened: Opened, make_entry: Make
) -> None:
    """Only what is limited is counted."""
    ledger = await opened(sqlite_url)
    asked: list[str] = []
    event.listen(
        ledger._database._engine.sync_engine,
        "before_cursor_execute",
        lambda *args: asked.append(args[2]),
    )
    await ledger.add(make_entry(tenant="acme"), tenant_limits=TenantLimits(per_hour=9))
    assert sum(one.startswith("SELECT") and "papsms_entries" in one for one in asked) == 1
