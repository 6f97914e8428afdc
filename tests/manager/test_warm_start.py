"""What was learned of SMS delays survives the manager: the next one begins warm."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from papsms_async import ActivationManager, LedgerError, Outcome, RateLimit
from papsms_async.delay_keeper import PATIENCE, SAVE_EVERY
from papsms_async.ledger import MemoryLedger, open_ledger
from papsms_async.sandbox import SandboxConfig, SandboxEngine
from papsms_async.testing import virtual_time
from papsms_async.testing.memory_transport import MemoryService

KIND = ("whatsapp", "us")
SLOW = "uniform:55-65"


async def first_polls(w, count=1):
    """Verify so many at once; return the seconds from purchase to first poll, and polls each."""
    before = len(w.engine.request_log)
    # In bulk: how often interactive callers come is not remembered from one manager to the next.
    wanted = (w.manager.verify(*KIND, priority="bulk") for _ in range(count))
    results = await asyncio.gather(*wanted)
    assert {result.outcome for result in results} == {Outcome.COMPLETED}
    calls = list(w.engine.request_log)[before:]
    bought = [one.at for one in calls if one.route == "purchase"]
    polled = [one.at for one in calls if one.route == "status"]
    return min(polled) - min(bought), len(polled) / count


def law_of(manager):
    """Return what a manager believes of the service."""
    return manager._parts.poller.times.delays.law(*KIND)


@virtual_time
async def test_second_manager_polls_by_what_the_first_learned(world):
    """A service whose SMS take a minute is polled from the start when it pays, not before.

    Ten at once under a usual limit: alone, looks cost nothing, and nothing depends on the law.
    """
    ledger = MemoryLedger()
    usual = {"sms_delay": SLOW, "limit": "60/60s", "rate_limit": RateLimit(60, 60)}
    options = {**usual, "manager": {"database": ledger}}
    async with world(**options) as w:
        cold_first, cold_polls = await first_polls(w, 10)
        await first_polls(w, 40)
        learned = law_of(w.manager)
        known_first, known_polls = await first_polls(w, 10)
    async with world(**options) as w:
        for age in (5, 30, 50, 60, 70):
            survival = learned.survival(age)
            assert law_of(w.manager).survival(age) == pytest.approx(survival, abs=0.06)
        warm_first, warm_polls = await first_polls(w, 10)
    async with world(**usual) as w:
        assert (await first_polls(w, 10)) == pytest.approx((cold_first, cold_polls), abs=1e-3)
    assert known_first > 1.2 * cold_first
    assert warm_first == pytest.approx(known_first, rel=0.15)
    assert warm_polls == pytest.approx(known_polls, rel=0.15)
    assert warm_polls < 0.6 * cold_polls


@virtual_time
async def test_crash_between_saves_loses_only_the_news(world):
    """What was saved in time is there; what came since the last save is not."""
    ledger = MemoryLedger()
    async with world(sms_delay="fixed:3", manager={"database": ledger}) as w:
        now = w.manager._shared.clock
        await first_polls(w, 7)
        assert await ledger.delays.load(now=now()) == {}
        await asyncio.sleep(SAVE_EVERY + 1)
        assert (await ledger.delays.load(now=now()))[KIND].seen == 7.0
        await first_polls(w, 5)
        # Crashed here, this is what the next one finds.
        assert (await ledger.delays.load(now=now()))[KIND].seen == 7.0
        await asyncio.sleep(SAVE_EVERY + 1)
        assert (await ledger.delays.load(now=now()))[KIND].seen == 12.0
        # Nothing new, nothing saved.
        await asyncio.sleep(10 * SAVE_EVERY)
        await first_polls(w, 2)
    kept = await ledger.delays.load(now=now())
    assert kept[KIND].seen == kept[()].seen == 14.0


@virtual_time
async def test_managers_side_by_side_add_up(world):
    """Two on one ledger: both start from what is there, and what both saw is in it afterwards."""
    ledger = MemoryLedger()
    options = {"sms_delay": "fixed:3", "manager": {"database": ledger}}
    async with world(**options) as w:
        await first_polls(w, 10)
    async with world(**options) as w, world(**options) as other:
        assert law_of(w.manager).hazards == law_of(other.manager).hazards
        await asyncio.gather(first_polls(w, 4), first_polls(other, 3))
        await asyncio.sleep(SAVE_EVERY + 1)
        await asyncio.gather(first_polls(w, 2), first_polls(other, 1))
        now = w.manager._shared.clock
    assert (await ledger.delays.load(now=now()))[KIND].seen == 20.0


class Broken(MemoryLedger):
    """A ledger that keeps purchases, but whose store of delays fails or hangs."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    @property
    def delays(self):
        """See `Ledger.delays`."""
        return self

    async def load(self, *, now):
        """Fail."""
        await self.fail()

    # Not the ledger's own `add`, which has other arguments.
    async def add(self, entry, **options):
        """Fail for evidence, add an entry."""
        if isinstance(entry, dict):
            await self.fail()
        await super().add(entry, **options)

    async def fail(self):
        """Do what is asked for."""
        if self.how == "hang":
            await asyncio.Event().wait()
        raise {"error": LedgerError("The ledger is full."), "defect": KeyError("secret")}[self.how]


@pytest.mark.parametrize("how", ["error", "defect", "hang"])
@virtual_time
async def test_store_that_fails_is_in_nobodys_way(world, settled, caplog, how):
    """Purchases, results and the close are as ever; the log has one line, and no secret."""
    async with world(sms_delay="fixed:3", manager={"database": Broken(how)}) as w:
        for _ in range(3):
            assert (await w.manager.verify(*KIND)).ok
            await asyncio.sleep(SAVE_EVERY + 1)
        assert law_of(w.manager).survival(4.0) < 0.9
        start = asyncio.get_running_loop().time()
        await w.manager.aclose()
        assert asyncio.get_running_loop().time() - start < PATIENCE + 1
    settled(w.engine)
    lines = [record for record in caplog.records if "SMS delays" in record.message]
    assert [record.levelname for record in lines if record.levelname != "DEBUG"] == ["WARNING"]
    assert "secret" not in caplog.text


async def test_next_process_begins_warm(tmp_path):
    """The same with a file: what one manager wrote, another one on the same file takes up."""
    memory = MemoryService(SandboxEngine(SandboxConfig(limit="none")))
    database = f"sqlite:///{tmp_path}/papsms.db"

    async def run(count):
        async with (
            memory.client(rate_limit=RateLimit(6000, 60)) as client,
            ActivationManager(client, database=database, sms_timeout=1) as manager,
        ):
            known = manager._parts.poller.times.delays.snapshot(0.0)
            await asyncio.gather(*(manager.verify("test-instant") for _ in range(count)))
            return known

    assert await run(3) == {}
    known = await run(2)
    assert known["test-instant", "us"].seen == 3.0
    ledger = open_ledger(database)
    await ledger.open()
    kept = await ledger.delays.load(now=datetime.now(UTC))
    await ledger.aclose()
    assert kept["test-instant", "us"].seen == 5.0
