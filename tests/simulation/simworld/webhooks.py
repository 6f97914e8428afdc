"""The service's webhooks, and those of forgers, on their way to the manager's receiver."""

from __future__ import annotations

import asyncio
from random import Random

from papsms_async import WebhookReceiver
from papsms_async.sandbox import SandboxEngine, WebhookConfig
from papsms_async.sandbox.webhook_posts import WebhookPost
from papsms_async.sandbox.webhook_sender import WebhookCourier
from papsms_async.webhook.core import WebhookRequest

from .plan import Plan
from .trace import Trace

_SECRET = "the-secret-of-the-path-in-all-worlds"
_KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_EPOCH = 1_767_225_600.0


def webhook_config(plan: Plan) -> WebhookConfig | None:
    """Return how the plan's service posts."""
    hooks = plan.hooks
    if hooks is None:
        return None
    key = _KEY if hooks.signed else None
    return WebhookConfig(url=f"http://127.0.0.1/{_SECRET}", secret=key, faults=hooks.faults)


def make_receiver(plan: Plan) -> WebhookReceiver | None:
    """Return what takes the plan's webhooks."""
    hooks = plan.hooks
    if hooks is None:
        return None
    keys = _KEY if hooks.signed else ()
    return WebhookReceiver(_SECRET, trust=hooks.trust, signing_secrets=keys)  # type: ignore[arg-type]


def post_webhooks(
    plan: Plan, engine: SandboxEngine, receiver: WebhookReceiver, trace: Trace
) -> asyncio.Task[None]:
    """Begin to post; a post may take its time there, and its answer back."""
    loop = asyncio.get_running_loop()
    rng = Random(f"posts {plan.seed}")

    async def carry(post: WebhookPost) -> int:
        await asyncio.sleep(plan.up.draw(rng))
        request = WebhookRequest(
            method="POST",
            path="/" + post.url.rpartition("/")[2],
            headers=tuple(post.headers.items()),
            peer="127.0.0.1",
        )
        answer = receiver.admit(request) or await receiver.receive(request, post.body)
        trace.note("webhook", post.kind.value, post.activation_id, answer.status)
        await asyncio.sleep(plan.down.draw(rng))
        return answer.status

    courier = WebhookCourier(engine, carry, clock=lambda: _EPOCH + loop.time())
    return asyncio.create_task(courier.run(), name="webhooks of the service")
