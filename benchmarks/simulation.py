"""The simulation at length: a million lifecycles in random worlds, or one world again.

    python benchmarks/simulation.py                      a million lifecycles, on all cores
    python benchmarks/simulation.py --lifecycles 50000   fewer
    python benchmarks/simulation.py --first 7000000      other worlds
    python benchmarks/simulation.py --keep FILE          goes on where FILE says it was stopped
    python benchmarks/simulation.py --replay 123         one world: its plan, its trace, its faults

Every world is a manager on virtual time with a service of random faults, limits and delays, and
callers of every kind; ``tests/simulation`` says what is judged. Exits with 1 if a promise broke.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import multiprocessing
import os
import platform
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
from kept import Kept

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "simulation"))

from simworld.campaign import REPLAY, Examined, Tally, examine
from simworld.judge import judge
from simworld.plan import draw
from simworld.world import run_seed

BATCH = 16
"""Worlds that a process takes at once."""


def examine_batch(first: int) -> list[Examined]:
    """Examine some worlds in a row."""
    worlds = [examine(seed) for seed in range(first, first + BATCH)]
    gc.collect()
    return worlds


def tally_of(kept: dict[str, Any]) -> Tally:
    """Return the sums that were kept."""
    counters = {name: Counter(value) for name, value in kept.items() if isinstance(value, dict)}
    return Tally(**kept | counters)


def run(options: argparse.Namespace) -> int:
    """Run worlds until there were so many lifecycles; return the exit status."""
    kept = Kept(options.keep, {"first": options.first})
    tally, failed, first, earlier = Tally(), [], options.first, 0.0
    if (before := kept.part("worlds")) is not None:
        tally, failed, first = tally_of(before["tally"]), before["failed"], before["next"]
        earlier = before["seconds"]
        print(f"going on with seed {first}, after {tally.lifecycles:,} lifecycles")
    processes, lifecycles = options.processes, options.lifecycles
    shown = time.monotonic()
    began = shown - earlier
    print(f"Python {platform.python_version()}, {platform.machine()}, {processes} processes")
    # A fresh process now and then, so that no leak of a process decides how long it can run.
    with multiprocessing.Pool(processes, maxtasksperchild=200) as pool:
        ahead = itertools.count(first, BATCH)
        pending = [pool.apply_async(examine_batch, (next(ahead),)) for _ in range(2 * processes)]
        while tally.lifecycles < lifecycles and len(failed) < options.most_failures:
            # In the order of the seeds, so that equal runs report equal sums.
            for world in pending.pop(0).get():
                tally.add(world)
                if world.wrong:
                    failed.append(world.seed)
                    print(f"seed {world.seed}: {world.wrong[0]}", flush=True)
                    print("  " + REPLAY.format(seed=world.seed), flush=True)
            pending.append(pool.apply_async(examine_batch, (next(ahead),)))
            first += BATCH
            progress = {
                "next": first,
                "seconds": time.monotonic() - began,
                "failed": failed,
                "tally": attrs.asdict(tally),
            }
            kept.save("worlds", progress)
            if time.monotonic() - shown > 10:
                shown = time.monotonic()
                speed = tally.lifecycles / (shown - began)
                left = (lifecycles - tally.lifecycles) / speed if speed else float("inf")
                print(
                    f"{tally.lifecycles:>9,} lifecycles, {tally.worlds:,} worlds,"
                    f" {speed:,.0f}/s, {len(failed)} failed, {left / 60:.0f} min left",
                    flush=True,
                )
        pool.terminate()
    summary(tally, failed, time.monotonic() - began)
    return 1 if failed else 0


def summary(tally: Tally, failed: list[int], seconds: float) -> None:
    """Print what it came to."""
    print(
        f"\n{tally.lifecycles:,} lifecycles in {tally.worlds:,} worlds, {tally.requests:,} requests"
        f" ({tally.lost:,} answers lost, {tally.refused:,} of status 429),"
        f" {tally.virtual / 86_400:,.0f} virtual days in {seconds:,.0f} s:"
        f" {tally.lifecycles / seconds:,.0f} lifecycles/s"
    )
    for title, counts in (("results", tally.outcomes), ("ledger", tally.states)):
        words = ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
        print(f"{title}: {words}")
    print(f"{len(failed)} worlds broke a promise")
    for seed in failed:
        print("  " + REPLAY.format(seed=seed))


def replay(seed: int) -> int:
    """Act one world out again and print all of it; return the exit status."""
    plan = draw(seed)
    for name, value in plan.__getstate__().items():
        if name != "callers":
            print(f"{name}: {value}")
    for caller in plan.callers:
        print(f"caller: {caller}")
    seen = run_seed(seed)
    print()
    for line in seen.trace.text():
        print(line)
    wrong = judge(seen)
    print(f"\ntrace {seen.trace.digest()}")
    print("\n".join(wrong) or "every promise was kept")
    return 1 if wrong else 0


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description="Simulate many verifications, with faults.")
    parser.add_argument("--lifecycles", type=int, default=1_000_000)
    parser.add_argument("--first", type=int, default=100_000_000, help="first seed")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--most-failures", type=int, default=10)
    parser.add_argument("--replay", type=int, metavar="SEED")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="how far it has come")
    options = parser.parse_args()
    if options.replay is not None:
        return replay(options.replay)
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
