"""How commands get at a ledger that is there already, and how they write down what is in it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import click

from papsms_async.cli.exit_codes import ExitCode
from papsms_async.cli.failures import CommandError
from papsms_async.cli.progress import say, wants_color
from papsms_async.cli.results import amount, dump, instant
from papsms_async.cli.settings import database, own_database
from papsms_async.models import mask_number

if TYPE_CHECKING:
    from rich.console import Console

    from papsms_async.ledger import InboxEntry, Ledger, LedgerEntry, LedgerEvent

WIDTH = 80
"""Columns of a table where there is no terminal."""
SHORT = 8
"""Characters of an intent id in a table; any beginning that fits one purchase only names it."""

database_option = click.option(
    "--database",
    "database_",
    metavar="URL",
    help="The ledger [that of papsms run; env: PAPSMS_DATABASE].",
)


@asynccontextmanager
async def existing_ledger(option: str | None) -> AsyncIterator[Ledger]:
    """Open the ledger that a command is about; nothing is made where there is none.

    The command line's own ledger is made by the first purchase, and until then it is empty.

    Raises:
        CommandError: It was said that there is none, or the one that was named does not exist.
        LedgerError: It can't be opened.
        ConfigurationError: What names it can't be read.
    """
    from papsms_async.ledger import MemoryLedger, open_ledger

    url = database(option)
    if url is None:
        raise CommandError("this command is about a ledger; name one with --database")
    if url == str(own_database()) and not own_database().exists():
        say(f"papsms: there is no ledger at {url} yet: papsms run and verify make it")
        yield MemoryLedger()
        return
    # A mistyped name must neither pass for an empty ledger nor become one.
    ledger = open_ledger(url, create=False)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.aclose()


async def find_entry(ledger: Ledger, word: str) -> LedgerEntry:
    """Return the purchase of an intent id, the beginning of one, or an activation id.

    Raises:
        CommandError: There is none, or there are several.
    """
    found = await ledger.get(word)
    if found is not None:
        return found
    entries = await ledger.entries()
    fitting = [entry for entry in entries if entry.activation_id == word]
    if not fitting and len(word) >= 4:
        fitting = [entry for entry in entries if entry.intent_id.startswith(word)]
    if not fitting:
        raise CommandError(f"the ledger has no purchase {plain(word)}", ExitCode.NOT_ALL_COMPLETED)
    if len(fitting) > 1:
        raise CommandError(
            f"the ledger has {len(fitting)} purchases {plain(word)}; name one by its intent id",
            ExitCode.NOT_ALL_COMPLETED,
            details=tuple(f"  {entry.intent_id}  {entry.state.value}" for entry in fitting[:20]),
        )
    return fitting[0]


def entry_record(
    entry: LedgerEntry, *, secrets: bool, candidates: Iterable[InboxEntry] | None = None
) -> dict[str, Any]:
    """Return a purchase as it is written in JSON.

    Args:
        entry: The purchase.
        secrets: Whether the whole number, the code and the text are in it.
        candidates: Webhooks that may tell what it bought, for one that is unknown.
    """
    number, sms = entry.phone_number, entry.sms
    record: dict[str, Any] = {
        "intent_id": entry.intent_id,
        "activation_id": entry.activation_id,
        "state": entry.state.value,
        "service": entry.service,
        "country": entry.country,
        "reference": entry.reference,
        "tenant": entry.tenant,
        "phone_number": number if secrets or number is None else mask_number(number),
        "cost": None if entry.cost is None else amount(entry.cost),
        "worst_price": amount(entry.worst_price),
        "committed": amount(entry.committed),
        "sms": sms is not None,
        "sms_at": None if sms is None else instant(sms.received_at),
    }
    if secrets:
        record["code"] = None if sms is None else sms.code
        record["full_text"] = None if sms is None else sms.full_text
    if candidates is not None:
        record["candidates"] = [
            {
                "activation_id": one.event.activation_id,
                "received_at": instant(one.received_at),
                "service": one.event.service,
                "country": one.event.country,
            }
            for one in candidates
        ]
    return record | {
        "reason": entry.reason,
        "created_at": instant(entry.created_at),
        "updated_at": instant(entry.updated_at),
        "expires_at": instant(entry.expires_at),
        "owner": entry.owner,
        "lease_until": instant(entry.lease_until),
    }


def event_fields(event: LedgerEvent) -> dict[str, Any]:
    """Return a line of a purchase's history as it is written in JSON."""
    return {
        "at": instant(event.at),
        "event": event.event,
        "state": event.state.value,
        "reason": event.reason,
        "actor": event.actor,
    }


def echo_array(records: Iterable[dict[str, Any]]) -> None:
    """Write one JSON array, an object a line."""
    lines = [dump(record) for record in records]
    click.echo("[\n" + ",\n".join(lines) + "\n]" if lines else "[]")


def plain(text: str | None) -> str:
    """Return text of any origin so that a terminal shows it and does nothing else."""
    if text is None:
        return ""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def make_console(*, no_color: bool) -> Console:
    """Return what prints tables to standard output, plain ones where it is no terminal."""
    from rich.console import Console

    color = wants_color(sys.stdout, no_color=no_color)
    return Console(
        file=sys.stdout,
        width=None if color else WIDTH,
        no_color=not color,
        force_terminal=color,
        highlight=False,
        emoji=False,
        markup=False,
    )


def print_table(
    columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]], *, no_color: bool
) -> None:
    """Print a table of 80 columns, or as wide as the terminal is.

    Args:
        columns: Names, each with ``left`` for words, which fold where there is no room; ``whole``
            for words that must not; ``right`` for numbers.
        rows: The cells.
        no_color: Whether colours are unwanted.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False, pad_edge=False)
    for name, kind in columns:
        table.add_column(
            Text(name),
            justify="right" if kind == "right" else "left",
            no_wrap=kind != "left",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    make_console(no_color=no_color).print(table)
