"""What an earlier process left in the ledger is brought to its end, once, by one process."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import update

from papsms_async import ActivationManager, PurchaseUnknownError, RateLimit, State
from papsms_async.leases import since_boot
from papsms_async.ledger import LedgerEntry, open_ledger
from papsms_async.ledger.schema import ENTRIES
from papsms_async.recovery import RecoveryAction
from papsms_async.sandbox import SandboxConfig, SandboxEngine
from papsms_async.testing import MemoryService

LIMIT = RateLimit(60_000, 60)


@pytest.fixture
def database(tmp_path):
    """Return the address of a ledger file."""
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def service():
    """Return a service in memory; nothing here waits long, so it runs on the real clock."""
    engine = SandboxEngine(SandboxConfig(limit="none"), seed=4)
    return MemoryService(engine, up=lambda: 0.0, down=lambda: 0.0)


async def left_behind(database, service, state, name="test-never", **fields):
    """Buy a number and leave its ledger entry as a crashed process in ``state`` would."""
    async with service.client(rate_limit=LIMIT) as client:
        now = datetime.now(UTC)
        entry = LedgerEntry(
            intent_id=f"intent-{state.value}-{name}",
            state=state,
            service=name,
            country="us",
            created_at=now,
            updated_at=now,
        )
        if state is not State.SENDING:
            bought = await client.purchase(name)
            entry = LedgerEntry(
                intent_id=entry.intent_id,
                state=state,
                service=name,
                country="us",
                created_at=now,
                updated_at=now,
                activation_id=bought.activation_id,
                phone_number=bought.phone_number,
                expires_at=bought.expires_at,
                cost=bought.cost,
                **fields,
            )
    ledger = open_ledger(database)
    await ledger.open()
    await ledger.add(entry, owner="a process that died", lease=1e-6)
    await ledger.aclose()
    return entry


@asynccontextmanager
async def managed(database, service, **options):
    """Enter a manager on the ledger file."""
    async with (
        service.client(rate_limit=LIMIT) as client,
        ActivationManager(client, database=database, sms_timeout=3.0, **options) as manager,
    ):
        yield manager


@pytest.mark.parametrize(
    ("state", "name", "action", "end"),
    [
        (State.SENDING, "test-never", RecoveryAction.MARK_UNKNOWN, State.UNKNOWN),
        (State.WAITING, "test-never", RecoveryAction.CANCEL, State.CANCELLED),
        (State.WAITING, "test-instant", RecoveryAction.CANCEL, State.COMPLETED),
        (State.RECEIVED, "test-instant", RecoveryAction.COMPLETE, State.COMPLETED),
        (State.COMPLETING, "test-instant", RecoveryAction.COMPLETE, State.COMPLETED),
        (State.CANCELLING, "test-never", RecoveryAction.CANCEL, State.CANCELLED),
    ],
)
async def test_every_state_is_brought_to_its_end(database, service, state, name, action, end):
    """Unknown stays unknown, numbers with an SMS are completed, all others given back."""
    entry = await left_behind(database, service, state, name)
    async with managed(database, service) as manager:
        planned = await manager.recover(dry_run=True)
        assert [did for _, did in planned.actions] == [action]
        assert (await manager.ledger.get(entry.intent_id)).state is state
        report = await manager.recover()
        assert [(e.intent_id, did) for e, did in report.actions] == [(entry.intent_id, action)]
        assert (await manager.ledger.get(entry.intent_id)).state is end
        assert (await manager.recover()).actions == ()
    assert service.engine.open_activations() == []
    assert set(service.engine.finish_counts().values()) <= {1}
    if state is State.SENDING:
        assert report.unknown_cost == entry.worst_price
        assert service.engine.charge_log == []


async def test_living_process_keeps_what_it_drives(database, service):
    """Recovery in a second process leaves alone what the first one holds."""
    async with managed(database, service) as first:
        async with first.activate("test-instant") as activation:
            async with managed(database, service) as second:
                planned = await second.recover(dry_run=True)
                assert [did for _, did in planned.actions] == [RecoveryAction.LEAVE]
                assert (await second.recover()).actions == ()
            assert (await activation.wait_for_sms()).code
    assert service.engine.finish_counts() == {activation.activation_id: 1}


async def oversleep(manager):
    """Let the leases of a manager end, for the ledger and by its own clock."""
    leases, long_ago = manager._shared.leases, datetime.now(UTC) - timedelta(seconds=1)
    await manager.ledger._database.write(
        lambda batch: batch.connection.execute(update(ENTRIES).values(lease_until=long_ago))
    )
    leases._clock = lambda: since_boot() + leases.lease


async def test_process_whose_lease_was_taken_changes_nothing(database, service):
    """Once another process took a number over, the first one sends no finish and writes nothing."""
    async with managed(database, service) as first:
        # As if the process had been stopped: nothing renews its lease.
        await first._shared.leases.suspend()
        async with first.activate("test-never") as activation:
            intent = activation.intent_id
            await oversleep(first)
            async with managed(database, service) as second:
                assert len((await second.recover()).actions) == 1
                taken = await second.ledger.get(intent)
                assert taken.state is State.CANCELLED
                finishes = dict(service.engine.finish_counts())
        await first.aclose()
        assert service.engine.finish_counts() == finishes
    ledger = open_ledger(database)
    await ledger.open()
    assert (await ledger.get(intent)).state is State.CANCELLED
    await ledger.aclose()


async def test_error_of_an_unknown_purchase_names_its_intent(database):
    """The intent that a lost answer leaves in the ledger is named by the error."""
    engine = SandboxEngine(SandboxConfig(limit="none", faults="purchase:drop_after#1"))
    service = MemoryService(engine, up=lambda: 0.0, down=lambda: 0.0)
    async with managed(database, service) as manager:
        with pytest.raises(PurchaseUnknownError) as caught:
            async with manager.activate("whatsapp"):
                pytest.fail("its answer was lost")
        entry = await manager.ledger.get(caught.value.intent_id)
        assert entry.state is State.UNKNOWN
        with pytest.raises(PurchaseUnknownError, match="papsms ledger resolve") as told:
            async with manager.resume(caught.value.token):
                pytest.fail("there is no number")
        assert told.value.intent_id == told.value.token == entry.intent_id
        assert await manager.ledger.committed() == Decimal(3)
        assert [e.event for e in await manager.ledger.history(entry.intent_id)] == [
            "intent",
            "answer_lost",
        ]
