"""What the scheduler's decisions cost in processor time: ``python benchmarks/decisions.py``."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from environment import machine

from papsms_async.delays import DelayLaw
from papsms_async.learning import DelayModel
from papsms_async.polling import PollPlan, poll_plan
from papsms_async.pricing import InFlight, PriceController, age_histogram
from papsms_async.running_line import MOST_COMPARED

KIND = ("whatsapp", "us")
SUPPLY = 57.1 / 60
"""Permits a second of the default limit."""


def main() -> None:
    """Print what the decisions cost in processor time: medians."""
    print(machine())

    def median_us(call: Callable[[int], object], repeats: int = 300) -> float:
        taken = []
        for number in range(repeats):
            began = time.perf_counter()
            call(number)
            taken.append(time.perf_counter() - began)
        return 1e6 * statistics.median(taken)

    law = DelayLaw.lognormal(12.0, 0.8, 0.08)
    price = PriceController(max_in_flight=60).quote
    group = InFlight(law, 120.0, age_histogram((2.0 * k for k in range(60)), 120.0), 240)
    model = DelayModel()
    plan = poll_plan(law, 20.0, 120.0)
    print(f"\n{'What a decision costs':<58} {'us':>8}")
    decisions: tuple[tuple[str, Callable[[int], object]], ...] = (
        ("price, 60 in flight", lambda _: price([group], supply=SUPPLY)),
        ("plan, not cached", lambda n: poll_plan(law, 20.0 + n / 1e6, 120.0)),
        ("plan, cached", lambda _: poll_plan(law, 20.0, 120.0)),
        ("next poll", lambda n: plan.next_poll(n / 3)),
        ("which of many due polls goes", lambda _: dearest(plan)),
        ("observation", lambda n: model.observe(*KIND, age=n / 3, arrived=True, at=0.0)),
        ("law, made anew", lambda _: seen_one().law(*KIND)),
        ("law, cached", lambda _: model.law(*KIND)),
    )
    for name, call in decisions:
        print(f"{name:<58} {median_us(call):8.1f}")


def dearest(plan: PollPlan) -> float:
    """Return what the poll loses by waiting that loses most, of so many as are compared."""
    return max(plan.delay_cost(0.0, 20.0 + k / 10) for k in range(MOST_COMPARED))


def seen_one() -> DelayModel:
    """Return a model with one observation, its laws not made yet."""
    model = DelayModel()
    model.observe(*KIND, age=10.0, arrived=True, at=0.0)
    return model


if __name__ == "__main__":
    main()
