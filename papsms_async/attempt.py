"""What aiohttp tells about one wire attempt, and what its exceptions mean.

Before a connection is there and the headers are about to be written nothing can have reached the
service. Sessions of our own tell of that moment through their `Connector`. To a caller's session an
`aiohttp.TraceConfig` is appended, which tells the same for a tenth of the time that a whole request
takes, and does nothing for requests of others. A session that never tells (a test double) leaves it
open; there an attempt counts as sent unless the exception says that no connection was made.

aiohttp keeps the headers back until it has the body, and gives both to the kernel in one call. So
a request with a body counts as sent only when `Body` is written: between that moment and the
kernel no other code of the program runs, and whoever has second thoughts can still stop it there.
aiohttp may write it in a task of its own, which must not send what was cancelled a moment before.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from types import SimpleNamespace
from urllib.parse import urlsplit

import aiohttp
import attrs
from aiohttp.abc import AbstractStreamWriter
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from papsms_async.errors import AnswerLostError, ConnectError, TransportError


@attrs.define
class Attempt:
    """What is known about one attempt.

    Attributes:
        fresh: Whether it must not use a pooled connection.
        on_sent: Called when it may leave; may raise to stop it.
        has_body: Whether it leaves with its `Body`, not with its headers.
        task: Makes the attempt.
        cancelling: How often ``task`` was asked to end before it began this attempt.
        refusal: What ``on_sent`` raised.
        traced: Whether the session tells anything at all.
        reused: Whether its connection comes from the pool.
        sent: Whether it may have left.
    """

    fresh: bool
    on_sent: Callable[[], None] | None
    has_body: bool = False
    task: asyncio.Task[object] | None = attrs.field(factory=asyncio.current_task)
    cancelling: int = attrs.field(init=False)
    refusal: Exception | None = None
    traced: bool = False
    reused: bool = False
    sent: bool = False

    def __attrs_post_init__(self) -> None:
        self.cancelling = 0 if self.task is None else self.task.cancelling()

    @property
    def is_cancelled(self) -> bool:
        """Whether its task was asked to end since it began."""
        return self.task is not None and self.task.cancelling() > self.cancelling

    def mark_sent(self) -> None:
        if not self.sent:
            if self.on_sent is not None:
                try:
                    self.on_sent()
                except Exception as refusal:
                    self.refusal = refusal
                    raise
            self.sent = True

    def assume_sent(self) -> None:
        """Of a session that told nothing it is known only afterwards, too late to stop it."""
        if not self.traced and not self.sent:
            with suppress(Exception):
                self.mark_sent()
            self.sent, self.refusal = True, None


class Body(aiohttp.BytesPayload):
    """The body of an attempt, which is sent when this is written."""

    def __init__(self, body: bytes, attempt: Attempt) -> None:
        super().__init__(body)
        self._attempt = attempt

    async def write(self, writer: AbstractStreamWriter) -> None:
        """See `aiohttp.Payload.write`."""
        self._leave()
        await super().write(writer)

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """See `aiohttp.Payload.write_with_length`."""
        self._leave()
        await super().write_with_length(writer, content_length)

    def _leave(self) -> None:
        if not self._attempt.sent and self._attempt.is_cancelled:
            raise CancelledBeforeError
        self._attempt.mark_sent()


class PooledConnectionError(Exception):
    """A purchase got a pooled connection; nothing was written to it."""


class CancelledBeforeError(Exception):
    """The caller was cancelled before the body was written; nothing was."""


class SecondAttemptError(Exception):
    """aiohttp was about to send a request again."""


CURRENT: ContextVar[Attempt | None] = ContextVar("papsms_async attempt", default=None)
"""The attempt that the running task makes with a session whose connector is a `Connector`."""


class Connector(aiohttp.TCPConnector):
    """The connections of a session of our own; tells the `CURRENT` attempt what becomes of it."""

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """See `aiohttp.BaseConnector.connect`. aiohttp writes right after it, without a pause."""
        attempt = CURRENT.get()
        if attempt is None:
            return await super().connect(req, traces, timeout)
        attempt.traced = True
        if attempt.sent:
            raise SecondAttemptError
        connection = await super().connect(req, traces, timeout)
        if not attempt.has_body:
            try:
                attempt.mark_sent()
            except BaseException:
                connection.close()
                raise
        return connection


def _attempt(context: SimpleNamespace) -> Attempt | None:
    found = getattr(context, "trace_request_ctx", None)
    return found if isinstance(found, Attempt) else None


async def _on_start(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    if attempt := _attempt(context):
        attempt.traced = True


async def _on_create(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    if attempt := _attempt(context):
        if attempt.sent:
            raise SecondAttemptError
        attempt.reused = False


async def _on_reuse(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    if attempt := _attempt(context):
        attempt.reused = True


async def _on_headers(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    # Called with a connection, before the headers are written. aiohttp closes the connection when
    # this raises.
    if attempt := _attempt(context):
        if attempt.sent:
            raise SecondAttemptError
        if attempt.fresh and attempt.reused:
            raise PooledConnectionError
        if not attempt.has_body:
            attempt.mark_sent()


def _trace() -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(_on_start)
    trace.on_connection_create_start.append(_on_create)
    trace.on_connection_reuseconn.append(_on_reuse)
    trace.on_request_headers_sent.append(_on_headers)
    trace.freeze()
    return trace


TRACE = _trace()


def failure_of(error: Exception, attempt: Attempt, base_url: str) -> TransportError:
    """Return the error for what aiohttp raised; nothing of it is kept but what is safe to say."""
    where = urlsplit(base_url).netloc
    certain = not attempt.sent if attempt.traced else _never_connected(error)
    if not certain:
        reason = "no answer in time" if isinstance(error, TimeoutError) else "the connection broke"
        return AnswerLostError(f"{where} may have got the request, but {reason}.")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return ConnectError(f"The name of {where} can't be resolved.")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        return ConnectError(f"The certificate of {where} is not trusted.", retryable=False)
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return ConnectError(f"No TLS connection to {where}.")
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        return ConnectError(f"The proxy makes no connection to {where}.")
    if isinstance(error, TimeoutError):
        return ConnectError(f"No connection to {where} in time.")
    if isinstance(error, OSError | aiohttp.ClientConnectionError):
        os_error: Exception = error
        if isinstance(error, aiohttp.ClientConnectorError):
            os_error = error.os_error
        return ConnectError(f"No connection to {where} ({type(os_error).__name__}).")
    return ConnectError(f"The request can't be sent: {type(error).__name__}.", retryable=False)


def _never_connected(error: Exception) -> bool:
    return isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
