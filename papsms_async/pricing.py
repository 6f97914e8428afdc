"""What a request is worth at the moment: the price that balances what is wanted with the quota.

Theory of operation
-------------------
One number for all, in seconds of waiting that a request must save, because a permit is worth the
same wherever it goes. With little in flight it is near zero, and activations are polled as often as
is decent. It rises until what is still to come in the next while is what the quota gives then: what
those in flight want to their end, and what the callers will want who are to be expected from those
who came so far (`papsms_async.arrivals`). Without them the price would fall whenever few happen to
be in flight, and those would be polled with permits that the next callers need to buy.

More is promised than there is (`Objective.promised`). A permit that nobody wants at the price is
lost, while of polls that are due at once the one that loses most by waiting goes first
(`papsms_async.running_line`), so that the rest lose little. How much more is a trade: an SMS is
seen sooner, and the next caller has its number later. At 10 callers a minute under 60 (the
benchmark's first law, 64 seeds) 1.4 means 3.9 s to see an SMS and 7 s to have a number, 1.1 means
4.2 and 3; nobody who polls gets below 3.1 however long callers wait (`benchmarks/frontier.py`).
Other prices for those in line, bounds on how many are in flight, and other orders of due polls are
all on the same curve; to know the law gains less than 0.1 s.

While bulk waits in line, a permit that is not spent on a poll buys, so the price is what the line
loses by waiting, at most a level at which an activation costs few polls: the *bulk price*. Lines
are long in bulk and the level is what counts; in the tail the price falls by itself.

Nor may all permits go to purchases for long, as they would while nothing in flight is worth a look
(a high price, or a law that is not known yet): what was bought then wants its last look, and its
finish, within one more timeout, which is twice what the quota gives, and a third of those looks
come too late. So bulk buys only while fewer than `Quote.most_awaited` wait for their SMS: a little
more than would be in flight for ever. A higher bound is more completions and later SMS (8 seeds,
"balanced": 1.3 times: 15.0 a minute at 13.8 s, 1.7: 15.3 at 14.4); with twice as much some seeds
lose SMS.

How high the level is depends on what is wanted, the `Objective`: SMS seen soon, or many
completions. The frontier between the two is flat in the middle, where "balanced" is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from math import inf
from operator import mul
from types import MappingProxyType

import attrs

from papsms_async.delays import DelayLaw
from papsms_async.polling import AGE_BINS, PRICES, PollPlan, poll_plan

__all__ = [
    "OBJECTIVES",
    "InFlight",
    "Objective",
    "PriceController",
    "Quote",
    "Reason",
    "age_histogram",
    "weighed",
]

OVERLOAD = 1.5
"""With purchases in line, polls may want this many times the supply before the price rises above
bulk: what they want goes to them first and stops the buying, which heals a surplus. A price that
rose at once would put polls off, leave the permits to purchases, and feed what it fights."""

SPARE_PLACES = 1.05
"""Places turn over so many times as fast as permits would fill them, at the bulk price: SMS come in
clusters, and a permit that finds no free place is lost."""

AWAITED = 1.6
"""With purchases in line, so many times as many activations may wait for their SMS as the quota
could serve for ever. If all permits went to purchases, none would be left for what these need
later. Permits that lie idle instead find SMS early, which is how a new law is learned."""
LEAST_AWAITED = 8.0
"""At least so many may wait, however small the limit: an estimate for fewer is too coarse. Their
last looks may come late there, and are waited for (`papsms_async.watch.GRACE_PERMITS`)."""

HORIZON = 45.0
HORIZON_SHARE = 0.375
"""Overload is what is wanted in the next so many seconds, or that share of the timeout if less."""

CROWD = 3.0
"""Callers who are only expected make no higher price than so many times the bulk price."""

AHEAD = 1.5
"""How far the balance looks ahead, in timeouts: whoever is in flight has ended by then."""


@attrs.frozen
class Objective:
    """What is wanted of the permits.

    Attributes:
        bulk: price while many purchases wait in line, in mean SMS delays.
        line: what a second of waiting for a number weighs in bulk, in seconds between an SMS and
            its detection: a permit spent on a poll makes all in line wait for one permit longer.
        caller: the same for an interactive caller. It is less, because callers in line go before
            polls that lose little, whatever the price.
        calm: so many interactive callers in line and one count as one where a permit is given, and
            each more as much again: all of them wait for it. Were a long line the same as a short
            one, more callers than are looked after at the price would wait for minutes: at 16 a
            minute under 60 it is 32 s with 6, and 49 s without end (the benchmark's first law, 16
            seeds).
        promised: how many times the supply those in flight and the callers to come may want.
        absolute: whether `bulk` is in seconds instead.
    """

    bulk: float
    line: float
    caller: float
    calm: int
    promised: float
    absolute: bool = False

    @classmethod
    def of(cls, wanted: str | float) -> Objective:
        """Return an objective by its name, or that of a price in bulk in seconds.

        Raises:
            ValueError: There is none.
        """
        if isinstance(wanted, str) and wanted in OBJECTIVES:
            return OBJECTIVES[wanted]
        number = isinstance(wanted, int | float) and not isinstance(wanted, bool)
        if number and 0 <= float(wanted) < float("inf"):
            return attrs.evolve(OBJECTIVES["balanced"], bulk=float(wanted), absolute=True)
        raise ValueError(
            f"The objective must be one of {', '.join(OBJECTIVES)}, or a price in seconds of"
            f" waiting, not {wanted!r}."
        )

    def of_line(self, waiting: int, callers: int) -> float:
        """Return what a permit more costs the purchases in line, in permits' times.

        Args:
            waiting: how many there are.
            callers: how many of them are for interactive callers.
        """
        callers = min(callers, waiting)
        return self.line * (waiting - callers) + self.caller * callers

    def bulk_price(self, mean_delay: float) -> float:
        """Return the price while many purchases wait in line, in seconds."""
        return self.bulk if self.absolute else self.bulk * mean_delay


OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        "latency": Objective(bulk=0.15, line=0.25, caller=0.1, calm=20, promised=1.6),
        "balanced": Objective(bulk=1.3, line=0.55, caller=0.25, calm=6, promised=1.4),
        "throughput": Objective(bulk=9.5, line=4.0, caller=2.0, calm=6, promised=1.0),
    }
)
"""Objectives by name."""


class Reason(StrEnum):
    """What sets the price."""

    BALANCE = "balance"
    """What is in flight, and the callers to be expected, want as much as the quota gives."""
    LINE = "line"
    """So much the purchases in line lose by waiting."""
    BULK = "bulk"
    """Many purchases wait: the level of the objective."""
    PLACES = "places"
    """Early polls free the places that the purchases in line need."""
    OVERLOAD = "overload"
    """Far more polls are wanted than the quota gives."""


@attrs.frozen
class Quote:
    """The price at one moment.

    Attributes:
        price: seconds of waiting that a request must save, one of `PRICES`.
        reason: what set it.
        most_awaited: how many may wait for their SMS before bulk buys no more.
    """

    price: float
    reason: Reason
    most_awaited: float = inf


@attrs.frozen
class InFlight:
    """Activations that share a law and a timeout.

    Attributes:
        law: their law of the SMS delay.
        timeout: their timeout in seconds.
        counts: how many wait for their SMS, per age bin (`age_histogram`).
        waiting: purchases of this kind that wait in line.
        weight: how much a second of their waiting counts; for them, the price is lower by that.
    """

    law: DelayLaw
    timeout: float
    counts: tuple[int, ...] = attrs.field(default=(0,) * AGE_BINS)
    waiting: int = 0
    weight: float = 1.0

    def plan(self, k: int) -> PollPlan:
        """Return their plan at a price (position in `PRICES`)."""
        return poll_plan(self.law, weighed(PRICES[k], self.weight), self.timeout)


def weighed(price: float, weight: float) -> float:
    """Return what a request has to save in seconds of waiting that count ``weight`` times each."""
    return max(PRICES[0], price / weight)


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
    demand or less supply, to within a step of the grid of prices: plans have whole numbers of
    polls, so what is wanted within the horizon need not fall at every step.

    Args:
        max_in_flight: the caller's bound on activations in flight, None when there is none. With
            few allowed, early polls are what frees a place, so the price in bulk stays low enough
            to keep the places turning.
        objective: what is wanted of the permits.
    """

    def __init__(
        self,
        *,
        max_in_flight: int | None = None,
        objective: Objective = OBJECTIVES["balanced"],
    ) -> None:
        self.max_in_flight = max_in_flight
        self.objective = objective

    def quote(
        self,
        groups: Sequence[InFlight],
        *,
        supply: float,
        finishes: int = 0,
        due: int = 0,
        arrivals: float = 0.0,
        callers: int = 0,
        backlog: bool = False,
    ) -> Quote:
        """Return the price of this moment.

        Args:
            groups: the activations in flight and the purchases that wait, by law and timeout.
            supply: requests a second that the quota gives.
            finishes: finishes that wait for a permit.
            due: polls that are due and wait for a permit.
            arrivals: interactive callers to be expected a second.
            callers: how many of the purchases in line are for interactive callers.
            backlog: more purchases will follow than the groups count, as with an endless input.
        """
        weights = [sum(group.counts) + group.waiting for group in groups]
        total = sum(weights)
        if not total or supply <= 0:
            return Quote(PRICES[0], Reason.BALANCE)
        shares = [weight / total for weight in weights]
        timeout = _mean(shares, (group.timeout for group in groups))
        mean_delay = _mean(shares, (group.law.mean_delay(group.timeout) for group in groups))
        horizon = min(HORIZON, HORIZON_SHARE * timeout)
        ahead = AHEAD * timeout
        promised = self.objective.promised * supply * ahead - finishes
        bulk = _nearest(self.objective.bulk_price(mean_delay))
        balance = _first(lambda k: _to_come(groups, shares, k, 0.0) <= promised)
        if arrivals > 0:
            coming = _first(lambda k: _to_come(groups, shares, k, arrivals * ahead) <= promised)
            # What is only expected does not make an SMS wait for ever.
            balance = max(balance, min(coming, _nearest(CROWD * PRICES[bulk])))
        waiting = sum(group.waiting for group in groups)
        price, reason, most_awaited = balance, Reason.BALANCE, inf
        if waiting or backlog:
            line = _nearest(self.objective.of_line(waiting, callers) / supply)
            price, reason = max((line, Reason.LINE), (balance, Reason.BALANCE))
            if backlog or (waiting > callers and price >= bulk):
                price, reason = bulk, Reason.BULK
            if self.max_in_flight is not None:
                places = _turnover(groups, shares, supply, self.max_in_flight)
                price, reason = min((price, reason), (places, Reason.PLACES))
            available = OVERLOAD * supply * horizon - due
            most = _first(lambda k: _wanted(groups, k, horizon) <= available)
            price, reason = max((price, reason), (most, Reason.OVERLOAD))
            duration, requests = _life(groups, shares, price)
            most_awaited = max(LEAST_AWAITED, AWAITED * supply * duration / requests)
        return Quote(PRICES[price], reason, most_awaited=most_awaited)


def _mean(shares: Sequence[float], values: Iterable[float]) -> float:
    mean: float = sum(map(mul, shares, values))
    return mean


def _first(holds: Callable[[int], bool]) -> int:
    """Return the first price (position) for which a condition, then true for all higher, holds."""
    return min(bisect_left(range(len(PRICES)), True, key=holds), len(PRICES) - 1)


def _nearest(price: float) -> int:
    """Return the position in `PRICES` that is nearest by ratio."""
    return _first(lambda k: PRICES[k] * 2**0.25 >= price)


def _wanted(groups: Sequence[InFlight], k: int, horizon: float) -> float:
    """Return the polls that those in flight want in the next `horizon` seconds at a price."""
    return sum(sum(map(mul, group.counts, group.plan(k).demand(horizon))) for group in groups)


def _to_come(groups: Sequence[InFlight], shares: Sequence[float], k: int, callers: float) -> float:
    """Return the requests that are still to come for those in flight and for so many more."""
    requests = 0.0
    for share, group in zip(shares, groups, strict=True):
        plan = group.plan(k)
        requests += sum(group.counts) + sum(map(mul, group.counts, plan.demand(group.timeout)))
        requests += share * callers * (2 + plan.mean_polls)
    return requests


def _turnover(
    groups: Sequence[InFlight], shares: Sequence[float], supply: float, places: int
) -> int:
    """Return the highest price at which `places` turn over fast enough to use the supply."""

    def starves(k: int) -> bool:
        duration, requests = _life(groups, shares, k)
        return SPARE_PLACES * supply * duration > places * requests

    return max(0, bisect_left(range(len(PRICES)), True, key=starves) - 1)


def _life(groups: Sequence[InFlight], shares: Sequence[float], k: int) -> tuple[float, float]:
    """Return how long an activation is in flight at a price, in seconds, and what it costs."""
    duration = requests = 0.0
    for share, group in zip(shares, groups, strict=True):
        plan = group.plan(k)
        duration += share * plan.mean_duration
        requests += share * (2 + plan.mean_polls)
    return duration, requests
