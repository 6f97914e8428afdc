"""The receiver mounted in web applications: aiohttp.web, Starlette, and bare ASGI."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from starlette.applications import Starlette
from starlette.routing import Mount

from papsms_async.errors import LedgerError
from papsms_async.ledger import open_ledger
from papsms_async.ledger.inbox import MemoryInbox
from papsms_async.testing import virtual_time
from papsms_async.webhook.aiohttp_app import webhook_app
from papsms_async.webhook.asgi import webhook_asgi
from papsms_async.webhook.receiver import WebhookReceiver

JSON = ((b"content-type", b"application/json"),)


@pytest.fixture
def inbox() -> MemoryInbox:
    """An empty inbox."""
    return MemoryInbox(lambda _: False)


@pytest.fixture
def receiver(secret: str, inbox: MemoryInbox) -> WebhookReceiver:
    """A receiver that is attached."""
    receiver = WebhookReceiver(secret)
    receiver.attach(inbox)
    return receiver


# aiohttp.web -------------------------------------------------------------------------------------


@pytest.fixture
async def client(receiver: WebhookReceiver) -> Any:
    """A client of an aiohttp application that has other routes, too."""

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    app.add_subapp("/webhooks/", webhook_app(receiver))
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_aiohttp_takes_a_webhook(client, inbox, secret, make_body):
    """Under the mount's path and the secret; the rest of the application is untouched."""
    answer = await client.post(f"/webhooks/{secret}", data=make_body(), headers=_json())
    assert answer.status == 200
    assert await answer.json() == {"received": True}
    assert len(await inbox.entries()) == 1
    assert await (await client.get("/")).text() == "hello"


async def test_aiohttp_answers_all_who_lack_the_secret_alike(client, inbox, secret, make_body):
    """Byte for byte, but for the date."""
    seen = set()
    for path in ("", "x", f"{secret}/", f"{secret}x", f"x/{secret}", "%00", "%2F" + secret):
        for method in ("POST", "GET", "PUT", "OPTIONS"):
            answer = await client.request(
                method, f"/webhooks/{path}", data=make_body(), headers=_json()
            )
            headers = {k: v for k, v in answer.headers.items() if k != "Date"}
            seen.add((answer.status, await answer.read(), tuple(sorted(headers.items()))))
    assert len(seen) == 1
    assert next(iter(seen))[0] == 404
    assert await inbox.entries() == ()


async def test_aiohttp_bounds_a_body_whatever_it_announces(client, inbox, secret):
    """Chunked bodies have no length; the rest of them is not read."""

    async def endless():
        while True:
            yield b" " * 1024
            await asyncio.sleep(0)

    try:
        answer = await client.post(f"/webhooks/{secret}", data=endless(), headers=_json())
        assert answer.status == 413
    except aiohttp.ClientConnectionError:
        pass  # it was closed in the middle of the body
    answer = await client.post(f"/webhooks/{secret}", data=b" " * 20_000, headers=_json())
    assert answer.status == 413
    assert await inbox.entries() == ()


async def test_aiohttp_refuses_compressed_bodies(client, inbox, secret, make_body):
    """Before anything is unpacked."""
    headers = {**_json(), "Content-Encoding": "gzip"}
    answer = await client.post(f"/webhooks/{secret}", data=make_body(), headers=headers)
    assert answer.status == 415


@pytest.mark.parametrize(
    ("method", "status"), [("GET", 405), ("HEAD", 405), ("OPTIONS", 405), ("DELETE", 405)]
)
async def test_aiohttp_takes_only_post(client, secret, method, status):
    """With the secret one is told so."""
    answer = await client.request(method, f"/webhooks/{secret}")
    assert answer.status == status
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize(("known", "statuses"), [(True, [b"100", b"200"]), (False, [b"404"])])
async def test_aiohttp_asks_for_a_body_once_and_only_if_it_is_wanted(
    client, secret, make_body, known, statuses
):
    """Who sends ``Expect: 100-continue`` is told to go on when the head is admitted."""
    body = make_body()
    path = secret if known else "wrong"
    head = (
        f"POST /webhooks/{path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(head.encode() + body)
    answers = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    assert re.findall(rb"HTTP/1\.1 (\d{3}) ", answers) == statuses


def _json() -> dict[str, str]:
    return {"Content-Type": "application/json"}


# ASGI --------------------------------------------------------------------------------------------


async def ask(
    app: Any,
    path: str,
    *parts: bytes,
    method: str = "POST",
    headers: Any = JSON,
    client: Any = ("203.0.113.7", 4711),
    root_path: str = "",
    hang: bool = False,
    **more: Any,
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Send a request to an ASGI application, its body in ``parts``; return what it sends back."""
    messages: Iterator[dict[str, Any]] = iter(
        {"type": "http.request", "body": part, "more_body": hang or number < len(parts) - 1}
        for number, part in enumerate(parts)
    )
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        for message in messages:
            return message
        if hang:
            await asyncio.sleep(1e6)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "root_path": root_path,
        "query_string": b"",
        "headers": list(headers),
        "client": client,
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "asgi": {"version": "3.0"},
        **more,
    }
    await app(scope, receive, send)
    if not sent:
        return 0, {}, b""
    start, body = sent
    return start["status"], dict(start["headers"]), body["body"]


@virtual_time
async def test_asgi_takes_a_webhook(receiver, inbox, secret, make_body):
    """In one part or in many, with an empty last one."""
    app = webhook_asgi(receiver)
    body = make_body()
    for parts in ((body,), (body[:10], body[10:]), (body, b"")):
        status, headers, answer = await ask(app, f"/{secret}", *parts)
        assert status == 200
        assert json.loads(answer) == {"received": True}
        assert headers[b"content-length"] == str(len(answer)).encode()
    (entry,) = await inbox.entries()
    assert entry.copies == 3


@virtual_time
async def test_asgi_mounted_in_starlette(receiver, inbox, secret, make_body):
    """Mounted, and mounted in what is mounted; the paths around it are Starlette's."""
    inner = Starlette(routes=[Mount("/webhooks", webhook_asgi(receiver))])
    outer = Starlette(routes=[Mount("/api", inner)])
    for app, path in ((inner, "/webhooks"), (outer, "/api/webhooks")):
        assert (await ask(app, f"{path}/{secret}", make_body()))[0] == 200
        wrong = {
            (await ask(app, f"{path}/{end}", make_body()))[0::2]
            for end in ("", "x", f"x/{secret}", f"{secret}/")
        }
        assert len(wrong) == 1
        assert next(iter(wrong))[0] == 404
    assert len(await inbox.entries()) == 1


@pytest.mark.parametrize(
    ("path", "root_path"),
    [("/hooks/SECRET", "/hooks"), ("/SECRET", "/hooks"), ("/hooks/SECRET", "/hooks/")],
)
@virtual_time
async def test_asgi_path_with_and_without_the_mount(receiver, secret, make_body, path, root_path):
    """Servers differ in whether the path has the mount's in front."""
    path = path.replace("SECRET", secret)
    app = webhook_asgi(receiver)
    assert (await ask(app, path, make_body(), root_path=root_path))[0] == 200


@virtual_time
async def test_asgi_refuses_before_it_reads(receiver, secret):
    """Nothing of a body is asked for where the head is wrong."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def no_receive() -> Any:
            raise AssertionError("the body was asked for")

        await webhook_asgi(receiver)(scope, no_receive, send)

    assert (await ask(app, "/wrong"))[0] == 404
    assert (await ask(app, f"/{secret}", headers=()))[0] == 415
    status, headers, _ = await ask(app, f"/{secret}", method="GET")
    assert status == 405
    assert headers[b"allow"] == b"POST"
    assert headers[b"connection"] == b"close"
    _, headers, _ = await ask(app, f"/{secret}", method="GET", http_version="2")
    assert b"connection" not in headers
    twice = (*JSON, (b"Content-Type", b"text/plain"))
    assert (await ask(app, f"/{secret}", headers=twice))[0] == 400
    assert (await ask(app, f"/{secret}", headers=(*JSON, (b"content-encoding", b"br"))))[0] == 415


@virtual_time
async def test_asgi_bounds_size_and_time_of_a_body(receiver, inbox, secret, make_body):
    """Too large is seen while it comes; too slow ends after the time for it."""
    app = webhook_asgi(receiver)
    assert (await ask(app, f"/{secret}", *[b" " * 1000] * 50))[0] == 413
    before = asyncio.get_running_loop().time()
    assert (await ask(app, f"/{secret}", b"{", hang=True))[0] == 408
    assert asyncio.get_running_loop().time() - before == 10
    assert await inbox.entries() == ()


@virtual_time
async def test_asgi_sender_that_hangs_up_gets_no_answer(receiver, inbox, secret):
    """Half a webhook is none."""
    assert (await ask(webhook_asgi(receiver), f"/{secret}"))[0] == 0
    assert await inbox.entries() == ()


@virtual_time
async def test_asgi_without_a_peer(receiver, secret, make_body):
    """Behind a Unix socket nobody has an address."""
    assert (await ask(webhook_asgi(receiver), f"/{secret}", make_body(), client=None))[0] == 200


@virtual_time
async def test_asgi_closes_websockets(receiver):
    """Nobody talks to it in another way."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await webhook_asgi(receiver)({"type": "websocket", "path": "/"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1000}]


async def _live(app: Any, body: Any) -> list[str]:
    """Run the lifespan protocol around ``body``; return what the application said."""
    sent: list[str] = []
    started, stop = asyncio.Event(), asyncio.Event()
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Any:
        if len(messages) == 1:
            await stop.wait()
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])
        started.set()

    task = asyncio.create_task(app({"type": "lifespan"}, receive, send))
    await started.wait()
    await body()
    stop.set()
    await task
    return sent


async def test_asgi_by_itself_keeps_a_ledger_for_its_lifetime(secret, make_body, tmp_path):
    """As a server's only application it opens the database and closes it; others read it."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    app = webhook_asgi(WebhookReceiver(secret), database=url)

    async def body() -> None:
        assert (await ask(app, f"/{secret}", make_body()))[0] == 200

    assert (await ask(app, f"/{secret}", make_body()))[0] == 503
    assert await _live(app, body) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert (await ask(app, f"/{secret}", make_body()))[0] == 503
    ledger = open_ledger(url)
    await ledger.open()
    assert len(await ledger.inbox.entries()) == 1
    await ledger.aclose()


async def test_asgi_lifespan_without_a_ledger_of_its_own(receiver, secret, make_body):
    """A manager opened the ledger; the server's beginning and end change nothing."""
    app = webhook_asgi(receiver)

    async def body() -> None:
        assert (await ask(app, f"/{secret}", make_body()))[0] == 200

    assert await _live(app, body) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    await body()


async def _lifespan(app: Any, *messages: str) -> list[Any]:
    """Send these messages; return all that the application answers, once it has ended."""
    waiting = [{"type": f"lifespan.{message}"} for message in messages]
    sent: list[Any] = []

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    async with asyncio.timeout(10):
        await app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    assert waiting == []
    return sent


@pytest.mark.parametrize(
    ("database", "why"),
    [("sqlite:///{folder}", "is not a file"), ("mysql://x/y", "sqlite:///")],
)
async def test_asgi_tells_the_server_that_the_ledger_can_not_be_used(
    secret, tmp_path, database, why
):
    """The server then does not start, and says what to do."""
    app = webhook_asgi(WebhookReceiver(secret), database=database.format(folder=tmp_path))
    [answer] = await _lifespan(app, "startup")
    assert answer["type"] == "lifespan.startup.failed"
    assert why in answer["message"]


async def test_asgi_tells_the_server_that_the_receiver_is_taken(
    receiver, secret, make_body, inbox, tmp_path
):
    """One that a manager has can't have a ledger of its own; the manager keeps it."""
    path = tmp_path / "ledger.db"
    app = webhook_asgi(receiver, database=f"sqlite:///{path}")
    [answer] = await _lifespan(app, "startup")
    assert answer == {
        "type": "lifespan.startup.failed",
        "message": "The webhook receiver can't start: This receiver belongs to a manager already;"
        " each manager needs one of its own.",
    }
    assert (await ask(app, f"/{secret}", make_body()))[0] == 200
    assert len(await inbox.entries()) == 1
    # Its ledger was closed again: nothing holds the file.
    free = webhook_asgi(WebhookReceiver(secret), database=f"sqlite:///{path}")
    assert [one["type"] for one in await _lifespan(free, "startup", "shutdown")] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


async def test_asgi_tells_the_server_of_anything_else(secret, monkeypatch, caplog):
    """Also of what nobody foresaw: its kind to the server, the rest to the log."""

    def broken(_: object) -> None:
        raise OSError("s3cret detail")

    monkeypatch.setattr("papsms_async.webhook.asgi.open_ledger", broken)
    app = webhook_asgi(WebhookReceiver(secret), database="sqlite:///x.db")
    assert await _lifespan(app, "startup") == [
        {
            "type": "lifespan.startup.failed",
            "message": "The webhook receiver can't start: OSError; the log has more.",
        }
    ]
    assert "s3cret detail" in caplog.text


async def test_asgi_tells_the_server_that_it_could_not_close(secret, tmp_path):
    """The ledger is closed whatever the receiver has to say, and the server hears of it."""
    receiver = WebhookReceiver(secret)
    url = f"sqlite:///{tmp_path}/ledger.db"

    async def stuck() -> None:
        raise LedgerError("the disk is gone")

    receiver.on_detach(stuck)
    started, stopped = await _lifespan(webhook_asgi(receiver, database=url), "startup", "shutdown")
    assert started["type"] == "lifespan.startup.complete"
    assert stopped["type"] == "lifespan.shutdown.failed"
    assert stopped["message"].endswith("could not close its ledger: the disk is gone")
    assert "detached" in repr(receiver)
    ledger = open_ledger(url)
    await ledger.open()
    await ledger.aclose()


async def test_asgi_closes_where_the_server_says_nothing_more(secret, make_body, tmp_path):
    """A server that cancels the lifespan ends it like one that says so."""
    receiver = WebhookReceiver(secret)
    app = webhook_asgi(receiver, database=f"sqlite:///{tmp_path}/ledger.db")
    started = asyncio.Event()

    async def receive() -> Any:
        if started.is_set():
            await asyncio.Event().wait()
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        started.set()

    task = asyncio.create_task(app({"type": "lifespan"}, receive, send))
    await started.wait()
    assert (await ask(app, f"/{secret}", make_body()))[0] == 200
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await ask(app, f"/{secret}", make_body()))[0] == 503
    assert "detached" in repr(receiver)


async def test_asgi_does_not_take_what_it_does_not_know(receiver):
    """As the specification asks: a scope of another type is an error, not silence."""
    with pytest.raises(ValueError, match="telepathy"):
        await webhook_asgi(receiver)({"type": "telepathy"}, None, None)
