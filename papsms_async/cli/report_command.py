"""``papsms report``: what was bought, what became of it, what it cost, how quickly codes came."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from papsms_async.cli.exit_codes import ExitCode
from papsms_async.cli.failures import CommandError, as_clause
from papsms_async.cli.ledger_access import (
    database_option,
    existing_ledger,
    make_console,
    print_table,
)
from papsms_async.cli.options import Common, common_options
from papsms_async.cli.output import open_output
from papsms_async.cli.results import amount, dump
from papsms_async.cli.settings import reason
from papsms_async.errors import ConfigurationError

if TYPE_CHECKING:
    from papsms_async.report import Dimension, Figures, MoneyReport

FOLD = 12
"""Columns of a table that words may take before figures are left out for them."""

_FIGURES = (
    "bought",
    "compl.",
    "back",
    "open",
    "lost",
    "spend",
    "$/code",
    "SMS",
    "median",
    "p90",
)
_DISPENSABLE = ("p90", "open", "back", "lost", "median")
"""What is left out of a table that would be too wide, first things first."""
_KINDS = {"day": "whole", "country": "whole", "service": "left", "tenant": "left"}


@click.command("report")
@database_option
@click.option(
    "--by",
    default="day",
    show_default=True,
    metavar="WHAT",
    help="One or more of day, service, country, tenant, with commas; or none.",
)
@click.option("--since", metavar="DATE", help="Purchases of that day (UTC) and later.")
@click.option("--until", metavar="DATE", help="Purchases of that day (UTC) and earlier.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="One HTML page with plots that needs nothing else; - for standard output.",
)
@click.option("--force", is_flag=True, help="Overwrite FILE if it exists.")
@common_options
def report_command(
    *,
    common: Common,
    database_: str | None,
    by: str,
    since: str | None,
    until: str | None,
    as_json: bool,
    html: Path | None,
    force: bool,
) -> ExitCode:
    """Tell what was bought, what became of it, and what it cost.

    The columns: bought numbers; of those completed, back (cancelled or expired, refunded) and open;
    lost, purchases whose answer was lost; spend, net of refunds that are made or expected; $/code,
    spend by completed verification; SMS, share of ended numbers for which one came; median and p90
    of the seconds from purchase to SMS. Where there is no room, some are in --json only.
    """
    if as_json and html is not None:
        raise CommandError("say either --json or --html")
    dimensions = _dimensions(by)
    first, last = _instant("--since", since), _instant("--until", until, end=True)
    if first is not None and last is not None and first >= last:
        raise CommandError("--since is after --until")
    return asyncio.run(
        _report(
            common,
            database_,
            by=dimensions,
            since=first,
            until=last,
            as_json=as_json,
            html=html,
            force=force,
        )
    )


async def _report(
    common: Common,
    database_: str | None,
    *,
    by: tuple[Dimension, ...],
    since: datetime | None,
    until: datetime | None,
    as_json: bool,
    html: Path | None,
    force: bool,
) -> ExitCode:
    from papsms_async.report import money_report, purchase_instants, report_record
    from papsms_async.report_page import report_page

    async with existing_ledger(database_) as ledger:
        every = await ledger.entries()
        committed = await ledger.committed()
        entries = [
            entry
            for entry in every
            if (since is None or entry.created_at >= since)
            and (until is None or entry.created_at < until)
        ]
        instants = await purchase_instants(ledger, entries)
    purged = committed - sum((entry.committed for entry in every), Decimal(0))
    try:
        report = money_report(entries, by=by, since=since, until=until, bought_at=instants)
    except ConfigurationError as error:
        raise CommandError(as_clause(error.message)) from error
    if as_json:
        click.echo(dump(report_record(report) | {"purged_spend": amount(purged)}))
    elif html is not None:
        page = report_page(
            entries,
            by=by,
            since=since,
            until=until,
            bought_at=instants,
            purged=purged,
            now=datetime.now(UTC),
        )
        _write(html, page, force=force)
        if str(html) != "-":
            click.echo(f"wrote {html}")
    else:
        _print(report, purged, no_color=common.no_color)
    return ExitCode.OK


def _dimensions(text: str) -> tuple[Dimension, ...]:
    from papsms_async.report import Dimension

    words = [word.strip() for word in text.lower().split(",") if word.strip()]
    if words == ["none"]:
        return ()
    known = ", ".join(Dimension)
    try:
        dimensions = tuple(Dimension(word) for word in words)
    except ValueError as error:
        raise CommandError(f"--by takes {known}, with commas between them; or none") from error
    if not dimensions:
        raise CommandError(f"--by takes {known}, with commas between them; or none")
    return dimensions


def _instant(name: str, text: str | None, *, end: bool = False) -> datetime | None:
    if text is None:
        return None
    try:
        day = date.fromisoformat(text.strip())
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return start + timedelta(days=1) if end else start
    except (ValueError, OverflowError) as error:
        raise CommandError(f"{name} takes a date such as 2026-04-19") from error


def _write(path: Path, text: str, *, force: bool) -> None:
    descriptor, _ = open_output(path, force=force)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as stream:
            stream.write(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandError(f"can't write {path}: {reason(error)}", ExitCode.NOT_WRITABLE) from error


def _print(report: MoneyReport, purged: Decimal, *, no_color: bool) -> None:
    total = report.total
    if not total.purchases:
        click.echo("no purchases" + (" in this time" if report.since or report.until else ""))
    else:
        names = [one.value for one in report.by]
        rows = [
            [("-" if word is None else word) for word in group.key] + _cells(group.figures)
            for group in report.groups
        ]
        if names and len(rows) > 1:
            rows.append(["total"] + [""] * (len(names) - 1) + _cells(total))
        kept = _fitting([*names, *_FIGURES], rows, keys=len(names), no_color=no_color)
        print_table(
            [
                ([*names, *_FIGURES][n], "right" if n >= len(names) else _KINDS[names[n]])
                for n in kept
            ],
            [[row[n] for n in kept] for row in rows],
            no_color=no_color,
        )
        for line in _money_lines(total):
            click.echo(line)
    if purged:
        click.echo(f"purged     ${amount(purged)} was spent for purchases that are forgotten")


def _fitting(header: list[str], rows: list[list[str]], *, keys: int, no_color: bool) -> list[int]:
    """Return the columns that there is room for; what is left out is in the JSON."""
    room = make_console(no_color=no_color).width
    widths = [max(len(row[n]) for row in [header, *rows]) for n in range(len(header))]
    for n in range(keys):
        widths[n] = min(widths[n], FOLD)
    kept = list(range(len(header)))
    for name in _DISPENSABLE:
        if sum(widths[n] + 1 for n in kept) - 1 <= room:
            break
        kept.remove(header.index(name, keys))
    return kept


def _cells(figures: Figures) -> list[str]:
    per_code, rate = figures.cost_per_completed, figures.delivery_rate
    return [
        str(figures.bought),
        str(figures.completed),
        str(figures.cancelled + figures.expired),
        str(figures.open),
        str(figures.unknown),
        f"${figures.spend:.2f}",
        "-" if per_code is None else f"${per_code:.2f}",
        "-" if rate is None else f"{rate:.0%}",
        _seconds(figures.median_delay),
        _seconds(figures.p90_delay),
    ]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"


def _money_lines(total: Figures) -> list[str]:
    lines = [f"spend      ${amount(total.spend)} net, ${amount(total.refunded)} refunded"]
    if total.refunds_expected:
        lines.append(
            f"expected   ${amount(total.refunds_expected)} of refunds that are not confirmed yet"
        )
    if total.unknown:
        lines.append(
            f"unknown    at most ${amount(total.unknown_cost)} for {total.unknown} lost"
            f" answer{'s' * (total.unknown != 1)}: papsms ledger list --state unknown"
        )
    if total.sending:
        lines.append(f"reserved   at most ${amount(total.reserved)} for {total.sending} under way")
    if total.refused:
        lines.append(f"refused    {total.refused}, which cost nothing")
    return lines
