"""``papsms ledger``: what the ledger holds, what to forget of it, what a person has to settle."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import click

from papsms_async.cli.exit_codes import ExitCode
from papsms_async.cli.failures import CommandError, as_clause
from papsms_async.cli.ledger_access import (
    SHORT,
    database_option,
    echo_array,
    entry_record,
    event_fields,
    existing_ledger,
    find_entry,
    plain,
    print_table,
)
from papsms_async.cli.options import Common, common_options
from papsms_async.cli.recover_view import candidate_lines
from papsms_async.cli.results import amount, dump
from papsms_async.errors import ConfigurationError
from papsms_async.lifecycle import OPEN, TERMINAL, State
from papsms_async.orphans import candidates

if TYPE_CHECKING:
    from papsms_async.ledger import InboxEntry, LedgerEntry, LedgerEvent

_SECRETS = click.option(
    "--show-secrets", is_flag=True, help="Whole phone numbers, and codes and texts of SMS."
)


@click.group("ledger")
def ledger_command() -> None:
    """Look at the ledger of purchases, and tidy it.

    The ledger is where papsms run and verify write down each purchase before it is made. PURCHASE
    is an intent id, the beginning of one, or an activation id.
    """


@ledger_command.command("list")
@database_option
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in State]),
    metavar="STATE",
    help="Only purchases in this state; may be given several times.",
)
@click.option("--open", "only_open", is_flag=True, help="Only those that are not at their end.")
@click.option("--reference", metavar="R", help="Only those that were made with this reference.")
@_SECRETS
@common_options
def list_command(
    *,
    common: Common,
    database_: str | None,
    as_json: bool,
    states: tuple[str, ...],
    only_open: bool,
    reference: str | None,
    show_secrets: bool,
) -> ExitCode:
    """List purchases, oldest first.

    The states: sending (its answer is not there), waiting, received, completing and cancelling (a
    finish is owed), which are open; completed, cancelled, expired and refused, which are the ends;
    and unknown (the answer was lost, maybe charged), which papsms ledger resolve settles.
    """
    wanted: Collection[State] | None = None
    if states or only_open:
        wanted = {State(word) for word in states} | (OPEN if only_open else frozenset())

    async def read() -> tuple[list[LedgerEntry], tuple[InboxEntry, ...]]:
        async with existing_ledger(database_) as ledger:
            entries = await ledger.entries(wanted)
            orphans = await ledger.inbox.orphans()
        return [entry for entry in entries if reference in (None, entry.reference)], orphans

    entries, orphans = asyncio.run(read())
    if as_json:
        echo_array(
            entry_record(entry, secrets=show_secrets, candidates=_candidates(entry, orphans))
            for entry in entries
        )
    elif entries:
        _print_entries(entries, secrets=show_secrets, no_color=common.no_color)
    else:
        click.echo("no purchases")
    if orphans and not as_json:
        click.echo(
            f"{len(orphans)} webhook{'s' * (len(orphans) != 1)} about numbers that were not bought"
            " here: papsms webhook list --orphans"
        )
    return ExitCode.OK


def _candidates(
    entry: LedgerEntry, orphans: tuple[InboxEntry, ...]
) -> tuple[InboxEntry, ...] | None:
    return candidates(entry, orphans) if entry.state is State.UNKNOWN else None


def _print_entries(entries: list[LedgerEntry], *, secrets: bool, no_color: bool) -> None:
    # What there is room for: numbers and codes take the place of what the JSON has, too.
    referenced = not secrets and any(entry.reference for entry in entries)
    columns = [
        ("intent", "whole"),
        *([] if secrets else [("written (UTC)", "whole")]),
        ("activation", "left"),
        ("state", "whole"),
        ("service", "left"),
        ("in", "whole"),
        ("cost", "right"),
        *([("reference", "left")] if referenced else []),
        *([("number", "left"), ("code", "left")] if secrets else []),
    ]
    rows = [
        [
            entry.intent_id[:SHORT],
            *([] if secrets else [f"{entry.created_at:%Y-%m-%d %H:%M}"]),
            entry.activation_id or "-",
            entry.state.value,
            entry.service,
            entry.country,
            _price(entry),
            *([entry.reference or "-"] if referenced else []),
            *([entry.phone_number or "-", _code(entry)] if secrets else []),
        ]
        for entry in entries
    ]
    print_table(columns, rows, no_color=no_color)
    held = sum((entry.committed for entry in entries), Decimal(0))
    click.echo(
        f"{len(entries)} purchase{'s' * (len(entries) != 1)}, ${amount(held)} spent or reserved"
    )


def _code(entry: LedgerEntry) -> str:
    return "-" if entry.sms is None or entry.sms.code is None else entry.sms.code


def _price(entry: LedgerEntry) -> str:
    if entry.cost is not None:
        return f"${amount(entry.cost)}"
    return f"<=${amount(entry.worst_price)}" if entry.committed else "-"


@ledger_command.command("show")
@click.argument("purchase")
@database_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@_SECRETS
@common_options
def show_command(
    *, common: Common, purchase: str, database_: str | None, as_json: bool, show_secrets: bool
) -> ExitCode:
    """Show one purchase, and what happened to it when and why."""

    async def read() -> tuple[LedgerEntry, tuple[LedgerEvent, ...], tuple[InboxEntry, ...]]:
        async with existing_ledger(database_) as ledger:
            entry = await find_entry(ledger, purchase)
            history = await ledger.history(entry.intent_id)
            return entry, history, await ledger.inbox.orphans()

    entry, history, orphans = asyncio.run(read())
    fitting = _candidates(entry, orphans)
    if as_json:
        record = entry_record(entry, secrets=show_secrets, candidates=fitting)
        click.echo(dump(record | {"history": [event_fields(event) for event in history]}))
        return ExitCode.OK
    record = entry_record(entry, secrets=show_secrets)
    for name, value in record.items():
        if value is not None:
            click.echo(f"{name:<14} {_shown(value)}")
    for line in candidate_lines(fitting or ()):
        click.echo(line)
    click.echo("")
    print_table(
        [("at (UTC)", "whole"), ("event", "whole"), ("then", "whole"), ("why, who", "left")],
        [
            (
                f"{event.at:%Y-%m-%d %H:%M:%S}",
                event.event,
                event.state.value,
                ", ".join(filter(None, (event.reason, event.actor))),
            )
            for event in history
        ],
        no_color=common.no_color,
    )
    return ExitCode.OK


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return plain(str(value))


_AGE = re.compile(r"(\d{1,9})([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def parse_age(text: str, now: datetime) -> datetime:
    """Return the instant that is as long ago as ``30d``, ``12h`` or ``2w`` says.

    Raises:
        CommandError: It is of another form, or before all time.
    """
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise CommandError("--older-than takes hours, days or weeks, such as 12h, 30d or 2w")
    try:
        return now - int(match[1]) * _UNITS[match[2]]
    except OverflowError as error:
        raise CommandError("--older-than is longer ago than there are dates") from error


@ledger_command.command("purge")
@click.option(
    "--older-than", required=True, metavar="AGE", help="Such as 30d, 12h or 2w; no default."
)
@click.option("--dry-run", is_flag=True, help="Only tell how many there are.")
@database_option
@common_options
def purge_command(
    *, common: Common, older_than: str, dry_run: bool, database_: str | None
) -> ExitCode:
    """Forget ended purchases that last changed before AGE, with numbers, codes and history.

    Webhooks that came before AGE are forgotten, too.

    Purchases that are open or unknown are kept, and what the forgotten ones cost stays counted.
    """
    before = parse_age(older_than, datetime.now(UTC))

    async def purge() -> int:
        async with existing_ledger(database_) as ledger:
            if not dry_run:
                return await ledger.purge(before)
            return sum(entry.updated_at < before for entry in await ledger.entries(TERMINAL))

    count = asyncio.run(purge())
    verb = "would forget" if dry_run else "forgot"
    click.echo(
        f"{verb} {count} purchase{'s' * (count != 1)} that ended before {before:%Y-%m-%d %H:%M} UTC"
    )
    return ExitCode.OK


@ledger_command.command("resolve")
@click.argument("purchase")
@click.option("--bought", metavar="ID", help="It was bought: the activation id in the account.")
@click.option("--cost", metavar="USD", help="What the account shows for it, with --bought.")
@click.option("--not-bought", is_flag=True, help="It was not bought.")
@database_option
@common_options
def resolve_command(
    *,
    common: Common,
    purchase: str,
    bought: str | None,
    cost: str | None,
    not_bought: bool,
    database_: str | None,
) -> ExitCode:
    """Settle a purchase whose answer was lost, after a look at the account.

    Such a purchase is unknown: maybe charged, never sent again, counted at the worst price. If it
    was bought the number is given back by the next papsms recover, or by a service's recovery.
    """
    if (bought is None) != not_bought:
        raise CommandError("say either --bought ID or --not-bought")
    if cost is not None and bought is None:
        raise CommandError("--cost only has a meaning together with --bought")
    price = None if cost is None else _dollars(cost)
    entry = asyncio.run(_resolve(purchase, database_, bought, price))
    short = entry.intent_id[:SHORT]
    if bought is None:
        click.echo(f"{short} was not bought: it costs nothing")
    else:
        click.echo(
            f"{short} was bought as {plain(entry.activation_id)}: its finish is owed now;"
            " papsms recover, or a running service's recovery, gives the number back"
        )
    return ExitCode.OK


async def _resolve(
    word: str, database_: str | None, bought: str | None, cost: Decimal | None
) -> LedgerEntry:
    from papsms_async.ledger import LedgerConflictError
    from papsms_async.settling import settle_bought, settle_not_bought

    async with existing_ledger(database_) as ledger:
        entry = await find_entry(ledger, word)
        try:
            if bought is None:
                return await settle_not_bought(ledger, entry.intent_id)
            return await settle_bought(ledger, entry.intent_id, bought, cost=cost)
        except (LedgerConflictError, ConfigurationError) as error:
            raise CommandError(as_clause(error.message), ExitCode.NOT_ALL_COMPLETED) from error


def _dollars(text: str) -> Decimal:
    try:
        value = Decimal(text.strip().removeprefix("$"))
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or not 0 <= value <= 1000:
        raise CommandError("--cost takes US dollars, such as 0.80")
    return value
