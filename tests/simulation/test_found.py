"""Small worlds for what the simulation found, one each."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from papsms_async import ActivationManager, Outcome, RateLimit, State, VerificationResult
from papsms_async.sandbox import FaultSet, SandboxConfig, SandboxEngine, parse_faults
from papsms_async.testing import run_virtual
from papsms_async.testing.memory_transport import EPOCH, MemoryService


def service(**config: Any) -> MemoryService:
    """Return a service without limit."""
    return MemoryService(SandboxEngine(SandboxConfig(limit="none", **config)))


@pytest.mark.parametrize("since", [30.0, 40.0, 50.0])
def test_poll_that_hangs_over_the_timeout_does_not_cost_the_sms(since: float) -> None:
    """A poll from before the timeout that gets no answer makes way for the last one."""
    memory = service(sms_delay="fixed:59.5")
    engine = memory.engine

    async def verify() -> VerificationResult:
        async with (
            memory.client(rate_limit=RateLimit(6000, 60)) as client,
            memory.manager(client) as manager,
        ):
            work = asyncio.create_task(manager.verify("whatsapp", sms_timeout=60))
            await asyncio.sleep(since)
            engine.set_faults(FaultSet(parse_faults("status:hang#1")))
            return await work

    result = run_virtual(verify())
    hung = [one.at for one in engine.request_log if one.route == "status" and one.status == 0]
    assert len(hung) == 1
    assert since < hung[0] - EPOCH.timestamp() < 60
    assert result.outcome is Outcome.COMPLETED


def test_close_without_time_still_writes_down_what_is_owed() -> None:
    """Closing with no time at all leaves nothing waiting: its finish is owed, here and there."""
    memory = service(sms_delay="never")

    async def close_at_once() -> tuple[ActivationManager, asyncio.Task[VerificationResult]]:
        async with (
            memory.client(rate_limit=RateLimit(6000, 60)) as client,
            memory.manager(client, drain_timeout=0.0) as manager,
        ):
            work = asyncio.create_task(manager.verify("whatsapp"))
            await asyncio.sleep(1.0)
        await asyncio.wait({work})
        assert [entry.state for entry in await manager.ledger.entries()] == [State.CANCELLING]
        return manager, work

    manager, work = run_virtual(close_at_once())
    assert [entry.state for entry in manager.owed] == [State.CANCELLING]
    assert work.result().outcome is Outcome.CANCELLED


def test_refusal_of_an_abandoned_purchase_is_written_down() -> None:
    """Whenever its caller leaves, a purchase that was turned away for good ends as refused."""
    engine = SandboxEngine(SandboxConfig(limit="none", faults="purchase:refuse"))
    memory = MemoryService(engine, up=lambda: 2.0)

    async def leave_after(seconds: float) -> list[State]:
        async with (
            memory.client(rate_limit=RateLimit(6000, 60), rng=Random(1)) as client,
            memory.manager(client) as manager,
        ):
            work = asyncio.create_task(manager.verify("whatsapp"))
            await asyncio.sleep(seconds)
            work.cancel()
            await asyncio.wait({work})
            await asyncio.sleep(60)
            return [entry.state for entry in await manager.ledger.entries()]

    for step in range(80):
        assert run_virtual(leave_after(0.25 * step)) in ([], [State.REFUSED])
