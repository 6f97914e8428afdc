"""When to look for an SMS: the best ages to poll for a law of the delay and a price of a request.

Theory of operation
-------------------
A poll costs `price` seconds: that much waiting it must save. For one law S of the delay and one
timeout, the best ages to poll are those that minimise price times polls plus the seconds between
an SMS and its detection. With V(l) the cost that is still to come for an activation last polled
without SMS at age l,

    V(l) = min over u > l of  price + integral_l^u (u - t) dF(t) / S(l) + S(u) / S(l) * V(u),
    V(timeout) = 0,

and the last poll is at the timeout, because an SMS that nobody looked for is money lost. With W =
S * V the integral becomes (u - l) S(l) - (I(u) - I(l)), and

    W(l) = price * S(l) + I(l) - l * S(l) + min over u of  u * S(l) + (W(u) - I(u)).

The minimum is over straight lines in x = S(l), one for each u. Going backwards from the timeout,
slopes only fall and x only grows, so the lower envelope is kept as a queue and the whole program
is linear in the number of ages, not quadratic; and the best next age never falls as l grows, so
that an age between two nodes of the grid is solved exactly.

The price itself is found in `papsms_async.pricing`.

Source: Barlow, Hunter, Proschan, "Optimum checking procedures", 1963.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from math import inf

import attrs

from papsms_async.delays import DelayLaw

__all__ = ["AGE_BINS", "PRICES", "PollPlan", "closest", "give_up_age", "index", "poll_plan"]

PRICES: tuple[float, ...] = tuple(2.0 ** (k / 2) for k in range(-30, 18))
"""The prices in use, seconds a request: a grid, two an octave, so that plans can be kept."""

AGE_BINS = 24
"""Number of equal bins, from 0 to the timeout, in which activations in flight are counted."""

STEPS = 240
CLOSEST = 1.0
"""Seconds between two polls of one activation at least; less for timeouts under two minutes."""

PLANS_KEPT = 1024
HORIZONS_KEPT = 4


def index(law: DelayLaw, last: float, age: float) -> float:
    """Return what a poll now would save: the expected undetected waiting, in seconds.

    Args:
        law: the law of the SMS delay.
        last: age of the last poll without SMS, 0 when there was none.
        age: the present age, at least `last`.
    """
    survival = law.survival(last)
    if survival <= 0.0:
        return 0.0
    return max(0.0, (age - last) - (law.integral(age) - law.integral(last)) / survival)


@lru_cache(maxsize=PLANS_KEPT)
def give_up_age(law: DelayLaw, chance: float, timeout: float) -> float:
    """Return the age from which on an SMS hardly comes any more.

    Args:
        law: the law of the SMS delay.
        chance: the probability of one before the timeout that is too small to wait for.
        timeout: seconds that are waited at most.

    Returns:
        Seconds, at most `timeout`, which it is also where an SMS is still likely just before it.
    """
    never = law.survival(timeout)

    def is_hopeless(age: float) -> bool:
        alive = law.survival(age)
        return alive <= 0.0 or 1.0 - never / alive < chance

    low, high = 0.0, timeout
    while high - low > 0.25:
        age = (low + high) / 2
        low, high = (low, age) if is_hopeless(age) else (age, high)
    return high


@attrs.frozen(eq=False)
class PollPlan:
    """The best ages to poll, for one law, one price and one timeout.

    Attributes:
        law: the law of the SMS delay.
        price: seconds of waiting that a request must save.
        timeout: age at which the activation is given up, in seconds.
        ages: the polls of an activation that is polled exactly on time, the last at the timeout.
        mean_polls: polls that one activation takes on average.
        mean_duration: its mean age when the SMS is detected or given up, in seconds.
    """

    law: DelayLaw
    price: float
    timeout: float
    ages: tuple[float, ...]
    mean_polls: float
    mean_duration: float
    _gap: float = attrs.field(alias="gap", repr=False)
    _grid: tuple[float, ...] = attrs.field(alias="grid", repr=False)
    _intercepts: tuple[float, ...] = attrs.field(alias="intercepts", repr=False)
    _next: tuple[int, ...] = attrs.field(alias="next", repr=False)
    _spent: tuple[float, ...] = attrs.field(alias="spent", repr=False)
    _alive: tuple[float, ...] = attrs.field(alias="alive", repr=False)
    _demand: dict[float, tuple[float, ...]] = attrs.field(init=False, factory=dict, repr=False)

    def next_poll(self, last: float, now: float | None = None) -> float | None:
        """Return the best age of the next poll.

        Args:
            last: age of the last poll (without SMS), 0 when there was none yet.
            now: the present age. When given, the answer is not earlier than it; without it the
                answer may lie in the past, which tells how overdue the poll is.

        Returns:
            An age in seconds, greater than `last`; None once `last` is the timeout or more, since
            the last poll of all was made.
        """
        if last >= self.timeout:
            return None
        grid = self._grid
        last = max(0.0, last)
        node = bisect_right(grid, last) - 1
        # The best node is monotone in `last`: it lies between those of the two neighbours.
        low, high = self._next[node], self._next[node + 1]
        survival = self.law.survival(last)
        best = len(grid) - 1
        cost = grid[best] * survival + self._intercepts[best]
        for u in range(high, low - 1, -1):
            value = grid[u] * survival + self._intercepts[u]
            if value <= cost:
                best, cost = u, value
        due = min(max(grid[best], last + self._gap), self.timeout)
        return due if now is None else max(due, now)

    def delay_cost(self, last: float, age: float, wait: float = 1.0) -> float:
        """Return what it costs to poll a little later than now, in seconds of waiting a second.

        Below zero before the best age of the next poll, where waiting gains, and above it behind:
        little where an SMS is not likely to have come yet, nearly 1 where it probably lies there.

        Args:
            last: age of the last poll (without SMS), 0 when there was none yet.
            age: the present age.
            wait: seconds until the next chance to poll, more than 0.

        Returns:
            A number of at most 1; infinity from the timeout on.
        """
        if age >= self.timeout:
            return inf
        later = min(age + wait, self.timeout)
        survival = self.law.survival(max(0.0, last))
        if survival <= 0.0:
            return 1.0
        rise = self._intercept(later) - self._intercept(age)
        return 1.0 + rise / ((later - age) * survival)

    def _intercept(self, age: float) -> float:
        """Return W - I at an age between nodes."""
        node = bisect_right(self._grid, age) - 1
        low = self._intercepts[node]
        if node + 1 >= len(self._grid):
            return low
        share = (age - self._grid[node]) / (self._grid[node + 1] - self._grid[node])
        return low + share * (self._intercepts[node + 1] - low)

    def expected_polls(self, age: float, horizon: float) -> float:
        """Return how many polls an activation, on time so far, is expected to take soon.

        Args:
            age: its present age in seconds.
            horizon: seconds to look ahead.
        """
        first = bisect_right(self.ages, age)
        last = bisect_right(self.ages, age + horizon)
        alive = self._alive[first]
        if last <= first or alive <= 0.0:
            return 0.0
        return (self._spent[last] - self._spent[first]) / alive

    def demand(self, horizon: float) -> tuple[float, ...]:
        """Return the polls wanted in the coming `horizon` seconds, per age bin (of `AGE_BINS`)."""
        table = self._demand.get(horizon)
        if table is None:
            width = self.timeout / AGE_BINS
            middles = [(k + 0.5) * width for k in range(AGE_BINS)]
            table = tuple(self.expected_polls(age, horizon) for age in middles)
            if len(self._demand) >= HORIZONS_KEPT:
                self._demand.clear()
            self._demand[horizon] = table
        return table


def closest(timeout: float) -> float:
    """Return the seconds between two polls of one activation at least, for a timeout in seconds."""
    return min(CLOSEST, timeout / 120)


def poll_plan(law: DelayLaw, price: float, timeout: float) -> PollPlan:
    """Return the best plan, from a bounded cache when it was asked for lately.

    Args:
        law: the law of the SMS delay; one object is one entry of the cache.
        price: seconds of waiting that a request must save, 0 or more.
        timeout: age at which the activation is given up, in seconds, more than 0.
    """
    if not timeout > 0 or not price >= 0:
        raise ValueError("a plan needs a timeout of more than 0 s and a price of at least 0 s")
    return _cached_plan(law, float(price), float(timeout))


@lru_cache(maxsize=PLANS_KEPT)
def _cached_plan(law: DelayLaw, price: float, timeout: float) -> PollPlan:
    grid = _grid(timeout)
    gap = closest(timeout)
    survivals, integrals = _tables(law, timeout)
    intercepts, best = _solve(grid, survivals, integrals, price, gap)
    nodes = [best[0]]
    while nodes[-1] < len(grid) - 1:
        nodes.append(best[nodes[-1]])
    # _alive[i]: probability that poll i is made at all, one more entry (0) for "all polls made".
    alive = [1.0, *(survivals[node] for node in nodes[:-1]), 0.0]
    ages = tuple(grid[node] for node in nodes)
    starts = (0.0, *ages[:-1])
    return PollPlan(
        law=law,
        price=price,
        timeout=timeout,
        ages=ages,
        mean_polls=sum(alive),
        mean_duration=sum((u - s) * a for u, s, a in zip(ages, starts, alive, strict=False)),
        gap=gap,
        grid=grid,
        intercepts=tuple(intercepts),
        next=tuple(best),
        spent=(0.0, *accumulate(alive[:-1])),
        alive=tuple(alive),
    )


@lru_cache(maxsize=PLANS_KEPT)
def _tables(law: DelayLaw, timeout: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return S and I at the ages to choose from, for the plans of every price."""
    return law.tables(_grid(timeout))


@lru_cache(maxsize=64)
def _grid(timeout: float) -> tuple[float, ...]:
    """Ages to choose from: half a second apart at young ages (finer for short timeouts), coarser
    with age."""
    step = min(0.5, timeout / STEPS)
    ages = [0.0]
    while (age := ages[-1] + max(step, ages[-1] / STEPS)) < timeout - step / 2:
        ages.append(age)
    return (*ages, timeout)


def _solve(
    grid: Sequence[float],
    survivals: Sequence[float],
    integrals: Sequence[float],
    price: float,
    gap: float,
) -> tuple[list[float], list[int]]:
    """Solve the dynamic program: W(u) - I(u) at each node, and the best next node after each."""
    end = len(grid) - 1
    intercepts = [0.0] * (end + 1)
    intercepts[end] = -integrals[end]
    best = [end] * (end + 1)
    # The queue holds the lower envelope; slopes fall towards its back, where nodes enter once
    # they are a gap away.
    queue, front, entering = [end], 0, end - 1
    for node in range(end - 1, -1, -1):
        while entering > node and grid[entering] >= grid[node] + gap:
            slope, intercept = grid[entering], intercepts[entering]
            while len(queue) - front >= 2:
                a, b = queue[-2], queue[-1]
                left = (intercept - intercepts[b]) * (grid[a] - grid[b])
                if left > (intercepts[b] - intercepts[a]) * (grid[b] - slope):
                    break
                queue.pop()
            queue.append(entering)
            entering -= 1
        x = survivals[node]
        value = grid[queue[front]] * x + intercepts[queue[front]]
        while front + 1 < len(queue):
            other = grid[queue[front + 1]] * x + intercepts[queue[front + 1]]
            if other > value:
                break
            front, value = front + 1, other
        best[node] = queue[front]
        intercepts[node] = (price - grid[node]) * x + value
    return intercepts, best
