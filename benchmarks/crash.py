"""Kills by the thousand, a fleet on one ledger, and power cuts, for as long as wanted.

``python benchmarks/crash.py`` kills 10,000 workers, on SQLite and, where ``PAPSMS_TEST_POSTGRES``
or ``--postgres`` names a server, half of them on PostgreSQL; that takes about half an hour on two
cores. ``--fleet 20000`` begins so many purchases with four processes on one PostgreSQL ledger that
are killed and stopped; ``--power-cuts 10000`` cuts the power of an SQLite ledger at so many points
(Linux with strace). Each prints its progress and a verdict, and the first problem ends it with its
seed; ``--seed`` repeats the draws, though not the timing. Kills with ``--keep FILE`` go on where
they were stopped. The tests of the same promises, shorter, are in ``tests/crash``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from kept import Kept

# The tools belong to the tests, and are no part of the package.
_TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(_TESTS / "crash"), str(_TESTS / "tools")]

if TYPE_CHECKING:
    from crashlab.crew import Crew


class Progress:
    """Prints a line at most every few seconds."""

    def __init__(self, seconds: float = 5.0) -> None:
        self._seconds = seconds
        self._start = self._last = time.monotonic()

    def __call__(self, *what: Any) -> None:
        """Print ``what``, if the last line is long ago."""
        now = time.monotonic()
        if now - self._last >= self._seconds:
            self._last = now
            print(f"{now - self._start:7.0f} s ", *what, flush=True)


async def kill(crew: Crew, options: argparse.Namespace) -> list[str]:
    """Kill workers in chains; return the problems."""
    from crashlab.campaign import Tally, campaign, postgres_schemas, sqlite_file

    kinds = {"SQLite": sqlite_file}
    if options.postgres:
        kinds["PostgreSQL"] = postgres_schemas(options.postgres)
    else:
        print("PostgreSQL is left out: PAPSMS_TEST_POSTGRES is unset")
    kept = Kept(options.keep, {"seed": options.seed, "kills": options.kills})
    tell = Progress()
    for name, databases in kinds.items():
        print(f"{name}: killing {options.kills // len(kinds)} workers, seed {options.seed}")
        before = kept.part(name)
        if before is not None:
            print(f"  going on after {before['kills']} kills")

        def progress(tally: Tally, name: str = name) -> None:
            kept.save(name, attrs.asdict(tally))
            tell(tally)

        tally = await campaign(
            crew,
            databases,
            seed=options.seed,
            kills=options.kills // len(kinds),
            tally=None if before is None else Tally.of(before),
            progress=progress,
        )
        print(f"{name}: {tally}")
        print("  killed at", ", ".join(f"{cause} {n}" for cause, n in tally.causes.most_common()))
        if tally.problems:
            return tally.problems
    return []


async def harass(crew: Crew, options: argparse.Namespace) -> list[str]:
    """Kill and stop a fleet; return the problems."""
    from crashlab.campaign import postgres_schemas
    from crashlab.fleet import fleet

    if not options.postgres:
        raise SystemExit("A fleet needs PostgreSQL: give --postgres or PAPSMS_TEST_POSTGRES.")
    print(f"fleet of four: {options.fleet} purchases, seed {options.seed}")
    progress = Progress()

    def tell(begun: int, causes: Counter[str]) -> None:
        progress(f"{begun} purchases begun, {dict(causes)}")

    async with postgres_schemas(options.postgres)() as database:
        verdict, causes = await fleet(
            crew, database, seed=options.seed, intents=options.fleet, progress=tell
        )
    print(f"{verdict}, {dict(causes)}")
    return verdict.problems


async def cut(options: argparse.Namespace) -> list[str]:
    """Cut the power; return the problems."""
    from crashlab.powercut import cut_everywhere, traced_run

    problems: list[str] = []
    for wal in (False, True):
        name = "write-ahead log" if wal else "rollback journal"
        print(f"power cuts: {options.power_cuts // 2} with a {name}, seed {options.seed}")
        with tempfile.TemporaryDirectory() as directory:
            steps = await traced_run(Path(directory), lives=200, seed=options.seed, wal=wal)
            after = Path(directory) / "after"
            after.mkdir()
            progress = Progress()
            found = cut_everywhere(
                steps,
                after,
                seed=options.seed,
                cuts=options.power_cuts // 2,
                progress=lambda cuts, tell=progress: tell(f"{cuts.cuts} cuts"),
            )
        print(
            f"{found.cuts} cuts, {found.acknowledged} writes acknowledged,"
            f" {len(found.lost)} lost, {len(found.damaged)} files damaged"
        )
        problems += [*found.lost, *found.damaged]
    return problems


async def run(options: argparse.Namespace) -> Sequence[str]:
    """Do what was asked for, one after the other, up to the first problems."""
    from crashlab.crew import Crew
    from zygote import Zygote

    problems: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        errors = Path(directory) / "errors"
        done = False
        try:
            with Zygote([_TESTS / "crash"], ["crashlab.worker"]) as zygote:
                async with Crew(zygote, errors) as crew:
                    if options.kills:
                        problems += await kill(crew, options)
                    if options.fleet and not problems:
                        problems += await harass(crew, options)
                    if options.power_cuts and not problems:
                        problems += await cut(options)
            done = True
        finally:
            if problems or not done:
                print("what workers said at last:", errors.read_text()[-4000:])
    return problems


def main() -> None:
    """Read the options, run, and exit with 1 if there was a problem."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, help="10000, unless something else is asked for")
    parser.add_argument("--fleet", type=int, default=0, metavar="PURCHASES")
    parser.add_argument("--power-cuts", type=int, default=0, metavar="CUTS")
    parser.add_argument("--postgres", default=os.environ.get("PAPSMS_TEST_POSTGRES"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, metavar="FILE", help="how far the kills have come")
    options = parser.parse_args()
    if options.kills is None:
        options.kills = 0 if options.fleet or options.power_cuts else 10_000
    problems = asyncio.run(run(options))
    for problem in problems[:20]:
        print(f"PROBLEM: {problem}")
    print(f"{len(problems)} problems" if problems else "nothing was lost, doubled or left over")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
