"""Webhooks carried out: over real sockets to receivers of somebody else, and in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from papsms_async.sandbox import (
    NoAnswer,
    PostKind,
    SandboxConfig,
    SandboxEngine,
    SandboxRequest,
    WebhookConfig,
    WebhookPost,
)
from papsms_async.sandbox.server import SandboxServer
from papsms_async.sandbox.webhook_sender import MOST_AT_ONCE, WebhookSender
from papsms_async.testing import MemoryWebhooks, virtual_time
from papsms_async.testing.memory_transport import now_of_loop

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
PURCHASE = SandboxRequest(
    "POST",
    "/api/v1/numbers/purchase",
    {"Authorization": "Bearer sandbox"},
    b'{"country": "us", "service": "test-instant"}',
)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Receiver:
    """Receives webhooks on loopback and keeps them; what it answers is the test's affair."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.arrived = asyncio.Event()
        self.answer: Handler = self._ok
        self.port = 0

    async def _ok(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=204)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Keep a request and answer it."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append((request.path_qs, headers, await request.read()))
        self.arrived.set()
        return await self.answer(request)

    async def wait(self, number: int) -> None:
        """Wait until so many requests have come."""
        async with asyncio.timeout(10):
            while len(self.received) < number:
                self.arrived.clear()
                await self.arrived.wait()

    def url(self, host: str = "127.0.0.1", path: str = "/hook/s3cret%2Fx") -> str:
        """Return a URL of this receiver."""
        return f"http://{host}:{self.port}{path}"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Serve a receiver."""
    made = Receiver()
    server = web.Server(made.handle)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    made.port = listener.sockets[0].getsockname()[1]
    yield made
    listener.close()
    await server.shutdown(0.05)


def engine_for(url: str, **webhook: Any) -> SandboxEngine:
    """Return an engine that posts there and retries soon."""
    config = WebhookConfig(url=url, **{"backoff": 0.01, **webhook})
    return SandboxEngine(SandboxConfig(limit="none", webhook=config))


async def settled(engine: SandboxEngine, entries: int) -> list[tuple[int, int | None]]:
    """Wait until so many posts have ended, and return attempt and status of each."""
    changed = asyncio.Event()
    unwatch = engine.watch(changed.set)
    async with asyncio.timeout(10):
        while len(engine.webhooks.log) < entries:
            changed.clear()
            await changed.wait()
    unwatch()
    return [(entry.attempt, entry.status) for entry in engine.webhooks.log]


async def buy(server: SandboxServer, number: int = 1, service: str = "test-instant") -> None:
    """Buy numbers over HTTP."""
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer sandbox"}) as session:
        for _ in range(number):
            body = {"country": "us", "service": service}
            async with session.post(server.base_url + "numbers/purchase", json=body) as answer:
                assert answer.status == 200


async def test_a_post_arrives(receiver: Receiver) -> None:
    """An SMS is posted to the URL as it is written, signed, as JSON, once."""
    engine = engine_for(receiver.url(), secret=SECRET)
    async with SandboxServer(engine) as server:
        await buy(server)
        assert await settled(engine, 1) == [(1, 204)]
    [(path, headers, body)] = receiver.received
    [activation] = engine.activations.values()
    assert path == "/hook/s3cret%2Fx"
    assert headers["content-type"] == "application/json"
    assert Webhook(SECRET).verify(body, headers) == {
        "activation_id": activation.activation_id,
        "code": activation.sms_code,
        "full_text": activation.sms_text,
    }


async def test_an_sms_that_comes_by_itself(receiver: Receiver) -> None:
    """No request is needed for a later SMS to be noticed and posted."""
    engine = engine_for(receiver.url())
    async with SandboxServer(engine) as server:
        await buy(server, service="test-delay-0.2")
        await receiver.wait(1)


async def test_localhost_is_this_machine(receiver: Receiver) -> None:
    """The name localhost leads to loopback without being looked up."""
    engine = engine_for(receiver.url("localhost"))
    async with SandboxServer(engine) as server:
        await buy(server)
        assert await settled(engine, 1) == [(1, 204)]


async def test_a_refusal_is_tried_again(receiver: Receiver) -> None:
    """Attempts go on until one is accepted."""
    statuses = iter([500, 404, 200])

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=next(statuses))

    receiver.answer = answer
    engine = engine_for(receiver.url())
    async with SandboxServer(engine) as server:
        await buy(server)
        assert await settled(engine, 3) == [(1, 500), (2, 404), (3, 200)]


async def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    """A redirect is an answer that is not 2xx and nothing more."""

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    receiver.answer = answer
    engine = engine_for(receiver.url(), attempts=2)
    async with SandboxServer(engine) as server:
        await buy(server)
        assert await settled(engine, 2) == [(1, 307), (2, 307)]
    assert {path for path, _, _ in receiver.received} == {"/hook/s3cret%2Fx"}


async def test_a_receiver_that_does_not_answer(receiver: Receiver) -> None:
    """A post without an answer is given up after its timeout, as is one that is cut off."""

    async def hang(_: web.BaseRequest) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def cut(request: web.BaseRequest) -> web.StreamResponse:
        receiver.answer = hang
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    receiver.answer = cut
    engine = engine_for(receiver.url(), attempts=2, timeout=0.1)
    async with SandboxServer(engine) as server:
        await buy(server)
        assert await settled(engine, 2) == [(1, None), (2, None)]
    assert [post.error for post in engine.webhooks.log] == [NoAnswer.BROKEN, NoAnswer.TIMED_OUT]


async def test_nobody_listens(receiver: Receiver) -> None:
    """A refused connection is a failed attempt like another."""
    engine = engine_for("http://127.0.0.1:1/x", attempts=2)
    async with SandboxServer(engine) as server:
        await buy(server)
        assert await settled(engine, 2) == [(1, None), (2, None)]
    assert [post.error for post in engine.webhooks.log] == [NoAnswer.REFUSED] * 2


async def test_an_endless_answer_is_not_read(receiver: Receiver) -> None:
    """Of an answer's body no more is taken than has come with its head."""
    sent = 0

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)
            sent += 65536

    receiver.answer = answer
    engine = engine_for(receiver.url())
    async with SandboxServer(engine) as server:
        await buy(server)
        assert await settled(engine, 1) == [(1, 200)]
    assert sent < 64 * 1024 * 1024


async def test_posts_at_the_same_time_are_bounded(receiver: Receiver) -> None:
    """However many SMS arrive at once, only so many posts are under way; all are made."""
    at_once = most = 0
    release = asyncio.Event()

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await release.wait()
        at_once -= 1
        return web.Response()

    receiver.answer = answer
    engine = engine_for(receiver.url())
    async with SandboxServer(engine) as server:
        await buy(server, 50)
        await receiver.wait(MOST_AT_ONCE)
        assert engine.webhooks.under_way == MOST_AT_ONCE
        release.set()
        assert await settled(engine, 50) == [(1, 200)] * 50
    assert most == MOST_AT_ONCE


async def test_no_name_is_looked_up() -> None:
    """Without permission to leave this machine no name but localhost means anything."""
    post = WebhookPost(1, PostKind.SMS, "1", 1, "http://example.com:9/x", {}, b"{}", 1.0)
    async with WebhookSender() as sender:
        assert await sender.carry(post) is NoAnswer.UNREACHABLE


async def test_the_control_api_over_http(receiver: Receiver) -> None:
    """The webhook is set, shown, changed and removed, and its log read, while it all runs."""
    engine = SandboxEngine(SandboxConfig(limit="none"))
    async with SandboxServer(engine) as server, aiohttp.ClientSession() as session:
        hook = server.url + "/_sandbox/webhook"
        async with session.get(hook) as answer:
            assert await answer.json() == {"webhook": None}
        async with session.put(hook, json={"url": receiver.url(), "secret": SECRET}) as answer:
            text = await answer.text()
            assert answer.status == 200
            assert "s3cret" not in text
            assert SECRET not in text
        async with session.put(hook, json={"faults": ["forged_id=0.1", "late=0.1"]}) as answer:
            shown = (await answer.json())["webhook"]
        assert shown == {
            "url": f"http://127.0.0.1:{receiver.port}/...",
            "signed": True,
            "faults": ["forged_id=0.1", "late=0.1"],
            "attempts": 5,
            "backoff": 1.0,
            "timeout": 10.0,
            "shape": "flat",
        }
        await buy(server)
        await settled(engine, 2)
        faults = server.url + "/_sandbox/webhook-faults"
        async with session.post(faults, json={"faults": "loss#9, late=0.1"}) as answer:
            now = (await answer.json())["webhook"]
            assert now == shown | {"faults": [*shown["faults"], "loss#9", "late=0.1"]}
        async with session.delete(faults, json={"faults": ["late=0.1"]}) as answer:
            now = (await answer.json())["webhook"]
            assert now["faults"] == ["forged_id=0.1", "loss#9", "late=0.1"]
        for wrong in (["reorder"], ["loss#9", "reorder"], ["reorder", "loss#9"]):
            async with session.delete(faults, json={"faults": wrong}) as answer:
                said = answer.status, await answer.json()
                assert said == (404, {"error": "not in force: reorder"})
        async with session.get(hook) as answer:
            assert (await answer.json())["webhook"]["faults"] == now["faults"]
        async with session.delete(faults) as answer:
            assert (await answer.json())["webhook"]["faults"] == []
        async with session.get(server.url + "/_sandbox/webhooks?last=2") as answer:
            text = await answer.text()
            entries = json.loads(text)["webhooks"]
        assert "s3cret" not in text
        assert {entry["kind"] for entry in entries} == {"sms", "forged_id"}
        for entry in entries:
            assert entry["forged"] == (entry["kind"] == "forged_id")
            assert (entry["status"], entry["attempt"], entry["duplicate"]) == (204, 1, False)
        async with session.delete(hook) as answer:
            assert await answer.json() == {"webhook": None}
        for method in ("POST", "DELETE"):
            async with session.request(method, faults, json={"faults": "loss"}) as answer:
                assert answer.status == 409
                assert "PUT /_sandbox/webhook" in (await answer.json())["error"]
        await buy(server)
        assert len(receiver.received) == 2


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({}, "url is missing"),
        ({"faults": "loss"}, "url is missing"),
        ({"url": "http://192.0.2.1/x"}, "--webhook-remote"),
        ({"url": "gopher://127.0.0.1/x"}, "webhook URL"),
        ({"url": 7}, "url is a string"),
        ({"url": "http://127.0.0.1/x", "faults": "lost"}, "known are loss"),
        ({"url": "http://127.0.0.1/x", "faults": 7}, "string or a list"),
        ({"url": "http://127.0.0.1/x", "retries": 7}, "no such field: 'retries'"),
        ({"url": "http://127.0.0.1/x", "attempts": 1.5}, "whole number"),
        ({"url": "http://127.0.0.1/x", "timeout": True}, "timeout is a number"),
        ({"url": "http://127.0.0.1/x", "timeout": 1e9}, "timeout of a webhook"),
        ({"url": "http://127.0.0.1/x", "secret": "x"}, "whsec_"),
        ({"url": "http://127.0.0.1/x", "shape": "xml"}, "xml"),
    ],
)
def test_what_the_control_api_refuses(body: object, why: str) -> None:
    """A wrong setting is refused with one sentence and changes nothing."""
    from papsms_async.sandbox import SandboxControl

    engine = SandboxEngine()
    raw = json.dumps(body).encode()
    reply = SandboxControl(engine).handle(
        SandboxRequest("PUT", "/_sandbox/webhook", {}, raw), 1_776_607_200.0
    )
    assert reply.status == (409 if why == "url is missing" else 400)
    assert why in json.loads(reply.body)["error"]
    assert engine.webhooks.config is None


@virtual_time
async def test_in_virtual_time() -> None:
    """In memory the posts are handed over when they are due, hours of them at once."""
    url = "http://127.0.0.1/x"
    config = SandboxConfig(
        limit="none", sms_delay="uniform:10-1000", webhook=WebhookConfig(url=url, faults="replay")
    )
    engine = SandboxEngine(config)
    posts: list[tuple[float, WebhookPost]] = []

    async def receive(post: WebhookPost) -> int:
        posts.append((now_of_loop(), post))
        await asyncio.sleep(0.5)
        return 200

    async with MemoryWebhooks(engine, receive):
        for _ in range(50):
            purchase = b'{"country": "us", "service": "whatsapp"}'
            engine.handle(
                SandboxRequest("POST", PURCHASE.path, PURCHASE.headers, purchase), now_of_loop()
            )
            await asyncio.sleep(1)
        await asyncio.sleep(7200)
    arrivals = {a.activation_id: a.sms_at for a in engine.activations.values()}
    told = {p.activation_id: at for at, p in posts if p.kind is PostKind.SMS}
    assert told == pytest.approx(arrivals)
    replays = {p.activation_id: at for at, p in posts if p.kind is PostKind.REPLAY}
    assert replays == pytest.approx({key: at + 600 for key, at in told.items()})
    assert [entry.took for entry in engine.webhooks.log] == pytest.approx([0.5] * 100)


@virtual_time
async def test_a_carrier_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """An error of whatever carries a post is no answer, and ends nothing else."""
    config = WebhookConfig(url="http://127.0.0.1/x", attempts=2)
    engine = SandboxEngine(SandboxConfig(webhook=config))

    async def receive(post: WebhookPost) -> int:
        if post.attempt == 1:
            raise RuntimeError("no")
        return 200

    async with MemoryWebhooks(engine, receive):
        engine.handle(PURCHASE, now_of_loop())
        await asyncio.sleep(60)
    assert [entry.status for entry in engine.webhooks.log] == [None, 200]
    assert "a webhook could not be posted" in caplog.text
