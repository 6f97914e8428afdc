"""What people use today: a loop for each verification, behind a limiter or behind nothing.

Every loop buys, asks for the status after each of its pauses until the timeout, and finishes. Who
lives by webhooks takes the SMS from there, and looks once where none came until the timeout. A 429
or a failure is tried again with exponential backoff, as the guide asks. The limiters are given the
key's limit as it is; aiolimiter reads the event loop's clock, pyrate-limiter gets a bucket that
does, so both live in virtual time like everything else.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import attrs
from aiolimiter import AsyncLimiter
from pyrate_limiter import InMemoryBucket, Limiter, Rate, SingleBucketFactory

from .service import DroppedError, Job, Reply, Service
from .workloads import Workload

MARGIN = 1.0
"""Seconds that the careful gate adds to the window for what may happen on the way."""
BACKOFF_CAP = 64.0
"""Seconds that no backoff goes above."""


class Gate(Protocol):
    """A limiter: lets requests pass one by one."""

    async def acquire(self) -> object:
        """Wait until one request may be sent."""
        ...


class NoGate:
    """Lets everything pass."""

    async def acquire(self) -> None:
        """Return at once."""


class FifoGate:
    """An exact sliding window over sending times, first come, first served, with a margin."""

    def __init__(self, requests: int, per: float) -> None:
        self._sent: deque[float] = deque(maxlen=requests)
        self._per = per + MARGIN
        self._turn = asyncio.Lock()

    async def acquire(self) -> None:
        """Wait until fewer than the limit were sent in the window, and those before have gone."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            if len(self._sent) == self._sent.maxlen:
                await asyncio.sleep(self._sent[0] + self._per - loop.time())
            self._sent.append(loop.time())


class _LoopBucket(InMemoryBucket):
    """pyrate-limiter's bucket on the event loop's clock."""

    def now(self) -> int:
        now = int(asyncio.get_running_loop().time() * 1000)
        self.leak(now)
        return now


class PyrateGate:
    """pyrate-limiter, as its documentation shows it for asyncio."""

    def __init__(self, requests: int, per: float) -> None:
        bucket = _LoopBucket([Rate(requests, round(per * 1000))])
        self._limiter = Limiter(SingleBucketFactory(bucket, schedule_leak=False))

    async def acquire(self) -> object:
        """Wait for the limiter."""
        return await self._limiter.try_acquire_async("papsms")


def fixed(every: float) -> Callable[[], Iterator[float]]:
    """Return what makes pauses of equal length."""

    def pauses() -> Iterator[float]:
        while True:
            yield every

    return pauses


def doubling(first: float, cap: float) -> Callable[[], Iterator[float]]:
    """Return what makes pauses that double up to a cap."""

    def pauses() -> Iterator[float]:
        pause = first
        while True:
            yield pause
            pause = min(2 * pause, cap)

    return pauses


LOOPS: dict[str, Callable[[], Iterator[float]]] = {
    "2 s": fixed(2.0),
    "5 s": fixed(5.0),
    "2, 4 .. 30 s": doubling(2.0, 30.0),
}
"""Pauses before each status call. The guide's loop is the first."""
WEBHOOK = "webhook"
"""What stands in for a loop's pauses where webhooks are waited for."""

GATES: dict[str, Callable[[int, float], Gate]] = {
    "nothing": lambda requests, per: NoGate(),
    "aiolimiter": AsyncLimiter,
    "pyrate-limiter": PyrateGate,
    "FIFO window": FifoGate,
}
"""Limiters by name."""


@attrs.frozen
class Peer:
    """One loop behind one gate."""

    loop: str
    gate: str

    @property
    def name(self) -> str:
        """See `Contender.name`."""
        return f"{'by' if self.loop == WEBHOOK else 'every'} {self.loop} behind {self.gate}"

    def fits(self, workload: Workload) -> bool:
        """See `Contender.fits`."""
        return (self.loop == WEBHOOK) == (workload.webhooks_lost is not None)

    @asynccontextmanager
    async def open(
        self, service: Service, *, in_flight: int | None, timeout: float, seed: int
    ) -> AsyncIterator[_Driver]:
        """See `Contender.open`."""
        gate = GATES[self.gate](service.requests, service.per)
        driver = _Driver(service, gate, LOOPS.get(self.loop), in_flight, timeout, seed)
        service.hook = driver.hear
        yield driver


@attrs.frozen
class _Driver:
    service: Service
    gate: Gate
    pauses: Callable[[], Iterator[float]] | None
    in_flight: int | None
    timeout: float
    rng: random.Random = attrs.field(converter=lambda seed: random.Random(f"backoff {seed}"))
    heard: dict[str, asyncio.Event] = attrs.field(factory=dict)

    def hear(self, activation_id: str, sms_at: float) -> None:
        if activation_id in self.heard:
            self.heard[activation_id].set()

    async def many(self, jobs: Sequence[Job]) -> None:
        left = iter(jobs)

        async def worker() -> None:
            for job in left:
                await self.one(job)

        await asyncio.gather(*(worker() for _ in range(self.in_flight or len(jobs))))

    async def one(self, job: Job) -> None:
        activation_id = (await self.call("purchase")).data["activation_id"]
        self.service.trigger(job, activation_id)
        found = await (self.listen if self.pauses is None else self.poll)(activation_id)
        if found:
            self.service.had(job)
        word = "completed" if found else "cancelled"
        finish = await self.call("finish", activation_id, word)
        if finish.status == 409:
            # Too late for a cancellation: the SMS came meanwhile.
            await self.call("finish", activation_id, "completed")

    async def poll(self, activation_id: str) -> bool:
        """Ask after every pause; return whether the SMS was found in time."""
        assert self.pauses is not None
        try:
            async with asyncio.timeout(self.timeout):
                for pause in self.pauses():
                    await asyncio.sleep(pause)
                    status = await self.call("status", activation_id)
                    if status.data["sms_at"] is not None:
                        return True
        except TimeoutError:
            pass
        return False

    async def listen(self, activation_id: str) -> bool:
        """Wait for the webhook, and ask once at the end; return whether there is an SMS."""
        heard = self.heard[activation_id] = asyncio.Event()
        try:
            async with asyncio.timeout(self.timeout):
                await heard.wait()
        except TimeoutError:
            status = await self.call("status", activation_id)
            return status.data["sms_at"] is not None
        return True

    async def call(self, what: str, activation_id: str = "", word: str = "") -> Reply:
        """Send one request until it is answered by something else than a refusal or a failure."""
        backoff = 1.0
        while True:
            await self.gate.acquire()
            try:
                reply = await self.service.exchange(what, activation_id, word)
                if reply.status not in (429, 503):
                    return reply
            except DroppedError:
                pass
            await asyncio.sleep(backoff * self.rng.uniform(0.5, 1.5))
            backoff = min(2 * backoff, BACKOFF_CAP)
