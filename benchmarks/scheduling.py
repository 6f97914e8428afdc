"""How many verifications a minute, and how late each SMS is noticed, under one quota.

    python benchmarks/scheduling.py [--seeds N]

Simulates permits as slots, one every 60/57.1 s (what the default quota gives when saturated),
without network or wall-clock time. Compared: FIFO polling every 2 s (a plain loop behind a
limiter), poll plans at fixed prices with the law known, and the price controller learning the law
as it goes from the cold start. Everything is seeded; the tail, when no purchases are left, is
included. The serving rule is the dispatcher's: polls that are due, earliest
first; then finishes, each within a minute; every permit left buys, up to the bound on activations
in flight.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import random
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version

import attrs

from papsms_async.delays import DelayLaw, DelayModel
from papsms_async.polling import InFlight, PriceController, age_histogram, poll_plan

SLOT = 60 / 57.1
FINISH_WITHIN = 60.0
KIND = ("whatsapp", "us")


@attrs.frozen
class World:
    """A service: lognormal delays with a share that never comes, and what is asked of it."""

    median: float = 12.0
    sigma: float = 0.8
    never: float = 0.08
    timeout: float = 120.0
    jobs: int = 300
    max_in_flight: int = 60
    slot: float = SLOT

    def draw(self, rng: random.Random) -> float:
        """Return the delay of one SMS in seconds, infinite when it never comes."""
        delay = self.median * math.exp(rng.gauss(0.0, self.sigma))
        return math.inf if rng.random() < self.never else delay


@attrs.define(eq=False)
class Job:
    """One activation in flight."""

    bought_at: float
    delay: float
    last: float = 0.0
    due: float = 0.0
    ended: bool = False


def due_at(job: Job) -> float:
    """Return the instant at which its next poll is due."""
    return job.bought_at + job.due


@attrs.frozen
class Score:
    """What a run came to; delays between an SMS and its detection, in seconds."""

    per_minute: float
    mean: float
    p90: float

    @classmethod
    def of(cls, delays: Sequence[float], seconds: float) -> Score:
        """Summarise the detection delays of a run that took `seconds`."""
        ordered = sorted(delays)
        p90 = ordered[int(0.9 * (len(ordered) - 1))]
        return cls(60 * len(ordered) / seconds, statistics.fmean(ordered), p90)


class Fixed:
    """Plans at one price, the law known."""

    def __init__(self, world: World, price: float) -> None:
        law = DelayLaw.lognormal(world.median, world.sigma, world.never)
        self.plan = poll_plan(law, price, world.timeout)
        self.mean_price = price

    def update(self, now: float, flying: Sequence[Job], finishes: int, waiting: int) -> bool:
        """Return whether due ages changed."""
        return False

    def observe(self, job: Job, age: float, arrived: bool, now: float) -> None:
        """Learn nothing."""


class Learning:
    """The controller, its law learned online from the cold start."""

    def __init__(self, world: World, *, bulk_factor: float | None = None) -> None:
        options = {} if bulk_factor is None else {"bulk_factor": bulk_factor}
        self.world = world
        self.model = DelayModel.for_timeout(world.timeout)
        self.controller = PriceController(max_in_flight=world.max_in_flight, **options)
        self.law = self.model.law(*KIND)
        self.price = 0.0
        self.prices: list[float] = []

    def update(self, now: float, flying: Sequence[Job], finishes: int, waiting: int) -> bool:
        """Recompute the price; return whether due ages changed."""
        law = self.model.law(*KIND)
        counts = age_histogram((now - job.bought_at for job in flying), self.world.timeout)
        group = InFlight(law, self.world.timeout, counts, waiting)
        due = sum(job.bought_at + job.due <= now for job in flying)
        price = self.controller.price(
            [group], supply=1 / self.world.slot, finishes=finishes, due=due
        )
        self.prices.append(price)
        if price == self.price and law is self.law:
            return False
        self.price, self.law = price, law
        self.plan = poll_plan(law, price, self.world.timeout)
        return True

    def observe(self, job: Job, age: float, arrived: bool, now: float) -> None:
        """Learn from one that ended."""
        self.model.observe(*KIND, age=age, arrived=arrived, at=now)


def simulate(world: World, policy: Fixed | Learning, seed: int) -> Score:
    """Run one seed of a plan-driven policy to its last finish."""
    rng = random.Random(seed)
    waiting = [world.draw(rng) for _ in range(world.jobs)]
    flying: list[Job] = []
    finishes: deque[float] = deque()
    delays: list[float] = []
    now = 0.0
    while waiting or flying or finishes:
        now += world.slot
        if policy.update(now, flying, len(finishes), len(waiting)):
            for job in flying:
                job.due = policy.plan.next_poll(job.last) or world.timeout
        if finishes and now - finishes[0] >= FINISH_WITHIN:
            finishes.popleft()
            continue
        first = min(flying, key=due_at) if flying else None
        if first is not None and due_at(first) <= now:
            job = first
            age = now - job.bought_at
            if job.delay <= age or age >= world.timeout:
                flying.remove(job)
                finishes.append(now)
                arrived = job.delay <= age
                policy.observe(job, job.delay if arrived else age, arrived, now)
                if arrived:
                    delays.append(age - job.delay)
            else:
                job.last = age
                job.due = policy.plan.next_poll(age) or world.timeout
        elif finishes:
            finishes.popleft()
        elif waiting and len(flying) < world.max_in_flight:
            job = Job(bought_at=now, delay=waiting.pop())
            job.due = policy.plan.next_poll(0.0) or world.timeout
            flying.append(job)
    return Score.of(delays, now)


def fifo(world: World, seed: int, *, every: float = 2.0) -> Score:
    """Run one seed of the plain loop behind a limiter that serves requests in order of arrival.

    Each activation asks again 2 s after its last answer and gives up at its timeout, be it asleep
    or in line.
    """
    rng = random.Random(seed)
    jobs = [world.draw(rng) for _ in range(world.jobs)]
    delays: list[float] = []
    line: deque[tuple[str, Job]] = deque()
    asleep: deque[tuple[float, Job]] = deque()
    bought: deque[Job] = deque()
    now, places = 0.0, world.max_in_flight
    while jobs or line or asleep or bought:
        now += world.slot
        while asleep and asleep[0][0] <= now:
            line.append(("poll", asleep.popleft()[1]))
        while bought and bought[0].bought_at + world.timeout < now:
            job = bought.popleft()
            if not job.ended:
                job.ended = True
                line.append(("finish", job))
        while jobs and places:
            places -= 1
            line.append(("buy", Job(bought_at=0.0, delay=jobs.pop())))
        while line and line[0][0] == "poll" and line[0][1].ended:
            line.popleft()
        if not line:
            continue
        kind, job = line.popleft()
        if kind == "buy":
            job.bought_at = now
            bought.append(job)
            asleep.append((now + every, job))
        elif kind == "finish":
            places += 1
        elif job.delay <= now - job.bought_at:
            delays.append(now - job.bought_at - job.delay)
            job.ended = True
            line.append(("finish", job))
        else:
            asleep.append((now + every, job))
    return Score.of(delays, now) if delays else Score(0.0, math.nan, math.nan)


def mean_score(run: Callable[[int], Score], seeds: int) -> Score:
    """Average over seeds."""
    scores = [run(seed) for seed in range(seeds)]
    return Score(
        statistics.fmean(s.per_minute for s in scores),
        statistics.fmean(s.mean for s in scores),
        statistics.fmean(s.p90 for s in scores),
    )


def costs() -> None:
    """Print what the decisions cost in processor time: medians."""

    def median_us(call: Callable[[int], object], repeats: int = 300) -> float:
        taken = []
        for number in range(repeats):
            began = time.perf_counter()
            call(number)
            taken.append(time.perf_counter() - began)
        return 1e6 * statistics.median(taken)

    law = DelayLaw.lognormal(12.0, 0.8, 0.08)
    price = PriceController(max_in_flight=60).price
    group = InFlight(law, 120.0, age_histogram((2.0 * k for k in range(60)), 120.0), 240)
    model = DelayModel()
    plan = poll_plan(law, 20.0, 120.0)
    print(f"\n{'What a decision costs':<58} {'us':>8}")
    decisions: tuple[tuple[str, Callable[[int], object]], ...] = (
        ("price, 60 in flight", lambda _: price([group], supply=1 / SLOT)),
        ("plan, not cached", lambda n: poll_plan(law, 20.0 + n / 1e6, 120.0)),
        ("plan, cached", lambda _: poll_plan(law, 20.0, 120.0)),
        ("next poll", lambda n: plan.next_poll(n / 3)),
        ("observation", lambda n: model.observe(*KIND, age=n / 3, arrived=True, at=0.0)),
        ("law, made anew", lambda _: seen_one().law(*KIND)),
        ("law, cached", lambda _: model.law(*KIND)),
    )
    for name, call in decisions:
        print(f"{name:<58} {median_us(call):8.1f}")


def seen_one() -> DelayModel:
    """Return a model with one observation, its laws not made yet."""
    model = DelayModel()
    model.observe(*KIND, age=10.0, arrived=True, at=0.0)
    return model


def row(name: str, score: Score) -> None:
    """Print one line of the table."""
    print(f"{name:<58} {score.per_minute:8.2f} {score.mean:9.1f} {score.p90:9.1f}")


def heading(title: str) -> None:
    """Print the head of a table."""
    print(f"\n{title:<58} {'per min':>8} {'mean s':>9} {'p90 s':>9}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=8, help="runs to average over (default 8)")
    seeds = parser.parse_args().seeds
    started = time.perf_counter()
    print(
        f"{platform.machine()} {platform.system()}, {os.cpu_count()} CPUs,"
        f" Python {platform.python_version()}, papsms-async {version('papsms-async')};"
        f" {60 / SLOT:.1f} requests/min, {seeds} seeds"
    )

    def controller(world: World, name: str) -> None:
        row(name, mean_score(lambda seed: simulate(world, Learning(world), seed), seeds))

    heading("500 jobs, 60 in flight, median 12 s, 8 % never")
    world = World(jobs=500)
    row("FIFO, each polled every 2 s", mean_score(partial(fifo, world), seeds))
    for price in (3, 10, 20, 40, 80, 150):

        def at_price(seed: int, price: float = price) -> Score:
            return simulate(world, Fixed(world, price), seed)

        row(f"plan at price {price}, law known", mean_score(at_price, seeds))
    controller(world, "controller, law learned from the cold start")

    heading("300 jobs, median 12 s, by bound on those in flight")
    for bound in (10, 30, 60, 120, 250):
        world = World(max_in_flight=bound)
        row(f"{bound:>3}: FIFO", mean_score(partial(fifo, world), seeds))
        controller(world, f"{bound:>3}: controller")

    heading("300 jobs, 60 in flight, by bulk price; controller")
    for factor in (1.25, 1.75, 2.5, 4.0, 6.0, 8.0):

        def with_factor(seed: int, factor: float = factor) -> Score:
            return simulate(World(), Learning(World(), bulk_factor=factor), seed)

        row(f"{factor:>4} mean SMS delays", mean_score(with_factor, seeds))

    heading("300 jobs, 60 in flight, by law; controller")
    for median in (5, 12, 30):
        for never in (0.08, 0.3):
            world = World(median=median, never=never)
            controller(world, f"median {median:>2} s, {never:.0%} never")
    fast = World(median=1.2, timeout=12.0, slot=SLOT / 10)
    controller(fast, "all times / 10 (the completions, too, are in a tenth)")

    heading("Jobs in small batches, median 12 s; controller")
    for jobs in (1, 5, 20, 60):
        controller(World(jobs=jobs, never=0.0), f"{jobs:>3} jobs")

    costs()
    print(f"\n{time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
