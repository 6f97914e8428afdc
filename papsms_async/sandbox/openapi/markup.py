"""HTML from text: escaping, and the little Markdown that descriptions are written in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

_CODE = re.compile(r"`([^`]+)`")


def safe(text: object) -> str:
    """Escape text for an element or an attribute."""
    return escape(str(text), quote=True)


def inline(text: str) -> str:
    """Write one paragraph's text, with `code`."""
    return _CODE.sub(r"<code>\1</code>", safe(text))


def markdown(text: str) -> str:
    """Write paragraphs and tables, which blank lines separate."""
    blocks = [block.splitlines() for block in text.strip().split("\n\n")]
    return "".join(_block(lines) for lines in blocks if lines)


def table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table of cells that are HTML already; the first column names the row."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>"
        for first, *rest in rows
    )
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _block(lines: Sequence[str]) -> str:
    if not lines[0].startswith("|"):
        return f"<p>{inline(' '.join(lines))}</p>"
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split(" | ")] for line in lines)
    return table(map(inline, head), [[inline(cell) for cell in row] for row in rows])
