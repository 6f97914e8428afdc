"""Keeps what was learned of SMS delays over the end of the process: taken up at the start, saved
every few minutes and at the close.

The model counts in the event loop's time and the store in instants; ages carry over from one to the
other. Only what the store does not know yet is added to it, so several processes on one ledger add
up. What a save that failed should have written is part of the next one. A crash loses what came
since the last save; no purchase and no close depends on any of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

import attrs

from papsms_async.errors import LedgerError
from papsms_async.events import EventKind, VerificationEvent
from papsms_async.evidence import Evidence, Key, news
from papsms_async.learning import MAX_KEYS, DelayModel
from papsms_async.ledger import DelayStore

_log = logging.getLogger("papsms_async")

SAVE_EVERY = 180.0
"""Seconds after an observation at which what is new is saved."""
PATIENCE = 2.0
"""Seconds that a start or a close waits for the store at most."""

_TEACHING = frozenset(
    {EventKind.SMS_RECEIVED, EventKind.TIMED_OUT, EventKind.COMPLETING, EventKind.CANCELLING}
)
"""What happens when something was learned."""


class DelayKeeper:
    """Carries a model over to the next process, by way of a store.

    Args:
        model: What learns.
        store: Where it is kept.
        clock: Gives the present instant (UTC).
    """

    def __init__(
        self, model: DelayModel, store: DelayStore, *, clock: Callable[[], datetime]
    ) -> None:
        self._model = model
        self._store = store
        self._clock = clock
        # What the store has of each key from here, and the loop's time of its last observation.
        self._saved: dict[Key, tuple[Evidence, float]] = {}
        self._saved_at = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._saving: asyncio.Task[None] | None = None
        self._failed = False

    def __repr__(self) -> str:
        return f"<DelayKeeper {self._store!r}>"

    async def load(self) -> None:
        """Take up what is kept; if it can't be read in time, the model begins cold."""
        await self._try("taken up", self._load())

    def hear(self, event: VerificationEvent) -> None:
        """Learn of an event: if it taught something, that is saved in a while."""
        if self._alarm is None and self._saving is None and event.kind in _TEACHING:
            self._alarm = asyncio.get_running_loop().call_later(SAVE_EVERY, self._begin_saving)

    async def close(self) -> None:
        """Save what is new."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._saving is not None:
            await asyncio.wait({self._saving})
            if self._failed:
                return
        await self._try("saved", self._save())

    def _begin_saving(self) -> None:
        self._alarm = None
        loop = asyncio.get_running_loop()
        self._saving = loop.create_task(self._try("saved", self._save()), name="papsms delays")
        self._saving.add_done_callback(self._saving_ended)

    def _saving_ended(self, task: asyncio.Task[None]) -> None:
        self._saving = None

    async def _load(self) -> None:
        kept = await self._store.load(now=self._clock())
        now = asyncio.get_running_loop().time()
        self._model.restore(kept, now)
        self._note(self._model.snapshot(now), now)

    async def _save(self) -> None:
        now = asyncio.get_running_loop().time()
        found = self._model.snapshot(now, since=self._saved_at)
        unknown = {}
        for key, whole in found.items():
            new = self._unknown(key, whole, now)
            if sum(new.events) + sum(new.exposure) > 1e-9:
                unknown[key] = new
        if unknown:
            await self._store.add(unknown, now=self._clock())
        # What was observed while it was written is not among `found`, and goes with the next one.
        self._note(found, now)

    def _unknown(self, key: Key, whole: Evidence, now: float) -> Evidence:
        """Return what the store does not know of a key."""
        known, at = self._saved.get(key, (None, 0.0))
        if known is None or known.seen > whole.seen:
            # New, or forgotten meanwhile and begun anew.
            return whole
        return news(whole, attrs.evolve(known, age=now - at))

    def _note(self, found: dict[Key, Evidence], now: float) -> None:
        for key, whole in found.items():
            self._saved[key] = whole, now - whole.age
        self._saved_at = now
        if len(self._saved) > 2 * MAX_KEYS:
            known = self._model.snapshot(now)
            self._saved = {key: saved for key, saved in self._saved.items() if key in known}

    async def _try(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work`` for a bounded time; a failure is one line in the log and no more."""
        task = asyncio.get_running_loop().create_task(work)
        try:
            await asyncio.wait({task}, timeout=PATIENCE)
        finally:
            # A write that is under way is carried out by the ledger all the same.
            task.cancel()
        if not task.done():
            self._complain(what, "the ledger does not answer")
        elif not task.cancelled() and (error := task.exception()) is not None:
            # The text of an error that is none of ours may hold anything.
            told = error if isinstance(error, LedgerError) else type(error).__name__
            self._complain(what, str(told))
        else:
            self._failed = False

    def _complain(self, what: str, why: str) -> None:
        level = logging.DEBUG if self._failed else logging.WARNING
        self._failed = True
        _log.log(level, "what was learned of SMS delays could not be %s: %s", what, why)
