"""Cancelling a caller at every await of a lifecycle: nothing that was paid for is left behind."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from papsms_async import PapSMSError, State
from papsms_async.sandbox import SandboxConfig, SandboxEngine
from papsms_async.testing import MemoryService, MemoryTransport, run_virtual

STEPS = 60
"""Later than the last await of the flows below, as `test_every_await_is_reached` shows."""


async def lifecycle(manager, service):
    """Run a whole activation and wait for its SMS."""
    async with manager.activate(service) as activation:
        await activation.wait_for_sms()


class Stepper:
    """Runs a coroutine in a task and counts how often it is resumed."""

    def __init__(self, work):
        self.steps = 0
        self._work = work

    def __await__(self):
        inner = self._work.__await__()
        value = None
        error = None
        while True:
            self.steps += 1
            try:
                awaited = inner.send(value) if error is None else inner.throw(error)
            except StopIteration as stop:
                return stop.value
            value = error = None
            try:
                value = yield awaited
            except BaseException as raised:
                error = raised


async def as_coroutine(awaitable):
    """Make a coroutine of any awaitable."""
    return await awaitable


async def cancel_after(delay, how, task, scope):
    """Cancel ``task`` in the way ``how`` after ``delay`` seconds."""
    await asyncio.sleep(delay)
    if how == "scope":
        scope.cancel()
        return
    task.cancel()
    if how == "doubled":
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()


async def cancelled_lifecycle(world, settled, service, delay, how, faults=()):
    """Run one lifecycle that is cancelled after ``delay`` seconds, and judge what is left."""
    async with world(faults=faults, sms_delay="fixed:2") as w:
        scope = anyio.CancelScope()
        if how == "timeout":

            async def timed():
                async with asyncio.timeout(delay):
                    await lifecycle(w.manager, service)

            task = asyncio.create_task(timed())
        else:

            async def scoped():
                with scope:
                    await lifecycle(w.manager, service)

            task = asyncio.create_task(scoped())
        killer = asyncio.create_task(cancel_after(delay, how, task, scope))
        if how == "timeout":
            killer.cancel()
        await asyncio.wait({task, killer})
        error = None if task.cancelled() else task.exception()
        assert error is None or isinstance(error, TimeoutError | PapSMSError)
    settled(w.engine)
    assert w.manager.statistics().in_flight == 0
    assert w.manager.owed == ()
    return task


# The transport takes 25 ms each way, the first poll is at some seconds: these instants fall before,
# into and between all requests of the lifecycle, and onto their very ends.
INSTANTS = sorted(
    {0.0, 0.0125, 0.025, 0.0375, 0.05, 0.0500001, 0.075, 0.1}
    | {n * 0.25 for n in range(1, 33)}
    | {n * 0.0125 + 2 for n in range(16)}
)


@pytest.mark.parametrize("how", ["native", "doubled", "timeout", "scope"])
def test_cancelled_at_any_instant_everything_is_released(world, settled, how):
    """Whenever and however the caller is cancelled, each bought number is finished once."""
    for delay in INSTANTS:
        run_virtual(cancelled_lifecycle(world, settled, "whatsapp", delay, how))


@pytest.mark.parametrize("how", ["native", "doubled", "scope"])
@pytest.mark.parametrize(
    "faults",
    [
        "purchase:slow=3#1",
        "purchase:rate_limited#1",
        "finish:server_error#1",
        "finish:drop_after#1",
        "status:hang#1",
    ],
)
def test_cancelled_while_things_go_wrong_everything_is_released(world, settled, how, faults):
    """The same with faults, which make further awaits."""
    for delay in INSTANTS[::4]:
        run_virtual(cancelled_lifecycle(world, settled, "whatsapp", delay, how, faults))


async def cancelled_at_step(world, settled, step):
    """Cancel the caller at its ``step``-th await; return whether it got so far."""
    async with world(sms_delay="fixed:2") as w:
        stepper = Stepper(lifecycle(w.manager, "whatsapp"))
        task = asyncio.create_task(as_coroutine(stepper))
        while stepper.steps < step and not task.done():
            await asyncio.sleep(0.001)
        reached = not task.done()
        task.cancel()
        await asyncio.wait({task})
    settled(w.engine)
    return reached


def test_every_await_is_reached(world, settled):
    """Step by step through the caller's awaits, to beyond the last, nothing is left behind."""
    reached = [run_virtual(cancelled_at_step(world, settled, step)) for step in range(1, STEPS)]
    assert reached[0]
    assert not reached[-1]


class WritingInATask(MemoryTransport):
    """Lets a request leave in a task of its own, as aiohttp does."""

    async def send(self, request, *, key, timeout, on_sent=None):
        """See `Transport.send`."""

        async def leave():
            if on_sent is not None:
                on_sent()

        leaving = asyncio.create_task(leave())
        try:
            await asyncio.wait({leaving})
        finally:
            leaving.cancel()
        leaving.result()
        return await super().send(request, key=key, timeout=timeout)


async def cancelled_at_turn(turn):
    """Cancel the caller at a turn of the loop; return what became of the purchase."""
    service = MemoryService(SandboxEngine(SandboxConfig(sms_delay="fixed:2")))
    service.transport = WritingInATask(service.engine)
    async with service.client() as client, service.manager(client) as manager:
        task = asyncio.create_task(lifecycle(manager, "whatsapp"))
        for _ in range(turn):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
    assert service.engine.open_activations() == []
    return [entry.state for entry in await manager.ledger.entries()]


def test_purchase_that_leaves_while_its_caller_does_is_not_lost():
    """Whichever comes first: it is stopped before it leaves, or its answer is waited for."""
    ends = [run_virtual(cancelled_at_turn(turn)) for turn in range(STEPS)]
    assert ends[0] == []
    assert ends[-1] == [State.CANCELLED]
    assert {state for end in ends for state in end} == {State.REFUSED, State.CANCELLED}


def test_purchase_on_the_wire_is_not_lost_to_a_cancelled_caller(world, settled):
    """Bought after the caller was gone: the number is released, not forgotten."""

    async def scenario():
        async with world(faults="purchase:slow=5#1") as w:
            task = asyncio.create_task(lifecycle(w.manager, "whatsapp"))
            await asyncio.sleep(1)
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()
            assert w.engine.charge_log[0].kind == "purchase"
        settled(w.engine)
        assert [str(entry.kind) for entry in w.engine.charge_log] == [
            "purchase",
            "cancel",
            "refund",
        ]

    run_virtual(scenario())


def test_purchase_that_waits_for_a_permit_is_not_made_for_a_cancelled_caller(world, settled):
    """Cancelled before its turn: no purchase is sent, and no place is lost."""

    async def scenario():
        async with world(manager={"max_in_flight": 1}) as w:
            async with w.manager.activate("whatsapp"):
                task = asyncio.create_task(lifecycle(w.manager, "whatsapp"))
                await asyncio.sleep(1)
                task.cancel()
                await asyncio.wait({task})
            await lifecycle(w.manager, "whatsapp")
            assert w.routes().count("purchase") == 2
        settled(w.engine)

    run_virtual(scenario())


def test_closing_while_flows_run_releases_their_numbers(world, settled):
    """Closing the manager ends waits with a typed error and finishes every number."""

    async def scenario():
        async with world(sms_delay="never") as w:
            tasks = [asyncio.create_task(lifecycle(w.manager, "whatsapp")) for _ in range(5)]
            await asyncio.sleep(3)
        await asyncio.wait(tasks)
        assert all(isinstance(task.exception(), PapSMSError) for task in tasks)
        settled(w.engine)
        assert len(w.engine.charge_log) == 15

    run_virtual(scenario())


def test_cancelled_while_closing_still_drains(world, settled):
    """A cancellation of the close itself is delivered after the numbers are finished."""

    async def scenario():
        async with world(sms_delay="never") as w:

            async def one():
                async with w.manager.activate("whatsapp"):
                    await asyncio.sleep(3)
                await w.manager.aclose()

            task = asyncio.create_task(one())
            await asyncio.sleep(3.06)
            task.cancel()
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()
            assert w.manager.owed == ()
        settled(w.engine)

    run_virtual(scenario())


def test_purchase_turned_away_after_its_caller_was_gone_is_not_sent_again(world, settled):
    """A 429 that comes when nobody wants the number any more ends the purchase."""

    async def scenario():
        async with world(faults="purchase:rate_limited#1") as w:
            task = asyncio.create_task(lifecycle(w.manager, "whatsapp"))
            await asyncio.sleep(0.04)
            task.cancel()
            await asyncio.sleep(120)
            assert w.routes() == ["purchase"]
            assert w.manager.statistics().queued == 0
        assert w.engine.charge_log == []

    run_virtual(scenario())
