"""Webhooks about numbers that were not bought here, and the purchases that they may belong to.

When the answer to a purchase is lost, nobody here knows the number that it may have bought, and a
webhook about it is an orphan: its activation is in no purchase of the ledger. The other way round,
an orphan that came while a purchase without an answer could have been alive may tell what it
bought. That is shown to the person who settles such purchases, and nothing is done about it:
another program may use the same account.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from papsms_async.ledger import InboxEntry, LedgerEntry
from papsms_async.lifecycle import State

LIFETIME = timedelta(minutes=30)
"""How long a number can live after its purchase. Source: PapSMS API guide, "Endpoints"."""
SLACK = timedelta(seconds=10)
"""How much earlier than its purchase a webhook may seem, by clocks that disagree."""


def may_belong(entry: LedgerEntry, orphan: InboxEntry) -> bool:
    """Whether a webhook may be about the number that a purchase without an answer bought."""
    if entry.state not in (State.SENDING, State.UNKNOWN):
        return False
    after = orphan.received_at - entry.created_at
    if not -SLACK <= after <= LIFETIME:
        return False
    event = orphan.event
    pairs = (
        (event.service, entry.service),
        (event.country, entry.country),
        (event.phone_number, entry.phone_number),
    )
    return all(
        told is None or known is None or told.casefold() == known.casefold()
        for told, known in pairs
    )


def candidates(entry: LedgerEntry, orphans: Iterable[InboxEntry]) -> tuple[InboxEntry, ...]:
    """Return the webhooks that may be about what ``entry`` bought, the likeliest first.

    Those that name its service or country go first, then those that came soonest after it.
    """
    fitting = [orphan for orphan in orphans if may_belong(entry, orphan)]

    def rank(orphan: InboxEntry) -> tuple[int, timedelta]:
        named = (orphan.event.service is not None) + (orphan.event.country is not None)
        return -named, abs(orphan.received_at - entry.created_at)

    return tuple(sorted(fitting, key=rank))
