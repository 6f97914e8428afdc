"""One that knows when each SMS comes: what is possible under the limit if nothing is left to learn.

It uses this package's limiter and nothing else of it. Each status call is sent in the instant at
which its SMS comes; a number that gets none in time is given back at once, without a status call.
Status calls go before finishes, finishes before purchases.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs

from papsms_async import RateLimit
from papsms_async.quota import LocalQuota

from .service import DroppedError, Job, Reply, Service
from .workloads import Workload

RANKS = {"status": 0, "finish": 1, "purchase": 2}


@attrs.frozen
class Oracle:
    """Knows when each SMS comes."""

    name: str = "oracle: knows when each SMS comes"

    def fits(self, workload: Workload) -> bool:
        """See `Contender.fits`: it hears no webhooks."""
        return workload.webhooks_lost is None

    @asynccontextmanager
    async def open(
        self, service: Service, *, in_flight: int | None, timeout: float, seed: int
    ) -> AsyncIterator[_Driver]:
        """See `Contender.open`."""
        quota = LocalQuota(RateLimit(service.requests, service.per))
        driver = _Driver(service, quota, in_flight, timeout)
        yield driver
        await asyncio.gather(*driver.owed)


@attrs.frozen
class _Driver:
    service: Service
    quota: LocalQuota
    in_flight: int | None
    timeout: float
    owed: list[asyncio.Task[Reply]] = attrs.field(factory=list)

    async def many(self, jobs: Sequence[Job]) -> None:
        left = iter(jobs)

        async def worker() -> None:
            for job in left:
                await self.one(job)

        await asyncio.gather(*(worker() for _ in range(self.in_flight or len(jobs))))

    async def one(self, job: Job) -> None:
        loop = asyncio.get_running_loop()
        activation_id = (await self.call("purchase")).data["activation_id"]
        self.service.trigger(job, activation_id)
        found = job.sms_at <= loop.time() + self.timeout
        if found:
            await asyncio.sleep(job.sms_at - loop.time())
            await self.call("status", activation_id)
            self.service.had(job)
        word = "completed" if found else "cancelled"
        self.owed.append(asyncio.create_task(self.call("finish", activation_id, word)))

    async def call(self, what: str, activation_id: str = "", word: str = "") -> Reply:
        """Send one request until it is carried out."""
        due = asyncio.get_running_loop().time()
        while True:
            permit = await self.quota.acquire((RANKS[what], due))
            try:
                reply = await self.service.exchange(what, activation_id, word)
            except DroppedError:
                permit.lost()
            else:
                permit.answered()
                if reply.status != 503:
                    return reply
            await asyncio.sleep(1.0)
