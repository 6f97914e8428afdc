"""What differs between the databases under the one SQL ledger."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from papsms_async.errors import LedgerError


class Store(Protocol):
    """One kind of database: how it is opened, locked and asked for the time, and how it fails."""

    @property
    def where(self) -> str:
        """The database as the subject of a sentence, without user name or password."""
        ...

    @property
    def single(self) -> bool:
        """Whether all statements share one connection."""
        ...

    @property
    def create(self) -> bool:
        """Whether a ledger is made where there is none."""
        ...

    def is_begun(self, connection: Connection) -> bool:
        """Whether a database without our tables is a ledger whose making was interrupted."""
        ...

    def options(self, *, write: bool) -> dict[str, Any]:
        """Return the execution options of a transaction that writes, or that only reads.

        One that reads sees one state from its first to its last statement.
        """
        ...

    async def connect(self) -> AsyncEngine:
        """Make the engine; the first connection is tried and its settings are checked."""
        ...

    def lock(self, connection: Connection) -> None:
        """Keep all other processes out of what needs the whole ledger, to the transaction's end."""

    def now(self, connection: Connection) -> datetime:
        """Return the instant by the clock that all processes on this database share."""
        ...

    def explain(self, error: BaseException) -> LedgerError | None:
        """Return one sentence for a failure of the database; ``None`` if the data is to blame."""
        ...

    def ticket(self, connection: Connection) -> int | None:
        """Return the name of the transaction, if the database can tell later what became of it."""
        ...

    def was_committed(self, connection: Connection, ticket: int) -> bool | None:
        """Whether an earlier transaction is durable; ``None`` where nobody knows."""
        ...

    def is_blocked(self, error: BaseException) -> bool:
        """Whether it waited in vain for what another transaction holds."""
        ...

    def unblock(self, connection: Connection) -> bool:
        """End transactions in the middle of which a process stopped; whether there were any."""
        ...

    def should_repeat(self, error: BaseException) -> bool:
        """Whether the transaction was undone for a reason that is gone when it is carried out anew.

        It met another one, or lost its connection.
        """
        ...

    def news(self) -> AsyncGenerator[tuple[str, tuple[int, ...]], None]:
        """Tell when rows of the inbox may be new, for as long as it is iterated.

        It goes on through every failure of the database, and raises nothing but a cancellation.

        Yields:
            The author and the numbers of the rows; no author and no numbers where one has to look
            for oneself. The first is of that kind, and comes when nothing more can be missed.
        """
        ...


def chain(error: BaseException) -> list[BaseException]:
    """Return ``error`` and what it wraps, outermost first."""
    found: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop(0)
        if one is not None and one not in found:
            found.append(one)
            todo += [getattr(one, "orig", None), one.__cause__]
    return found
