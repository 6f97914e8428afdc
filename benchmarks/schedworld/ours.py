"""This package's client and manager, whole: default limit, ledger in memory."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs

from papsms_async import (
    ActivationManager,
    PapSMSClient,
    RateLimit,
    VerificationRequest,
    WebhookReceiver,
    new_webhook_secret,
)
from papsms_async.activation import LiveActivation
from papsms_async.ledger import MemoryLedger
from papsms_async.webhook.core import WebhookRequest
from papsms_async.webhook.receiver import Trust

from .service import Job, Service, WireTransport, instant, sms_of
from .workloads import Workload

SERVICES = ("whatsapp", "telegram", "google", "viber", "uber")


@attrs.frozen
class Ours:
    """The manager as a caller would use it.

    Args:
        name: What tables call it.
        options: Further options of `ActivationManager`.
        contested: Has a row only where more may be wanted than the limit gives.
        trust: Hears webhooks, and trusts them so: see `WebhookReceiver`.
    """

    name: str = "papsms-async"
    options: Mapping[str, Any] = attrs.field(factory=dict)
    contested: bool = False
    trust: Trust | None = None

    def fits(self, workload: Workload) -> bool:
        """See `Contender.fits`."""
        if (self.trust is None) != (workload.webhooks_lost is None):
            return False
        return workload.callers != 1 or not self.contested

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
        receiver = None
        if self.trust is not None:
            receiver = WebhookReceiver(new_webhook_secret(), trust=self.trust)
            service.hook = _Hook(receiver).post
        manager = ActivationManager(
            client,
            webhook=receiver,
            sms_timeout=timeout,
            database=MemoryLedger(keep=100_000),
            clock=lambda: instant(loop.time()),
            rng=rng,
            drain_timeout=3600.0,
            **{"max_in_flight": in_flight, **self.options},
        )
        async with client, manager:
            yield _Driver(manager, service)


class _Hook:
    """Carries webhooks to a receiver, as the service's posts would come to it."""

    def __init__(self, receiver: WebhookReceiver) -> None:
        self._receiver = receiver
        self._posts: set[asyncio.Task[object]] = set()

    def post(self, activation_id: str, sms_at: float) -> None:
        request = WebhookRequest(
            method="POST",
            path=self._receiver.path,
            headers=(("Content-Type", "application/json"),),
            peer="127.0.0.1",
        )
        said = {"activation_id": activation_id, **sms_of(sms_at)}
        body = json.dumps(said).encode()
        assert self._receiver.admit(request) is None
        post = asyncio.ensure_future(self._receiver.receive(request, body))
        self._posts.add(post)
        post.add_done_callback(self._posts.discard)


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
