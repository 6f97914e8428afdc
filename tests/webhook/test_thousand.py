"""A thousand verifications at once by webhooks that are lost, copied, late and forged."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from papsms_async import EventKind, Outcome, RateLimit, WebhookReceiver, new_webhook_secret
from papsms_async.sandbox import SandboxConfig, SandboxEngine
from papsms_async.sandbox.webhook_config import WebhookConfig
from papsms_async.sandbox.webhook_posts import PostKind, WebhookPost
from papsms_async.sandbox.webhook_sender import WebhookCourier
from papsms_async.testing import virtual_time
from papsms_async.testing.memory_transport import MemoryService, now_of_loop
from papsms_async.webhook.core import WebhookRequest

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FAULTS = (
    "loss@0.05,duplicate=2@0.1,reorder@0.1,late=0-10@0.1,replay=30@0.05,"
    "forged_code@0.1,forged_id@0.05,forged_path@0.05"
)
COUNT = 1000


@pytest.mark.parametrize(
    ("trust", "signed", "most"),
    [("payload", True, 2.2), ("confirm", False, 3.2)],
    ids=["payload", "confirm"],
)
@virtual_time
async def test_each_result_is_right_and_no_forged_code_is_taken(
    trust: str, signed: bool, most: float
) -> None:
    """Every SMS that came in time is delivered once, with its own code, for few requests.

    Forgers know the secret of the path, and the ids; where signatures are asked for they have none
    or wrong ones. Without signatures their codes are not told apart, so nothing is believed.
    """
    secret = new_webhook_secret()
    service = MemoryService(
        SandboxEngine(
            SandboxConfig(
                limit="100000/60s",
                sms_delay="lognormal:12/0.8,never:0.08",
                balance="100000",
                webhook=WebhookConfig(
                    url=f"http://127.0.0.1/{secret}", faults=FAULTS, secret=KEY if signed else None
                ),
            ),
            seed=7,
        )
    )
    engine = service.engine
    receiver = WebhookReceiver(secret, trust=trust, signing_secrets=KEY if signed else ())

    async def carry(post: WebhookPost) -> int:
        await asyncio.sleep(0.05)
        request = WebhookRequest(
            method="POST",
            path="/" + post.url.rpartition("/")[2],
            headers=tuple(post.headers.items()),
            peer="127.0.0.1",
        )
        answer = receiver.admit(request) or await receiver.receive(request, post.body)
        return answer.status

    told: Counter[EventKind] = Counter()
    async with (
        service.client(rate_limit=RateLimit(100_000, 60)) as client,
        service.manager(client, webhook=receiver, max_in_flight=COUNT) as manager,
    ):
        manager.subscribe(lambda event: told.update([event.kind]))
        courier = WebhookCourier(engine, carry, clock=now_of_loop)
        posting = asyncio.create_task(courier.run())
        results = [result async for result in manager.run(["whatsapp"] * COUNT)]
        posting.cancel()
        assert manager.statistics().webhooks.coming
    for result in results:
        bought = engine.activations[result.activation.activation_id]
        in_time = bought.sms_at is not None and bought.sms_at < bought.bought_at + 119
        if result.outcome is Outcome.COMPLETED:
            assert (result.sms.code, result.sms.full_text) == (bought.sms_code, bought.sms_text)
        else:
            assert result.outcome is Outcome.TIMED_OUT
            assert not in_time
    outcomes = Counter(result.outcome for result in results)
    assert outcomes.total() == COUNT
    assert outcomes[Outcome.COMPLETED] > 850
    assert told[EventKind.SMS_RECEIVED] == outcomes[Outcome.COMPLETED]
    assert told[EventKind.WEBHOOKS_SILENT] == 0
    assert engine.open_activations() == []
    assert max(engine.finish_counts().values()) == 1
    assert engine.counted_requests / COUNT <= most
    # A service in which nothing goes wrong would pass as well.
    posts = Counter(post.kind for post in engine.webhooks.log)
    for kind in PostKind:
        assert posts[kind] > 20, kind
