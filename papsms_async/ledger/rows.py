"""Between entries and rows: pure conversions, and what may be stored of an SMS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from sqlalchemy import RowMapping

from papsms_async.ledger.base import LedgerEntry, LedgerEvent
from papsms_async.lifecycle import State
from papsms_async.models import Sms

_COLUMNS = tuple(field.name for field in attrs.fields(LedgerEntry) if field.name != "sms")


def entry_row(entry: LedgerEntry, *, store_codes: bool) -> dict[str, Any]:
    """Return the columns of a new entry."""
    row = {name: getattr(entry, name) for name in _COLUMNS}
    row["state"] = entry.state.value
    return row | sms_columns(entry.sms, store_codes=store_codes)


def change_row(changes: Mapping[str, Any], *, store_codes: bool) -> dict[str, Any]:
    """Return the columns that a move sets for its changed fields."""
    row = {name: value for name, value in changes.items() if name != "sms"}
    if "sms" in changes:
        row |= sms_columns(changes["sms"], store_codes=store_codes)
    return row


def sms_columns(sms: Sms | None, *, store_codes: bool) -> dict[str, Any]:
    """Return the columns that an SMS fills."""
    if sms is None:
        return {"sms_came": False, "sms_code": None, "sms_text": None, "sms_at": None}
    return {
        "sms_came": True,
        "sms_code": sms.code if store_codes else None,
        "sms_text": sms.full_text if store_codes else None,
        "sms_at": sms.received_at,
    }


def entry_from_row(row: RowMapping) -> LedgerEntry:
    """Return the entry in a row.

    Raises:
        ValueError: The row holds what this version did not write.
    """
    values = {name: row[name] for name in _COLUMNS}
    values["state"] = State(row["state"])
    values["sms"] = sms_from_row(row)
    return LedgerEntry(**values)


def sms_from_row(row: RowMapping) -> Sms | None:
    """Return the SMS in a row, if one came; one that was withheld has no code and no text."""
    if not row["sms_came"]:
        return None
    return Sms(code=row["sms_code"], full_text=row["sms_text"] or "", received_at=row["sms_at"])


def event_from_row(row: RowMapping) -> LedgerEvent:
    """Return the line of history in a row.

    Raises:
        ValueError: The row holds what this version did not write.
    """
    return LedgerEvent(
        intent_id=row["intent_id"],
        at=row["at"],
        event=row["event"],
        state=State(row["state"]),
        reason=row["reason"],
        actor=row["actor"],
    )
