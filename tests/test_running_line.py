"""Polls and finishes meet permits where the costs of the moment decide, and nothing leaks."""

from __future__ import annotations

import asyncio
import random

import pytest

from papsms_async import RateLimit, RateLimitedError
from papsms_async.dispatcher import Rank
from papsms_async.purchase_line import PurchaseLine
from papsms_async.quota import LocalQuota
from papsms_async.running_line import CALLER, FINISH, MOST_COMPARED, RunningLine
from papsms_async.tasks import OwnedTasks
from papsms_async.testing import virtual_time
from papsms_async.verification import Priority

NEVER = 1e9
DEAR, CHEAP = 0.5, 0.001
CALM = 3


class Callers:
    """So many callers wait for a number."""

    def __init__(self, count, done):
        self.callers, self._done, self.is_late = count, done, False

    @property
    def calling_since(self):
        """The more wait, the longer the first does."""
        return -float(self.callers) if self.callers else None

    def take_over(self, permit):
        """Buy, if anybody waits."""
        if not self.callers:
            return False
        self.callers -= 1
        self._done.append("caller")
        permit.answered()
        return True


class Desk:
    """A line with a quota of its own that gives one permit a second, the first one used up."""

    def __init__(self, *, callers=0):
        self.quota = LocalQuota(RateLimit(1, 1.0), rng=random.Random(0), longest_block=30.0)
        self.tasks = OwnedTasks()
        self.line = RunningLine(self.quota, self.tasks, calm=CALM)
        self.done = []
        self.callers = self.line.buyers = Callers(callers, self.done)
        self._open = self.quota.enqueue()

    async def open(self):
        """Let the first permit go, so that all that waits is there when the next one comes."""
        (await self._open).answered()

    def wait(self, name, rank=Rank.POLL, cost=0.1, *, due=0.0, urgent_at=NEVER):
        """Have a request wait; ``cost`` may be a function."""

        async def wait():
            cost_of = cost if callable(cost) else lambda: cost
            permit = await self.line.permit(rank, due, urgent_at, cost_of)
            self.done.append(name)
            permit.answered()

        return asyncio.create_task(wait())

    async def settle(self):
        """Wait until all has had its permit; nothing is left then."""
        await asyncio.sleep(200)
        statistics = self.quota.statistics()
        assert (len(self.line), statistics.waiting, statistics.held) == (0, 0, 0)


@virtual_time
async def test_permit_goes_to_the_poll_that_loses_most():
    """By what it costs when the permit is there, not when it came; of equals the first goes."""
    desk = Desk()
    desk.wait("grows", cost=lambda: 0.3 if "dear" in desk.done else 0.1)
    desk.wait("equal 1", cost=0.2)
    desk.wait("equal 2", cost=0.2)
    desk.wait("dear", cost=DEAR)
    await desk.open()
    await desk.settle()
    assert desk.done == ["dear", "grows", "equal 1", "equal 2"]


@virtual_time
async def test_polls_go_before_finishes_and_what_is_urgent_before_all():
    """A poll of bulk that loses more goes before an interactive one that loses less."""
    desk = Desk()
    desk.wait("finish", Rank.FINISH)
    desk.wait("bulk", Rank.BULK_POLL, DEAR)
    desk.wait("urgent finish", Rank.FINISH, urgent_at=0.5)
    desk.wait("urgent poll", Rank.BULK_POLL, CHEAP, urgent_at=0.7)
    desk.wait("poll", cost=0.2)
    desk.wait("bulk that can wait", Rank.BULK_POLL, 0.1)
    await desk.open()
    await desk.settle()
    assert desk.done == [
        *("urgent finish", "urgent poll", "bulk", "poll", "bulk that can wait", "finish"),
    ]


@virtual_time
async def test_caller_goes_before_polls_that_lose_little():
    """One permit for each caller, while the dearest interactive poll costs less than a caller."""
    desk = Desk(callers=2)
    desk.wait("cheap", cost=0.9 * CALLER)
    desk.wait("dear", cost=1.1 * CALLER)
    await desk.open()
    await desk.settle()
    assert desk.done == ["dear", "caller", "caller", "cheap"]


@virtual_time
async def test_a_long_line_of_callers_counts_for_more():
    """Until few are left, they go before a poll that one caller alone would wait for."""
    desk = Desk(callers=CALM + 4)
    desk.wait("poll", cost=2.5 * CALLER)
    await desk.open()
    await desk.settle()
    assert desk.done == ["caller", "caller", "poll"]


@virtual_time
@pytest.mark.parametrize("seed", range(20))
async def test_whoever_is_named_next_is_next(seed):
    """What it says it would use a permit for is what it uses the next one for."""
    rng = random.Random(f"named {seed}")
    desk = Desk(callers=rng.randrange(CALM + 5))
    desk.callers.is_late = rng.random() < 0.5
    loop, ranks, urgent = asyncio.get_running_loop(), {}, {}
    for number in range(12):
        rank = rng.choice((Rank.POLL, Rank.BULK_POLL, Rank.FINISH))
        urgent_at = rng.choice((NEVER, NEVER, rng.uniform(0.0, 12.0)))
        cost = rng.choice((0.5 * FINISH, 0.5 * (FINISH + CALLER), 2 * CALLER))
        ranks[number], urgent[number] = rank, urgent_at
        desk.wait(number, rank, cost, due=float(number), urgent_at=urgent_at)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    told = []
    await desk.open()
    # Never at the very moment of a permit, where it may have been given and not used yet.
    await asyncio.sleep(0.003)
    while (asking := desk.line.asking()) is not None:
        before, at = len(desk.done), loop.time()
        callers = desk.callers.callers
        await asyncio.sleep(0.01)
        if len(desk.done) > before:
            told.append(asking)
            used = desk.done[before]
            if used == "caller":
                expected = ("purchase", -float(callers))
            else:
                expected = ("urgent" if at >= urgent[used] else str(ranks[used]), float(used))
            assert (asking.what, asking.since) == expected, f"seed {seed}"
    assert len(told) == len(desk.done) >= 12
    await desk.settle()


@virtual_time
async def test_late_caller_goes_before_polls_of_bulk():
    """But not before an interactive poll that loses more."""
    desk = Desk(callers=1)
    desk.callers.is_late = True
    desk.wait("cheap", cost=0.9 * CALLER)
    desk.wait("bulk", Rank.BULK_POLL, DEAR)
    desk.wait("dear", cost=2 * DEAR)
    await desk.open()
    await desk.settle()
    assert desk.done == ["dear", "caller", "bulk", "cheap"]


@virtual_time
async def test_late_caller_goes_before_no_interactive_poll():
    """A poll of bulk that loses more does not lift the caller over it."""
    desk = Desk(callers=1)
    desk.callers.is_late = True
    desk.wait("bulk", Rank.BULK_POLL, DEAR)
    desk.wait("poll", cost=0.8 * DEAR)
    await desk.open()
    await desk.settle()
    assert desk.done == ["bulk", "poll"]


@virtual_time
async def test_others_of_the_rank_have_turns():
    """A cheap poll that always loses does not keep the line before everybody else for ever."""
    desk = Desk()
    desk.wait("cheap", cost=0.0)

    async def keep_coming():
        for number in range(40):
            desk.wait(number, cost=DEAR, due=asyncio.get_running_loop().time())
            await asyncio.sleep(0.9)

    coming = asyncio.create_task(keep_coming())
    await desk.open()
    await asyncio.sleep(5)
    begun = asyncio.get_running_loop().time()
    (await desk.quota.acquire((Rank.CALL, begun))).answered()
    assert asyncio.get_running_loop().time() - begun < 10
    await coming
    await desk.settle()


@virtual_time
async def test_closing_hastens_the_finishes_that_wait():
    """They go before everything else then."""
    desk = Desk()
    desk.wait("poll", cost=DEAR)
    desk.wait("finish", Rank.FINISH)
    await asyncio.sleep(0)
    desk.line.hurry()
    await desk.open()
    await desk.settle()
    assert desk.done == ["finish", "poll"]


@virtual_time
async def test_defect_in_a_cost_loses_no_permit():
    """A poll whose cost can't be told counts for nothing, and is made all the same."""
    desk = Desk()

    def broken():
        raise ArithmeticError("no such law")

    desk.wait("broken", cost=broken)
    desk.wait("sound", cost=0.1)
    await desk.open()
    await desk.settle()
    assert desk.done == ["sound", "broken"]


@virtual_time
async def test_caller_takes_nothing_from_bulk_or_from_finishes():
    """Their tickets are the callers' own business: the line to buy has its rank among them."""
    desk = Desk(callers=1)
    desk.wait("bulk", Rank.BULK_POLL, CHEAP)
    desk.wait("finish", Rank.FINISH)
    await desk.open()
    await desk.settle()
    assert (desk.callers.callers, desk.done) == (1, ["finish", "bulk"])


@pytest.mark.parametrize("rank", [Rank.POLL, Rank.BULK_POLL])
@virtual_time
async def test_finish_goes_before_polls_that_lose_little(rank):
    """In the order of their due, each while the dearest poll costs less than a finish."""
    desk = Desk()
    desk.wait("cheap", rank, 0.9 * FINISH)
    desk.wait("dear", rank, 1.1 * FINISH)
    desk.wait("finish 1", Rank.FINISH)
    desk.wait("finish 2", Rank.FINISH)
    await desk.open()
    await desk.settle()
    assert desk.done == ["dear", "finish 1", "finish 2", "cheap"]


@virtual_time
async def test_line_has_one_ticket_and_compares_the_longest_due():
    """However many wait: the dearest behind the first few goes when it is among them."""
    desk = Desk()
    for number in range(MOST_COMPARED):
        desk.wait(number, cost=0.1, due=float(number))
    desk.wait("dear", cost=DEAR)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (len(desk.line), desk.quota.statistics().waiting) == (MOST_COMPARED + 1, 1)
    await desk.open()
    await desk.settle()
    assert desk.done[:3] == [0, "dear", 1]


@virtual_time
async def test_permits_that_come_at_once_all_go_to_the_most_urgent():
    """A second permit that the line's one ticket does not get comes by the line to buy."""
    quota = LocalQuota(RateLimit(60, 60.0), rng=random.Random(0))
    tasks = OwnedTasks()
    running = RunningLine(quota, tasks, calm=CALM)
    buying = PurchaseLine(quota, tasks, places=10, supply=1.0)
    running.buyers, buying.more_urgent = buying, running.take_over
    done = []

    async def wait(name, permit):
        (await permit).answered()
        done.append(name)

    quota.rate_limited(30.0)
    claims = [running.permit(Rank.BULK_POLL, float(n), NEVER, lambda: DEAR) for n in range(2)]
    buyer = buying.buyer(None, Priority.BULK)
    waiting = [asyncio.create_task(wait("purchase", buyer.permit()))]
    waiting += [asyncio.create_task(wait("poll", claim)) for claim in claims]
    begun = asyncio.get_running_loop().time()
    await asyncio.sleep(30.1)
    assert done == ["poll", "poll"]
    await asyncio.gather(*waiting)
    assert done == ["poll", "poll", "purchase"]
    assert asyncio.get_running_loop().time() - begun > 31.0


@virtual_time
async def test_whoever_is_cancelled_leaves_nothing():
    """In line, or between the grant and the wake-up: the permit goes to the next."""
    desk = Desk()
    first, second, third = (desk.wait(name) for name in ("first", "second", "third"))
    await desk.open()
    second.cancel()
    await asyncio.sleep(1.5)
    assert desk.done == ["first"]
    # As the permit is granted, and before its waiter could run.
    granted = desk.line._granted

    def grant(permit, at):
        granted(permit, at)
        third.cancel()

    desk.line._ticket._granted = grant
    last = desk.wait("last")
    await desk.settle()
    assert desk.done == ["first", "last"]
    assert (first.done(), second.cancelled(), third.cancelled(), last.done()) == (True,) * 4


@virtual_time
async def test_refusal_is_told_to_all():
    """When the service wants to be left alone for hours, nobody waits for it."""
    desk = Desk()
    waiting = [desk.wait("poll"), desk.wait("finish", Rank.FINISH)]
    await asyncio.sleep(0.1)
    desk.quota.rate_limited(7200.0)
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [RateLimitedError] * 2
    assert desk.done == []
    with pytest.raises(RateLimitedError):
        await desk.line.permit(Rank.POLL, 0.0, NEVER)
