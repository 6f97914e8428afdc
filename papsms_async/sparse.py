"""How sparsely to poll while webhooks come: the plan of the safety net.

Theory of operation
===================

While webhooks come, an activation that is silent has either no SMS yet, or one whose webhook was
lost, which happens to a share ``loss`` of them. A poll finds only the latter. So the dynamic
program of `papsms_async.polling` changes in two places: undetected waiting is suffered by lost ones
only, and a poll is made only if no webhook came before it. With S the survival function of the SMS
delay, I its integral, and the last poll at age x, the costs of the next poll at age u are, for
those that had no SMS at x,

    price * (loss * S(x) + (1 - loss) * S(u)) + loss * ((u - x) * S(x) - (I(u) - I(x))) + W(u)

and W(x) is their minimum over u, with W = 0 at the timeout, where the last poll is made anyway.

Who is silent has not taught the law anything yet: of many that began together, those that never get
an SMS are the last to be learned from, and until then the law knows nothing of them. So S is taken
with a doubt: a share `DOUBT` of all activations never gets one, whatever was learned.

With one in twenty lost and a usual law that leaves the last poll alone for timeouts of two minutes,
and one or two before it for longer ones; the more is lost, the more it looks.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache

import attrs

from papsms_async.delays import DelayLaw

NET_PRICE = 30.0
"""Seconds of a lost SMS's waiting that a poll must save, whatever the quota would give: webhooks
are there to halve the requests."""

DOUBT = 0.1
"""Share of activations of which it is always believed that no SMS will come."""

_NODES = 48
_KNOWN = 500
_GAP, _GAP_SHARE = 2.0, 1 / 60
_LEVELS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9)
"""Shares of lost webhooks that plans are made for."""


@attrs.frozen(eq=False, kw_only=True)
class SparsePlan:
    """The best ages to poll.

    Attributes:
        law: The law of the SMS delay.
        timeout: Age of the last poll, in seconds.
        loss: Share of webhooks that are lost.
        price: Seconds of waiting that a poll must save.
    """

    law: DelayLaw
    timeout: float
    loss: float
    price: float
    _grid: tuple[float, ...] = attrs.field(init=False, repr=False)
    _survivals: list[float] = attrs.field(init=False, repr=False)
    _integrals: list[float] = attrs.field(init=False, repr=False)
    _values: list[float] = attrs.field(init=False, repr=False)
    _known: dict[float, float] = attrs.field(init=False, factory=dict, repr=False)

    def __attrs_post_init__(self) -> None:
        """Solve the dynamic program, from the timeout backwards."""
        # Denser at young ages, where the law changes most.
        grid = (*(self.timeout * (k / _NODES) ** 1.5 for k in range(_NODES)), self.timeout)
        values = [0.0] * len(grid)
        object.__setattr__(self, "_grid", grid)
        object.__setattr__(self, "_survivals", [doubted_survival(self.law, age) for age in grid])
        object.__setattr__(self, "_integrals", [_integral(self.law, age) for age in grid])
        object.__setattr__(self, "_values", values)
        for node in reversed(range(_NODES)):
            values[node], _ = self._best(grid[node])

    def next_look(self, last: float) -> float:
        """Return the age of the next poll after one at age ``last``: at most the timeout."""
        # Most are asked for at age 0, by all that wait and each time that something changed.
        age = self._known.get(last)
        if age is None:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            age = self._known[last] = self._best(max(0.0, last))[1]
        return age

    def _best(self, last: float) -> tuple[float, float]:
        """Return W at ``last``, and the age of the poll that is the best there."""
        survival, integral = doubted_survival(self.law, last), _integral(self.law, last)
        gap = min(_GAP, _GAP_SHARE * self.timeout)
        best, age = float("inf"), self.timeout
        for node in range(min(bisect_right(self._grid, last + gap), _NODES), _NODES + 1):
            u = self._grid[node]
            made = self.loss * survival + (1 - self.loss) * self._survivals[node]
            waited = (u - last) * survival - (self._integrals[node] - integral)
            value = self.price * made + self.loss * waited + self._values[node]
            # Of equals the later one: it costs less where the law is wrong.
            if value <= best + 1e-12:
                best, age = value, u
        return best, age


def doubted_survival(law: DelayLaw, age: float) -> float:
    """Return the probability that no SMS has come by ``age``, with the doubt; at least `DOUBT`."""
    return DOUBT + (1 - DOUBT) * law.survival(age)


def _integral(law: DelayLaw, age: float) -> float:
    return DOUBT * age + (1 - DOUBT) * law.integral(age)


def sparse_plan(
    law: DelayLaw, *, timeout: float, loss: float, price: float = NET_PRICE
) -> SparsePlan:
    """Return the plan, from a bounded cache when it was asked for lately.

    Args:
        law: The law of the SMS delay; one object is one entry of the cache.
        timeout: Seconds after which the last poll is made, above 0.
        loss: Share of webhooks that are lost; rounded to one of a few levels.
        price: Seconds of waiting that a poll must save.
    """
    level = min(_LEVELS, key=lambda known: abs(known - loss))
    return _cached(law, float(timeout), level, float(price))


@lru_cache(maxsize=512)
def _cached(law: DelayLaw, timeout: float, loss: float, price: float) -> SparsePlan:
    return SparsePlan(law=law, timeout=timeout, loss=loss, price=price)
