"""The public contract as a type checker sees it: checked, never run."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import assert_type

from papsms_async import (
    Activation,
    ActivationManager,
    ActivationStatus,
    Budget,
    Country,
    Decision,
    LiveActivation,
    ManagerStatistics,
    Outcome,
    PapSMSClient,
    PapSMSError,
    Priority,
    RateLimit,
    Sms,
    VerificationEvent,
    VerificationRequest,
    VerificationResult,
    WebhookListener,
    WebhookReceiver,
    WebhookStatistics,
    new_webhook_secret,
    webhook_app,
    webhook_asgi,
)


async def new_key() -> str:
    """Return a key."""
    return "key"


async def sign_up(activation: LiveActivation) -> int:
    """Use a number."""
    assert_type(activation.phone_number, str)
    assert_type(activation.cost, Decimal)
    assert_type(activation.expires_at, datetime)
    assert_type(activation.token, str)
    activation.mark_requested()
    sms = await activation.wait_for_sms()
    assert_type(sms, Sms)
    assert_type(sms.code, str | None)
    return 1


async def bare_client() -> None:
    """The endpoints."""
    async with PapSMSClient(new_key, rate_limit=RateLimit(60, per=60.0), timeout=10) as client:
        activation = await client.purchase("whatsapp", "us")
        assert_type(activation, Activation)
        assert_type(await client.status(activation.activation_id), ActivationStatus)
        await client.complete(activation.activation_id)
        await client.cancel(activation.activation_id)
        await client.finish(activation.activation_id, "completed")
        assert_type(await client.countries(), tuple[Country, ...])


async def managed(receiver: WebhookReceiver) -> None:
    """Blocks, single verifications, bulk, events."""
    async with (
        PapSMSClient() as client,
        ActivationManager(
            client,
            max_in_flight=10,
            sms_timeout=60,
            database="sqlite:///papsms.db",
            budget=Budget(20, "0.8"),
            tenant_weights={"t": 2.0},
            webhook=receiver,
        ) as manager,
    ):
        urgent = Priority.INTERACTIVE
        async with manager.activate("whatsapp", "us", priority=urgent) as activation:
            assert_type(activation, LiveActivation)
        result = await manager.verify("whatsapp", flow=sign_up, fallbacks=["gb"])
        assert_type(result, VerificationResult)
        assert_type(result.outcome, Outcome)
        request = VerificationRequest("whatsapp", "us", tenant="t", priority="bulk")
        assert_type(request.priority, Priority | None)
        async for each in manager.run([request], flow=sign_up, priority="bulk"):
            assert_type(each, VerificationResult)
        async for event in manager.events():
            assert_type(event, VerificationEvent)
            assert_type(event.decision, Decision | None)
        assert_type(manager.statistics(), ManagerStatistics)
        assert_type(manager.statistics().webhooks, WebhookStatistics | None)
        await manager.recover()


async def webhooks() -> None:
    """A receiver and the ways to put it on a network."""
    secret = new_webhook_secret()
    receiver = WebhookReceiver(
        [secret, new_webhook_secret()],
        trust="payload",
        signing_secrets="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        allowed=["203.0.113.0/24"],
        proxies=["10.0.0.1"],
    )
    assert_type(receiver.path, str)
    webhook_app(receiver)
    webhook_asgi(receiver, database="sqlite:///papsms.db")
    async with WebhookListener(receiver, "127.0.0.1", 8086) as listener:
        assert_type(listener.url, str)
    await managed(receiver)


def on_error(error: PapSMSError) -> str:
    """Errors carry typed attributes."""
    assert_type(error.retryable, bool)
    assert_type(error.retry_after, float | None)
    return error.public_message
