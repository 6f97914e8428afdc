"""What a permit costs at the moment, kept up to date while anything is in flight.

The price itself is worked out in `papsms_async.pricing`; here is what it is worked out from, and
for whom.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable

from papsms_async.arrivals import ArrivalRate
from papsms_async.delays import DelayLaw
from papsms_async.errors import ConfigurationError
from papsms_async.learning import DelayModel
from papsms_async.pricing import (
    InFlight,
    Objective,
    PriceController,
    Quote,
    age_histogram,
    weighed,
)
from papsms_async.verification import Priority, VerificationRequest

Flying = Iterable[tuple[DelayLaw, float, float, Priority]]
"""Activations whose SMS is awaited: law, timeout and age (seconds) of each, and its priority."""

Line = Callable[[], tuple[Collection[VerificationRequest], int, bool]]
"""Gives the requests that wait to be bought, how many of them are for interactive callers, and
whether more of bulk will follow."""


WEIGHTS = {Priority.INTERACTIVE: 4.0, Priority.BULK: 1.0}
"""How much a second of waiting counts, where both kinds wait for SMS; alone, each counts 1."""

LEFT_OVER = 1.1
"""Polls of one activation are so many permits' times apart at least, or one that is alone would
take each permit as it comes, and whoever comes next would find none. One caller after another at 60
a minute has the next number after 0.4 s instead of 1.0 (16 seeds), and sees its SMS after 0.65 s
instead of 0.61."""


class Market:
    """Holds the price.

    Args:
        delays: What is known of SMS delays.
        supply: Requests a second that the quota gives.
        max_in_flight: Bound on activations in flight.
        sms_timeout: Timeout of requests that name none, in seconds.
        objective: "latency", "balanced", "throughput", or the price in bulk in seconds.

    Attributes:
        line: What waits to be bought.
        on_most_awaited: Told how many may wait for their SMS before bulk buys no more.

    Raises:
        ConfigurationError: There is no such objective.
    """

    def __init__(
        self,
        delays: DelayModel,
        *,
        supply: float,
        max_in_flight: int,
        sms_timeout: float,
        objective: str | float,
    ) -> None:
        self.line: Line = _empty_line
        self.on_most_awaited: Callable[[float], None] = lambda most: None
        self._delays = delays
        self._supply = supply
        self._sms_timeout = sms_timeout
        try:
            wanted = Objective.of(objective)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        self._controller = PriceController(max_in_flight=max_in_flight, objective=wanted)
        self._arrivals = ArrivalRate()
        self._finishes = 0
        self._mixed = False
        self.quote: Quote = self._controller.quote([], supply=supply)

    @property
    def objective(self) -> Objective:
        """What is wanted of the permits."""
        return self._controller.objective

    @property
    def spacing(self) -> float:
        """Seconds from one poll of an activation to its next, at least."""
        return LEFT_OVER / self._supply

    @property
    def price(self) -> float:
        """Seconds of waiting that a request must save at the moment."""
        return self.quote.price

    def price_for(self, priority: Priority) -> float:
        """Return the price of a request for somebody of that priority, in seconds of waiting."""
        return weighed(self.quote.price, self.weight(priority))

    def weight(self, priority: Priority) -> float:
        """Return how much a second of waiting of somebody of that priority counts now."""
        return WEIGHTS[priority] if self._mixed else 1.0

    def finish_waits(self, change: int) -> None:
        """Tell that ``change`` more (or fewer) finishes wait for a permit."""
        self._finishes += change

    def asked(self, now: float) -> None:
        """A caller wants a number, and was not announced as one of a bulk."""
        self._arrivals.came(now)

    def update(self, flying: Flying, *, due: int, now: float) -> bool:
        """Work the price out anew; return whether it changed.

        Args:
            flying: What is in flight.
            due: Polls that wait for a permit.
            now: The present loop time.
        """
        requests, callers, endless = self.line()
        before = self.quote.price, self._mixed
        flying = list(flying)
        self._mixed = len({priority for *_, priority in flying}) > 1
        groups = self._groups(flying, requests)
        self.quote = self._controller.quote(
            groups,
            supply=self._supply,
            finishes=self._finishes,
            due=due,
            arrivals=self._arrivals.rate(now),
            callers=callers,
            backlog=endless,
        )
        self.on_most_awaited(self.quote.most_awaited)
        return (self.quote.price, self._mixed) != before

    def _groups(self, flying: Flying, requests: Collection[VerificationRequest]) -> list[InFlight]:
        ages: dict[tuple[DelayLaw, float, float], list[float]] = defaultdict(list)
        alike: Counter[tuple[str, str, float]] = Counter()
        waiting: Counter[tuple[DelayLaw, float, float]] = Counter()
        for law, timeout, age, priority in flying:
            ages[law, plan_timeout(timeout), self.weight(priority)].append(age)
        for request in requests:
            alike[request.service, request.country, request.sms_timeout or self._sms_timeout] += 1
        for (service, country, timeout), count in alike.items():
            waiting[self._delays.law(service, country), plan_timeout(timeout), 1.0] += count
        return [
            InFlight(
                law,
                timeout,
                counts=age_histogram(ages.get((law, timeout, weight), ()), timeout),
                waiting=waiting[law, timeout, weight],
                weight=weight,
            )
            for law, timeout, weight in {**ages, **waiting}
        ]


def plan_timeout(timeout: float) -> float:
    """Return ``timeout`` rounded up to two digits, so that similar timeouts share plans."""
    scale = 10.0 ** (math.floor(math.log10(timeout)) - 1)
    return math.ceil(timeout / scale - 1e-9) * scale


def _empty_line() -> tuple[Collection[VerificationRequest], int, bool]:
    return (), 0, False
