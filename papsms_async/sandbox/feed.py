"""What a watcher of the sandbox has not seen yet, as server-sent events.

An event ``news`` holds a JSON object with these keys, all but the first where there is something to
tell: ``now`` (POSIX seconds), ``summary`` (`papsms_async.sandbox.views.summary`), ``activations``
(rows of those that changed; each replaces what was known of it), ``requests`` and ``posts`` (the
latest requests and webhooks, oldest first), ``fresh`` (true: forget everything you know) and, with
it, ``left_out`` (so many older activations are not told).

News are not a record of what happened but the difference between what a watcher knows and what is,
made when they are sent: a slow watcher gets fewer and not more of them, and one that was away goes
on from the id of the last event that it saw. An id is ``INSTANCE.RUN.VERSION.LOGGED.POSTED``; news
of another instance (the sandbox was started anew) or run (it was reset) are fresh.
"""

from __future__ import annotations

import attrs

from . import answers, spoiling
from .engine import SandboxEngine
from .messages import Delivery, SandboxReply, SandboxRequest
from .views import activation_row, request_row, summary
from .webhook_log import shown

EVENTS_PATH = "/_sandbox/events"

MOST_ACTIVATIONS = 5_000
"""Activations that a fresh watcher is told of, those that changed last."""

_BATCH = 200
_MOST_REQUESTS = 200
_MOST_POSTS = 200
_MOST_DIGITS = 15


def serve_events(request: SandboxRequest, now: float) -> SandboxReply:
    """Answer a request for events: whoever carries the reply out writes a `Watcher`'s news."""
    if request.method.upper() == "GET":
        return SandboxReply(200, {}, b"", Delivery.EVENTS)
    body = answers.dump({"error": "events takes GET"})
    return spoiling.answer(405, body, {"Content-Type": "application/json", "Allow": "GET"}, now)


@attrs.frozen
class _Seen:
    """How far a watcher is."""

    run: int
    version: int
    logged: int
    posted: int

    @classmethod
    def parse(cls, text: str, instance: str) -> _Seen | None:
        """Read an event's id; ``None`` for one of another instance and for nonsense."""
        parts = text.split(".")
        if len(parts) != 5 or parts[0] != instance:
            return None
        if not all(p.isascii() and p.isdigit() and len(p) <= _MOST_DIGITS for p in parts[1:]):
            return None
        return cls(*map(int, parts[1:]))

    def id(self, instance: str) -> str:
        return f"{instance}.{self.run}.{self.version}.{self.logged}.{self.posted}"


class Watcher:
    """One watcher of an engine.

    Args:
        engine: The engine.
        instance: Word that no other start of the sandbox has.
        since: Id of the last event seen, ``None`` for none.
    """

    def __init__(self, engine: SandboxEngine, instance: str, since: str | None) -> None:
        self._engine = engine
        self._instance = instance
        self._seen = None if since is None else _Seen.parse(since, instance)
        self._summary: dict[str, object] | None = None

    def news(self, now: float) -> list[bytes]:
        """Return the events that tell what is new, each whole; none if nothing is.

        Args:
            now: POSIX seconds.
        """
        engine = self._engine
        engine.advance(now)
        seen = self._seen
        posts = engine.webhooks.log
        latest = _Seen(engine.run, engine.journal.version, engine.traffic.logged, posts.logged)
        fresh = seen is None or seen.run != latest.run or seen.version > latest.version
        if seen is None or fresh:
            seen = _Seen(latest.run, 0, 0, 0)
        changed = engine.journal.since(seen.version)
        told, left_out = changed[:MOST_ACTIVATIONS], max(0, len(changed) - MOST_ACTIVATIONS)
        first: dict[str, object] = {"now": engine.now}
        if fresh:
            first |= {"fresh": True, "left_out": left_out}
        state = summary(engine)
        if state != self._summary:
            first["summary"] = self._summary = state
        requests = engine.traffic.latest(seen.logged, most=_MOST_REQUESTS)
        if requests:
            first["requests"] = [request_row(entry) for entry in requests]
        told_posts = posts.latest(after=seen.posted, most=_MOST_POSTS)
        if told_posts:
            first["posts"] = [shown(entry) for entry in told_posts]
        if not told and len(first) == 1:
            return []
        self._seen = latest
        return self._events(first, told)

    def _events(self, first: dict[str, object], told: list[str]) -> list[bytes]:
        now = self._engine.now
        batches = [told[start : start + _BATCH] for start in range(0, max(1, len(told)), _BATCH)]
        events: list[bytes] = []
        for index, batch in enumerate(batches):
            data = first if index == 0 else {"now": now}
            if batch:
                rows = [activation_row(self._engine.activations[key], now) for key in batch]
                data = {**data, "activations": rows}
            # The last one alone has an id: whoever is cut off before it begins this news again.
            last = index == len(batches) - 1
            assert self._seen is not None  # noqa: S101 - set by news
            mark = f"id: {self._seen.id(self._instance)}\n" if last else ""
            events.append(f"event: news\n{mark}data: ".encode() + answers.dump(data) + b"\n\n")
        return events
