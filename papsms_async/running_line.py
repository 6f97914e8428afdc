"""Where what activations in flight need waits for a permit: polls that are due, and finishes.

Due polls seldom find a permit free, so in which order they go matters as much as when they are due.
Being late costs little where an SMS is not likely yet, and much where it probably lies there unseen
(`papsms_async.polling.PollPlan.delay_cost`). So the whole line has one ticket in the quota's queue,
and when a permit is there, the costs of that moment decide. A poll of bulk may so go before one of
an interactive caller, whose seconds count more (`papsms_async.market.WEIGHTS`): one who was looked
for a second ago loses less than one who was not for a minute.

Others wait as well. Where no poll that is due loses as much, the permit is that of an interactive
caller who waits to buy (`CALLER`), or a finish's (`FINISH`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import chain, islice
from math import inf
from operator import itemgetter
from typing import Protocol

from papsms_async.dispatcher import Rank
from papsms_async.line_ticket import Asking, LineTicket
from papsms_async.quota import Permit, Quota
from papsms_async.quota.base import Priority
from papsms_async.tasks import OwnedTasks

CALLER = 0.08
"""What a second of an interactive caller's wait for a number counts, in seconds of unseen SMS."""

FINISH = 0.05
"""What a second of a finish's wait counts. Its caller has the SMS, but what is put off for long
comes when it is in the way."""

MOST_COMPARED = 32
"""Of more of one rank that wait, the first are compared: to go through thousands takes too long."""

_log = logging.getLogger("papsms_async")


class Buyers(Protocol):
    """Callers who wait for a number."""

    def take_over(self, permit: Permit) -> bool:
        """Let an interactive caller buy with this permit; return whether one can."""
        ...

    @property
    def calling_since(self) -> float | None:
        """Loop time since when an interactive caller waits who could buy; ``None`` if none does."""
        ...

    @property
    def callers(self) -> int:
        """How many interactive callers wait."""
        ...

    @property
    def is_late(self) -> bool:
        """Whether one has waited so long that polls of bulk no longer go before it."""
        ...


class _Claim:
    """One request that waits. What is not a poll has no cost, and goes in the order of its due."""

    __slots__ = ("alarm", "cost", "due", "rank", "since", "turn")

    def __init__(
        self, rank: Rank, due: float, cost: Callable[[], float], turn: asyncio.Future[Permit]
    ) -> None:
        self.rank = rank
        self.due = self.since = due
        self.cost = cost
        self.turn = turn
        self.alarm: asyncio.TimerHandle | None = None

    def cost_now(self) -> float:
        """Return what its wait costs; a defect there must not stop the line, nor lose a permit."""
        try:
            return self.cost()
        except Exception as error:
            _log.error("what a poll loses by waiting can't be told: %s", type(error).__name__)
            return 0.0


def _no_cost() -> float:
    return 0.0


class RunningLine:
    """The line of one manager.

    Args:
        quota: Gives the permits.
        tasks: Owns the task that waits for one.
        calm: So many callers and one who wait to buy count as one, see
            `papsms_async.pricing.Objective`.

    Attributes:
        buyers: May use a permit instead of a poll.
    """

    def __init__(self, quota: Quota, tasks: OwnedTasks, *, calm: int) -> None:
        self.buyers: Buyers | None = None
        self._calm = calm
        # By rank, the most urgent first; within it in the order in which they came, which is nearly
        # that in which they were due.
        self._claims: dict[Rank, dict[_Claim, None]] = {
            rank: {} for rank in (Rank.URGENT, Rank.POLL, Rank.BULK_POLL, Rank.FINISH)
        }
        # When it last had a permit: its polls wait as one, and others of their rank have turns.
        self._served = -inf
        self._ticket = LineTicket(
            quota,
            tasks,
            name="papsms running line",
            granted=self._granted,
            refused=self._refused,
            over=self._ask,
        )

    def __len__(self) -> int:
        return sum(map(len, self._claims.values()))

    async def permit(
        self, rank: Rank, due: float, urgent_at: float, cost: Callable[[], float] = _no_cost
    ) -> Permit:
        """Wait for the turn of one request.

        Args:
            rank: `Rank.POLL`, `Rank.BULK_POLL` or `Rank.FINISH`.
            due: Loop time at which it was due.
            urgent_at: Loop time from which on it goes before everything else.
            cost: Gives what the wait of a poll costs now, in seconds of unseen SMS a second, as
                far as they count.

        Raises:
            RateLimitedError: The service wants to be left alone for so long that waiting makes no
                sense.
        """
        loop = asyncio.get_running_loop()
        claim = _Claim(rank, due, cost, loop.create_future())
        self._claims[rank][claim] = None
        claim.alarm = loop.call_at(urgent_at, self._hasten, claim, urgent_at)
        try:
            self._ask()
            return await claim.turn
        except asyncio.CancelledError:
            if not claim.turn.cancelled() and claim.turn.exception() is None:
                # Cancelled between the grant and the wake-up.
                claim.turn.result().unsent()
            raise
        finally:
            claim.alarm.cancel()
            if self._leave(claim):
                self._ask()

    def _leave(self, claim: _Claim) -> bool:
        """Take it out; return whether it was still there."""
        return self._claims[claim.rank].pop(claim, claim) is None

    def _hasten(self, claim: _Claim, urgent_at: float) -> None:
        if self._leave(claim):
            claim.rank, claim.due, claim.cost = Rank.URGENT, urgent_at, _no_cost
            self._claims[Rank.URGENT][claim] = None
            self._ask()

    def _ask(self) -> None:
        """Have a ticket just while something waits, of the priority of the first."""
        for rank, claims in self._claims.items():
            if claims:
                due = next(iter(claims)).due
                if rank in (Rank.POLL, Rank.BULK_POLL):
                    due = max(due, self._served)
                self._ticket.ask((rank, due))
                return
        self._ticket.withdraw()

    def take_over(self, permit: Permit, rank: Rank) -> bool:
        """Use a permit that came to somebody of a rank, where something more urgent waits.

        Of several permits that come at once the line's one ticket gets one.

        Returns:
            Whether it was used; if not, it is untouched.
        """
        if not any(claims for mine, claims in self._claims.items() if mine < rank):
            return False
        self._granted(permit)
        self._ask()
        return True

    def hurry(self) -> None:
        """It is closing: the finishes that wait go before all else."""
        now = asyncio.get_running_loop().time()
        for claim in tuple(self._claims[Rank.FINISH]):
            self._hasten(claim, now)

    def asking(self) -> Asking | None:
        """Return what it would use a permit for now; ``None`` while nobody waits."""
        at, choice = self._ticket.at, self._choice(self.buyers)
        if at is None or choice is None:
            return None
        if isinstance(choice, _Claim):
            return Asking(at, str(choice.rank), choice.since)
        return Asking(at, "purchase", choice.calling_since or 0.0)

    def _granted(self, permit: Permit, _at: Priority = ()) -> None:
        self._served = asyncio.get_running_loop().time()
        buyers = self.buyers
        while (choice := self._choice(buyers)) is not None:
            if isinstance(choice, _Claim):
                self._leave(choice)
                # One that was cancelled may not be gone yet.
                if not choice.turn.done():
                    choice.turn.set_result(permit)
                    return
            elif choice.take_over(permit):
                return
            else:
                buyers = None
        permit.unsent()

    def _choice(self, buyers: Buyers | None) -> _Claim | Buyers | None:
        """Return whose the next permit is: a claim's, or the callers', who buy."""
        for rank, claims in self._claims.items():
            if not claims:
                continue
            if rank not in (Rank.POLL, Rank.BULK_POLL):
                return _dearest(claims)[0]
            others = self._claims[Rank.BULK_POLL] if rank is Rank.POLL else {}
            claim, cost = _dearest(claims, others)
            if rank is Rank.POLL and buyers is not None and buyers.calling_since is not None:
                # No interactive poll may be in the way, and none of bulk for long.
                least = CALLER * max(1, buyers.callers - self._calm)
                if cost < least or (buyers.is_late and _dearest(claims)[1] < least):
                    return buyers
            if cost < FINISH and self._claims[Rank.FINISH]:
                return _dearest(self._claims[Rank.FINISH])[0]
            return claim
        return None

    def _refused(self, error: Exception) -> None:
        for claims in self._claims.values():
            for claim in claims:
                if not claim.turn.done():
                    claim.turn.set_exception(error)
            claims.clear()


def _dearest(*lines: dict[_Claim, None]) -> tuple[_Claim, float]:
    """Return who loses most by waiting, and how much; the first of equals."""
    compared = chain.from_iterable(islice(claims, MOST_COMPARED) for claims in lines)
    return max(((claim, claim.cost_now()) for claim in compared), key=itemgetter(1))
