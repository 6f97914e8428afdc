"""Those who wait for a permit: their order, their leaving, and what they cost."""

import asyncio
import gc
import sys
from collections.abc import Callable, Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async.bucket import EPSILON
from papsms_async.limits import QuotaProfile, RateLimit
from papsms_async.quota import LocalQuota, Permit, Priority, Ticket
from papsms_async.testing import VirtualTimeLoop, run_virtual, virtual_time

LIMIT = RateLimit(10, per=10.0)


def timers(loop: asyncio.AbstractEventLoop) -> int:
    """Return how many timers are set."""
    return sum(1 for handle in loop._scheduled if not handle.cancelled())  # type: ignore[attr-defined]


async def use_up(quota: LocalQuota) -> list[Permit]:
    """Take every permit that is ready now and keep it."""
    return [await quota.acquire() for _ in range(quota.statistics().available)]


async def order_of_service(quota: LocalQuota, priorities: list[Priority]) -> list[int]:
    """Let waiters with these priorities draw tickets in turn; return the order of their grants."""
    served: list[int] = []

    async def wait(number: int, ticket: Ticket) -> None:
        permit = await ticket
        served.append(number)
        permit.answered()

    async with asyncio.TaskGroup() as group:
        for number, priority in enumerate(priorities):
            group.create_task(wait(number, quota.enqueue(priority)))
    return served


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1)), max_size=30))
def test_the_lowest_priority_is_served_first_and_equals_in_turn(priorities: list[Priority]) -> None:
    """Among those who wait, grants follow the priority, and the age among equals."""

    async def main() -> list[int]:
        quota = LocalQuota(LIMIT)
        for permit in await use_up(quota):
            permit.answered()
        return await order_of_service(quota, priorities)

    # `sorted` is stable: equals stay in the order in which they came.
    assert run_virtual(main()) == sorted(range(len(priorities)), key=lambda i: priorities[i])


@virtual_time
async def test_a_permit_that_is_ready_is_granted_at_once() -> None:
    """Without waiters, `acquire` does not even yield to the event loop."""
    quota = LocalQuota(LIMIT)
    with pytest.raises(StopIteration) as stop:
        quota.acquire().send(None)
    stop.value.value.answered()
    assert quota.statistics().granted == 1


@virtual_time
async def test_newcomers_never_overtake_equals() -> None:
    """A stream of newcomers of the same priority does not starve the one who waits."""
    quota, served = LocalQuota(LIMIT), []

    async def wait(number: int) -> None:
        permit = await quota.acquire()
        served.append(number)
        permit.answered()

    async with asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(wait(number))
            await asyncio.sleep(0.31)  # faster than permits come
    assert served == list(range(200))


@virtual_time
async def test_a_newcomer_in_front_of_a_late_timer_does_not_jump_the_queue() -> None:
    """Whoever comes after a permit is ready and before the timer fires stands behind the others."""
    quota, loop = LocalQuota(LIMIT), asyncio.get_running_loop()
    for permit in await use_up(quota):
        permit.answered()
    elder, newcomers = quota.enqueue(), list[Ticket]()
    assert quota._timer is not None
    # As near before the timer as counts as the same instant.
    loop.call_at(quota._timer.when() - EPSILON / 2, lambda: newcomers.append(quota.enqueue()))
    (await elder).answered()
    served = loop.time()
    (await newcomers[0]).answered()
    assert loop.time() > served + 1


@virtual_time
async def test_the_choice_is_made_when_the_permit_is_there() -> None:
    """Somebody more urgent who comes late is served before all who wait already."""
    quota = LocalQuota(LIMIT)
    held = await use_up(quota)
    early = [quota.enqueue((1,)) for _ in range(3)]
    await asyncio.sleep(0.1)
    urgent = quota.enqueue((0,))
    (await urgent).answered()
    for permit in held:
        permit.answered()
    for ticket in early:
        (await ticket).answered()


@virtual_time
async def test_a_ticket_can_be_moved_forward_and_back() -> None:
    """`reprioritise` changes the order of service, and among equals the age still decides."""
    quota = LocalQuota(LIMIT)
    for permit in await use_up(quota):
        permit.answered()
    tickets = [quota.enqueue((priority,)) for priority in (1, 1, 1, 1)]
    served: list[int] = []

    async def wait(number: int) -> None:
        (await tickets[number]).answered()
        served.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(wait(number))
        await asyncio.sleep(0)
        tickets[3].reprioritise((0,))
        tickets[0].reprioritise((2,))
        tickets[1].reprioritise((9,))
        tickets[1].reprioritise((1,))  # back among its equals, and still the eldest of them
    assert served == [3, 1, 2, 0]
    tickets[0].reprioritise((0,))  # long granted: nothing happens
    assert quota.statistics().waiting == 0


@virtual_time
async def test_tickets_can_be_drawn_in_callbacks() -> None:
    """`enqueue` needs no task, only the running loop."""
    quota, loop = LocalQuota(LIMIT), asyncio.get_running_loop()
    tickets: list[Ticket] = []
    for delay in range(5):
        loop.call_later(delay / 10, lambda: tickets.append(quota.enqueue()))
    await asyncio.sleep(1)
    for ticket in tickets:
        (await ticket).answered()
    assert quota.statistics().granted == 5


@virtual_time
async def test_a_permit_that_comes_back_unsent_wakes_the_next() -> None:
    """`unsent` lets the next waiter go at once, without a timer."""
    quota, loop = LocalQuota(RateLimit(1, per=60.0)), asyncio.get_running_loop()
    permit = await quota.acquire()
    waiter = asyncio.ensure_future(quota.acquire())
    await asyncio.sleep(5)
    assert timers(loop) == 0
    permit.unsent()
    (await waiter).answered()
    assert loop.time() == 5


@pytest.mark.parametrize("first", ["answered", "lost", "unsent"])
@virtual_time
async def test_only_the_first_report_on_a_permit_counts(first: str) -> None:
    """Later reports on the same permit change nothing."""
    quota = LocalQuota(LIMIT)
    permit = await quota.acquire()
    getattr(permit, first)()
    before = quota.statistics()
    permit.answered()
    permit.lost(5.0)
    permit.unsent()
    assert quota.statistics() == before
    assert before.held == 0
    assert before.cooling == (0 if first == "unsent" else 1)
    assert (before.granted, before.unsent) == ((0, 1) if first == "unsent" else (1, 0))
    assert before.lost == (1 if first == "lost" else 0)


# Leaving -----------------------------------------------------------------------------------------


async def _cancel_waiting(_quota: LocalQuota, task: asyncio.Task[Permit], _: Permit) -> None:
    task.cancel()


async def _cancel_after_grant(_quota: LocalQuota, task: asyncio.Task[Permit], held: Permit) -> None:
    held.unsent()  # grants synchronously; the task has not run since
    task.cancel()


async def _grant_after_cancel(_quota: LocalQuota, task: asyncio.Task[Permit], held: Permit) -> None:
    task.cancel()
    held.unsent()


@pytest.mark.parametrize("leave", [_cancel_waiting, _cancel_after_grant, _grant_after_cancel])
@virtual_time
async def test_a_cancelled_waiter_takes_no_permit_along(leave: Callable[..., Any]) -> None:
    """Cancelled while waiting, after its grant, or at once with it: the permit goes to the next."""
    quota, loop = LocalQuota(RateLimit(1, per=60.0)), asyncio.get_running_loop()
    held = await quota.acquire()
    task = asyncio.create_task(quota.acquire())
    following = asyncio.create_task(quota.acquire())
    await asyncio.sleep(1)
    await leave(quota, task, held)
    with pytest.raises(asyncio.CancelledError):
        await task
    held.unsent()
    permit = await following
    assert loop.time() == 1
    assert quota.statistics().held == 1
    permit.unsent()
    assert (quota.statistics().held, quota.statistics().granted) == (0, 0)
    assert timers(loop) == 0


@virtual_time
async def test_a_waiter_that_times_out_leaves_no_timer() -> None:
    """After `asyncio.timeout` nothing of the waiter is left."""
    quota, loop = LocalQuota(LIMIT), asyncio.get_running_loop()
    for permit in await use_up(quota):
        permit.answered()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await quota.acquire()
    assert quota.statistics().waiting == 0
    assert timers(loop) == 0


@virtual_time
async def test_a_withdrawn_ticket_ends_its_waiter() -> None:
    """Whoever awaits a ticket that somebody else withdraws is cancelled."""
    quota = LocalQuota(LIMIT)
    for permit in await use_up(quota):
        permit.answered()
    ticket = quota.enqueue()
    waiter = asyncio.ensure_future(ticket)
    await asyncio.sleep(0)
    ticket.withdraw()
    ticket.withdraw()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    unawaited = quota.enqueue()
    unawaited.withdraw()
    with pytest.raises(asyncio.CancelledError):
        await unawaited
    assert quota.statistics().waiting == 0


@virtual_time
async def test_withdrawing_gives_a_granted_permit_back_and_a_received_one_not() -> None:
    """A grant that nobody received is undone; a permit in somebody's hands stays there."""
    quota = LocalQuota(LIMIT)
    ticket = quota.enqueue()
    assert quota.statistics().held == 1
    ticket.withdraw()
    assert (quota.statistics().held, quota.statistics().unsent) == (0, 1)
    received = quota.enqueue()
    permit = await received
    received.withdraw()
    assert quota.statistics().held == 1
    permit.answered()


@virtual_time
async def test_a_ticket_is_awaited_once() -> None:
    """Two tasks can't share one permit by awaiting one ticket twice."""
    quota = LocalQuota(LIMIT)
    ticket = quota.enqueue()
    (await ticket).answered()
    with pytest.raises(RuntimeError, match="only once"):
        await ticket


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 2), st.floats(0, 3), st.floats(0, 3)), min_size=1, max_size=25
    )
)
def test_cancelling_at_any_time_leaks_nothing(steps: list[tuple[int, float, float]]) -> None:
    """Whenever waiters are cancelled, in the end nothing is held, waits, or is timed."""

    async def work(quota: LocalQuota, priority: int, seconds: float) -> None:
        permit = await quota.acquire((priority,))
        try:
            await asyncio.sleep(seconds)
        finally:
            permit.answered()

    async def main() -> None:
        quota, loop = LocalQuota(LIMIT), asyncio.get_running_loop()
        tasks = []
        for priority, seconds, cancel_after in steps:
            task = asyncio.create_task(work(quota, priority, seconds))
            if cancel_after < 2:
                loop.call_later(cancel_after, task.cancel)
            tasks.append(task)
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(5)
        statistics = quota.statistics()
        assert (statistics.held, statistics.waiting) == (0, 0)
        assert timers(loop) == 0
        await asyncio.sleep(60)
        assert quota.statistics().cooling == 0
        assert quota.statistics().available == full

    full = LocalQuota(LIMIT).statistics().available
    run_virtual(main())


# Cost --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("company", [0, 1000])
@virtual_time
async def test_a_million_waiters_that_give_up_leave_nothing(company: int) -> None:
    """Memory does not grow with waiters that left, alone or among others that stay."""
    quota = LocalQuota(RateLimit(1, per=60.0))
    permit = await quota.acquire()
    stay = [quota.enqueue((0,)) for _ in range(company)]
    gc.collect()
    before, most = sys.getallocatedblocks(), 0
    for number in range(1_000_000):
        quota.enqueue((1,)).withdraw()
        if number % 50_000 == 0:
            most = max(most, sys.getallocatedblocks() - before)
    assert most < 20 * (company + 1000)
    assert quota.statistics().waiting == company
    for ticket in stay:
        ticket.withdraw()
    permit.answered()


@virtual_time
async def test_reprioritising_for_ever_does_not_grow_the_heap() -> None:
    """Old places of a moved ticket are swept out."""
    quota = LocalQuota(RateLimit(1, per=60.0))
    await quota.acquire()
    tickets = [quota.enqueue((0,)) for _ in range(10)]
    for number in range(10_000):
        tickets[number % 10].reprioritise((number,))
    assert len(quota._heap) < 200
    assert quota.statistics().waiting == 10


class _CountingLoop(VirtualTimeLoop):
    """Counts the timers that fire."""

    fired = 0

    def call_at(self, when: float, callback: Any, *args: Any, **kwargs: Any) -> Any:
        def fire() -> None:
            self.fired += 1
            callback(*args)

        return super().call_at(when, fire, **kwargs)


def test_each_grant_takes_one_wake_up_and_at_most_one_timer() -> None:
    """However many wait, a grant resumes one task, once."""
    resumed = 0

    class Counted:
        def __init__(self, ticket: Ticket) -> None:
            self.ticket = ticket

        def __await__(self) -> Generator[Any, None, Permit]:
            nonlocal resumed
            steps = self.ticket.__await__()
            while True:
                try:
                    future = next(steps)
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]
                yield future
                resumed += 1

    async def wait(ticket: Ticket) -> None:
        (await Counted(ticket)).answered()

    async def main() -> tuple[int, int]:
        quota = LocalQuota(LIMIT)
        for permit in await use_up(quota):
            permit.answered()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, _CountingLoop)
        async with asyncio.TaskGroup() as group:
            for number in range(500):
                group.create_task(wait(quota.enqueue((number % 7,))))
            await asyncio.sleep(0)
            assert timers(loop) == 1
        assert timers(loop) == 0
        return quota.statistics().granted, loop.fired

    with asyncio.Runner(loop_factory=_CountingLoop) as runner:
        granted, fired = runner.run(main())
    assert granted == 502
    assert resumed == 500
    assert fired <= 500


# The event loop ----------------------------------------------------------------------------------


def test_a_second_loop_is_refused_with_a_clear_error() -> None:
    """A quota that was used in one event loop says so when it is used in another."""
    quota = LocalQuota(LIMIT)

    async def use() -> None:
        (await quota.acquire()).answered()

    run_virtual(use())
    with pytest.raises(RuntimeError, match=r"one quota .* for each event loop"):
        run_virtual(use())


def test_a_quota_is_made_and_looked_at_outside_a_loop() -> None:
    """Making a quota and asking for its statistics need no event loop."""
    statistics = LocalQuota(RateLimit(60, per=60.0)).statistics()
    assert statistics.profile is QuotaProfile.STEADY
    assert (statistics.available, statistics.held, statistics.waiting) == (2, 0, 0)
    with pytest.raises(RuntimeError, match="no running event loop"):
        LocalQuota(LIMIT).enqueue()


@virtual_time
async def test_next_in_line_is_who_gets_the_next_permit():
    """The most urgent waiter is named by its priority, those that left are passed over."""
    quota = LocalQuota(RateLimit(1, 10.0))
    assert quota.next_in_line() is None
    await quota.acquire()
    tickets = [quota.enqueue((number,)) for number in (3, 1, 2)]
    assert quota.next_in_line() == (1,)
    tickets[1].withdraw()
    assert quota.next_in_line() == (2,)
    tickets[2].reprioritise((4,))
    assert quota.next_in_line() == (3,)
    tickets[0].withdraw()
    tickets[2].withdraw()
    assert quota.next_in_line() is None
    assert quota.statistics().waiting == 0
