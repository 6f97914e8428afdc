"""A write whose answer was lost may have been carried out: a process knows its own writes again."""

from __future__ import annotations

from typing import Any

import pytest

from papsms_async import ActivationManager, LedgerError, Outcome, RateLimit, State
from papsms_async.ledger import LedgerEntry, PassingLedger, open_ledger
from papsms_async.sandbox import SandboxConfig, SandboxEngine
from papsms_async.testing import MemoryService


class Forgetful(PassingLedger):
    """Carries out the first write to a state, and tells that it failed."""

    def __init__(self, inner: Any, state: State) -> None:
        super().__init__(inner)
        self.lose = {state}

    async def move(
        self, intent_id: str, expected: State, state: State, **options: Any
    ) -> LedgerEntry:
        """See `Ledger.move`."""
        entry = await super().move(intent_id, expected, state, **options)
        if state in self.lose:
            self.lose.discard(state)
            raise LedgerError("The connection was lost; it may or may not be there.")
        return entry


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("test-instant", State.WAITING),
        ("test-instant", State.RECEIVED),
        ("test-instant", State.COMPLETING),
        ("test-instant", State.COMPLETED),
        ("test-never", State.CANCELLING),
        ("test-never", State.CANCELLED),
        ("test-no-numbers", State.REFUSED),
    ],
)
async def test_a_write_that_got_through_is_not_taken_for_another_process(
    database: str, name: str, state: State
) -> None:
    """The purchase is driven to its end, with each step written once."""
    engine = SandboxEngine(SandboxConfig(limit="none"))
    service = MemoryService(engine, up=lambda: 0.0, down=lambda: 0.0)
    ledger = Forgetful(open_ledger(database), state)
    async with (
        service.client(rate_limit=RateLimit(60_000, 60)) as client,
        ActivationManager(client, database=ledger, sms_timeout=0.1) as manager,
    ):
        result = await manager.verify(name)
        assert (
            result.outcome
            is {
                "test-instant": Outcome.COMPLETED,
                "test-never": Outcome.TIMED_OUT,
                "test-no-numbers": Outcome.NO_NUMBERS,
            }[name]
        )
        await manager.aclose()
    assert not ledger.lose
    assert manager.owed == ()
    assert engine.open_activations() == []
    again = open_ledger(database)
    await again.open()
    (entry,) = await again.entries()
    events = [line.event for line in await again.history(entry.intent_id)]
    await again.aclose()
    assert (
        entry.state
        is {
            "test-instant": State.COMPLETED,
            "test-never": State.CANCELLED,
            "test-no-numbers": State.REFUSED,
        }[name]
    )
    assert len(events) == len(set(events))
