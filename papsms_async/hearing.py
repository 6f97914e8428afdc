"""Hears webhooks and wakes the activations that they are about.

Theory of operation
===================

Every webhook that this process or another one took comes here once from the receiver or the inbox.
If a flow of this process holds the activation and its SMS is awaited, then

* a trusted one (`WebhookReceiver.trusts`) hands its SMS over, as a poll would have;
* any other one is a hint: a poll asks for the status now, and, where the status is known to lag
  behind, once more a little later. Nothing of the webhook itself is believed. Further hints for the
  same activation are heard ever less often, so that forged ones cost a bounded number of polls.

Both end in the event of the lifecycle that a poll gives, so whatever comes twice, late, or together
with a poll is delivered once. One that comes before the answer to its purchase waits here for it.

To the poller it is a `papsms_async.watch.Net`: while webhooks come, polls are sparse
(`papsms_async.sparse`); when they stop (`papsms_async.silence`), the plan is back, and this is said
in the log, as an event and in the statistics.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable
from math import log

import attrs

from papsms_async.delays import DelayLaw
from papsms_async.errors import ConfigurationError, LedgerError
from papsms_async.events import EventKind
from papsms_async.ledger import Inbox, InboxEntry, LedgerConflictError
from papsms_async.lifecycle import State
from papsms_async.market import plan_timeout
from papsms_async.models import Sms
from papsms_async.poller import Poller
from papsms_async.silence import GRACE, LEAST_GRACE, Change, SilenceTest, Suspicion
from papsms_async.sparse import doubted_survival, sparse_plan
from papsms_async.tasks import OwnedTasks
from papsms_async.tracking import Shared, Tracked
from papsms_async.watch import Waiting
from papsms_async.webhook.receiver import WebhookReceiver

_log = logging.getLogger("papsms_async")

AGAIN = 3.0
"""Seconds from a hint to the second look, where the first did not find the SMS."""
DEAF = 4.0
"""Seconds for which an activation's further hints are not heard; doubled with each that was."""
WORTH = 0.2
"""Share of second looks that must find the SMS for them to go on."""
_FADES = 0.98
REMEMBERED = 2000
"""Activations of others whose webhooks are remembered, for purchases whose answer is on its way."""
ROUND = 1.0
"""Seconds between looks at the silence; longer with more than a thousand that wait."""
RELISTEN = 5.0
"""Seconds until the inbox is listened to again after a defect."""


@attrs.frozen(kw_only=True)
class WebhookStatistics:
    """What a manager hears of webhooks.

    Attributes:
        coming: Whether they are believed to come; if not, SMS are polled for as without them.
        accepted: Webhooks that this process took, copies included.
        copies: How many of them had come before.
        refused: Requests that were refused, by HTTP status.
        deferred: Webhooks whose sender was asked to come again.
        hints: Polls that were asked for because of a webhook.
        announced: SMS of this manager that a webhook told of.
        missed: SMS that a poll found and that no webhook told of.
    """

    coming: bool
    accepted: int
    copies: int
    refused: dict[int, int]
    deferred: int
    hints: int
    announced: int
    missed: int


@attrs.define
class _Told:
    """What webhooks told of an activation whose SMS is not there yet."""

    hints: int = 0
    deaf_until: float = 0.0
    answers: int = 0


class Hearing:
    """The ears of one manager.

    Args:
        receiver: Takes webhooks.
        poller: Asks for the status.
        tasks: Owns the tasks that SMS are handed over in.
        shared: What the manager's parts share.

    Raises:
        ConfigurationError: The ledger has no inbox.
    """

    def __init__(
        self, receiver: WebhookReceiver, poller: Poller, tasks: OwnedTasks, shared: Shared
    ) -> None:
        inbox: Inbox | None = getattr(shared.ledger, "inbox", None)
        if inbox is None:
            raise ConfigurationError("Webhooks need a ledger with an inbox; this one has none.")
        self._inbox = inbox
        self._receiver = receiver
        self._poller = poller
        self._tasks = tasks
        self._shared = shared
        self._live: dict[str, Tracked] = {}
        self._early: OrderedDict[str, list[InboxEntry]] = OrderedDict()
        self._told: dict[Tracked, _Told] = {}
        # By activation id: most are over when their webhook comes.
        self._unannounced: dict[str, tuple[Tracked, asyncio.TimerHandle]] = {}
        self._silence = SilenceTest()
        self._suspicion = Suspicion()
        self._suspected: set[Tracked] = set()
        self._announced_at = float("-inf")
        self._hints = 0
        self._found_later = self._found_nothing = 0.0
        self._round: asyncio.TimerHandle | None = None
        self._listening: asyncio.Task[None] | None = None
        poller.agenda.net = self

    def open(self) -> None:
        """Begin to hear.

        Raises:
            ConfigurationError: The receiver belongs to another manager.
        """
        self._receiver.attach(self._inbox, self.heard, clock=self._shared.clock)
        self._listening = asyncio.get_running_loop().create_task(
            self._listen(), name="papsms webhooks of others"
        )

    async def close(self) -> None:
        """Take no more; return once all that was taken is written down. Safe to call twice."""
        if self._round is not None:
            self._round.cancel()
            self._round = None
        for _, timer in self._unannounced.values():
            timer.cancel()
        self._unannounced.clear()
        if self._listening is not None:
            listening, self._listening = self._listening, None
            listening.cancel()
            await asyncio.wait({listening})
            await self._receiver.detach()

    def statistics(self) -> WebhookStatistics:
        """Return the numbers of this moment."""
        counts = self._receiver.counts
        return WebhookStatistics(
            coming=self._silence.coming,
            accepted=counts.accepted,
            copies=counts.copies,
            refused=counts.refused,
            deferred=counts.deferred,
            hints=self._hints,
            announced=self._silence.announced,
            missed=self._silence.missed,
        )

    async def _listen(self) -> None:
        while True:
            try:
                await self._inbox.listen(self.heard)
            except Exception as error:
                # A defect must not make this process deaf for good.
                _log.error("listening to the inbox failed with %s", type(error).__name__)
                await asyncio.sleep(RELISTEN)
            else:
                return

    # Which activations there are -----------------------------------------------------------------

    def entered(self, tracked: Tracked) -> None:
        """A flow of this process holds a number from now on."""
        activation_id = tracked.activation.activation_id
        self._live[activation_id] = tracked
        for entry in self._early.pop(activation_id, ()):
            self._wake(tracked, entry)
        if tracked.entry.fence:
            # Taken over: what came meanwhile was told to whoever drove it before.
            self._tasks.spawn(self._catch_up(tracked), name="papsms webhook")

    def left(self, tracked: Tracked) -> None:
        """It does so no longer."""
        self._live.pop(tracked.activation.activation_id, None)
        self._told.pop(tracked, None)
        self._suspected.discard(tracked)

    async def _catch_up(self, tracked: Tracked) -> None:
        try:
            entries = await self._inbox.about(tracked.activation.activation_id)
        except LedgerError:
            return  # then polls find it
        for entry in entries:
            self._wake(tracked, entry)

    # What is heard -------------------------------------------------------------------------------

    def heard(self, entry: InboxEntry) -> None:
        """A webhook was taken, here or elsewhere."""
        activation_id = entry.event.activation_id
        if activation_id in self._unannounced:
            # A poll was quicker, if only just.
            found, timer = self._unannounced.pop(activation_id)
            timer.cancel()
            self._note_announced(found)
        elif (tracked := self._live.get(activation_id)) is not None:
            self._wake(tracked, entry)
        else:
            self._early.setdefault(activation_id, []).append(entry)
            self._early.move_to_end(activation_id)
            # Copies are bounded as well: any one of them says all.
            del self._early[activation_id][:-2]
            while len(self._early) > REMEMBERED:
                self._early.popitem(last=False)

    async def known_sms(self, activation_id: str) -> Sms | None:
        """Return the SMS that a webhook told of and that may be taken at its word, if any.

        Raises:
            LedgerError: The inbox can't be read.
        """
        for entry in await self._inbox.about(activation_id):
            if self._receiver.trusts(entry.event):
                return entry.event.sms
        return None

    def _wake(self, tracked: Tracked, entry: InboxEntry) -> None:
        if tracked.state is not State.WAITING:
            return  # late, or a copy
        if tracked not in self._told:
            self._told[tracked] = _Told()
            self._publish(EventKind.ANNOUNCED, tracked)
        if self._receiver.trusts(entry.event):
            self._tasks.spawn(self._deliver(tracked, entry), name="papsms webhook")
        else:
            self._hint(tracked, self._told[tracked])

    async def _deliver(self, tracked: Tracked, entry: InboxEntry) -> None:
        sms = entry.event.sms
        if sms is None or tracked.state is not State.WAITING:
            return
        try:
            await self._poller.deliver(tracked, sms, told_at=entry.received_at)
        except LedgerConflictError:
            return  # driven elsewhere, and whoever waited was told so
        if self._told.pop(tracked, None) is not None:
            self._note_announced(tracked)

    def _hint(self, tracked: Tracked, told: _Told) -> None:
        now = asyncio.get_running_loop().time()
        if now < told.deaf_until:
            return
        told.deaf_until = now + DEAF * 2.0 ** min(told.hints, 20)
        told.hints += 1
        self._ask(tracked)

    def _ask(self, tracked: Tracked) -> None:
        self._hints += 1
        self._poller.look(tracked)
        found, nothing = self._found_later, self._found_nothing
        self._found_later, self._found_nothing = found * _FADES, nothing * _FADES
        if (found + 1) / (found + nothing + 2) >= WORTH:
            self._poller.look(tracked, after=AGAIN)

    # The net under it ----------------------------------------------------------------------------

    @property
    def trusting(self) -> bool:
        """See `papsms_async.watch.Net`."""
        return self._silence.coming

    def next_look(self, law: DelayLaw, *, timeout: float, last: float) -> float:
        """See `papsms_async.watch.Net`."""
        # Rounded up, so that not each number whose expiry cuts the wait needs a plan of its own.
        plan = sparse_plan(law, timeout=plan_timeout(timeout), loss=self._silence.loss)
        return plan.next_look(last)

    def watched(self, tracked: Tracked) -> None:
        """See `papsms_async.watch.Net`."""
        if tracked in self._told:
            self._ask(tracked)
        self._ensure_round()

    def answered(self, tracked: Tracked, sms: Sms | None, *, since: float) -> None:
        """See `papsms_async.watch.Net`."""
        told = self._told.get(tracked)
        if sms is None:
            if told is not None:
                told.answers += 1
                self._found_nothing += told.answers == 2
            if tracked in self._suspected:
                self._suspected.discard(tracked)
                self._suspicion.vain += 1
            return
        self._suspected.discard(tracked)
        if told is not None:
            self._found_later += told.answers == 1
            del self._told[tracked]
            self._note_announced(tracked)
        else:
            self._expect_webhook(tracked, sms, since)

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

    # Whether webhooks come -----------------------------------------------------------------------

    def _note_announced(self, tracked: Tracked) -> None:
        self._announced_at = now = asyncio.get_running_loop().time()
        self._suspicion.vain = max(0, self._suspicion.vain - 1)
        self._follow(tracked, self._silence.note_announced(at=now))

    def _note_missed(self, tracked: Tracked, came_at: float) -> None:
        self._unannounced.pop(tracked.activation.activation_id, None)
        now, silent = asyncio.get_running_loop().time(), self._announced_at < came_at
        self._follow(tracked, self._silence.note_missed(at=now, silent_since=silent))

    def _follow(self, tracked: Tracked, change: Change | None) -> None:
        if change is Change.SILENT:
            why = (
                "webhooks stopped coming"
                if self._silence.proven
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
        if self._round is None and self._silence.coming:
            seconds = ROUND * max(1.0, self._poller.watched / 1000)
            self._round = asyncio.get_running_loop().call_later(seconds, self._look_round)

    def _look_round(self) -> None:
        """Look at one activation if webhooks are silent for longer than the law makes likely."""
        self._round = None
        waiting = tuple(self._poller.waiting())
        if not waiting or not self._silence.coming:
            return
        self._ensure_round()
        expected, likeliest = self._expected(waiting)
        expected *= 1.0 - self._silence.loss
        if likeliest is not None and expected >= self._suspicion.bound(
            len(waiting), proven=self._silence.proven
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
