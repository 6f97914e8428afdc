"""The best that polling can do in the long run: dynamic programming over poll ages.

An activation takes one purchase, one finish, and polls at ages of its own. For a *price*, the
seconds of waiting that a poll must save, the best ages minimise the expected sum of undetected
waiting and price times polls, the last poll at the timeout so that no SMS is lost; a dynamic
program over a grid of ages finds them (Barlow, Hunter, Proschan, "Optimum checking procedures",
1963). What an activation then takes on average says how many of them a limit carries. Over all
prices this is a curve: nobody who polls blindly gets below it on average, whatever is done with
permits, for each activation's ages can depend on nothing but its own history, which is its age.
Where several services are asked for, the curve is that of one price for all.

Callers who come by chance need what they need on average, so while they are served as fast as they
come, the curve bounds their mean delay too (`for_callers`). It takes for granted that permits can
be kept for when more are in flight. They can't, so their delay is more, or they wait in line before
they have a number; what it comes to if nobody waits is estimated by `without_line`.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean as mean
from typing import TypeAlias

import attrs

STEP = 0.25
"""Seconds from age to age."""

Curve: TypeAlias = Callable[[float], float]
"""The probability that no SMS has come by an age in seconds."""


@attrs.frozen
class Point:
    """One point of the frontier.

    Attributes:
        price: Seconds that a poll must save.
        ages: Ages of the polls, in seconds.
        polls: Polls an activation takes on average.
        delay: Mean seconds from an SMS's arrival to the poll that finds it.
        arriving: Share of the activations whose SMS comes within the timeout.
        duration: Mean age at which an activation is found or given up, in seconds.
    """

    price: float
    ages: tuple[float, ...]
    polls: float
    delay: float
    arriving: float
    duration: float

    def per_minute(self, requests: float) -> float:
        """Return the completions a minute that so many requests a minute carry."""
        return requests / (2.0 + self.polls) * self.arriving


def solve(survival: Curve, price: float, *, timeout: float = 120.0) -> Point:
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


def evaluate(survival: Curve, price: float, ages: Sequence[float]) -> Point:
    """Return what polls at these ages come to."""
    undetected = polls = duration = start = 0.0
    for age in ages:
        alive = survival(start)
        undetected += (age - start) * alive - _integral(survival, start, age)
        polls += alive
        duration += (age - start) * alive
        start = age
    arriving = 1.0 - survival(ages[-1])
    return Point(price, tuple(ages), polls, undetected / arriving, arriving, duration)


def solve_all(curves: Sequence[Curve], price: float, *, timeout: float = 120.0) -> Point:
    """Return what services asked for equally often come to at one price."""
    return mixed(solve(curve, price, timeout=timeout) for curve in curves)


def mixed(points: Iterable[Point]) -> Point:
    """Return what activations come to that are divided equally among points."""
    points = tuple(points)
    arriving = mean([point.arriving for point in points])
    return Point(
        price=points[0].price,
        ages=points[0].ages if len(points) == 1 else (),
        polls=mean([point.polls for point in points]),
        delay=mean([point.delay * point.arriving for point in points]) / arriving,
        arriving=arriving,
        duration=mean([point.duration for point in points]),
    )


def _integral(survival: Curve, low: float, high: float) -> float:
    """Integrate by Simpson's rule, in steps that make its error invisible."""
    count = max(1, math.ceil((high - low) / STEP))
    width = (high - low) / count
    total = survival(low) + survival(high)
    for k in range(count):
        total += 4 * survival(low + (k + 0.5) * width)
        if k:
            total += 2 * survival(low + k * width)
    return total * width / 6


def between(cheap: Point, dear: Point, share: float) -> Point:
    """Return what activations come to of which a share is at one point, the rest at another."""
    values = {
        name: share * getattr(cheap, name) + (1 - share) * getattr(dear, name)
        for name in ("polls", "delay", "duration")
    }
    return attrs.evolve(cheap, **values)


class Frontier:
    """The curve of one law, at a price for every tenth of an octave, as far as ages that are
    multiples of `STEP` go: `plenty` says where permits are left over.

    Args:
        curves: The survival function of each service.
        timeout: Age of the last poll.
    """

    def __init__(self, curves: Sequence[Curve], *, timeout: float = 120.0) -> None:
        self._points = [
            solve_all(curves, 2.0 ** (k / 10), timeout=timeout) for k in range(-60, 100)
        ]

    def with_polls(self, polls: float) -> Point:
        """Return the point whose activations take so many polls on average.

        Between two points lies the mixture of both, which is where a straight line joins them.
        """
        return self._where(lambda point: point.polls, polls)

    def plenty(self, per_minute: float, requests: float) -> bool:
        """Return whether callers have more permits each than the curve has polls."""
        return requests / per_minute - 2.0 > self._points[0].polls

    def for_callers(self, per_minute: float, requests: float) -> Point:
        """Return the point of callers who come so often a minute, and are served as they come."""
        return self.with_polls(requests / per_minute - 2.0)

    def without_line(self, per_minute: float, requests: float) -> float:
        """Return the mean delay if nobody waits for a number, in seconds: an estimate.

        How many are in flight is then Poisson-distributed, and what purchases and finishes leave is
        divided among those. Each number of them is taken for one that lasts.
        """
        left = requests / 60 - 2 * per_minute / 60
        mean_others = per_minute / 60 * self.for_callers(per_minute, requests).duration
        total, chance = 0.0, math.exp(-mean_others)
        for others in range(60):
            point = self._where(lambda one: one.polls / one.duration, left / (others + 1))
            total += chance * point.delay
            chance *= mean_others / (others + 1)
        return total

    def one_after_another(self, callers: int, delay: float, requests: float) -> float:
        """Return the completions a minute of so many callers at a mean delay, at most."""
        point = self._where(lambda one: -one.delay, -delay)
        turned = 60 * callers / point.duration * point.arriving
        return min(turned, point.per_minute(requests))

    def _where(self, figure: Callable[[Point], float], value: float) -> Point:
        """Return the point at which a figure that falls with the price has a value; or an end."""
        points = self._points
        k = bisect_left(points, -value, key=lambda point: -figure(point))
        if k in (0, len(points)):
            return points[min(k, len(points) - 1)]
        cheap, dear = figure(points[k - 1]), figure(points[k])
        return between(points[k - 1], points[k], (value - dear) / (cheap - dear))
