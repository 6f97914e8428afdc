"""The listener on a real socket: what a hostile network can send, and what it costs."""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from papsms_async.ledger.inbox import MemoryInbox
from papsms_async.webhook import aiohttp_app, listener
from papsms_async.webhook.listener import WebhookListener
from papsms_async.webhook.receiver import WebhookReceiver


@pytest.fixture
def inbox() -> MemoryInbox:
    """An empty inbox."""
    return MemoryInbox(lambda _: False)


@pytest.fixture
async def listening(secret: str, inbox: MemoryInbox) -> AsyncIterator[WebhookListener]:
    """A listener on a free port."""
    receiver = WebhookReceiver(secret)
    receiver.attach(inbox)
    async with WebhookListener(receiver) as listening:
        yield listening
    await receiver.detach()


async def say(listening: WebhookListener, *parts: bytes, wait: float = 0.0) -> bytes:
    """Send ``parts`` over one connection and return all that comes until it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
    came = bytearray()

    async def read() -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(65536):
                came.extend(chunk)

    reading = asyncio.create_task(read())
    with suppress(ConnectionError):
        for part in parts:
            writer.write(part)
            await writer.drain()
            if wait:
                await asyncio.sleep(wait)
    await asyncio.wait_for(reading, 10)
    writer.close()
    return bytes(came)


def post(path: str, body: bytes, *lines: str, length: bool = True) -> bytes:
    """Return a request as it goes over the wire."""
    head = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", *lines]
    if length:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + body


def statuses(answers: bytes) -> list[int]:
    """Return the statuses of the answers, one after another."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


async def test_takes_webhooks_one_after_another(listening, inbox, secret, make_body):
    """Connections are kept for the next one, also where they come without waiting."""
    close = post(f"/{secret}", make_body(activation_id="3"), "Connection: close")
    together = b"".join(post(f"/{secret}", make_body(activation_id=one)) for one in ("1", "2"))
    assert statuses(await say(listening, together, close)) == [200, 200, 200]
    assert [entry.event.activation_id for entry in await inbox.entries()] == ["1", "2", "3"]
    assert listening.url == f"http://127.0.0.1:{listening.port}/{secret}"


async def test_expectations_are_met(listening, secret, make_body):
    """Who asks whether the body is wanted is told so, if it is."""
    request = post(f"/{secret}", make_body(), "Expect: 100-continue", "Connection: close")
    assert statuses(await say(listening, request)) == [100, 200]
    request = post("/wrong", make_body(), "Expect: 100-continue", "Connection: close")
    assert statuses(await say(listening, request)) == [404]


async def test_refusals_without_the_secret_are_alike_and_close(listening, secret):
    """Whatever was asked for, and the connection is not kept for more guesses."""
    seen = set()
    for request in (
        post("/wrong", b"{}"),
        post("/", b""),
        post(f"/{secret}x", b"{}"),
        post(f"/{secret}/", b"{}"),
        post(f"/x/../{secret}x", b"{}"),
        post("/wrong", b"x" * 1_000_000),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PUT /a/b/c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
    ):
        answer = await say(listening, request)
        seen.add(b"\r\n".join(ln for ln in answer.split(b"\r\n") if not ln.startswith(b"Date")))
    seen.discard(b"")  # a large body may be reset before its answer is read
    assert len(seen) == 1
    assert statuses(seen.pop()) == [404]


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"POST /SECRET HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
        b"POST /SECRET HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: application/json\r\n\r\n0\r\n\r\nPOST /SECRET HTTP/1.1\r\n\r\n",
        b"POST /SECRET HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, x\r\n\r\n",
        b"POST /SECRET HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n",
        b"POST /SECRET HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"POST /SECRET HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100_000 + b"\r\n\r\n",
        b"POST /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /SECRET HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /SECRET HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 10\r\nContent-Type: text/plain\r\n\r\n0123456789",
    ],
)
async def test_what_two_readers_may_read_differently_is_refused(
    listening, inbox, secret, caplog, request_
):
    """Smuggled lengths, broken chunks, endless heads: refused, closed, and not logged."""
    caplog.set_level(logging.INFO)
    answer = await say(listening, request_.replace(b"SECRET", secret.encode()))
    assert all(status >= 400 for status in statuses(answer))
    assert await inbox.entries() == ()
    assert secret not in caplog.text
    assert "Traceback" not in caplog.text


async def test_body_is_bounded_while_it_comes(listening, inbox, secret):
    """A chunked body without end gets its answer after 16 KiB."""
    head = post(f"/{secret}", b"", "Transfer-Encoding: chunked", length=False)
    chunk = b"1000\r\n" + b" " * 0x1000 + b"\r\n"
    assert statuses(await say(listening, head, *[chunk] * 5)) in ([413], [])
    assert await inbox.entries() == ()


async def test_packed_body_is_not_unpacked(listening, inbox, secret):
    """A bomb stays packed."""
    bomb = gzip.compress(b" " * 10_000_000)[:16_000]
    answer = await say(listening, post(f"/{secret}", bomb, "Content-Encoding: gzip"))
    assert statuses(answer) in ([415], [])
    assert await inbox.entries() == ()


@pytest.mark.parametrize("start", [b"", b"POST /", b"POST / HTTP/1.1\r\nA: b\r\n"])
async def test_head_has_to_come_in_time(secret, inbox, monkeypatch, start):
    """Whoever dribbles a head is cut off, be it the first of the connection or the next."""
    monkeypatch.setattr(listener, "HEAD_TIMEOUT", 0.1)
    receiver = WebhookReceiver(secret)
    receiver.attach(inbox)
    async with WebhookListener(receiver) as listening:
        dribble = [b"a"] * 30 if start else []
        loop = asyncio.get_running_loop()
        before = loop.time()
        answer = await say(listening, start, *dribble, wait=0.02)
        assert statuses(answer) in ([], [400])
        assert loop.time() - before < 2.0
        # After an answer the same holds for the next head on that connection.
        ok = post(f"/{secret}", b'{"id": "1"}')
        assert statuses(await say(listening, ok, b"POST /", *dribble, wait=0.02))[:1] == [200]
        assert loop.time() - before < 4.0


async def test_body_has_to_come_in_time(secret, inbox, monkeypatch):
    """Whoever dribbles a body is told so and cut off."""
    monkeypatch.setattr(aiohttp_app, "BODY_TIMEOUT", 0.1)
    receiver = WebhookReceiver(secret)
    receiver.attach(inbox)
    async with WebhookListener(receiver) as listening:
        request = post(f"/{secret}", b"{", "Content-Length: 100", length=False)
        answer = await say(listening, request, *[b" "] * 20, wait=0.01)
        assert statuses(answer) in ([408], [])
    assert await inbox.entries() == ()


async def test_connections_are_bounded(secret, inbox, monkeypatch, make_body):
    """Those beyond are closed at once; when others leave there is room again."""
    monkeypatch.setattr(listener, "MOST_CONNECTIONS", 3)
    receiver = WebhookReceiver(secret)
    receiver.attach(inbox)
    async with WebhookListener(receiver) as listening:
        held = [await asyncio.open_connection("127.0.0.1", listening.port) for _ in range(3)]
        assert await say(listening, post(f"/{secret}", make_body())) == b""
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        request = post(f"/{secret}", make_body(), "Connection: close")
        async with asyncio.timeout(10):
            while not await say(listening, request):
                pass
    assert len(await inbox.entries()) == 1


async def test_closed_with_its_receiver(secret, inbox, make_body):
    """Detaching the receiver closes the listener first, so no sender is left without an answer."""
    receiver = WebhookReceiver(secret)
    receiver.attach(inbox)
    listening = WebhookListener(receiver)
    await listening.start()
    port = listening.port
    await receiver.detach()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    await listening.close()


async def test_nothing_secret_is_logged(listening, secret, make_body, caplog):
    """With all loggers open: no path, no number, no code."""
    caplog.set_level(logging.DEBUG)
    body = make_body(phone_number="+14155550123")
    await say(listening, post(f"/{secret}", body, "Connection: close"))
    await say(listening, post(f"/{secret}", body[:-1], "Connection: close"))
    logged = caplog.text + "".join(repr(vars(record)) for record in caplog.records)
    for word in (secret, "847291", "4155550123", "WhatsApp code"):
        assert word not in logged
