"""Asks a fresh engine what a recording asked, and compares every answer, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import assert_never

import attrs

from ..engine import SandboxEngine
from ..front import front_of
from .form import (
    Connection,
    Entry,
    Exchange,
    Head,
    Post,
    RecordingError,
    Settled,
    read_entry,
    write_answer,
    write_post,
)
from .settings import Json

_TELLING = ("status", "delivery", "delay", "body", "body_base64", "body_sha256", "body_bytes")
"""Parts of an answer before its headers, which often follow from them."""

_CONTEXT = 40
"""Characters shown before and after the place where two bodies part."""


@attrs.frozen
class Difference:
    """The first answer that was another one.

    Attributes:
        line: Line of the recording, counted from 1.
        at: Seconds since the recording's start, ``None`` for a connection.
        what: What happened, for example ``"GET /api/v1/countries"`` or ``"webhook 3"``.
        part: The part that differs, for example ``"status"`` or ``"header Retry-After"``.
        recorded: How it was.
        replayed: How it is now.
    """

    line: int
    at: float | None
    what: str
    part: str
    recorded: str
    replayed: str

    def __str__(self) -> str:
        when = "" if self.at is None else f", {self.at:.3f} s after the start"
        return (
            f"line {self.line}{when}: {self.what}: another {self.part}\n"
            f"  recorded: {self.recorded}\n"
            f"  now:      {self.replayed}"
        )


@attrs.frozen
class Replayed:
    """How a replay went.

    Attributes:
        compared: Answers, webhooks and refused connections that were compared, the differing one
            included.
        difference: The first difference, ``None`` if everything was as recorded.
    """

    compared: int
    difference: Difference | None


def replay_lines(lines: Iterable[str]) -> Replayed:
    """Replay a recording.

    Args:
        lines: Its lines, each with its end.

    Raises:
        RecordingError: It is no recording, of a newer form, cut off or damaged.
    """
    rest = iter(lines)
    first = next(rest, "")
    if not first.strip():
        raise RecordingError("it is empty; make a recording with papsms sandbox --record FILE")
    player = _Player(Head.read(first))
    compared = 0
    for number, entry in _entries(rest):
        outcome = player.play(entry)
        if outcome is None:
            continue
        compared += 1
        what, recorded, replayed = outcome
        if recorded != replayed:
            at = None if isinstance(entry, Connection) else entry.at
            part = _first_difference(recorded, replayed)
            return Replayed(compared, Difference(number, at, what, *part))
    return Replayed(compared, None)


class _Player:
    """A fresh sandbox, and what is done to it."""

    def __init__(self, head: Head) -> None:
        self._start = head.start
        self._engine = SandboxEngine(head.config, seed=head.seed)
        self._front = front_of(self._engine)

    def play(self, entry: Entry) -> tuple[str, Json, Json] | None:
        """Do what a line tells; return what it is, what came of it then, and now."""
        match entry:
            case Exchange(at, request, answer):
                again = write_answer(self._front.handle(request, self._start + at))
                return f"{request.method} {request.path}", answer, again
            case Post(at, post):
                now = self._start + at
                self._engine.advance(now)
                due = self._engine.webhooks.take_due(now, most=1)
                what = f"webhook {post.get('number')}"
                if not due:
                    return what, {"fate": "posted"}, {"fate": "none was due"}
                return what, post, write_post(due[0])
            case Settled(at, number, status, error):
                now = self._start + at
                self._engine.webhooks.settle(number, status=status, now=now, error=error)
                return None
            case Connection(refused):
                now_refused = self._engine.refuses_connection()
                fates = ("accepted", "refused")
                return "a connection", {"fate": fates[refused]}, {"fate": fates[now_refused]}
            case _:
                assert_never(entry)


def _entries(lines: Iterator[str]) -> Iterator[tuple[int, Entry]]:
    for number, line in enumerate(lines, 2):
        try:
            yield number, read_entry(line)
        except RecordingError as error:
            if not line.endswith("\n"):
                raise RecordingError(
                    f"line {number} is cut off, the recording ended while it was written;"
                    " delete it to replay the lines before it"
                ) from error
            raise RecordingError(f"line {number}: {error}; record the session anew") from error


def _first_difference(recorded: Json, replayed: Json) -> tuple[str, str, str]:
    """Return the part that differs and how it is in both, the most telling part first."""
    for name in sorted({**recorded, **replayed}, key=_rank):
        old, new = recorded.get(name), replayed.get(name)
        if old == new:
            continue
        if name == "body" and isinstance(old, str) and isinstance(new, str):
            return name, *_excerpts(old, new)
        if name == "headers" and isinstance(old, dict) and isinstance(new, dict):
            header, old_value, new_value = _first_difference(old, new)
            return f"header {header}", old_value, new_value
        return name.replace("_", " "), _said(old), _said(new)
    return "answer", _said(recorded), _said(replayed)


def _excerpts(recorded: str, replayed: str) -> tuple[str, str]:
    """Return both around the first character in which they differ."""
    at = next(
        (n for n, (a, b) in enumerate(zip(recorded, replayed, strict=False)) if a != b),
        min(len(recorded), len(replayed)),
    )
    first = max(0, at - _CONTEXT)
    return _cut(recorded, first, at + _CONTEXT), _cut(replayed, first, at + _CONTEXT)


def _cut(text: str, first: int, last: int) -> str:
    before, after = "..." if first else "", "..." if last < len(text) else ""
    return f"{before}{text[first:last]}{after}"


def _rank(name: str) -> int:
    return _TELLING.index(name) if name in _TELLING else len(_TELLING)


def _said(value: object) -> str:
    text = "none" if value is None else str(value)
    return _cut(text, 0, 2 * _CONTEXT)
