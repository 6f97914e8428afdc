"""What goes over the wire, without I/O: one request, one answer. Neither holds an API key."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import attrs


class Operation(StrEnum):
    """The four things that the service can be asked."""

    PURCHASE = "purchase"
    STATUS = "status"
    FINISH = "finish"
    COUNTRIES = "countries"


class Defect(StrEnum):
    """Why the body of an answer is not whole."""

    LOST = "lost"
    """The connection ended, or the time was up, before the whole body was there."""
    TOO_LARGE = "too_large"
    """The body went over the size limit and was not read further."""
    UNREADABLE = "unreadable"
    """The body's compression is broken or of a kind that was not asked for."""


@attrs.frozen(kw_only=True)
class WireRequest:
    """One request, ready to be sent.

    Attributes:
        operation: What it asks for.
        method: HTTP method.
        path: Path relative to the base URL, already quoted, without a leading slash.
        body: JSON body, or ``None``.
    """

    operation: Operation
    method: str
    path: str
    body: bytes | None = None

    @property
    def repeatable(self) -> bool:
        """Whether sending it twice does no harm; only a purchase must not be repeated."""
        return self.operation is not Operation.PURCHASE


def _size(body: bytes) -> str:
    return f"<{len(body)} bytes>"


@attrs.frozen
class WireAnswer:
    """One answer, as it came.

    Attributes:
        status: HTTP status.
        headers: Header lines; names in any case.
        body: The body, decompressed. Where ``defect`` is set, the part of it that could be read.
        defect: Why the body is not whole, or ``None`` if it is.
    """

    status: int
    # Header values may be cookies or other secrets of a proxy: neither they nor the body are shown.
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=_size)
    defect: Defect | None = None

    def header(self, name: str) -> str | None:
        """Return the value of the header ``name`` (any case), repeated lines joined by commas."""
        name = name.lower()
        values = [value for key, value in self.headers.items() if key.lower() == name]
        return ", ".join(values) if values else None
