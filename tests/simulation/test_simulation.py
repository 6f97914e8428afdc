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


@pytest.mark.parametrize("seed", range(25))
def test_same_seed_gives_the_same_world(seed: int) -> None:
    """Every request and event, to the last bit of its instant, follows from the seed."""
    assert run_seed(seed).trace.digest() == run_seed(seed).trace.digest()


def test_same_seed_gives_the_same_world_in_another_process() -> None:
    """Nothing depends on addresses or on the hashes of strings."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from simworld.world import run_seed\n"
        "sys.stdout.write(' '.join(run_seed(seed).trace.digest() for seed in range(40, 60)))\n"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script, str(Path(__file__).parent)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    here = " ".join(run_seed(seed).trace.digest() for seed in range(40, 60))
    assert digests == {here}


def test_different_seeds_give_different_worlds() -> None:
    """Seeds are not all alike."""
    assert len({run_seed(seed).trace.digest() for seed in range(20)}) == 20
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
