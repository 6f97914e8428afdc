"""Draw what scheduling.py measures: the frontier of bulk, and every regime beside its peers.

    pip install '.[bench]' matplotlib && python benchmarks/plots.py [--seeds 8] [--jobs 2]

Writes ``plots/frontier.png`` and ``plots/regimes.png`` beside this file, and prints the figures
that are drawn: first law, 60 requests a minute, means over the seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from scheduling import Row, contenders, measure_all, print_row
from schedworld import LAWS, Ours
from schedworld.frontier import solve

FOLDER = Path(__file__).parent / "plots"
BULK = "bulk 500, 60 in flight"
REGIMES = ("1 at a time", "5 at a time", "Poisson 2/min", "Poisson 10/min", "Poisson 16/min", BULK)
OBJECTIVES = ("latency", "balanced", "throughput")
SUPPLY = 60 * 58 / 61
"""Requests a minute that the default profile gives when saturated."""
PRICES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 110.0, 160.0, 250.0)
INK, OURS, PEERS = "#222222", "#0b6bcb", "#b4512a"
SHOWN = (
    "every 2 s behind FIFO window",
    "every 5 s behind FIFO window",
    "every 5 s behind aiolimiter",
    "every 2, 4 .. 30 s behind FIFO window",
)
"""Peers in the regimes: those that people use most, and the best."""


def draw_frontier(rows: Sequence[Row]) -> None:
    """Draw completions a minute against the mean delay, in bulk."""
    law = LAWS["first"]
    line = [solve(law.survival, price) for price in PRICES]
    figure, axes = plt.subplots(figsize=(7.2, 4.2), dpi=110)
    axes.plot(
        [point.per_minute(SUPPLY) for point in line],
        [point.delay for point in line],
        color=INK,
        linewidth=1.2,
        label="best that polling can do (steady state)",
    )
    for row in rows:
        ours = row.contender.startswith("objective")
        x, y = row.figure("per_minute"), row.figure("mean_delay")
        if not ours and ("oracle" in row.contender or x < 1.0):
            continue
        axes.scatter(x, y, s=46 if ours else 26, color=OURS if ours else PEERS, zorder=3)
        if ours:
            axes.annotate(
                row.contender,
                (x, y),
                xytext=(-8, 2),
                textcoords="offset points",
                fontsize=8,
                color=OURS,
                ha="right",
            )
    for at, text in (
        (
            (17.6, 49),
            "any of three polling loops behind a FIFO window\nor pyrate-limiter: 8 SMS lost",
        ),
        ((6.6, 64), "behind aiolimiter: 150 and more SMS lost,\n1,500 answers 429"),
    ):
        axes.annotate(text, at, fontsize=7.5, color=PEERS, ha="right" if at[0] > 9 else "left")
    axes.set_xlim(4, 18.7)
    axes.set_ylim(-6, 72)
    axes.set_xlabel("completions a minute")
    axes.set_ylabel("mean seconds from SMS to caller")
    axes.set_title("Bulk of 500 at 60 requests a minute, 60 in flight", fontsize=10)
    axes.legend(loc="lower left", fontsize=8, frameon=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(FOLDER / "frontier.png")


def draw_regimes(rows: Sequence[Row]) -> None:
    """Draw the mean delay in every regime, one panel each."""
    figure, panels = plt.subplots(2, 3, figsize=(7.6, 4.6), dpi=110)
    for axes, workload in zip(panels.flat, REGIMES, strict=True):
        here = [row for row in rows if row.workload == workload]
        here.sort(key=lambda row: row.contender not in ("papsms-async",))
        names = [
            row.contender.replace(" behind ", "\n").replace(
                "oracle: knows when each SMS comes", "oracle"
            )
            for row in here
        ]
        delays = [row.figure("mean_delay") for row in here]
        colours = [
            OURS
            if row.contender == "papsms-async"
            else "#888888"
            if "oracle" in row.contender
            else PEERS
            for row in here
        ]
        axes.barh(range(len(here)), delays, color=colours, height=0.7)
        axes.set_yticks(range(len(here)), names, fontsize=5.5)
        axes.invert_yaxis()
        top = max(delays)
        for at, (row, delay) in enumerate(zip(here, delays, strict=True)):
            lost = row.figure("lost")
            note = f"{delay:.1f} s" + (f", {lost:.0f} lost" if lost >= 0.5 else "")
            inside = delay > 0.6 * top
            axes.annotate(
                note,
                (delay, at),
                xytext=(-3 if inside else 3, 0),
                textcoords="offset points",
                fontsize=6,
                va="center",
                ha="right" if inside else "left",
                color="white" if inside else INK,
            )
        axes.set_title(workload, fontsize=8)
        axes.tick_params(axis="x", labelsize=6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("Mean seconds from SMS to caller, by regime", fontsize=10)
    figure.tight_layout()
    figure.savefig(FOLDER / "regimes.png")


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=8, help="runs to average over (default 8)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    seeds = range(1, options.seeds + 1)
    last: list[tuple[str, str]] = []

    def told(row: Row) -> None:
        print_row(row, last=last)

    everyone = contenders({})
    ours = [Ours(f"objective {name}", {"objective": name}) for name in OBJECTIVES]
    peers = [each for each in everyone if not isinstance(each, Ours)]
    draw_frontier(
        measure_all([("first", BULK)], [*ours, *peers], seeds, jobs=options.jobs, told=told)
    )
    shown = [
        each
        for each in everyone
        if each.name == "papsms-async" or each.name in SHOWN or "oracle" in each.name
    ]
    cases = [("first", workload) for workload in REGIMES]
    draw_regimes(measure_all(cases, shown, seeds, jobs=options.jobs, told=told))


if __name__ == "__main__":
    main()
