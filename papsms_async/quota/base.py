"""What every quota offers, local or shared: the seam between permits and those who need them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol, TypeAlias

import attrs

from papsms_async.bucket import QuotaHint
from papsms_async.limits import QuotaProfile, RateLimit

Priority: TypeAlias = tuple[float, ...]
"""Compared lexicographically, LOWER first, first come first served among equals. No NaN."""


class Permit(Protocol):
    """The right to send one request. Exactly one of its methods takes effect, the first called.

    A permit on which none is ever called stays out for good, and the limit is one lower.
    """

    def answered(self) -> None:
        """The answer came, whatever it says: the permit returns W seconds from now."""

    def lost(self, grace: float | None = None) -> None:
        """The answer will not come: the permit returns ``grace`` + W seconds from now.

        Args:
            grace: Seconds for which the request may still be on its way to the server; ``None``
                takes the quota's default.
        """

    def unsent(self) -> None:
        """The request certainly never left: the permit is free again at once."""


class Ticket(Protocol):
    """A place among the waiters. Awaiting it, once, gives the `Permit`.

    If the awaiting task is cancelled the place is given up, and a permit that was already granted
    goes back.

    Raises:
        RateLimitedError: (when awaited) The service wants to be left alone for so long that
            waiting makes no sense.
        asyncio.CancelledError: (when awaited) The ticket was withdrawn.
    """

    def __await__(self) -> Generator[Any, None, Permit]: ...

    def reprioritise(self, priority: Priority) -> None:
        """Wait with another priority; among equals the ticket keeps its age. No-op once granted."""

    def withdraw(self) -> None:
        """Give the place up, or the permit if it was granted and nobody has received it yet."""


@attrs.frozen(kw_only=True)
class QuotaStatistics:
    """A quota at one instant.

    Attributes:
        limit: The limit that it was made for.
        profile: The profile in force; differs from the limit's after a fallback.
        held: Permits that are out, their requests unanswered.
        cooling: Permits that are kept back because their requests may still count at the server.
        available: Permits that would be granted right now.
        waiting: Tickets that wait.
        blocked_for: Seconds until the block after a 429 ends, 0 without one.
        granted: Permits granted so far, without those that came back unsent.
        unsent: Permits that came back unsent.
        lost: Permits whose answers were lost.
        rate_limited: 429s reported so far.
        fallbacks: How often the quota fell back to the serial profile.
    """

    limit: RateLimit
    profile: QuotaProfile
    held: int
    cooling: int
    available: int
    waiting: int
    blocked_for: float
    granted: int
    unsent: int
    lost: int
    rate_limited: int
    fallbacks: int


class Quota(Protocol):
    """Hands out the permits of one API key, most urgent waiter first."""

    def enqueue(self, priority: Priority = (0,)) -> Ticket:
        """Take a place among the waiters; may be called from a callback of the event loop."""
        ...

    async def acquire(self, priority: Priority = (0,)) -> Permit:
        """Wait for a permit.

        Raises:
            RateLimitedError: The service wants to be left alone for so long that waiting makes no
                sense; ``retry_after`` says for how long.
        """
        ...

    def next_in_line(self) -> Priority | None:
        """Return the priority of the most urgent waiter, or ``None`` if nobody waits."""
        ...

    def rate_limited(self, retry_after: float | None) -> None:
        """Report a 429, best before the permit's ``answered()``: the whole key is blocked.

        Args:
            retry_after: Seconds that the service named, which are obeyed; without them an
                exponential backoff with full jitter is waited.
        """

    def succeeded(self) -> None:
        """Report an answer other than 429: the next backoff starts small again."""

    def observe(self, hint: QuotaHint) -> None:
        """Report an answer's ``RateLimit`` headers, best after ``answered()``; only tightens."""

    def statistics(self) -> QuotaStatistics:
        """Return the state of this instant."""
        ...
