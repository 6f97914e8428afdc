"""Many verifications from an iterable: bounded, with backpressure, results as they end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from typing import TYPE_CHECKING

from papsms_async.errors import ConfigurationError
from papsms_async.verification import Priority, VerificationRequest, VerificationResult

if TYPE_CHECKING:
    from papsms_async.live import Flow
    from papsms_async.manager import ActivationManager

Requests = Iterable[VerificationRequest | str] | AsyncIterable[VerificationRequest | str]


async def run_all(
    manager: ActivationManager, requests: Requests, flow: Flow | None, priority: Priority
) -> AsyncGenerator[VerificationResult, None]:
    """Run every request and yield each result as it ends; see `ActivationManager.run`."""
    run = _Run(manager, requests, flow, priority)
    try:
        while (task := await run.next_ended()) is not None:
            yield task.result()
    finally:
        await run.stop()


class _Run:
    def __init__(
        self,
        manager: ActivationManager,
        requests: Requests,
        flow: Flow | None,
        priority: Priority,
    ) -> None:
        self._manager = manager
        self._requests = requests
        self._flow = flow
        self._priority = priority
        # In the order of their begin, so that equal runs do equal things in equal order.
        self._running: dict[asyncio.Task[VerificationResult], None] = {}
        self._ended: deque[asyncio.Task[VerificationResult]] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._feeder: asyncio.Task[None] | None = None
        self._more = False

    async def next_ended(self) -> asyncio.Task[VerificationResult] | None:
        """Wait for the next verification that ends; ``None`` after the last.

        Raises:
            Exception: Whatever the input raised; last, so that no result is lost to it.
        """
        if self._feeder is None:
            self._feeder = asyncio.create_task(self._feed(), name="papsms bulk input")
            self._feeder.add_done_callback(lambda _: self._news.set())
        while not self._ended:
            if self._feeder.done() and not self._running:
                self._feeder.result()
                return None
            self._news.clear()
            await self._news.wait()
        self._room.set()
        return self._ended.popleft()

    async def stop(self) -> None:
        """Stop reading and running; what was bought is released by the manager."""
        tasks: list[asyncio.Task[VerificationResult] | asyncio.Task[None]] = [*self._running]
        if self._feeder is not None:
            tasks.append(self._feeder)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._tell(more=False)

    async def _feed(self) -> None:
        try:
            async for item in _each(self._requests):
                request = VerificationRequest(item) if isinstance(item, str) else item
                if not isinstance(request, VerificationRequest):
                    raise ConfigurationError(
                        "Requests must be VerificationRequest objects or names of services,"
                        f" not {type(request).__name__}."
                    )
                if not self._manager.is_buying:
                    return
                self._start(request)
                while not self._has_room():
                    self._tell(more=True)
                    self._room.clear()
                    await self._room.wait()
        finally:
            self._tell(more=False)

    def _has_room(self) -> bool:
        # Results that nobody took count too, so that a slow consumer slows the input down.
        bound = self._manager.max_in_flight
        return len(self._running) < bound and len(self._running) + len(self._ended) < 2 * bound

    def _tell(self, *, more: bool) -> None:
        if more != self._more:
            self._more = more
            self._manager.more_to_come(+1 if more else -1)

    def _start(self, request: VerificationRequest) -> None:
        task = asyncio.create_task(
            self._manager.verify(request, flow=self._flow, priority=self._priority),
            name="papsms verification",
        )
        self._running[task] = None
        task.add_done_callback(self._on_end)

    def _on_end(self, task: asyncio.Task[VerificationResult]) -> None:
        self._running.pop(task, None)
        self._ended.append(task)
        self._news.set()
        self._room.set()


async def _each(
    requests: Requests,
) -> AsyncIterator[VerificationRequest | str]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request
            # A long list must not keep everything else from running.
            await asyncio.sleep(0)
