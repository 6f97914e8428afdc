"""The README's web applications as they stand, against a sandbox that posts to them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from papsms_async.sandbox import SandboxConfig, SandboxEngine
from papsms_async.sandbox.server import SandboxServer
from papsms_async.sandbox.webhook_config import WebhookConfig

README = Path(__file__).resolve().parents[2] / "README.md"


def example(word: str) -> dict[str, Any]:
    """Run the README's example that imports ``word``, and return its names."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (block,) = (block for block in blocks if f", {word}\n" in block)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(block, str(README), "exec"), names)  # noqa: S102 - our own README
    return names


@pytest.fixture
async def sandbox(monkeypatch, tmp_path, secret) -> Any:
    """A sandbox for clients that are made without arguments, in a directory of its own."""
    engine = SandboxEngine(SandboxConfig(sms_delay="fixed:0.2", limit="none"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAPSMS_API_KEY", "sandbox")
    monkeypatch.setenv("PAPSMS_WEBHOOK_SECRET", secret)
    async with SandboxServer(engine) as server:
        monkeypatch.setenv("PAPSMS_BASE_URL", server.base_url)
        yield engine


@pytest.mark.skipif(not README.exists(), reason="the README is not beside the tests")
async def test_aiohttp_example(sandbox, secret):
    """The service posts to the mounted receiver, and the manager's flow gets the SMS by it."""
    names = example("webhook_app")
    async with TestServer(names["app"]) as server:
        url = str(server.make_url(f"/webhooks/{secret}"))
        sandbox.set_webhook(WebhookConfig(url=url))
        manager = names["app"][names["manager"]]
        result = await asyncio.wait_for(manager.verify("whatsapp"), 20)
        assert result.ok
        assert manager.statistics().webhooks.announced == 1
    assert not sandbox.open_activations()
    assert [one.status for one in sandbox.webhooks.log] == [200]


async def serve(app: Any, work: Callable[[str], Awaitable[None]]) -> None:
    """Be the server of an ASGI application while ``work`` is done, which gets its URL."""

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": request.method,
            "path": request.path,
            "root_path": "",
            "query_string": b"",
            "headers": [(k.lower(), v) for k, v in request.raw_headers],
            "client": ("127.0.0.1", 1),
        }
        await app(scope, receive, send)
        return web.Response(status=sent[0]["status"], body=sent[1]["body"])

    outer = web.Application()
    outer.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(outer) as server:
        await work(str(server.make_url("/webhooks/")))


@pytest.mark.skipif(not README.exists(), reason="the README is not beside the tests")
async def test_starlette_example(sandbox, secret):
    """The same, mounted in Starlette; its lifespan opens and closes the manager."""
    app = example("webhook_asgi")["app"]

    async def verify(url: str) -> None:
        sandbox.set_webhook(WebhookConfig(url=url + secret))
        result = await asyncio.wait_for(app.state.manager.verify("whatsapp"), 20)
        assert result.ok
        assert app.state.manager.statistics().webhooks.announced == 1

    async with app.router.lifespan_context(app):
        await serve(app, verify)
    assert not sandbox.open_activations()
    assert [one.status for one in sandbox.webhooks.log] == [200]
