"""Purchases whose answer was lost, settled without the service.

Nobody but a person who looked at the account can tell whether an unknown purchase was made; the
service has no list of purchases. What that person found goes through the lifecycle table like every
other event: a number that was bought is given back by the next recovery, one that was not bought is
forgotten by the budget.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from papsms_async.errors import ConfigurationError
from papsms_async.leases import LEASE, Leases
from papsms_async.ledger import Ledger, LedgerConflictError, LedgerEntry
from papsms_async.lifecycle import Event, State, step

_BATCH = 100


async def settle_bought(
    ledger: Ledger,
    intent_id: str,
    activation_id: str,
    *,
    cost: Decimal | None = None,
    now: datetime | None = None,
) -> LedgerEntry:
    """Settle an unknown purchase as bought: its finish is owed from now on.

    The number is of no use any more, because whoever waited for it is gone. So it is `CANCELLING`
    afterwards, and the next `ActivationManager.recover` sends the finish.

    Args:
        ledger: The ledger, open.
        intent_id: Which purchase.
        activation_id: The service's id of it, as the account shows it.
        cost: US dollars that the account shows; ``None`` goes on counting the worst price.
        now: The present instant (UTC); ``None`` asks the machine's clock.

    Returns:
        The entry as it is now.

    Raises:
        ConfigurationError: The id can't be one, or it is another purchase's, whose number this
            would give back.
        LedgerConflictError: There is no such purchase, or it is not unknown. Nothing was changed.
    """
    word = activation_id.strip()
    if not word.strip("."):
        raise ConfigurationError("The activation id is empty.")
    if cost is not None and not (cost.is_finite() and cost >= 0):
        raise ConfigurationError("The cost must be an amount of US dollars, 0 or more.")
    for other in await ledger.entries():
        if other.activation_id == word and other.intent_id != intent_id:
            raise ConfigurationError(
                f"Activation {word} is in the ledger already: purchase {other.intent_id} is"
                f" {other.state.value}."
            )
    changes: dict[str, Any] = {"activation_id": word}
    if cost is not None:
        changes["cost"] = cost
    return await _settle(ledger, intent_id, Event.SETTLED_BOUGHT, now, changes)


async def settle_not_bought(
    ledger: Ledger, intent_id: str, *, now: datetime | None = None
) -> LedgerEntry:
    """Settle an unknown purchase as not bought: it costs nothing.

    Args:
        ledger: The ledger, open.
        intent_id: Which purchase.
        now: The present instant (UTC); ``None`` asks the machine's clock.

    Returns:
        The entry as it is now.

    Raises:
        LedgerConflictError: There is no such purchase, or it is not unknown. Nothing was changed.
    """
    return await _settle(ledger, intent_id, Event.SETTLED_NOT_BOUGHT, now, {})


async def _settle(
    ledger: Ledger, intent_id: str, event: Event, now: datetime | None, changes: dict[str, Any]
) -> LedgerEntry:
    # Claimed first, so that the history names who did it and nobody else does it meanwhile.
    owner = Leases(ledger).owner
    taken = await ledger.claim(owner, lease=LEASE, states=(State.UNKNOWN,), intent_ids=(intent_id,))
    if not taken:
        found = await ledger.get(intent_id)
        raise LedgerConflictError(
            "The ledger has no such purchase."
            if found is None
            else "Another process is settling the purchase."
            if found.state is State.UNKNOWN
            else f"The purchase is {found.state.value}: only an unknown one can be settled.",
            intent_id=intent_id,
        )
    try:
        return await ledger.move(
            intent_id,
            State.UNKNOWN,
            step(State.UNKNOWN, event).state,
            event=event.value,
            at=now or datetime.now(UTC),
            reason="settled by hand",
            owner=owner,
            fence=taken[0].fence,
            **changes,
        )
    finally:
        # Or the recovery that pays what is owed now would have to wait for the lease's end.
        await ledger.release_leases(owner, intent_id=intent_id)


async def mark_unknown(ledger: Ledger, *, now: datetime | None = None) -> tuple[LedgerEntry, ...]:
    """Mark what a crash left in the middle of its purchase as unknown; the service is not asked.

    Args:
        ledger: The ledger, open.
        now: The present instant (UTC); ``None`` asks the machine's clock.

    Returns:
        The entries, as they are now; those that a living process drives are not among them.

    Raises:
        LedgerError: The ledger can't be written.
    """
    owner = Leases(ledger).owner
    marked: list[LedgerEntry] = []
    while batch := await ledger.claim(owner, lease=LEASE, states=(State.SENDING,), limit=_BATCH):
        for entry in batch:
            try:
                moved = await ledger.move(
                    entry.intent_id,
                    State.SENDING,
                    step(State.SENDING, Event.ANSWER_LOST).state,
                    event=Event.ANSWER_LOST.value,
                    at=now or datetime.now(UTC),
                    reason="left behind by an earlier process",
                    owner=owner,
                    fence=entry.fence,
                )
            except LedgerConflictError:
                continue
            marked.append(moved)
    return tuple(marked)
