"""How long an SMS takes from the instant at which it is triggered, and whether it comes at all."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import partial

import attrs


@attrs.frozen
class Chance:
    """What is drawn for one verification, the same for every contender.

    Attributes:
        service: Number of its service among the law's.
        factor: Its delay, in medians.
        never: Whether no SMS comes.
    """

    service: int
    factor: float
    never: bool


@attrs.frozen(kw_only=True)
class Law:
    """A law of the SMS delay; lognormal unless it says otherwise.

    Attributes:
        name: What tables call it.
        medians: Seconds, one for each of the services that are asked for in turn.
        sigma: Standard deviation of the logarithm.
        never: Share of the numbers that get no SMS.
        tail: Exponent of a log-logistic law, whose tail falls like a power; ``None`` for lognormal.
        drift: Median at the end of the drift, or ``None``.
        drift_seconds: How long the drift takes from the beginning.
        outage: Seconds from the beginning at which the service fails, and works again; or ``None``.
    """

    name: str
    medians: tuple[float, ...] = (12.0,)
    sigma: float = 0.8
    never: float = 0.08
    tail: float | None = None
    drift: float | None = None
    drift_seconds: float = 1500.0
    outage: tuple[float, float] | None = None

    def draw(self, rng: random.Random) -> Chance:
        """Draw what happens to one verification."""
        service = rng.randrange(len(self.medians))
        never = rng.random() < self.never
        if self.tail is None:
            factor = math.exp(rng.gauss(0.0, self.sigma))
        else:
            share = rng.random()
            factor = (share / (1.0 - share)) ** (1.0 / self.tail)
        return Chance(service, factor, never)

    def delay(self, chance: Chance, at: float) -> float:
        """Return the delay of an SMS triggered ``at`` seconds from the start; maybe infinity."""
        if chance.never:
            return math.inf
        median = self.medians[chance.service]
        if self.drift is not None:
            median += (self.drift - median) * min(1.0, at / self.drift_seconds)
        delay = median * chance.factor
        if self.outage is not None and self.outage[0] <= at + delay < self.outage[1]:
            # What could not be delivered comes when the service is back, one after another.
            delay = self.outage[1] - at + 5.0 * chance.factor
        return delay

    @property
    def curves(self) -> tuple[Callable[[float], float], ...]:
        """The survival function of each service."""
        return tuple(partial(self.survival, service=k) for k in range(len(self.medians)))

    def survival(self, age: float, service: int = 0) -> float:
        """Return the probability that no SMS has come ``age`` seconds after it was triggered.

        As at the beginning, without drift and outage.
        """
        if age <= 0:
            return 1.0
        ratio = age / self.medians[service]
        if self.tail is None:
            missing = math.erfc(math.log(ratio) / (self.sigma * math.sqrt(2))) / 2
        else:
            missing = 1.0 / (1.0 + ratio**self.tail)
        return self.never + (1.0 - self.never) * missing


LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        Law(name="first"),
        Law(name="mixed", medians=(6.0, 20.0, 45.0)),
        Law(name="drifting", medians=(8.0,), drift=25.0),
        Law(name="heavy-tailed", tail=1.5),
        Law(name="outage", outage=(480.0, 570.0)),
    )
}
"""The laws by name. The first: median 12 s, sigma 0.8, 8 % never."""
