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
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from signal import SIGKILL
from typing import Any

import attrs

from crashlab.crew import Crew, Worker
from crashlab.judgement import Verdict, judge, read_acks, read_records
from crashlab.service import WatchedEngine, worker_name
from crashlab.worker import Job
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
        begun: How many episodes were begun.
        episodes: How many were judged.
        kills: How many workers were killed.
        causes: How often by what.
        found: The sums of all verdicts.
        problems: What the judge found, each with the seed of its episode.
    """

    begun: int = 0
    episodes: int = 0
    kills: int = 0
    causes: Counter[str] = attrs.field(factory=Counter)
    found: Counter[str] = attrs.field(factory=Counter)
    problems: list[str] = attrs.field(factory=list)

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Tally:
        """Return what `attrs.asdict` made of a tally and JSON kept."""
        counters = {name: Counter(kept[name]) for name in ("causes", "found")}
        return cls(**kept | counters)

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
        import asyncpg

        address = server.replace("postgresql+asyncpg://", "postgresql://")
        name = f"papsms_crash_{random.randbytes(6).hex()}"
        connection = await asyncpg.connect(address)
        try:
            await connection.execute(f"CREATE SCHEMA {name}")
            mark = "&" if "?" in address else "?"
            yield f"{address}{mark}search_path={name}&application_name={name}"
            # Connections of the dead may still hold locks for a moment.
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = $1",
                name,
            )
            await connection.execute(f"DROP SCHEMA {name} CASCADE")
        finally:
            await connection.close()

    return schema


async def campaign(
    crew: Crew,
    databases: Databases,
    *,
    seed: int,
    kills: int,
    lanes: int = 6,
    chain: int = 15,
    options: dict[str, Any] | None = None,
    tally: Tally | None = None,
    progress: Callable[[Tally], Any] = lambda tally: None,
) -> Tally:
    """Run episodes, ``lanes`` at the same time, until ``kills`` workers were killed.

    Args:
        crew: Starts the workers.
        databases: Gives each episode its own.
        seed: Of the first episode; each further one has the next.
        kills: How many; the last episode is finished, so it becomes a few more.
        lanes: How many episodes run at the same time.
        chain: Kills an episode.
        options: Further fields of `worker.Job`.
        tally: Of an earlier run of the same campaign, to go on with; episodes that it had begun
            and not judged are left out.
        progress: Called after each episode.

    Returns:
        What was done and found; it ends with the first episode that has a problem.
    """
    tally = Tally() if tally is None else tally
    running = 0

    async def lane() -> None:
        nonlocal running
        while tally.kills + running * chain < kills and not tally.problems:
            number = seed + tally.begun
            tally.begun += 1
            running += 1
            async with databases() as database:
                verdict, causes = await episode(
                    crew, database, seed=number, chain=[None] * chain, options=options
                )
            running -= 1
            tally.add(verdict, causes, number)
            progress(tally)

    async with asyncio.TaskGroup() as group:
        for _ in range(lanes):
            group.create_task(lane())
    return tally


async def episode(
    crew: Crew,
    database: str,
    *,
    seed: int,
    chain: Sequence[str | None],
    options: dict[str, Any] | None = None,
) -> tuple[Verdict, Counter[str]]:
    """Run one episode: a worker for each part of ``chain``, then the last recovery.

    Args:
        crew: Starts the workers.
        database: Of the ledger, empty.
        seed: Of everything that is drawn.
        chain: What each worker dies of: one of `POINTS`, ``service:ROUTE``, or ``None`` to draw it.
        options: Further fields of `worker.Job`.

    Returns:
        The verdict, and how many workers died of what; ``time`` where the point was not reached.

    Raises:
        RuntimeError: A worker, or the last recovery, ended with an error of its own.
    """
    rng = random.Random(seed)
    engine = WatchedEngine(len(chain) + 1, seed=seed)
    causes: Counter[str] = Counter()
    killed: list[int] = []
    with tempfile.TemporaryDirectory(prefix="papsms-acks-") as directory:
        acks = [Path(directory, f"{number}") for number in range(len(chain) + 1)]
        async with SandboxServer(engine) as server:
            for number, cause in enumerate([*chain, "recovery"]):
                last = number == len(chain)
                job = Job(
                    name=worker_name(number),
                    base_url=server.base_url,
                    database=database,
                    seed=rng.getrandbits(32),
                    lease=LEASE,
                    work=not last,
                    acks=str(acks[number]),
                    **(options or {}),
                )
                if last:
                    worker = await crew.start(job)
                    status = await worker.wait(90)
                    if status:
                        raise RuntimeError(f"seed {seed}: the last recovery ended with {status}")
                else:
                    pid, died_of = await _life(crew, engine, job, rng, cause)
                    killed.append(pid)
                    causes[died_of] += 1
        records = await read_records(database)
        verdict = judge(engine, records, read_acks(acks), killed=killed)
    return verdict, causes


async def _life(
    crew: Crew, engine: WatchedEngine, job: Job, rng: random.Random, planned: str | None
) -> tuple[int, str]:
    """Run a worker until it is killed; return its process id and what it was killed by."""
    cause, nth, seconds = _drawn(rng) if planned is None else (planned, 1, 20.0)
    if cause in POINTS:
        job = attrs.evolve(job, crash=f"{cause}:{nth}:kill")
    worker: Worker = await crew.start(job)
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
        reached = struck
    if status != -SIGKILL:
        raise RuntimeError(f"worker {job} ended by itself with {status}")
    return worker.pid, cause if reached else "time"


def _drawn(rng: random.Random) -> tuple[str, int, float]:
    """Draw what a worker dies of, at which time of meeting it, and its longest life in seconds."""
    draw = rng.random()
    nth = min(1 + int(rng.expovariate(0.4)), 12)
    if draw < 0.5:
        cause = rng.choice(POINTS)
        # What happens often is met late as well; what is rare, at its first time.
        often = cause.startswith(("add:", "move:", "move.bought:"))
        return cause, nth if often else 1, LIFE
    if draw < 0.75:
        return f"service:{rng.choice(ROUTES)}", nth, LIFE
    return "time", 1, rng.uniform(0.0, LIFE / 2)
