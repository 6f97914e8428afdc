"""What the examples run on: a browser, and web servers in this process."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest_asyncio
from chromium import launched, need

# The examples are modules beside their tests, as a reader would have them.
sys.path.insert(0, str(Path(__file__).parent))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Any]:
    """Chromium."""
    need("starlette", "uvicorn")
    async with launched() as chromium:
        yield chromium


@pytest_asyncio.fixture(loop_scope="module")
async def serve(browser: Any) -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """Serve applications, each made for the address that it gets; that is returned."""
    import uvicorn

    running: list[tuple[uvicorn.Server, asyncio.Task[None]]] = []

    async def begin(make: Callable[[str], Any]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(make(url), log_level="error", ws="none", lifespan="on")
        server = uvicorn.Server(config)
        running.append((server, asyncio.create_task(server.serve(sockets=[listener]))))
        return url

    yield begin
    for server, _ in running:
        server.should_exit = True
    for _, task in running:
        await task
