"""Reads and writes as owned tasks on one engine, and failures as one sentence each.

Nothing of SQLAlchemy or a driver leaves: their exceptions carry statements, values and addresses.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from sqlalchemy import Connection, insert
from sqlalchemy.ext.asyncio import AsyncEngine

from papsms_async.errors import LedgerError, PapSMSError
from papsms_async.ledger import schema
from papsms_async.ledger.store import Store
from papsms_async.ledger.writer import Batch, Write, Writer

_log = logging.getLogger("papsms_async.ledger")

T = TypeVar("T")

_TRIES = 5
"""How often a transaction is carried out that meets others each time."""


class Database:
    """A store that is open or not, with its writer.

    Args:
        store: Which database.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._engine: AsyncEngine | None = None
        self._changing = asyncio.Lock()
        # A single connection is taken in turns, so that writes don't starve reads.
        self._turns = asyncio.Lock() if store.single else None
        self._writer: Writer[Write] = Writer(self._commit)
        self._reads: set[asyncio.Task[Any]] = set()
        self._usable = False
        self._tasks: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Connect and bring the schema up to date. Safe to call twice.

        Raises:
            LedgerError: It can't be used.
        """
        await asyncio.shield(self._task(self._open()))

    async def aclose(self) -> None:
        """Finish what is under way and disconnect. Safe to call twice."""
        await asyncio.shield(self._task(self._close()))

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` returns, which sees one consistent state.

        Raises:
            LedgerError: The database can't be used.
        """
        self._check_usable()
        task = self._task(self._repeatedly(work))
        self._reads.add(task)
        task.add_done_callback(self._reads.discard)
        return await asyncio.shield(task)

    async def write(self, work: Callable[[Batch], T], *, entry: str = "", first: bool = False) -> T:
        """Return what ``work`` returns, once what it wrote is durable.

        Args:
            work: Writes; raises a `PapSMSError` before it changed anything, or not at all.
            entry: The one entry that it changes, if any; see `Writer.submit`.
            first: Whether it goes before all that wait.

        Raises:
            LedgerError: The database can't be used.
            PapSMSError: ``work`` raised it.
        """
        self._check_usable()
        result: T = await self._writer.submit(work, entry=entry, first=first)
        return result

    async def unblock(self) -> bool:
        """End transactions in the middle of which a process stopped; whether there were any."""
        return await asyncio.shield(self._task(self._unblock()))

    def _check_usable(self) -> None:
        if not self._usable:
            raise LedgerError("The ledger is not open.")

    def _task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start ``work`` in a task that outlives a cancelled caller and explains its failures."""

        async def run() -> T:
            try:
                return await work
            except Exception as error:
                failure = self._failure(error)
            # Outside the handler, so that not even the context leads back to the cause.
            raise failure

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _open(self) -> None:
        async with self._changing:
            if self._engine is not None:
                return
            self._engine = await self.store.connect()
            try:
                known = await self._transaction(
                    lambda connection: schema.version(connection, self.store.where), write=False
                )
                if not known and not self.store.create:
                    await self._transaction(self._check_begun, write=False)
                if known < len(schema.STEPS):
                    await self._migrate()
            except BaseException:
                await self._disconnect()
                raise
            self._usable = True

    def _check_begun(self, connection: Connection) -> None:
        if not self.store.is_begun(connection):
            raise LedgerError(f"{self.store.where} does not exist: the database has none.")

    async def _close(self) -> None:
        async with self._changing:
            if self._engine is None:
                return
            self._usable = False
            await self._writer.idle()
            if self._reads:
                await asyncio.wait(self._reads)
            await self._disconnect()

    async def _disconnect(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.dispose()

    async def _migrate(self) -> None:
        more, tries_left = True, _TRIES
        while more:
            try:
                more = await self._patiently(self._migrate_once)
            except Exception as error:
                # A step whose commit got through is found to be done.
                tries_left -= 1
                if not tries_left or not self.store.should_repeat(error):
                    raise

    def _migrate_once(self, connection: Connection) -> bool:
        self.store.lock(connection)
        return schema.migrate_once(connection, self.store.where)

    async def _transaction(self, work: Callable[[Connection], T], *, write: bool) -> T:
        async with AsyncExitStack() as stack:
            if self._turns is not None:
                await stack.enter_async_context(self._turns)
            assert self._engine is not None  # noqa: S101 (closing waits for whoever comes here)
            connection = await stack.enter_async_context(self._engine.connect())
            await connection.execution_options(**self.store.options(write=write))
            await stack.enter_async_context(connection.begin())
            return await connection.run_sync(work)

    async def _repeatedly(self, work: Callable[[Connection], T]) -> T:
        """Carry out a read, anew where that helps: nothing is known of a connection until then."""
        for _ in range(_TRIES - 1):
            try:
                return await self._transaction(work, write=False)
            except Exception as error:
                if not self.store.should_repeat(error):
                    raise
        return await self._transaction(work, write=False)

    async def _patiently(self, work: Callable[[Connection], T]) -> T:
        """Carry out ``work`` in a transaction that no stopped process can keep from it."""
        try:
            return await self._transaction(work, write=True)
        except Exception as error:
            if not (self.store.is_blocked(error) and await self._unblock()):
                raise
        return await self._transaction(work, write=True)

    async def _unblock(self) -> bool:
        try:
            return await self._transaction(self.store.unblock, write=False)
        except Exception as error:
            # Not permitted, or out of reach: what was blocked is told instead.
            _log.debug("nothing could be unblocked: %s", type(error).__name__)
            return False

    async def _commit(self, writes: Sequence[Write]) -> list[Any]:
        """Carry out writes in one transaction; see `Writer`."""

        results: list[Any] = []
        ticket: int | None = None

        def work(connection: Connection) -> list[Any]:
            nonlocal ticket
            batch = Batch(connection)
            results.clear()
            ticket = None
            for write in writes:
                try:
                    results.append(write(batch))
                except PapSMSError as refusal:
                    results.append(refusal)
            if batch.events:
                connection.execute(insert(schema.EVENTS), batch.events)
                ticket = self.store.ticket(connection)
            return results

        tries_left = _TRIES
        while True:
            tries_left -= 1
            try:
                return await self._patiently(work)
            except Exception as error:
                failure = error
            done = False if ticket is None else await self._was_committed(ticket)
            if done:
                return results
            # Nothing of it is in the database, unless nobody knows.
            if done is None or not tries_left or not self.store.should_repeat(failure):
                break
        if len(writes) > 1 and self.store.explain(failure) is None:
            # One of them can't be stored; the others shall be.
            return [(await self._commit([write]))[0] for write in writes]
        return [self._failure(failure) for _ in writes]

    async def _was_committed(self, ticket: int) -> bool | None:
        """Ask what became of a transaction when the answer to its commit was lost."""
        try:
            return await self._repeatedly(
                lambda connection: self.store.was_committed(connection, ticket)
            )
        except Exception as error:
            _log.debug("the ledger failed again: %s", type(error).__name__)
            return None

    def _failure(self, error: Exception) -> PapSMSError:
        if isinstance(error, PapSMSError):
            return error
        failure = self.store.explain(error)
        if failure is None:
            failure = LedgerError(f"{self.store.where} could not be used ({type(error).__name__}).")
        _log.debug("the ledger failed: %s %s", type(error).__name__, failure.code)
        return failure
