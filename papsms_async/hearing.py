"""Hears webhooks and wakes the activations that they are about.

Theory of operation
===================

Every webhook that this process or another one took comes here once from the receiver or the inbox.
If a flow of this process holds the activation and its SMS is awaited, then

* a trusted one (`WebhookReceiver.trusts`) hands its SMS over, as a poll would have;
* any other one is a hint (`papsms_async.hints`), for which a poll asks for the status.

Both end in the event of the lifecycle that a poll gives, so whatever comes twice, late, or together
with a poll is delivered once. One that comes before the answer to its purchase waits here for it.

Whatever is heard or not heard says something of the webhooks as such; the few polls that go on
meanwhile follow from that (`papsms_async.safety_net`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from datetime import datetime

import attrs

from papsms_async.errors import ConfigurationError, LedgerError
from papsms_async.events import EventKind
from papsms_async.hints import Hints
from papsms_async.ledger import Inbox, InboxEntry, LedgerConflictError
from papsms_async.lifecycle import State
from papsms_async.models import Sms
from papsms_async.poller import Poller
from papsms_async.safety_net import SafetyNet
from papsms_async.tasks import OwnedTasks
from papsms_async.tracking import Shared, Tracked
from papsms_async.webhook.receiver import WebhookReceiver

_log = logging.getLogger("papsms_async")

REMEMBERED = 2000
"""Activations of others whose webhooks are remembered, for purchases whose answer is on its way."""
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
        self._hints = Hints(poller)
        self._net = SafetyNet(poller, self._hints, shared)
        self._listening: asyncio.Task[None] | None = None
        poller.agenda.net = self._net

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
        self._net.close()
        if self._listening is not None:
            listening, self._listening = self._listening, None
            listening.cancel()
            await asyncio.wait({listening})
            await self._receiver.detach()

    def statistics(self) -> WebhookStatistics:
        """Return the numbers of this moment."""
        counts = self._receiver.counts
        return WebhookStatistics(
            coming=self._net.silence.coming,
            accepted=counts.accepted,
            copies=counts.copies,
            refused=counts.refused,
            deferred=counts.deferred,
            hints=self._hints.asked,
            announced=self._net.silence.announced,
            missed=self._net.silence.missed,
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
        self._hints.forget(tracked)
        self._net.left(tracked)

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
        if self._net.found_before(activation_id):
            return
        if (tracked := self._live.get(activation_id)) is not None:
            self._wake(tracked, entry)
        else:
            self._early.setdefault(activation_id, []).append(entry)
            self._early.move_to_end(activation_id)
            # Copies are bounded as well: any one of them says all.
            del self._early[activation_id][:-2]
            while len(self._early) > REMEMBERED:
                self._early.popitem(last=False)

    async def known_sms(self, activation_id: str) -> tuple[Sms, datetime] | None:
        """Return the SMS that a webhook told of and that may be taken at its word, if any.

        Returns:
            The SMS, and when it was told of (UTC).

        Raises:
            LedgerError: The inbox can't be read.
        """
        for entry in await self._inbox.about(activation_id):
            if entry.event.sms is not None and self._receiver.trusts(entry.event):
                return entry.event.sms, entry.received_at
        return None

    def _wake(self, tracked: Tracked, entry: InboxEntry) -> None:
        if tracked.state is not State.WAITING:
            return  # late, or a copy
        if self._hints.told(tracked):
            self._shared.publish(
                EventKind.ANNOUNCED,
                tracked.request,
                intent_id=tracked.entry.intent_id,
                activation=tracked.entry.activation,
            )
        if self._receiver.trusts(entry.event):
            self._tasks.spawn(self._deliver(tracked, entry), name="papsms webhook")
        else:
            self._hints.hint(tracked)

    async def _deliver(self, tracked: Tracked, entry: InboxEntry) -> None:
        sms = entry.event.sms
        if sms is None or tracked.state is not State.WAITING:
            return
        try:
            await self._poller.deliver(tracked, sms, told_at=entry.received_at)
        except LedgerConflictError:
            return  # driven elsewhere, and whoever waited was told so
        if self._hints.forget(tracked):
            self._net.announced(tracked)
