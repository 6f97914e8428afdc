"""The few polls under the webhooks: what finds an SMS whose webhook was lost.

To the poller it is a `papsms_async.watch.Net`: while webhooks come, polls are sparse
(`papsms_async.sparse`); when they stop (`papsms_async.silence`), the plan is back, and this is said
in the log, as an event and in the statistics.

Each SMS is evidence of whether they come. One that a webhook told of was announced; to one that a
poll found first its webhook is given a few seconds more, and then it was missed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from math import log

from papsms_async.delays import DelayLaw
from papsms_async.events import EventKind
from papsms_async.hints import Hints
from papsms_async.market import plan_timeout
from papsms_async.models import Sms
from papsms_async.poller import Poller
from papsms_async.silence import GRACE, LEAST_GRACE, Change, SilenceTest, Suspicion
from papsms_async.sparse import doubted_survival, sparse_plan
from papsms_async.tracking import Shared, Tracked
from papsms_async.watch import Waiting

_log = logging.getLogger("papsms_async")

ROUND = 1.0
"""Seconds between looks at the silence; longer with more than a thousand that wait."""


class SafetyNet:
    """The net of one manager.

    Args:
        poller: Asks for the status.
        hints: Knows which activations webhooks told of.
        shared: What the manager's parts share.

    Attributes:
        silence: What is known of webhooks so far.
    """

    def __init__(self, poller: Poller, hints: Hints, shared: Shared) -> None:
        self.silence = SilenceTest()
        self._poller = poller
        self._hints = hints
        self._shared = shared
        # By activation id: most are over when their webhook comes.
        self._unannounced: dict[str, tuple[Tracked, asyncio.TimerHandle]] = {}
        self._suspicion = Suspicion()
        self._suspected: set[Tracked] = set()
        self._announced_at = float("-inf")
        self._round: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Stop all timers. Safe to call twice."""
        if self._round is not None:
            self._round.cancel()
            self._round = None
        for _, timer in self._unannounced.values():
            timer.cancel()
        self._unannounced.clear()

    # For the poller ------------------------------------------------------------------------------

    @property
    def trusting(self) -> bool:
        """See `papsms_async.watch.Net`."""
        return self.silence.coming

    def next_look(self, law: DelayLaw, *, timeout: float, last: float) -> float:
        """See `papsms_async.watch.Net`."""
        # Rounded up, so that not each number whose expiry cuts the wait needs a plan of its own.
        plan = sparse_plan(law, timeout=plan_timeout(timeout), loss=self.silence.loss)
        return plan.next_look(last)

    def watched(self, tracked: Tracked) -> None:
        """See `papsms_async.watch.Net`."""
        self._hints.watched(tracked)
        self._ensure_round()

    def answered(self, tracked: Tracked, sms: Sms | None, *, since: float) -> None:
        """See `papsms_async.watch.Net`."""
        told = self._hints.answered(tracked, found=sms is not None)
        if sms is None:
            if tracked in self._suspected:
                self._suspected.discard(tracked)
                self._suspicion.vain += 1
            return
        self._suspected.discard(tracked)
        if told:
            self.announced(tracked)
        else:
            self._expect_webhook(tracked, sms, since)

    # For the ears --------------------------------------------------------------------------------

    def announced(self, tracked: Tracked) -> None:
        """A webhook told of its SMS, truly."""
        self._announced_at = now = asyncio.get_running_loop().time()
        self._suspicion.vain = max(0, self._suspicion.vain - 1)
        self._follow(tracked, self.silence.note_announced(at=now))

    def found_before(self, activation_id: str) -> bool:
        """A webhook came; return whether a poll had found its SMS, if only just."""
        if activation_id not in self._unannounced:
            return False
        tracked, timer = self._unannounced.pop(activation_id)
        timer.cancel()
        self.announced(tracked)
        return True

    def left(self, tracked: Tracked) -> None:
        """No flow of this process holds it any longer."""
        self._suspected.discard(tracked)

    # Whether webhooks come -----------------------------------------------------------------------

    def _expect_webhook(self, tracked: Tracked, sms: Sms, since: float) -> None:
        """A poll found an SMS: give its webhook the rest of the time that it may take."""
        loop = asyncio.get_running_loop()
        came_at, grace = since, GRACE
        if sms.received_at is not None:
            # As far as the service's clock does not contradict what is certain.
            age = (self._shared.clock() - sms.received_at).total_seconds()
            came_at = min(max(since, loop.time() - age), loop.time())
            grace = max(LEAST_GRACE, GRACE - (loop.time() - came_at))
        timer = loop.call_later(grace, self._note_missed, tracked, came_at)
        self._unannounced[tracked.activation.activation_id] = tracked, timer

    def _note_missed(self, tracked: Tracked, came_at: float) -> None:
        self._unannounced.pop(tracked.activation.activation_id, None)
        now, silent = asyncio.get_running_loop().time(), self._announced_at < came_at
        self._follow(tracked, self.silence.note_missed(at=now, silent_since=silent))

    def _follow(self, tracked: Tracked, change: Change | None) -> None:
        if change is Change.SILENT:
            why = (
                "webhooks stopped coming"
                if self.silence.proven
                else "no webhook came, is its URL set in the account?"
            )
            _log.warning("%s; SMS are polled for as if there were none", why)
            self._publish(EventKind.WEBHOOKS_SILENT, tracked, why)
        elif change is Change.BACK:
            _log.warning("webhooks come again; polls are sparse again")
            self._publish(EventKind.WEBHOOKS_BACK, tracked)
            self._ensure_round()
        if change is not None:
            self._poller.replan()

    def _ensure_round(self) -> None:
        if self._round is None and self.silence.coming:
            seconds = ROUND * max(1.0, self._poller.watched / 1000)
            self._round = asyncio.get_running_loop().call_later(seconds, self._look_round)

    def _look_round(self) -> None:
        """Look at one activation if webhooks are silent for longer than the law makes likely."""
        self._round = None
        waiting = tuple(self._poller.waiting())
        if not waiting or not self.silence.coming:
            return
        self._ensure_round()
        expected, likeliest = self._expected(waiting)
        expected *= 1.0 - self.silence.loss
        if likeliest is not None and expected >= self._suspicion.bound(
            len(waiting), proven=self.silence.proven
        ):
            self._suspected.add(likeliest)
            self._poller.look(likeliest)

    def _expected(self, waiting: Iterable[Waiting]) -> tuple[float, Tracked | None]:
        """Return how many SMS should have been announced since the last one was, and where most."""
        silent = asyncio.get_running_loop().time() - self._announced_at
        expected = most = 0.0
        likeliest: Tracked | None = None
        for one in waiting:
            since, until = max(one.last, one.age - silent), one.age - GRACE
            if until <= since:
                continue
            here = log(doubted_survival(one.law, since) / doubted_survival(one.law, until))
            expected += here
            if here > most and one.tracked not in self._suspected:
                most, likeliest = here, one.tracked
        return expected, likeliest

    def _publish(self, kind: EventKind, tracked: Tracked, detail: str | None = None) -> None:
        self._shared.publish(
            kind,
            tracked.request,
            intent_id=tracked.entry.intent_id,
            activation=tracked.entry.activation,
            detail=detail,
        )
