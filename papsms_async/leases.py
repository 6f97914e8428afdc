"""The right to drive purchases of a ledger that other processes use too.

A lease says: this process drives that purchase until then. It is renewed while the process lives,
and ends by itself when it dies, is stopped, or can't reach the ledger; then another process may
claim the purchase.

Theory of operation
===================

*In the ledger* a process whose lease was taken changes nothing: each claim raises the purchase's
fence, and a write that names an older one is refused.

*At the service* there is no fence, so what must not be sent any more must not leave. Each purchase
and each finish is checked twice: by `Leases.ensure`, which asks the ledger where the lease may have
ended, before it is prepared, and by `Leases.check` in the very step in which its bytes are given to
the kernel (`papsms_async.transport`). Both go by a clock that also runs while the process is
stopped and while the machine sleeps, and count from before the renewal was asked for; both stop a
quarter of the lease before its end, which is left for the way to the service.

*What remains* are two cases that no client can exclude: a process that is stopped in the
microseconds between its look at the clock and the system call, for longer than a quarter of a
lease; and a network that holds a request back for so long. What leaves then is a finish that the
ledger had as owed before, and that does no harm: the next driver finds it in the ledger as owed and
sends the same one. It changes only from cancelled to completed, after the service said that an SMS
came, and from then on the service refuses to cancel. A purchase that leaves then is in the ledger
as unknown, at the worst price.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable

from papsms_async.errors import LedgerError
from papsms_async.ledger import Ledger, LedgerConflictError

_log = logging.getLogger("papsms_async")

LEASE = 60.0
"""Seconds that a lease lasts; a crashed process's purchases can be claimed after so long."""
MARGIN = 0.25
"""Part of a lease, at its end, in which nothing is sent any more: for the way to the service."""

# On Linux CLOCK_MONOTONIC stands still while the machine sleeps; on macOS it does not.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def since_boot() -> float:
    """Return seconds on a clock that runs on while the process is stopped or the machine sleeps."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


class Leases:
    """The leases of one manager.

    Args:
        ledger: The ledger that keeps them.
        lease: Seconds that each lasts after its renewal.
        clock: Seconds, see `since_boot`; for tests.
    """

    def __init__(
        self, ledger: Ledger, *, lease: float = LEASE, clock: Callable[[], float] = since_boot
    ) -> None:
        # No two runs share a name, so that a restarted process does not pass for its predecessor.
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
        self.lease = lease
        self._ledger = ledger
        self._clock = clock
        # What the last renewal found, what was taken since it was asked for, and its end.
        self._held: frozenset[str] = frozenset()
        self._taken: set[str] = set()
        self._until = 0.0
        self._late = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to renew."""
        loop = asyncio.get_running_loop()
        self._until = self._clock() + self.lease
        self._task = loop.create_task(self._renew_for_ever(), name="papsms leases")

    async def suspend(self) -> None:
        """Stop renewing; the leases that are held end by themselves."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def stop(self) -> None:
        """Stop renewing and give all leases up, so that others need not wait for their end."""
        if self._task is not None:
            await self.suspend()
            try:
                await self._ledger.release_leases(self.owner)
            except LedgerError as error:
                _log.warning("the leases could not be given up: %s", error)

    def took(self, intent_id: str) -> None:
        """A purchase was added or claimed in this process's name just now."""
        self._taken.add(intent_id)

    async def ensure(self, intent_id: str) -> None:
        """Make sure that the purchase is still this process's to drive; ask where that is open.

        Raises:
            LedgerConflictError: Another process drives it.
            LedgerError: The lease may have ended, and the ledger can't be asked.
        """
        if self._holds(intent_id):
            return
        # Late: stopped, or the ledger out of reach. Only a renewal can tell what is still ours.
        await self.renew()
        if intent_id not in self._held | self._taken:
            raise LedgerConflictError(
                "The lease has ended and another process drives the purchase.",
                intent_id=intent_id,
            )

    def check(self, intent_id: str) -> None:
        """Make sure, without asking anybody, that the purchase is ours at this very moment.

        Raises:
            LedgerError: The lease may have ended. It is being renewed; try again.
        """
        if not self._holds(intent_id):
            self._late.set()
            raise LedgerError(
                "The lease may have ended before the request could be sent; nothing was sent.",
                retryable=True,
                intent_id=intent_id,
            )

    def _holds(self, intent_id: str) -> bool:
        known = intent_id in self._held or intent_id in self._taken
        return known and self._clock() < self._until - MARGIN * self.lease

    async def renew(self) -> None:
        """Prolong all leases."""
        before = self._clock()
        # What is taken from now on may not be in the answer; what was taken before must be.
        taken, self._taken = self._taken, set()
        try:
            held = await self._ledger.renew(self.owner, lease=self.lease)
        except BaseException:
            self._taken |= taken
            raise
        self._held = frozenset(held)
        self._until = before + self.lease

    async def _renew_for_ever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.lease / 3):
                    await self._late.wait()
            self._late.clear()
            try:
                await self.renew()
            except LedgerError as error:
                _log.warning("the leases could not be renewed: %s", error)
