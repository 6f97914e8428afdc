"""One wire attempt a call, and each failure classified, against a server that is nasty."""

from __future__ import annotations

import asyncio
import gzip
import re
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from unittest.mock import Mock

import aiohttp
import pytest
from aioresponses import aioresponses
from yarl import URL

from papsms_async.endpoint import USER_AGENT, check_base_url, proxy_for
from papsms_async.errors import (
    AnswerLostError,
    ConfigurationError,
    ConnectError,
    Execution,
    TransportError,
)
from papsms_async.protocol import (
    Defect,
    WireAnswer,
    WireRequest,
    finish_request,
    purchase_request,
    status_request,
)
from papsms_async.transport import AiohttpTransport, inflate

KEY = "test-key"
PURCHASE = purchase_request("whatsapp", "us")
STATUS = status_request("1")
FINISH = finish_request("1", "cancelled")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]


class Server:
    """A raw HTTP server on loopback that records requests and answers as it is told.

    Attributes:
        requests: Head and body of each request, in order of arrival.
        connections: How many connections were made.
    """

    def __init__(self, *behaviours: Behaviour | bytes) -> None:
        self.behaviours = list(behaviours)
        self.requests: list[bytes] = []
        self.connections = 0
        self.arrived = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def heads(self) -> list[str]:
        """The request lines."""
        return [request.split(b"\r\n")[0].decode() for request in self.requests]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                self.requests.append(head + body)
                self.arrived.set()
                # The last behaviour repeats.
                behaviour = self.behaviours[0]
                if len(self.behaviours) > 1:
                    self.behaviours.pop(0)
                if isinstance(behaviour, bytes):
                    writer.write(behaviour)
                    await writer.drain()
                else:
                    await behaviour(reader, writer, head)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve, and give the base URL."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}/api/v1"
        finally:
            server.close()
            for writer in self._writers:
                writer.transport.abort()
            if self._tasks:
                await asyncio.wait(self._tasks)


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return an answer with a right ``Content-Length``."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: bytes) -> None:
    """Close the connection without an answer."""
    writer.close()


async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: bytes) -> None:
    """Reset the connection without an answer."""
    writer.transport.abort()


async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter, __: bytes) -> None:
    """Answer nothing until the client hangs up."""
    await reader.read()


def cut(sent: bytes) -> Behaviour:
    """Send ``sent`` and close."""

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: bytes) -> None:
        writer.write(sent)
        await writer.drain()
        writer.close()

    return behave


def then_silence(sent: bytes) -> Behaviour:
    """Send ``sent`` and nothing more."""

    async def behave(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes
    ) -> None:
        writer.write(sent)
        await writer.drain()
        await silence(reader, writer, head)

    return behave


async def send(
    url: str,
    request: WireRequest = STATUS,
    *,
    timeout: float = 5.0,
    on_sent: Callable[[], None] | None = None,
    session: aiohttp.ClientSession | None = None,
    max_answer_bytes: int = 1024 * 1024,
) -> WireAnswer:
    """Make one attempt with a transport of its own."""
    transport = AiohttpTransport(url, session=session, max_answer_bytes=max_answer_bytes)
    try:
        return await transport.send(request, key=KEY, timeout=timeout, on_sent=on_sent)
    finally:
        await transport.aclose()


@pytest.fixture
def free_port() -> int:
    """A port on loopback on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


# What is sent ------------------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_request_is_as_documented(slash: str) -> None:
    """Path below the base URL, bearer key, JSON in and out, and the client's name."""
    server = Server(answer(b'{"a": 1}', "X-Seen: yes"))
    async with server.running() as url:
        got = await send(url + slash, PURCHASE)
    assert (got.status, got.body, got.header("x-seen"), got.defect) == (
        200,
        b'{"a": 1}',
        "yes",
        None,
    )
    head, body = server.requests[0].split(b"\r\n\r\n")
    assert head.startswith(b"POST /api/v1/numbers/purchase HTTP/1.1\r\n")
    assert f"Authorization: Bearer {KEY}".encode() in head
    assert b"Accept: application/json" in head
    assert b"Content-Type: application/json" in head
    assert f"User-Agent: {USER_AGENT}".encode() in head
    assert USER_AGENT.startswith("papsms-async/")
    assert body == PURCHASE.body


async def test_a_strange_id_arrives_quoted() -> None:
    """An id with a slash or a percent sign stays one segment on the wire."""
    server = Server(OK)
    async with server.running() as url:
        await send(url, status_request("a/b?c%2F é"))
    assert server.heads == ["GET /api/v1/numbers/status/a%2Fb%3Fc%252F%20%C3%A9 HTTP/1.1"]


@pytest.mark.parametrize("status", [204, 301, 302, 307, 308, 400, 429, 500, 503])
async def test_any_status_is_an_answer(status: int) -> None:
    """Errors and redirects come back as they are; none is raised, followed or repeated."""
    head = f"{status} X"
    body = b"" if status == 204 else b"{}"
    server = Server(answer(body, "Location: /api/v1/countries", status=head))
    async with server.running() as url:
        got = await send(url)
    assert got.status == status
    assert len(server.requests) == 1


async def test_connections_are_kept_for_what_may_be_repeated() -> None:
    """Status calls share a connection; every purchase has a fresh one."""
    server = Server(OK)
    async with server.running() as url:
        transport = AiohttpTransport(url)
        for request in (STATUS, STATUS, FINISH):
            await transport.send(request, key=KEY, timeout=5)
        assert server.connections == 1
        for _ in range(2):
            await transport.send(PURCHASE, key=KEY, timeout=5)
        assert server.connections == 3
        # The service, too, knows that nothing more comes on a purchase's connection.
        assert [b"Connection: close" in request for request in server.requests] == [
            request.startswith(b"POST /api/v1/numbers/purchase") for request in server.requests
        ]
        await transport.aclose()
        await transport.aclose()


# Once, and fresh ---------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [True, False], ids=["own session", "caller's session"])
@pytest.mark.parametrize("nasty", [hang_up, reset])
async def test_nothing_is_sent_twice_by_itself(own: bool, nasty: Behaviour) -> None:
    """A GET on a kept-alive connection that breaks is not sent again, as aiohttp would."""
    server = Server(OK, nasty, OK)
    async with server.running() as url:
        session = None if own else aiohttp.ClientSession()
        transport = AiohttpTransport(url, session=session)
        await transport.send(STATUS, key=KEY, timeout=5)
        sent: list[int] = []
        with pytest.raises(AnswerLostError):
            await transport.send(STATUS, key=KEY, timeout=5, on_sent=lambda: sent.append(1))
        assert (len(server.requests), server.connections, sent) == (2, 1, [1])
        assert (await transport.send(STATUS, key=KEY, timeout=5)).status == 200
        await transport.aclose()
        if session is not None:
            await session.close()


async def test_nothing_is_sent_again_on_another_pooled_connection() -> None:
    """With a second kept-alive connection at hand, it is not used for another attempt either."""
    arrived = asyncio.Barrier(2)

    async def together(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: bytes) -> None:
        await arrived.wait()
        writer.write(OK)

    server = Server(together, together, hang_up, OK)
    async with server.running() as url:
        transport = AiohttpTransport(url)
        await asyncio.gather(*(transport.send(STATUS, key=KEY, timeout=5) for _ in range(2)))
        with pytest.raises(AnswerLostError):
            await transport.send(STATUS, key=KEY, timeout=5)
        assert (len(server.requests), server.connections) == (3, 2)
        await transport.aclose()


async def test_aiohttp_alone_would_send_twice() -> None:
    """The counterpart: without this transport the same GET arrives two times."""
    server = Server(hang_up)
    async with server.running() as url, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.get(url)
    assert len(server.requests) == 2


async def test_a_middleware_of_the_caller_cannot_send_twice() -> None:
    """A middleware that repeats requests is refused its second attempt."""

    async def twice(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        (await handler(request)).close()
        return await handler(request)

    server = Server(OK)
    async with server.running() as url, aiohttp.ClientSession(middlewares=[twice]) as session:
        with pytest.raises(AnswerLostError):
            await send(url, PURCHASE, session=session)
    assert len(server.requests) == 1


async def test_a_purchase_is_fresh_in_a_callers_session() -> None:
    """Pooled connections of the caller's session are passed over, unused."""
    release = asyncio.Event()

    async def together(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: bytes) -> None:
        await release.wait()
        writer.write(OK)

    server = Server(together)
    async with server.running() as url, aiohttp.ClientSession() as session:
        transport = AiohttpTransport(url, session=session)
        polls = [asyncio.create_task(transport.send(STATUS, key=KEY, timeout=5)) for _ in range(3)]
        while len(server.requests) < 3:
            server.arrived.clear()
            await server.arrived.wait()
        release.set()
        await asyncio.gather(*polls)
        assert server.connections == 3
        sent: list[int] = []
        await transport.send(PURCHASE, key=KEY, timeout=5, on_sent=lambda: sent.append(1))
        assert (server.connections, len(server.requests), sent) == (4, 4, [1])


async def test_a_purchase_does_not_meet_a_connection_that_is_about_to_close() -> None:
    """A pooled connection that the server closed just now makes no purchase ambiguous."""
    server = Server(*[cut(OK), OK] * 20)
    async with server.running() as url, aiohttp.ClientSession() as session:
        transport = AiohttpTransport(url, session=session)
        for _ in range(20):
            await transport.send(STATUS, key=KEY, timeout=5)
            got = await transport.send(PURCHASE, key=KEY, timeout=5)
            assert got.status == 200
    assert len(server.requests) == 40


async def test_a_callers_session_keeps_its_own_ways() -> None:
    """It stays open, and its settings that would change a request don't."""
    server = Server(answer(b"{}", status="404 Not Found"))
    traced: list[str] = []

    async def seen(*_: object) -> None:
        traced.append("start")

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(seen)
    async with (
        server.running() as url,
        aiohttp.ClientSession(
            raise_for_status=True,
            headers={"X-Mine": "1", "Authorization": "other"},
            trace_configs=[trace],
            timeout=aiohttp.ClientTimeout(total=0.000_001),
        ) as session,
    ):
        got = await send(url, session=session)
        assert got.status == 404
        assert not session.closed
        # Its other requests go on as before.
        async with session.get(url, raise_for_status=False, timeout=aiohttp.ClientTimeout()) as own:
            assert own.status == 404
    assert b"X-Mine: 1" in server.requests[0]
    assert f"Authorization: Bearer {KEY}".encode() in server.requests[0]
    assert b"Authorization: other" not in server.requests[0]
    assert traced == ["start", "start"]


# The last moment ---------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [True, False], ids=["own session", "caller's session"])
@pytest.mark.parametrize("request_", [PURCHASE, FINISH, STATUS], ids=["purchase", "finish", "get"])
async def test_the_bytes_leave_in_the_step_that_tells_of_it(
    own: bool, request_: WireRequest
) -> None:
    """Between ``on_sent`` and the kernel nothing else of the program runs."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/v1"
    peers: list[socket.socket] = []
    arrived: list[bytes] = []

    def on_sent() -> None:
        peers.append(listener.accept()[0])
        peers[0].setblocking(False)
        with pytest.raises(BlockingIOError):
            peers[0].recv(1)
        asyncio.get_running_loop().call_soon(lambda: arrived.append(peers[0].recv(65536)))

    session = None if own else aiohttp.ClientSession()
    with listener, pytest.raises(AnswerLostError):
        await send(url, request_, timeout=0.2, on_sent=on_sent, session=session)
    if session is not None:
        await session.close()
    peers[0].close()
    head, body = arrived[0].split(b"\r\n\r\n")
    assert head.startswith(request_.method.encode())
    assert body == (request_.body or b"")


@pytest.mark.parametrize("own", [True, False], ids=["own session", "caller's session"])
@pytest.mark.parametrize("request_", [PURCHASE, FINISH, STATUS], ids=["purchase", "finish", "get"])
async def test_a_refusal_at_the_last_moment_sends_nothing(own: bool, request_: WireRequest) -> None:
    """What ``on_sent`` raises comes back as it is, and not a byte of the request arrives."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/v1"
    refusal = ConfigurationError("not now")

    def refuse() -> None:
        raise refusal

    session = None if own else aiohttp.ClientSession()
    with listener:
        with pytest.raises(ConfigurationError) as caught:
            await send(url, request_, on_sent=refuse, session=session)
        if session is not None:
            await session.close()
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(5)
            assert peer.recv(65536) == b""
    assert caught.value is refusal
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("request_", [PURCHASE, FINISH], ids=["purchase", "finish"])
async def test_what_is_cancelled_before_it_leaves_does_not_leave(request_: WireRequest) -> None:
    """aiohttp may write a body in a task of its own, after the caller was cancelled."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/v1"
    cancelled_before: list[int] = []

    async def cancel_soon(*_: object) -> None:
        asyncio.get_running_loop().call_soon(sending.cancel)

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(cancel_soon)
    with listener:
        async with aiohttp.ClientSession(trace_configs=[trace]) as session:
            sending = asyncio.create_task(
                send(
                    url,
                    request_,
                    on_sent=lambda: cancelled_before.append(sending.cancelling()),
                    session=session,
                )
            )
            await asyncio.wait({sending})
            assert sending.cancelled()
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(5)
            assert bool(peer.recv(65536)) == bool(cancelled_before)
    assert not any(cancelled_before)


# Failures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [PURCHASE, STATUS], ids=["purchase", "status"])
@pytest.mark.parametrize(
    "nasty",
    [
        hang_up,
        reset,
        silence,
        cut(b"HTTP/1.1 200 OK\r\nContent-Le"),
        cut(b"\x16\x03\x01garbage\r\n\r\n"),
        cut(b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n{}"),
        then_silence(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"),
        cut(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n{}"),
    ],
    ids=[
        "hang-up",
        "reset",
        "silence",
        "half-head",
        "garbage",
        "bad-length",
        "half-then-silence",
        "long-header",
    ],
)
async def test_a_lost_answer_is_unknown(nasty: Behaviour, request_: WireRequest) -> None:
    """Whatever goes wrong once the headers may have left, the outcome is unknown."""
    server = Server(nasty)
    sent: list[int] = []
    async with server.running() as url:
        with pytest.raises(AnswerLostError) as caught:
            await send(url, request_, timeout=0.1, on_sent=lambda: sent.append(1))
    assert caught.value.execution is Execution.UNKNOWN
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert (len(server.requests), sent) == (1, [1])


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{half",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{half\r\n",
    ],
    ids=["content-length", "chunked"],
)
async def test_a_body_that_breaks_off_keeps_its_part(sent: bytes) -> None:
    """What came of a body is kept, and marked as lost: an id may be read from it."""
    async with Server(cut(sent)).running() as url:
        got = await send(url, PURCHASE)
    assert got.status == 200
    assert got.defect is Defect.LOST
    assert got.body == b"{half"


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{half\r\nzz\r\n",
        OK + b"surplus",
    ],
    ids=["chunked garbage", "longer than it says"],
)
async def test_a_body_of_broken_framing_is_marked_or_lost(sent: bytes) -> None:
    """Whether the head or the body is read when the framing breaks, no other error comes out."""
    async with Server(cut(sent)).running() as url:
        try:
            got = await send(url, PURCHASE)
        except AnswerLostError:
            return
    assert got.defect is Defect.LOST or got.body == b"{}"


async def test_nobody_listening_is_certain(free_port: int) -> None:
    """A refused connection was certainly not executed, and ``on_sent`` was not called."""
    sent: list[int] = []
    with pytest.raises(ConnectError) as caught:
        await send(f"http://127.0.0.1:{free_port}", PURCHASE, on_sent=lambda: sent.append(1))
    assert caught.value.execution is Execution.NOT_EXECUTED
    assert caught.value.retryable
    assert caught.value.__context__ is None
    assert sent == []


async def test_an_unknown_host_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that can't be resolved was certainly not executed."""

    async def no_address(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", no_address)
    with pytest.raises(ConnectError, match="can't be resolved"):
        await send("https://service.example", PURCHASE)


async def test_no_tls_is_certain() -> None:
    """A server that does not speak TLS never saw the request."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sent: list[int] = []
    with pytest.raises(ConnectError, match="TLS"):
        await send(f"https://127.0.0.1:{port}", PURCHASE, on_sent=lambda: sent.append(1))
    server.close()
    assert sent == []


async def test_a_connection_that_is_never_made_is_certain() -> None:
    """A connect timeout, here by a TLS handshake that nobody answers, was not executed."""

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConnectError, match="in time"):
            await send(f"https://127.0.0.1:{port}", PURCHASE, timeout=0.1)


async def test_waiting_for_the_pool_is_certain() -> None:
    """A request that never got a connection from the caller's full pool was not executed."""
    server = Server(silence)
    connector = aiohttp.TCPConnector(limit=1)
    async with server.running() as url, aiohttp.ClientSession(connector=connector) as session:
        transport = AiohttpTransport(url, session=session)
        first = asyncio.create_task(transport.send(STATUS, key=KEY, timeout=5))
        await server.arrived.wait()
        with pytest.raises(ConnectError, match="in time"):
            await transport.send(PURCHASE, key=KEY, timeout=0.05)
        first.cancel()
        await asyncio.wait({first})
    assert len(server.requests) == 1


async def test_a_cancelled_caller_knows_whether_it_was_sent() -> None:
    """Cancellation passes, after ``on_sent`` if the request may have left, without it if not."""
    server = Server(silence)
    sent: list[int] = []
    async with server.running() as url:
        task = asyncio.create_task(send(url, PURCHASE, on_sent=lambda: sent.append(1)))
        await server.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sent == [1]
        early = asyncio.create_task(send(url, PURCHASE, on_sent=lambda: sent.append(2)))
        await asyncio.sleep(0)
        early.cancel()
        with pytest.raises(asyncio.CancelledError):
            await early
        assert sent == [1]


async def test_a_closed_transport_sends_nothing() -> None:
    """After `aclose`, and with a session that is closed, nothing is sent, and that is certain."""
    transport = AiohttpTransport("http://127.0.0.1:9")
    await transport.aclose()
    with pytest.raises(ConnectError, match="closed") as caught:
        await transport.send(STATUS, key=KEY, timeout=1)
    assert not caught.value.retryable
    session = aiohttp.ClientSession()
    await session.close()
    with pytest.raises(ConnectError, match="closed"):
        await send("http://127.0.0.1:9", session=session)


def test_a_second_event_loop_is_refused(free_port: int) -> None:
    """A transport that is used in two event loops says so instead of hanging."""
    transport = AiohttpTransport(f"http://127.0.0.1:{free_port}")

    async def use(*, close: bool) -> None:
        with pytest.raises(ConnectError, match="two event loops" if close else "No connection"):
            await transport.send(STATUS, key=KEY, timeout=1)
        if close:
            await transport.aclose()

    asyncio.run(use(close=False))
    asyncio.run(use(close=True))


# Size and compression ----------------------------------------------------------------------------


async def test_a_huge_body_is_not_read() -> None:
    """Of 100 MB the limit is read, and the connection closed; the head is still an answer."""
    written = 0

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: bytes) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(1_000):
            writer.write(b"x" * 100_000)
            await writer.drain()
            written += 100_000

    async with Server(flood).running() as url:
        got = await send(url, max_answer_bytes=100_000)
    assert got.defect is Defect.TOO_LARGE
    assert len(got.body) == 100_000
    assert written < 50_000_000


async def test_a_gzip_bomb_is_not_blown_up() -> None:
    """A small body that would decompress to 50 MB is refused at the limit."""
    bomb = gzip.compress(b"\0" * 50_000_000)
    async with Server(answer(bomb, "Content-Encoding: gzip")).running() as url:
        got = await send(url, max_answer_bytes=100_000)
    assert got.defect is Defect.TOO_LARGE
    assert len(got.body) == 100_000


@pytest.mark.parametrize(
    ("body", "encoding", "plain", "defect"),
    [
        (gzip.compress(b"{}", mtime=0), "gzip", b"{}", None),
        (gzip.compress(b"{}", mtime=0), "X-GZIP", b"{}", None),
        (zlib.compress(b"{}"), "deflate", b"{}", None),
        (b"{}", "identity", b"{}", None),
        (gzip.compress(b"{}", mtime=0)[:-9], "gzip", b"{}", Defect.LOST),
        (b"{}", "gzip", b"", Defect.UNREADABLE),
        (b"{}", "br", b"", Defect.UNREADABLE),
    ],
)
async def test_compression(body: bytes, encoding: str, plain: bytes, defect: Defect | None) -> None:
    """Compression is not asked for, but understood where a proxy does it anyway."""
    server = Server(answer(body, f"Content-Encoding: {encoding}"))
    async with server.running() as url:
        got = await send(url)
    assert (got.body, got.defect) == (plain, defect)
    assert b"Accept-Encoding: identity" in server.requests[0]


def test_inflate_stops_at_the_limit() -> None:
    """Exactly the limit is whole; one byte more is too large."""
    assert inflate(gzip.compress(b"x" * 10), "gzip", 10) == (b"x" * 10, None)
    assert inflate(gzip.compress(b"x" * 11), "gzip", 10) == (b"x" * 10, Defect.TOO_LARGE)


# Settings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://papsms.com/api/v1/", "https://papsms.com/api/v1/"),
        ("https://papsms.com/api/v1", "https://papsms.com/api/v1/"),
        (" https://papsms.com ", "https://papsms.com/"),
        ("http://localhost:8085", "http://localhost:8085/"),
        ("http://127.8.9.1", "http://127.8.9.1/"),
        ("http://[::1]:8085/x", "http://[::1]:8085/x/"),
    ],
)
def test_base_urls(given: str, url: str) -> None:
    """HTTPS anywhere, HTTP to loopback; a slash at the end is added."""
    assert check_base_url(given) == url
    assert AiohttpTransport(given, trust_env=False).base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "papsms.com",
        "ftp://papsms.com",
        "http://papsms.com",
        "http://localhost.papsms.com",
        "http://127.0.0.1.papsms.com",
        "http://127.0.0.1@papsms.com",
        "https://user:hidden@papsms.com",
        "https://papsms.com/?a=1",
        "https://papsms.com/#x",
        "https://",
        "https://papsms.com:99999",
        "http://[::1",
        None,
        7,
    ],
)
def test_bad_base_urls(url: str) -> None:
    """What would send the key unencrypted, or can't be a base, is refused; no password shows."""
    with pytest.raises(ConfigurationError) as caught:
        AiohttpTransport(url)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "a\nb", "a\r\nX: y", "a b", "clé", "a\0"])
async def test_a_key_that_cannot_be_sent_is_refused(key: str) -> None:
    """A key with a line break or another impossible character never gets near a header."""
    with pytest.raises(ConfigurationError) as caught:
        await AiohttpTransport("http://127.0.0.1:9").send(STATUS, key=key, timeout=1)
    assert not key or key not in str(caught.value)


def test_proxies_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTPS_PROXY and NO_PROXY are honoured, loopback is always direct, nonsense is refused."""
    monkeypatch.setenv("https_proxy", "http://user:pass@proxy.example:3128")
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "direct.example")
    assert proxy_for("https://papsms.com/") == URL("http://user:pass@proxy.example:3128")
    assert proxy_for("https://direct.example/") is None
    assert proxy_for("http://127.0.0.1/") is None
    monkeypatch.setenv("https_proxy", "proxy.example:3128")
    assert proxy_for("https://papsms.com/") == URL("http://proxy.example:3128")
    monkeypatch.delenv("https_proxy")
    assert proxy_for("https://papsms.com/") is None
    for nonsense in ("socks5://user:hidden@proxy.example", "http://[::1"):
        monkeypatch.setenv("https_proxy", nonsense)
        with pytest.raises(ConfigurationError) as caught:
            proxy_for("https://papsms.com/")
        assert "hidden" not in str(caught.value)


async def test_a_proxy_is_used_and_its_refusal_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    """An HTTPS request asks the proxy for a tunnel; the key is not in what the proxy sees."""
    server = Server(cut(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"))
    async with server.running() as url:
        monkeypatch.setenv("https_proxy", url.removesuffix("/api/v1"))
        sent: list[int] = []
        with pytest.raises(ConnectError, match="proxy"):
            await send("https://service.example", PURCHASE, on_sent=lambda: sent.append(1))
    assert server.heads == ["CONNECT service.example:443 HTTP/1.1"]
    assert KEY.encode() not in server.requests[0]
    assert sent == []


async def test_a_proxy_that_hangs_up_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tunnel, no request; the next try may find the proxy well."""
    server = Server(hang_up)
    async with server.running() as url:
        monkeypatch.setenv("https_proxy", url.removesuffix("/api/v1"))
        with pytest.raises(ConnectError) as caught:
            await send("https://service.example", PURCHASE)
    assert caught.value.retryable
    assert len(server.requests) == 1


# Sessions that are no real ones ------------------------------------------------------------------


async def test_a_mocked_session_answers(mocked_aiohttp: aioresponses) -> None:
    """With aioresponses an answer comes back, and ``on_sent`` is called though not traced."""
    mocked_aiohttp.post(
        "https://papsms.com/api/v1/numbers/purchase", status=402, payload={"success": False}
    )
    sent: list[int] = []
    got = await send("https://papsms.com/api/v1", PURCHASE, on_sent=lambda: sent.append(1))
    assert (got.status, got.body, sent) == (402, b'{"success": false}', [1])


async def test_a_cancelled_mocked_attempt_counts_as_sent(mocked_aiohttp: aioresponses) -> None:
    """Where nothing is traced, nobody knows; so it may have been sent."""
    waiting = asyncio.Event()

    async def never(*_: object, **__: object) -> None:
        waiting.set()
        await asyncio.Event().wait()

    mocked_aiohttp.post("https://papsms.com/numbers/purchase", callback=never)
    sent: list[int] = []
    task = asyncio.create_task(send("https://papsms.com", PURCHASE, on_sent=lambda: sent.append(1)))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sent == [1]


async def test_a_certificate_that_is_not_trusted_is_certain(mocked_aiohttp: aioresponses) -> None:
    """It was not executed, and trying again is no help."""
    raised = aiohttp.ClientConnectorCertificateError(
        Mock(host="papsms.com", port=443, is_ssl=True), ssl.SSLCertVerificationError("no")
    )
    mocked_aiohttp.post("https://papsms.com/numbers/purchase", exception=raised)
    with pytest.raises(ConnectError, match="certificate of papsms") as caught:
        await send("https://papsms.com", PURCHASE)
    assert not caught.value.retryable


async def test_a_request_that_aiohttp_refuses_is_certain() -> None:
    """A session whose settings don't allow the request sends nothing, and says so at once."""

    async def refuse(*_: object) -> None:
        raise RuntimeError("hidden")

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_start.append(refuse)
    async with aiohttp.ClientSession(trace_configs=[trace]) as session:
        with pytest.raises(ConnectError, match="RuntimeError") as caught:
            await send("http://127.0.0.1:9", PURCHASE, session=session)
    assert not caught.value.retryable
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("raised", "expected", "calls"),
    [
        (aiohttp.ServerDisconnectedError(), AnswerLostError, [1]),
        (TimeoutError(), AnswerLostError, [1]),
        (RuntimeError("bug"), AnswerLostError, [1]),
        (ConnectionResetError(), AnswerLostError, [1]),
        (aiohttp.ConnectionTimeoutError(), ConnectError, []),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_mocked_failure_is_unknown_unless_it_says_otherwise(
    mocked_aiohttp: aioresponses,
    raised: Exception,
    expected: type[TransportError],
    calls: list[int],
) -> None:
    """Where nothing is traced, only an exception about the connection is certain."""
    mocked_aiohttp.post("https://papsms.com/numbers/purchase", exception=raised)
    sent: list[int] = []
    with pytest.raises(expected) as caught:
        await send("https://papsms.com", PURCHASE, on_sent=lambda: sent.append(1))
    assert sent == calls
    assert caught.value.__context__ is None
