"""Webhooks for activations of another process, through the database that both use."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

from papsms_async import ActivationManager, RateLimit, State, WebhookReceiver
from papsms_async.ledger import sqlite
from papsms_async.sandbox import SandboxConfig, SandboxEngine
from papsms_async.testing.memory_transport import MemoryService, now_of_loop
from papsms_async.webhook.core import WebhookRequest

SECRET = "a-secret-that-is-long-enough_1"


@attrs.define
class Process:
    """A manager with a ledger, and perhaps a receiver, of its own."""

    manager: ActivationManager
    receiver: WebhookReceiver
    service: MemoryService

    async def post(self, activation_id: str, **fields: Any) -> int:
        """Post the true SMS of an activation to this process."""
        bought = self.service.engine.activations[activation_id]
        values = {"id": activation_id, "code": bought.sms_code, "text": bought.sms_text, **fields}
        headers = (("Content-Type", "application/json"),)
        request = WebhookRequest(method="POST", path=f"/{SECRET}", headers=headers, peer="x")
        answer = self.receiver.admit(request)
        answer = answer or await self.receiver.receive(request, json.dumps(values).encode())
        return answer.status

    def statuses(self) -> int:
        """Count the status requests of all processes."""
        return Counter(one.route for one in self.service.engine.request_log)["status"]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> MemoryService:
    """A service whose SMS never come by themselves; and looks into files that are quick."""
    monkeypatch.setattr(sqlite, "NEWS_PAUSE", 0.05)
    engine = SandboxEngine(SandboxConfig(sms_delay="fixed:60", limit="none"))
    return MemoryService(engine, up=lambda: 0.001, down=lambda: 0.001)


@asynccontextmanager
async def process(
    service: MemoryService, database: str, trust: Any = "payload", *, listens: bool = True
) -> AsyncIterator[Process]:
    """Be a process of its own, on the real clock."""
    receiver = WebhookReceiver(SECRET if listens else None, trust=trust)
    async with (
        service.client(rate_limit=RateLimit(60_000, 60)) as client,
        ActivationManager(client, database=database, webhook=receiver, lease=5) as manager,
    ):
        yield Process(manager, receiver, service)


async def arrive(service: MemoryService, activation_id: str) -> None:
    """Let the SMS arrive at the service."""
    assert service.engine.deliver(now_of_loop(), activation_id=activation_id, code="123456")


@pytest.mark.parametrize("trust", ["payload", "confirm"])
async def test_webhook_that_another_process_took(service, database, trust) -> None:
    """The one that drives the activation is woken, and only that one, by the other's webhook."""
    async with (
        process(service, database, trust) as taking,
        process(service, database, trust, listens=False) as driving,
    ):
        async with driving.manager.activate("whatsapp") as activation:
            waiter = asyncio.create_task(activation.wait_for_sms())
            await asyncio.sleep(0.1)
            await arrive(service, activation.activation_id)
            assert await driving.post(activation.activation_id) == 404
            assert await taking.post(activation.activation_id) == 200
            sms = await asyncio.wait_for(waiter, 10)
            assert sms.code == "123456"
        assert taking.statuses() == (trust == "confirm")
        for one, announced in ((taking, 0), (driving, 1)):
            webhooks = one.manager.statistics().webhooks
            assert webhooks is not None
            assert webhooks.announced == announced


async def test_payload_that_another_process_took_unsigned(service, database) -> None:
    """Who wants signatures does not believe what came without, whoever took it: it is a hint."""
    key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    strict = WebhookReceiver(trust="payload", signing_secrets=key)
    async with (
        process(service, database) as taking,
        service.client(rate_limit=RateLimit(60_000, 60)) as client,
        ActivationManager(client, database=database, webhook=strict) as manager,
        manager.activate("whatsapp") as activation,
    ):
        waiter = asyncio.create_task(activation.wait_for_sms())
        await asyncio.sleep(0.1)
        await arrive(service, activation.activation_id)
        assert await taking.post(activation.activation_id, code="666666") == 200
        assert (await asyncio.wait_for(waiter, 10)).code == "123456"
        assert taking.statuses() == 1


@pytest.mark.parametrize("trust", ["payload", "confirm"])
async def test_webhook_that_came_while_nobody_drove_it(service, database, trust) -> None:
    """Whoever goes on with the activation finds it in the inbox."""
    async with process(service, database, trust) as first:
        async with first.manager.activate("whatsapp") as activation:
            token = await activation.detach()
        await arrive(service, activation.activation_id)
        assert await first.post(activation.activation_id) == 200
    async with process(service, database, trust, listens=False) as second:
        async with second.manager.resume(token) as resumed:
            sms = await asyncio.wait_for(resumed.wait_for_sms(), 10)
            assert sms.code == "123456"
        assert second.statuses() == (trust == "confirm")
    entries = service.engine.charge_log
    assert [str(entry.kind) for entry in entries] == ["purchase", "complete"]


async def test_each_process_is_woken_for_its_own(service, database) -> None:
    """Two that take and drive, with webhooks that go to the wrong one each time."""
    async with process(service, database) as one, process(service, database) as other:

        async def verify(mine: Process, theirs: Process) -> None:
            async with mine.manager.activate("whatsapp") as activation:
                waiter = asyncio.create_task(activation.wait_for_sms())
                await asyncio.sleep(0.05)
                await arrive(service, activation.activation_id)
                await theirs.post(activation.activation_id)
                assert (await asyncio.wait_for(waiter, 10)).code == "123456"
                assert activation.state is State.RECEIVED

        await asyncio.gather(
            *(verify(*pair) for _ in range(5) for pair in ((one, other), (other, one)))
        )
        assert one.statuses() == 0
    assert not service.engine.open_activations()
