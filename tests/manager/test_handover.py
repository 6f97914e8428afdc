"""Numbers that go on elsewhere, step by step, and the limits of tenants."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from papsms_async import (
    ActivationEndedError,
    ActivationManager,
    ConfigurationError,
    EventKind,
    LedgerError,
    Outcome,
    PapSMSError,
    RateLimit,
    State,
    TenantLimits,
    VerificationRequest,
)
from papsms_async.learning import DelayModel
from papsms_async.ledger import LedgerConflictError
from papsms_async.sandbox import SandboxConfig, SandboxEngine
from papsms_async.stepping import STEP_OF_OTHERS
from papsms_async.testing import MemoryService, virtual_time
from papsms_async.testing.memory_transport import utc_of_loop


@pytest.fixture
def database(tmp_path):
    """Return the address of a ledger file."""
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def service():
    """Return a service in memory, without any delay."""
    return MemoryService(
        SandboxEngine(SandboxConfig(limit="none")), up=lambda: 0.0, down=lambda: 0.0
    )


@asynccontextmanager
async def managed(database, service, **options):
    """Enter a manager on the ledger file."""
    async with (
        service.client(rate_limit=RateLimit(60_000, 60)) as client,
        ActivationManager(client, database=database, sms_timeout=3.0, **options) as manager,
    ):
        yield manager


async def test_detached_number_is_resumed_by_another_manager(database, service):
    """A token is all that another process on the ledger needs to go on with a number."""
    async with managed(database, service) as first:
        async with first.activate("test-instant", reference="user-1") as activation:
            token = await activation.detach()
            with pytest.raises(ActivationEndedError):
                await activation.wait_for_sms()
    assert service.engine.finish_counts() == {activation.activation_id: 0}
    async with managed(database, service) as second:
        async with second.resume(token) as resumed:
            assert resumed.activation_id == activation.activation_id
            assert resumed.phone_number == activation.phone_number
            assert resumed.request.reference == "user-1"
            assert (await resumed.wait_for_sms()).code
        with pytest.raises(ActivationEndedError, match="over") as caught:
            async with second.resume(token):
                pytest.fail("it is over")
        error = caught.value
        assert (error.intent_id, error.token) == (token, token)
        assert error.activation_id == activation.activation_id
    assert service.engine.finish_counts() == {activation.activation_id: 1}
    assert service.engine.open_activations() == []


async def test_number_of_a_living_process_can_not_be_resumed(database, service):
    """Two processes never drive the same number, and a wrong token is one sentence."""
    async with managed(database, service) as first, managed(database, service) as second:
        async with first.activate("test-never") as activation:
            with pytest.raises(LedgerError, match="Another process drives"):
                async with second.resume(activation.token):
                    pytest.fail("it is held")
        with pytest.raises(ConfigurationError, match="token"):
            async with second.resume("no such token"):
                pytest.fail("there is none")
    assert service.engine.finish_counts() == {activation.activation_id: 1}


@virtual_time
async def test_steps_bring_a_purchase_to_its_end(world, settled):
    """Each step is short and says when the next is due, until nothing is left."""
    async with world(sms_delay="fixed:30") as w:
        intent = await w.manager.submit("whatsapp")
        steps, seen = 0, []
        while (pause := await w.manager.advance(intent)) is not None:
            entry = await w.manager.ledger.get(intent)
            seen.append(entry.state)
            assert 0 <= pause <= 120
            await asyncio.sleep(pause)
            steps += 1
            assert steps < 80
        entry = await w.manager.ledger.get(intent)
        assert entry.state is State.COMPLETED
        assert entry.sms.code
        assert State.RECEIVED in seen
        assert await w.manager.advance(intent) is None
    settled(w.engine)


@virtual_time
async def test_steps_give_up_at_the_timeout_and_ride_out_trouble(world, settled):
    """Without an SMS the number is given back, whatever fails on the way."""
    faults = "any:drop_before@0.2,finish:drop_after@0.3,status:server_error@0.2"
    async with world(faults=faults, manager={"sms_timeout": 60}, seed=5) as w:
        intent = None
        while intent is None:
            with contextlib.suppress(PapSMSError):
                intent = await w.manager.submit(VerificationRequest("test-never", "us"))
        start = asyncio.get_running_loop().time()
        while (pause := await w.manager.advance(intent)) is not None:
            await asyncio.sleep(pause)
        assert 60 <= asyncio.get_running_loop().time() - start < 200
        assert (await w.manager.ledger.get(intent)).state in (State.CANCELLED, State.EXPIRED)
        with pytest.raises(ConfigurationError):
            await w.manager.advance("no such intent")


async def stepped(manager):
    """Submit one verification, take its steps to the end; return its intent and the seconds."""
    intent = await manager.submit("whatsapp")
    start = asyncio.get_running_loop().time()
    while (pause := await manager.advance(intent)) is not None:
        await asyncio.sleep(pause)
    return intent, asyncio.get_running_loop().time() - start


@virtual_time
@pytest.mark.parametrize(("early_cancel", "least", "most"), [(0.05, 10, 60), (0.0, 120, 125)])
async def test_steps_give_up_as_early_as_flows_do(world, settled, early_cancel, least, most):
    """What `early_cancel` asks for holds for numbers that only job engines drive, too."""
    delay = "uniform:1-11,never:0.1"
    async with world(sms_delay=delay, manager={"early_cancel": early_cancel}, seed=1) as w:
        in_vain = []
        for _ in range(150):
            intent, waited = await stepped(w.manager)
            entry = await w.manager.ledger.get(intent)
            if entry.state is State.CANCELLED:
                in_vain.append(waited)
        assert len(in_vain) >= 5
        assert least <= in_vain[-1] <= most
    settled(w.engine)


@virtual_time
@pytest.mark.parametrize(("ahead", "low", "high"), [(0, 30, 31), (-3600, 0, 60), (3600, 0, 60)])
async def test_steps_teach_what_is_certain(world, monkeypatch, ahead, low, high):
    """As polls of flows do: when the SMS came, unless the service's clock contradicts it."""
    taught = []
    monkeypatch.setattr(
        DelayModel, "observe_interval", lambda *_, low, high, **__: taught.append((low, high))
    )
    late = timedelta(seconds=ahead)
    async with (
        world(sms_delay="fixed:30") as w,
        ActivationManager(w.client, clock=lambda: utc_of_loop() - late) as manager,
    ):
        intent = await manager.submit("whatsapp")
        await asyncio.sleep(60)
        await manager.advance(intent)
        assert taught == [(pytest.approx(low, abs=1), pytest.approx(high, abs=1))]


@virtual_time
async def test_bare_404_is_not_the_end_of_a_step(world, settled):
    """What stands in front of the service can't say that a paid number is gone."""
    async with world(faults="status:server_error=404/html#1", sms_delay="uniform:10-10") as w:
        intent, _ = await stepped(w.manager)
        assert (await w.manager.ledger.get(intent)).state is State.COMPLETED
    settled(w.engine)


@virtual_time
async def test_purchase_that_is_on_its_way_is_left_to_its_caller(world, settled):
    """Whoever hears of a purchase before its answer is there can neither lose nor take it."""
    async with world(faults="purchase:slow=5") as w:
        ids = []
        w.manager.subscribe(
            lambda event: (
                ids.append(event.intent_id) if event.kind is EventKind.PURCHASING else None
            )
        )
        running = asyncio.create_task(w.manager.verify("whatsapp"))
        await asyncio.sleep(2)
        assert await w.manager.advance(*ids) == STEP_OF_OTHERS
        with pytest.raises(LedgerConflictError, match="drives the activation already"):
            async with w.manager.resume(*ids):
                pass
        assert (await running).ok
        await asyncio.sleep(60)
        assert await w.manager.advance(*ids) is None
    settled(w.engine)


async def test_steps_may_run_in_any_process(database, service):
    """Two managers take turns; a step on what another one holds only waits."""
    async with managed(database, service) as first, managed(database, service) as second:
        intent = await first.submit("test-instant")
        turn, pause = [second, first], 0.0
        for number in range(10):
            pause = await turn[number % 2].advance(intent)
            if pause is None:
                break
        assert pause is None
        async with first.activate("test-never") as held:
            assert await second.advance(held.intent_id) > 0
    assert set(service.engine.finish_counts().values()) == {1}


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_tenants_have_limits_of_their_own(kind, database, service):
    """What a tenant may not do is a result; other tenants are not touched."""
    limits = {
        "hourly": TenantLimits(per_hour=3),
        "spender": TenantLimits(spend="3.6"),
    }
    where = database if kind == "sqlite" else None
    async with managed(where, service, tenant_limits=limits.get) as manager:
        outcomes = {tenant: Counter() for tenant in ("hourly", "spender", "free", None)}
        for tenant, counter in outcomes.items():
            for _ in range(5):
                request = VerificationRequest("test-instant", tenant=tenant)
                result = await manager.verify(request)
                counter[result.outcome] += 1
                if result.outcome is Outcome.OVER_LIMIT:
                    assert "limit" in str(result.error)
                    assert result.cost == result.cost_uncertain == 0
    assert outcomes["hourly"] == {Outcome.COMPLETED: 3, Outcome.OVER_LIMIT: 2}
    # The worst price of 3.00 must fit on top of what is spent: 0, then 0.50, not at 1.00.
    assert outcomes["spender"] == {Outcome.COMPLETED: 2, Outcome.OVER_LIMIT: 3}
    assert outcomes["free"] == outcomes[None] == {Outcome.COMPLETED: 5}


@virtual_time
async def test_tenant_in_flight_limit_and_the_hour_that_passes(world, settled):
    """A place that is free again, and an hour that is over, let the tenant go on."""
    limits = TenantLimits(in_flight=2, per_hour=4)
    async with world(manager={"tenant_limits": limits}) as w:
        request = VerificationRequest("whatsapp", tenant="t")
        results = await asyncio.gather(*(w.manager.verify(request) for _ in range(3)))
        assert Counter(r.outcome for r in results) == {
            Outcome.COMPLETED: 2,
            Outcome.OVER_LIMIT: 1,
        }
        await asyncio.sleep(60)
        for expected in (Outcome.COMPLETED, Outcome.COMPLETED, Outcome.OVER_LIMIT):
            assert (await w.manager.verify(request)).outcome is expected
            await asyncio.sleep(60)
        await asyncio.sleep(3600)
        assert (await w.manager.verify(request)).outcome is Outcome.COMPLETED
    settled(w.engine)


@pytest.mark.parametrize("bad", [{"per_hour": 0}, {"in_flight": -1}, {"spend": 0}])
def test_limits_must_be_above_zero(bad):
    """A bound that nobody could keep is refused."""
    with pytest.raises(ConfigurationError):
        TenantLimits(**bad)
