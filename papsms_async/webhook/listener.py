"""A server for webhooks alone, where there is no web application to mount the receiver in.

It is made to stand on a network: heads and bodies have to come in time, connections are bounded,
nothing is unpacked, and no line of a log has the path, which holds the secret. For TLS put a proxy
in front, or give it a context.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Any, Self

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from papsms_async.webhook.aiohttp_app import answer
from papsms_async.webhook.receiver import WebhookReceiver

HEAD_TIMEOUT = 10.0
"""Seconds from the connection, or from the last answer, in which the head of a request has to come.
"""
MOST_CONNECTIONS = 500
"""Connections that may be open; further ones are closed at once."""
ANSWERS_TIMEOUT = 5.0
"""Seconds that answers under way get when it closes."""
_LINGERING = 0.25
"""Seconds for the rest of a body that was refused, so that the answer is not lost."""

_log = logging.getLogger("papsms_async.webhook.listener")


def _is_ours(record: logging.LogRecord) -> bool:
    """Tell failures of the server from requests that are no HTTP: those are the sender's affair."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError)


_log.addFilter(_is_ours)


class WebhookListener:
    """Listens for webhooks, as an async context manager or by `start` and `close`.

    It is closed with its receiver, at the latest when the receiver's manager is.

    Args:
        receiver: Takes them.
        host: Address to listen on.
        port: Port, 0 for a free one.
        tls: For HTTPS without a proxy in front.
    """

    def __init__(
        self,
        receiver: WebhookReceiver,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._receiver = receiver
        self._host = host
        self._port = port
        self._tls = tls
        self._http: web.Server | None = None
        self._listener: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    def __repr__(self) -> str:
        state = "closed" if self._listener is None else f"port={self.port}"
        return f"<WebhookListener {state}>"

    @property
    def port(self) -> int:
        """The port listened on, or the one asked for while it does not listen."""
        if self._listener is None or not self._listener.sockets:
            return self._port
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """The URL of the webhook, secret included, as it is on this machine."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{host}:{self.port}{self._receiver.path}"

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: The address can't be listened on.
        """
        loop = asyncio.get_running_loop()
        self._http = web.Server(self._answer, handler_cancellation=True)
        self._listener = await loop.create_server(
            self._connection, self._host, self._port, ssl=self._tls
        )
        self._receiver.on_detach(self.close)

    async def close(self) -> None:
        """Listen no more; answers under way get a little time. Safe to call twice."""
        listener, http = self._listener, self._http
        self._listener = self._http = None
        if listener is not None:
            listener.close()
        if http is not None:
            http.pre_shutdown()
            await http.shutdown(ANSWERS_TIMEOUT)
        if listener is not None:
            await listener.wait_closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _connection(self) -> asyncio.BaseProtocol:
        if self._http is None or len(self._connections) >= MOST_CONNECTIONS:
            return _Closing()
        return _Connection(
            self._http,
            self._connections,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=HEAD_TIMEOUT,
            lingering_time=_LINGERING,
            access_log=None,
            logger=_log,
            auto_decompress=False,
        )

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if isinstance(request.protocol, _Connection):
            request.protocol.head_is_there()
        return await answer(self._receiver, request, request.path)


class _Connection(web.RequestHandler):
    """A connection whose first head has to come in time; for the others aiohttp sees to it."""

    __slots__ = ("_alarm", "_all")

    def __init__(self, http: web.Server, all_: set[_Connection], **options: Any) -> None:
        super().__init__(http, **options)
        self._all = all_
        self._alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._all.add(self)
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_later(HEAD_TIMEOUT, self.force_close)

    def connection_lost(self, exc: BaseException | None) -> None:
        """See `asyncio.Protocol`."""
        self.head_is_there()
        self._all.discard(self)
        super().connection_lost(exc)

    def head_is_there(self) -> None:
        """A request has come, or never will."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None


class _Closing(asyncio.Protocol):
    """Closes a connection on arrival."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
