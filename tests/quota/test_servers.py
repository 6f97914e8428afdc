"""Nine kinds of limit that a server may have, and what each profile gets out of them."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Protocol

import attrs
import pytest

from papsms_async.limits import QuotaProfile, RateLimit
from papsms_async.quota import LocalQuota
from papsms_async.testing import run_virtual

N, W0 = 60, 60.0


class Limiter(Protocol):
    """A server's limit: says at each arrival whether the request is admitted."""

    def admits(self, now: float) -> bool: ...


class FixedWindow:
    """N in each window of the clock on the wall."""

    def __init__(self, phase: float) -> None:
        self.phase, self.window, self.count = phase, -1, 0

    def admits(self, now: float) -> bool:
        window = int((now + self.phase) // W0)
        if window != self.window:
            self.window, self.count = window, 0
        self.count += 1
        return self.count <= N


class FirstRequestWindow:
    """N in a window that opens with the first request after the last one closed."""

    def __init__(self, _phase: float) -> None:
        self.opened, self.count = -1e9, 0

    def admits(self, now: float) -> bool:
        if now >= self.opened + W0:
            self.opened, self.count = now, 0
        self.count += 1
        return self.count <= N


class SlidingLog:
    """N in the last W0 seconds, both ends included; refused requests count too."""

    def __init__(self, _phase: float, requests: int = N, per: float = W0) -> None:
        self.requests, self.per = requests, per
        self.log: deque[float] = deque()

    def admits(self, now: float) -> bool:
        while self.log and self.log[0] < now - self.per:
            self.log.popleft()
        self.log.append(now)
        return len(self.log) <= self.requests


class WholeSecondLog(SlidingLog):
    """A log whose times are cut to whole seconds, and whose window is thus up to 61 s long."""

    def __init__(self, phase: float) -> None:
        super().__init__(phase)
        self.phase = phase

    def admits(self, now: float) -> bool:
        return super().admits(float(int(now + self.phase)))


class SlidingCounter:
    """The count of this window and, weighed by its overlap, that of the one before."""

    def __init__(self, phase: float) -> None:
        self.phase, self.window, self.count, self.before = phase, 0, 0, 0

    def admits(self, now: float) -> bool:
        window, into = divmod(now + self.phase, W0)
        if window != self.window:
            self.before = self.count if window == self.window + 1 else 0
            self.window, self.count = int(window), 0
        if self.before * (1 - into / W0) + self.count + 1 > N:
            return False
        self.count += 1
        return True


class TokenBucket:
    """A full bucket of ``capacity`` tokens, refilled evenly at N in W0."""

    def __init__(self, _phase: float, capacity: float = N) -> None:
        self.capacity, self.tokens, self.at = capacity, capacity, 0.0

    def admits(self, now: float) -> bool:
        self.tokens = min(self.capacity, self.tokens + (now - self.at) * N / W0)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Gcra:
    """The generic cell rate algorithm with a burst of ten."""

    def __init__(self, _phase: float, burst: int = 10) -> None:
        self.theoretical, self.tolerance = 0.0, (burst - 1) * W0 / N

    def admits(self, now: float) -> bool:
        if now < self.theoretical - self.tolerance:
            return False
        self.theoretical = max(now, self.theoretical) + W0 / N
        return True


class LeakyBucket:
    """No burst at all: a second must have passed since the last admitted request."""

    def __init__(self, _phase: float) -> None:
        self.next = 0.0

    def admits(self, now: float) -> bool:
        if now < self.next:
            return False
        self.next = now + W0 / N
        return True


class TwoWindows:
    """60 in a minute and 5 in a second at once."""

    def __init__(self, phase: float) -> None:
        self.minute, self.second = FixedWindow(phase), SlidingLog(phase, 5, 1.0)

    def admits(self, now: float) -> bool:
        return all([self.minute.admits(now), self.second.admits(now)])


BURSTY: list[Callable[[float], Limiter]] = [
    FixedWindow,
    FirstRequestWindow,
    SlidingLog,
    WholeSecondLog,
    SlidingCounter,
    TokenBucket,
    Gcra,
    TwoWindows,
]


@attrs.define
class Report:
    """What the server saw."""

    arrivals: list[float] = attrs.Factory(list)
    refused: list[float] = attrs.Factory(list)
    quota: LocalQuota | None = None

    def per_minute(self, since: float, until: float) -> float:
        return sum(60 for at in self.arrivals if since <= at < until) / (until - since)

    @property
    def profile(self) -> QuotaProfile:
        assert self.quota is not None
        return self.quota.statistics().profile


def saturate(
    limiter: Limiter,
    *,
    profile: QuotaProfile = QuotaProfile.STEADY,
    seconds: float = 900.0,
    seed: int = 0,
    one_way: Callable[[random.Random], float] = lambda rng: rng.uniform(0.04, 0.10),
) -> Report:
    """Let a hundred workers ask all the time, as the quota allows, and report what arrived."""
    rng = random.Random(seed)
    report = Report()

    async def worker(quota: LocalQuota) -> None:
        loop = asyncio.get_running_loop()
        while True:
            permit = await quota.acquire()
            await asyncio.sleep(one_way(rng))
            report.arrivals.append(loop.time())
            admitted = limiter.admits(loop.time())
            if not admitted:
                report.refused.append(loop.time())
            await asyncio.sleep(one_way(rng))
            if admitted:
                quota.succeeded()
            else:
                quota.rate_limited(None)
            permit.answered()

    async def main() -> None:
        report.quota = LocalQuota(RateLimit(N, per=W0, profile=profile), rng=rng)
        workers = [asyncio.create_task(worker(report.quota)) for _ in range(100)]
        await asyncio.sleep(seconds)
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    run_virtual(main())
    return report


def spiky(rng: random.Random) -> float:
    """A one-way delay that is short as a rule and now and then over two seconds."""
    return rng.expovariate(1 / 0.08) + (2.5 if rng.random() < 0.02 else 0.0)


@pytest.mark.parametrize("one_way", [lambda _: 0.0, lambda rng: rng.uniform(0.04, 0.1), spiky])
@pytest.mark.parametrize("kind", BURSTY)
def test_steady_is_never_refused(
    kind: Callable[[float], Limiter], one_way: Callable[[random.Random], float]
) -> None:
    """Saturated for a quarter of an hour, under jitter, STEADY gets no 429 and 57.1 a minute."""
    for seed, phase in enumerate((0.0, 17.3, 59.9)):
        report = saturate(kind(phase), seed=seed, one_way=one_way)
        assert report.refused == []
        assert report.per_minute(120, 900) == pytest.approx(57.05, abs=0.5)
        assert report.profile is QuotaProfile.STEADY


def test_steady_falls_back_on_a_leaky_bucket_and_is_then_refused_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Two 429s without a reason lead to one request at a time, one warning, and no further 429."""
    for seed in range(5):
        caplog.clear()
        report = saturate(LeakyBucket(0.0), seed=seed, seconds=3000.0)
        assert 2 <= len(report.refused) <= 4
        assert max(report.refused) < 600.0
        assert report.profile is QuotaProfile.SERIAL
        assert report.per_minute(600, 3000) == pytest.approx(52, abs=1.0)
        assert len(caplog.records) == 1
        assert "another client uses the same key" in caplog.text


def test_serial_is_never_refused_by_a_leaky_bucket() -> None:
    """SERIAL satisfies the strictest server from the start, at about 52 a minute."""
    report = saturate(LeakyBucket(0.0), profile=QuotaProfile.SERIAL)
    assert report.refused == []
    assert report.per_minute(0, 900) == pytest.approx(52, abs=0.7)


@pytest.mark.parametrize("kind", [FixedWindow, FirstRequestWindow, SlidingLog])
def test_fast_gets_nearly_all_of_an_exact_window(kind: Callable[[float], Limiter]) -> None:
    """FAST is not refused by exact windows and gets 59.6 a minute."""
    report = saturate(kind(17.3), profile=QuotaProfile.FAST, seconds=3600.0)
    assert report.refused == []
    assert report.per_minute(120, 3600) == pytest.approx(59.6, abs=0.2)


def test_the_servers_do_refuse_those_who_ask_for_more() -> None:
    """Each model refuses a client that sends 61 at once, so the tests above can fail."""
    for kind in [*BURSTY, LeakyBucket]:
        limiter = kind(30.0)
        assert not all(limiter.admits(1.0) for _ in range(N + 1)), kind
