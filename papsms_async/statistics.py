"""What a manager tells about itself at one moment."""

from __future__ import annotations

from decimal import Decimal

import attrs

from papsms_async.decisions import Decision, DecisionKind
from papsms_async.hearing import WebhookStatistics
from papsms_async.quota import QuotaStatistics
from papsms_async.verification import Outcome


@attrs.frozen(kw_only=True)
class ManagerStatistics:
    """A look at the manager at one moment.

    Attributes:
        queued: Purchases that wait for a place or a permit.
        in_flight: Numbers in the hands of flows.
        waiting_for_sms: Those of them whose SMS is awaited.
        owed: Numbers whose finish the service has not taken yet.
        outcomes: How many verifications ended how.
        charged: US dollars charged for numbers, before refunds.
        refunds_expected: US dollars of refunds that are asked for and not confirmed.
        refunded: US dollars refunded.
        unknown: US dollars that purchases with a lost answer may have cost at most.
        price: Seconds of waiting that a request must save at the moment.
        permits: How many permits went to what, since the manager was made.
        decisions: The last of them with their reasons, oldest first; none where the manager does
            not explain.
        quota: The limiter's numbers.
        webhooks: What is heard of webhooks, ``None`` for a manager without.
    """

    queued: int
    in_flight: int
    waiting_for_sms: int
    owed: int
    outcomes: dict[Outcome, int]
    charged: Decimal
    refunds_expected: Decimal
    refunded: Decimal
    unknown: Decimal
    price: float
    permits: dict[DecisionKind, int]
    decisions: tuple[Decision, ...]
    quota: QuotaStatistics
    webhooks: WebhookStatistics | None = None

    @property
    def spend(self) -> Decimal:
        """US dollars spent, net of refunds that are expected or confirmed."""
        return self.charged - self.refunds_expected - self.refunded
