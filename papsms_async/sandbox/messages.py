"""What goes into the sandbox and what comes out: one request, one reply and the way it travels."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import attrs


class Delivery(StrEnum):
    """How a reply reaches the client; whoever carries replies out must honour it."""

    ANSWER = "answer"
    """An ordinary answer: status, headers, body."""
    REFUSE = "refuse"
    """The connection is refused or reset; nothing was executed or counted."""
    HANG = "hang"
    """No answer ever; the connection stays open until the client gives up."""
    DROP = "drop"
    """The connection is closed without an answer."""
    TRUNCATE = "truncate"
    """``Content-Length`` promises more than ``body`` holds; the connection closes after it."""
    EVENTS = "events"
    """Server-sent events without end, as `papsms_async.sandbox.feed` makes them."""


@attrs.frozen
class SandboxRequest:
    """One HTTP request as it reached the service.

    Attributes:
        method: The verb, in any case.
        path: Full path with any query, for example ``"/api/v1/numbers/purchase"``.
        headers: Headers; names are looked up without regard to case. Not in the repr: they
            hold the API key.
        body: The whole body, ``b""`` for none.
        peer: The client's IP address, where it matters.
    """

    method: str
    path: str
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    peer: str = ""

    def header(self, name: str) -> str | None:
        """Return the header of that name whatever its case, or ``None``."""
        wanted = name.lower()
        for key, value in self.headers.items():
            if key.lower() == wanted:
                return value
        return None


@attrs.frozen
class SandboxReply:
    """What the service does about one request.

    Attributes:
        status: HTTP status; without meaning unless ``delivery`` is ``ANSWER`` or ``TRUNCATE``.
        headers: Answer headers, with ``Date`` from the engine's clock and ``Content-Length``.
        body: Body bytes. For a HEAD request it is the body that GET would have; whoever
            carries the reply out leaves it away.
        delivery: The way the answer travels.
        delay: Seconds before the answer leaves; the request was executed without delay.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)
    delivery: Delivery = Delivery.ANSWER
    delay: float = 0.0
