"""The engine and its control API on a real socket.

The server carries out what the engine decides: it closes, resets and holds connections for real.
A connection that is refused on arrival (fault route ``connect``) is reset before anything is
read; a refusal on another route can only be known from the request, so it is reset as soon as
the request was read, without any of it being executed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from .endpoints import BASE_PATH, MAX_BODY
from .engine import SandboxEngine
from .front import front_of
from .live import LiveNews
from .messages import Delivery, SandboxReply, SandboxRequest
from .webhook_sender import WebhookCourier, WebhookSender

if TYPE_CHECKING:
    from .recording import Recorder

_LOGGER = logging.getLogger(__name__)


def _is_ours(record: logging.LogRecord) -> bool:
    """Tell failures of the server from requests that are no HTTP: those are the client's affair."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError)


_LOGGER.addFilter(_is_ours)

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_SHUTDOWN_GRACE = 0.05
"""Seconds for answers under way; then their handlers are cancelled, hanging ones included."""
_HALF_CLOSE_GRACE = 0.05
"""Seconds from the end of what a client sends until its connection counts as idle."""
_LINGERING = 0.25
"""Seconds for the rest of a body that was refused as too large, so that the answer is not lost."""


class SandboxServer:
    """Serves an engine over HTTP.

    Args:
        engine: The engine.
        host: Address to listen on; loopback unless told otherwise.
        port: Port, 0 for a free one.
        clock: POSIX seconds; what the engine takes for the time.
        keepalive: Seconds after which an idle connection is closed.
        recorder: Writes the session down; made for the same engine.
        names: Names besides its address under which browsers may use the page and the control
            API; see `papsms_async.sandbox.guard`.
    """

    def __init__(
        self,
        engine: SandboxEngine,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        clock: Callable[[], float] = time.time,
        keepalive: float = 75.0,
        recorder: Recorder | None = None,
        names: Iterable[str] = (),
    ) -> None:
        self.engine = engine
        self._host = host
        self._port = port
        self._clock = clock
        self._keepalive = keepalive
        self._courier: asyncio.Task[None] | None = None
        self._recorder = recorder
        self._front = front_of(
            engine, names=[host, *names], record=recorder.record if recorder else None
        )
        self._news = LiveNews(engine, clock)
        self._refuses = (recorder or engine).refuses_connection
        self._http: web.Server | None = None
        self._listener: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port listened on.

        Raises:
            RuntimeError: The server does not listen.
        """
        if self._listener is None or not self._listener.sockets:
            raise RuntimeError("the sandbox server does not listen")
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Root of the server, for example ``http://127.0.0.1:8085``."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    @property
    def base_url(self) -> str:
        """Base URL for clients: `url` and ``/api/v1/``."""
        return self.url + BASE_PATH

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: The address cannot be listened on.
        """
        self._http = web.Server(self._answer, handler_cancellation=True)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._protocol, self._host, self._port)
        self._courier = asyncio.create_task(self._carry_webhooks())

    async def close(self) -> None:
        """Stop listening and close every connection; answers and webhooks under way are dropped."""
        listener, http, courier = self._listener, self._http, self._courier
        self._listener = self._http = self._courier = None
        if listener is not None:
            listener.close()
        if http is not None:
            http.pre_shutdown()
            await http.shutdown(_SHUTDOWN_GRACE)
        if listener is not None:
            await listener.wait_closed()
        if courier is not None:
            courier.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await courier

    async def _carry_webhooks(self) -> None:
        async with WebhookSender(remote=self.engine.config.webhook_remote) as sender:
            courier = WebhookCourier(
                self.engine, sender.carry, outbox=self._recorder, clock=self._clock
            )
            await courier.run()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _protocol(self) -> asyncio.BaseProtocol:
        if self._http is None or self._refuses():
            return _Refusing()
        return _Connection(
            self._http,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self._keepalive,
            lingering_time=_LINGERING,
            access_log=None,
            logger=_LOGGER,
        )

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, _Connection)  # noqa: S101 - made by _protocol
        body = await _read(request)
        connection.answering = True
        try:
            response = await self._reply(request, body)
        finally:
            connection.answering = False
        if connection.half_closed:
            response.force_close()
        return response

    async def _reply(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        # Arrival is when the request has been read; nothing is awaited until it is executed.
        asked = SandboxRequest(
            request.method, request.raw_path, {**request.headers}, body, request.remote or ""
        )
        reply = self._front.handle(asked, self._clock())
        if reply.delay > 0.0 and reply.delivery is not Delivery.REFUSE:
            await asyncio.sleep(reply.delay)
        return await self._deliver(request, reply)

    async def _deliver(self, request: web.BaseRequest, reply: SandboxReply) -> web.StreamResponse:
        match reply.delivery:
            case Delivery.ANSWER:
                headers = {k: v for k, v in reply.headers.items() if k != "Content-Length"}
                response = web.Response(status=reply.status, headers=headers, body=reply.body)
                if request.can_read_body and not request.content.at_eof():
                    response.force_close()
                return response
            case Delivery.TRUNCATE:
                partial = web.StreamResponse(status=reply.status, headers=reply.headers)
                partial.force_close()
                await partial.prepare(request)
                if request.method != "HEAD":
                    await partial.write(reply.body)
                _close(request)
                return partial
            case Delivery.HANG:
                await _hang(request)
            case Delivery.DROP:
                _close(request)
            case Delivery.REFUSE:
                _reset(request.transport)
            case Delivery.EVENTS:
                _idle(request)
                return await self._news.stream(request)
        return web.Response()  # goes nowhere: the transport is closed


class _Connection(web.RequestHandler):
    """A connection whose client may close its own side and still gets its answer.

    A client that has left looks the same at first, so an idle or hanging connection is closed.
    """

    __slots__ = ("answering", "half_closed")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.answering = False
        self.half_closed = False

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection, unless there is nothing to be answered."""
        self.half_closed = True
        # What came together with the end has not been looked at yet.
        asyncio.get_running_loop().call_later(_HALF_CLOSE_GRACE, self.leave)
        return True

    def leave(self) -> None:
        """Close the connection if nothing is being answered."""
        if not self.answering and self.transport is not None:
            self.transport.close()


class _Refusing(asyncio.Protocol):
    """Resets a connection on arrival."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        _reset(transport)


async def _read(request: web.BaseRequest) -> bytes:
    """Return the body, or the first bytes of one that is too large or b"" of a broken one."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.content.iter_any():
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_BODY:
                break
    except (web.RequestPayloadError, ValueError):
        return b""
    return b"".join(chunks)


async def _hang(request: web.BaseRequest) -> None:
    """Wait until the client leaves or the server closes; either cancels this."""
    _idle(request)
    await asyncio.Event().wait()


def _idle(request: web.BaseRequest) -> None:
    """Let the connection end as soon as the client closes its own side."""
    if isinstance(request.protocol, _Connection):
        request.protocol.answering = False
        if request.protocol.half_closed:
            request.protocol.leave()


def _close(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.close()


def _reset(transport: asyncio.BaseTransport | None) -> None:
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    if isinstance(transport, asyncio.Transport):
        transport.abort()
    else:
        transport.close()


async def serve(
    engine: SandboxEngine,
    host: str,
    port: int,
    *,
    ready: Callable[[str], None],
    recorder: Recorder | None = None,
    names: Iterable[str] = (),
) -> None:
    """Serve until SIGINT or SIGTERM, or until cancelled.

    Args:
        engine: The engine.
        host: Address to listen on.
        port: Port, 0 for a free one.
        ready: Called with the base URL once the server listens.
        recorder: Writes the session down; see `SandboxServer`.
        names: See `SandboxServer`.

    Raises:
        OSError: The address cannot be listened on.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    installed: list[signal.Signals] = []
    async with SandboxServer(engine, host, port, recorder=recorder, names=names) as server:
        for name in (signal.SIGINT, signal.SIGTERM):
            # Not on Windows, and not outside the main thread; there a cancel ends it.
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(name, stop.set)
                installed.append(name)
        try:
            ready(server.base_url)
            await stop.wait()
        finally:
            for name in installed:
                loop.remove_signal_handler(name)
