"""Carries out the webhooks that are due: a loop that knows when, and a sender that uses aiohttp.

What is bounded: posts at the same time, the seconds for each, what is read of an answer. No
redirect is followed, no proxy used, no cookie kept, and unless the sandbox was allowed to post to
other machines no name is looked up, so a name can't lead elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from math import inf
from typing import Protocol, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from .engine import SandboxEngine
from .webhook_posts import NoAnswer, WebhookPost

_LOGGER = logging.getLogger(__name__)

MOST_AT_ONCE = 32
"""Posts under way at the same time; others wait."""

Carry = Callable[[WebhookPost], Awaitable[int | NoAnswer | None]]
"""Sends one post and returns the answer's status, or why there was none, ``None`` if unknown."""


class Outbox(Protocol):
    """Knows which posts are due; see `papsms_async.sandbox.webhooks.WebhookOutbox`."""

    def take_due(self, now: float, *, most: int | None = None) -> list[WebhookPost]:
        """Hand out the posts that are due."""
        ...

    def settle(
        self, number: int, *, status: int | None, now: float, error: NoAnswer | None = None
    ) -> None:
        """Note how a post ended."""
        ...


class WebhookCourier:
    """Hands the posts of an engine over when they are due, and lets its time pass.

    Args:
        engine: The engine.
        carry: Sends one post.
        outbox: Stands in front of the engine's own.
        clock: POSIX seconds, the engine's time.
        most_at_once: Posts under way at the same time.
    """

    def __init__(
        self,
        engine: SandboxEngine,
        carry: Carry,
        *,
        outbox: Outbox | None = None,
        clock: Callable[[], float] = time.time,
        most_at_once: int = MOST_AT_ONCE,
    ) -> None:
        self._engine = engine
        self._carry = carry
        self._outbox = outbox or engine.webhooks
        self._clock = clock
        self._most_at_once = most_at_once
        self._wake = asyncio.Event()
        self._wakes_at = -inf

    async def run(self) -> None:
        """Carry out what becomes due, until cancelled; then what is under way is given up."""
        unwatch = self._engine.watch(self._look)
        under_way: set[asyncio.Task[None]] = set()

        def ended(task: asyncio.Task[None]) -> None:
            under_way.discard(task)
            self._wake.set()

        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._wake.clear()
                    now = self._clock()
                    self._engine.advance(now)
                    free = self._most_at_once - len(under_way)
                    for post in self._outbox.take_due(now, most=free):
                        task = group.create_task(self._send(post))
                        under_way.add(task)
                        task.add_done_callback(ended)
                    await self._sleep(full=len(under_way) >= self._most_at_once)
        finally:
            unwatch()

    async def _sleep(self, *, full: bool) -> None:
        if full:  # nothing but the end of a post is worth waking up for
            await self._wake.wait()
            return
        self._wakes_at = self._engine.next_change_at()
        seconds = self._wakes_at - self._clock()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == inf else max(0.0, seconds)):
                await self._wake.wait()
        self._wakes_at = -inf

    def _look(self) -> None:
        if self._engine.next_change_at() < self._wakes_at:
            self._wake.set()

    async def _send(self, post: WebhookPost) -> None:
        ended: int | NoAnswer | None = None
        try:
            ended = await self._carry(post)
        except Exception:
            _LOGGER.exception("a webhook could not be posted")
        finally:
            error = ended if isinstance(ended, NoAnswer) else None
            status = ended if isinstance(ended, int) else None
            self._outbox.settle(post.number, status=status, now=self._clock(), error=error)


class WebhookSender:
    """Sends posts over HTTP.

    Args:
        remote: Whether names may be looked up and other machines reached.
    """

    def __init__(self, *, remote: bool = False) -> None:
        self._remote = remote
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        resolver = None if self._remote else _Loopback()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=resolver, limit=MOST_AT_ONCE),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def carry(self, post: WebhookPost) -> int | NoAnswer:
        """Send one post; see `Carry`."""
        assert self._session is not None  # noqa: S101 - used within its block only
        try:
            async with self._session.post(
                URL(post.url, encoded=True),
                data=post.body,
                headers=post.headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=post.timeout),
            ) as response:
                # The body stays unread; one that has not come already costs the connection.
                return response.status
        except TimeoutError:
            return NoAnswer.TIMED_OUT
        except aiohttp.ClientConnectorDNSError:
            return NoAnswer.UNREACHABLE
        except aiohttp.ClientConnectorError as error:
            refused = isinstance(error.os_error, ConnectionRefusedError)
            return NoAnswer.REFUSED if refused else NoAnswer.UNREACHABLE
        except (aiohttp.ClientError, OSError, ValueError):
            return NoAnswer.BROKEN


class _Loopback(AbstractResolver):
    """Knows ``localhost`` and nothing else."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host.lower() != "localhost":
            raise OSError("only this machine is reachable")
        hosts = [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=kind,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address, kind in hosts
            if family in {socket.AF_UNSPEC, kind}
        ]

    async def close(self) -> None:
        return
