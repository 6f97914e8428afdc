"""Twilio's own package sends an application's SMS to virtual numbers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from importlib.util import find_spec
from typing import Any

import pytest

from papsms_async import ActivationManager, PapSMSClient, RateLimit
from papsms_async.sandbox import SandboxConfig, SandboxEngine
from papsms_async.sandbox.server import SandboxServer

ACCOUNT = "AC" + "a" * 32
SENDER = "+15005550006"


@pytest.fixture
def needs() -> None:
    """The test needs twilio; with ``PAPSMS_REQUIRE_TWILIO`` it must be there."""
    if find_spec("twilio") is None and os.environ.get("PAPSMS_REQUIRE_TWILIO") != "1":
        pytest.skip("needs pip install 'papsms-async[conformance]'")


@pytest.fixture
async def server(needs: None) -> AsyncIterator[SandboxServer]:
    """Serve a sandbox that sends no SMS by itself."""
    engine = SandboxEngine(SandboxConfig(limit="none", sms_delay="never"))
    async with SandboxServer(engine) as running:
        yield running


@pytest.fixture
async def twilio(server: SandboxServer) -> AsyncIterator[Callable[..., Any]]:
    """Return a function that calls the package in a thread, as a synchronous application does.

    The base URL is all that an application changes.
    """
    from twilio.rest import Client

    client: Any = Client(ACCOUNT, "token")
    client.api.base_url = server.url

    async def call(what: Callable[[Any], Any]) -> Any:
        return await asyncio.to_thread(what, client)

    yield call
    await asyncio.to_thread(client.http_client.session.close)


async def test_an_application_signs_up(server: SandboxServer, twilio: Any) -> None:
    """The whole way: a number is bought, the application texts it, the manager has the code."""

    async def flow(activation: Any) -> str | None:
        to = activation.phone_number
        text = "Acme: 847-291 is your code. It expires in 10 minutes."
        sent = await twilio(lambda c: c.messages.create(to=to, from_=SENDER, body=text))
        assert sent.status == "queued"
        sms = await activation.wait_for_sms()
        assert sms.full_text == text
        return str(sms.code)

    async with (
        PapSMSClient(
            "sandbox", base_url=server.base_url, rate_limit=RateLimit(600, per=60.0)
        ) as client,
        ActivationManager(client) as manager,
        asyncio.timeout(15),
    ):
        result = await manager.verify("acme", "us", flow=flow)
    assert result.value == "847291"
    assert result.outcome == "completed"


async def test_what_the_package_makes_of_a_message(server: SandboxServer, twilio: Any) -> None:
    """The package understands the answer, finds the message again, and lists it."""
    number = "+14155550123"
    service = "MG" + "c" * 32
    sent = await twilio(
        lambda c: c.messages.create(
            to=number,
            messaging_service_sid=service,
            body="Code 4711",
            status_callback="https://acme.example/sms",
        )
    )
    assert (sent.status, sent.messaging_service_sid) == ("accepted", service)
    assert isinstance(sent.date_created, datetime)
    later = await twilio(lambda c: c.messages(sent.sid).fetch())
    assert (later.status, later.error_code, later.body) == ("undelivered", 30005, "Code 4711")
    for n in range(3):
        text = f"Code {n}000"
        await twilio(lambda c, text=text: c.messages.create(to=number, from_="Acme", body=text))
    listed = await twilio(lambda c: c.messages.list(to=number, page_size=2))
    assert [m.body for m in listed] == ["Code 2000", "Code 1000", "Code 0000", "Code 4711"]


async def test_what_the_package_makes_of_a_refusal(twilio: Any) -> None:
    """A refusal is the package's own exception, with code and status."""
    from twilio.base.exceptions import TwilioRestException

    with pytest.raises(TwilioRestException) as caught:
        await twilio(lambda c: c.messages.create(to="Acme", from_=SENDER, body="Code 4711"))
    assert (caught.value.code, caught.value.status) == (21211, 400)
    with pytest.raises(TwilioRestException) as caught:
        await twilio(lambda c: c.messages("SM" + "0" * 32).fetch())
    assert (caught.value.code, caught.value.status) == (20404, 404)


# The package asks for a certificate store in a way that aiohttp has given up.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_the_asynchronous_client(server: SandboxServer) -> None:
    """The package's asynchronous client works as well."""
    from twilio.http.async_http_client import AsyncTwilioHttpClient
    from twilio.rest import Client

    async with AsyncTwilioHttpClient() as http_client:
        client: Any = Client(ACCOUNT, "token", http_client=http_client)
        client.api.base_url = server.url
        sent = await client.messages.create_async(to="+14155550123", from_=SENDER, body="Code 4711")
    assert sent.status == "queued"
    [kept] = server.engine.mailbox
    assert kept.sid == sent.sid
