"""How many verifications a minute, and how late each SMS is known, under one limit.

    pip install '.[bench]' && python benchmarks/scheduling.py --jobs 2

The whole client and manager on virtual time, against a service with a strict sliding window of 60
requests in 60 s (`schedworld`). Each table is a law of the SMS delay and a workload; each row is a
contender, run with the same draws: this package, a loop for each verification behind a limiter
(which is what people use today), and an oracle that knows when each SMS comes. Figures are means
over the seeds; ``busiest`` is the highest of all. ``waits`` is how many seconds after a caller's
asking the SMS is triggered, where callers come one by one; ``beside`` is the mean delay of those
who come beside a bulk.

    --only TEXT ...         tables whose name has one of these texts
    --who TEXT ...          contenders whose name has one of these texts
    --manager NAME=VALUE    sets an option of `ActivationManager`
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import compress
from typing import Any

import attrs
from environment import machine
from schedworld import LAWS, WORKLOADS, Contender, Ours, Score, measure
from schedworld.oracle import Oracle

BULK = "bulk 500, 60 in flight"
OBJECTIVES = ("latency", "throughput")
"""Those beside the default, which is balanced."""
CASES: tuple[tuple[str, str], ...] = (
    *(("first", workload) for workload in WORKLOADS),
    *((law, BULK) for law in LAWS if law != "first"),
    *((law, "Poisson 10/min") for law in LAWS if law != "first"),
)
"""Law and workload of each row."""


def contenders(options: Mapping[str, Any]) -> list[Contender]:
    """Return everyone; without the peers where they are not installed."""
    found: list[Contender] = [
        Ours(options=options),
        *(
            Ours(f"papsms-async, {objective}", {**options, "objective": objective}, contested=True)
            for objective in OBJECTIVES
        ),
        Ours("papsms-async, webhooks confirmed", options, trust="confirm"),
        Ours("papsms-async, webhooks trusted", options, trust="payload"),
    ]
    try:
        from schedworld.peers import GATES, LOOPS, WEBHOOK, Peer
    except ImportError as error:
        print(f"without the peers ({error}): pip install '.[bench]'", file=sys.stderr)
    else:
        guide, *loops = LOOPS
        nothing, *gates = GATES
        found.append(Peer(guide, nothing))
        found.extend(Peer(loop, gate) for loop in (guide, *loops, WEBHOOK) for gate in gates)
    found.append(Oracle())
    return found


def chosen(names: Iterable[str], texts: Sequence[str]) -> list[bool]:
    """Return of each name whether it has one of the texts; every name has none."""
    return [not texts or any(text in name for text in texts) for name in names]


@attrs.frozen
class Row:
    """What one contender came to in one case: one score a seed."""

    law: str
    workload: str
    contender: str
    scores: tuple[Score, ...]

    def figure(self, name: str) -> float:
        """Return a figure over the seeds that have it: the highest ``busiest``, else the mean."""
        values = [getattr(score, name) for score in self.scores]
        known = [value for value in values if not math.isnan(value)]
        if name == "busiest":
            return max(known)
        return statistics.fmean(known) if known else math.nan


Task = tuple[Contender, str, str, int]


def run_task(task: Task) -> Score:
    """Run one seed of one row."""
    contender, law, workload, seed = task
    return measure(contender, law=law, workload=workload, seed=seed)


def measure_all(
    cases: Sequence[tuple[str, str]],
    contenders: Sequence[Contender],
    seeds: Sequence[int],
    *,
    jobs: int,
    told: Callable[[Row], None],
) -> list[Row]:
    """Run every case with every contender; tell of each row as soon as it is there."""
    heads = [
        (law, workload, who)
        for law, workload in cases
        for who in contenders
        if who.fits(WORKLOADS[workload])
    ]
    tasks: Iterable[Task] = (
        (who, law, workload, seed) for law, workload, who in heads for seed in seeds
    )
    rows = []
    with ProcessPoolExecutor(jobs) as pool:
        scores = iter(pool.map(run_task, tasks) if jobs > 1 else map(run_task, tasks))
        for law, workload, who in heads:
            row = Row(law, workload, who.name, tuple(next(scores) for _ in seeds))
            told(row)
            rows.append(row)
    return rows


COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("per min", "per_minute", "8.2f"),
    ("requests", "per_completion", "9.2f"),
    ("429s", "refused", "7.0f"),
    ("busiest", "busiest", "8.0f"),
    ("mean s", "mean_delay", "8.2f"),
    ("p95 s", "p95_delay", "8.2f"),
    ("lost", "lost", "7.2f"),
    ("waits", "wait", "8.2f"),
    ("beside", "interactive", "8.2f"),
    ("cpu s", "processor", "7.2f"),
)


def print_row(row: Row, *, last: list[tuple[str, str]]) -> None:
    """Print a row, below a heading where a new case begins."""
    if last[-1:] != [(row.law, row.workload)]:
        last.append((row.law, row.workload))
        heads = "".join(f"{head:>{int(form.split('.')[0])}}" for head, _, form in COLUMNS)
        print(f"\n{row.workload}; law: {row.law}\n{'':<42}{heads}")
    cells = []
    for _, figure, form in COLUMNS:
        value = row.figure(figure)
        width = int(form.split(".")[0])
        cells.append(" " * width if math.isnan(value) else f"{value:{form}}")
    print(f"{row.contender:<42}{''.join(cells)}", flush=True)


def value_of(text: str) -> Any:
    """Read an option's value: JSON where it is, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=8, help="runs to average over (default 8)")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--only", nargs="*", default=[], metavar="TEXT")
    parser.add_argument("--who", nargs="*", default=[], metavar="TEXT")
    parser.add_argument("--manager", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--json", metavar="FILE", help="write all scores there")
    options = parser.parse_args()
    given = dict(option.split("=", 1) for option in options.manager)
    everyone = contenders({name: value_of(text) for name, text in given.items()})
    who = list(compress(everyone, chosen([each.name for each in everyone], options.who)))
    names = [f"{workload}; law: {law}" for law, workload in CASES]
    cases = list(compress(CASES, chosen(names, options.only)))
    if not cases or not who:
        sys.exit("Nothing has such a name. Tables: " + " | ".join(names))
    print(f"{machine('aiolimiter', 'pyrate-limiter')}; {options.seeds} seeds")
    began = time.perf_counter()
    last: list[tuple[str, str]] = []
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    rows = measure_all(
        cases, who, seeds, jobs=options.jobs, told=lambda row: print_row(row, last=last)
    )
    if options.json:
        with open(options.json, "w") as file:
            json.dump([attrs.asdict(row) for row in rows], file)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
