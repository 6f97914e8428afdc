"""When to look for an SMS: poll plans, and the price that balances them with the quota.

Theory of operation
-------------------
*Plan.* A poll costs `price` seconds: that much waiting it must save. For one law S of the delay
and one timeout, the best ages to poll are those that minimise price times polls plus the seconds
between an SMS and its detection. With V(l) the cost that is still to come for an activation last
polled without SMS at age l,

    V(l) = min over u > l of  price + integral_l^u (u - t) dF(t) / S(l) + S(u) / S(l) * V(u),
    V(timeout) = 0,

and the last poll is at the timeout, because an SMS that nobody looked for is money lost. With W =
S * V the integral becomes (u - l) S(l) - (I(u) - I(l)), and

    W(l) = price * S(l) + I(l) - l * S(l) + min over u of  u * S(l) + (W(u) - I(u)).

The minimum is over straight lines in x = S(l), one for each u. Going backwards from the timeout,
slopes only fall and x only grows, so the lower envelope is kept as a queue and the whole program
is linear in the number of ages, not quadratic; and the best next age never falls as l grows, so
that an age between two nodes of the grid is solved exactly.

*Price.* One number for all activations, because a permit is worth the same to each. With little
in flight it is near zero and activations are polled as often as is decent. It rises until what
all in flight want to spend in the next while is what the quota gives. While purchases wait in
line, each permit that is not spent on a poll buys, so the price is what the line loses by
waiting, at most a level (`BULK_FACTOR`) at which an activation costs few polls. Lines are long in
bulk and the level is what counts; in the tail the price falls by itself.

Source: Barlow, Hunter, Proschan, "Optimum checking
procedures", 1963.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from operator import mul

import attrs

from papsms_async.delays import DelayLaw

__all__ = [
    "AGE_BINS",
    "BULK_FACTOR",
    "PRICES",
    "InFlight",
    "PollPlan",
    "PriceController",
    "age_histogram",
    "index",
    "poll_plan",
]

PRICES: tuple[float, ...] = tuple(2.0 ** (k / 2) for k in range(-10, 18))
"""The prices in use, seconds a request: a grid, two an octave, so that plans can be kept."""

BULK_FACTOR = 4.0
"""Price while purchases wait in line, in mean SMS delays: 64 s where the mean is 16 s.

A compromise (benchmarks/scheduling.py, table "bulk price"): whoever has a line wants it to move.
At 60 requests a minute it brings 15.1 completions a minute, each SMS seen 23 s after it came;
1.75 would bring 14.7 and 16 s, 8 would bring 15.5 and 29 s.
"""

LINE_WEIGHT = 4.0
"""A permit spent on a poll makes all in line wait for one permit longer; that wait counts so many
times, because a line that moves on also shortens the whole. Chosen in the same simulation."""

OVERLOAD = 1.5
"""With purchases in line, polls may want this many times the supply before the price rises above
bulk: what they want goes to them first and stops the buying, which heals a surplus. A price that
rose at once would put polls off, leave the permits to purchases, and feed what it fights."""

SPARE_PLACES = 1.35
"""Places turn over so many times as fast as permits would fill them, at the bulk price: SMS come in
clusters, and a permit that finds no free place is lost."""

AGE_BINS = 24
"""Number of equal bins, from 0 to the timeout, in which activations in flight are counted."""

STEPS = 240
DECENT_GAP = 2.0
"""The service asks for polls about every 2 s at most; less for timeouts under two minutes."""

HORIZON = 45.0
HORIZON_SHARE = 0.375
PLANS_KEPT = 1024


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
            if value <= cost and grid[u] >= last + self._gap:
                best, cost = u, value
        due = grid[best]
        return due if now is None else max(due, now)

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
            self._demand.clear()
            self._demand[horizon] = table
        return table


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
    gap = min(DECENT_GAP, timeout / 60)
    survivals = [law.survival(age) for age in grid]
    integrals = [law.integral(age) for age in grid]
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


@attrs.frozen
class InFlight:
    """Activations that share a law and a timeout.

    Attributes:
        law: their law of the SMS delay.
        timeout: their timeout in seconds.
        counts: how many wait for their SMS, per age bin (`age_histogram`).
        waiting: purchases of this kind that wait in line.
    """

    law: DelayLaw
    timeout: float
    counts: tuple[int, ...] = attrs.field(default=(0,) * AGE_BINS)
    waiting: int = 0


def age_histogram(ages: Iterable[float], timeout: float) -> tuple[int, ...]:
    """Count ages (seconds) into the `AGE_BINS`; those past the timeout into the last."""
    counts = [0] * AGE_BINS
    scale = AGE_BINS / timeout
    for age in ages:
        counts[max(0, min(AGE_BINS - 1, int(age * scale)))] += 1
    return tuple(counts)


class PriceController:
    """Finds the price at which the activations in flight want what the quota gives.

    It has neither clock nor memory: the same inputs give the same price, a higher one for more
    demand or less supply.

    Args:
        max_in_flight: the caller's bound on activations in flight, None when there is none. With
            few allowed, early polls are what frees a place, so the price in bulk stays low enough
            to keep the places turning.
        bulk_factor: price while purchases wait in line, in mean SMS delays.
    """

    def __init__(
        self, *, max_in_flight: int | None = None, bulk_factor: float = BULK_FACTOR
    ) -> None:
        self.max_in_flight = max_in_flight
        self.bulk_factor = bulk_factor

    def price(
        self,
        groups: Sequence[InFlight],
        *,
        supply: float,
        finishes: int = 0,
        due: int = 0,
        idle: float = 0.0,
        backlog: bool = False,
    ) -> float:
        """Return the price, one of `PRICES`.

        Args:
            groups: the activations in flight and the purchases that wait, by law and timeout.
            supply: requests a second that the quota gives.
            finishes: finishes that wait for a permit.
            due: polls that are due and wait for a permit.
            idle: permits that lie idle now.
            backlog: more purchases will follow than the groups count, as with an endless input.
        """
        weights = [sum(group.counts) + group.waiting for group in groups]
        total = sum(weights)
        if not total or supply <= 0:
            return PRICES[0]
        shares = [weight / total for weight in weights]
        timeout = sum(s * group.timeout for s, group in zip(shares, groups, strict=True))
        horizon = min(HORIZON, HORIZON_SHARE * timeout)
        available = supply * horizon + idle - finishes - due
        balance = _first(lambda k: _wanted(groups, k, horizon) <= available)
        waiting = sum(group.waiting for group in groups)
        if not waiting and not backlog:
            return PRICES[balance]
        mean_delay = sum(
            s * group.law.mean_delay(group.timeout) for s, group in zip(shares, groups, strict=True)
        )
        price = _nearest(self.bulk_factor * mean_delay)
        if not backlog:
            price = min(price, max(balance, _nearest(LINE_WEIGHT * waiting / supply)))
        if self.max_in_flight is not None:
            price = min(price, _turnover(groups, shares, supply, self.max_in_flight))
        available = OVERLOAD * supply * horizon - due
        return PRICES[max(price, _first(lambda k: _wanted(groups, k, horizon) <= available))]


def _first(holds: Callable[[int], bool]) -> int:
    """Return the first price (position) for which a condition, then true for all higher, holds."""
    return min(bisect_left(range(len(PRICES)), True, key=holds), len(PRICES) - 1)


def _nearest(price: float) -> int:
    """Return the position in `PRICES` that is nearest by ratio."""
    return _first(lambda k: PRICES[k] * 2**0.25 >= price)


def _wanted(groups: Sequence[InFlight], k: int, horizon: float) -> float:
    """Return the polls that those in flight want in the next `horizon` seconds at a price."""
    return sum(
        sum(map(mul, group.counts, poll_plan(group.law, PRICES[k], group.timeout).demand(horizon)))
        for group in groups
    )


def _turnover(
    groups: Sequence[InFlight], shares: Sequence[float], supply: float, places: int
) -> int:
    """Return the highest price at which `places` turn over fast enough to use the supply."""

    def starves(k: int) -> bool:
        duration = requests = 0.0
        for share, group in zip(shares, groups, strict=True):
            plan = poll_plan(group.law, PRICES[k], group.timeout)
            duration += share * plan.mean_duration
            requests += share * (2 + plan.mean_polls)
        return SPARE_PLACES * supply * duration > places * requests

    return max(0, bisect_left(range(len(PRICES)), True, key=starves) - 1)
