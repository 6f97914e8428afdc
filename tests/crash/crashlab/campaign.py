"""Worker after worker is killed on one ledger, and each time the next one recovers.

An *episode* is one ledger, one account at the service and a chain of workers that all die: at a
call of the ledger, right after the service executed a request and before its answer, or at any
moment, opening included. Each worker recovers what its predecessors left while it buys anew, so
recoveries are killed too. At its end one more worker recovers everything and exits, and the judge
looks at it. A *campaign* is many episodes.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from signal import SIGKILL
from typing import Any

import attrs
from judgement import Verdict, judge, read_acks, read_records  # type: ignore[import-not-found]
from service import WatchedEngine, worker_name  # type: ignore[import-not-found]
from worker import Job  # type: ignore[import-not-found]
from zygote import Worker, Zygote  # type: ignore[import-not-found]

from papsms_async.sandbox.server import SandboxServer

LEASE = 0.3
"""Seconds; short, so that the next worker soon finds what the last one left."""
LIFE = 0.8
"""Seconds after which a worker is killed whose crash point was not reached."""

POINTS = (
    "add:before",
    "add:after",  # between the intent and the purchase
    "move:before",
    "move:after",
    "move.bought:before",  # between the service's answer and the ledger
    "move.bought:after",
    "move.sms:before",
    "move.sms:after",
    "move.keep:before",
    "move.keep:after",  # between the debt and its payment
    "move.release:before",
    "move.release:after",
    "move.finished:before",  # between the payment and its receipt
    "move.finished:after",
    "move.answer_lost:before",  # in the middle of a recovery
    "move.answer_lost:after",
    "claim:after",
    "renew:before",
    "renew:after",
)
ROUTES = ("purchase", "purchase", "status", "finish", "finish")


@attrs.define(kw_only=True)
class Tally:
    """What a campaign has done so far.

    Attributes:
        episodes: How many were judged.
        kills: How many workers were killed.
        causes: How often by what.
        found: The sums of all verdicts.
        problems: What the judge found, each with the seed of its episode.
    """

    episodes: int = 0
    kills: int = 0
    causes: Counter[str] = attrs.field(factory=Counter)
    found: Counter[str] = attrs.field(factory=Counter)
    problems: list[str] = attrs.field(factory=list)

    def add(self, verdict: Verdict, causes: Counter[str], seed: int) -> None:
        """Add one episode."""
        self.episodes += 1
        self.kills += causes.total()
        self.causes += causes
        counts = attrs.asdict(verdict)
        self.problems += [f"seed {seed}: {problem}" for problem in counts.pop("problems")]
        self.found += Counter(counts)

    def __str__(self) -> str:
        found = ", ".join(f"{count} {name}" for name, count in self.found.items())
        return f"{self.kills} kills in {self.episodes} episodes; {found}"


Databases = Callable[[], AbstractAsyncContextManager[str]]
"""Gives the address of a fresh database for the length of an episode."""


@asynccontextmanager
async def sqlite_file() -> AsyncIterator[str]:
    """Give the address of an SQLite file that is not there yet."""
    with tempfile.TemporaryDirectory(prefix="papsms-crash-") as directory:
        yield f"sqlite:///{directory}/ledger.db"


def postgres_schemas(server: str) -> Databases:
    """Return a maker of empty schemas on a PostgreSQL server, each dropped after its use."""

    @asynccontextmanager
    async def schema() -> AsyncIterator[str]:
        import asyncpg  # type: ignore[import-untyped]

        address = server.replace("postgresql+asyncpg://", "postgresql://")
        name = f"papsms_crash_{random.randbytes(6).hex()}"
        connection = await asyncpg.connect(address)
        try:
            await connection.execute(f"CREATE SCHEMA {name}")
            yield f"{address}{'&' if '?' in address else '?'}search_path={name}"
            # Connections of the dead may still hold locks for a moment.
            await connection.execute(
                "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_class c"
                " ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE n.nspname = $1 AND l.pid <> pg_backend_pid()",
                name,
            )
            await connection.execute(f"DROP SCHEMA {name} CASCADE")
        finally:
            await connection.close()

    return schema


async def campaign(
    zygote: Zygote,
    databases: Databases,
    *,
    seed: int,
    kills: int,
    lanes: int = 6,
    chain: int = 15,
    progress: Callable[[Tally], Any] = lambda tally: None,
) -> Tally:
    """Run episodes, ``lanes`` at the same time, until ``kills`` workers were killed."""
    tally = Tally()
    seeds = iter(range(seed, seed + 1_000_000))

    async def lane() -> None:
        while tally.kills < kills and not tally.problems:
            number = next(seeds)
            async with databases() as database:
                verdict, causes = await episode(zygote, database, seed=number, chain=chain)
            tally.add(verdict, causes, number)
            progress(tally)

    async with asyncio.TaskGroup() as group:
        for _ in range(lanes):
            group.create_task(lane())
    return tally


async def episode(
    zygote: Zygote, database: str, *, seed: int, chain: int
) -> tuple[Verdict, Counter[str]]:
    """Run one episode with ``chain`` kills."""
    rng = random.Random(seed)
    engine = WatchedEngine(chain + 1, seed=seed)
    causes: Counter[str] = Counter()
    killed: list[int] = []
    with tempfile.TemporaryDirectory(prefix="papsms-acks-") as directory:
        acks = [Path(directory, f"{number}") for number in range(chain + 1)]
        async with SandboxServer(engine) as server:
            for number in range(chain + 1):
                last = number == chain
                job = Job(
                    name=worker_name(number),
                    base_url=server.base_url,
                    database=database,
                    seed=rng.getrandbits(32),
                    lease=LEASE,
                    work=not last,
                    acks=str(acks[number]),
                )
                if last:
                    worker = await zygote.start(job)
                    status = await worker.wait(90)
                    if status:
                        raise RuntimeError(f"seed {seed}: the last recovery ended with {status}")
                else:
                    pid, cause = await _life(zygote, engine, job, rng)
                    killed.append(pid)
                    causes[cause] += 1
        records = await read_records(database)
        verdict = judge(engine, records, read_acks(acks), killed=killed)
    return verdict, causes


async def _life(
    zygote: Zygote, engine: WatchedEngine, job: Job, rng: random.Random
) -> tuple[int, str]:
    """Run a worker until it is killed; return its process id and what it was killed by."""
    draw, nth, seconds = rng.random(), min(1 + int(rng.expovariate(0.4)), 12), LIFE
    cause = "time"
    if draw < 0.5:
        cause = rng.choice(POINTS)
        # What happens often is met late as well; what is rare, at its first time.
        nth = nth if cause.startswith(("add:", "move:", "move.bought")) else 1
        job = attrs.evolve(job, crash=f"{cause}:{nth}:kill")
    elif draw < 0.75:
        cause = f"service:{rng.choice(ROUTES)}"
    else:
        seconds = rng.uniform(0.0, 0.4)
    worker: Worker = await zygote.start(job)
    struck = False

    def strike(name: str, route: str, count: int) -> None:
        nonlocal struck
        if (name, f"service:{route}", count) == (job.name, cause, nth):
            struck = True
            worker.signal(SIGKILL)

    engine.struck = strike
    try:
        status = await worker.wait(seconds)
        reached = struck or job.crash is not None
    except TimeoutError:
        worker.signal(SIGKILL)
        status = await worker.wait()
        reached = False
    if status != -SIGKILL:
        raise RuntimeError(f"worker {job} ended by itself with {status}")
    return worker.pid, cause if reached else "time"
