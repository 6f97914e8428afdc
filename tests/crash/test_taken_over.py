"""What a caller sees when another process takes its purchase over."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from papsms_async import ActivationManager, ConfigurationError
from papsms_async.ledger import LedgerConflictError, open_ledger
from papsms_async.sandbox import SandboxConfig, SandboxEngine
from papsms_async.testing.memory_transport import MemoryService


async def test_whoever_waits_for_an_sms_is_told_that_another_process_took_over(
    tmp_path: Path,
) -> None:
    """The wait ends with an error that names the purchase, instead of never."""
    engine = SandboxEngine(SandboxConfig(sms_delay="fixed:0.2", limit="none"))
    service = MemoryService(engine)
    ledger = open_ledger(tmp_path / "ledger.db")
    async with (
        service.client() as client,
        ActivationManager(client, database=ledger, sms_timeout=2.0) as manager,
    ):
        async with manager.activate("whatsapp") as activation:
            waiting = asyncio.ensure_future(activation.wait_for_sms())
            later = datetime.now(UTC) + timedelta(hours=1)
            assert len(await ledger.claim("another", lease=60.0, now=later)) == 1
            async with asyncio.timeout(10):
                with pytest.raises(LedgerConflictError) as caught:
                    await waiting
        assert caught.value.intent_id == activation.intent_id
        assert caught.value.activation_id == activation.activation_id
        assert caught.value.token == activation.token


@pytest.mark.parametrize("lease", [0, -1.0, float("inf"), "60"])
def test_a_lease_must_be_a_number_of_seconds(lease: float) -> None:
    """A lease that could never end, or has ended already, is refused."""
    with pytest.raises(ConfigurationError):
        ActivationManager(MemoryService().client(), database="sqlite:///unused.db", lease=lease)
