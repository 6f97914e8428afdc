"""Purchases that another process began: what a manager does with them.

After a crash it finishes what nobody drives (`papsms_async.recovery`); by its token it goes on with
one (`papsms_async.handover`); for a job engine it carries out single steps
(`papsms_async.stepping`). Each of them runs in a task of the manager's, so a caller that is
cancelled leaves nothing half taken.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from papsms_async.handover import take_up
from papsms_async.ledger import LedgerConflictError
from papsms_async.live import LiveNumbers, ResumedBlock
from papsms_async.purchasing import Purchasing
from papsms_async.recovery import RecoveryReport, carry_out, plan
from papsms_async.release import ReleaseDesk
from papsms_async.stepping import STEP_OF_OTHERS, Stepper
from papsms_async.tasks import OwnedTasks, outcome_of
from papsms_async.tracking import Shared, Tracked


class Takeover:
    """Goes on with purchases that this manager did not begin, or let go of.

    Args:
        shared: What the manager's parts share.
        tasks: Owns the tasks.
        desk: Finishes what is taken over.
        purchasing: The purchases that this process is about to settle.
        live: The numbers that flows of this process hold.
        stepper: Carries out single steps.
        check_open: Raises where the manager is not open.
    """

    def __init__(
        self,
        shared: Shared,
        tasks: OwnedTasks,
        desk: ReleaseDesk,
        purchasing: Purchasing,
        live: LiveNumbers,
        stepper: Stepper,
        *,
        check_open: Callable[[], None],
    ) -> None:
        self._shared = shared
        self._tasks = tasks
        self._desk = desk
        self._purchasing = purchasing
        self._live = live
        self._stepper = stepper
        self._check_open = check_open

    async def recover(self, *, dry_run: bool, wait: bool) -> RecoveryReport:
        """See `ActivationManager.recover`."""
        self._check_open()
        leases = self._shared.leases
        if dry_run or leases is None:
            # A ledger in memory has nothing of an earlier process.
            return await plan(self._shared.ledger, self._shared.clock())
        work = self._tasks.spawn(
            carry_out(self._shared, self._desk, owner=leases.owner, lease=leases.lease),
            name="papsms recovery",
        )
        report, driven = await outcome_of(work)
        if wait:
            for tracked in driven:
                await tracked.settled.wait()
        return report

    def resume(self, token: str) -> ResumedBlock:
        """See `ActivationManager.resume`."""
        return ResumedBlock(self._live, self._tasks, partial(self._take_up, token))

    async def advance(self, intent_id: str) -> float | None:
        """See `ActivationManager.advance`."""
        self._check_open()
        if self._drives(intent_id):
            return STEP_OF_OTHERS
        work = self._tasks.spawn(self._stepper.advance(intent_id), name="papsms step")
        return await outcome_of(work)

    async def _take_up(self, token: str) -> Tracked:
        self._check_open()
        if self._drives(token):
            raise LedgerConflictError(
                "This manager drives the activation already; leave or detach it there first.",
                intent_id=token,
                token=token,
            )
        return await take_up(self._shared, self._desk, token)

    def _drives(self, intent_id: str) -> bool:
        owed = any(tracked.entry.intent_id == intent_id for tracked in self._desk.owed)
        return owed or self._live.holds(intent_id) or self._purchasing.drives(intent_id)
