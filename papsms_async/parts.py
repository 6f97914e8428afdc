"""The parts of one manager: made, opened and closed in the order that their work asks for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Collection
from math import inf

from papsms_async.bucket import Pace
from papsms_async.client import PapSMSClient
from papsms_async.delay_keeper import DelayKeeper
from papsms_async.errors import LedgerError
from papsms_async.explaining import View
from papsms_async.hearing import Hearing
from papsms_async.learning import DelayModel
from papsms_async.live import RELEASE_TASK, LiveNumbers
from papsms_async.market import Market
from papsms_async.poll_times import PollTimes
from papsms_async.poller import Poller
from papsms_async.purchase_line import TenantWeights
from papsms_async.purchasing import Purchasing
from papsms_async.release import ReleaseDesk
from papsms_async.repricing import Repricing
from papsms_async.running_line import RunningLine
from papsms_async.stepping import Stepper
from papsms_async.takeover import Takeover
from papsms_async.tasks import OwnedTasks, see_through
from papsms_async.tracking import Shared
from papsms_async.verification import Priority, VerificationRequest
from papsms_async.webhook.receiver import WebhookReceiver

_log = logging.getLogger("papsms_async")

WRITING_TIME = 5.0
"""Seconds that closing waits at least until the ledger has taken what is released."""


class Parts:
    """What a manager is made of.

    Args:
        client: The client to send through.
        shared: What the parts share.
        max_in_flight: How many activations there may be at once.
        sms_timeout: Seconds to wait for an SMS where a request names none.
        tenant_weights: Shares of tenants among purchases of equal priority.
        webhook: Takes webhooks; ``None`` for none.
        explain: Whether each permit is explained.
        objective: What is wanted of the permits.
        early_cancel: Chance of an SMS that is too small to wait for.
        rng: Randomness of pauses and of intent ids; ``None`` for chance.
        check_open: Raises where the manager is not open.

    Attributes:
        endless: How many bulk runs have more requests than there is room for.
    """

    def __init__(
        self,
        client: PapSMSClient,
        shared: Shared,
        *,
        max_in_flight: int,
        sms_timeout: float,
        tenant_weights: TenantWeights | None,
        webhook: WebhookReceiver | None,
        explain: bool,
        objective: str | float,
        early_cancel: float,
        rng: random.Random | None,
        check_open: Callable[[], None],
    ) -> None:
        dispatcher = client.dispatcher
        supply = Pace.of(client.rate_limit).rate
        self.shared = shared
        self.endless = 0
        self._unsubscribe: Callable[[], None] = lambda: None
        self.tasks = OwnedTasks()
        delays = DelayModel.for_timeout(sms_timeout)
        self.keeper = DelayKeeper(delays, shared.ledger.delays, clock=shared.clock)
        self.market = Market(
            delays,
            supply=supply,
            max_in_flight=max_in_flight,
            sms_timeout=sms_timeout,
            objective=objective,
        )
        line = RunningLine(client.quota, self.tasks, calm=self.market.objective.calm)
        self.desk = ReleaseDesk(dispatcher, line, self.tasks, shared, rng=rng)
        self.purchasing = Purchasing(
            dispatcher,
            self.tasks,
            shared,
            self.desk,
            supply=supply,
            max_in_flight=max_in_flight,
            tenant_weights=tenant_weights,
            rng=rng,
        )
        self.market.line = self._line
        self.desk.market = self.market
        times = PollTimes(delays, self.market, early_cancel)
        line.buyers = self.purchasing.places
        self.purchasing.places.more_urgent = line.take_over
        self.poller = Poller(dispatcher, line, self.tasks, shared, times=times, supply=supply)
        self.repricing = Repricing(self.poller, self.market, client.quota, supply=supply)
        self.poller.on_watch = self.repricing.begin
        self.purchasing.places.on_change = self.repricing.line_changed
        self.purchasing.on_asked = self.market.asked
        self.purchasing.places.awaited = lambda: self.poller.watched
        # While webhooks come, few of those that wait need a poll.
        self.market.on_most_awaited = lambda most: self.purchasing.places.bound_awaited(
            inf if self.poller.agenda.is_sparse else most
        )
        self.hearing = (
            None if webhook is None else Hearing(webhook, self.poller, self.tasks, shared)
        )
        self.live = LiveNumbers(
            shared, self.poller, self.tasks, sms_timeout=sms_timeout, hearing=self.hearing
        )
        self.purchasing.on_bought = self.live.register
        if explain:
            shared.explainer.view = View(
                hub=shared.hub,
                clock=shared.clock,
                delays=delays,
                quota=client.quota,
                price=lambda: (self.market.quote.price, self.market.quote.reason.value),
                lines=self._lines,
                asking=lambda: (line.asking(), self.purchasing.places.asking()),
                sms_timeout=sms_timeout,
            )
        self.takeover = Takeover(
            shared,
            self.tasks,
            self.desk,
            self.purchasing,
            self.live,
            Stepper(
                dispatcher,
                shared,
                self.desk,
                times,
                sms_timeout=sms_timeout,
                hearing=self.hearing,
            ),
            check_open=check_open,
        )

    def _lines(self) -> tuple[int, int, int]:
        """Return how many purchases are in line, polls wait for a permit, finishes are owed."""
        return len(self.purchasing.places), self.poller.due, len(self.desk.owed)

    def _line(self) -> tuple[Collection[VerificationRequest], int, bool]:
        endless = self.endless > 0 and self.purchasing.places.free_places > 0
        callers = self.purchasing.places.waiting(Priority.INTERACTIVE)
        return self.purchasing.buyable, callers, endless

    async def open(self) -> None:
        """Open the ledger, take up what was learned, begin to renew leases and to take webhooks.

        Raises:
            LedgerError: The ledger can't be used; nothing stays open.
            ConfigurationError: The receiver of webhooks belongs to another manager.
        """
        ledger = self.shared.ledger
        try:
            await ledger.open()
            await self.keeper.load()
            if self.hearing is not None:
                self.hearing.open()
        except BaseException:
            # Cancelled, or half open: neither threads nor connections stay behind.
            closing = asyncio.get_running_loop().create_task(ledger.aclose())
            with contextlib.suppress(LedgerError):
                await see_through(closing)
            raise
        if self.shared.leases is not None:
            self.shared.leases.start()
        self._unsubscribe = self.shared.hub.subscribe(self.keeper.hear)

    async def drain(self, timeout: float) -> None:
        """Release what flows hold and finish what is owed, within ``timeout`` seconds."""
        deadline = asyncio.get_running_loop().time() + timeout
        self.purchasing.close()
        self.desk.hurry()
        self.live.close()
        # However short the drain: what is owed has to be written down as owed.
        await self.tasks.drain_named(RELEASE_TASK, max(timeout, WRITING_TIME))
        await self.tasks.drain(deadline - asyncio.get_running_loop().time())
        self.repricing.close()
        self.poller.close()
        for tracked in self.desk.owed:
            _log.error(
                "still owed: finish of activation %s (%s)",
                tracked.entry.activation_id,
                tracked.state.value,
            )
        await self.tasks.cancel_all()

    async def close(self) -> None:
        """Take no more webhooks, give leases up, save what was learned and close the ledger."""
        # Whatever fails on the way, the rest is closed all the same, the ledger last.
        async with contextlib.AsyncExitStack() as closing:
            closing.push_async_callback(self.shared.ledger.aclose)
            closing.push_async_callback(self.keeper.close)
            closing.callback(self._unsubscribe)
            if self.shared.leases is not None:
                closing.push_async_callback(self.shared.leases.stop)
            if self.hearing is not None:
                closing.push_async_callback(self.hearing.close)
