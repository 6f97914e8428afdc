"""After a crash: what an earlier process left behind is brought to its end.

* ``sending``: nobody knows whether it was bought. It becomes ``unknown``, keeps counting at the
  worst price, and is never sent again.
* ``waiting``: its flow is gone, so the number is given back. If an SMS came meanwhile the service
  refuses that, and the number is completed.
* ``received``: an SMS came and was charged; it is completed.
* ``completing``, ``cancelling``: the finish is sent.

Purchases that a living process drives (their lease has not ended) are left alone, and so are those
that were let go of lately, for another process or a job engine to go on with.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import attrs

from papsms_async.ledger import InboxEntry, Ledger, LedgerConflictError, LedgerEntry
from papsms_async.lifecycle import OPEN, Event, State
from papsms_async.orphans import candidates
from papsms_async.tracking import Releaser, Shared, Tracked
from papsms_async.verification import VerificationRequest

DETACHED_FOR = 900.0
"""Seconds for which a number that was let go of waits for a process that goes on with it."""


AT_ONCE = 50
"""Purchases that are taken at the same time, so that their writes share transactions."""


class RecoveryAction(StrEnum):
    """What recovery does with a purchase."""

    MARK_UNKNOWN = "mark_unknown"
    CANCEL = "cancel"
    COMPLETE = "complete"
    LEAVE = "leave"
    """Another process drives it."""


ACTIONS = {
    State.SENDING: RecoveryAction.MARK_UNKNOWN,
    State.WAITING: RecoveryAction.CANCEL,
    State.CANCELLING: RecoveryAction.CANCEL,
    State.RECEIVED: RecoveryAction.COMPLETE,
    State.COMPLETING: RecoveryAction.COMPLETE,
}


@attrs.frozen(kw_only=True)
class RecoveryReport:
    """What recovery found.

    Attributes:
        actions: Each purchase that was open, with what was (or would be) done with it.
        unknown: All purchases whose answer was lost, these and earlier ones.
        orphans: Webhooks about numbers that were not bought here, where anything is unknown.
    """

    actions: tuple[tuple[LedgerEntry, RecoveryAction], ...]
    unknown: tuple[LedgerEntry, ...]
    orphans: tuple[InboxEntry, ...] = ()

    def candidates(self, entry: LedgerEntry) -> tuple[InboxEntry, ...]:
        """Return the webhooks that may be about what an unknown purchase bought."""
        return candidates(entry, self.orphans)

    @property
    def unknown_cost(self) -> Decimal:
        """US dollars that the unknown purchases may have cost at most."""
        return sum((entry.worst_price for entry in self.unknown), Decimal(0))


async def plan(ledger: Ledger, now: datetime) -> RecoveryReport:
    """Tell what `carry_out` would do, and change nothing."""
    actions = []
    unknown = list(await ledger.entries({State.UNKNOWN}))
    for entry in await ledger.entries(OPEN):
        action = _action(entry, now)
        actions.append((entry, action))
        if action is RecoveryAction.MARK_UNKNOWN:
            unknown.append(entry)
    return RecoveryReport(
        actions=tuple(actions),
        unknown=tuple(unknown),
        orphans=await ledger.inbox.orphans() if unknown else (),
    )


def _action(entry: LedgerEntry, now: datetime) -> RecoveryAction:
    if entry.lease_until is not None and entry.lease_until > now:
        return RecoveryAction.LEAVE
    # Without an owner it was let go of on purpose, for another process to go on with.
    detached = entry.owner is None and entry.state in (State.WAITING, State.RECEIVED)
    if detached and (now - entry.updated_at).total_seconds() < DETACHED_FOR:
        return RecoveryAction.LEAVE
    return ACTIONS[entry.state]


async def carry_out(
    shared: Shared, releaser: Releaser, *, owner: str, lease: float
) -> tuple[RecoveryReport, list[Tracked]]:
    """Claim what nobody drives and start to bring it to its end.

    Returns:
        What was found and not left alone, and the purchases that are being finished now.
    """

    async def take(entry: LedgerEntry) -> tuple[LedgerEntry, Tracked]:
        tracked = Tracked(entry, request_of(entry), shared, releaser, counted=False)
        with suppress(LedgerConflictError):
            await _bring_to_its_end(tracked)
        return entry, tracked

    left = [
        found
        for found in await shared.ledger.entries(OPEN)
        if _action(found, shared.clock()) is not RecoveryAction.LEAVE
    ]
    taken: list[tuple[LedgerEntry, Tracked]] = []
    for start in range(0, len(left), AT_ONCE):
        batch = left[start : start + AT_ONCE]
        # Whether a lease has ended is for the ledger to say, by its own clock. What a job engine
        # took a step with since it was looked at was let go of by now, and is left alone.
        claimed: list[LedgerEntry] = []
        for let_go in (False, True):
            ids = [found.intent_id for found in batch if (found.lease_until is None) is let_go]
            if ids:
                claimed += await shared.ledger.claim(
                    owner, lease=lease, states=OPEN, intent_ids=ids, let_go=let_go
                )
        # All of them to their end, also where one fails: they are taken by now.
        for outcome in await asyncio.gather(*map(take, claimed), return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
            taken.append(outcome)
    unknown = await shared.ledger.entries({State.UNKNOWN})
    report = RecoveryReport(
        actions=tuple((entry, ACTIONS[entry.state]) for entry, _ in taken),
        unknown=unknown,
        orphans=await shared.ledger.inbox.orphans() if unknown else (),
    )
    return report, [tracked for _, tracked in taken if tracked.entry.is_owed]


async def _bring_to_its_end(tracked: Tracked) -> None:
    reason = "left behind by an earlier process"
    match tracked.state:
        case State.SENDING:
            await tracked.apply(Event.ANSWER_LOST, reason=reason)
        case State.WAITING:
            await tracked.apply(Event.RELEASE, reason=reason)
        case State.RECEIVED:
            await tracked.apply(Event.KEEP, reason=reason)
        case _:
            tracked.resume_finish()


def request_of(entry: LedgerEntry) -> VerificationRequest:
    """Return the request that a ledger entry was made for, as far as the ledger knows it."""
    return VerificationRequest(
        entry.service, entry.country, reference=entry.reference, tenant=entry.tenant
    )
