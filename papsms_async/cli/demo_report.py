"""The table at the end of ``papsms demo``: what happened, and what it took."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from papsms_async.cli.progress import wants_color
from papsms_async.verification import Outcome, VerificationResult

if TYPE_CHECKING:
    from papsms_async.cli.demo import DemoReport

WIDTH = 80
"""Columns of the table where there is no terminal."""

_STYLES = {Outcome.COMPLETED: "green", Outcome.TIMED_OUT: "yellow", Outcome.NO_NUMBERS: "yellow"}


def print_report(report: DemoReport, *, no_color: bool) -> None:
    """Print it to standard output."""
    color = wants_color(sys.stdout, no_color=no_color)
    console = Console(
        file=sys.stdout,
        width=None if color else WIDTH,
        no_color=not color,
        force_terminal=color,
        highlight=False,
        emoji=False,
        markup=False,
    )
    console.print(_table(report))
    for name, words in _totals(report):
        console.print(Text(f"{name:<14}", style="bold").append(words, style="not bold"))


def _table(report: DemoReport) -> Table:
    from rich import box

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    table.add_column("number", no_wrap=True)
    table.add_column("service", no_wrap=True)
    table.add_column("country", no_wrap=True)
    table.add_column("SMS at", justify="right", no_wrap=True)
    table.add_column("seen", justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("cost", justify="right", no_wrap=True)
    for result in sorted(report.results, key=lambda r: getattr(r.request, "line", 0)):
        table.add_row(*_row(report, result))
    return table


def _row(report: DemoReport, result: VerificationResult) -> list[str | Text]:
    activation = result.activation
    after, seen = _delays(report, result)
    words = result.outcome.value.replace("_", " ")
    if result.sms is not None and result.sms.code is None:
        words += ", no code"
    country = result.request.country
    if activation is not None and activation.country != country:
        country += f" > {activation.country}"
    return [
        "-" if activation is None else _mask(activation.phone_number),
        result.request.service,
        country,
        "-" if after is None else f"{after:.1f} s",
        "-" if seen is None else f"+{seen:.1f} s",
        Text(words, style=_STYLES.get(result.outcome, "red")),
        "-" if activation is None else f"${result.cost:.2f}",
    ]


def _mask(number: str) -> str:
    """Return a number with its middle blanked out, always as short."""
    return f"{number[:3]}*****{number[-2:]}"


def _delays(report: DemoReport, result: VerificationResult) -> tuple[float | None, float | None]:
    """Return the seconds from purchase to SMS, and from there until this client knew of it."""
    if result.activation is None or result.sms_at is None:
        return None, None
    truth = report.engine.activations[result.activation.activation_id]
    if truth.sms_at is None:
        return None, None
    arrived = datetime.fromtimestamp(truth.sms_at, UTC)
    return truth.sms_at - truth.bought_at, max(0.0, (result.sms_at - arrived).total_seconds())


def _totals(report: DemoReport) -> list[tuple[str, str]]:
    engine, numbers, results = report.engine, report.numbers, report.results
    routes = Counter(logged.route for logged in engine.request_log if logged.counted)
    refused = sum(logged.status == 429 for logged in engine.request_log)
    completed = sum(result.ok for result in results)
    seen = [d for r in results if (d := _delays(report, r)[1]) is not None]
    minutes = report.seconds / 60
    limit = numbers.quota.limit
    open_numbers = len(engine.open_activations())
    kinds = ", ".join(f"{routes[kind]} {kind}" for kind in ("purchase", "status", "finish"))
    spent = sum(
        (entry.amount for entry in engine.charge_log if entry.kind == "purchase"), Decimal()
    )
    back = sum((e.amount for e in engine.charge_log if e.kind == "refund"), Decimal())
    return [
        (
            "completed",
            f"{completed} of {len(results)} in {report.seconds:.1f} s"
            f" ({completed / minutes:.0f} a minute)",
        ),
        ("requests", f"{sum(routes.values())}: {kinds}"),
        (
            "limit",
            f"busiest {limit.per:g} s: {engine.busiest_window(limit.per)} of {limit.requests}"
            f" allowed; answers 429: {refused}",
        ),
        (
            "SMS seen",
            f"{sum(seen) / max(1, len(seen)):.1f} s after they arrived on average,"
            f" {max(seen, default=0):.1f} s at most",
        ),
        ("money", f"${spent:.2f} charged, ${back:.2f} refunded, ${spent - back:.2f} spent"),
        (
            "numbers open",
            f"{open_numbers}: each one bought was finished exactly once"
            if not open_numbers
            else f"{open_numbers}",
        ),
    ]
