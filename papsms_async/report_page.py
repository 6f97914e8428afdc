"""The money report as one HTML page that needs nothing else: no script, no request, no font.

Every text in it that came from a ledger is escaped; the page forbids itself everything but its own
style sheet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from papsms_async.ledger import LedgerEntry
from papsms_async.report import Dimension, Figures, Group, MoneyReport, money_report
from papsms_async.report_plots import Series, bars_plot, columns_plot, legend, safe
from papsms_async.report_template import NOTES, PAGE, STYLE

ROWS = 12
"""Bars of a plot at most; the rest is one bar more, and its rows are in the table."""
LONG = 18
"""Characters above which a word in a table is broken into lines."""
_EDGES = (0.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0)
"""Seconds at which the classes of the time to code begin; the last one has no end."""


def report_page(
    entries: Iterable[LedgerEntry],
    *,
    by: Sequence[Dimension] = (Dimension.DAY,),
    since: datetime | None = None,
    until: datetime | None = None,
    bought_at: Mapping[str, datetime] | None = None,
    purged: Decimal = Decimal(0),
    now: datetime,
) -> str:
    """Return the page.

    Args:
        entries: As for `papsms_async.report.money_report`.
        by: What the last table is grouped by.
        since: As for `papsms_async.report.money_report`.
        until: As for `papsms_async.report.money_report`.
        bought_at: As for `papsms_async.report.money_report`.
        purged: US dollars spent for purchases that the ledger has forgotten.
        now: The instant that the page says it was made at.

    Raises:
        ConfigurationError: As for `papsms_async.report.money_report`.
    """
    kept = tuple(entries)

    def grouped(*dimensions: Dimension) -> MoneyReport:
        return money_report(kept, by=dimensions, since=since, until=until, bought_at=bought_at)

    wanted = grouped(*by)
    total = wanted.total
    body = [_head(wanted, purged, now)]
    if not total.purchases:
        span = " in this time" if since or until else ""
        body.append(f"<p>The ledger has no purchases{span}.</p>")
    else:
        body.append(_tiles(total))
        body.append(_days(grouped(Dimension.DAY)))
        body.append(_outcomes("service", grouped(Dimension.SERVICE)))
        body.append(_outcomes("country", grouped(Dimension.COUNTRY)))
        if any(entry.tenant is not None for entry in kept):
            body.append(_outcomes("tenant", grouped(Dimension.TENANT)))
        body.append(_delays(total))
        body.append(_whole_table(wanted))
        body.append(NOTES)
    return PAGE.format(style=STYLE, body="\n".join(body))


# Parts -------------------------------------------------------------------------------------------


def _head(report: MoneyReport, purged: Decimal, now: datetime) -> str:
    words = []
    if report.since is not None:
        words.append(f"from {report.since.astimezone(UTC):%Y-%m-%d}")
    if report.until is not None:
        last = report.until.astimezone(UTC) - timedelta(microseconds=1)
        words.append(f"to {last:%Y-%m-%d}")
    span = " ".join(words) or "all that the ledger holds"
    lines = [
        "<h1>Money report</h1>",
        f'<p class="quiet">{_counted(report.total.purchases)}, {safe(span)};'
        f" made {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC. Money is in US dollars.</p>",
    ]
    if purged:
        lines.append(
            f'<p class="quiet">{_usd(purged)} more was spent for purchases that the ledger has'
            " forgotten.</p>"
        )
    return "\n".join(lines)


def _tiles(total: Figures) -> str:
    tiles = [
        ("Spend, net", _usd(total.spend), f"{_usd(total.refunded)} refunded"),
        ("Completed", str(total.completed), f"of {total.bought} bought"),
        ("Cost per completed", _maybe_usd(total.cost_per_completed), ""),
        (
            "Delivery rate",
            _percent(total.delivery_rate),
            f"SMS for {total.delivered} of {total.ended} ended",
        ),
        (
            "Time to code",
            _seconds(total.median_delay),
            f"median; p90 {_seconds(total.p90_delay)}",
        ),
    ]
    if total.open or total.sending:
        tiles.append(
            (
                "Open",
                str(total.open + total.sending),
                f"{_usd(total.refunds_expected)} of refunds expected",
            )
        )
    if total.unknown:
        tiles.append(
            (
                "Unknown, at most",
                _usd(total.unknown_cost),
                f"{total.unknown} lost answer{'s' * (total.unknown != 1)}",
            )
        )
    return (
        '<dl class="tiles">'
        + "".join(
            f'<div><dt>{safe(name)}</dt><dd>{safe(value)}</dd><dd class="quiet">{safe(note)}</dd>'
            "</div>"
            for name, value, note in tiles
        )
        + "</dl>"
    )


def _days(report: MoneyReport) -> str:
    every = _every_day([str(group.key[0]) for group in report.groups])
    figures = {str(group.key[0]): group.figures for group in report.groups}
    rows = [(day, figures.get(day, Figures())) for day in every]
    series = [
        Series("spend", "c-good", tuple(float(f.spend) for _, f in rows)),
        Series("refunds expected", "c-open", tuple(float(f.refunds_expected) for _, f in rows)),
        Series(
            "unknown, at most",
            "c-bad",
            tuple(float(f.unknown_cost + f.reserved) for _, f in rows),
        ),
    ]
    series = [one for one in series if any(one.values)] or series[:1]
    dearest = max(report.groups, key=lambda group: group.figures.spend)
    plot = columns_plot(
        "days",
        "Spend by day",
        [day[5:] for day, _ in rows],
        series,
        show=lambda value: f"${value:,.0f}" if value == int(value) else f"${value:,.2f}",
        describe=f"Columns for {len(rows)} days; most was spent on {dearest.key[0]}:"
        f" {_usd(dearest.figures.spend)}. The table has every figure.",
    )
    table = _table(
        "Spend by day",
        ("day", "bought", "spend", "refunds expected", "unknown"),
        [
            (
                str(group.key[0]),
                str(group.figures.bought),
                _usd(group.figures.spend),
                _usd(group.figures.refunds_expected),
                _usd(group.figures.unknown_cost + group.figures.reserved),
            )
            for group in report.groups
        ],
    )
    return _section("Spend by day", legend(series) + plot, table)


def _outcomes(word: str, report: MoneyReport) -> str:
    groups = sorted(report.groups, key=lambda group: -group.figures.purchases)
    shown = [(group.key[0] or "(none)", group.figures) for group in groups[:ROWS]]
    if rest := groups[ROWS:]:
        shown.append((f"{len(rest)} others", _sum(group.figures for group in rest)))

    def series_of(name: str, kind: str, counts: Iterable[int]) -> Series:
        return Series(name, kind, tuple(float(count) for count in counts))

    series = [
        series_of("completed", "c-good", (f.completed for _, f in shown)),
        series_of("cancelled or expired", "c-back", (f.cancelled + f.expired for _, f in shown)),
        series_of("open", "c-open", (f.open + f.sending for _, f in shown)),
        series_of("unknown", "c-bad", (f.unknown for _, f in shown)),
        series_of("refused", "c-none", (f.refused for _, f in shown)),
    ]
    series = [one for one in series if any(one.values)]
    title = f"What became of the purchases, by {word}"
    first = shown[0]
    plot = bars_plot(
        f"by-{word}",
        title,
        [name for name, _ in shown],
        series,
        notes=[
            f"{f.purchases}"
            + ("" if f.delivery_rate is None else f"; SMS for {_percent(f.delivery_rate)}")
            for _, f in shown
        ],
        describe=f"Bars for {len(groups)}; the longest is {first[0]} with"
        f" {first[1].purchases} purchases, {first[1].completed} of them completed. The table has"
        " every figure.",
    )
    table = _table(
        title,
        (word, "bought", "done", "SMS for", "median", "spend", "per code"),
        [
            (
                group.key[0] or "(none)",
                str(group.figures.bought),
                str(group.figures.completed),
                _percent(group.figures.delivery_rate),
                _seconds(group.figures.median_delay),
                _usd(group.figures.spend),
                _maybe_usd(group.figures.cost_per_completed),
            )
            for group in groups
        ],
    )
    return _section(title, legend(series) + plot, table)


def _delays(total: Figures) -> str:
    title = "Time from the purchase to the SMS"
    if not total.delays:
        return f"<section><h2>{title}</h2><p>No SMS with a known time came.</p></section>"
    names = [f"{low:g}\u2013{high:g}" for low, high in pairwise(_EDGES)] + [f"{_EDGES[-1]:g}+"]
    counts = [0] * len(names)
    for delay in total.delays:
        counts[sum(delay >= edge for edge in _EDGES) - 1] += 1
    # Classes behind the last SMS would only be empty room.
    last = max(n for n, count in enumerate(counts) if count) + 1
    series = [Series("SMS", "c-good", tuple(float(count) for count in counts[:last]))]
    plot = columns_plot(
        "delays",
        title,
        names[:last],
        series,
        show=lambda value: f"{value:,.1f}".removesuffix(".0"),
        describe=f"Columns for {len(total.delays)} SMS in classes of seconds, which are not"
        f" equally wide: half came within {_seconds(total.median_delay)}, nine of ten within"
        f" {_seconds(total.p90_delay)}.",
    )
    shares, so_far = [], 0
    for name, count in zip(names[:last], counts[:last], strict=True):
        so_far += count
        shares.append((f"{name} s", str(count), _percent(so_far / len(total.delays))))
    table = _table(title, ("seconds", "SMS", "so far"), shares)
    note = f'<p class="quiet">SMS in classes of seconds. Median {_seconds(total.median_delay)},'
    note += f" nine of ten within {_seconds(total.p90_delay)}.</p>"
    return _section(title, note + plot, table)


def _whole_table(report: MoneyReport) -> str:
    words = tuple(one.value for one in report.by)
    header = (*words, "bought", "completed", "cancelled", "expired", "open", "unknown", "spend",
              "refunds expected", "refunded", "unknown cost", "per code", "SMS for",
              "median", "p90")  # fmt: skip
    rows = [_whole_row(group) for group in report.groups]
    if words:
        last = ("total", *("" for _ in words[1:]))
        rows.append(_whole_row(Group(key=last, figures=report.total)))
    title = "All figures" + (f" by {', '.join(words)}" if words else "")
    table = _table(title, header, rows, words=len(words))
    return f"<section><h2>{safe(title)}</h2>{table}</section>"


def _whole_row(group: Group) -> tuple[str, ...]:
    f = group.figures
    return (
        *("(none)" if word is None else word for word in group.key),
        str(f.bought),
        str(f.completed),
        str(f.cancelled),
        str(f.expired),
        str(f.open),
        str(f.unknown),
        _usd(f.spend),
        _usd(f.refunds_expected),
        _usd(f.refunded),
        _usd(f.unknown_cost),
        _maybe_usd(f.cost_per_completed),
        _percent(f.delivery_rate),
        _seconds(f.median_delay),
        _seconds(f.p90_delay),
    )


# Small pieces ------------------------------------------------------------------------------------


def _section(title: str, plot: str, table: str) -> str:
    return (
        f'<section><h2>{safe(title)}</h2><div class="pair"><div>{plot}</div>{table}</div></section>'
    )


def _table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1
) -> str:
    head = "".join(f'<th scope="col">{safe(name)}</th>' for name in header)
    lines = []
    for row in rows:
        cells = [
            f'<th scope="row" class="{_length(cell)}">{safe(cell)}</th>' for cell in row[:words]
        ]
        cells += [f"<td>{safe(cell)}</td>" for cell in row[words:]]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{safe(title)}: table"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _length(cell: str) -> str:
    return "long" if len(cell) > LONG else "short"


def _every_day(days: Sequence[str]) -> list[str]:
    """Return all days from the first to the last; those without purchases are told, too."""
    first, last = (datetime.fromisoformat(day) for day in (days[0], days[-1]))
    if (last - first).days > 400:
        return list(days)
    return [(first + timedelta(days=n)).date().isoformat() for n in range((last - first).days + 1)]


def _sum(figures: Iterable[Figures]) -> Figures:
    """Return the counts that a plot needs of several groups together."""
    parts = tuple(figures)
    names = ("purchases", "bought", "completed", "cancelled", "expired", "open", "refused",
             "unknown", "sending", "delivered", "ended")  # fmt: skip
    counts: dict[str, Any] = {name: sum(getattr(part, name) for part in parts) for name in names}
    return Figures(**counts)


def _counted(purchases: int) -> str:
    return f"{purchases} purchase{'s' * (purchases != 1)}"


def _usd(value: Decimal) -> str:
    return f"${value:,.2f}"


def _maybe_usd(value: Decimal | None) -> str:
    return "\u2013" if value is None else _usd(value)


def _percent(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:.0%}"


def _seconds(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:.1f} s"
