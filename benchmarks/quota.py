"""What the local quota costs and what it is worth, beside other limiters.

    pip install '.[bench]' && python benchmarks/quota.py

1. Cost: microseconds of processor time for one permit. *Alone*, permits are there when they are
   asked for. In a crowd, so many tasks wait under a limit of 60 in 60 s, on a clock that jumps over
   the waiting, so that work is all that counts, and the tasks' own is part of it: the row of bare
   futures has nothing else. Each run has a process of its own; the median counts, or the only one
   of 100,000. A limiter that has not served everybody after ``--stop`` real seconds is stopped, and
   the table says so. Beside it, how often a task is woken and a timer fires for each grant of
   1,000. Then the grants of 100,000 alone, when all permits come at once.
2. Worth, in real time, all limiters at once: the most requests that reach the server in any 6 s
   under a limit of 60 in 6 s, with a random time on the way there and back.
3. Worth, on virtual time: the same for an hour of 60 in 60 s, with stalls of up to 8 s, for those
   that live by the event loop's clock.

Limiters that are not installed are left out. Exits with status 1 if the local quota misses a bound.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Callable

import attrs
from crowds import Line, Run
from environment import machine
from limiters import FLOOR, LOADERS, OURS, Opener, installed, ours, sending_times
from schedworld.measure import CreepingLoop

from papsms_async.limits import QuotaProfile

UNCONTENDED_MOST = 5.0  # microseconds
CONTENDED_MOST = 25.0  # microseconds


def cell(line: Line, run: Run) -> str:
    """Return what a table says of a line."""
    if run.stopped(line):
        return f"> {run.stop:g} s, stopped at {line.granted:,}"
    return f"{line.microseconds:.2f} us"


def print_costs(names: list[str], rounds: int, stop: float) -> bool:
    """Print the first table; return whether the bounds are kept."""
    columns = ((1, 10, "alone"), (1_000, 26, "1,000 wait"), (100_000, 26, "100,000 wait"))
    heads = "".join(f"{head:>{width}}" for _, width, head in columns)
    print(f"\n{'processor time a permit':<24}{heads}{'wake-ups':>10}{'timers':>8}")
    for name in names:
        row = f"{name:<24}"
        for waiters, width, _ in columns:
            run = Run(name, waiters, stop)
            line = run.median(rounds if waiters < 100_000 else 1)
            row += f"{cell(line, run):>{width}}"
            if (name, waiters) == (OURS, 1):
                single = line
            if waiters == 1_000:
                few, stopped = attrs.evolve(run, count=True), run.stopped(line)
        if not stopped:
            counted = few.median(1)
            row += f"{counted.wakes:>10.2f}{counted.timers:>8.2f}"
        print(row, flush=True)

    grant, floor = (Run(name, 100_000, held=True).median(3) for name in (OURS, FLOOR))
    counted = Run(OURS, 100_000, held=True, count=True).median(1)
    print(f"\n{OURS}, the grants alone when 100,000 wait: {grant.microseconds:.2f} us a grant")
    print(f"  ({FLOOR}: {floor.microseconds:.2f} us), {counted.wakes:g} wake-ups")
    kept = (
        single.microseconds <= UNCONTENDED_MOST
        and grant.microseconds <= CONTENDED_MOST
        and counted.wakes == 1
    )
    bounds = f"{UNCONTENDED_MOST:g} us alone, {CONTENDED_MOST:g} us and 1 wake-up a grant"
    print(f"bounds ({bounds}): {'kept' if kept else 'MISSED'}")
    return kept


@attrs.frozen
class Seen:
    """What a server saw: the most arrivals in any window, and arrivals a minute."""

    worst: int
    per_minute: float


def near(rng: random.Random) -> float:
    """Draw one way: 80 ms as a rule, now and then up to 3 s."""
    return rng.expovariate(1 / 0.08) + (rng.uniform(0.5, 3.0) if rng.random() < 0.02 else 0.0)


def far(rng: random.Random) -> float:
    """Draw one way: 80 ms as a rule, and now and then a stall of some seconds."""
    return rng.expovariate(1 / 0.08) + (rng.uniform(1.0, 8.0) if rng.random() < 0.02 else 0.0)


async def traffic(
    opener: Opener, per: float, windows: float, one_way: Callable[[random.Random], float]
) -> Seen:
    """Let 100 workers ask all the time under a limit of 60, for so many windows."""
    rng, arrivals = random.Random(7), []
    loop = asyncio.get_running_loop()
    limiter = opener(60, per)

    async def worker() -> None:
        while True:
            permit = await limiter.take()
            await asyncio.sleep(one_way(rng))
            arrivals.append(loop.time())
            await asyncio.sleep(one_way(rng))
            if limiter.answered is not None:
                limiter.answered(permit)

    began = loop.time()
    workers = [asyncio.create_task(worker()) for _ in range(100)]
    await asyncio.sleep(windows * per)
    for task in workers:
        task.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    limiter.close()
    times: list[float] = sorted(arrivals)
    worst = first = 0
    for last, at in enumerate(times):
        while times[first] < at - per:
            first += 1
        worst = max(worst, last - first + 1)
    # The first two windows have the burst of the start.
    settled = [at for at in times if at >= began + 2 * per]
    return Seen(worst, len(settled) / ((windows - 2) * per) * 60)


def print_seen(title: str, seen: dict[str, Seen], per: float) -> bool:
    """Print who let how many through; return whether our own kept to 60."""
    print(f"\n{title}")
    print(f"{'':28}{f'most in any {per:g} s':>18}{'per minute':>12}")
    for name, result in seen.items():
        print(f"{name:28}{result.worst:18d}{result.per_minute:12.1f}")
    return all(result.worst <= 60 for name, result in seen.items() if OURS in name)


async def together(openers: dict[str, Opener], windows: float) -> dict[str, Seen]:
    """Run all limiters at once, in real time."""
    runs = (traffic(opener, 6.0, windows, near) for opener in openers.values())
    return dict(zip(openers, await asyncio.gather(*runs), strict=True))


def main() -> int:
    """Run everything and print it; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stop", type=float, default=60.0, help="seconds for a line (default 60)")
    parser.add_argument("--windows", type=float, default=15, help="of 6 s of real time, for part 2")
    parser.add_argument("--skip-costs", action="store_true", help="leave part 1 out")
    options = parser.parse_args()
    print(machine("aiolimiter", "throttled-py", "pyrate-limiter", "limits"))
    names = installed()
    kept = options.skip_costs or print_costs(names, options.rounds, options.stop)

    profiles = {f"{OURS}, {profile.value}": ours(profile) for profile in QuotaProfile}
    own = {**profiles, "exact log of sending times": sending_times}
    others = {name: LOADERS[name]() for name in names if name not in (OURS, FLOOR)}
    title = f"60 requests in 6 s, {options.windows:g} windows of real time, 100 workers"
    seen = asyncio.run(together({**own, **others}, options.windows))
    kept &= print_seen(title, seen, 6.0)

    virtual = {**own, **{name: others[name] for name in ("aiolimiter",) if name in others}}
    hour = {}
    for name, opener in virtual.items():
        # Creeping, for some wait for the rest of a rounding error.
        with asyncio.Runner(loop_factory=CreepingLoop) as runner:
            hour[name] = runner.run(traffic(opener, 60.0, 62, far))
    kept &= print_seen("60 requests in 60 s, 62 virtual minutes, 100 workers", hour, 60.0)
    print("\nall bounds kept" if kept else "\nA BOUND WAS MISSED")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
