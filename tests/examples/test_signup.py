"""The sign-up of an application, tried from end to end: its own SMS, its own pages, no network."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from papsms_async import RateLimit, new_webhook_secret
from papsms_async.sandbox import ChargeKind, SandboxConfig, SandboxEngine, WebhookConfig
from papsms_async.sandbox.server import SandboxServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

Serve = Callable[[Callable[[str], Any]], Awaitable[str]]


async def check(
    engine: SandboxEngine,
    serve: Serve,
    browser: Any,
    *,
    times: int = 1,
    sender: str = "+15005550006",
    sms_timeout: float = 20.0,
) -> list[tuple[int, dict[str, Any]]]:
    """Let a monitor check an application, both with the sandbox around them.

    Args:
        engine: Is PapSMS to the monitor and Twilio to the application.
        serve: Serves both.
        browser: The monitor's browser.
        times: How many checks at once.
        sender: As whom the application sends its SMS.
        sms_timeout: Seconds that the monitor waits for one.

    Returns:
        Status and body of the monitor's answers.
    """
    from signup_monitor import signup_monitor
    from signup_service import signup_service

    secret = new_webhook_secret()
    async with SandboxServer(engine) as sandbox:
        application_url = await serve(
            lambda _: signup_service(
                sandbox.url, account="AC" + "0" * 32, token="any", sender=sender
            )
        )
        monitor_url = await serve(
            lambda _: signup_monitor(
                application_url,
                browser,
                webhook_secret=secret,
                sms_timeout=sms_timeout,
                api_key="sandbox",
                base_url=sandbox.base_url,
                rate_limit=RateLimit(6000, 60),
            )
        )
        # The account's setting, made in the web at PapSMS.
        engine.set_webhook(WebhookConfig(url=f"{monitor_url}/webhooks/{secret}"))
        async with aiohttp.ClientSession() as session:

            async def one() -> tuple[int, dict[str, Any]]:
                async with session.post(f"{monitor_url}/checks") as answer:
                    return answer.status, await answer.json()

            return await asyncio.gather(*(one() for _ in range(times)))


def sandbox() -> SandboxEngine:
    """Return a sandbox whose numbers receive nothing but what the application sends."""
    return SandboxEngine(SandboxConfig(limit="6000/60s", sms_delay="never"))


async def test_a_sign_up_that_works(serve: Serve, browser: Any) -> None:
    """Five people sign up at once, each with the code that the application sent to their number."""
    engine = sandbox()
    answers = await check(engine, serve, browser, times=5)
    assert [status for status, _ in answers] == [200] * 5
    assert {answer["outcome"] for _, answer in answers} == {"completed"}
    assert all(
        "is your code for the Corner Shop" in a.sms_text for a in engine.activations.values()
    )
    assert engine.finish_counts() == dict.fromkeys(engine.activations, 1)
    # A purchase, one look that confirms the webhook, and a finish each; the looks that are made
    # while nothing comes are few.
    assert engine.counted_requests <= 5 * 4


async def test_a_sign_up_that_is_broken(serve: Serve, browser: Any) -> None:
    """Where the application's provider refuses its SMS the check says so; nothing is paid for."""
    engine = sandbox()
    ((status, answer),) = await check(
        engine, serve, browser, sender="no sender at all", sms_timeout=0.5
    )
    assert (status, answer["outcome"]) == (502, "timed_out")
    kinds = [charge.kind for charge in engine.charge_log]
    assert kinds == [ChargeKind.PURCHASE, ChargeKind.CANCEL, ChargeKind.REFUND]
