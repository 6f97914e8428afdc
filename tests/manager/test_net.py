"""The poller with a safety net: whoever else tells of SMS thins the plan, and asks for looks."""

from __future__ import annotations

import asyncio
import math
from itertools import pairwise

import pytest

from papsms_async import RateLimit, Sms, SmsTimeoutError, State
from papsms_async.pricing import Quote, Reason
from papsms_async.testing import virtual_time


class Sparse:
    """A net that looks at one age, and notes what it is told."""

    def __init__(self, age: float = math.inf, *, trusting: bool = True) -> None:
        self.age = age
        self.trusting = trusting
        self.told: list[object] = []

    def next_look(self, law, *, timeout, last):
        """Return the one age, later none."""
        return math.inf if last > self.age - 1 else self.age

    def watched(self, tracked):
        """Note it."""
        self.told.append("watched")

    def answered(self, tracked, sms, *, since):
        """Note it."""
        self.told.append(None if sms is None else sms.code)


def ages_of_polls(engine):
    """Return the whole seconds from the purchase to each status request."""
    polls = [one.at for one in engine.request_log if one.route == "status"]
    bought = next(one.at for one in engine.request_log if one.route == "purchase")
    return [int(at - bought) for at in polls]


@virtual_time
async def test_sparse_net_leaves_the_polls_it_names_and_the_last(world):
    """Without a word of anybody there are the look that the net wants, and the last one."""
    async with world() as w:
        w.manager._parts.poller.agenda.net = net = Sparse(50.0)
        with pytest.raises(SmsTimeoutError):
            async with w.manager.activate("test-never", sms_timeout=120) as activation:
                await activation.wait_for_sms()
        assert ages_of_polls(w.engine) == [50, 120]
        assert net.told == ["watched", None, None]


class Dear:
    """A price so high that the plans leave permits idle."""

    def quote(self, groups, **_):
        """Return it."""
        return Quote(64.0, Reason.BALANCE)


@virtual_time
async def test_net_that_trusts_nobody_leaves_everything_as_it_is(world):
    """Then polls go as they would without a net, those with permits that lie idle included."""
    polls = []
    for net in (None, Sparse(trusting=False)):
        async with world(rate_limit=RateLimit(60, 60)) as w:
            w.manager._parts.poller.agenda.net = net
            w.manager._parts.market._controller = Dear()
            await w.manager.verify("test-never", sms_timeout=90)
            polls.append(ages_of_polls(w.engine))
    assert polls[0] == polls[1]
    # Nearly each permit of these 90 seconds, though the plan alone would have left most.
    assert len(polls[0]) > 70


@virtual_time
async def test_trusting_net_leaves_idle_permits_idle(world):
    """While somebody else tells of SMS, a permit to spare is no reason to look."""
    async with world(rate_limit=RateLimit(60, 60)) as w:
        w.manager._parts.poller.agenda.net = Sparse()
        waits = [w.manager.verify("test-never", sms_timeout=90) for _ in range(5)]
        await asyncio.gather(*waits)
        assert w.routes().count("status") == 5


@virtual_time
async def test_look_polls_at_once_and_learns_of_the_sms(world):
    """An SMS that is said to be there is asked for now; it is delivered as by any poll."""
    async with world() as w:
        poller = w.manager._parts.poller
        poller.agenda.net = Sparse()
        async with w.manager.activate("test-delay-20") as activation:
            waiter = asyncio.create_task(activation.wait_for_sms())
            await asyncio.sleep(20.5)
            poller.look(activation._tracked)
            sms = await waiter
        assert sms.code
        assert ages_of_polls(w.engine) == [20]
        assert poller.agenda.net.told == ["watched", sms.code]


@virtual_time
async def test_looks_too_early_find_nothing_and_the_wait_goes_on(world):
    """A second look may be wanted after the first; then the net's plan goes on."""
    async with world() as w:
        poller = w.manager._parts.poller
        poller.agenda.net = Sparse(60.0)
        async with w.manager.activate("test-delay-58") as activation:
            waiter = asyncio.create_task(activation.wait_for_sms())
            await asyncio.sleep(5)
            poller.look(activation._tracked)
            poller.look(activation._tracked, after=3.0)
            await waiter
        assert ages_of_polls(w.engine) == [5, 8, 60]


@virtual_time
async def test_poll_that_is_asked_after_the_word_is_the_look(world):
    """While a poll waits for its permit, further words cost nothing."""
    async with world(limit="2/10s") as w:
        poller = w.manager._parts.poller
        poller.agenda.net = Sparse()
        async with w.manager.activate("test-delay-5") as activation:
            waiter = asyncio.create_task(activation.wait_for_sms())
            await asyncio.sleep(6)
            for _ in range(5):
                poller.look(activation._tracked)
            await waiter
        assert len(ages_of_polls(w.engine)) == 1


@virtual_time
async def test_look_that_failed_is_made_again(world):
    """An error of the service does not make the word forgotten."""
    async with world(faults="status:server_error#1-2") as w:
        poller = w.manager._parts.poller
        poller.agenda.net = Sparse()
        async with w.manager.activate("test-delay-20") as activation:
            waiter = asyncio.create_task(activation.wait_for_sms())
            await asyncio.sleep(20.5)
            poller.look(activation._tracked)
            await waiter
        first, *_, last = ages_of_polls(w.engine)
        assert first == 20
        assert last < 26


@virtual_time
async def test_delivered_sms_ends_the_wait_once(world, settled):
    """What is known without a poll is the same event as one found by a poll, and comes once."""
    async with world(sms_delay="fixed:10") as w:
        poller = w.manager._parts.poller
        poller.agenda.net = Sparse()
        async with w.manager.activate("whatsapp") as activation:
            waiter = asyncio.create_task(activation.wait_for_sms())
            await asyncio.sleep(11)
            sms = Sms(code="123456", full_text="Your code: 123456")
            await poller.deliver(activation._tracked, sms)
            await poller.deliver(activation._tracked, Sms(code="999999", full_text="another"))
            assert await waiter == sms
            assert activation.state is State.RECEIVED
        assert w.routes() == ["purchase"]
    settled(w.engine)
    assert w.routes() == ["purchase", "finish"]


@virtual_time
async def test_replanning_follows_a_net_that_changed_its_mind(world):
    """A net that no longer trusts its source gives the plan back at once."""
    async with world() as w:
        poller = w.manager._parts.poller
        poller.agenda.net = net = Sparse()
        async with w.manager.activate("test-delay-60") as activation:
            waiter = asyncio.create_task(activation.wait_for_sms())
            await asyncio.sleep(40)
            assert w.routes() == ["purchase"]
            net.trusting = False
            poller.replan()
            await waiter
        ages = ages_of_polls(w.engine)
        assert 40 <= ages[0] <= 42
        assert len(ages) > 2
        assert all(later > earlier for earlier, later in pairwise(ages))


@virtual_time
async def test_waiting_tells_ages_and_last_looks(world):
    """Whoever judges the net sees how long each activation has waited, and since when blindly."""
    async with world() as w:
        poller = w.manager._parts.poller
        poller.agenda.net = Sparse(10.0)
        async with w.manager.activate("test-delay-60") as activation:
            waiter = asyncio.create_task(activation.wait_for_sms())
            await asyncio.sleep(30)
            (one,) = poller.waiting()
            assert one.tracked is activation._tracked
            assert one.age == pytest.approx(30, abs=0.1)
            assert one.last == pytest.approx(10, abs=0.1)
            assert 0 < one.law.survival(30) < 1
            waiter.cancel()
