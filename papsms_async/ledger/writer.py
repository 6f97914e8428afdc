"""Group commit: writes that wait at the same time share one transaction, and so one sync.

What a caller submits is a function that runs inside the transaction (`Write`), or a value that is
written together with others of its kind in one statement. A function raises a `PapSMSError` when
its guard fails; by then it must have changed nothing, so that the writes beside it go through. The
transaction runs in a task of its own: a caller that is cancelled leaves, its write does not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from operator import itemgetter
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection

from papsms_async.errors import LedgerError

W = TypeVar("W")


class Batch:
    """What the writes of one transaction share.

    Attributes:
        connection: In the transaction.
        events: Lines of history, written in one go at the end.
        committed: The sum that all entries hold of a budget, where it is known to be current.
    """

    __slots__ = ("committed", "connection", "events")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.events: list[dict[str, Any]] = []
        self.committed: Any = None


Write = Callable[[Batch], Any]


class Writer(Generic[W]):
    """Collects writes and hands them to ``commit`` together.

    Args:
        commit: Carries out writes in one transaction; returns the value or the exception of each,
            and does not raise.
        most: How many writes share a transaction at most.
        few: The same once a write was submitted with ``first``, from then on. Such a write waits
            for the transaction under way, so none may take long, though one of few writes costs a
            little more than one of many.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[W]], Awaitable[list[Any]]],
        *,
        most: int = 200,
        few: int = 20,
    ) -> None:
        self._commit = commit
        self._most = most
        self._few = few
        self._waiting: deque[tuple[str, W, asyncio.Future[Any]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def submit(self, write: W, *, entry: str = "", first: bool = False) -> Any:
        """Carry out ``write``; returns what ``commit`` returned for it, once it is durable.

        Args:
            write: The function or value.
            entry: The one entry that it changes, if any. Within a transaction entries are changed
                in the order of their ids, the same in all processes: so two transactions that
                change the same ones wait for one another in turn and not in a circle.
            first: Whether it goes before all that wait, because somebody outside waits for it.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if first:
            self._waiting.appendleft((entry, write, future))
            self._most = min(self._most, self._few)
        else:
            self._waiting.append((entry, write, future))
        if self._task is None:
            self._task = loop.create_task(self._drain())
        return await asyncio.shield(future)

    async def idle(self) -> None:
        """Return once no write is under way."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _drain(self) -> None:
        batch: list[tuple[str, W, asyncio.Future[Any]]] = []
        try:
            while self._waiting:
                size = min(self._most, len(self._waiting))
                batch = [self._waiting.popleft() for _ in range(size)]
                batch.sort(key=itemgetter(0))
                results = await self._commit([write for _, write, _ in batch])
                for (_, _, future), result in zip(batch, results, strict=True):
                    if isinstance(result, BaseException):
                        future.set_exception(result)
                    else:
                        future.set_result(result)
        finally:
            self._task = None
            # Only where the loop itself is being torn down: nobody may wait for ever.
            for _, _, future in (*batch, *self._waiting):
                if not future.done():
                    future.set_exception(LedgerError("The ledger was stopped while it wrote."))
                    future.exception()  # no complaint where nobody is left to ask for it
            self._waiting.clear()
