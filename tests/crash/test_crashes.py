"""Workers killed at every write and at any moment: nothing paid for is lost or bought twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import attrs
import pytest
from crashlab.campaign import (
    POINTS,
    ROUTES,
    Databases,
    campaign,
    episode,
    sqlite_file,
)
from crashlab.crew import Crew
from crashlab.judgement import Records, Verdict, judge, read_acks, read_records
from crashlab.service import WatchedEngine, worker_name
from crashlab.worker import Job

from papsms_async.lifecycle import State
from papsms_async.sandbox.server import SandboxServer

EVERY_POINT = ("service:purchase", *POINTS, *(f"service:{route}" for route in sorted({*ROUTES})))


def chain_of(points: Iterable[str]) -> Iterator[str]:
    """Give the deaths in turn; where one needs a purchase of doubtful fate, one that leaves it."""
    for point in points:
        if point.startswith("move.answer_lost:"):
            yield "service:purchase"
        yield point


async def test_a_kill_at_each_write_costs_nothing(
    crew: Crew, databases: Databases, seed: int
) -> None:
    """Whatever write or request a process dies at, the next ones bring everything to its end."""
    async with databases() as database:
        verdict, causes = await episode(crew, database, seed=seed, chain=[*chain_of(EVERY_POINT)])
    assert not verdict.problems, f"seed {seed}"
    assert set(causes) == set(EVERY_POINT), f"seed {seed}: some points were not reached"
    assert verdict.completed
    assert verdict.cancelled


@pytest.mark.parametrize(
    ("kind", "kills"), [("sqlite", 180), ("postgresql", 120)], ids=["sqlite", "postgresql"]
)
async def test_kills_at_random_cost_nothing(
    crew: Crew, kind: str, kills: int, seed: int, request: pytest.FixtureRequest
) -> None:
    """Chains of workers that die at random leave no purchase lost, doubled or finished wrongly."""
    databases = sqlite_file if kind == "sqlite" else request.getfixturevalue("postgresql")
    tally = await campaign(crew, databases, seed=seed, kills=kills)
    print(tally, dict(tally.causes))  # noqa: T201 - shown by pytest -s, and where it failed
    assert not tally.problems, f"PAPSMS_CRASH_SEED={seed}"
    assert tally.kills >= kills
    assert tally.found["unknown"] >= tally.found["unnamed"] > 0, "no kill was in a bad moment"


async def test_a_ledger_that_writes_behind_is_found_out(crew: Crew, seed: int) -> None:
    """The judge convicts a ledger that reports intents before they are written."""
    async with sqlite_file() as database:
        verdict, _ = await episode(
            crew,
            database,
            seed=seed,
            chain=["service:purchase"] * 4,
            options={"write_behind": True},
        )
    assert any("lost" in problem for problem in verdict.problems), f"seed {seed}"


@attrs.frozen
class Life:
    """What one worker left that verified a few numbers and was not killed."""

    engine: WatchedEngine
    records: Records
    acks: list[tuple[str, str]]


@pytest.fixture
async def life(crew: Crew, tmp_path: Path) -> Life:
    """A worker's life without a kill."""
    engine = WatchedEngine(1, seed=1)
    database, acks = f"sqlite:///{tmp_path}/ledger.db", tmp_path / "acks"
    async with SandboxServer(engine) as server:
        job = Job(
            name=worker_name(0),
            base_url=server.base_url,
            database=database,
            limit=16,
            acks=f"{acks}",
        )
        worker = await crew.start(job)
        assert await worker.wait(60) == 0
    return Life(engine, await read_records(database), read_acks([acks]))


def _without_one(life: Life) -> Verdict:
    entries = tuple(e for e in life.records.entries if e.activation_id)[1:]
    records = attrs.evolve(life.records, entries=entries)
    return judge(life.engine, records, [], killed=())


def _with_another_end(life: Life) -> Verdict:
    other = {State.COMPLETED: State.CANCELLED, State.CANCELLED: State.COMPLETED}
    entries = tuple(
        attrs.evolve(e, state=other.get(e.state, e.state)) for e in life.records.entries
    )
    return judge(life.engine, attrs.evolve(life.records, entries=entries), [], killed=())


def _bought_twice(life: Life) -> Verdict:
    charge = next(c for c in life.engine.charge_log if c.service.startswith("w0"))
    life.engine.charge_log.append(attrs.evolve(charge, activation_id="1"))
    return judge(life.engine, life.records, [], killed=())


def _not_there(life: Life) -> Verdict:
    return judge(life.engine, life.records, [("an intent", "intent")], killed=())


def _left_open(life: Life) -> Verdict:
    entries = tuple(attrs.evolve(e, state=State.WAITING) for e in life.records.entries)
    return judge(life.engine, attrs.evolve(life.records, entries=entries), [], killed=())


def _unknown_without_a_kill(life: Life) -> Verdict:
    entries = tuple(
        attrs.evolve(e, state=State.UNKNOWN, activation_id=None) for e in life.records.entries
    )
    return judge(life.engine, attrs.evolve(life.records, entries=entries), [], killed=())


@pytest.mark.parametrize(
    ("tampered", "complaint"),
    [
        (_without_one, "lost"),
        (_with_another_end, "at the service"),
        (_bought_twice, "was bought 2 times for 1 intents"),
        (_not_there, "is not in the ledger"),
        (_left_open, "after recovery"),
        (_unknown_without_a_kill, "unknown for no reason"),
    ],
)
async def test_the_judge_finds_each_fault(
    life: Life, tampered: Callable[[Life], Verdict], complaint: str
) -> None:
    """Records that were tampered with are convicted, the true ones are not."""
    assert not judge(life.engine, life.records, life.acks, killed=()).problems
    assert any(complaint in problem for problem in tampered(life).problems)
