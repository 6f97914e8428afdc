"""What others do at a bad moment: a ledger that fails, a key's source that is away, a close in
between. Nothing that was paid for is forgotten for it."""

from __future__ import annotations

import asyncio
from collections import Counter

import attrs
import pytest

from papsms_async import (
    ActivationEndedError,
    ConfigurationError,
    LedgerError,
    ManagerClosedError,
    Money,
    Outcome,
    PurchaseUnknownError,
    RateLimit,
    SmsTimeoutError,
    State,
    VerificationRequest,
)
from papsms_async.ledger import LedgerConflictError, MemoryLedger, PassingLedger
from papsms_async.testing import virtual_time


@pytest.mark.parametrize(
    "options", [{"budget": 10}, {"webhook": "https://example.org"}, {"max_in_flight": 0}]
)
@virtual_time
async def test_arguments_that_can_not_be_used_are_one_sentence(world, options):
    """Nothing is begun with an argument of another type or range."""
    async with world() as w:
        with pytest.raises(ConfigurationError):
            w.service.manager(w.client, **options)


class FailingLedger(MemoryLedger):
    """A ledger that refuses writes to the states that it is told."""

    def __init__(self):
        super().__init__()
        self.refuse = Counter()

    async def move(self, intent_id, expected, state, **fields):
        if self.refuse[state] > 0:
            self.refuse[state] -= 1
            raise LedgerError("The disk is full.")
        return await super().move(intent_id, expected, state, **fields)


@pytest.mark.parametrize(
    "state",
    [
        State.WAITING,
        State.RECEIVED,
        State.COMPLETING,
        State.COMPLETED,
        State.CANCELLING,
        State.CANCELLED,
    ],
)
@pytest.mark.parametrize("times", [1, 3])
@virtual_time
async def test_ledger_that_fails_for_a_while_catches_up(world, settled, state, times):
    """A write that fails after the purchase does not stop its life, and is made up for later."""
    ledger = FailingLedger()
    async with world(manager={"database": ledger}) as w:
        ledger.refuse[state] = times
        for service in ("whatsapp", "test-never"):
            await w.manager.verify(service, sms_timeout=30)
        await asyncio.sleep(600)
        entries = await ledger.entries()
        assert {e.service: e.state for e in entries} == {
            "whatsapp": State.COMPLETED,
            "test-never": State.CANCELLED,
        }
        assert all(entry.cost and entry.activation_id for entry in entries)
        assert ledger.refuse[state] < times
    settled(w.engine)


@pytest.mark.parametrize("state", [State.COMPLETING, State.CANCELLING])
@virtual_time
async def test_no_finish_is_sent_that_another_process_could_not_know_of(world, settled, state):
    """On a shared ledger a decision is durable before the service hears of it."""
    ledger = FailingLedger()
    # Which of them is in memory, and so its process's alone, can't be seen behind another one.
    async with world(manager={"database": PassingLedger(ledger)}) as w:
        service = "whatsapp" if state is State.COMPLETING else "test-never"
        ledger.refuse[state] = 1_000_000
        await w.manager.verify(service, sms_timeout=30)
        await asyncio.sleep(600)
        assert "finish" not in w.routes()
        ledger.refuse.clear()
        await asyncio.sleep(600)
        (entry,) = await ledger.entries()
        assert entry.state in (State.COMPLETED, State.CANCELLED)
    settled(w.engine)


class Vault:
    """A source of the key that can be out of reach."""

    def __init__(self):
        self.key = "sandbox"
        self.away = False

    def __call__(self):
        if self.away:
            raise OSError("the vault at secret-host is away")
        return self.key


def revoke(engine, vault):
    """Replace the key at the service, while nobody can read the new one."""
    engine.config = attrs.evolve(engine.config, api_keys=frozenset({"new"}))
    vault.key, vault.away = "new", True


@virtual_time
async def test_key_source_that_fails_is_a_typed_error_and_loses_nothing(world, settled):
    """Waits end at their timeout, purchases are refused, finishes go out when the key is back."""
    vault = Vault()
    async with world() as w:
        async with w.service.client(vault, rate_limit=RateLimit(6000, 60)) as client:
            async with w.service.manager(client) as manager:
                with pytest.raises(SmsTimeoutError):
                    async with manager.activate("test-never", sms_timeout=20) as activation:
                        revoke(w.engine, vault)
                        await activation.wait_for_sms()
                with pytest.raises(ConfigurationError, match="source of the API key") as caught:
                    await manager.activate("whatsapp").__aenter__()
                assert "secret-host" not in str(caught.value)
                assert await manager.ledger.entries({State.SENDING}) == ()
                vault.away = False
                await asyncio.sleep(600)
                assert manager.owed == ()
    settled(w.engine)


@virtual_time
async def test_number_that_comes_while_the_manager_closes_is_released(world, settled):
    """Whatever the moment between the purchase's answer and the flow's begin."""
    for spins in range(6):
        async with world(sms_delay="never") as w:
            closing = []

            async def close(manager, spins=spins, closing=closing):
                for _ in range(spins):
                    await asyncio.sleep(0)
                closing.append(asyncio.create_task(manager.aclose()))

            def listen(event, close=close, w=w, closing=closing):
                if event.kind == "purchased":
                    closing.append(asyncio.create_task(close(w.manager)))

            w.manager.subscribe(listen)

            async def flow(w=w):
                async with w.manager.activate("whatsapp", sms_timeout=100) as activation:
                    await activation.wait_for_sms()

            with pytest.raises(ManagerClosedError):
                await asyncio.wait_for(flow(), 50)
            await w.manager.aclose()
            settled(w.engine)
            assert await w.manager.ledger.entries({State.WAITING, State.SENDING}) == ()


@virtual_time
async def test_purchase_without_answer_at_a_bounded_close_is_unknown(world):
    """What may have been bought is told as such, with its money, and stays in the ledger."""
    async with world(faults="purchase:hang=after@1") as w:
        task = asyncio.create_task(w.manager.verify("whatsapp"))
        await asyncio.sleep(1)
        await w.manager.aclose(drain_timeout=5)
        result = await task
        assert result.outcome is Outcome.UNKNOWN
        assert isinstance(result.error, PurchaseUnknownError)
        assert result.error.money is Money.UNKNOWN
        assert result.cost_uncertain == 3
        (entry,) = await w.manager.ledger.entries()
        assert entry.state is State.UNKNOWN


@virtual_time
async def test_fallback_that_waits_for_its_permit_does_not_hold_the_close_up(world):
    """A refused purchase is over; the next country's waits and can be given up at once."""
    request = VerificationRequest("test-no-numbers-us", "us", fallbacks=("gb",))
    async with world(rate_limit=RateLimit(1, 60), manager={"max_in_flight": 1}) as w:
        first = asyncio.create_task(w.manager.verify(request))
        await asyncio.sleep(1)
        first.cancel()
        await asyncio.wait({first})
        second = asyncio.create_task(w.manager.verify(request))
        await asyncio.sleep(1)
        start = asyncio.get_running_loop().time()
        await w.manager.aclose()
        assert asyncio.get_running_loop().time() - start < 1
        assert (await second).outcome is Outcome.CANCELLED
        assert w.routes() == ["purchase"]


@virtual_time
async def test_flow_whose_own_task_was_cancelled_failed_and_run_goes_on(world, settled):
    """A cancellation that is not the caller's is the flow's failure, not the end of everything."""

    async def flow(activation):
        if activation.request.reference == "bad":
            task = asyncio.create_task(asyncio.sleep(60))
            asyncio.get_running_loop().call_later(1, task.cancel)
            await task
        await activation.wait_for_sms()

    async with world() as w:
        requests = [VerificationRequest("whatsapp", reference=name) for name in ("bad", "a", "b")]
        outcomes = Counter([r.outcome async for r in w.manager.run(requests, flow=flow)])
        assert outcomes == {Outcome.FAILED: 1, Outcome.COMPLETED: 2}
    settled(w.engine)


@virtual_time
async def test_stop_buying_lets_a_purchase_on_the_wire_have_its_flow(world, settled):
    """What is being bought already goes on to its end."""
    async with world(faults="purchase:slow=5#1") as w:
        task = asyncio.create_task(w.manager.verify("whatsapp"))
        await asyncio.sleep(1)
        w.manager.stop_buying()
        assert (await task).outcome is Outcome.COMPLETED
    settled(w.engine)


@virtual_time
async def test_held_number_is_not_taken_up_twice_and_an_ended_one_not_detached(world, settled):
    """One driver each: what a flow holds is not resumed, what is over is not handed on."""
    async with world() as w:
        async with w.manager.activate("whatsapp") as activation:
            with pytest.raises(LedgerConflictError):
                async with w.manager.resume(activation.token):
                    pytest.fail("it is held")
            assert await w.manager.advance(activation.intent_id) > 0
            await activation.cancel()
            with pytest.raises(ActivationEndedError):
                await activation.detach()
    settled(w.engine)
    assert w.manager.statistics().spend == 0


@virtual_time
async def test_bare_404_of_a_proxy_is_not_taken_for_the_end(world, settled):
    """Only the service itself, or the number's expiry, can say that there is nothing to finish."""
    async with world(faults="finish:server_error=404/html#1-5") as w:
        await w.manager.verify("test-never", sms_timeout=5)
        await asyncio.sleep(600)
        (entry,) = await w.manager.ledger.entries()
        assert entry.state is State.CANCELLED
    settled(w.engine)


@virtual_time
async def test_polls_in_line_are_counted_right(world, settled):
    """A flow that ends in the moment in which its poll falls due leaves no trace in the price."""
    async with world(sms_delay="never") as w:
        for _ in range(20):
            async with w.manager.activate("whatsapp") as activation:
                waiter = asyncio.create_task(activation.wait_for_sms())
                await asyncio.sleep(0)
                due = w.manager._parts.poller.agenda.get(activation._tracked).alarm.when()
                moment = asyncio.Event()
                asyncio.get_running_loop().call_at(due, moment.set)
                await moment.wait()
            with pytest.raises(ActivationEndedError):
                await waiter
        await asyncio.sleep(60)
        assert w.manager._parts.poller.due == 0
    settled(w.engine)


@virtual_time
async def test_what_fails_at_the_close_keeps_nothing_open(world, monkeypatch):
    """Though one part can't be closed, the ledger is closed all the same, and the error is told."""
    closed = []
    with pytest.raises(RuntimeError, match="keeper"):
        async with world() as w:
            ledger = w.manager.ledger
            whole = ledger.aclose

            async def aclose():
                closed.append(True)
                await whole()

            async def fail():
                raise RuntimeError("the keeper is stuck")

            monkeypatch.setattr(ledger, "aclose", aclose)
            monkeypatch.setattr(w.manager._parts.keeper, "close", fail)
    assert closed == [True]
