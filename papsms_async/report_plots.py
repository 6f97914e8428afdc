"""Plots as inline SVG: stacked columns over a scale, and stacked bars one below the other.

They have a width in per cent and text in pixels, so they fill any width and stay legible on a
telephone, without a script. Colours are classes that the page's style sheet defines for light and
dark. Each plot has a title and a description for those who can't see it; the page puts the figures
beside it as a table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

import attrs

_LEFT = 13.0
"""Per cent of the width that the scale's words take."""
_TOP, _PLOT, _BOTTOM = 14, 190, 26
"""Pixels above the highest column, of it, and below it."""
_ROW, _BAR = 44, 16
"""Pixels from one bar to the next, and of the bar itself."""
_LEAST = 1e-6
"""What is less than that is nothing: no price has so many digits."""
_LABELS = 6
"""Labels below the columns at most: more would touch on a narrow screen."""


@attrs.frozen
class Series:
    """One colour of a plot.

    Attributes:
        name: What it is called.
        kind: The class that gives it its colour.
        values: A value for each label, not negative.
    """

    name: str
    kind: str
    values: tuple[float, ...]


def safe(text: str) -> str:
    """Return text of any origin for HTML: escaped, and without control characters."""
    return escape("".join(char if char.isprintable() else "\ufffd" for char in text))


def columns_plot(
    name: str,
    title: str,
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    show: Callable[[float], str],
    describe: str,
) -> str:
    """Return stacked columns as SVG.

    Args:
        name: An id, unique on the page.
        title: What the plot shows.
        labels: One for each column; only some are printed where there are many.
        series: The colours, from below.
        show: Writes a value of the scale.
        describe: What there is to see in it, for those who don't.
    """
    totals = [sum(one.values[n] for one in series) for n in range(len(labels))]
    ticks = scale(max(totals, default=0.0))
    top = ticks[-1]
    height = _TOP + _PLOT + _BOTTOM
    parts = [_open(name, title, describe, height)]
    for tick in ticks:
        y = _TOP + _PLOT * (1 - tick / top)
        parts.append(f'<line class="grid" x1="{_LEFT}%" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="axis" x="{_LEFT - 1.5}%" y="{y + 4:.1f}" text-anchor="end">'
            f"{safe(show(tick))}</text>"
        )
    slot = (100 - _LEFT) / max(1, len(labels))
    width = min(slot * 0.8, 12.0)
    for n, label in enumerate(labels):
        x = _LEFT + slot * (n + 0.5)
        y = float(_TOP + _PLOT)
        for one in series:
            part = _PLOT * one.values[n] / top
            if part <= 0:
                continue
            y -= part
            parts.append(
                f'<rect class="{one.kind}" x="{x - width / 2:.3f}%" y="{y:.2f}"'
                f' width="{width:.3f}%" height="{part:.2f}"><title>{safe(label)}:'
                f" {safe(one.name)} {safe(show(one.values[n]))}</title></rect>"
            )
    for n in _spread(len(labels)):
        # The last of many would stand out at the right.
        at_end = n == len(labels) - 1 and n > _LABELS
        x, anchor = (100.0, "end") if at_end else (_LEFT + slot * (n + 0.5), "middle")
        parts.append(
            f'<text class="axis" x="{x:.3f}%" y="{height - 8}" text-anchor="{anchor}">'
            f"{safe(labels[n])}</text>"
        )
    return "".join(parts) + "</svg>"


def bars_plot(
    name: str,
    title: str,
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    notes: Sequence[str],
    top: float | None = None,
    describe: str,
) -> str:
    """Return stacked bars as SVG, each below its label.

    Args:
        name: An id, unique on the page.
        title: What the plot shows.
        labels: One for each bar.
        series: The colours, from the left.
        notes: What is written at the right above each bar.
        top: The value of the whole width; ``None`` takes the longest bar's.
        describe: What there is to see in it, for those who don't.
    """
    totals = [sum(one.values[n] for one in series) for n in range(len(labels))]
    whole = top or max(totals, default=0.0) or 1.0
    parts = [_open(name, title, describe, _ROW * max(1, len(labels)))]
    for n, (label, note) in enumerate(zip(labels, notes, strict=True)):
        y = _ROW * n
        parts.append(f'<text class="label" x="0" y="{y + 15}">{safe(_short(label))}</text>')
        parts.append(
            f'<text class="axis" x="100%" y="{y + 15}" text-anchor="end">{safe(note)}</text>'
        )
        parts.append(f'<rect class="track" x="0" y="{y + 21}" width="100%" height="{_BAR}"/>')
        x = 0.0
        for one in series:
            part = 100 * one.values[n] / whole
            if part > 0:
                parts.append(
                    f'<rect class="{one.kind}" x="{x:.3f}%" y="{y + 21}" width="{part:.3f}%"'
                    f' height="{_BAR}"><title>{safe(label)}: {safe(one.name)}</title></rect>'
                )
            x += part
    return "".join(parts) + "</svg>"


def legend(series: Sequence[Series]) -> str:
    """Return what the colours mean, as HTML."""
    return (
        '<ul class="legend">'
        + "".join(
            f'<li><svg width="12" height="12" aria-hidden="true"><rect class="{one.kind}"'
            f' width="12" height="12"/></svg> {safe(one.name)}</li>'
            for one in series
        )
        + "</ul>"
    )


def scale(top: float) -> tuple[float, ...]:
    """Return round values from 0 to ``top`` or just above it, three to six of them."""
    if top < _LEAST:
        return (0.0, 1.0)
    power = 1.0
    while power * 10 <= top:
        power *= 10
    while power > top:
        power /= 10
    for step in (0.2, 0.5, 1.0, 2.0, 5.0):
        count = math.ceil(top / (step * power))
        if count <= 5:
            return tuple(step * power * n for n in range(max(1, count) + 1))
    raise AssertionError("unreachable: top is below ten powers")


def _open(name: str, title: str, describe: str, height: int) -> str:
    return (
        f'<svg class="plot" role="img" width="100%" height="{height}"'
        f' aria-labelledby="{name}-title {name}-desc"><title id="{name}-title">{safe(title)}'
        f'</title><desc id="{name}-desc">{safe(describe)}</desc>'
    )


def _spread(count: int) -> list[int]:
    """Return the indices of the labels that are printed, first and last among them."""
    if count <= _LABELS:
        return list(range(count))
    return sorted({round(n * (count - 1) / (_LABELS - 1)) for n in range(_LABELS)})


def _short(text: str, most: int = 28) -> str:
    return text if len(text) <= most else text[: most - 1] + "\u2026"
