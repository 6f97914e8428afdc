"""The three requests of a lifecycle by bare aiohttp, against which the package is measured."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import attrs

from papsms_async import RateLimit
from papsms_async.endpoint import COMMON_HEADERS

UNLIMITED = RateLimit(1_000_000_000, per=1.0)


@attrs.frozen
class Calls:
    """One client's three requests."""

    purchase: Callable[[], Awaitable[str]]
    status: Callable[[str], Awaitable[str | None]]
    finish: Callable[[str], Awaitable[None]]


def code_in(data: dict[str, Any]) -> str | None:
    """Return the code in a status, ``None`` while there is none."""
    sms = data["sms"]
    return None if sms is None else str(sms["code"])


def open_session(key: str, *, force_close: bool = False) -> aiohttp.ClientSession:
    """Return a session with this package's headers, and no bound on connections."""
    return aiohttp.ClientSession(
        headers={**COMMON_HEADERS, "Authorization": f"Bearer {key}"},
        connector=aiohttp.TCPConnector(limit=0, force_close=force_close),
    )


def bare(
    base_url: str,
    pooled: aiohttp.ClientSession,
    buying: aiohttp.ClientSession,
    *,
    service: str = "whatsapp",
) -> Calls:
    """Return the requests of bare aiohttp, decoded by ``json``.

    Args:
        base_url: The service's address.
        pooled: Makes status calls and finishes.
        buying: Makes purchases.
        service: What is bought.
    """

    async def purchase() -> str:
        wanted = {"country": "us", "service": service}
        async with buying.post(f"{base_url}numbers/purchase", json=wanted) as answer:
            bought: str = (await answer.json())["data"]["activation_id"]
            return bought

    async def status(activation_id: str) -> str | None:
        async with pooled.get(f"{base_url}numbers/status/{activation_id}") as answer:
            return code_in((await answer.json())["data"])

    async def finish(activation_id: str) -> None:
        url, body = f"{base_url}numbers/finish/{activation_id}", {"status": "completed"}
        async with pooled.post(url, json=body) as answer:
            assert (await answer.json())["success"]

    return Calls(purchase, status, finish)


async def lifecycle(calls: Calls) -> None:
    """Buy, look, finish."""
    activation_id = await calls.purchase()
    assert await calls.status(activation_id)
    await calls.finish(activation_id)


async def repeat(act: Callable[[], Awaitable[None]], times: int, *, at_once: int) -> None:
    """Do something so many times, so many of them at once."""
    left = iter(range(times))

    async def line() -> None:
        for _ in left:
            await act()

    await asyncio.gather(*(line() for _ in range(at_once)))
