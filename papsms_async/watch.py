"""One activation whose SMS is awaited: since when, how long, and what was asked so far.

A `Watch` is what `papsms_async.poller.Poller` keeps of it; `Waiting` is what others may see of it.
A `Net` is whoever else tells of SMS: it makes the polls sparse while it trusts its source.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import attrs

from papsms_async.delays import DelayLaw
from papsms_async.errors import PapSMSError
from papsms_async.models import Sms
from papsms_async.tracking import Tracked

GRACE_SHARE = 0.1
"""Share of the timeout for which the last poll is repeated while the service can't be reached."""
GRACE_PERMITS = 6.0
"""Permits for which the last poll may stand in line: under a small limit each takes many seconds,
and a number whose last poll is not made may have been used, which costs its price."""
EPSILON = 1e-6
"""Seconds that are no time at all."""


@attrs.frozen
class Waiting:
    """An activation whose SMS is awaited, at one moment.

    Attributes:
        tracked: The purchase.
        law: The law of its SMS delay.
        age: Seconds since the wait began.
        last: Age of the last poll that found no SMS, 0 if there was none.
    """

    tracked: Tracked
    law: DelayLaw
    age: float
    last: float


class Net(Protocol):
    """The polls that are left where somebody else tells of SMS: a safety net.

    All methods are called in the event loop and must be quick.
    """

    @property
    def trusting(self) -> bool:
        """Whether it trusts its source now. While it does not, polls go as if there were none."""
        ...

    def next_look(self, law: DelayLaw, *, timeout: float, last: float) -> float:
        """Return the age of the next poll while it is trusting, ``math.inf`` for none.

        Args:
            law: The law of the SMS delay.
            timeout: Seconds after which the wait ends, after a last poll.
            last: Age of the last poll that found no SMS, 0 if there was none. The answer has to be
                a decent gap above it.
        """
        ...

    def watched(self, tracked: Tracked) -> None:
        """A wait began, or began anew."""

    def answered(self, tracked: Tracked, sms: Sms | None, *, since: float) -> None:
        """A poll was answered.

        Args:
            tracked: Whose status was asked for.
            sms: The SMS, ``None`` while there is none.
            since: Loop time before which it certainly had not come.
        """


class Watch:
    """One activation whose SMS is awaited.

    Args:
        tracked: The purchase.
        start: Loop time at which the wait began; ages count from there.
        timeout: Seconds after which it ends, after a last poll.
        grace: Seconds after the timeout in which the last poll may still be answered.

    Attributes:
        last: Age of the last poll that found no SMS, 0 if there was none.
        learned: Age up to which the wait without SMS was learned from.
        failures: Polls in a row without a usable answer.
        misses: Polls in a row that found no such activation.
        looks: Ages at which somebody asked for a poll of its own.
        last_error: What the last poll failed with.
        alarm: Begins the next poll.
        task: The poll that is under way.
        over: Whether the wait has ended.
    """

    __slots__ = (
        "alarm",
        "failures",
        "grace",
        "last",
        "last_error",
        "learned",
        "looks",
        "misses",
        "over",
        "start",
        "task",
        "timeout",
        "tracked",
    )

    def __init__(self, tracked: Tracked, start: float, timeout: float, grace: float) -> None:
        self.tracked = tracked
        self.start = start
        self.timeout = timeout
        self.grace = grace
        self.last = 0.0
        self.learned = 0.0
        self.failures = 0
        self.misses = 0
        self.looks: list[float] = []
        self.last_error: PapSMSError | None = None
        self.alarm: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None
        self.over = False

    def age(self) -> float:
        """Return its present age in seconds."""
        return asyncio.get_running_loop().time() - self.start

    def take_looks(self, age: float) -> list[float]:
        """Take the looks that were asked for by an age: a poll at that age is all of them."""
        taken = [look for look in self.looks if look <= age + EPSILON]
        self.looks = [look for look in self.looks if look > age + EPSILON]
        return taken

    def pause_after_failure(self) -> float:
        """Return the seconds until a poll that failed is made again."""
        # At short timeouts everything is on a smaller scale, down to a bound: a number that
        # expires within a moment has next to no timeout left, but its grace all the same.
        first = min(1.0, max(self.timeout / 60, self.grace / 100))
        return first * 2.0 ** min(self.failures - 1, 4)

    def stop_alarm(self) -> None:
        """Begin no further poll until the alarm is set again."""
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None


def grace_of(timeout: float, supply: float) -> float:
    """Return the seconds after a timeout in which the last poll may still be answered.

    Args:
        timeout: Seconds.
        supply: Permits a second.
    """
    return max(2.0, GRACE_SHARE * timeout, min(timeout, GRACE_PERMITS / supply))
