"""Keeps the price of a request up to date while SMS are awaited, and uses permits that lie idle.

The price follows from what is in flight and in line (`papsms_async.market`). It is worked out anew
when purchases come or go, and every moment besides, because those in flight grow older. When it or
a law has changed, every poll is planned anew.

Permits can't be saved up: the bucket holds a few, and when it is full the next one is lost. So
where one lies idle, the activation is polled where that gains most, although it is not due.
"""

from __future__ import annotations

import asyncio
from math import inf

from papsms_async.delays import DelayLaw
from papsms_async.market import Market
from papsms_async.poller import Poller
from papsms_async.polling import index
from papsms_async.quota import Quota
from papsms_async.watch import Watch

IDLE_LOOKS = 4
"""Looks at idle permits for each look at the price, which alone would come too late for some."""

FEW = 500
"""Up to so many in flight, the price is looked at whenever it may have changed."""


class Repricing:
    """Looks at the price, and at idle permits.

    Args:
        poller: Watches the activations and polls them.
        market: Works the price out.
        quota: Gives the permits.
        supply: Requests a second that it gives.

    Attributes:
        interval: Seconds from look to look at the price.
    """

    def __init__(self, poller: Poller, market: Market, quota: Quota, *, supply: float) -> None:
        self._poller = poller
        self._market = market
        self._quota = quota
        # A few looks at the price per time in which the quota gives a handful of permits.
        self.interval = min(1.0, max(0.05, 1.0 / supply))
        self._laws: dict[tuple[str, str], DelayLaw] = {}
        self._news = False
        self._ticks = 0
        self._alarm: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """An activation is watched: look at the price as long as any is."""
        if self._alarm is None:
            # With thousands in flight, looking less often costs nothing and saves much.
            interval = self.interval / IDLE_LOOKS * max(1.0, self._poller.watched / FEW)
            self._alarm = asyncio.get_running_loop().call_later(interval, self._tick)

    def line_changed(self) -> None:
        """Purchases came or went: the price may be another one."""
        if self._poller.watched and not self._news:
            self._news = True
            asyncio.get_running_loop().call_soon(self._look_at_news)

    def close(self) -> None:
        """Stop the timer."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _look_at_news(self) -> None:
        self._news = False
        # Thousands in flight don't feel one purchase more, and looking at them costs.
        if 0 < self._poller.watched < FEW:
            self._revalue()

    def _tick(self) -> None:
        self._alarm = None
        if self._poller.watched:
            self.begin()
            self._ticks += 1
            if self._ticks % IDLE_LOOKS == 0:
                self._revalue()
            self._use_idle_permit()
        else:
            # Nothing is awaited, so nobody stands in the way of purchases.
            self._market.on_most_awaited(inf)

    def _revalue(self) -> None:
        now = asyncio.get_running_loop().time()
        law_of = self._poller.times.law
        flying = (
            (law_of(w.tracked), w.timeout, now - w.start, w.tracked.priority)
            for w in self._poller.agenda.watches
        )
        changed = self._market.update(flying, due=self._poller.due, now=now)
        kinds = {
            (w.tracked.entry.service, w.tracked.entry.country): w.tracked
            for w in self._poller.agenda.watches
        }
        laws = {kind: law_of(tracked) for kind, tracked in kinds.items()}
        if changed or laws != self._laws:
            self._laws = laws
            self._poller.replan()

    def _use_idle_permit(self) -> None:
        """Look where that gains most, with a permit that would be lost; one stays for who comes."""
        if self._poller.agenda.is_sparse or self._poller.watched >= FEW:
            return
        quota = self._quota.statistics()
        if quota.waiting or quota.available < 2:
            return
        best: Watch | None = None
        most = 0.0
        for watch in self._poller.agenda.watches:
            age = watch.age()
            earliest = self._poller.times.earliest(last=watch.last, timeout=watch.timeout)
            if watch.task is not None or watch.failures or age < earliest:
                continue
            gain = index(self._poller.times.law(watch.tracked), watch.last, age)
            if gain > most:
                best, most = watch, gain
        if best is not None:
            self._poller.agenda.poll_now(best)
