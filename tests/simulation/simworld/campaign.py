"""Many worlds one after another, and what they come to."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator

import attrs

from .judge import judge
from .world import run_seed

REPLAY = "replay it with: python benchmarks/simulation.py --replay {seed}"


@attrs.frozen(kw_only=True)
class Examined:
    """One world, acted out and judged; small enough to be sent between processes."""

    seed: int
    wrong: tuple[str, ...]
    lifecycles: int = 0
    requests: int = 0
    lost: int = 0
    refused: int = 0
    virtual: float = 0.0
    outcomes: Counter[str] = attrs.field(factory=Counter)
    states: Counter[str] = attrs.field(factory=Counter)


@attrs.define(kw_only=True)
class Tally:
    """Sums over worlds."""

    worlds: int = 0
    lifecycles: int = 0
    requests: int = 0
    lost: int = 0
    refused: int = 0
    virtual: float = 0.0
    outcomes: Counter[str] = attrs.field(factory=Counter)
    states: Counter[str] = attrs.field(factory=Counter)

    def add(self, world: Examined) -> None:
        """Count a world in."""
        self.worlds += 1
        self.lifecycles += world.lifecycles
        self.requests += world.requests
        self.lost += world.lost
        self.refused += world.refused
        self.virtual += world.virtual
        self.outcomes += world.outcomes
        self.states += world.states


def examine(seed: int, *, size: int | None = None) -> Examined:
    """Act the world of ``seed`` out and judge it; a crash of the world is wrong as well."""
    try:
        seen = run_seed(seed, size=size)
        wrong = tuple(judge(seen))
    except Exception:
        return Examined(seed=seed, wrong=(traceback.format_exc(),))
    return Examined(
        seed=seed,
        wrong=wrong,
        lifecycles=seen.lifecycles,
        requests=len(seen.wires),
        lost=sum(wire.fate in ("lost", "timeout", "cancelled") for wire in seen.wires),
        refused=sum(wire.status == 429 for wire in seen.wires),
        virtual=seen.virtual,
        outcomes=Counter(result.outcome.value for result in seen.diary.results),
        states=Counter(entry.state.value for entry in seen.entries),
    )


def campaign(first: int, *, lifecycles: int) -> Iterator[Examined]:
    """Examine the worlds from seed ``first`` on, until so many lifecycles went to their end."""
    done, seed = 0, first
    while done < lifecycles:
        world = examine(seed)
        yield world
        done += world.lifecycles
        seed += 1
        if seed - first > 100 + lifecycles:
            raise RuntimeError("the worlds are almost empty")
