"""The manager with webhooks: each SMS once, whenever and wherever its webhook comes."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import pytest

from papsms_async import (
    ActivationManager,
    ConfigurationError,
    EventKind,
    LedgerError,
    RateLimit,
    Sms,
    SmsTimeoutError,
    State,
)
from papsms_async.delays import COLD_START
from papsms_async.hints import AGAIN
from papsms_async.ledger import MemoryLedger
from papsms_async.sandbox import SandboxConfig, SandboxEngine
from papsms_async.sandbox.webhook_config import WebhookConfig
from papsms_async.sandbox.webhook_posts import WebhookPost
from papsms_async.sandbox.webhook_sender import WebhookCourier
from papsms_async.silence import GRACE
from papsms_async.sparse import _cached
from papsms_async.testing import virtual_time
from papsms_async.testing.memory_transport import MemoryService, now_of_loop
from papsms_async.webhook.core import WebhookRequest
from papsms_async.webhook.receiver import WebhookReceiver, new_webhook_secret

SECRET = "a-secret-that-is-long-enough_1"


@attrs.frozen
class World:
    """A manager with a receiver, and the service that may post to it."""

    manager: ActivationManager
    receiver: WebhookReceiver
    service: MemoryService
    told: list[EventKind]

    @property
    def engine(self) -> SandboxEngine:
        """The service itself."""
        return self.service.engine

    def routes(self) -> Counter[str]:
        """Count the requests by route."""
        return Counter(one.route for one in self.engine.request_log)

    async def post(self, activation_id: str, **fields: Any) -> int:
        """Post a webhook as somebody who knows the secret; the true SMS unless told otherwise."""
        bought = self.engine.activations.get(activation_id)
        values = {
            "activation_id": activation_id,
            "code": None if bought is None else bought.sms_code,
            "full_text": "" if bought is None else bought.sms_text,
            **fields,
        }
        return await deliver(self.receiver, json.dumps(values).encode())


async def deliver(receiver: WebhookReceiver, body: bytes, path: str = f"/{SECRET}") -> int:
    """Hand a request to the receiver as an application does."""
    headers = (("Content-Type", "application/json"),)
    request = WebhookRequest(method="POST", path=path, headers=headers, peer="127.0.0.1")
    answer = receiver.admit(request) or await receiver.receive(request, body)
    return answer.status


Worlds = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture
def world() -> Worlds:
    """Return a maker of worlds; ``posts`` are the faults of the service's own webhooks."""

    @asynccontextmanager
    async def make(
        *,
        trust: str = "confirm",
        posts: str | None = None,
        manager: dict[str, Any] | None = None,
        **sandbox: Any,
    ) -> AsyncIterator[World]:
        sandbox.setdefault("limit", "6000/60s")
        sandbox.setdefault("sms_delay", "fixed:10")
        if posts is not None:
            sandbox["webhook"] = WebhookConfig(url=f"http://127.0.0.1/{SECRET}", faults=posts)
        service = MemoryService(SandboxEngine(SandboxConfig(**sandbox)))
        receiver = WebhookReceiver(SECRET, trust=trust)  # type: ignore[arg-type]

        async def carry(post: WebhookPost) -> int:
            await asyncio.sleep(0.05)
            return await deliver(receiver, post.body, "/" + post.url.rpartition("/")[2])

        courier = WebhookCourier(service.engine, carry, clock=now_of_loop)
        async with (
            service.client(rate_limit=RateLimit(6000, 60)) as client,
            service.manager(client, webhook=receiver, **(manager or {})) as managing,
        ):
            told: list[EventKind] = []
            managing.subscribe(lambda event: told.append(event.kind))
            posting = asyncio.create_task(courier.run())
            try:
                yield World(managing, receiver, service, told)
            finally:
                posting.cancel()
                await asyncio.wait({posting})

    return make


# One activation ----------------------------------------------------------------------------------


@virtual_time
async def test_hint_is_confirmed_by_one_status_call(world: Worlds) -> None:
    """Three requests a verification: purchase, the status that has the SMS, finish."""
    async with world(posts="") as w, w.manager.activate("whatsapp") as activation:
        sms = await activation.wait_for_sms()
        bought = w.engine.activations[activation.activation_id]
        assert (sms.code, sms.full_text) == (bought.sms_code, bought.sms_text)
        assert sms.received_at is not None
        waited = asyncio.get_running_loop().time()
        assert waited == pytest.approx(10.2, abs=0.2)
    assert w.routes() == {"purchase": 1, "status": 1, "finish": 1}
    assert w.told.count(EventKind.ANNOUNCED) == w.told.count(EventKind.SMS_RECEIVED) == 1


@virtual_time
async def test_trusted_payload_needs_no_status_call(world: Worlds) -> None:
    """Two requests a verification."""
    async with (
        world(trust="payload", posts="") as w,
        w.manager.activate("whatsapp") as activation,
    ):
        sms = await activation.wait_for_sms()
        bought = w.engine.activations[activation.activation_id]
        assert sms == Sms(code=bought.sms_code, full_text=bought.sms_text)
    assert w.routes() == {"purchase": 1, "finish": 1}


@virtual_time
async def test_forged_code_is_not_believed(world: Worlds) -> None:
    """Who knows the secret can make it ask, and nothing else; the true SMS comes as ever."""
    async with world(posts="") as w, w.manager.activate("whatsapp") as activation:
        waiter = asyncio.create_task(activation.wait_for_sms())
        await asyncio.sleep(3)
        assert await w.post(activation.activation_id, code="666666", full_text="forged") == 200
        await asyncio.sleep(1)
        assert not waiter.done()
        sms = await waiter
        assert sms.code == w.engine.activations[activation.activation_id].sms_code
    # A look at once, another a little later, and the one that was right.
    assert w.routes()["status"] == 3


@virtual_time
async def test_flood_of_forgeries_costs_few_polls(world: Worlds) -> None:
    """Further hints for the same activation are heard ever less often."""
    async with world(sms_delay="fixed:100") as w, w.manager.activate("whatsapp") as activation:
        waiter = asyncio.create_task(activation.wait_for_sms())
        for number in range(900):
            await asyncio.sleep(0.1)
            await w.post(activation.activation_id, code=f"{number:06d}", full_text="forged")
        assert w.routes()["status"] <= 12
        await waiter


@virtual_time
async def test_status_that_lags_behind_is_asked_again(world: Worlds) -> None:
    """A webhook may be quicker than the service's own status."""
    async with world(sms_delay="fixed:10") as w, w.manager.activate("whatsapp") as activation:
        waiter = asyncio.create_task(activation.wait_for_sms())
        await asyncio.sleep(9)
        await w.post(activation.activation_id)
        await waiter
        now = asyncio.get_running_loop().time()
        assert now == pytest.approx(9 + AGAIN, abs=0.3)
    assert w.routes()["status"] == 2


@virtual_time
async def test_second_looks_end_where_they_never_help(world: Worlds) -> None:
    """They cost a request each; a few in vain are enough."""
    async with world(sms_delay="never") as w:
        for _ in range(10):
            async with w.manager.activate("whatsapp") as activation:
                waiter = asyncio.create_task(activation.wait_for_sms())
                await asyncio.sleep(1)
                await w.post(activation.activation_id, code="1", full_text="forged")
                await asyncio.sleep(8)
                waiter.cancel()
        assert 10 < w.routes()["status"] < 16


@pytest.mark.parametrize("trust", ["confirm", "payload"])
@virtual_time
async def test_copies_are_one_sms(world: Worlds, trust: str) -> None:
    """Ten times, at once and late: one event, one delivery, one finish."""
    async with world(trust=trust) as w, w.manager.activate("whatsapp") as activation:
        waiter = asyncio.create_task(activation.wait_for_sms())
        await asyncio.sleep(10.5)
        await asyncio.gather(*(w.post(activation.activation_id) for _ in range(10)))
        first = await waiter
        await w.post(activation.activation_id)
        assert await activation.wait_for_sms() is first
    await asyncio.sleep(5)
    await w.post(activation.activation_id)
    assert w.told.count(EventKind.SMS_RECEIVED) == 1
    assert w.told.count(EventKind.ANNOUNCED) == 1
    assert w.routes()["status"] == (trust == "confirm")
    assert w.routes()["finish"] == 1
    (entry,) = await w.manager.ledger.inbox.entries()
    assert entry.copies >= 11


@pytest.mark.parametrize("trust", ["confirm", "payload"])
@virtual_time
async def test_webhook_before_the_answer_to_the_purchase(trust: str) -> None:
    """It waits for its purchase: the answer of a slow service may come after it."""
    service = MemoryService(
        SandboxEngine(SandboxConfig(limit="none", sms_delay="fixed:0")), down=lambda: 5.0
    )
    receiver = WebhookReceiver(SECRET, trust=trust)  # type: ignore[arg-type]
    async with (
        service.client(rate_limit=RateLimit(6000, 60)) as client,
        service.manager(client, webhook=receiver) as manager,
    ):
        work = asyncio.create_task(manager.verify("whatsapp"))
        await asyncio.sleep(1.0)
        (bought,) = service.engine.activations.values()
        body = {"id": bought.activation_id, "code": bought.sms_code, "text": bought.sms_text}
        assert await deliver(receiver, json.dumps(body).encode()) == 200
        assert not work.done()
        result = await work
    assert result.ok
    assert result.sms is not None
    assert result.sms.code == bought.sms_code
    statuses = [one for one in service.engine.request_log if one.route == "status"]
    assert len(statuses) == (trust == "confirm")


@pytest.mark.parametrize("trust", ["confirm", "payload"])
@virtual_time
async def test_webhook_before_anybody_waits(world: Worlds, trust: str) -> None:
    """A flow that comes to wait later gets it at once."""
    async with world(trust=trust, posts="") as w, w.manager.activate("whatsapp") as activation:
        await asyncio.sleep(60)
        assert w.routes()["status"] == 0
        assert (activation.sms is not None) == (trust == "payload")
        before = asyncio.get_running_loop().time()
        await activation.wait_for_sms()
        assert asyncio.get_running_loop().time() - before < 0.2


@pytest.mark.parametrize("trust", ["confirm", "payload"])
@virtual_time
async def test_webhook_after_the_end(world: Worlds, trust: str) -> None:
    """Late, it is kept and changes nothing."""
    async with world(trust=trust, sms_delay="fixed:30") as w:
        with pytest.raises(SmsTimeoutError):
            async with w.manager.activate("whatsapp", sms_timeout=20) as activation:
                await activation.wait_for_sms()
        await asyncio.sleep(15)
        before = w.routes()
        await w.post(activation.activation_id, code="1", full_text="t")
        await asyncio.sleep(15)
        assert w.routes() == before
        (entry,) = await w.manager.ledger.entries()
        assert entry.state is State.CANCELLED
        assert await w.manager.ledger.inbox.orphans() == ()


@virtual_time
async def test_unknown_ids_are_kept_as_orphans(world: Worlds) -> None:
    """Nobody here bought it; it is there to be looked at."""
    async with world() as w:
        assert await w.post("unknown", code="1", full_text="t") == 200
        (orphan,) = await w.manager.ledger.inbox.orphans()
        assert orphan.event.activation_id == "unknown"
        assert w.routes() == {}


@pytest.mark.parametrize("trust", ["confirm", "payload"])
@virtual_time
async def test_poll_and_webhook_at_the_same_time_give_one_sms(world: Worlds, trust: str) -> None:
    """Whichever is first, the other one is a copy."""
    async with world(trust=trust) as w:
        for number in range(20):
            async with w.manager.activate("whatsapp") as activation:
                waiter = asyncio.create_task(activation.wait_for_sms())
                await asyncio.sleep(10.5)
                w.manager._parts.poller.look(activation._tracked)
                await asyncio.sleep(number * 0.005)
                await w.post(activation.activation_id)
                await waiter
        await asyncio.sleep(2 * GRACE)
        assert w.told.count(EventKind.SMS_RECEIVED) == 20
        webhooks = w.manager.statistics().webhooks
        assert webhooks is not None
        assert (webhooks.announced, webhooks.missed) == (20, 0)


@virtual_time
async def test_restart_of_the_clock_keeps_the_hint(world: Worlds) -> None:
    """`mark_requested` after a webhook that nobody looked into yet looks into it."""
    async with world(posts="") as w, w.manager.activate("whatsapp") as activation:
        await asyncio.sleep(20)
        activation.mark_requested()
        await asyncio.sleep(1)
        assert activation.sms is not None
        assert w.routes()["status"] == 1


@virtual_time
async def test_steps_of_a_job_engine_take_what_webhooks_told(world: Worlds) -> None:
    """`advance` finds the SMS in the inbox and asks nobody."""
    async with world(trust="payload", posts="") as w:
        intent_id = await w.manager.submit("whatsapp")
        await asyncio.sleep(11)
        assert await w.manager.advance(intent_id) == 0.0
        learned = w.manager._parts.poller.times.delays.snapshot(0.0)["whatsapp", "us"]
        assert (sum(learned.events), learned.seen) == (pytest.approx(1.0), 1.0)
        entry = await w.manager.ledger.get(intent_id)
        assert entry is not None
        assert entry.state is State.RECEIVED
        assert w.routes() == {"purchase": 1}


# Whether webhooks come ---------------------------------------------------------------------------


@virtual_time
async def test_no_webhook_at_all_is_noticed_and_polled(world: Worlds, caplog: Any) -> None:
    """Perhaps the URL is not set: the first SMS without one brings the polls back, and says so."""
    caplog.set_level(logging.INFO)
    async with world(posts=None, sms_delay="fixed:12") as w:
        for _ in range(4):
            async with w.manager.activate("whatsapp") as activation:
                await activation.wait_for_sms()
            await asyncio.sleep(GRACE)
        assert w.told.count(EventKind.WEBHOOKS_SILENT) == 1
        webhooks = w.manager.statistics().webhooks
        assert webhooks is not None
        assert not webhooks.coming
        delays = [
            told.at - instant
            for told, instant in zip(
                [one for one in w.engine.request_log if one.route == "finish"],
                [a.sms_at for a in w.engine.activations.values() if a.sms_at is not None],
                strict=False,
            )
        ]
        assert max(delays[1:]) < 6
    assert "no webhook came, is its URL set in the account?" in caplog.text


@virtual_time
async def test_outage_of_webhooks_is_noticed_and_its_end(world: Worlds) -> None:
    """Many at once: soon after they stop polls take over, and when they come again polls rest."""
    async with world(trust="payload", posts="", sms_delay="lognormal:12/0.8") as w:

        async def one() -> None:
            async with w.manager.activate("whatsapp") as activation:
                await activation.wait_for_sms()

        async def crowd(count: int, pause: float) -> None:
            tasks = []
            for _ in range(count):
                tasks.append(asyncio.create_task(one()))
                await asyncio.sleep(pause)
            await asyncio.gather(*tasks)

        await crowd(60, 1.0)
        assert w.routes()["status"] <= 3
        assert EventKind.WEBHOOKS_SILENT not in w.told
        url = w.engine.config.webhook
        assert url is not None
        w.engine.set_webhook(None)
        before = asyncio.get_running_loop().time()
        silent = asyncio.Event()
        w.manager.subscribe(
            lambda event: silent.set() if event.kind is EventKind.WEBHOOKS_SILENT else None
        )
        work = asyncio.create_task(crowd(60, 1.0))
        await silent.wait()
        assert asyncio.get_running_loop().time() - before < 90
        await work
        polled = w.routes()["status"]
        assert polled > 60
        w.engine.set_webhook(url)
        await crowd(60, 1.0)
        assert w.told.count(EventKind.WEBHOOKS_BACK) == 1
        webhooks = w.manager.statistics().webhooks
        assert webhooks is not None
        assert webhooks.coming


@virtual_time
async def test_losses_are_no_outage(world: Worlds) -> None:
    """One in twenty lost, of many that began together: nothing is said, and few polls are made."""
    async with world(
        trust="payload", posts="loss@0.05", sms_delay="lognormal:12/0.8,never:0.08"
    ) as w:
        results = [
            result async for result in w.manager.run(["whatsapp"] * 300) if result.sms is not None
        ]
        assert len(results) > 250
        assert EventKind.WEBHOOKS_SILENT not in w.told
        assert w.engine.counted_requests / 300 < 2.25


# Opening and closing -----------------------------------------------------------------------------


@virtual_time
async def test_closing_leaves_nothing_behind(world: Worlds) -> None:
    """No task, no timer; and a sender is asked to come again."""
    async with world(sms_delay="fixed:10") as w:
        async with w.manager.activate("whatsapp") as activation:
            waiter = asyncio.create_task(activation.wait_for_sms())
            await asyncio.sleep(10.5)
            w.manager._parts.poller.look(activation._tracked)
            await waiter
        await w.manager.aclose()
        assert await w.post(activation.activation_id) == 503
        names = [task.get_name() for task in asyncio.all_tasks()]
        assert not any("papsms" in name for name in names)


@virtual_time
async def test_receiver_of_another_manager_is_refused(world: Worlds) -> None:
    """And the second manager leaves nothing open."""
    async with world() as w:
        client = w.manager.client
        other = w.service.manager(client, webhook=w.receiver)
        with pytest.raises(ConfigurationError, match="each manager needs one of its own"):
            await other.__aenter__()
        await other.aclose()
        assert await w.post("1", code="1", full_text="t") == 200


@virtual_time
async def test_what_is_no_receiver_is_refused(world: Worlds) -> None:
    """One clear sentence; also for a ledger of one's own that has no inbox."""
    async with world() as w:
        with pytest.raises(ConfigurationError, match="WebhookReceiver"):
            ActivationManager(w.manager.client, webhook="http://example.com")  # type: ignore[arg-type]

        class Without(MemoryLedger):
            inbox = None  # type: ignore[assignment]

        with pytest.raises(ConfigurationError, match="inbox"):
            ActivationManager(
                w.manager.client,
                database=Without(),
                webhook=WebhookReceiver(new_webhook_secret()),
            )


@virtual_time
async def test_ledger_that_fails_does_not_keep_the_sms(world: Worlds, monkeypatch: Any) -> None:
    """The flow goes on; the sender comes again later."""
    async with world(trust="payload") as w, w.manager.activate("whatsapp") as activation:
        waiter = asyncio.create_task(activation.wait_for_sms())
        await asyncio.sleep(10.5)

        async def fail(*args: Any, **kwargs: Any) -> None:
            raise LedgerError("The ledger is full.")

        monkeypatch.setattr(w.manager.ledger.inbox, "put", fail)
        assert await w.post(activation.activation_id) == 503
        assert (await waiter).code


@virtual_time
async def test_waits_that_their_numbers_expiry_cuts_share_plans(world: Worlds) -> None:
    """A plan takes a while to make: timeouts that are nearly alike don't get one each."""
    async with world() as w:
        net = w.manager._parts.poller.agenda.net
        before = _cached.cache_info().misses
        for tenths in range(500):
            timeout = 70 + tenths / 10
            assert net.next_look(COLD_START, timeout=timeout, last=0.0) >= 0.5 * timeout
        assert _cached.cache_info().misses - before <= 40
