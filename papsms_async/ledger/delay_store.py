"""What was learned of SMS delays, kept beside the purchases that it was learned from.

Several processes add to it: what each brings is merged with what is there, never put in its place.
There is nothing in it that is worth an error: whoever can't read it begins cold.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Protocol

import attrs

from papsms_async.evidence import Evidence, Key, merged

_log = logging.getLogger("papsms_async.ledger")


class DelayStore(Protocol):
    """Where evidence of SMS delays is kept; part of a ledger, open while that is."""

    async def load(self, *, now: datetime) -> dict[Key, Evidence]:
        """Return what is kept and not forgotten; what can't be read is left out.

        Args:
            now: The present (UTC), from which ages count.

        Raises:
            LedgerError: The store can't be used.
        """
        ...

    async def add(self, news: Mapping[Key, Evidence], *, now: datetime) -> None:
        """Merge ``news`` with what is kept, all of it or nothing; forget what has faded away.

        Args:
            news: Evidence that is not in the store yet.
            now: The present (UTC), from which its ages count.

        Raises:
            LedgerError: The store can't be used; nothing was changed.
        """
        ...


def log_unreadable(count: int) -> None:
    """Tell that so many laws are ignored."""
    if count:
        _log.warning(
            "what was learned of %d SMS delays can't be read (another version's, or damaged): it is"
            " ignored and learned anew",
            count,
        )


class MemoryDelayStore:
    """A store that lives and dies with the process: for managers that come one after another."""

    def __init__(self) -> None:
        # As of the last observation, with its instant.
        self._kept: dict[Key, tuple[Evidence, datetime]] = {}

    def __repr__(self) -> str:
        return f"<MemoryDelayStore keys={len(self._kept)}>"

    async def load(self, *, now: datetime) -> dict[Key, Evidence]:
        """See `DelayStore.load`."""
        found = {key: aged(evidence, at, now) for key, (evidence, at) in self._kept.items()}
        return {key: evidence for key, evidence in found.items() if not evidence.is_forgotten}

    async def add(self, news: Mapping[Key, Evidence], *, now: datetime) -> None:
        """See `DelayStore.add`."""
        kept = await self.load(now=now)
        for key, new in news.items():
            kept[key] = merged(kept[key], new) if key in kept else new
        self._kept = {key: (evidence, instant_of(evidence, now)) for key, evidence in kept.items()}


def aged(evidence: Evidence, at: datetime, now: datetime) -> Evidence:
    """Return ``evidence`` of a last observation at ``at`` with the age that it has now.

    It is below zero where clocks disagree.
    """
    return attrs.evolve(evidence, age=(now - at).total_seconds())


def instant_of(evidence: Evidence, now: datetime) -> datetime:
    """Return when the last observation was made."""
    return now - timedelta(seconds=evidence.age)
