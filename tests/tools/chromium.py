"""A real browser for tests: Chromium without a window, driven by Playwright.

Tests are skipped where one of them is not installed; ``PAPSMS_REQUIRE_CHROMIUM=1`` makes that an
error.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.async_api import Browser

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
NAMES = ("chromium-headless-shell", "chromium")
"""What it may be installed as; the first is the same engine without what draws windows, and takes
half of the processor time."""
PATIENCE = 10_000
"""Milliseconds after which what a test waits for counts as missing."""


def need(*modules: str) -> None:
    """Skip the test where Chromium or one of these modules is not installed."""
    absent = [name for name in ("playwright", *modules) if find_spec(name) is None]
    if _path() is None:
        absent.append(f"Chromium (on Debian: apt-get install {NAMES[0]})")
    if absent and os.environ.get("PAPSMS_REQUIRE_CHROMIUM") != "1":
        pytest.skip(f"needs pip install '.[browser]'; not installed: {', '.join(absent)}")


@contextlib.asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """Run Chromium with an empty profile; every name below ``.example`` is this machine."""
    from playwright.async_api import async_playwright, expect

    expect.set_options(timeout=PATIENCE)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=_path(), args=OPTIONS)
        yield browser
        await browser.close()


def _path() -> str | None:
    """Return where it is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)
