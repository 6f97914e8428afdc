"""At which age an activation is polled next, and at which a poll without SMS is its last.

The ages come from the best plan (`papsms_async.polling`) for what is known of the delay and the
present price of a request for somebody of that priority.
"""

from __future__ import annotations

import attrs

from papsms_async.delays import DelayLaw
from papsms_async.learning import DelayModel
from papsms_async.market import Market, plan_timeout
from papsms_async.polling import closest, give_up_age, poll_plan
from papsms_async.tracking import Tracked


@attrs.frozen
class PollTimes:
    """Knows the ages of polls.

    Attributes:
        delays: What is known of SMS delays.
        market: What a permit costs.
        early_cancel: Chance of an SMS before the timeout that is too small to wait for; 0 waits
            for every one.
    """

    delays: DelayModel
    market: Market
    early_cancel: float = 0.0

    def law(self, tracked: Tracked) -> DelayLaw:
        """Return the law of its SMS delay."""
        return self.delays.law(tracked.entry.service, tracked.entry.country)

    def next_age(self, tracked: Tracked, *, last: float, timeout: float) -> float:
        """Return the age of the next poll, at most ``timeout``.

        Args:
            tracked: The purchase.
            last: Age of the last poll that found no SMS, 0 if there was none.
            timeout: Age of the last poll of all, in seconds.
        """
        price = self.market.price_for(tracked.priority)
        plan = poll_plan(self.law(tracked), price, plan_timeout(timeout))
        due = plan.next_poll(last)
        if due is None:
            return timeout
        return min(max(due, self.earliest(last=last, timeout=timeout)), timeout)

    def earliest(self, *, last: float, timeout: float) -> float:
        """Return the age before which it is not polled, however cheap a request is.

        Args:
            last: Age of the last poll that found no SMS, 0 if there was none.
            timeout: Age of the last poll of all, in seconds.
        """
        gap = closest(timeout)
        return last + max(gap, self.market.spacing) if last > 0 else gap

    def delay_cost(
        self, tracked: Tracked, *, last: float, age: float, timeout: float, wait: float
    ) -> float:
        """Return what it costs to poll a little later than now, in seconds of waiting a second,
        as far as they count.

        Args:
            tracked: The purchase.
            last: Age of the last poll that found no SMS, 0 if there was none.
            age: The present age.
            timeout: Age of the last poll of all, in seconds.
            wait: Seconds until the next chance.
        """
        price = self.market.price_for(tracked.priority)
        plan = poll_plan(self.law(tracked), price, plan_timeout(timeout))
        return self.market.weight(tracked.priority) * plan.delay_cost(last, age, wait)

    def last_age(self, tracked: Tracked, timeout: float) -> float:
        """Return the age at which a poll without SMS is the last: at most ``timeout``, or earlier
        where hardly an SMS comes any more."""
        entry = tracked.entry
        if not self.early_cancel or self.delays.is_thin(entry.service, entry.country):
            return timeout
        return give_up_age(self.law(tracked), self.early_cancel, timeout)
