"""Which webhooks may tell what a purchase with a lost answer bought."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from papsms_async.ledger import InboxEntry, LedgerEntry
from papsms_async.lifecycle import State
from papsms_async.models import WebhookEvent
from papsms_async.orphans import candidates, may_belong

NOW = datetime(2026, 4, 19, 14, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def entry(state: State = State.UNKNOWN, **fields: Any) -> LedgerEntry:
    """Return a purchase of whatsapp in us."""
    values = {"intent_id": "1", "service": "whatsapp", "country": "us", **fields}
    return LedgerEntry(state=state, created_at=NOW, updated_at=NOW, **values)


def orphan(after: timedelta = MINUTE, activation_id: str = "a", **event: Any) -> InboxEntry:
    """Return a webhook that came some time after the purchase."""
    told = WebhookEvent(activation_id=activation_id, **event)
    return InboxEntry(seq=1, event=told, received_at=NOW + after)


@pytest.mark.parametrize(
    ("event", "fits"),
    [
        ({}, True),
        ({"service": "WhatsApp", "country": "us"}, True),
        ({"service": "telegram"}, False),
        ({"country": "gb"}, False),
        ({"phone_number": "+1"}, True),
    ],
)
def test_what_it_names_must_fit(event: dict[str, Any], fits: bool) -> None:
    """What it does not name fits anything."""
    assert may_belong(entry(), orphan(**event)) is fits
    assert not may_belong(entry(phone_number="+2"), orphan(phone_number="+1"))


@pytest.mark.parametrize(
    ("after", "fits"),
    [(-MINUTE, False), (timedelta(seconds=-5), True), (29 * MINUTE, True), (31 * MINUTE, False)],
)
def test_it_must_have_come_in_the_life_of_the_number(after: timedelta, fits: bool) -> None:
    """Not before the purchase, clocks aside, and not long after it."""
    assert may_belong(entry(), orphan(after)) is fits


@pytest.mark.parametrize("state", [state for state in State if state is not State.UNKNOWN])
def test_only_purchases_without_an_answer_are_meant(state: State) -> None:
    """The others know what they bought, or that they did not."""
    assert may_belong(entry(state), orphan()) is (state is State.SENDING)


def test_likeliest_first() -> None:
    """Those that name the service, then those that came soonest."""
    late, soon = orphan(9 * MINUTE, "late"), orphan(2 * MINUTE, "soon")
    named = orphan(20 * MINUTE, "named", service="whatsapp", country="us")
    other = orphan(MINUTE, "other", service="telegram")
    found = candidates(entry(), [late, soon, named, other])
    assert [one.event.activation_id for one in found] == ["named", "soon", "late"]
