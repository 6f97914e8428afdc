"""What a permit costs at the moment, kept up to date while anything is in flight.

The price itself is worked out in `papsms_async.pricing`; here is what it is worked out from, and
for whom.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable

from papsms_async.delays import DelayLaw
from papsms_async.dispatcher import Dispatcher
from papsms_async.errors import ConfigurationError
from papsms_async.learning import DelayModel
from papsms_async.models import VerificationRequest
from papsms_async.pricing import (
    InFlight,
    Objective,
    PriceController,
    Quote,
    age_histogram,
)

Flying = Iterable[tuple[DelayLaw, float, float]]
"""Activations whose SMS is awaited: law, timeout and age (seconds) of each."""

Line = Callable[[], tuple[Collection[VerificationRequest], bool]]
"""Gives the requests that wait to be bought, and whether more will follow."""


class Market:
    """Holds the price.

    Args:
        dispatcher: Is told when permits are cheap.
        delays: What is known of SMS delays.
        supply: Requests a second that the quota gives.
        max_in_flight: Bound on activations in flight.
        sms_timeout: Timeout of requests that name none, in seconds.
        objective: "latency", "balanced", "throughput", or the price in bulk in seconds.

    Attributes:
        line: What waits to be bought.

    Raises:
        ConfigurationError: There is no such objective.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        delays: DelayModel,
        *,
        supply: float,
        max_in_flight: int,
        sms_timeout: float,
        objective: str | float,
    ) -> None:
        self.line: Line = _empty_line
        self._dispatcher = dispatcher
        self._delays = delays
        self._supply = supply
        self._sms_timeout = sms_timeout
        try:
            wanted = Objective.of(objective)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        self._controller = PriceController(max_in_flight=max_in_flight, objective=wanted)
        self._finishes = 0
        self.quote: Quote = self._controller.quote([], supply=supply)

    @property
    def price(self) -> float:
        """Seconds of waiting that a request must save at the moment."""
        return self.quote.price

    def finish_waits(self, change: int) -> None:
        """Tell that ``change`` more (or fewer) finishes wait for a permit."""
        self._finishes += change

    def update(self, flying: Flying, *, due: int) -> bool:
        """Work the price out anew; return whether it changed.

        Args:
            flying: What is in flight.
            due: Polls that wait for a permit.
        """
        requests, endless = self.line()
        groups = self._groups(flying, requests)
        before = self.quote.price
        self.quote = self._controller.quote(
            groups, supply=self._supply, finishes=self._finishes, due=due, backlog=endless
        )
        self._dispatcher.be_calm(self.quote.calm)
        return self.quote.price != before

    def _groups(self, flying: Flying, requests: Collection[VerificationRequest]) -> list[InFlight]:
        ages: dict[tuple[DelayLaw, float], list[float]] = defaultdict(list)
        waiting: Counter[tuple[DelayLaw, float]] = Counter()
        for law, timeout, age in flying:
            ages[law, plan_timeout(timeout)].append(age)
        for request in requests:
            timeout = plan_timeout(request.sms_timeout or self._sms_timeout)
            waiting[self._delays.law(request.service, request.country), timeout] += 1
        return [
            InFlight(
                law,
                timeout,
                counts=age_histogram(ages.get((law, timeout), ()), timeout),
                waiting=waiting[law, timeout],
            )
            for law, timeout in {**ages, **waiting}
        ]


def plan_timeout(timeout: float) -> float:
    """Return ``timeout`` rounded up to two digits, so that similar timeouts share plans."""
    scale = 10.0 ** (math.floor(math.log10(timeout)) - 1)
    return math.ceil(timeout / scale - 1e-9) * scale


def _empty_line() -> tuple[Collection[VerificationRequest], bool]:
    return (), False
