"""Why a permit went where it went, as a value: for events, statistics and people."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from math import isinf

import attrs

from papsms_async.delays import DelayLaw
from papsms_async.evidence import Key
from papsms_async.verification import VerificationRequest

__all__ = ["Contender", "Decision", "DecisionKind", "LawSummary"]


class DecisionKind(StrEnum):
    """What a permit was used for."""

    PURCHASE = "purchase"
    """To buy a number."""
    POLL = "poll"
    """To look for an SMS."""
    FINISH = "finish"
    """To complete a number or give it back."""


@attrs.frozen(kw_only=True)
class LawSummary:
    """What was believed of an SMS delay.

    Attributes:
        median: Seconds within which half of the SMS come that come at all.
        never: Share of SMS that do not come within the timeout.
        evidence: Activations that it was learned from, after fading; 0 for a mere belief.
        source: What those were of: ``(service, country)``, ``(service,)``, ``()`` for everything
            that was seen; ``None`` where nothing was, and the cold start is believed.
    """

    median: float
    never: float
    evidence: float
    source: Key | None

    @classmethod
    def of(
        cls, law: DelayLaw, *, timeout: float, evidence: float, source: Key | None
    ) -> LawSummary:
        """Sum a law up.

        Args:
            law: The law.
            timeout: Seconds that the SMS is waited for.
            evidence: Activations that it was learned from.
            source: What those were of.
        """
        never = law.survival(timeout)
        half = (1.0 + never) / 2.0
        low, high = 0.0, timeout
        while high - low > 0.001:
            middle = (low + high) / 2.0
            low, high = (middle, high) if law.survival(middle) > half else (low, middle)
        return cls(median=high, never=never, evidence=evidence, source=source)

    def __str__(self) -> str:
        match self.source:
            case None:
                learned = "nothing seen yet"
            case ():
                learned = f"{self.evidence:.0f} seen of all services"
            case _:
                learned = f"{self.evidence:.0f} seen of {'/'.join(self.source)}"
        return f"law: median {self.median:.1f} s, {100 * self.never:.0f} % never, {learned}"


@attrs.frozen
class Contender:
    """Who would have had the permit otherwise.

    Attributes:
        what: Such as ``poll`` or ``finish``.
        waits: Seconds that it has waited, where that is known.
    """

    what: str
    waits: float | None = None

    def __str__(self) -> str:
        return self.what if self.waits is None else f"{self.what} (waits {self.waits:.1f} s)"


@attrs.frozen(kw_only=True)
class Decision:
    """One permit, and what was known when it was used.

    Attributes:
        kind: What it was used for.
        at: When (UTC).
        request: For which verification.
        country: Where, which may be a fallback.
        intent_id: The ledger's id of the purchase.
        waited: Seconds that this request waited for the permit, from when it was due.
        price: Seconds of waiting that a request had to save.
        price_reason: What set the price, in a word, where that is known.
        index: Seconds of waiting that a poll was expected to save; ``None`` for the others.
        delay_cost: Seconds that a poll would have lost by each second that it waited on: by this
            polls are chosen. Infinite for one that is the last.
        age: Seconds since the SMS was requested, of a poll.
        last_look: Age at the poll before, 0 if there was none.
        due: Age at which the poll was due.
        timeout: Age at which the activation is given up.
        law: What was believed of the SMS delay.
        purchases: Purchases in line.
        polls: Polls that waited for a permit.
        finishes: Finishes that are owed, besides this one.
        runner_up: Who waited most urgently, or ``None`` if nobody did.
    """

    kind: DecisionKind
    at: datetime
    request: VerificationRequest
    country: str
    intent_id: str | None = None
    waited: float
    price: float
    price_reason: str | None = None
    index: float | None = None
    delay_cost: float | None = None
    age: float | None = None
    last_look: float | None = None
    due: float | None = None
    timeout: float | None = None
    law: LawSummary | None = None
    purchases: int
    polls: int
    finishes: int
    runner_up: Contender | None = None

    def __str__(self) -> str:
        """Return it as one line for people."""
        whose = "" if self.request.reference is None else f" {self.request.reference}"
        parts = [f"{self.kind.value:8} {self.request.service}/{self.country}{whose}:"]
        price = f"price {self.price:.2g} s"
        if self.price_reason is not None:
            price += f" ({self.price_reason})"
        if self.index is None:
            parts.append(f"waited {self.waited:.1f} s, {price};")
        else:
            last = self.timeout is not None and self.due is not None and self.due >= self.timeout
            looked = "not looked yet" if not self.last_look else f"last look {self.last_look:.1f} s"
            cost = self.delay_cost
            late = ""
            if cost is not None and not isinf(cost):
                late = f" (waiting costs {max(0.0, cost):.2f} s a second)"
            parts.append(
                f"saves {self.index:.1f} s{late}, {price}; age {self.age:.1f} s, {looked},"
                f" due {self.due:.1f} s{' (the last look)' if last else ''};"
            )
        if self.law is not None:
            parts.append(f"{self.law};")
        parts.append(
            f"in line: purchases {self.purchases}, polls {self.polls}, finishes {self.finishes};"
            f" next: {self.runner_up or 'nobody'}"
        )
        return " ".join(parts)
