"""The best that polling can do under a limit: ``python benchmarks/frontier.py [--requests 57.1]``.

For each law, steady state, no SMS that comes within 120 s lost: the poll ages that are best for a
price per request, by dynamic programming (`schedworld.frontier`), and what they come to. Beside it,
at the same price, what this package's own plan comes to when it knows the law: it chooses among
coarser ages, in less time.

Below it, what callers can have who come by chance or one after another: the mean delay of an SMS is
at least `bound`, however long they wait for a number, as long as they are served as fast as they
come. `no line` is an estimate of what it comes to if none of them waits for a number, and ``<``
stands where permits are left over by polls a quarter of a second apart. And what webhooks allow.
"""

from __future__ import annotations

import argparse

from environment import machine
from schedworld import LAWS, Law
from schedworld.frontier import Frontier, Point, evaluate

from papsms_async.delays import EDGES, DelayLaw
from papsms_async.polling import poll_plan

POLLS = (5.0, 3.5, 2.7, 2.15, 1.8, 1.6, 1.4, 1.34, 1.2)
TIMEOUT = 120.0


def planned(law: Law, price: float) -> Point:
    """Return what this package's plan for a price comes to under the exact law."""
    known = DelayLaw.from_survival(law.survival, edges=EDGES)
    ages = poll_plan(known, price, TIMEOUT).ages
    return evaluate(law.survival, price, ages)


def table(law: Law, frontier: Frontier, requests: float) -> None:
    """Print the frontier of one law; with several services, without their ages."""
    alone = len(law.medians) == 1
    print(f"\nlaw: {law.name}{'':<34}best" + (f"{'':<20}plan, law known" if alone else ""))
    heads = f"{'polls':>7}{'price':>8}{'mean s':>8}{'per min':>9}"
    print(heads + (f"   {'ages':<31}{'polls':>7}{'mean s':>8}{'per min':>9}" if alone else ""))
    for polls in POLLS:
        best = frontier.with_polls(polls)
        line = (
            f"{best.polls:7.2f}{best.price:8.1f}{best.delay:8.1f}{best.per_minute(requests):9.1f}"
        )
        if alone:
            plan = planned(law, best.price)
            ages = ", ".join(f"{age:g}" for age in best.ages)
            line += (
                f"   {ages if len(ages) <= 30 else ages[:27] + '...':<31}"
                f"{plan.polls:7.2f}{plan.delay:8.1f}{plan.per_minute(requests):9.1f}"
            )
        print(line)


def callers(frontier: Frontier, requests: float) -> None:
    """Print what callers can have who come by chance, or a few one after another."""
    print("callers a minute, by chance: polls each, mean s from an SMS to its caller")
    print(f"{'':>7}{'polls':>8}{'bound':>8}{'no line':>9}")
    for per_minute in (2.0, 10.0, 16.0):
        point = frontier.for_callers(per_minute, requests)
        estimate = frontier.without_line(per_minute, requests)
        less = "<" if frontier.plenty(per_minute, requests) else " "
        print(
            f"{per_minute:7.0f}{point.polls:8.2f}{less:>4}{point.delay:4.1f}{less:>5}{estimate:4.1f}"
        )
    print("5 callers, one after another: completions a minute at most, at a mean delay")
    for delay in (3.0, 3.2, 3.4):
        print(f"{delay:7.1f} s{frontier.one_after_another(5, delay, requests):8.1f}")


def by_webhook(law: Law, requests: float, *, lost: float) -> None:
    """Print what webhooks allow at most, of which a share is lost."""
    comes = 1.0 - law.survival(TIMEOUT)
    known = comes * (1.0 - lost)
    print(f"by webhook, {lost:.0%} lost, completions a minute at most:")
    for what, taken in (
        ("each confirmed by a status call, each number finished", 3.0),
        ("trusted; a look where none came, each number finished", 3.0 - known),
        ("trusted; no look and no cancellation where none came", 1.0 + known),
    ):
        found = known if what.startswith("trusted; no") else comes
        print(f"  {what:<55}{requests / taken * found:6.1f}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--requests", type=float, default=57.1, help="requests a minute (default 57.1)"
    )
    options = parser.parse_args()
    print(machine())
    for law in LAWS.values():
        if law.drift is not None or law.outage is not None:
            continue
        frontier = Frontier(law.curves, timeout=TIMEOUT)
        table(law, frontier, options.requests)
        callers(frontier, options.requests)
        if len(law.medians) == 1:
            by_webhook(law, options.requests, lost=0.05)


if __name__ == "__main__":
    main()
