"""The limiters that quota.py measures, each used as its documentation says for asyncio.

Each is a function from a limit, of so many requests in so many seconds, to an `Opened` limiter; it
must be called inside a running event loop. `installed` leaves out what is missing here.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import attrs

from papsms_async.limits import QuotaProfile, RateLimit
from papsms_async.quota import LocalQuota


def _nothing() -> None:
    """A limiter of sending times does not care when the answer comes."""


@attrs.frozen
class Opened:
    """A limiter at work.

    Attributes:
        take: Waits for one permit.
        burst: Permits that it gives at once after a pause.
        answered: Must be called with what ``take`` returned when the answer is there; ``None``
            where the limiter does not care.
        queue: The same as ``take`` for one of many who wait, each with a priority of its own where
            there are such.
        hold: Holds all permits back; returns what lets go of them. ``None`` where nothing does.
        close: Frees what the limiter holds.
    """

    take: Callable[[], Awaitable[Any]]
    burst: int
    answered: Callable[[Any], None] | None = None
    queue: Callable[[], Awaitable[Any]] = attrs.Factory(lambda self: self.take, takes_self=True)
    hold: Callable[[], Callable[[], None]] | None = None
    close: Callable[[], None] = _nothing


Opener = Callable[[int, float], Opened]


def ours(profile: QuotaProfile = QuotaProfile.STEADY) -> Opener:
    """Return this package's limiter."""

    def open_ours(requests: int, per: float) -> Opened:
        quota = LocalQuota(RateLimit(requests, per=per, profile=profile))
        draw = random.Random(1).random
        return Opened(
            quota.acquire,
            quota.statistics().available,
            answered=lambda permit: permit.answered(),
            queue=lambda: quota.acquire((draw(),)),
            hold=lambda: _held(quota),
        )

    return open_ours


def _held(quota: LocalQuota) -> Callable[[], None]:
    quota.rate_limited(250.0)

    def let_go() -> None:
        now = asyncio.get_running_loop().time()
        quota._bucket._blocked_until = now
        quota._set_timer(now)

    return let_go


def least(requests: int, per: float) -> Opened:
    """The least that waiting can cost: a future for everyone, one timer, first come, first served.

    No limiter: its permits come evenly and are forgotten.
    """
    loop = asyncio.get_running_loop()
    waiting: deque[asyncio.Future[None]] = deque()
    held = False
    began = 0.0
    served = 0

    def serve() -> None:
        nonlocal served
        due = int((loop.time() - began) * requests / per)
        while waiting and served < due:
            waiting.popleft().set_result(None)
            served += 1
        if waiting:
            loop.call_at(began + (served + 1) * per / requests, serve)

    def hold() -> Callable[[], None]:
        nonlocal held
        held = True

        def let_go() -> None:
            while waiting:
                waiting.popleft().set_result(None)

        return let_go

    async def take() -> None:
        """Find that there is nothing to wait for."""

    async def queue() -> None:
        nonlocal began
        if not began and not held:
            began = loop.time()
            loop.call_later(per / requests, serve)
        waiting.append(loop.create_future())
        await waiting[-1]

    return Opened(take, 0, queue=queue, hold=hold)


def sending_times(requests: int, per: float) -> Opened:
    """The usual limiter, exact: at most N sendings in any window of the client's clock."""
    sent: deque[float] = deque(maxlen=requests)
    turn = asyncio.Lock()

    async def take() -> None:
        loop = asyncio.get_running_loop()
        async with turn:
            if len(sent) == requests and (left := sent[0] + per - loop.time()) > 0:
                await asyncio.sleep(left)
            sent.append(loop.time())

    return Opened(take, requests)


def _aiolimiter() -> Opener:
    from aiolimiter import AsyncLimiter

    return lambda requests, per: Opened(AsyncLimiter(requests, per).acquire, requests)


def _throttled() -> Opener:
    from throttled.asyncio import MemoryStore, Throttled, per_duration

    def open_throttled(requests: int, per: float) -> Opened:
        # The algorithm is the library's default, the token bucket.
        throttle = Throttled(
            key="papsms",
            quota=per_duration(timedelta(seconds=per), requests),
            timeout=3600,
            store=MemoryStore(),
        )

        async def take() -> None:
            assert not (await throttle.limit()).limited

        return Opened(take, requests)

    return open_throttled


def _pyrate() -> Opener:
    from pyrate_limiter import Limiter, Rate

    def open_pyrate(requests: int, per: float) -> Opened:
        limiter = Limiter(Rate(requests, round(per * 1000)))
        return Opened(lambda: limiter.try_acquire_async("papsms"), requests, close=limiter.close)

    return open_pyrate


def _limits(strategy: str) -> Opener:
    from limits import RateLimitItemPerSecond
    from limits.aio.storage import MemoryStorage
    from limits.aio.strategies import STRATEGIES

    def open_limits(requests: int, per: float) -> Opened:
        limiter = STRATEGIES[strategy](MemoryStorage())
        limit = RateLimitItemPerSecond(requests, round(per))

        async def take() -> None:
            # The library does not wait; its documentation sleeps until the window's reset.
            while not await limiter.hit(limit, "papsms"):
                window = await limiter.get_window_stats(limit, "papsms")
                await asyncio.sleep(max(0.0, window.reset_time - time.time()))

        return Opened(take, requests)

    return open_limits


OURS = "papsms-async"
FLOOR = "bare futures, one timer"
LOADERS: dict[str, Callable[[], Opener]] = {
    OURS: ours,
    FLOOR: lambda: least,
    "aiolimiter": _aiolimiter,
    "throttled-py": _throttled,
    "pyrate-limiter": _pyrate,
    "limits, moving window": lambda: _limits("moving-window"),
    "limits, fixed window": lambda: _limits("fixed-window"),
}
"""What imports each limiter, by name."""


def installed() -> list[str]:
    """Return the names of those that are installed; say in a line which are not."""
    found, missing = [], []
    for name, load in LOADERS.items():
        try:
            load()
        except ImportError:
            missing.append(name)
        else:
            found.append(name)
    if missing:
        print(f"not installed (pip install '.[bench]'): {'; '.join(missing)}")
    return found
