"""The best that polling can do under a limit: ``python benchmarks/frontier.py [--requests 57.1]``.

For each law, steady state, no SMS that comes within 120 s lost: the poll ages that are best for a
price per request, by dynamic programming (`schedworld.frontier`), and what they come to. Beside it,
at the same price, what this package's own plan comes to when it knows the law: it chooses among
coarser ages, in less time. Below it, what webhooks allow.
"""

from __future__ import annotations

import argparse

from environment import machine
from schedworld import LAWS, Law
from schedworld.frontier import Point, evaluate, with_polls

from papsms_async.delays import EDGES, DelayLaw
from papsms_async.polling import poll_plan

POLLS = (5.0, 3.5, 2.7, 2.15, 1.8, 1.6, 1.4, 1.34, 1.2)
TIMEOUT = 120.0


def planned(law: Law, price: float) -> Point:
    """Return what this package's plan for a price comes to under the exact law."""
    known = DelayLaw.from_survival(law.survival, edges=EDGES)
    ages = poll_plan(known, price, TIMEOUT).ages
    return evaluate(law.survival, price, ages)


def table(law: Law, requests: float) -> None:
    """Print the frontier of one law."""
    print(f"\nlaw: {law.name}{'':<34}best{'':<20}plan, law known")
    print(
        f"{'polls':>7}{'price':>8}{'mean s':>8}{'per min':>9}   {'ages':<31}"
        f"{'polls':>7}{'mean s':>8}{'per min':>9}"
    )
    for polls in POLLS:
        best = with_polls(law.survival, polls, timeout=TIMEOUT)
        plan = planned(law, best.price)
        ages = ", ".join(f"{age:g}" for age in best.ages)
        print(
            f"{best.polls:7.2f}{best.price:8.1f}{best.delay:8.1f}{best.per_minute(requests):9.1f}"
            f"   {ages if len(ages) <= 30 else ages[:27] + '...':<31}"
            f"{plan.polls:7.2f}{plan.delay:8.1f}{plan.per_minute(requests):9.1f}"
        )


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
        if len(law.medians) == 1 and law.drift is None and law.outage is None:
            table(law, options.requests)
            by_webhook(law, options.requests, lost=0.05)


if __name__ == "__main__":
    main()
