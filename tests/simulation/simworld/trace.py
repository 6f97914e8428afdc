"""What happened in a world, in order: for reading after a failure, and for comparing two runs."""

from __future__ import annotations

import asyncio
import hashlib


class Trace:
    """Lines of (loop time, words)."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, tuple[object, ...]]] = []

    def note(self, *words: object) -> None:
        """Add a line at the loop's time."""
        self.lines.append((asyncio.get_running_loop().time(), words))

    def text(self) -> list[str]:
        """Return the lines for a reader."""
        return [f"{at:12.6f}  " + " ".join(str(word) for word in words) for at, words in self.lines]

    def digest(self) -> str:
        """Return a fingerprint: equal for equal runs, to the last bit of every instant."""
        return hashlib.sha256(repr(self.lines).encode()).hexdigest()
