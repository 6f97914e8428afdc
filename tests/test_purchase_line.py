"""The line to buy: permits and places meet whoever is first, and nothing leaks."""

from __future__ import annotations

import asyncio
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papsms_async import ConfigurationError, RateLimit, RateLimitedError
from papsms_async.dispatcher import Rank
from papsms_async.purchase_line import KEPT_FOR, PATIENCE, PurchaseLine
from papsms_async.quota import LocalQuota
from papsms_async.tasks import OwnedTasks
from papsms_async.testing import run_virtual, virtual_time
from papsms_async.verification import Priority

BULK, INTERACTIVE = Priority.BULK, Priority.INTERACTIVE


class Shop:
    """A line with a quota of its own that gives one permit every ``pause`` seconds."""

    def __init__(self, *, places=10, pause=1.0, weights=None):
        self.quota = LocalQuota(RateLimit(1, pause), rng=random.Random(0))
        self.tasks = OwnedTasks()
        self.line = PurchaseLine(
            self.quota, self.tasks, places=places, supply=1 / pause, weights=weights
        )
        self.bought = []
        self.inside = {}

    async def buy(self, name, priority=BULK, tenant=None):
        """Take a turn and note it; the place is kept."""
        self.inside[name] = self.line.buyer(tenant, priority)
        await self.again(name)

    async def again(self, name):
        """Take another turn."""
        permit = await self.inside[name].permit()
        permit.answered()
        self.bought.append(name)

    def leave(self, name):
        """Give the place back."""
        self.inside.pop(name).leave()

    async def start(self, *names, **options):
        """Have several join, in that order; return their tasks."""
        tasks = [asyncio.create_task(self.buy(name, **options)) for name in names]
        await asyncio.sleep(0)
        return tasks


@virtual_time
async def test_who_buys_is_decided_when_the_permit_is_there():
    """One who comes last and is more urgent takes the permit that the others waited for."""
    shop = Shop()
    await shop.start("first")
    await asyncio.sleep(0.1)
    await shop.start("bulk 1", "bulk 2")
    await asyncio.sleep(0.5)
    assert shop.bought == ["first"]
    await shop.start("urgent", priority=INTERACTIVE)
    await asyncio.sleep(10)
    assert shop.bought == ["first", "urgent", "bulk 1", "bulk 2"]
    assert shop.line.free_places == 6


@virtual_time
async def test_no_place_is_held_by_one_who_waits():
    """Hundreds in line hold no place: the interactive caller needs no more than a permit."""
    shop = Shop(places=3)
    await shop.start(*range(300))
    await asyncio.sleep(0.1)
    assert (len(shop.line), shop.line.free_places) == (299, 2)
    assert shop.quota.statistics().waiting == 1
    await shop.start("urgent", priority=INTERACTIVE)
    await asyncio.sleep(2)
    assert shop.bought == [0, "urgent"]
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


@virtual_time
async def test_places_are_never_exceeded_and_go_to_the_next():
    """Without a free place nobody buys; each place that is given back lets one in."""
    shop = Shop(places=2)
    await shop.start("a", "b", "c", "d")
    await asyncio.sleep(60)
    assert shop.bought == ["a", "b"]
    assert shop.quota.statistics().waiting == 0
    shop.leave("b")
    await asyncio.sleep(60)
    assert shop.bought == ["a", "b", "c"]
    assert shop.line.free_places == 0


@virtual_time
async def test_bulk_buys_only_while_few_are_awaited():
    """With many SMS awaited bulk lets its permits go; an interactive caller buys all the same."""
    shop = Shop()
    shop.line.awaited = lambda: len(shop.inside)
    shop.line.bound_awaited(2.5)
    await shop.start("a", "b", "c", "d", "e")
    await asyncio.sleep(60)
    assert shop.bought == []  # all that ask are taken for some that wait here
    shop.line.awaited = lambda: len(shop.bought)
    shop.line.bound_awaited(2.5)
    await asyncio.sleep(60)
    assert shop.bought == ["a", "b", "c"]
    assert shop.quota.statistics().waiting == 0
    await shop.start("urgent", priority=INTERACTIVE)
    await asyncio.sleep(60)
    assert shop.bought == ["a", "b", "c", "urgent"]
    shop.line.bound_awaited(math.inf)
    await asyncio.sleep(60)
    assert shop.bought == ["a", "b", "c", "urgent", "d", "e"]


@virtual_time
async def test_purchase_made_anew_goes_before_the_rest_and_keeps_its_place():
    """Another country is tried before a newcomer's purchase, even with all places taken."""
    shop = Shop(places=1)
    (first,) = await shop.start("a")
    await first
    await shop.start("b", priority=INTERACTIVE)
    await shop.again("a")
    assert (shop.bought, shop.line.free_places) == (["a", "a"], 0)
    shop.leave("a")
    await asyncio.sleep(5)
    assert shop.bought == ["a", "a", "b"]


@virtual_time
async def test_purchase_made_anew_is_paid_for_by_its_tenant():
    """A tenant whose purchases take two permits each gets half as many of them."""
    shop = Shop(places=1000)

    async def twice(name, tenant):
        await shop.buy(name, tenant=tenant)
        await shop.again(name)

    tasks = [
        asyncio.create_task(work)
        for n in range(40)
        for work in (twice(("a", n), "a"), shop.buy(("b", n), tenant="b"))
    ]
    await asyncio.sleep(80)
    by_a = sum(name[0] == "a" for name in shop.bought)
    assert len(shop.bought) > 38
    assert abs(2 * by_a - len(shop.bought)) <= 2
    for task in tasks:
        task.cancel()


@virtual_time
async def test_bulk_leaves_places_to_interactive_callers_while_there_are_some():
    """A quarter of four places: kept for some minutes after an interactive caller, then bulk's."""
    shop = Shop(places=4)
    await shop.start("urgent", priority=INTERACTIVE)
    await asyncio.sleep(1)
    shop.leave("urgent")
    await shop.start(*range(8))
    await asyncio.sleep(60)
    assert shop.bought == ["urgent", 0, 1, 2]
    await shop.start("again", priority=INTERACTIVE)
    await asyncio.sleep(3)
    assert shop.bought[-1] == "again"
    shop.leave("again")
    await asyncio.sleep(KEPT_FOR)
    shop.leave(0)
    await asyncio.sleep(10)
    assert (shop.bought[5:], shop.line.free_places) == ([3, 4], 0)


@pytest.mark.parametrize(("places", "bulk"), [(1, 1), (3, 3), (4, 3), (19, 18), (60, 54)])
@virtual_time
async def test_places_that_bulk_may_take(places, bulk):
    """A tenth of the places is kept, at least one, but of few places none."""
    shop = Shop(places=places, pause=0.1)
    await shop.start("urgent", priority=INTERACTIVE)
    await asyncio.sleep(1)
    shop.leave("urgent")
    tasks = await shop.start(*range(2 * places))
    await asyncio.sleep(100)
    assert len(shop.bought) == 1 + bulk
    for task in tasks:
        task.cancel()


def others(shop, *waiting):
    """Have others wait for permits of the same quota: names, ranks, and when they were due."""

    async def wait(name, rank, due):
        (await shop.quota.acquire((rank, due))).answered()
        shop.bought.append(name)

    return [asyncio.create_task(wait(*one)) for one in waiting]


@virtual_time
async def test_interactive_purchases_go_before_what_can_wait():
    """Before finishes and bulk, among the polls of bulk, behind those of interactive callers."""
    shop = Shop(pause=10.0)
    now = asyncio.get_running_loop().time
    await shop.start("before")
    await asyncio.sleep(5)
    await shop.start("bulk", "more bulk")
    work = others(
        shop,
        ("finish", Rank.FINISH, now() - 20),
        ("due before", Rank.BULK_POLL, now() - 1),
        ("due later", Rank.BULK_POLL, now() + 1),
        ("poll", Rank.POLL, now() + 2),
    )
    await shop.start("urgent", priority=INTERACTIVE)
    await asyncio.sleep(200)
    assert shop.bought == [
        "before",
        "poll",
        "due before",
        "urgent",
        "due later",
        "finish",
        "bulk",
        "more bulk",
    ]
    await asyncio.gather(*work)


@virtual_time
async def test_interactive_caller_waits_for_a_few_polls_of_bulk_at_most():
    """However many are overdue, three go first; and of more callers each lets three pass."""
    shop = Shop(pause=10.0)
    now = asyncio.get_running_loop().time
    await shop.start("before")
    await asyncio.sleep(5)
    work = others(shop, *((n, Rank.BULK_POLL, now() - 1000 + n) for n in range(12)))
    (gone,) = await shop.start("gone", priority=INTERACTIVE)
    await shop.start("bulk")
    await shop.start("first", "second", priority=INTERACTIVE)
    await asyncio.sleep(1)
    gone.cancel()
    await asyncio.sleep(600)
    order = [name for name in shop.bought if not isinstance(name, int)]
    assert order == ["before", "first", "second", "bulk"]
    assert 1 <= shop.bought.index("first") - 1 <= PATIENCE
    assert shop.bought.index("second") - shop.bought.index("first") - 1 <= PATIENCE
    await asyncio.gather(*work)


@virtual_time
async def test_line_that_hurried_for_a_caller_who_left_waits_like_bulk_again():
    """Nobody calls any more: running activations go first."""
    shop = Shop(pause=10.0)
    now = asyncio.get_running_loop().time
    await shop.start("before")
    await asyncio.sleep(5)
    (gone,) = await shop.start("gone", priority=INTERACTIVE)
    shop.quota.rate_limited(100.0)
    await asyncio.sleep(90)
    await shop.start("bulk")
    work = others(shop, ("poll", Rank.BULK_POLL, now()), ("finish", Rank.FINISH, now()))
    gone.cancel()
    await asyncio.sleep(100)
    assert shop.bought == ["before", "poll", "finish", "bulk"]
    await asyncio.gather(*work)


@virtual_time
async def test_long_block_is_told_to_everyone_in_line():
    """When the service wants to be left alone for hours, all who wait learn it at once."""
    shop = Shop()
    await shop.start("a")
    tasks = await shop.start("b", "c", "d")
    await asyncio.sleep(0.5)
    shop.quota.rate_limited(3600.0)
    await asyncio.sleep(0.1)
    for task in tasks:
        assert isinstance(task.exception(), RateLimitedError)
    for name in "abcd":
        shop.leave(name)
    assert shop.line.free_places == 10


@settings(max_examples=150)
@given(data=st.data())
def test_whatever_comes_and_goes_nothing_leaks(data):
    """Any mix of joining, cancelling, leaving and buying anew: places and permits add up.

    In the end all places are free, no permit is out and no ticket waits; and at no time are more
    places taken than there are.
    """
    places = data.draw(st.integers(1, 5), label="places")
    script = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from(["join", "cancel", "leave", "again", "wait", "step"]),
                st.integers(0, 9),
            ),
            max_size=40,
        ),
        label="script",
    )

    async def scenario():
        shop = Shop(places=places, pause=0.2)
        tasks = {}
        for number, (what, which) in enumerate(script):
            names = list(tasks)
            name = names[which % len(names)] if names else None
            match what:
                case "join":
                    priority = INTERACTIVE if which % 3 == 0 else BULK
                    tasks[number] = asyncio.create_task(
                        shop.buy(number, priority, (None, "a", "b")[which % 3])
                    )
                case "cancel" if name is not None:
                    tasks[name].cancel()
                case "leave" if name is not None:
                    task = tasks.pop(name)
                    task.cancel()
                    await asyncio.wait({task})
                    if name in shop.inside:
                        shop.leave(name)
                case "again" if name is not None and tasks[name].done():
                    if name in shop.inside and shop.inside[name].has_place:
                        tasks[name] = asyncio.create_task(shop.again(name))
                case "step":
                    await asyncio.sleep(0)
                case "wait":
                    await asyncio.sleep(0.05 * which)
            taken = sum(buyer.has_place for buyer in shop.inside.values())
            assert taken == places - shop.line.free_places <= places
        await asyncio.sleep(1000)
        waiting = sum(not task.done() for task in tasks.values())
        assert len(shop.line) == waiting
        # Whoever still waits does so for want of a place.
        kept = places // 4
        assert not waiting or shop.line.free_places <= kept
        for task in tasks.values():
            task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for name in tuple(shop.inside):
            shop.leave(name)
        await asyncio.sleep(1000)
        assert shop.line.free_places == places
        assert (len(shop.line), len(shop.tasks)) == (0, 0)
        statistics = shop.quota.statistics()
        assert (statistics.held, statistics.waiting) == (0, 0)

    run_virtual(scenario())


@pytest.mark.parametrize(
    "weights",
    [{"a": 0}, {"a": -1}, {"a": float("nan")}, {"a": "2"}, {"a": True}, {"a": 1e9}, "a=2", 3],
)
def test_impossible_weights_are_refused_at_once(weights):
    """A weight that is no number above zero gives a sentence that names the tenant."""
    with pytest.raises(ConfigurationError, match="tenant"):
        Shop(weights=weights)


@virtual_time
async def test_weights_may_come_from_a_function():
    """It is asked for each order, may say nothing, and an impossible answer is told."""
    shop = Shop(weights=lambda tenant: {"a": 3.0, "bad": -1.0}.get(tenant))
    assert shop.line.buyer("a", BULK).weight == 3.0
    assert shop.line.buyer("b", BULK).weight == 1.0
    assert shop.line.buyer(None, BULK).weight == 1.0
    with pytest.raises(ConfigurationError, match="'bad'"):
        shop.line.buyer("bad", BULK)


class BrokenQuota(LocalQuota):
    """A quota that can give no permit, and counts how often it is asked."""

    asked = 0

    def enqueue(self, priority=(0,)):
        """Give a ticket that fails."""
        self.asked += 1
        return BrokenTicket()


class BrokenTicket:
    """A ticket that fails with an error that is none of ours."""

    def __await__(self):
        yield from asyncio.sleep(1.0).__await__()
        raise ConnectionError("the quota's store is gone")

    def withdraw(self):
        """It holds nothing."""

    def reprioritise(self, priority):
        """It is first anyway."""


@virtual_time
async def test_an_error_of_the_quota_reaches_who_waits():
    """A quota that fails fails the orders in line, one a try, and is not asked for ever."""
    quota = BrokenQuota(RateLimit(1, 1.0))
    line = PurchaseLine(quota, OwnedTasks(), places=10, supply=1.0)
    buyers = [line.buyer(None, BULK) for _ in range(3)]
    orders = [asyncio.create_task(buyer.permit()) for buyer in buyers]
    ended, waiting = await asyncio.wait(orders, timeout=10)
    assert (len(ended), len(waiting)) == (3, 0)
    assert {type(order.exception()) for order in ended} == {ConnectionError}
    for buyer in buyers:
        buyer.leave()
    await asyncio.sleep(60)
    assert (quota.asked, line.free_places) == (3, 10)


@virtual_time
async def test_permit_of_another_line_is_never_bulks():
    """A caller that was cancelled and is not gone yet does not let bulk go in its place."""
    quota = LocalQuota(RateLimit(60, 60.0), rng=random.Random(0))
    line = PurchaseLine(quota, OwnedTasks(), places=10, supply=1.0)
    permit = await quota.acquire()
    quota.rate_limited(30.0)
    caller = asyncio.create_task(line.buyer(None, Priority.INTERACTIVE).permit())
    bulk = asyncio.create_task(line.buyer(None, Priority.BULK).permit())
    await asyncio.sleep(0)
    caller.cancel()
    assert line.calling_since is not None
    assert not line.take_over(permit)
    await asyncio.sleep(1)
    assert caller.cancelled()
    assert not bulk.done()
    bulk.cancel()
    permit.unsent()
