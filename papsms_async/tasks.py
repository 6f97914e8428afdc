"""Tasks that belong to the manager and not to whoever asked for them.

A caller may be cancelled at any await, natively and twice; a purchase on the wire may not. So paid
work runs in a task of the manager's, and callers wait for it with `outcome_of`, which a
cancellation of the caller leaves without touching the task.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from papsms_async.errors import ManagerClosedError

T = TypeVar("T")

_log = logging.getLogger("papsms_async")


class OwnedTasks:
    """A set of running tasks with strong references."""

    def __init__(self) -> None:
        # In the order of their begin, so that equal runs do equal things in equal order.
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Start ``work``; an error that nobody awaits is logged by its type."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.debug("%s ended with %s", task.get_name(), type(error).__name__)

    async def drain(self, timeout: float) -> int:
        """Wait until all are done, at most ``timeout`` seconds; return how many are left."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        # Tasks may start others, so look again until none is left.
        while self._tasks and (left := deadline - loop.time()) > 0:
            await asyncio.wait(tuple(self._tasks), timeout=left)
        return len(self._tasks)

    async def drain_named(self, name: str, timeout: float) -> None:
        """Wait until all tasks of that name are done, at most ``timeout`` seconds."""
        tasks = [task for task in self._tasks if task.get_name() == name]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)

    async def cancel_all(self) -> None:
        """Cancel what still runs and wait until it is gone."""
        while self._tasks:
            tasks = tuple(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def outcome_of(task: asyncio.Task[T]) -> T:
    """Wait for ``task`` and return its result; cancelling the waiter does not cancel the task."""
    await asyncio.wait({task})
    if task.cancelled():
        # Nobody cancelled the waiter: a CancelledError would pass for a cancellation of its own.
        raise ManagerClosedError("The manager was closed meanwhile.")
    return task.result()


async def see_through(task: asyncio.Task[T]) -> T:
    """Wait for ``task`` to its end even while being cancelled, then let the cancellation go on.

    For work that is bounded in time and must not be cut short, such as closing.
    """
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()
        raise cancelled
    return task.result()
