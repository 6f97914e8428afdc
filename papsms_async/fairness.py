"""Who buys next: interactive callers before bulk, and tenants in proportion to their weights.

Theory of operation
===================

*Between tenants* the order is that of start-time fair queueing. Time is virtual: each purchase of a
tenant of weight w takes 1 / w of it. A tenant's next purchase starts where its last one ended, or
now if that is past; the earliest start goes next, and now is the start of whatever went last. So a
tenant that was away comes in beside the others and not before them, and over any span in which two
tenants wait all the time, their purchases divided by their weights differ by no more than one
purchase of each (1 / w + 1 / w'). Within a tenant it is first come, first served.

Starts are worked out when a request comes to the head of its tenant's queue, and a tenant pays for
what it took and not for what it asked. So requests that are withdrawn cost nothing, and leave
nothing.

*Interactive* callers go before *bulk*, each with tenants as above; but while both wait, every
tenth purchase is bulk's. So neither starves, whatever comes.

Both take O(log n) a request. Source: Goyal, Vin, Cheng, "Start-time fair queueing", 1996.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from papsms_async.verification import Priority

__all__ = ["BULK_TURN", "FairQueue", "Line"]

T = TypeVar("T", bound=Hashable)

BULK_TURN = 10
"""One in so many purchases is bulk's while interactive callers wait as well."""

_FEW_STALE = 64
_MOST_IDLE = 10_000
"""So many tenants without requests are remembered at most: those whose share is due latest."""


class _Tenant(Generic[T]):
    """The requests of one tenant, and the virtual time up to which it has had its share."""

    __slots__ = ("entry", "finish", "name", "noted", "queue", "weight")

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.queue: OrderedDict[T, None] = OrderedDict()
        self.weight = 1.0
        self.finish = 0.0
        # Number of its entry in the heap; ``None`` while it has none that counts.
        self.entry: int | None = None
        # The finish with which it is among the idle.
        self.noted: float | None = None


class FairQueue(Generic[T]):
    """Requests of tenants, taken in proportion to the tenants' weights."""

    def __init__(self) -> None:
        self._tenants: dict[str | None, _Tenant[T]] = {}
        # (start, number, tenant): one that counts for each tenant with requests.
        self._heap: list[tuple[float, int, _Tenant[T]]] = []
        # (finish, number, tenant): tenants without requests, remembered until their share is due.
        self._idle: list[tuple[float, int, _Tenant[T]]] = []
        self._numbers = itertools.count()
        self._now = 0.0
        self._size = 0
        self._busy = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[T]:
        """Go over all requests, tenant by tenant."""
        for tenant in self._tenants.values():
            yield from tenant.queue

    @property
    def tenants(self) -> int:
        """How many tenants are remembered."""
        return len(self._tenants)

    def add(self, item: T, tenant: str | None, weight: float = 1.0) -> None:
        """Put ``item`` behind the tenant's others.

        Args:
            item: The request; each at most once.
            tenant: Whose it is; ``None`` is a tenant like any other.
            weight: The tenant's share, above 0; the newest one counts.
        """
        state = self._state(tenant)
        state.weight = weight
        state.queue[item] = None
        self._size += 1
        if state.entry is None:
            self._busy += 1
            self._enter(state, max(self._now, state.finish))

    def remove(self, item: T, tenant: str | None) -> None:
        """Take ``item`` out, as if it had never been there."""
        state = self._tenants[tenant]
        del state.queue[item]
        self._size -= 1
        if not state.queue:
            self._retire(state)
            self._sweep()

    def head(self) -> T:
        """Return who is next.

        Raises:
            LookupError: Nobody waits.
        """
        if not self._size:
            raise LookupError("nobody waits")
        while not self._counts(self._heap[0]):
            heappop(self._heap)
        return next(iter(self._heap[0][2].queue))

    def take(self) -> T:
        """Take out who is next.

        Raises:
            LookupError: Nobody waits.
        """
        self.head()  # what is stale in front of it is gone then
        start, _, state = heappop(self._heap)
        item, _ = state.queue.popitem(last=False)
        self._size -= 1
        self._now = start
        state.finish = start + 1.0 / state.weight
        if state.queue:
            self._enter(state, state.finish)
        else:
            self._retire(state)
        self._forget_idle()
        return item

    def charge(self, tenant: str | None, weight: float = 1.0) -> None:
        """Let the tenant pay for a purchase that did not come out of here."""
        if not self._size:
            # Nobody waits, so nobody goes without.
            return
        state = self._state(tenant)
        state.weight = weight
        state.finish = max(self._now, state.finish) + 1.0 / weight
        if state.entry is not None:
            self._enter(state, state.finish)
            self._sweep()
        else:
            self._remember(state)

    def _state(self, tenant: str | None) -> _Tenant[T]:
        state = self._tenants.get(tenant)
        if state is None:
            state = self._tenants[tenant] = _Tenant(tenant)
        return state

    def _enter(self, state: _Tenant[T], start: float) -> None:
        state.entry = next(self._numbers)
        heappush(self._heap, (start, state.entry, state))

    def _retire(self, state: _Tenant[T]) -> None:
        state.entry = None
        self._busy -= 1
        self._remember(state)
        if not self._size:
            # Nobody waited for his share meanwhile, so nobody is owed any.
            self._tenants.clear()
            self._heap.clear()
            self._idle.clear()
            self._now = 0.0

    def _remember(self, state: _Tenant[T]) -> None:
        if state.finish <= self._now:
            state.noted = None
            self._tenants.pop(state.name, None)
        elif state.noted != state.finish:
            state.noted = state.finish
            heappush(self._idle, (state.finish, next(self._numbers), state))
            self._forget_idle()

    def _forget_idle(self) -> None:
        while self._idle and (self._idle[0][0] <= self._now or len(self._idle) > _MOST_IDLE):
            finish, _, state = heappop(self._idle)
            if state.noted == finish:
                state.noted = None
                # Unless it came back meanwhile.
                if state.entry is None:
                    self._tenants.pop(state.name, None)

    @staticmethod
    def _counts(entry: tuple[float, int, _Tenant[T]]) -> bool:
        return entry[2].entry == entry[1]

    def _sweep(self) -> None:
        stale = len(self._heap) - self._busy
        if stale > _FEW_STALE and stale > self._busy:
            self._heap = [entry for entry in self._heap if self._counts(entry)]
            heapify(self._heap)


class Line(Generic[T]):
    """Everybody who waits to buy, both priorities."""

    def __init__(self) -> None:
        self.interactive: FairQueue[T] = FairQueue()
        self.bulk: FairQueue[T] = FairQueue()
        # Interactive purchases since bulk's last one, or since bulk began to wait.
        self._in_a_row = 0

    def __len__(self) -> int:
        return len(self.interactive) + len(self.bulk)

    def of(self, priority: Priority) -> FairQueue[T]:
        """Return the queue of a priority."""
        return self.interactive if priority is Priority.INTERACTIVE else self.bulk

    def next(self, *, bulk: bool = True) -> Priority | None:
        """Return whose turn it is, or ``None`` if nobody can go.

        Args:
            bulk: Whether bulk can go.
        """
        if bulk and self.bulk and (not self.interactive or self._in_a_row >= BULK_TURN - 1):
            return Priority.BULK
        return Priority.INTERACTIVE if self.interactive else None

    def take(self, priority: Priority) -> T:
        """Take out the next of that priority.

        Raises:
            LookupError: Nobody of it waits.
        """
        item = self.of(priority).take()
        waited = priority is Priority.INTERACTIVE and len(self.bulk) > 0
        self._in_a_row = self._in_a_row + 1 if waited else 0
        return item
