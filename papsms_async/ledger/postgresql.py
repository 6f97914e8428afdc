"""The ledger's database on a PostgreSQL server, for more than one machine.

A lost connection can leave open whether the commit that was on its way arrived. Each transaction
notes its id before, and the server is asked what became of it, so a write that is durable is never
told to have failed.

A process that is stopped in the middle of a transaction keeps its rows and its locks: its
connection stays, and between two messages of one statement no timeout before PostgreSQL 17 ends
it. So whoever waited in vain looks for sessions that hold something of the ledger while the server
waits for their client, for longer than any client that runs would take, and ends them, which a role
may do with its own sessions. Nothing is lost by that: what was not committed is undone as in a
crash, and the process finds out when it wakes up, and tries again.

The address goes to asyncpg as it is, so everything it knows works: ``sslmode``, several hosts,
sockets, password files, and server settings such as ``search_path`` as parameters.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import asyncpg  # type: ignore[import-untyped,unused-ignore]
from sqlalchemy import Connection, event, func, select, text
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from papsms_async.errors import LedgerError
from papsms_async.ledger.bell import listen
from papsms_async.ledger.store import chain

_log = logging.getLogger("papsms_async.ledger")

_LOCK = 0x50415053
"""First half of the advisory lock's key; the second one is the schema's."""

_SETTINGS = """SELECT
    set_config('lock_timeout', $1, false),
    -- A process stopped between two statements of a transaction must not hold its rows for ever,
    -- nor, where the server can tell, one that is stopped within a statement.
    set_config('idle_in_transaction_session_timeout', '10s', false),
    CASE WHEN current_setting('server_version_num')::int >= 170000
         THEN set_config('transaction_timeout', '60s', false) END,
    -- What was acknowledged must survive a crash of the server.
    CASE WHEN current_setting('synchronous_commit') = 'off'
         THEN set_config('synchronous_commit', 'on', false) END"""

_STOPPED = r"""SELECT activity.pid
FROM pg_stat_activity AS activity
WHERE activity.pid <> pg_backend_pid()
  AND activity.state <> 'idle'
  AND activity.wait_event = 'ClientRead'
  AND activity.state_change < clock_timestamp() - make_interval(secs => :silence)
  AND EXISTS (
    SELECT FROM pg_locks AS held
    WHERE held.pid = activity.pid
      AND held.granted
      AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (
        held.mode <> 'AccessShareLock' AND held.relation IN (
          SELECT oid FROM pg_class WHERE relname LIKE 'papsms\_%' AND pg_table_is_visible(oid)
        )
        OR held.locktype = 'advisory' AND held.classid = :lock AND held.objid
          = (hashtext(coalesce(current_schema(), ''))::bigint & 4294967295)::oid
      )
  )"""

# By SQLSTATE, or its class where the state itself is not listed: (sentence, may it pass?).
_SENTENCES = {
    "08": ("lost the connection; what was being written may or may not be there", True),
    "25006": ("can't be written: the server is read-only", True),
    "28": ("refuses this user", False),
    "28P01": ("refuses this user: wrong password", False),
    "3D000": ("does not exist: create the database first", False),
    "3F": ("can't be used: its schema does not exist", False),
    "42501": ("can't be used: this user lacks a permission", False),
    "53": ("can't be used: the server is out of resources", True),
    "53100": ("can't be written: the server's disk is full", True),
    "53300": ("can't be reached: the server has too many connections", True),
    "55P03": ("is locked by another process; try again once that has finished", True),
    "40": ("is locked by another process; try again once that has finished", True),
    "57": ("can't be reached: the server is stopping or starting", True),
    "57014": ("does not answer in time", True),
    "58": ("can't be read or written: the server's disk reports an error", False),
    "25P03": ("ended the connection, because a transaction took too long", True),
    "25P04": ("ended the connection, because a transaction took too long", True),
    "XX": ("is damaged, says the server; restore it from a backup", False),
}
# Met another transaction; or the connection was ended, together with the transaction.
_REPEAT = frozenset({"40001", "40P01", "57P01", "57P02", "25P03", "25P04"})


class PostgresStore:
    """A database on a server.

    Args:
        address: ``postgresql://user:password@host:port/database?parameter=value``.
        connections: How many at most.
        connect_timeout: Seconds to wait for a connection.
        lock_timeout: Seconds to wait for another process's write.
        silence: Seconds without a word from a process in the middle of a transaction after which
            it counts as stopped, if it holds others up.
        create: Whether a ledger is made where there is none.
    """

    single = False

    def __init__(
        self,
        address: str,
        *,
        connections: int = 4,
        connect_timeout: int = 10,
        lock_timeout: float = 5.0,
        silence: float = 5.0,
        create: bool = True,
    ) -> None:
        self.create = create
        self._address = address
        self._connections = connections
        self._connect_timeout = connect_timeout
        self._lock_timeout = lock_timeout
        self._silence = silence
        parts = urlsplit(address)
        self._name = parts.netloc.rpartition("@")[2] + parts.path

    @property
    def where(self) -> str:
        """See `Store.where`."""
        return f"The ledger on PostgreSQL at {self._name}"

    def options(self, *, write: bool) -> dict[str, Any]:
        """See `Store.options`."""
        return {} if write else {"isolation_level": "REPEATABLE READ"}

    async def connect(self) -> AsyncEngine:
        """See `Store.connect`."""
        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connection,
            pool_size=self._connections,
            max_overflow=0,
            hide_parameters=True,
        )
        event.listen(engine.sync_engine, "checkout", _check_open)
        return engine

    async def _connection(self) -> Any:
        connection = await asyncpg.connect(
            self._address, timeout=self._connect_timeout, command_timeout=60
        )
        try:
            await connection.fetchrow(_SETTINGS, f"{self._lock_timeout * 1000:.0f}ms")
        except BaseException:
            connection.terminate()
            raise
        return connection

    def is_begun(self, connection: Connection) -> bool:
        """See `Store.is_begun`. Its tables are made in one transaction."""
        return False

    def lock(self, connection: Connection) -> None:
        """See `Store.lock`."""
        schema = func.hashtext(func.coalesce(func.current_schema(), ""))
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK, schema)))

    def now(self, connection: Connection) -> datetime:
        """See `Store.now`."""
        now = connection.scalar(text("SELECT clock_timestamp()"))
        assert isinstance(now, datetime)  # noqa: S101
        return now

    def explain(self, error: BaseException) -> LedgerError | None:
        """See `Store.explain`."""
        errors = chain(error)
        for one in errors:
            if isinstance(one, LedgerError):
                return one
            state = getattr(one, "sqlstate", None)
            if isinstance(state, str):
                sentence = _SENTENCES.get(state) or _SENTENCES.get(state[:2])
                if sentence is not None:
                    return self._error(sentence[0], state, retryable=sentence[1])
        for one in errors:
            if isinstance(one, PoolTimeoutError):
                return self._error("is too busy", None, retryable=True)
            if isinstance(one, TimeoutError):
                return self._error("does not answer in time", None, retryable=True)
            if isinstance(one, OSError):
                return self._error("can't be reached", None, retryable=True)
            if _is_closed(one):
                return self._error(_SENTENCES["08"][0], None, retryable=True)
        return None

    def ticket(self, connection: Connection) -> int | None:
        """See `Store.ticket`."""
        return int(connection.scalar(text("SELECT txid_current()")))

    def was_committed(self, connection: Connection, ticket: int) -> bool | None:
        """See `Store.was_committed`.

        Source: PostgreSQL, "Transaction ID and Snapshot Information Functions": made for a
        connection that was lost while a COMMIT was in progress.
        """
        query = text("SELECT txid_status(:ticket)").bindparams(ticket=ticket)
        for _ in range(20):
            status = connection.scalar(query)
            if status != "in progress":
                return None if status is None else status == "committed"
            connection.execute(text("SELECT pg_sleep(0.05)"))
        return None

    def is_blocked(self, error: BaseException) -> bool:
        """See `Store.is_blocked`."""
        return any(getattr(one, "sqlstate", None) == "55P03" for one in chain(error))

    def unblock(self, connection: Connection) -> bool:
        """See `Store.unblock`."""
        query = text(_STOPPED).bindparams(silence=self._silence, lock=_LOCK)
        stopped = list(connection.scalars(query))
        for pid in stopped:
            _log.warning("a process stopped in the middle of a transaction; its session is ended")
            connection.execute(text("SELECT pg_terminate_backend(:pid)").bindparams(pid=pid))
        gone = text("SELECT NOT EXISTS (SELECT FROM pg_locks WHERE pid = ANY(:pids) AND granted)")
        for _ in range(50):
            if not stopped or connection.scalar(gone.bindparams(pids=stopped)):
                break
            connection.execute(text("SELECT pg_sleep(0.02)"))
        return bool(stopped)

    def should_repeat(self, error: BaseException) -> bool:
        """See `Store.should_repeat`."""
        errors = chain(error)
        states = [str(getattr(one, "sqlstate", None)) for one in errors]
        return any(state in _REPEAT or state.startswith("08") for state in states) or any(
            _is_closed(one) for one in errors
        )

    def news(self) -> AsyncGenerator[tuple[str, tuple[int, ...]], None]:
        """See `Store.news`."""
        return listen(self._connection)

    def _error(self, sentence: str, state: str | None, retryable: bool) -> LedgerError:
        return LedgerError(f"{self.where} {sentence}.", code=state, retryable=retryable)


def _check_open(connection: Any, record: Any, proxy: Any) -> None:
    """Have a connection that a restart of the server broke replaced before it is used.

    What is known here is looked at; asking the server would be three trips to it for each
    transaction. Where the end of the connection has not been seen yet, the transaction is repeated.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _is_closed(error: BaseException) -> bool:
    # The driver's own errors: of its state, if they are not of a value that it was given.
    closed = (asyncpg.InterfaceError, asyncpg.InternalClientError)
    return isinstance(error, closed) and not isinstance(error, ValueError)
