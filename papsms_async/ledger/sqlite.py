"""The ledger's database as one SQLite file.

Theory of operation
===================

*Transactions.* Python's ``sqlite3`` begins transactions by itself, late and not for every
statement. It is told not to (``isolation_level=None``), and SQLAlchemy's ``begin`` hook says what
is meant: ``BEGIN IMMEDIATE`` for writes, so that a writer waits for the lock *before* it reads, and
plain ``BEGIN`` for reads. Source: SQLAlchemy, "Enabling Non-Legacy SQLite Transactional Modes".

*Durability.* A write that returned survives a power cut: WAL with ``synchronous=FULL`` where the
library has no WAL-reset bug (3.51.3 and later), else a rollback journal with ``synchronous=EXTRA``
(FULL does not sync the directory after the journal is deleted, so a cut could bring it back).

*Secrecy.* The file is created with mode 0600 before SQLite sees it, and SQLite gives its journals
the mode of the file. Looser modes are mended where the file is ours, refused where it is not.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import stat
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import URL, Connection, event, inspect
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from papsms_async.errors import LedgerError
from papsms_async.ledger.store import chain

_log = logging.getLogger("papsms_async.ledger")

_WAL_IS_SAFE = sqlite3.sqlite_version_info >= (3, 51, 3)

_WRITE = "papsms_write"
"""The execution option that makes a transaction begin as a writer."""

_SENTENCES = {
    "SQLITE_BUSY": "is locked by another process; try again once that has finished",
    "SQLITE_LOCKED": "is locked by another process; try again once that has finished",
    "SQLITE_READONLY": "can't be written: it, or its directory, is read-only",
    "SQLITE_PERM": "can't be written: permission denied",
    "SQLITE_FULL": "can't be written: the disk is full",
    "SQLITE_CORRUPT": "is damaged; restore it from a backup",
    "SQLITE_NOTADB": "is not an SQLite database",
    "SQLITE_CANTOPEN": "can't be opened",
    "SQLITE_IOERR": "can't be read or written: the disk reports an error",
    "SQLITE_NOLFS": "can't be written: the file system allows no file of that size",
    "SQLITE_AUTH": "can't be read or written: permission denied",
}
_PASSING = frozenset({"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL"})


NEWS_PAUSE = 1.0
"""Seconds between looks for what other processes wrote into the inbox: nobody tells of it."""


class SqliteStore:
    """An SQLite file.

    Args:
        path: The file; created if there is none.
        lock_timeout: Seconds to wait for another process's write.
        wal: Whether to use a write-ahead log; ``None`` asks the library's version.
        create: Whether a ledger is made where there is none.
    """

    single = True

    def __init__(
        self,
        path: str,
        *,
        lock_timeout: float = 5.0,
        wal: bool | None = None,
        create: bool = True,
    ) -> None:
        self.create = create
        self._path = os.path.abspath(path)
        self._lock_timeout = lock_timeout
        self._wal = _WAL_IS_SAFE if wal is None else wal

    @property
    def where(self) -> str:
        """See `Store.where`."""
        return f"The ledger {self._path}"

    def options(self, *, write: bool) -> dict[str, Any]:
        """See `Store.options`."""
        return {_WRITE: write}

    async def connect(self) -> AsyncEngine:
        """See `Store.connect`."""
        await asyncio.to_thread(self._prepare_file)
        engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=self._path),
            connect_args={"timeout": self._lock_timeout, "isolation_level": None},
            poolclass=AsyncAdaptedQueuePool,
            pool_size=1,
            max_overflow=0,
            hide_parameters=True,
        )
        event.listen(engine.sync_engine, "connect", self._on_connect)
        event.listen(engine.sync_engine, "begin", _on_begin)
        try:
            await self._set_journal(engine)
        except BaseException:
            await asyncio.shield(engine.dispose())
            raise
        return engine

    def is_begun(self, connection: Connection) -> bool:
        """See `Store.is_begun`. The file is made before its tables."""
        return not inspect(connection).get_table_names()

    def lock(self, connection: Connection) -> None:
        """See `Store.lock`. ``BEGIN IMMEDIATE`` has done it."""

    def now(self, connection: Connection) -> datetime:
        """See `Store.now`. All processes are on this machine."""
        return datetime.now(UTC)

    def explain(self, error: BaseException) -> LedgerError | None:
        """See `Store.explain`."""
        for one in chain(error):
            if isinstance(one, LedgerError):
                return one
            if isinstance(one, OSError):
                return LedgerError(f"{self.where} can't be opened: {_reason(one)}.")
            name = getattr(one, "sqlite_errorname", None)
            if isinstance(name, str):
                # Extended names are the plain one with a suffix: SQLITE_READONLY_DIRECTORY.
                name = "_".join(name.split("_")[:2])
                if name in _SENTENCES:
                    return LedgerError(
                        f"{self.where} {_SENTENCES[name]}.", code=name, retryable=name in _PASSING
                    )
        return None

    def ticket(self, connection: Connection) -> int | None:
        """See `Store.ticket`. A commit that failed was rolled back: there is nothing to ask."""
        return None

    def was_committed(self, connection: Connection, ticket: int) -> bool | None:
        """See `Store.was_committed`."""
        return None

    def is_blocked(self, error: BaseException) -> bool:
        """See `Store.is_blocked`. A lock on a file can't be taken away from its process."""
        return False

    def unblock(self, connection: Connection) -> bool:
        """See `Store.unblock`."""
        return False

    def should_repeat(self, error: BaseException) -> bool:
        """See `Store.should_repeat`. Waiting for the lock has been done by then."""
        return False

    async def news(self) -> AsyncGenerator[tuple[str, tuple[int, ...]], None]:
        """See `Store.news`."""
        while True:
            yield "", ()
            await asyncio.sleep(NEWS_PAUSE)

    def _prepare_file(self) -> None:
        # A descriptor is opened for a NEW file only: closing one drops all POSIX locks that this
        # process holds on that file, those of another ledger's SQLite connection among them.
        if not self.create and not os.path.lexists(self._path):
            raise LedgerError(f"{self.where} does not exist.")
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            self._check_mode()

    def _check_mode(self) -> None:
        for suffix in ("", "-journal", "-wal", "-shm"):
            path = self._path + suffix
            try:
                found = os.stat(path)
                if not suffix and not stat.S_ISREG(found.st_mode):
                    raise LedgerError(f"{self.where} is not a file.")
                if os.name == "nt" or not stat.S_IMODE(found.st_mode) & 0o077:
                    continue
                os.chmod(path, 0o600)
            except FileNotFoundError:
                continue
            except PermissionError:
                pass
            else:
                _log.warning("the ledger was readable by others; its mode is now 0600")
                continue
            raise LedgerError(
                f"{self.where} is readable by others and belongs to another user: it must have"
                " mode 0600."
            )

    def _on_connect(self, connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        level = "FULL" if self._wal else "EXTRA"
        for pragma in (
            f"synchronous={level}",
            # What is purged or overwritten is gone from the file, too.
            "secure_delete=ON",
            "trusted_schema=OFF",
            "cell_size_check=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    async def _set_journal(self, engine: AsyncEngine) -> None:
        wanted = "wal" if self._wal else "delete"
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._lock_timeout
        async with engine.connect() as connection:
            # On the driver's connection, because inside a transaction it can't be changed.
            driver = (await connection.get_raw_connection()).driver_connection
            # A change needs the file for itself and gives up at once where another process uses it.
            while not await _journal_is(driver, wanted):
                if clock() > deadline:
                    raise LedgerError(
                        f"{self.where} {_SENTENCES['SQLITE_BUSY']}.",
                        code="SQLITE_BUSY",
                        retryable=True,
                    )
                await asyncio.sleep(0.02)


async def _journal_is(driver: Any, wanted: str) -> bool:
    try:
        rows = await driver.execute_fetchall(f"PRAGMA journal_mode={wanted}")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname.startswith("SQLITE_BUSY"):
            return False
        raise
    return bool(next(iter(rows))[0] == wanted)


def _on_begin(connection: Connection) -> None:
    write = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _reason(error: OSError) -> str:
    text = error.strerror or type(error).__name__
    return text[:1].lower() + text[1:]
