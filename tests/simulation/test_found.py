"""Small worlds for what the simulation found, one each."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from papsms_async import Outcome, RateLimit, VerificationResult
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
