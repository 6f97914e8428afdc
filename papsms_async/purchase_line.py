"""Where orders wait to buy: for a permit, and for a place among the activations in flight.

Who buys is decided when the permit is there. So the whole line has one ticket in the quota's queue,
and whoever is first when it is granted gets the permit, and a place with it: a place is never held
by one that still waits. It goes last, behind all that running activations need; but while an
interactive caller waits it goes among the polls of bulk, and after a few permits before them.

An order whose purchase is made anew (another country, a new key, a 429) keeps its place, goes
before the rest, and its tenant pays for that permit like for any other.

Where no poll of an interactive caller loses much by waiting, its permit is given to one who waits
to buy (`PurchaseLine.take_over`).

While interactive callers come, bulk leaves them a few places, so that they need not wait for one of
its activations to end.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from math import inf, isfinite

from papsms_async.dispatcher import Rank
from papsms_async.errors import ConfigurationError
from papsms_async.fairness import Line
from papsms_async.line_ticket import Asking, LineTicket
from papsms_async.quota import Permit, Quota
from papsms_async.tasks import OwnedTasks
from papsms_async.verification import Priority

TenantWeights = Mapping[str, float] | Callable[[str], float | None]
"""Shares of tenants: 1 for those that are not named."""

PATIENCE = 3
"""Permits for which an interactive caller in line lets overdue polls of bulk go first. So many more
go to them after each such purchase, so that no number of callers can keep bulk from its SMS."""
_LATE = (Rank.BULK_POLL, -inf)
KEPT_SHARE = 0.1
"""Share of all places that is kept for interactive callers while there are such callers..."""
KEPT_AT_MOST = 0.25
"""...but at least one place, where that is no more than this share."""
KEPT_FOR = 300.0
"""Seconds since the last interactive caller for which places are kept."""


class Buyer:
    """One order's part in the line; made by `PurchaseLine.buyer`.

    Attributes:
        tenant: On whose behalf it buys.
        priority: Who goes first.
        weight: The tenant's share.
        has_place: Whether it has a place among the activations in flight.
        in_line: Whether it waits for a turn.
        since: Loop time at which it began to wait for its last turn.
    """

    __slots__ = ("_line", "_turn", "has_place", "in_line", "priority", "since", "tenant", "weight")

    def __init__(
        self, line: PurchaseLine, tenant: str | None, priority: Priority, weight: float
    ) -> None:
        self.tenant = tenant
        self.priority = priority
        self.weight = weight
        self.has_place = False
        self.in_line = False
        self.since = 0.0
        self._line = line
        self._turn: asyncio.Future[Permit] | None = None

    async def permit(self) -> Permit:
        """Wait for this buyer's turn; it has a place then, until `leave`.

        Raises:
            RateLimitedError: The service wants to be left alone for so long that waiting makes no
                sense.
        """
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[Permit] = loop.create_future()
        self._turn, self.since = turn, loop.time()
        self._line._join(self)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._line._withdraw(self)
            elif turn.exception() is None:
                # Cancelled between the grant and the wake-up.
                turn.result().unsent()
            raise
        finally:
            self._turn = None

    def leave(self) -> None:
        """Give the place to the next; safe to call twice."""
        if self.has_place:
            self.has_place = False
            self._line._leave(self)

    @property
    def turn(self) -> asyncio.Future[Permit]:
        """Has the permit when it is this buyer's turn."""
        assert self._turn is not None  # noqa: S101 - it is in line
        return self._turn


class PurchaseLine:
    """The line of one manager.

    Attributes:
        on_change: Called when somebody came, went, bought, or left a place.
        awaited: Says how many wait for their SMS.
        more_urgent: Uses a permit that came to this line with a rank, where something that is more
            urgent waits; returns whether it did.

    Args:
        quota: Gives the permits.
        tasks: Owns the task that waits for one.
        places: How many activations there may be at once.
        supply: Requests a second that the quota gives.
        weights: Shares of the tenants among purchases of the same priority.

    Raises:
        ConfigurationError: A weight can't be used.
    """

    def __init__(
        self,
        quota: Quota,
        tasks: OwnedTasks,
        *,
        places: int,
        supply: float,
        weights: TenantWeights | None = None,
    ) -> None:
        self._free = self._places = places
        self._most_awaited = inf
        self._held_by_bulk = 0
        self._patience = PATIENCE / supply
        self._kept = int(min(max(1, KEPT_SHARE * places), KEPT_AT_MOST * places))
        self._keep_until = 0.0
        self._weights: Callable[[str], float | None]
        if weights is None:
            self._weights = _equal
        elif isinstance(weights, Mapping):
            self._weights = {
                tenant: _checked(weight, tenant) for tenant, weight in weights.items()
            }.get
        elif callable(weights):
            self._weights = weights
        else:
            raise ConfigurationError(
                "tenant_weights must be a mapping such as {'a': 2.0}, or a function of the name."
            )
        self._line: Line[Buyer] = Line()
        # Those that have a place already, and only need another permit.
        self._again: OrderedDict[Buyer, None] = OrderedDict()
        self._ticket = LineTicket(
            quota,
            tasks,
            name="papsms purchase line",
            granted=self._granted,
            refused=self._refused,
            over=self._ended,
        )
        # Whether the ticket is for an interactive caller, and what hastens it then.
        self._calling = False
        self._alarm: asyncio.TimerHandle | None = None
        self.on_change: Callable[[], None] = lambda: None
        self.awaited: Callable[[], int] = lambda: 0
        self.more_urgent: Callable[[Permit, Rank], bool] = _nothing_is

    def __repr__(self) -> str:
        return f"<PurchaseLine waiting={len(self)} free={self._free}/{self._places}>"

    def __len__(self) -> int:
        return len(self._line) + len(self._again)

    @property
    def free_places(self) -> int:
        """How many activations more there may be now."""
        return self._free

    def waiting(self, priority: Priority) -> int:
        """Return how many of that priority wait for a turn."""
        again = sum(buyer.priority is priority for buyer in self._again)
        return len(self._line.of(priority)) + again

    def asking(self) -> Asking | None:
        """Return that it waits for a permit to buy; ``None`` while nobody is in line who can go."""
        first, at = self._first(), self._ticket.at
        return None if at is None or first is None else Asking(at, "purchase", first.since)

    @property
    def calling_since(self) -> float | None:
        """Loop time since when an interactive caller waits who could buy; ``None`` if none does."""
        first = self._first()
        calling = first is not None and first.priority is Priority.INTERACTIVE
        return first.since if calling and first is not None else None

    @property
    def callers(self) -> int:
        """How many interactive callers wait."""
        return self.waiting(Priority.INTERACTIVE)

    def bound_awaited(self, most: float) -> None:
        """Let bulk buy only while fewer than ``most`` wait for their SMS; tell it again and again.

        Places are for all that are in flight, those that need no request at the moment included.
        """
        self._most_awaited = most
        if len(self):
            self._ask()

    def buyer(self, tenant: str | None, priority: Priority) -> Buyer:
        """Return what an order takes its turns with.

        Raises:
            ConfigurationError: The tenant's weight can't be used.
        """
        weight = 1.0 if tenant is None else self._weights(tenant)
        return Buyer(self, tenant, priority, 1.0 if weight is None else _checked(weight, tenant))

    def _join(self, buyer: Buyer) -> None:
        buyer.in_line = True
        if buyer.has_place:
            self._again[buyer] = None
        else:
            self._line.of(buyer.priority).add(buyer, buyer.tenant, buyer.weight)
        if buyer.priority is Priority.INTERACTIVE:
            self._keep_until = asyncio.get_running_loop().time() + KEPT_FOR
        self._refresh()

    def _withdraw(self, buyer: Buyer) -> None:
        # One that was cancelled may have been passed over already.
        if buyer.in_line:
            self._remove(buyer)
            self._refresh()

    def _remove(self, buyer: Buyer) -> None:
        buyer.in_line = False
        if buyer.has_place:
            del self._again[buyer]
        else:
            self._line.of(buyer.priority).remove(buyer, buyer.tenant)

    def _leave(self, buyer: Buyer) -> None:
        self._free += 1
        self._held_by_bulk -= buyer.priority is Priority.BULK
        self._refresh()

    def _next(self) -> Priority | None:
        """Return whose turn it would be among those without a place, if one can go."""
        if not self._free:
            return None
        keeping = asyncio.get_running_loop().time() < self._keep_until
        most = self._places - self._kept if keeping else self._places
        bulk = self._held_by_bulk < most and self.awaited() < self._most_awaited
        return self._line.next(bulk=bulk)

    def _first(self) -> Buyer | None:
        """Return whose turn it is, if anybody can go."""
        if self._again:
            return next(iter(self._again))
        priority = self._next()
        return None if priority is None else self._line.of(priority).head()

    def _take(self) -> Buyer | None:
        """Take out whose turn it is, if anybody can go, and give it a place."""
        while (buyer := self._first()) is not None:
            if buyer.turn.done():
                # Cancelled, and not gone yet.
                self._remove(buyer)
            elif buyer.has_place:
                self._remove(buyer)
                self._line.of(buyer.priority).charge(buyer.tenant, buyer.weight)
                return buyer
            else:
                self._line.take(buyer.priority)
                buyer.in_line, buyer.has_place = False, True
                self._free -= 1
                self._held_by_bulk += buyer.priority is Priority.BULK
                return buyer
        return None

    # The ticket ----------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Something changed in the line."""
        self.on_change()
        self._ask()

    def _ask(self) -> None:
        """Have a ticket just when somebody can go, of the rank that the line has now."""
        if self._first() is None:
            self._ticket.withdraw()
            return
        calling = self.waiting(Priority.INTERACTIVE) > 0
        if self._ticket.at is None or calling is not self._calling:
            self._ticket.ask(self._place(calling))
        if calling is not self._calling:
            self._calling = calling
            self._set_alarm()

    def _place(self, calling: bool) -> tuple[float, float]:
        now = asyncio.get_running_loop().time()
        return (Rank.BULK_POLL if calling else Rank.PURCHASE, now)

    def _set_alarm(self) -> None:
        """Have the line go before bulk in a while if an interactive caller waits in it."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._calling:
            self._alarm = asyncio.get_running_loop().call_later(self._patience, self._hasten)

    @property
    def is_late(self) -> bool:
        """Whether an interactive caller has waited for more than a few permits."""
        return self._ticket.at == _LATE

    def _hasten(self) -> None:
        self._alarm = None
        if self._ticket.at is not None:
            self._ticket.ask(_LATE)

    def take_over(self, permit: Permit) -> bool:
        """Let an interactive caller buy with a permit that was somebody else's.

        Returns:
            Whether one can; if not, the permit is untouched.
        """
        while (first := self._first()) is not None and first.turn.done():
            # Cancelled, and not gone yet: behind it may be one of bulk.
            self._remove(first)
        buyer = None if self.calling_since is None else self._take()
        if buyer is None:
            self._refresh()
            return False
        buyer.turn.set_result(permit)
        # As after a permit of its own, polls of bulk have their turns before the next.
        self._ticket.withdraw()
        self.on_change()
        return True

    def _granted(self, permit: Permit, at: tuple[float, ...]) -> None:
        if self.more_urgent(permit, Rank(int(at[0]))):
            return
        buyer = self._take()
        if buyer is None:
            permit.unsent()
        else:
            buyer.turn.set_result(permit)

    def _refused(self, error: Exception) -> None:
        buyer = self._take()
        if buyer is not None:
            buyer.turn.set_exception(error)

    def _ended(self) -> None:
        self._calling = False
        self._set_alarm()
        self._refresh()


def _nothing_is(permit: Permit, rank: Rank) -> bool:
    return False


def _equal(tenant: str) -> float | None:
    return 1.0


def _checked(weight: object, tenant: str | None) -> float:
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not isfinite(weight):
        raise ConfigurationError(f"The weight of tenant {tenant!r} must be a number.")
    if not 1e-6 <= weight <= 1e6:
        raise ConfigurationError(
            f"The weight of tenant {tenant!r} must be from 0.000001 to 1000000, not {weight}."
        )
    return float(weight)
