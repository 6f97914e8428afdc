"""The promise of the window guard: never over N arrivals in any window, whatever the network does.

The network is the opponent here: it chooses the delay of each request and each answer, loses
answers, and delivers a request as late as the grace allows.
"""

import asyncio
import math
from collections import deque
from collections.abc import Sequence

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from papsms_async.limits import QuotaProfile, RateLimit
from papsms_async.quota import LocalQuota
from papsms_async.testing import run_virtual

PER = 10.0
GRACE = 6.0


@attrs.frozen
class Fate:
    """What the network does to one request: delays there and back, or no answer."""

    up: float
    down: float
    lost: bool = False
    pause: float = 0.0


def worst_window(arrivals: Sequence[float], per: float = PER) -> int:
    """Return the largest number of arrivals in any closed window of ``per`` seconds."""
    times = sorted(arrivals)
    return max((sum(1 for t in times if x <= t <= x + per) for x in times), default=0)


def arrivals_at_server(quota: LocalQuota, fates: Sequence[Fate]) -> list[float]:
    """Send one request per fate, all as early as the quota allows, and return their arrivals."""
    arrivals: list[float] = []

    async def request(fate: Fate) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(fate.pause)
        permit = await quota.acquire()
        if fate.lost:
            await asyncio.sleep(fate.down)
            permit.lost(GRACE)
            await asyncio.sleep(min(fate.up, GRACE))
            arrivals.append(loop.time())
        else:
            await asyncio.sleep(fate.up)
            arrivals.append(loop.time())
            await asyncio.sleep(fate.down)
            permit.answered()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for fate in fates:
                group.create_task(request(fate))

    run_virtual(main())
    return arrivals


delays = st.one_of(
    st.just(0.0),
    st.floats(0.0, 0.3),
    st.floats(0.0, 30.0),
    st.sampled_from([GRACE, PER, PER + 0.25, 29.999]),
)
fates = st.builds(Fate, delays, delays, st.booleans(), st.sampled_from([0.0, 0.0, 1.0, 9.9, 10.0]))


@settings(max_examples=500)
@given(
    requests=st.integers(1, 6),
    profile=st.sampled_from(list(QuotaProfile)),
    journeys=st.lists(fates, min_size=1, max_size=30),
    granularity=st.sampled_from([0.0, 1e-9, 0.001, 0.0156, 0.1, 0.2]),
)
@example(  # a jitter spike: what waited 9.9 s arrives together with what comes after it
    requests=3,
    profile=QuotaProfile.FAST,
    journeys=[Fate(9.9, 0.0)] * 3 + [Fate(0.0, 0.0)] * 6,
    granularity=0.0,
)
def test_no_window_ever_holds_more_than_the_limit(
    requests: int, profile: QuotaProfile, journeys: list[Fate], granularity: float
) -> None:
    """For any delays, spikes, losses and a coarse server clock: at most N in any [x, x + W0]."""
    quota = LocalQuota(RateLimit(requests, per=PER, profile=profile))
    arrivals = arrivals_at_server(quota, journeys)
    assert len(arrivals) == len(journeys)
    assert worst_window(arrivals) <= requests
    if granularity:
        stamps = [math.floor(at / granularity) * granularity for at in arrivals]
        assert worst_window(stamps) <= requests
    statistics = quota.statistics()
    assert statistics.held == statistics.waiting == 0
    assert statistics.granted == len(journeys)
    assert statistics.lost == sum(fate.lost for fate in journeys)


class SendingTimeLimiter:
    """What most limiters do: N sendings in any window, without a look at the answers."""

    def __init__(self, requests: int, per: float) -> None:
        self.sent: deque[float] = deque(maxlen=requests)
        self.requests, self.per = requests, per

    async def acquire(self) -> None:
        loop = asyncio.get_running_loop()
        while len(self.sent) == self.requests and loop.time() < self.sent[0] + self.per:
            await asyncio.sleep(self.sent[0] + self.per - loop.time())
        self.sent.append(loop.time())


def test_the_same_network_breaks_a_limiter_of_sending_times() -> None:
    """The opponent is strong enough: it drives an ordinary limiter to twice the limit."""
    arrivals: list[float] = []

    async def main() -> None:
        limiter = SendingTimeLimiter(3, PER)
        for up in [9.9] * 3 + [0.0] * 3:
            await limiter.acquire()
            asyncio.get_running_loop().call_later(
                up, lambda: arrivals.append(asyncio.get_running_loop().time())
            )
        await asyncio.sleep(PER)

    run_virtual(main())
    assert worst_window(arrivals) == 6


@pytest.mark.parametrize("requests", [1, 2, 3, 5, 10])
@pytest.mark.parametrize("profile", list(QuotaProfile))
def test_tiny_limits_make_progress(requests: int, profile: QuotaProfile) -> None:
    """Small limits are neither exceeded nor stuck."""
    quota = LocalQuota(RateLimit(requests, per=PER, profile=profile))
    arrivals = arrivals_at_server(quota, [Fate(0.1, 0.1)] * (20 * requests + 1))
    assert worst_window(arrivals) <= requests
    full_speed = 20 * PER
    assert full_speed <= max(arrivals) <= full_speed * (2.1 if requests == 2 else 1.6)
