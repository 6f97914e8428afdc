"""The log of the webhooks that the sandbox has posted, each when it has ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice

import attrs

from .webhook_posts import NoAnswer, PostKind

WEBHOOK_LOG_LENGTH = 50_000
"""Entries that a `WebhookLog` keeps."""


@attrs.frozen
class LoggedPost:
    """One entry of the log of posts.

    Attributes:
        at: When it left, in POSIX seconds.
        kind: Why it was made; ``lost`` for one that a fault lost.
        activation_id: Of which activation it spoke.
        attempt: How often the service had tried; 0 for ``lost``.
        status: Status of the answer, ``None`` if there was none.
        took: Seconds until the answer, or until it was given up.
        error: Why there was no answer, if that is known.
    """

    at: float
    kind: PostKind
    activation_id: str
    attempt: int
    status: int | None
    took: float
    error: NoAnswer | None = None


class WebhookLog:
    """The latest posts, oldest first, and how many there were since it was begun."""

    def __init__(self) -> None:
        self._entries: deque[LoggedPost] = deque(maxlen=WEBHOOK_LOG_LENGTH)
        self.logged = 0

    def __iter__(self) -> Iterator[LoggedPost]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Begin anew."""
        self._entries.clear()
        self.logged = 0

    def record(self, entry: LoggedPost) -> None:
        """Note a post that has ended."""
        self._entries.append(entry)
        self.logged += 1

    def latest(self, *, most: int, after: int = 0) -> list[LoggedPost]:
        """Return the entries logged after so many others, oldest first, at most the latest.

        O(n) in what is returned.
        """
        number = min(self.logged - after, most, len(self._entries))
        return list(islice(reversed(self._entries), max(0, number)))[::-1]


def shown(entry: LoggedPost) -> Mapping[str, object]:
    """Write an entry of the log for others to read."""
    return {
        "at": entry.at,
        "kind": entry.kind,
        "activation_id": entry.activation_id,
        "attempt": entry.attempt,
        "status": entry.status,
        "error": entry.error,
        "took": entry.took,
        "forged": entry.kind.forged,
        "duplicate": entry.kind in {PostKind.DUPLICATE, PostKind.REPLAY},
    }
