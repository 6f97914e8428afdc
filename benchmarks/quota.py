"""What the local quota costs, and what it is worth: ``python benchmarks/quota.py``.

1. Cost: a permit taken and answered without contention, a grant with 100,000 waiters in the heap,
   and the wake-ups of tasks and timers per grant. The baseline is an `asyncio.Semaphore` on the
   same machine in the same run; the runs are interleaved and the median is shown. Times are of the
   processor, so that other programs on the machine do not count.
2. Worth, in virtual time: the most requests in any window at the server, under jitter, next to a
   limiter of sending times (and aiolimiter where it is installed).

Exits with status 1 if a bound is missed.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import platform
import random
import statistics
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from papsms_async.models import QuotaProfile, RateLimit
from papsms_async.quota import LocalQuota, Permit, Ticket
from papsms_async.testing import run_virtual

UNCONTENDED_MOST = 5.0  # microseconds
CONTENDED_MOST = 25.0  # microseconds
ROUNDS = 7
HUGE = RateLimit(10_000_000, per=1.0)


async def permits(count: int) -> float:
    """Return the microseconds that taking and answering one permit takes."""
    quota = LocalQuota(HUGE)
    began = time.process_time()
    for _ in range(count):
        permit = await quota.acquire()
        permit.answered()
    return (time.process_time() - began) / count * 1e6


async def semaphore(count: int) -> float:
    """Return the microseconds that an uncontended `asyncio.Semaphore` takes."""
    lock = asyncio.Semaphore(1)
    began = time.process_time()
    for _ in range(count):
        await lock.acquire()
        lock.release()
    return (time.process_time() - began) / count * 1e6


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts the timers that fire."""

    fired = 0

    def call_at(self, when: float, callback: Any, *args: Any, **kwargs: Any) -> Any:
        def fire() -> None:
            self.fired += 1
            callback(*args)

        return super().call_at(when, fire, **kwargs)


async def crowd(waiters: int, *, count: bool = False) -> tuple[float, float, float]:
    """Let ``waiters`` tasks wait, with a heap of many priorities; serve them all.

    Returns microseconds, task wake-ups and timers per grant. Only with ``count`` are the wake-ups
    counted, because counting costs more than waking.
    """
    loop = asyncio.get_running_loop()
    assert isinstance(loop, CountingLoop)
    quota = LocalQuota(HUGE)
    quota.rate_limited(200.0)  # holds them all back
    rng = random.Random(1)
    resumed, left, done = 0, waiters, loop.create_future()

    async def wait(ticket: Ticket) -> None:
        nonlocal left
        permit = await (counted(ticket) if count else ticket)
        permit.answered()
        left -= 1
        if not left:
            done.set_result(None)

    async def counted(ticket: Ticket) -> Permit:
        nonlocal resumed
        steps = ticket.__await__()
        while True:
            try:
                future = next(steps)
            except StopIteration as stop:
                return stop.value
            await Once(future)
            resumed += 1

    tickets = [quota.enqueue((rng.random(),)) for _ in range(waiters)]
    tasks = [loop.create_task(wait(ticket)) for ticket in tickets]
    await asyncio.sleep(0)
    loop.fired = 0
    quota._bucket._blocked_until = loop.time()
    quota._set_timer(loop.time())
    began = time.process_time()
    await done
    took = time.process_time() - began
    assert all(task.done() for task in tasks[:-1])
    return took / waiters * 1e6, resumed / waiters, loop.fired / waiters


class Once:
    """Awaits one step of another awaitable."""

    def __init__(self, future: Any) -> None:
        self.future = future

    def __await__(self) -> Any:
        yield self.future


class SendingTimeLimiter:
    """The usual limiter: at most N sendings in any window, as seen by the client's clock."""

    def __init__(self, requests: int, per: float) -> None:
        self.sent: deque[float] = deque(maxlen=requests)
        self.requests, self.per = requests, per

    async def acquire(self) -> None:
        loop = asyncio.get_running_loop()
        while (  # noqa: ASYNC110
            len(self.sent) == self.requests and loop.time() < self.sent[0] + self.per
        ):
            await asyncio.sleep(self.sent[0] + self.per - loop.time())
        self.sent.append(loop.time())


@attrs.frozen
class Seen:
    """What a server saw: the most arrivals in any window, and arrivals a minute."""

    worst: int
    per_minute: float


def jittery(rng: random.Random) -> float:
    """A one-way delay: 80 ms as a rule, and now and then a stall of some seconds."""
    return rng.expovariate(1 / 0.08) + (rng.uniform(1.0, 8.0) if rng.random() < 0.02 else 0.0)


def traffic(
    take: Callable[[], Awaitable[Callable[[], None]]],
    *,
    minutes: float,
    one_way: Callable[[random.Random], float] = jittery,
) -> Seen:
    """Let 100 workers ask all the time for some virtual minutes, under one window of 60 s."""
    rng, arrivals = random.Random(7), []

    async def worker() -> None:
        loop = asyncio.get_running_loop()
        while True:
            answered = await take()
            await asyncio.sleep(one_way(rng))
            arrivals.append(loop.time())
            await asyncio.sleep(one_way(rng))
            answered()

    async def main() -> None:
        workers = [asyncio.create_task(worker()) for _ in range(100)]
        await asyncio.sleep(minutes * 60)
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    run_virtual(main())
    times: list[float] = sorted(arrivals)
    worst = first = 0
    for last, at in enumerate(times):
        while times[first] < at - 60.0:
            first += 1
        worst = max(worst, last - first + 1)
    settled = [at for at in times if at >= 120]
    return Seen(worst, len(settled) / (minutes - 2))


def compare(minutes: float) -> dict[str, Seen]:
    """Run each limiter on the same network."""
    seen: dict[str, Seen] = {}
    for profile in QuotaProfile:
        quota = LocalQuota(RateLimit(60, per=60.0, profile=profile))

        async def take(quota: LocalQuota = quota) -> Callable[[], None]:
            return (await quota.acquire()).answered

        seen[f"papsms_async {profile.value}"] = traffic(take, minutes=minutes)
    naive = SendingTimeLimiter(60, 60.0)

    async def take_naive() -> Callable[[], None]:
        await naive.acquire()
        return lambda: None

    seen["limiter of sending times"] = traffic(take_naive, minutes=minutes)
    if importlib.util.find_spec("aiolimiter") is not None:
        from aiolimiter import AsyncLimiter

        peer = AsyncLimiter(60, 60.0)

        async def take_peer() -> Callable[[], None]:
            await peer.acquire()
            return lambda: None

        seen["aiolimiter"] = traffic(take_peer, minutes=minutes)
    return seen


def main() -> int:
    """Run everything and print it; return the exit status."""
    print(
        f"{platform.python_implementation()} {platform.python_version()},"
        f" {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    )
    asyncio.run(permits(5_000))  # warm-up
    asyncio.run(semaphore(5_000))
    cost, base, grants = [], [], []
    for _ in range(ROUNDS):
        cost.append(asyncio.run(permits(20_000)))
        base.append(asyncio.run(semaphore(20_000)))
    for _ in range(3):
        with asyncio.Runner(loop_factory=CountingLoop) as runner:
            grants.append(runner.run(crowd(100_000))[0])
    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        _, wakes, timers = runner.run(crowd(100_000, count=True))
    permit, lock = statistics.median(cost), statistics.median(base)
    grant = statistics.median(grants)
    print(f"\npermit, uncontended       {permit:6.2f} us   (bound {UNCONTENDED_MOST:g} us)")
    print(f"  ratio to asyncio.Semaphore {permit / lock:5.1f}   ({lock:.2f} us)")
    print(f"grant, 100,000 waiters    {grant:6.2f} us   (bound {CONTENDED_MOST:g} us)")
    print(f"  task wake-ups per grant  {wakes:7.3f}   (bound 1)")
    print(f"  timers per grant         {timers:7.3f}   (bound 1)")

    minutes = 62.0
    print(f"\n60 requests in 60 s, {minutes:g} virtual minutes, saturated, stalls of up to 8 s")
    print(f"{'':28}{'most in any 60 s':>18}{'per minute':>12}")
    seen = compare(minutes)
    for name, result in seen.items():
        print(f"{name:28}{result.worst:18d}{result.per_minute:12.1f}")

    ok = (
        permit <= UNCONTENDED_MOST
        and grant <= CONTENDED_MOST
        and wakes == 1
        and timers <= 1
        and all(result.worst <= 60 for name, result in seen.items() if "papsms" in name)
    )
    print("\nall bounds kept" if ok else "\nA BOUND WAS MISSED")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
