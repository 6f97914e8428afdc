"""A browser for all tests of a module, and what they look at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest_asyncio
from chromium import PATIENCE, launched, need

from papsms_async.sandbox import SandboxConfig, SandboxEngine
from papsms_async.sandbox.server import SandboxServer

if TYPE_CHECKING:
    from playwright.async_api import Browser, ConsoleMessage, Page, Request

Visit = Callable[..., Awaitable["Page"]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Chromium."""
    need()
    async with launched() as chromium:
        yield chromium


@pytest_asyncio.fixture(loop_scope="module")
async def visit(browser: Browser) -> AsyncIterator[Visit]:
    """Open addresses in fresh profiles, by options of `playwright.async_api.Browser.new_context`.

    At the end of the test no page may have asked another address than its own, broken its
    policy, or stumbled over an error of its own.
    """
    contexts: list[Any] = []
    complaints: list[str] = []

    async def open_page(url: str, *, strict: bool = True, **options: Any) -> Page:
        options.setdefault("viewport", {"width": 1280, "height": 800})
        context = await browser.new_context(**options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = await context.new_page()
        home = url.partition("/#")[0]

        def asked(request: Request) -> None:
            if not request.url.startswith(home):
                complaints.append(f"asked {request.url}")

        def said(message: ConsoleMessage) -> None:
            # The browser itself notes each refusal of a request, also one that a test provokes.
            if not message.text.startswith("Failed to load resource"):
                complaints.append(message.text)

        if strict:
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", said)
            page.on("request", asked)
        await page.goto(url)
        return page

    yield open_page
    for context in contexts:
        await context.close()
    assert complaints == []


@pytest_asyncio.fixture(loop_scope="module")
async def server() -> AsyncIterator[SandboxServer]:
    """A sandbox whose SMS never come by themselves."""
    engine = SandboxEngine(SandboxConfig(limit="6000/60s", sms_delay="never"), seed=7)
    async with SandboxServer(engine) as running:
        yield running
