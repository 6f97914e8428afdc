"""A service that tries an application's sign-up from end to end, each time somebody asks it to.

``POST /checks`` buys a number, signs up with it in a browser as a person would, and answers what
came of it. The code comes by webhook, so a check costs about three requests to PapSMS.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from playwright.async_api import Browser
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from papsms_async import (
    Activation,
    ActivationManager,
    PapSMSClient,
    WebhookReceiver,
    webhook_asgi,
)


def signup_monitor(
    application_url: str,
    browser: Browser,
    *,
    webhook_secret: str,
    sms_timeout: float = 120.0,
    **client_options: Any,
) -> Starlette:
    """Return the service.

    Args:
        application_url: Where the application is whose sign-up is tried.
        browser: What it is tried with.
        webhook_secret: Secret in the URL to which PapSMS posts: ``/webhooks/`` and this.
        sms_timeout: Seconds to wait for the code.
        **client_options: See `papsms_async.PapSMSClient`; none for the real PapSMS.
    """
    receiver = WebhookReceiver(webhook_secret)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with (
            PapSMSClient(**client_options) as client,
            ActivationManager(client, webhook=receiver, sms_timeout=sms_timeout) as manager,
        ):
            app.state.manager = manager
            yield

    async def sign_up(activation: Activation) -> str:
        page = await browser.new_page()
        try:
            await page.goto(application_url)
            await page.get_by_label("Phone number").fill(activation.phone_number)
            await page.get_by_role("button", name="Send me a code").click()
            activation.mark_requested()
            sms = await activation.wait_for_sms()
            await page.get_by_label("Code").fill(sms.code or "none was recognised")
            await page.get_by_role("button", name="Sign up").click()
            return await page.get_by_role("heading").inner_text()
        finally:
            await page.close()

    async def check(request: Request) -> JSONResponse:
        result = await request.app.state.manager.verify("other", "us", flow=sign_up)
        works = result.value == "Welcome"
        answer = {"works": works, "outcome": result.outcome, "cost": str(result.cost)}
        return JSONResponse(answer, status_code=200 if works else 502)

    routes = [
        Route("/checks", check, methods=["POST"]),
        Mount("/webhooks", webhook_asgi(receiver)),
    ]
    return Starlette(lifespan=lifespan, routes=routes)
