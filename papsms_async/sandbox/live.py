"""Server-sent events on a real connection: writes a watcher's news as they come."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable

from aiohttp import web

from .engine import SandboxEngine
from .feed import Watcher

_PACE = 0.1
"""Seconds between two news of one watcher: whatever happens meanwhile comes together."""
_TICK = 1.0
"""Seconds after which a watcher looks though nothing happened: counts of a window fall by time."""
_HEARTBEAT = 15.0
"""Seconds without news after which a comment shows that the connection is alive."""
_PATIENCE = 30.0
"""Seconds for a client to take what was written; then it counts as gone."""

_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}


class LiveNews:
    """The news of one engine for any number of clients.

    Args:
        engine: The engine.
        clock: POSIX seconds.
    """

    def __init__(self, engine: SandboxEngine, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._clock = clock
        self._instance = secrets.token_hex(4)

    async def stream(self, request: web.BaseRequest) -> web.StreamResponse:
        """Write news until the client leaves or the server closes; either cancels this.

        The client goes on where it was with the header ``Last-Event-ID``, or with ``?since=`` at
        its first request.
        """
        since = request.headers.get("Last-Event-ID") or request.query.get("since")
        watcher = Watcher(self._engine, self._instance, since)
        changed = asyncio.Event()
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        unwatch = self._engine.watch(changed.set)
        try:
            with contextlib.suppress(ConnectionError, TimeoutError):
                await _write(response, b"retry: 1000\n\n")
                await self._follow(watcher, changed, response)
        finally:
            unwatch()
        response.force_close()
        return response

    async def _follow(
        self, watcher: Watcher, changed: asyncio.Event, response: web.StreamResponse
    ) -> None:
        loop = asyncio.get_running_loop()
        written_at = loop.time()
        while True:
            changed.clear()
            news = watcher.news(self._clock())
            if not news and loop.time() - written_at >= _HEARTBEAT:
                news = [b":\n\n"]
            for event in news:
                await _write(response, event)
            if news:
                written_at = loop.time()
                await asyncio.sleep(_PACE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK):
                    await changed.wait()


async def _write(response: web.StreamResponse, data: bytes) -> None:
    # `write` waits while the client does not read, so what is not sent yet stays small.
    async with asyncio.timeout(_PATIENCE):
        await response.write(data)
