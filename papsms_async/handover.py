"""A number that goes on in another process: left there by `detach`, taken up again by its token."""

from __future__ import annotations

from papsms_async.errors import (
    ActivationEndedError,
    ConfigurationError,
    PapSMSError,
    PurchaseUnknownError,
)
from papsms_async.ledger import LedgerConflictError, LedgerEntry
from papsms_async.lifecycle import State
from papsms_async.recovery import request_of
from papsms_async.tracking import Releaser, Shared, Tracked

HERE = "this process"
"""Owner in a ledger that no other process can see."""

USABLE = frozenset({State.WAITING, State.RECEIVED})
"""States in which a flow can still use a number."""


def owner_of(shared: Shared) -> tuple[str, float]:
    """Return the name under which this process holds purchases, and for how many seconds."""
    return (HERE, 60.0) if shared.leases is None else (shared.leases.owner, shared.leases.lease)


async def take_up(shared: Shared, releaser: Releaser, token: str) -> Tracked:
    """Take over the purchase that ``token`` names.

    Raises:
        ConfigurationError: The ledger has no such purchase.
        LedgerConflictError: A living process drives it.
        PurchaseUnknownError: The answer to the purchase was lost; it is settled by hand.
        ActivationEndedError: It is over, or not bought yet.
    """
    owner, lease = owner_of(shared)
    taken = await shared.ledger.claim(owner, lease=lease, states=USABLE, intent_ids=(token,))
    if not taken:
        raise _why_not(await shared.ledger.get(token), token)
    tracked = Tracked(taken[0], request_of(taken[0]), shared, releaser, counted=False)
    tracked.purchased_at = taken[0].created_at
    if tracked.state is State.RECEIVED:
        tracked.wait_over.set()
    return tracked


async def let_go(shared: Shared, tracked: Tracked) -> None:
    """Give up the lease of a purchase, so that any process can take it."""
    owner, _ = owner_of(shared)
    await shared.ledger.release_leases(owner, intent_id=tracked.entry.intent_id)


_WHY_NOT = {
    State.UNKNOWN: "The answer to the purchase was lost, so there is no number to go on with: look"
    " into the account and settle it with `papsms ledger resolve`.",
    State.SENDING: "The purchase is under way, or a crash cut it short: recover() tells which.",
    State.COMPLETING: "The activation is over: it is being completed.",
    State.CANCELLING: "The activation is over: it is being given back.",
}


def _why_not(entry: LedgerEntry | None, token: str) -> PapSMSError:
    if entry is None:
        return ConfigurationError(
            "The ledger has no purchase of this token: is it the same one?", token=token
        )
    if entry.state in USABLE:
        cls: type[PapSMSError] = LedgerConflictError
        sentence = (
            "Another process drives the activation; it can be taken up when that lets go of it."
        )
    else:
        cls = PurchaseUnknownError if entry.state is State.UNKNOWN else ActivationEndedError
        sentence = _WHY_NOT.get(entry.state, f"The activation is over: it is {entry.state.value}.")
    return cls(sentence, intent_id=token, activation_id=entry.activation_id, token=token)
