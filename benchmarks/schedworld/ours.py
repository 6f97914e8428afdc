"""This package's client and manager, whole: default limit, ledger in memory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs

from papsms_async import ActivationManager, PapSMSClient, RateLimit, VerificationRequest
from papsms_async.activation import LiveActivation
from papsms_async.ledger import MemoryLedger

from .service import Job, Service, WireTransport, instant

SERVICES = ("whatsapp", "telegram", "google", "viber", "uber")


@attrs.frozen
class Ours:
    """The manager as a caller would use it.

    Args:
        name: What tables call it.
        options: Further options of `ActivationManager`.
    """

    name: str = "papsms-async"
    options: Mapping[str, Any] = attrs.field(factory=dict)

    @asynccontextmanager
    async def open(
        self, service: Service, *, in_flight: int | None, timeout: float, seed: int
    ) -> AsyncIterator[_Driver]:
        """See `Contender.open`."""
        loop = asyncio.get_running_loop()
        rng = random.Random(f"client {seed}")
        client = PapSMSClient(
            "key",
            rate_limit=RateLimit(service.requests, service.per),
            transport=WireTransport(service),
            rng=rng,
        )
        manager = ActivationManager(
            client,
            sms_timeout=timeout,
            database=MemoryLedger(keep=100_000),
            clock=lambda: instant(loop.time()),
            rng=rng,
            drain_timeout=3600.0,
            **{"max_in_flight": in_flight, **self.options},
        )
        async with client, manager:
            yield _Driver(manager, service)


class _Driver:
    def __init__(self, manager: ActivationManager, service: Service) -> None:
        self._manager = manager
        self._service = service
        self._jobs: dict[str, Job] = {}

    async def one(self, job: Job) -> None:
        await self._manager.verify(self._request(job), flow=self._flow)

    async def many(self, jobs: Sequence[Job]) -> None:
        requests = (self._request(job) for job in jobs)
        async for _ in self._manager.run(requests, flow=self._flow):
            pass

    def _request(self, job: Job) -> VerificationRequest:
        reference = str(job.number)
        self._jobs[reference] = job
        return VerificationRequest(SERVICES[job.chance.service], "us", reference=reference)

    async def _flow(self, live: LiveActivation) -> None:
        job = self._jobs[live.request.reference or ""]
        self._service.trigger(job, live.activation_id)
        await live.wait_for_sms()
        self._service.had(job)
