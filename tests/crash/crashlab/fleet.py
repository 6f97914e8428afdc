"""Several workers on one ledger, killed and stopped while the others go on.

A worker that is stopped for longer than its lease loses its purchases to the others and finds out
when it wakes up. From then on it must neither write about them nor finish them otherwise than their
new driver did.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from glob import glob
from pathlib import Path
from signal import SIGCONT, SIGKILL
from typing import Any

import attrs

from crashlab.crew import Crew, Worker
from crashlab.judgement import (
    Records,
    Verdict,
    judge,
    read_acks,
    read_records,
)
from crashlab.service import Finish, WatchedEngine, worker_name
from crashlab.worker import Job
from papsms_async.lifecycle import Event
from papsms_async.sandbox.server import SandboxServer

LEASE = 2.0
"""Seconds; long enough that a busy machine does not end it."""
LONGEST_LIFE = 20.0
"""Seconds in which a worker has to do what it is let to live for."""
_MOST_WORKERS = 2000
_UNSENT = ("CancelledError", "ManagerClosedError")
"""Why a purchase did not leave, where that was not for the lease."""


async def fleet(
    crew: Crew,
    database: str,
    *,
    seed: int,
    intents: int,
    size: int = 4,
    progress: Callable[[int, Counter[str]], Any] = lambda done, causes: None,
) -> tuple[Verdict, Counter[str]]:
    """Let a fleet of ``size`` workers begin ``intents`` purchases, then recover, then judge.

    Returns:
        The verdict, and how many workers were killed and stopped.
    """
    rng = random.Random(seed)
    engine = WatchedEngine(_MOST_WORKERS, seed=seed)
    causes: Counter[str] = Counter()
    suspects: list[int] = []
    names: dict[int, str] = {}
    with tempfile.TemporaryDirectory(prefix="papsms-acks-") as directory:
        async with SandboxServer(engine) as server:
            count = 0

            async def start(*, work: bool = True) -> Worker:
                nonlocal count
                job = Job(
                    name=worker_name(count),
                    base_url=server.base_url,
                    database=database,
                    seed=rng.getrandbits(32),
                    lease=LEASE,
                    at_once=16,
                    # So many that none waits for a permit: it would be polled only more often.
                    quota=18_000,
                    work=work,
                    acks=f"{directory}/{count}",
                )
                count += 1
                worker = await crew.start(job)
                names[worker.pid] = job.name
                return worker

            async def end(worker: Worker) -> None:
                worker.signal(SIGKILL)
                status = await worker.wait()
                if status != -SIGKILL:
                    raise RuntimeError(f"seed {seed}: a worker ended by itself with {status}")
                suspects.append(worker.pid)

            async def let_live(worker: Worker) -> None:
                """Wait for some of its work, so that a slow machine needs no more lives."""
                name = names[worker.pid]
                enough = engine.purchases_asked_by(name) + rng.choice((0, 20, 40, 60))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LONGEST_LIFE):
                        while engine.purchases_asked_by(name) < enough and not worker.ended:
                            await asyncio.sleep(0.02)
                await asyncio.sleep(rng.uniform(0.0, 0.3))

            async def harass(worker: Worker) -> None:
                """Stop it past its lease now and then; in the end kill it."""
                for _ in range(rng.choice((0, 0, 1))):
                    await let_live(worker)
                    worker.stop()
                    suspects.append(worker.pid)
                    causes["stopped"] += 1
                    await asyncio.sleep(LEASE * rng.uniform(1.1, 1.8))
                    worker.signal(SIGCONT)
                await let_live(worker)
                causes["killed"] += 1
                await end(worker)

            async def place() -> None:
                while engine.purchases_asked < intents:
                    await harass(await start())
                    progress(engine.purchases_asked, causes)

            async with asyncio.TaskGroup() as group:
                for _ in range(size):
                    group.create_task(place())
            status = await (await start(work=False)).wait(90)
            if status:
                raise RuntimeError(f"seed {seed}: the last recovery ended with {status}")
        records = await read_records(database)
        verdict = judge(
            engine, records, read_acks(map(Path, glob(f"{directory}/*"))), killed=suspects
        )
    return verdict, causes


@attrs.frozen(kw_only=True)
class Awakening:
    """What a worker did after it was stopped past its lease and others had done its work.

    Attributes:
        before: The ledger while it slept.
        after: The ledger after its end.
        finishes: What it asked the service to finish after it woke up.
        purchases: How many numbers it asked for after it woke up.
        problems: What a judge says of the whole.
    """

    before: Records
    after: Records
    finishes: tuple[Finish, ...]
    purchases: int
    problems: list[str]

    def changed(self) -> list[str]:
        """Return the intents settled before that are not as they were."""
        after = {entry.intent_id: entry for entry in self.after.entries}
        return [
            entry.intent_id
            for entry in self.before.entries
            if after.get(entry.intent_id) != entry
            or self.after.histories[entry.intent_id] != self.before.histories[entry.intent_id]
        ]

    def meddled(self) -> list[Finish]:
        """Return the finishes of purchases that it had lost while it slept."""
        lost = {entry.activation_id for entry in self.before.entries}
        return [finish for finish in self.finishes if finish.activation_id in lost]

    def bought_in_vain(self) -> int:
        """Return how many purchases of intents that it had lost it sent all the same."""
        known = {entry.intent_id for entry in self.before.entries}
        new = [entry.intent_id for entry in self.after.entries if entry.intent_id not in known]
        return self.purchases - sum(self._was_sent(intent_id) for intent_id in new)

    def _was_sent(self, intent_id: str) -> bool:
        """Return whether an intent came to be a request: its caller may have gone before."""
        return not any(
            line.event == Event.REFUSED and line.reason in _UNSENT
            for line in self.after.histories[intent_id]
        )


async def stop_past_lease(
    crew: Crew,
    database: str,
    *,
    crash: str | None = None,
    route: str | None = None,
    seed: int = 0,
) -> Awakening:
    """Stop a worker at one point, let another one recover all it had, and wake it up.

    Args:
        crew: Starts the workers.
        database: Of the ledger, empty.
        crash: The call of the ledger at which it stops; see `Job.crash`.
        route: Or the service's endpoint: it stops when that was executed, before its answer.
        seed: Of everything that is drawn.
    """
    engine = WatchedEngine(2, seed=seed)
    with tempfile.TemporaryDirectory(prefix="papsms-acks-") as directory:
        async with SandboxServer(engine) as server:
            job = Job(
                name=worker_name(0),
                base_url=server.base_url,
                database=database,
                seed=seed,
                lease=0.5,
                at_once=20,
                limit=20,
                # No intent waits for a permit: each is sent, unless the lease is lost.
                quota=60_000,
                recovers=False,
                acks=f"{directory}/0",
                crash=crash,
            )
            sleeper: Worker = await crew.start(job)
            struck = asyncio.Event()

            def strike(name: str, called: str, count: int) -> None:
                if (name, called) == (job.name, route) and not struck.is_set():
                    sleeper.stop()
                    struck.set()

            engine.struck = strike
            async with asyncio.timeout(30):
                while not sleeper.is_stopped:
                    if sleeper.ended:
                        raise RuntimeError(f"the worker ended with {await sleeper.wait()}")
                    await asyncio.sleep(0.01)
            struck.set()
            recovery = attrs.evolve(
                job, name=worker_name(1), work=False, crash=None, acks=f"{directory}/1"
            )
            if status := await (await crew.start(recovery)).wait(60):
                raise RuntimeError(f"the recovery ended with {status}")
            before = await read_records(database)
            asked, bought = len(engine.finishes), engine.purchases_asked_by(job.name)
            sleeper.signal(SIGCONT)
            if status := await sleeper.wait(90):
                raise RuntimeError(f"the worker that woke up ended with {status}")
        after = await read_records(database)
        verdict = judge(
            engine, after, read_acks(map(Path, glob(f"{directory}/*"))), killed=[sleeper.pid]
        )
    return Awakening(
        before=before,
        after=after,
        finishes=tuple(finish for finish in engine.finishes[asked:] if finish.worker == job.name),
        purchases=engine.purchases_asked_by(job.name) - bought,
        problems=verdict.problems,
    )
