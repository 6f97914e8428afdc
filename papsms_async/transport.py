"""One wire attempt: sends a request with aiohttp and returns the answer as it came.

What makes an attempt certain:

* *Sent or not.* aiohttp tells when a connection is there and the request is about to be written
  (`papsms_async.attempt`). Before that moment nothing can have reached the service
  (`ConnectError`); from then on everything may have (`AnswerLostError`), and ``on_sent`` is called:
  in the very step that gives the request to the kernel, so that it can still stop it.
* *Once.* aiohttp sends GET requests again by itself when a kept-alive connection breaks. The same
  trace refuses the second attempt before a byte of it leaves.
* *Fresh.* A purchase never uses a pooled connection: if the service closed it a moment ago, nobody
  could say whether the request arrived. This transport's own purchases have a connector that keeps
  none. With a caller's session, pooled connections are thrown away unused until a new one is made.
* *Silent.* aiohttp's exceptions may carry the ``Authorization`` header. None is chained to an error
  that leaves this module, and no local of its frames shows the key.
"""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Awaitable, Callable
from typing import Protocol

import aiohttp
from yarl import URL

from papsms_async.attempt import (
    CURRENT,
    TRACE,
    Attempt,
    Body,
    Connector,
    PooledConnectionError,
    failure_of,
)
from papsms_async.endpoint import (
    COMMON_HEADERS,
    Secret,
    check_base_url,
    check_key,
    headers_for,
    proxy_for,
)
from papsms_async.errors import AnswerLostError, ConnectError, TransportError
from papsms_async.wire import Defect, WireAnswer, WireRequest

MAX_ANSWER_BYTES = 1024 * 1024
"""Bytes of a body, decompressed, above which it is not read further."""

CONNECT_TIMEOUT = 10.0
"""Seconds for making a connection."""


class Transport(Protocol):
    """A way to the service."""

    async def send(
        self,
        request: WireRequest,
        *,
        key: str,
        timeout: float,
        on_sent: Callable[[], None] | None = None,
    ) -> WireAnswer:
        """Make exactly one wire attempt.

        Args:
            request: What to send.
            key: The API key.
            timeout: Seconds for all of it, connection and body included.
            on_sent: Called once, right before the first byte may leave. A caller that is cancelled
                without its having been called knows that nothing was sent. If it raises, nothing
                is sent, and what it raised is raised.

        Returns:
            The answer, whatever its status. Where its body is not whole, ``defect`` says why.

        Raises:
            ConnectError: Certainly nothing was sent.
            AnswerLostError: It may have been carried out, but no answer came back.
            ConfigurationError: The key can't be sent in a header.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections. Safe to call twice."""
        ...


class AiohttpTransport:
    """The service over HTTPS.

    Args:
        base_url: Where the API is, with or without a slash at the end.
        session: A session of the caller's. It stays open and keeps its proxy, TLS and default
            headers; timeouts, redirects and ``raise_for_status`` are set per request.
        trust_env: Whether proxies are taken from the environment (``HTTPS_PROXY``, ``NO_PROXY``).
            Loopback is never reached through a proxy. ``.netrc`` is not read. A caller's session
            follows its own setting.
        max_answer_bytes: Bytes of a body that are read at most.
        connect_timeout: Seconds for making a connection, within the timeout of each attempt.

    Raises:
        ConfigurationError: ``base_url`` can't be used, or would send the key unencrypted.
    """

    def __init__(
        self,
        base_url: str,
        *,
        session: aiohttp.ClientSession | None = None,
        trust_env: bool = True,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        connect_timeout: float = CONNECT_TIMEOUT,
    ) -> None:
        self.base_url = check_base_url(base_url)
        self._given = session
        self._proxy = proxy_for(self.base_url) if trust_env and session is None else None
        self._max_answer_bytes = max_answer_bytes
        self._url = URL(self.base_url)
        self._path = self._url.raw_path
        self._connect_timeout = connect_timeout
        self._timeout = aiohttp.ClientTimeout()
        # Sessions of our own have them by themselves.
        self._common = {} if session is None else COMMON_HEADERS
        self._key = Secret()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._own: dict[bool, aiohttp.ClientSession] = {}
        self._closed = False

    def __repr__(self) -> str:
        return f"<AiohttpTransport {self.base_url}>"

    async def send(
        self,
        request: WireRequest,
        *,
        key: str,
        timeout: float,
        on_sent: Callable[[], None] | None = None,
    ) -> WireAnswer:
        """Make exactly one wire attempt; see `Transport.send`."""
        if key is not self._key:
            key = Secret(key)
            check_key(key)
            self._key = key
        attempt = Attempt(
            fresh=not request.repeatable, on_sent=on_sent, has_body=request.body is not None
        )
        CURRENT.set(attempt)
        limits = self._limits(timeout)
        try:
            if request.body is None:
                # As few coroutines as will do around what is asked most often: each costs
                # hundredths of what a whole request does.
                response = await self._ask(request, key, attempt, limits)
            else:
                response = await self._ask_with(request.body, request, key, attempt, limits)
            try:
                attempt.assume_sent()
                return await self._read(response)
            finally:
                response.release()
        except TransportError:
            raise
        except Exception as error:
            failure = attempt.refusal or failure_of(error, attempt, self.base_url)
        except BaseException:
            attempt.assume_sent()
            raise
        finally:
            CURRENT.set(None)
        # Outside of the handler, so that the error has no __context__ with aiohttp's exception.
        if isinstance(failure, AnswerLostError):
            attempt.assume_sent()
        raise failure

    def _limits(self, timeout: float) -> aiohttp.ClientTimeout:
        if self._timeout.total != timeout:
            self._timeout = aiohttp.ClientTimeout(
                total=timeout,
                sock_connect=self._connect_timeout,
                ceil_threshold=math.inf,  # to the point, not to the next whole second
            )
        return self._timeout

    def _ask(
        self,
        request: WireRequest,
        key: str,
        attempt: Attempt,
        timeout: aiohttp.ClientTimeout,
        data: Body | None = None,
    ) -> Awaitable[aiohttp.ClientResponse]:
        """Return what makes the request once it is awaited."""
        return self._session(attempt.fresh).request(
            request.method,
            self._url.with_path(f"{self._path}{request.path}", encoded=True),
            data=data,
            headers=headers_for(request, key, self._common),
            allow_redirects=False,
            raise_for_status=False,
            auto_decompress=False,
            proxy=self._proxy,
            timeout=timeout,
            trace_request_ctx=attempt,
        )

    async def _ask_with(
        self,
        body: bytes,
        request: WireRequest,
        key: str,
        attempt: Attempt,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        while True:
            try:
                return await self._ask(request, key, attempt, timeout, Body(body, attempt))
            except PooledConnectionError:
                continue  # aiohttp has closed it; sooner or later it makes a new one

    async def _read(self, response: aiohttp.ClientResponse) -> WireAnswer:
        # A body that is not read to its end is not waited for: aiohttp closes its connection.
        pieces: list[bytes] = []
        size = 0
        defect = None
        content = response.content
        try:
            while not content.at_eof():
                piece = await content.readany()
                pieces.append(piece)
                size += len(piece)
                if size > self._max_answer_bytes:
                    defect = Defect.TOO_LARGE
                    break
        except TimeoutError:  # an OSError, too
            raise
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError):
            # The head is there: its status may tell, and an id may be read from what came.
            defect = Defect.LOST
        body = b"".join(pieces)[: self._max_answer_bytes]
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in ("", "identity"):
            body, broken = inflate(body, encoding, self._max_answer_bytes)
            defect = defect or broken
        return WireAnswer(response.status, response.headers, body, defect)

    def _session(self, fresh: bool) -> aiohttp.ClientSession:
        """Return the session to use; own sessions are made in the loop that they are used in."""
        if self._closed:
            raise ConnectError("The client is closed.", retryable=False)
        if self._given is not None:
            if self._given.closed:
                raise ConnectError("The session that was passed is closed.", retryable=False)
            session = self._given
        else:
            loop = asyncio.get_running_loop()
            if self._loop is not loop:
                if self._loop is not None:
                    raise ConnectError(
                        "A client can't be used in two event loops.", retryable=False
                    )
                self._loop = loop
            if fresh not in self._own:
                self._own[fresh] = aiohttp.ClientSession(
                    connector=Connector(limit=0, force_close=fresh),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    headers=COMMON_HEADERS,
                )
            return self._own[fresh]
        traces = session.trace_configs
        if TRACE not in traces:
            traces.append(TRACE)
        return session

    async def aclose(self) -> None:
        """Close own connections; a caller's session stays open. Safe to call twice."""
        self._closed = True
        while self._own:
            await self._own.popitem()[1].close()


def inflate(body: bytes, encoding: str, limit: int) -> tuple[bytes, Defect | None]:
    """Return ``body`` decompressed, at most ``limit`` bytes of it, and what is wrong with it.

    Compression is not asked for; this is for proxies that compress anyway.
    """
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return b"", Defect.UNREADABLE
    # 32: gzip and zlib are told apart by their heads.
    inflater = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(body, limit + 1)
    except zlib.error:
        return b"", Defect.UNREADABLE
    if len(plain) > limit:
        return plain[:limit], Defect.TOO_LARGE
    return plain, None if inflater.eof else Defect.LOST
