"""Small worlds for what the simulation found, one each."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from papsms_async import (
    ActivationManager,
    Outcome,
    RateLimit,
    SmsTimeoutError,
    State,
    VerificationResult,
    asking,
)
from papsms_async.protocol import status_request
from papsms_async.sandbox import FaultSet, SandboxConfig, SandboxEngine, parse_faults
from papsms_async.testing import run_virtual
from papsms_async.testing.memory_transport import EPOCH, MemoryService
from papsms_async.wire import WireRequest


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


def test_number_that_is_about_to_expire_is_not_polled_without_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While the key is blocked each poll fails at once; the next one waits all the same."""
    memory = service(sms_delay="never", lifetime=8.0)
    polls: list[float] = []

    def counted(activation_id: str) -> WireRequest:
        polls.append(asyncio.get_running_loop().time())
        if len(polls) > 1000:
            raise SystemExit("it is polled without end")
        return status_request(activation_id)

    monkeypatch.setattr(asking, "status_request", counted)

    async def wait_too_late() -> None:
        async with (
            memory.client(rate_limit=RateLimit(6000, 60)) as client,
            memory.manager(client) as manager,
        ):
            async with manager.activate("whatsapp") as activation:
                memory.engine.set_faults(FaultSet(parse_faults("status:rate_limited=400")))
                await asyncio.sleep(8.0)
                with pytest.raises(SmsTimeoutError):
                    await activation.wait_for_sms()

    run_virtual(wait_too_late())
    # Its grace is two seconds.
    assert 2 <= len(polls) <= 60
    assert polls[-1] - polls[0] <= 2.1
