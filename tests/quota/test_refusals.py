"""What a 429 and the headers of other answers do to a quota."""

import asyncio
import logging
import math
import random

import pytest

from papsms_async.errors import RateLimitedError
from papsms_async.limits import QuotaProfile, RateLimit
from papsms_async.quota import LocalQuota, QuotaHint
from papsms_async.quota.refusals import PROBATION, Refusals
from papsms_async.testing import virtual_time

LIMIT = RateLimit(60, per=60.0)


class _Most(random.Random):
    """Always draws the upper end."""

    def uniform(self, a: float, b: float) -> float:
        return b


async def refuse(quota: LocalQuota, retry_after: float | None = None) -> float:
    """Send one request that is refused after 0.1 s; return the length of the block."""
    permit = await quota.acquire()
    await asyncio.sleep(0.1)
    quota.rate_limited(retry_after)
    permit.answered()
    return quota.statistics().blocked_for


@virtual_time
async def test_a_429_blocks_the_whole_key_for_its_retry_after() -> None:
    """After a Retry-After of 7 s nobody gets a permit for 7 s, whatever their priority."""
    quota, loop = LocalQuota(LIMIT), asyncio.get_running_loop()
    assert await refuse(quota, 7.0) == pytest.approx(7.0)
    first = await quota.acquire((-100,))
    assert loop.time() == pytest.approx(7.1)
    first.answered()


@virtual_time
async def test_a_longer_block_is_not_shortened_by_a_later_429() -> None:
    """Of several Retry-Afters the one that ends last is obeyed."""
    quota = LocalQuota(LIMIT)
    quota.rate_limited(30.0)
    quota.rate_limited(2.0)
    quota.rate_limited(None)
    assert quota.statistics().blocked_for == 30.0
    assert quota.statistics().rate_limited == 3


@virtual_time
async def test_without_retry_after_the_backoff_doubles_until_a_success() -> None:
    """1, 2, 4, ... up to a window at most; a success starts again at 1."""
    quota = LocalQuota(RateLimit(60, per=60.0, profile=QuotaProfile.SERIAL), rng=_Most())
    blocks = [await refuse(quota) for _ in range(9)]
    assert blocks == pytest.approx([1, 2, 4, 8, 16, 32, 61, 61, 61])
    quota.succeeded()
    assert await refuse(quota) == pytest.approx(1)


def test_the_backoff_has_full_jitter() -> None:
    """Delays are spread evenly between 0 and their bound, and seeded clients repeat them."""
    for seed in (1, 2):
        refusals = [Refusals(random.Random(seed), window=61.0) for _ in range(2)]
        a, b = ([r.delay(None, fresh=True) for _ in range(6)] for r in refusals)
        assert a == b
        assert all(0 <= delay <= 2**k for k, delay in enumerate(a))
    rng = random.Random(3)
    spread = [Refusals(rng, window=61.0).delay(None, fresh=True) for _ in range(2000)]
    assert sum(spread) / 2000 == pytest.approx(0.5, abs=0.03)
    assert min(spread) < 0.05
    assert max(spread) > 0.95


@pytest.mark.parametrize("nonsense", [0.0, -5.0, math.nan, math.inf])
@virtual_time
async def test_a_retry_after_without_meaning_counts_as_none(nonsense: float) -> None:
    """Zero, negative, not a number and infinite: the backoff is waited instead."""
    quota = LocalQuota(LIMIT, rng=_Most())
    assert await refuse(quota, nonsense) == pytest.approx(1.0)


@virtual_time
async def test_an_absurd_retry_after_is_an_error_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """Hours are not waited silently: waiters and newcomers get an error until they are over."""
    quota, loop = LocalQuota(LIMIT, longest_block=300.0), asyncio.get_running_loop()
    permits = [await quota.acquire() for _ in range(2)]
    waiting = [asyncio.ensure_future(quota.acquire()) for _ in range(3)]
    unawaited = quota.enqueue()
    await asyncio.sleep(0.1)
    quota.rate_limited(7200.0)
    for permit in permits:
        permit.answered()
    for waiter in [*waiting, unawaited]:
        with pytest.raises(RateLimitedError) as caught:
            await waiter
        assert caught.value.retry_after == pytest.approx(7200.0)
    assert loop.time() == pytest.approx(0.1)
    await asyncio.sleep(7000)
    with pytest.raises(RateLimitedError) as caught:
        await quota.acquire()
    assert caught.value.retry_after == pytest.approx(200.0)
    assert quota.statistics().available == 0
    await asyncio.sleep(200.1)
    (await quota.acquire()).answered()
    assert quota.statistics().profile is QuotaProfile.STEADY
    assert "wants to be left alone for 7200 s" in caplog.text


@virtual_time
async def test_a_refused_waiter_that_is_cancelled_at_once_leaves_no_trace() -> None:
    """The error of a waiter that is cancelled in the same moment is not reported as forgotten."""
    quota = LocalQuota(RateLimit(1, per=60.0))
    permit = await quota.acquire()
    waiter = asyncio.ensure_future(quota.acquire())
    await asyncio.sleep(0)
    quota.rate_limited(7200.0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    permit.answered()
    assert quota.statistics().waiting == 0


@virtual_time
async def test_requests_refused_together_are_one_incident() -> None:
    """Two requests that were out together and are both refused don't cause a fallback."""
    for report_first in (True, False):
        quota = LocalQuota(LIMIT, rng=_Most())
        permits = [await quota.acquire() for _ in range(2)]
        for permit in permits:
            if report_first:
                quota.rate_limited(None)
                permit.answered()
            else:
                permit.answered()
                quota.rate_limited(None)
            await asyncio.sleep(0.3)
        assert quota.statistics().profile is QuotaProfile.STEADY
        assert quota.statistics().rate_limited == 2


@virtual_time
async def test_a_late_straggler_is_no_second_strike() -> None:
    """A 429 of a request from before the block counts with the first, even after the block."""
    quota = LocalQuota(LIMIT, rng=_Most())
    first, second = [await quota.acquire() for _ in range(2)]
    quota.rate_limited(None)
    first.answered()
    await asyncio.sleep(20)
    quota.rate_limited(None)
    second.answered()
    assert quota.statistics().profile is QuotaProfile.STEADY


@virtual_time
async def test_two_unexplained_429s_fall_back_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    """The second incident within an hour leads to one request at a time and one warning."""
    quota = LocalQuota(LIMIT, rng=_Most())
    await refuse(quota)
    await asyncio.sleep(600)
    assert caplog.records == []
    await refuse(quota, 3.0)  # a Retry-After within the window explains nothing
    statistics = quota.statistics()
    assert (statistics.profile, statistics.fallbacks) == (QuotaProfile.SERIAL, 1)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    for word in ("429", "60/60s", "one request at a time", "another client uses the same key"):
        assert word in record.getMessage()
    await refuse(quota)
    assert len(caplog.records) == 1


@virtual_time
async def test_long_retry_afters_and_old_strikes_do_not_count() -> None:
    """A wait longer than the window is a ban, not a matter of pace; strikes fade in an hour."""
    quota = LocalQuota(LIMIT, rng=_Most())
    for _ in range(4):
        await refuse(quota, 120.0)
    for _ in range(4):
        await refuse(quota)
        await asyncio.sleep(PROBATION)
    assert quota.statistics().profile is QuotaProfile.STEADY


@virtual_time
async def test_the_way_back_is_tried_ever_more_rarely() -> None:
    """After an hour without a 429 the faster pace returns; each relapse doubles the time."""
    quota, loop = LocalQuota(LIMIT, rng=_Most()), asyncio.get_running_loop()

    async def seconds_until_restored() -> float:
        since = loop.time()
        while quota.statistics().profile is QuotaProfile.SERIAL:
            (await quota.acquire()).answered()
            quota.succeeded()
            await asyncio.sleep(10)
        return loop.time() - since

    await refuse(quota)
    await refuse(quota)
    assert await seconds_until_restored() == pytest.approx(3600, abs=30)
    for hours in (2, 4, 8, 16, 24, 24):
        await refuse(quota)  # one is enough now
        assert quota.statistics().profile is QuotaProfile.SERIAL
        assert await seconds_until_restored() == pytest.approx(hours * 3600, abs=30)


@virtual_time
async def test_a_429_in_the_serial_profile_starts_the_hour_anew() -> None:
    """The way back is tried after an hour *without* a 429."""
    quota = LocalQuota(LIMIT, rng=_Most())
    await refuse(quota)
    await refuse(quota)
    await asyncio.sleep(3000)
    await refuse(quota)
    await asyncio.sleep(3000)
    (await quota.acquire()).answered()
    assert quota.statistics().profile is QuotaProfile.SERIAL
    await asyncio.sleep(700)
    (await quota.acquire()).answered()
    assert quota.statistics().profile is QuotaProfile.STEADY


@virtual_time
async def test_a_quota_that_is_serial_by_choice_stays_so(caplog: pytest.LogCaptureFixture) -> None:
    """The chosen profile is no fallback: nothing is announced and nothing undone."""
    quota = LocalQuota(RateLimit(60, per=60.0, profile=QuotaProfile.SERIAL), rng=_Most())
    for _ in range(5):
        await refuse(quota)
    await asyncio.sleep(2 * PROBATION)
    (await quota.acquire()).answered()
    assert quota.statistics().profile is QuotaProfile.SERIAL
    assert quota.statistics().fallbacks == 0
    assert caplog.records == []


@virtual_time
async def test_headers_hold_the_waiters_back() -> None:
    """With nothing left for 12 s, those who wait and those who come get their permits then."""
    quota, loop = LocalQuota(LIMIT), asyncio.get_running_loop()
    permits = [await quota.acquire() for _ in range(2)]
    waiting = asyncio.ensure_future(quota.acquire())
    await asyncio.sleep(0.2)
    for permit in permits:
        permit.answered()
    quota.observe(QuotaHint(remaining=0, reset_after=12.0))
    (await waiting).answered()
    assert loop.time() == pytest.approx(12.2)
