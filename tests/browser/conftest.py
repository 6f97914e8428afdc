"""A real browser: Chromium without a window, driven by Playwright; one for all tests of a module.

Skipped where Chromium or Playwright is not installed; ``PAPSMS_REQUIRE_CHROMIUM=1`` makes that an
error.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from papsms_async.sandbox import SandboxConfig, SandboxEngine
from papsms_async.sandbox.server import SandboxServer

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.example 127.0.0.1",
]
PATIENCE = 5_000
"""Milliseconds after which what a test waits for counts as missing."""

Visit = Callable[..., Awaitable["Page"]]


def _missing() -> str | None:
    if importlib.util.find_spec("playwright") is None:
        return "Playwright is not installed: pip install '.[browser]'"
    if shutil.which("chromium") is None:
        return "Chromium is not installed: on Debian, apt-get install chromium"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests here where there is no browser, or fail where there must be one."""
    why = _missing()
    if why is None:
        return
    if os.environ.get("PAPSMS_REQUIRE_CHROMIUM") == "1":
        raise pytest.UsageError(f"PAPSMS_REQUIRE_CHROMIUM=1, but: {why}")
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.skip(reason=why))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Chromium with an empty profile; every name below ``.example`` is this machine."""
    from playwright.async_api import async_playwright, expect

    expect.set_options(timeout=PATIENCE)
    async with async_playwright() as playwright:
        found = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=OPTIONS
        )
        yield found
        await found.close()


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
        # The browser itself notes each refusal of a request, also one that a test provokes.
        unasked = lambda said: not said.text.startswith("Failed to load resource")  # noqa: E731
        home = url.partition("/#")[0]
        if strict:
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda said: complaints.append(said.text) if unasked(said) else None)
            page.on(
                "request",
                lambda asked: (
                    None if asked.url.startswith(home) else complaints.append(f"asked {asked.url}")
                ),
            )
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
