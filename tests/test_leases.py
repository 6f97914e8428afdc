"""Leases: nothing is sent for a purchase that another process may drive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from papsms_async.errors import LedgerError
from papsms_async.leases import MARGIN, Leases, since_boot
from papsms_async.ledger import LedgerConflictError, LedgerEntry, MemoryLedger
from papsms_async.lifecycle import State

LEASE = 60.0


class Unreachable(MemoryLedger):
    """A ledger that can be out of reach."""

    out_of_reach = False

    async def renew(self, *args: Any, **options: Any) -> tuple[str, ...]:
        """See `Ledger.renew`."""
        if self.out_of_reach:
            raise LedgerError("The ledger can't be reached.")
        return await super().renew(*args, **options)


@attrs.define
class Holder:
    """A process with its leases, whose clock stands where it is put."""

    ledger: Unreachable
    leases: Leases
    clock: list[float]

    async def buy(self, *names: str) -> None:
        """Add purchases of this process."""
        now = datetime.now(UTC)
        for name in names:
            entry = LedgerEntry(
                intent_id=name,
                state=State.CANCELLING,
                service="whatsapp",
                country="us",
                created_at=now,
                updated_at=now,
            )
            await self.ledger.add(entry, owner=self.leases.owner, lease=LEASE)
            self.leases.took(name)

    async def lose_one(self) -> str:
        """Let another process claim the oldest purchase, when its lease has ended."""
        later = datetime.now(UTC) + timedelta(hours=1)
        (taken,) = await self.ledger.claim("another", lease=LEASE, now=later, limit=1)
        return taken.intent_id


@pytest.fixture
async def holder() -> AsyncIterator[Holder]:
    """A process that has just begun to renew."""
    ledger, clock = Unreachable(), [1000.0]
    leases = Leases(ledger, lease=LEASE, clock=lambda: clock[0])
    leases.start()
    yield Holder(ledger, leases, clock)
    await leases.stop()


async def test_what_is_held_may_be_sent(holder: Holder) -> None:
    """Within the lease nobody is asked, and a renewal changes nothing."""
    await holder.buy("one")
    holder.ledger.out_of_reach = True
    await holder.leases.ensure("one")
    holder.leases.check("one")
    holder.ledger.out_of_reach = False
    await holder.leases.renew()
    holder.leases.check("one")


async def test_the_end_of_a_lease_is_left_for_the_way_to_the_service(holder: Holder) -> None:
    """A quarter of the lease before its end, nothing leaves any more; a renewal brings it back."""
    await holder.buy("one")
    holder.clock[0] += LEASE * (1 - MARGIN) - 0.01
    holder.leases.check("one")
    holder.clock[0] += 0.02
    with pytest.raises(LedgerError) as caught:
        holder.leases.check("one")
    assert caught.value.retryable
    assert caught.value.intent_id == "one"
    await holder.leases.ensure("one")
    holder.leases.check("one")


async def test_a_check_that_fails_has_the_leases_renewed_at_once(holder: Holder) -> None:
    """It doesn't take a third of a lease until what was held up can go on."""
    await holder.buy("one")
    holder.clock[0] += LEASE
    with pytest.raises(LedgerError):
        holder.leases.check("one")
    began = time.monotonic()
    while True:
        try:
            holder.leases.check("one")
        except LedgerError:
            # The renewal runs in a task of its own, on a ledger that answers at once.
            await asyncio.sleep(0)
            assert time.monotonic() - began < LEASE / 3
        else:
            return


async def test_a_lost_lease_is_noticed_after_another_renewal(holder: Holder) -> None:
    """Of a process that overslept, the renewal in the background does not hide what it lost."""
    await holder.buy("lost", "kept")
    holder.clock[0] += LEASE
    assert await holder.lose_one() == "lost"
    for _ in range(2):
        await holder.leases.renew()
        holder.leases.check("kept")
        await holder.leases.ensure("kept")
        with pytest.raises(LedgerError):
            holder.leases.check("lost")
        with pytest.raises(LedgerConflictError):
            await holder.leases.ensure("lost")
    await holder.buy("new")
    holder.leases.check("new")
    await holder.leases.renew()
    holder.leases.check("new")


async def test_what_is_taken_during_a_renewal_is_held(holder: Holder) -> None:
    """The answer to a renewal doesn't know what was added after it was asked for."""
    await holder.buy("early")
    renew = holder.ledger.renew

    async def slow(*args: Any, **options: Any) -> tuple[str, ...]:
        held = await renew(*args, **options)
        await holder.buy("late")
        return held

    holder.ledger.renew = slow  # type: ignore[method-assign]
    await holder.leases.renew()
    holder.leases.check("early")
    holder.leases.check("late")


async def test_a_ledger_out_of_reach_is_no_loss(holder: Holder) -> None:
    """The lease may have ended, but nobody knows: it is tried again, and not given up for lost."""
    await holder.buy("one")
    holder.clock[0] += LEASE
    holder.ledger.out_of_reach = True
    with pytest.raises(LedgerError) as caught:
        await holder.leases.ensure("one")
    assert not isinstance(caught.value, LedgerConflictError)
    holder.ledger.out_of_reach = False
    await holder.leases.ensure("one")
    holder.leases.check("one")


def test_the_clock_runs_while_the_machine_sleeps() -> None:
    """It is the one that counts from the boot, sleep included, where the system has it."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        before = time.clock_gettime(time.CLOCK_BOOTTIME)
        assert before <= since_boot() <= time.clock_gettime(time.CLOCK_BOOTTIME)
    assert since_boot() <= since_boot()
