"""The best that polling can do in the long run: dynamic programming over poll ages.

An activation takes one purchase, one finish, and polls at ages of its own. For a *price*, the
seconds of waiting that a poll must save, the best ages minimise the expected sum of undetected
waiting and price times polls, the last poll at the timeout so that no SMS is lost; a dynamic
program over a grid of ages finds them (Barlow, Hunter, Proschan, "Optimum checking procedures",
1963). What an activation then takes on average says how many of them a limit carries. Over all
prices this is a curve: nobody who polls blindly gets below it on average, whatever is done with
permits, for each activation's ages can depend on nothing but its own history, which is its age.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import attrs

STEP = 0.25
"""Seconds from age to age."""


@attrs.frozen
class Point:
    """One point of the frontier.

    Attributes:
        price: Seconds that a poll must save.
        ages: Ages of the polls, in seconds.
        polls: Polls an activation takes on average.
        delay: Mean seconds from an SMS's arrival to the poll that finds it.
        arriving: Share of the activations whose SMS comes within the timeout.
    """

    price: float
    ages: tuple[float, ...]
    polls: float
    delay: float
    arriving: float

    def per_minute(self, requests: float) -> float:
        """Return the completions a minute that so many requests a minute carry."""
        return requests / (2.0 + self.polls) * self.arriving


def solve(survival: Callable[[float], float], price: float, *, timeout: float = 120.0) -> Point:
    """Return the best ages for a price, and what they come to.

    Args:
        survival: Probability that no SMS has come by an age in seconds.
        price: Seconds of waiting that a poll must save.
        timeout: Age of the last poll.
    """
    count = round(timeout / STEP)
    ages = [k * STEP for k in range(count + 1)]
    alive = [survival(age) for age in ages]
    waited = [0.0]
    for k in range(count):
        waited.append(waited[-1] + _integral(survival, ages[k], ages[k + 1]))
    # cost[k]: what is to come for an activation polled without SMS at ages[k], times alive[k].
    cost, following = [0.0] * (count + 1), [count] * (count + 1)
    for k in range(count - 1, -1, -1):
        best = float("inf")
        for n in range(k + 1, count + 1):
            value = (ages[n] - ages[k]) * alive[k] - (waited[n] - waited[k]) + cost[n]
            if value < best:
                best, following[k] = value, n
        cost[k] = price * alive[k] + best
    chosen, k = [], 0
    while k < count:
        k = following[k]
        chosen.append(ages[k])
    return evaluate(survival, price, chosen)


def evaluate(survival: Callable[[float], float], price: float, ages: Sequence[float]) -> Point:
    """Return what polls at these ages come to."""
    undetected = polls = start = 0.0
    for age in ages:
        alive = survival(start)
        undetected += (age - start) * alive - _integral(survival, start, age)
        polls += alive
        start = age
    arriving = 1.0 - survival(ages[-1])
    return Point(price, tuple(ages), polls, undetected / arriving, arriving)


def _integral(survival: Callable[[float], float], low: float, high: float) -> float:
    """Integrate by Simpson's rule, in steps that make its error invisible."""
    count = max(1, math.ceil((high - low) / STEP))
    width = (high - low) / count
    total = survival(low) + survival(high)
    for k in range(count):
        total += 4 * survival(low + (k + 0.5) * width)
        if k:
            total += 2 * survival(low + k * width)
    return total * width / 6


def with_polls(
    survival: Callable[[float], float], polls: float, *, timeout: float = 120.0
) -> Point:
    """Return the point whose activations take ``polls`` polls on average, as near as there is one.

    Between two points lies the mixture of both, which is where a straight line joins them.
    """
    low, high = 1e-3, 1e4
    cheap, dear = (solve(survival, price, timeout=timeout) for price in (low, high))
    for _ in range(40):
        if high / low < 1.001:
            break
        middle = (low * high) ** 0.5
        point = solve(survival, middle, timeout=timeout)
        if point.polls >= polls:
            low, cheap = middle, point
        else:
            high, dear = middle, point
    if cheap.polls == dear.polls:
        return cheap
    share = min(1.0, max(0.0, (polls - dear.polls) / (cheap.polls - dear.polls)))
    return attrs.evolve(
        cheap,
        polls=share * cheap.polls + (1 - share) * dear.polls,
        delay=share * cheap.delay + (1 - share) * dear.delay,
    )
