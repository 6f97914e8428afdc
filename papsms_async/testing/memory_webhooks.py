"""The sandbox's webhooks without sockets: posts are handed to a function when they are due."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

from papsms_async.sandbox import SandboxEngine
from papsms_async.sandbox.recording import Recorder
from papsms_async.sandbox.webhook_sender import MOST_AT_ONCE, Carry, WebhookCourier
from papsms_async.testing.memory_transport import now_of_loop


class MemoryWebhooks:
    """Hands the webhooks of an engine over in the running loop's time, while its block runs.

        async with MemoryWebhooks(service.engine, receive):
            ...

    Args:
        engine: The engine.
        receive: Takes one post and returns the status of its answer, ``None`` for no answer;
            it may wait, like a network.
        most_at_once: Posts under way at the same time.
        recorder: Writes the posts down; made for the same engine.
    """

    def __init__(
        self,
        engine: SandboxEngine,
        receive: Carry,
        *,
        most_at_once: int = MOST_AT_ONCE,
        recorder: Recorder | None = None,
    ) -> None:
        self._courier = WebhookCourier(
            engine, receive, outbox=recorder, clock=now_of_loop, most_at_once=most_at_once
        )
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._courier.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
