"""What polls and webhooks teach of the SMS delay: between which ages an SMS came, or had not come.

The model itself is `papsms_async.learning.DelayModel`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import attrs

from papsms_async.learning import DelayModel
from papsms_async.models import Sms
from papsms_async.watch import EPSILON, Watch


@attrs.frozen
class Observer:
    """Tells the model what was seen of each watch.

    Attributes:
        delays: What learns.
        clock: Gives the present instant (UTC).
    """

    delays: DelayModel
    clock: Callable[[], datetime]

    def waiting(self, watch: Watch) -> None:
        """Its last poll found no SMS."""
        entry = watch.tracked.entry
        self.delays.observe_waiting(
            entry.service, entry.country, low=watch.learned, high=watch.last, at=_now()
        )
        watch.learned = watch.last

    def gave_up(self, watch: Watch, age: float) -> None:
        """Its wait ended, and no SMS had come by ``age``; 0 where that was never seen."""
        if age > 0:
            self._ended(watch, age, arrived=False)

    def arrived(self, watch: Watch, sms: Sms, *, told_at: datetime | None = None) -> None:
        """Its SMS is there.

        Args:
            watch: The wait for it.
            sms: The SMS.
            told_at: When it became known without a poll (UTC), for an SMS that does not itself say
                when it came.
        """
        came_at = sms.received_at or told_at
        # Since the last poll without SMS and before now: that much is certain.
        age = watch.age()
        low, high = watch.last, max(age, watch.last + EPSILON)
        if came_at is not None:
            ago = (self.clock() - came_at).total_seconds()
            earliest = age - ago
            # Instants without a fraction are cut off to whole seconds.
            latest = earliest + (0.0 if came_at.microsecond else 1.0)
            # Where the service's clock contradicts what is certain, it is not believed.
            if earliest <= high and latest >= low:
                low, high = max(low, earliest), min(high, latest)
        if high - low <= EPSILON:
            self._ended(watch, high, arrived=True)
            return
        entry = watch.tracked.entry
        self.delays.observe_interval(
            entry.service, entry.country, low=low, high=high, at=_now(), since=watch.learned
        )

    def _ended(self, watch: Watch, age: float, *, arrived: bool) -> None:
        entry = watch.tracked.entry
        self.delays.observe(
            entry.service, entry.country, age=age, arrived=arrived, at=_now(), since=watch.learned
        )


def _now() -> float:
    return asyncio.get_running_loop().time()
