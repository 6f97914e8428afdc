"""Whole worlds from seeds: whatever goes wrong in them, no promise about money or limits breaks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from simworld.campaign import REPLAY, Tally, campaign, examine
from simworld.mutants import MUTANTS, Mutant
from simworld.plan import draw
from simworld.world import run_seed

LIFECYCLES = 20_000
"""In the ordinary run; a million and more are run by ``benchmarks/simulation.py``."""
PARTS = 10
"""The lifecycles are spread over so many tests, so that a failure is seen early."""
WORLDS_FOR_A_MUTANT = 150
SEEDS = range(40, 65)
"""Of worlds that are made twice, in two processes."""


@pytest.mark.parametrize("part", range(PARTS))
def test_every_world_keeps_its_promises(part: int) -> None:
    """Each purchase ends once, the ledger is the charge log, limits, budget and SMS are kept."""
    tally = Tally()
    for world in campaign(part * 1_000_000, lifecycles=LIFECYCLES // PARTS):
        tally.add(world)
        assert not world.wrong, "\n".join([*world.wrong, REPLAY.format(seed=world.seed)])
    assert tally.lifecycles >= LIFECYCLES // PARTS
    # A simulation in which nothing happens would pass as well.
    for outcome in ("completed", "timed_out", "cancelled", "failed", "unknown", "no_numbers"):
        assert tally.outcomes[outcome] > 0, outcome
    for state in ("completed", "cancelled", "expired", "unknown", "refused"):
        assert tally.states[state] > 0, state
    assert tally.lost > 0
    assert tally.refused > 0


def test_same_seed_gives_the_same_world_in_every_process() -> None:
    """Each request and event, to the last bit of its instant, follows from the seed alone.

    Nothing depends on addresses, on the hashes of strings, or on the worlds before; and no two
    seeds are alike.
    """
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from simworld.world import run_seed\n"
        "for seed in map(int, sys.argv[2:]): print(run_seed(seed).trace.digest())\n"
    )
    # The other process meets them the other way round.
    backwards = list(reversed(SEEDS))
    there = subprocess.Popen(
        [sys.executable, "-c", script, str(Path(__file__).parent), *map(str, backwards)],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with there:
        here = [run_seed(seed).trace.digest() for seed in SEEDS]
        output, _ = there.communicate()
    assert there.returncode == 0
    assert dict(zip(backwards, output.split(), strict=True)) == dict(zip(SEEDS, here, strict=True))
    assert len(set(here)) == len(SEEDS)
    assert draw(1) != draw(2)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_broken_library_is_noticed(mutant: Mutant) -> None:
    """A library with that fault breaks a promise within a bounded number of small worlds."""
    for seed in range(WORLDS_FOR_A_MUTANT):
        with mutant():
            noticed = examine(seed, size=12).wrong
        if noticed:
            # It is the fault that is noticed, not the world.
            assert not examine(seed, size=12).wrong
            return
    pytest.fail(f"{mutant.__name__} was not noticed in {WORLDS_FOR_A_MUTANT} worlds")
