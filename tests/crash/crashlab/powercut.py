"""Cuts the power of a worker with a ledger on SQLite, at many points of one traced run.

The worker runs under strace; its trace is played on a `ForgetfulDisk`, and at each cut the files
that are left are opened by SQLite. They must be intact and hold every write that the worker had
acknowledged by then.
"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs

from crashlab.disk import ForgetfulDisk
from crashlab.filetrace import Ack, Step, command, read_trace
from crashlab.service import WatchedEngine, worker_name
from crashlab.worker import Job
from papsms_async.sandbox.server import SandboxServer


@attrs.define(kw_only=True)
class Cuts:
    """What the power cuts left.

    Attributes:
        cuts: How many there were.
        acknowledged: How many writes had been acknowledged before the last of them.
        lost: Acknowledged writes that a cut lost, intents and moves.
        damaged: What SQLite said of files that are not intact.
        kinds: Which calls the trace is made of.
    """

    cuts: int = 0
    acknowledged: int = 0
    lost: list[str] = attrs.field(factory=list)
    damaged: list[str] = attrs.field(factory=list)
    kinds: Counter[str] = attrs.field(factory=Counter)


async def traced_run(directory: Path, *, lives: int, seed: int, **options: Any) -> list[Step]:
    """Run a worker with ``lives`` verifications under strace, and return its trace.

    Args:
        directory: An empty one; the ledger and the trace are put there.
        lives: How many.
        seed: Of everything that is drawn.
        **options: Further fields of `Job`.

    Raises:
        RuntimeError: The worker failed.
    """
    data = directory / "data"
    data.mkdir()
    acks, output = directory / "acks", directory / "trace"
    async with SandboxServer(WatchedEngine(1, seed=seed)) as server:
        job = Job(
            name=worker_name(0),
            base_url=server.base_url,
            database=f"sqlite:///{data}/ledger.db",
            seed=seed,
            lease=30.0,
            at_once=4,
            limit=lives,
            recovers=False,
            acks=f"{acks}",
            **options,
        )
        process = await asyncio.create_subprocess_exec(
            *command(output),
            sys.executable,
            "-m",
            "crashlab.worker",
            json.dumps(attrs.asdict(job)),
            cwd=Path(__file__).parents[1],
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"the traced worker failed: {errors.decode()[-2000:]}")
    with output.open() as lines:
        return list(read_trace(lines, data, acks))


def cut_everywhere(
    steps: Sequence[Step],
    directory: Path,
    *,
    seed: int,
    cuts: int,
    progress: Callable[[Cuts], Any] = lambda found: None,
) -> Cuts:
    """Cut the power at about ``cuts`` points of a trace and look at what is left.

    Half of the points are right behind an acknowledgement, the others anywhere. At each, either
    nothing unsynced survives, or a random part, or all.
    """
    rng = random.Random(seed)
    found = Cuts(kinds=Counter(type(step).__name__ for step in steps))
    acks = [index for index, step in enumerate(steps) if isinstance(step, Ack)]
    points = Counter(rng.choices(acks, k=cuts // 2))
    points.update(rng.choices(range(len(steps)), k=cuts - cuts // 2))
    disk = ForgetfulDisk()
    promised: list[tuple[str, str]] = []
    for index, step in enumerate(steps):
        disk.apply(step)
        if isinstance(step, Ack):
            promised += step.lines
        for _ in range(points[index]):
            survival = rng.choice((0.0, 0.0, rng.random(), 1.0))
            left = disk.cut(rng, survival=survival)
            _look(left, directory, promised, found, f"cut after step {index}, {survival:.2f} kept")
            found.cuts += 1
            progress(found)
    found.acknowledged = len(promised)
    return found


def _look(
    left: dict[str, bytes],
    directory: Path,
    promised: Sequence[tuple[str, str]],
    found: Cuts,
    where: str,
) -> None:
    for old in directory.iterdir():
        old.unlink()
    for name, content in left.items():
        # The index of a write-ahead log is shared memory: it does not outlive its processes.
        if not name.endswith("-shm"):
            (directory / name).write_bytes(content)
    there: set[tuple[str, str]] = set()
    intents: set[str] = set()
    with closing(sqlite3.connect(directory / "ledger.db")) as connection:
        try:
            state = connection.execute("PRAGMA integrity_check").fetchone()[0]
            if state != "ok":
                found.damaged.append(f"{where}: {state}")
            if connection.execute(
                "SELECT count(*) FROM sqlite_master WHERE name = 'papsms_events'"
            ).fetchone()[0]:
                there.update(connection.execute("SELECT intent_id, event FROM papsms_events"))
                intents.update(
                    row[0] for row in connection.execute("SELECT intent_id FROM papsms_entries")
                )
        except sqlite3.DatabaseError as error:
            found.damaged.append(f"{where}: {error}")
    found.lost += [
        f"{where}: {event} of {intent}"
        for intent, event in promised
        if (intent, event) not in there or intent not in intents
    ]
