"""No API key, phone number, code or message text gets out by a log, a repr or a traceback."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import socket
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aioresponses import aioresponses
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

import papsms_async.transport
from papsms_async.endpoint import Secret
from papsms_async.errors import ConfigurationError, PapSMSError
from papsms_async.protocol import (
    WireAnswer,
    WireRequest,
    purchase_request,
    read_purchase,
    read_status,
    status_request,
)
from papsms_async.transport import AiohttpTransport

KEY = "canary-key-b7c1e0"
NUMBER = "+14155550123"
CODE = "847291"
TEXT = "Your secret word is QWERTY"
SECRETS = (KEY, NUMBER, NUMBER[1:], "4155550123", CODE, TEXT, "QWERTY")

PURCHASE = purchase_request("whatsapp", "us")
STATUS = status_request("1")
PACKAGE = str(Path(papsms_async.transport.__file__).parent)


@asynccontextmanager
async def serving(sent: bytes, *, close: bool = True) -> AsyncIterator[str]:
    """Answer every request with ``sent``; without any, hang up."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(sent)
            if not close:
                await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        if tasks:
            await asyncio.wait(tasks)


def told(error: BaseException) -> str:
    """Return all that an error may say: text, attributes, pickle, chain, and our frames' locals."""
    parts = [str(error), repr(error), repr(vars(error)), repr(pickle.dumps(error))]
    seen: list[BaseException] = [error]
    for one in seen:
        parts += [str(one), repr(one)]
        seen += [
            linked
            for linked in (one.__cause__, one.__context__)
            if linked is not None and linked not in seen
        ]
        frames = traceback.StackSummary.extract(
            traceback.walk_tb(one.__traceback__), capture_locals=True
        )
        parts += [str(frame.locals) for frame in frames if frame.filename.startswith(PACKAGE)]
    return "\n".join(parts)


def assert_silent(text: str, *secrets: str) -> None:
    """Fail if ``text`` holds a secret."""
    for secret in secrets or SECRETS:
        assert secret not in text


def free_port() -> int:
    """Return a port on loopback on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Return what was logged, with all loggers and the event loop in debug mode."""
    caplog.set_level(logging.DEBUG)
    for name in ("asyncio", "aiohttp", "aiohttp.client", "papsms_async"):
        caplog.set_level(logging.DEBUG, logger=name)

    def logged() -> str:
        return caplog.text + "".join(repr(vars(record)) for record in caplog.records)

    return logged


@pytest.mark.parametrize("request_", [PURCHASE, STATUS], ids=["purchase", "status"])
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 401 No\r\nContent-Length: 40\r\n\r\nkey: " + KEY.encode(),
    ],
    ids=["hang-up", "half-head", "nonsense", "bad-length", "bad-chunk", "echo"],
)
async def test_failures_never_tell_the_key(
    sent: bytes, request_: WireRequest, everything_logged: Callable[[], str]
) -> None:
    """Whatever breaks, neither error, chain, frames nor logs hold the key."""
    asyncio.get_running_loop().set_debug(True)
    async with serving(sent) as url:
        transport = AiohttpTransport(url)
        said = repr(transport)
        try:
            answer = await transport.send(request_, key=KEY, timeout=2)
            said += repr(answer)
            read_purchase(answer, service="whatsapp", country="us")
        except PapSMSError as error:
            said += told(error)
        else:
            pytest.fail("nothing failed")
        await transport.aclose()
    assert_silent(said)
    assert_silent(everything_logged())


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_connect_errors_never_tell_the_key(
    scheme: str, everything_logged: Callable[[], str]
) -> None:
    """A connection that is not made keeps the key to itself, too."""
    asyncio.get_running_loop().set_debug(True)
    transport = AiohttpTransport(f"{scheme}://127.0.0.1:{free_port()}")
    with pytest.raises(PapSMSError) as caught:
        await transport.send(PURCHASE, key=KEY, timeout=2)
    await transport.aclose()
    assert_silent(told(caught.value) + everything_logged())


async def test_a_cancelled_attempt_shows_no_key_in_our_frames() -> None:
    """The traceback of a cancelled caller goes through our frames; their locals hide the key."""
    async with serving(b"", close=False) as url:
        transport = AiohttpTransport(url)
        left = asyncio.Event()
        task = asyncio.create_task(transport.send(PURCHASE, key=KEY, timeout=5, on_sent=left.set))
        await left.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        await transport.aclose()
    said = told(caught.value)
    assert "Secret('***')" in said
    assert_silent(said, KEY)


async def test_aiohttps_own_error_would_tell_the_key(mocked_aiohttp: aioresponses) -> None:
    """The canary sings: aiohttp's error holds the header, and nothing of it gets out."""
    headers = CIMultiDictProxy(CIMultiDict({"Authorization": f"Bearer {KEY}"}))
    url = URL("https://papsms.com/numbers/purchase")
    theirs = aiohttp.ClientResponseError(
        aiohttp.RequestInfo(url, "POST", headers, url), (), status=500
    )
    assert KEY in repr(theirs)
    mocked_aiohttp.post(url, exception=theirs)
    transport = AiohttpTransport("https://papsms.com")
    with pytest.raises(PapSMSError) as caught:
        await transport.send(PURCHASE, key=KEY, timeout=2)
    await transport.aclose()
    assert_silent(told(caught.value))


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY} x", f"{KEY}é"])
async def test_an_impossible_key_is_not_shown(key: str) -> None:
    """A key with a line break is refused without being told."""
    with pytest.raises(ConfigurationError) as caught:
        await AiohttpTransport("https://papsms.com").send(PURCHASE, key=key, timeout=2)
    assert_silent(told(caught.value))


def test_a_secret_hides_in_reprs_only() -> None:
    """A `Secret` is its text everywhere but in a repr."""
    secret = Secret(KEY)
    assert f"{secret}" == KEY == str(secret)
    assert KEY not in repr(secret) + repr([secret])


@pytest.mark.parametrize("cut", [None, 60, 120, 160])
def test_bad_answers_never_tell_what_they_hold(cut: int | None) -> None:
    """An answer that can't be used may hold a number, a code and a text: none is told."""
    data = {
        "activation_id": "77",
        "phone_number": NUMBER,
        "sms": {"code": CODE, "full_text": TEXT},
        "cost": -1,
    }
    body = json.dumps({"success": True, "data": data}).encode()[:cut]
    answer = WireAnswer(200, {}, body)
    with pytest.raises(PapSMSError) as bought:
        read_purchase(answer, service="whatsapp", country="us")
    assert_silent(repr(answer) + str(bought.value) + repr(vars(bought.value)))
    with pytest.raises(PapSMSError) as asked:
        read_status(WireAnswer(500, {}, body))
    assert_silent(str(asked.value) + repr(vars(asked.value)))


def test_good_answers_show_nothing_in_their_reprs() -> None:
    """The values themselves hide number, code and text in their reprs."""
    sms = {"code": CODE, "full_text": TEXT, "received_at": "2026-04-19T14:35:22Z"}
    body = json.dumps({"success": True, "data": {"status": "received", "sms": sms}}).encode()
    status = read_status(WireAnswer(200, {}, body))
    assert status.sms is not None
    assert status.sms.code == CODE
    assert_silent(repr(status))
