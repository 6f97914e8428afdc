"""What a limit gives: verifications a minute, and how late each SMS is seen, before any are bought.

In the steady state, with more wanted than the limit allows, each activation costs a purchase, a
finish and its looks for the SMS. The looks follow from the law of the delay and the price in bulk;
with webhooks there is one to confirm, or none, and one at the timeout of what never comes. That
last one stays also where webhooks are trusted: a webhook may be lost, and it is not documented
that the service refuses to cancel a number whose SMS has come.
"""

from __future__ import annotations

import attrs

from papsms_async.bucket import Pace
from papsms_async.delays import DelayLaw
from papsms_async.limits import RateLimit
from papsms_async.polling import poll_plan
from papsms_async.pricing import OBJECTIVES

__all__ = ["Capacity", "capacities"]


@attrs.frozen(kw_only=True)
class Capacity:
    """What a limit gives in one way of working.

    Attributes:
        way: an objective, or how webhooks are taken.
        per_minute: completed verifications a minute.
        requests: requests that one completed verification costs.
        delay: mean seconds from an SMS to its caller, round trips left out.
        in_flight: activations in flight on average.
    """

    way: str
    per_minute: float
    requests: float
    delay: float
    in_flight: float

    @property
    def per_hour(self) -> float:
        """Completed verifications an hour."""
        return 60 * self.per_minute


def capacities(limit: RateLimit, law: DelayLaw, *, timeout: float) -> tuple[Capacity, ...]:
    """Return what ``limit`` gives, by polling for each objective and by webhook.

    Args:
        limit: The limit of the key, and the profile that follows it.
        law: The law of the SMS delay.
        timeout: Seconds that an SMS is waited for.
    """
    supply = Pace.of(limit).rate
    comes = 1.0 - law.survival(timeout)
    waits = law.integral(timeout)
    mean_delay = law.mean_delay(timeout)

    def row(way: str, looks: float, delay: float) -> Capacity:
        rate = supply / (2.0 + looks)
        completed = rate * comes
        return Capacity(
            way=way,
            per_minute=60 * completed,
            requests=supply / completed if completed > 0 else float("inf"),
            delay=delay,
            in_flight=rate * (waits + comes * delay),
        )

    rows = []
    for name, objective in OBJECTIVES.items():
        plan = poll_plan(law, objective.bulk_price(mean_delay), timeout)
        # Whoever gets no SMS is in flight until the timeout either way.
        late = (plan.mean_duration - waits) / comes if comes > 0 else 0.0
        rows.append(row(f"polling, {name}", plan.mean_polls, late))
    rows.append(row("webhook, confirmed", 1.0, 0.0))
    rows.append(row("webhook, trusted", 1.0 - comes, 0.0))
    return tuple(rows)
