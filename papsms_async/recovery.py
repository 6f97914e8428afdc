"""After a crash: what an earlier process left behind is brought to its end.

* ``sending``: nobody knows whether it was bought. It becomes ``unknown``, keeps counting at the
  worst price, and is never sent again.
* ``waiting``: its flow is gone, so the number is given back. If an SMS came meanwhile the service
  refuses that, and the number is completed.
* ``received``: an SMS came and was charged; it is completed.
* ``completing``, ``cancelling``: the finish is sent.

Purchases that a living process drives (their lease has not ended) are left alone.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import attrs

from papsms_async.ledger import Ledger, LedgerConflictError, LedgerEntry
from papsms_async.lifecycle import OPEN, Event, State
from papsms_async.models import VerificationRequest
from papsms_async.tracking import Releaser, Shared, Tracked

_BATCH = 100


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
    """

    actions: tuple[tuple[LedgerEntry, RecoveryAction], ...]
    unknown: tuple[LedgerEntry, ...]

    @property
    def unknown_cost(self) -> Decimal:
        """US dollars that the unknown purchases may have cost at most."""
        return sum((entry.worst_price for entry in self.unknown), Decimal(0))


async def plan(ledger: Ledger, now: datetime) -> RecoveryReport:
    """Tell what `carry_out` would do, and change nothing."""
    actions = []
    unknown = list(await ledger.entries({State.UNKNOWN}))
    for entry in await ledger.entries(OPEN):
        if entry.lease_until is not None and entry.lease_until > now:
            actions.append((entry, RecoveryAction.LEAVE))
            continue
        actions.append((entry, ACTIONS[entry.state]))
        if entry.state is State.SENDING:
            unknown.append(entry)
    return RecoveryReport(actions=tuple(actions), unknown=tuple(unknown))


async def carry_out(
    shared: Shared, releaser: Releaser, *, owner: str, lease: float
) -> tuple[RecoveryReport, list[Tracked]]:
    """Claim what nobody drives and start to bring it to its end.

    Returns:
        What was found, and the purchases that are being finished now.
    """
    actions: list[tuple[LedgerEntry, RecoveryAction]] = []
    driven: list[Tracked] = []
    while batch := await shared.ledger.claim(owner, lease=lease, states=OPEN, limit=_BATCH):
        for entry in batch:
            tracked = Tracked(entry, request_of(entry), shared, releaser)
            action = ACTIONS[entry.state]
            actions.append((entry, action))
            try:
                await _bring_to_its_end(tracked)
            except LedgerConflictError:
                continue
            if tracked.entry.is_owed:
                driven.append(tracked)
    unknown = await shared.ledger.entries({State.UNKNOWN})
    return RecoveryReport(actions=tuple(actions), unknown=unknown), driven


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
