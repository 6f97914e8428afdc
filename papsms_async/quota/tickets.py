"""The tickets and permits of a `LocalQuota`: thin handles, which leave all decisions to it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from papsms_async.errors import RateLimitedError
from papsms_async.quota.base import Priority

if TYPE_CHECKING:
    from papsms_async.quota.local import LocalQuota

WAITING, GRANTED, TAKEN, WITHDRAWN, REFUSED = range(5)


class LocalPermit:
    """See `papsms_async.quota.Permit`."""

    __slots__ = ("_number", "_open", "_quota")

    def __init__(self, quota: LocalQuota, number: int) -> None:
        self._quota = quota
        self._number = number
        self._open = True

    def answered(self) -> None:
        """See `papsms_async.quota.Permit.answered`."""
        if self._open:
            self._open = False
            self._quota._answered(self._number)

    def lost(self, grace: float | None = None) -> None:
        """See `papsms_async.quota.Permit.lost`."""
        if self._open:
            self._open = False
            self._quota._lost(self._number, grace)

    def unsent(self) -> None:
        """See `papsms_async.quota.Permit.unsent`."""
        if self._open:
            self._open = False
            self._quota._unsent(self._number)


class LocalTicket:
    """See `papsms_async.quota.Ticket`."""

    __slots__ = ("_age", "_future", "_permit", "_quota", "_retry_after", "_state", "_version")

    def __init__(self, quota: LocalQuota, age: int) -> None:
        self._quota = quota
        self._age = age
        self._version = 0
        self._state = WAITING
        self._future: asyncio.Future[None] | None = None
        self._permit: LocalPermit | None = None
        self._retry_after: float | None = None

    def __await__(self) -> Generator[Any, None, LocalPermit]:
        if self._future is not None or self._state == TAKEN:
            raise RuntimeError("A ticket can be awaited only once.")
        if self._state == WAITING:
            self._future = self._quota._new_future()
            try:
                yield from self._future
            except BaseException:
                # Cancelled while waiting, or between the grant and the wake-up: either way nobody
                # receives the permit.
                self.withdraw()
                raise
        if self._state == REFUSED:
            raise _refusal(self._retry_after)
        if self._permit is None:
            raise asyncio.CancelledError
        self._state = TAKEN
        permit, self._permit = self._permit, None
        return permit

    def reprioritise(self, priority: Priority) -> None:
        """See `papsms_async.quota.Ticket.reprioritise`."""
        if self._state == WAITING:
            self._quota._reprioritise(self, priority)

    def withdraw(self) -> None:
        """See `papsms_async.quota.Ticket.withdraw`."""
        state, self._state = self._state, WITHDRAWN
        if state == WAITING:
            self._quota._forget()
            if self._future is not None:
                self._future.cancel()
        elif state == GRANTED and self._permit is not None:
            permit, self._permit = self._permit, None
            permit.unsent()
        else:
            self._state = state

    def _wake(self, state: int) -> None:
        self._state = state
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


def _refusal(retry_after: float | None) -> RateLimitedError:
    return RateLimitedError(
        "The service turned requests away and wants to be left alone for"
        f" {math.ceil(retry_after or 0)} s, which is longer than this client waits by itself.",
        http_status=429,
        retry_after=retry_after,
    )
