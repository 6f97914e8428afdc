"""Puts a contender into a world, lets it run to its end, and judges it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from papsms_async.testing import VirtualTimeLoop

from .laws import LAWS, Law
from .score import Score, judge
from .service import Job, Service
from .workloads import WORKLOADS, Workload

TIMEOUT = 120.0
"""Seconds for which each caller waits for its SMS."""
PATIENCE = 3 * 3600.0
"""Seconds after which a run is broken off: some contenders would never come to an end."""


class CreepingLoop(VirtualTimeLoop):
    """Virtual time that moves on by a nanosecond with each look, as a real clock does.

    A limiter that waits for the rest of a rounding error would wait for ever where time stands
    still between timers.
    """

    def time(self) -> float:
        self._now += 1e-9
        return self._now


class Driver(Protocol):
    """A contender at work.

    For each job it buys a number, calls `Service.trigger`, looks for the SMS, and calls
    `Service.had` as soon as its caller would have it.
    """

    async def one(self, job: Job) -> None:
        """Carry out one job for a caller who waits; its finish may come later."""
        ...

    async def many(self, jobs: Sequence[Job]) -> None:
        """Carry out many, within the bound on those in flight."""
        ...


class Contender(Protocol):
    """A way to run verifications."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    def fits(self, workload: Workload) -> bool:
        """Whether it has a row of its own where this is wanted."""
        ...

    def open(
        self, service: Service, *, in_flight: int | None, timeout: float, seed: int
    ) -> AbstractAsyncContextManager[Driver]:
        """Begin; the end of the block waits until nothing is owed any more.

        Args:
            service: The service.
            in_flight: Bound on those in flight; ``None`` for the contender's own.
            timeout: Seconds to wait for each SMS.
            seed: Seeds whatever the contender draws itself.
        """
        ...


def measure(
    contender: Contender,
    *,
    law: Law | str = "first",
    workload: Workload | str,
    seed: int,
    timeout: float = TIMEOUT,
    requests: int = 60,
    per: float = 60.0,
) -> Score:
    """Run one contender in one world; equal arguments give equal figures but for processor time."""
    law = LAWS[law] if isinstance(law, str) else law
    workload = WORKLOADS[workload] if isinstance(workload, str) else workload
    service = Service(law, seed, requests=requests, per=per, webhooks_lost=workload.webhooks_lost)
    jobs = workload.draw_jobs(law, seed)

    async def main() -> float:
        opened = contender.open(service, in_flight=workload.bulk, timeout=timeout, seed=seed)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE), opened as driver:
                await _act(driver, workload, jobs, random.Random(f"arrivals {seed}"))
        return asyncio.get_running_loop().time()

    log = logging.getLogger("papsms_async")
    level = log.level
    log.setLevel(logging.CRITICAL)
    began = time.process_time()
    try:
        with asyncio.Runner(loop_factory=CreepingLoop) as runner:
            seconds = runner.run(main())
    finally:
        log.setLevel(level)
    processor = time.process_time() - began
    return judge(service, jobs, timeout=timeout, seconds=seconds, processor=processor)


async def _act(driver: Driver, workload: Workload, jobs: Sequence[Job], rng: random.Random) -> None:
    """Let the callers of a workload come."""
    if workload.callers is not None:
        left = iter(jobs)

        async def caller() -> None:
            for job in left:
                await _one(driver, job)

        await asyncio.gather(*(caller() for _ in range(workload.callers)))
    elif workload.bulk is None:
        assert workload.per_minute is not None
        await _by_chance(driver, jobs, workload.per_minute, rng, until=None)
    elif workload.per_minute is None:
        await driver.many(jobs)
    else:
        interactive = [job for job in jobs if job.interactive]
        bulk = [job for job in jobs if not job.interactive]
        over = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_by_chance(driver, interactive, workload.per_minute, rng, until=over))
            await driver.many(bulk)
            over.set()


async def _by_chance(
    driver: Driver,
    jobs: Sequence[Job],
    per_minute: float,
    rng: random.Random,
    *,
    until: asyncio.Event | None,
) -> None:
    """Let callers come by chance until all were there, or until nobody comes any more."""
    async with asyncio.TaskGroup() as callers:
        for job in jobs:
            await asyncio.sleep(rng.expovariate(per_minute / 60.0))
            if until is not None and until.is_set():
                break
            callers.create_task(_one(driver, job))


async def _one(driver: Driver, job: Job) -> None:
    job.asked_at = asyncio.get_running_loop().time()
    await driver.one(job)
