"""The right to drive purchases of a ledger that other processes use too.

A lease says: this process drives that purchase until then. It is renewed while the process lives,
and ends by itself when it dies, is stopped, or can't reach the ledger; then another process may
claim the purchase. Writes of a process whose lease was taken are refused by the ledger's fence. But
requests to the service have no fence, so before each finish `ensure` looks whether the lease can
still be valid, by the loop's own clock counted from before the last renewal; a process that was
stopped for longer notices it there, before it sends anything.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import uuid

from papsms_async.errors import LedgerError
from papsms_async.ledger import Ledger, LedgerConflictError

_log = logging.getLogger("papsms_async")

LEASE = 60.0
"""Seconds that a lease lasts; a crashed process's purchases can be claimed after so long."""


class Leases:
    """The leases of one manager.

    Args:
        ledger: The ledger that keeps them.
        lease: Seconds that each lasts after its renewal.
    """

    def __init__(self, ledger: Ledger, *, lease: float = LEASE) -> None:
        # No two runs share a name, so that a restarted process does not pass for its predecessor.
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
        self.lease = lease
        self._ledger = ledger
        self._until = 0.0
        self._held: frozenset[str] | None = None
        self._lapsed = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to renew."""
        loop = asyncio.get_running_loop()
        self._until = loop.time() + self.lease
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

    async def ensure(self, intent_id: str) -> None:
        """Make sure that the purchase is still this process's to drive.

        Raises:
            LedgerConflictError: Another process drives it, or may.
        """
        in_time = asyncio.get_running_loop().time() < self._until
        if in_time and (not self._lapsed or (self._held is not None and intent_id in self._held)):
            return
        # Late: stopped, or the ledger out of reach. Only a renewal can tell what is still ours; and
        # once one came late, what it did not find may be new since then, or lost.
        try:
            await self.renew()
        except LedgerError as error:
            raise LedgerConflictError(
                "The lease may have ended and the ledger can't be asked.", intent_id=intent_id
            ) from error
        if self._held is not None and intent_id not in self._held:
            raise LedgerConflictError(
                "The lease has ended and another process may drive the purchase.",
                intent_id=intent_id,
            )

    async def renew(self) -> None:
        """Prolong all leases."""
        before = asyncio.get_running_loop().time()
        self._lapsed = self._lapsed or before >= self._until
        self._held = frozenset(await self._ledger.renew(self.owner, lease=self.lease))
        self._until = before + self.lease

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.lease / 3)
            try:
                await self.renew()
            except LedgerError as error:
                _log.warning("the leases could not be renewed: %s", error)
