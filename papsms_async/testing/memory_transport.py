"""The sandbox without sockets: a transport that hands requests to an engine in this process.

With `VirtualTimeLoop` hours of traffic run in seconds, and the same seed gives the same run:

    service = MemoryService(SandboxEngine(seed=1))
    async with service.client() as client, service.manager(client) as manager:
        ...
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import anyio
import anyio.lowlevel

from papsms_async.client import PapSMSClient
from papsms_async.errors import AnswerLostError, ConnectError
from papsms_async.manager import ActivationManager
from papsms_async.protocol import WireAnswer, WireRequest
from papsms_async.sandbox import Delivery, SandboxEngine, SandboxReply, SandboxRequest
from papsms_async.sandbox.recording import Recorder

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""The instant at which a loop's clock reads zero."""

Latency = Callable[[], float]


class MemoryTransport:
    """Carries requests to a sandbox engine, with delays, faults and losses on the way.

    Args:
        engine: The service.
        up: Gives the seconds that the next request takes to the service.
        down: Gives the seconds that the next answer takes back.
        base_path: Path that the API has at the engine.
        recorder: Writes the session down; made for the same engine.
    """

    def __init__(
        self,
        engine: SandboxEngine,
        *,
        up: Latency | None = None,
        down: Latency | None = None,
        base_path: str = "/api/v1/",
        recorder: Recorder | None = None,
    ) -> None:
        self._handle = engine.handle if recorder is None else recorder.record(engine.handle)
        self._up = up or _near
        self._down = down or _near
        self._base_path = base_path
        self.sent = 0

    def __repr__(self) -> str:
        return f"<MemoryTransport sent={self.sent}>"

    async def send(
        self,
        request: WireRequest,
        *,
        key: str,
        timeout: float,
        on_sent: Callable[[], None] | None = None,
    ) -> WireAnswer:
        """See `papsms_async.transport.Transport.send`."""
        # A real transport gives way before it writes, and a caller may be cancelled there.
        await anyio.lowlevel.checkpoint()
        if on_sent is not None:
            on_sent()
        self.sent += 1
        try:
            with anyio.fail_after(timeout):
                return await self._exchange(request, key)
        except TimeoutError:
            raise AnswerLostError(f"No answer came within {timeout:g} s.") from None

    async def _exchange(self, request: WireRequest, key: str) -> WireAnswer:
        await anyio.sleep(self._up())
        headers = {"Authorization": f"Bearer {key}"}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        reply = self._handle(
            SandboxRequest(
                method=request.method,
                path=self._base_path + request.path,
                headers=headers,
                body=request.body or b"",
            ),
            now_of_loop(),
        )
        return await self._deliver(reply)

    async def _deliver(self, reply: SandboxReply) -> WireAnswer:
        await anyio.sleep(reply.delay)
        match reply.delivery:
            case Delivery.ANSWER:
                await anyio.sleep(self._down())
                return WireAnswer(status=reply.status, headers=reply.headers, body=reply.body)
            case Delivery.REFUSE:
                raise ConnectError("The service refused the connection.")
            case Delivery.HANG:
                await anyio.sleep_forever()
                raise AssertionError("unreachable")
            case _:
                await anyio.sleep(self._down())
                raise AnswerLostError("The connection broke before the whole answer was there.")

    async def aclose(self) -> None:
        """Nothing to close."""


class MemoryService:
    """A sandbox engine together with clients and managers that talk to it in memory.

    Args:
        engine: The service; a fresh one with seed 0 if ``None``.
        **transport: Options of `MemoryTransport`.
    """

    def __init__(self, engine: SandboxEngine | None = None, **transport: Any) -> None:
        self.engine = engine or SandboxEngine()
        self.transport = MemoryTransport(self.engine, **transport)

    def client(self, api_key: Any = "sandbox", **options: Any) -> PapSMSClient:
        """Return a client of this service; options are those of `PapSMSClient`."""
        return PapSMSClient(api_key, transport=self.transport, **options)

    def manager(self, client: PapSMSClient, **options: Any) -> ActivationManager:
        """Return a manager on the same clock; options are those of `ActivationManager`."""
        return ActivationManager(client, clock=utc_of_loop, **options)


def now_of_loop() -> float:
    """Return the running loop's time as POSIX seconds after `EPOCH`."""
    return EPOCH.timestamp() + asyncio.get_running_loop().time()


def utc_of_loop() -> datetime:
    """Return the running loop's time as an instant."""
    return datetime.fromtimestamp(now_of_loop(), UTC)


def _near() -> float:
    return 0.025
