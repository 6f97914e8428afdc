"""The pure arithmetic of the quota."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async.bucket import EPSILON, Bucket, Pace, QuotaHint
from papsms_async.limits import QuotaProfile, RateLimit

PROFILES = list(QuotaProfile)


def drain(bucket: Bucket, now: float) -> int:
    """Take every permit that is ready at ``now`` and return how many."""
    taken = 0
    while bucket.ready_at(now) <= now:
        bucket.take(now)
        taken += 1
    return taken


@pytest.mark.parametrize(
    ("profile", "window", "burst", "per_minute"),
    [
        (QuotaProfile.STEADY, 61.0, 2, 58 / 61 * 60),
        (QuotaProfile.FAST, 60.25, 5, 60 / 60.25 * 60),
        (QuotaProfile.SERIAL, 61.0, 1, 60 / 61 * 60),
    ],
)
def test_the_default_limit_has_the_measured_numbers(
    profile: QuotaProfile, window: float, burst: int, per_minute: float
) -> None:
    """60 requests in 60 s give the window, burst and rate of the design."""
    pace = Pace.of(RateLimit(60, per=60.0), profile)
    assert (pace.window, pace.burst) == (window, burst)
    assert pace.rate * 60 == pytest.approx(per_minute)
    assert pace.spacing == (pytest.approx(61 / 60) if profile is QuotaProfile.SERIAL else 0)


@given(
    requests=st.integers(1, 200_000),
    per=st.floats(0.01, 86_400),
    profile=st.sampled_from(PROFILES),
)
def test_every_limit_has_usable_numbers(requests: int, per: float, profile: QuotaProfile) -> None:
    """For any limit the burst is within it, the rate above 0 and W longer than W0."""
    pace = Pace.of(RateLimit(requests, per=per), profile)
    assert pace.limit == requests
    assert 1 <= pace.burst <= requests
    assert pace.rate > 0
    assert pace.window >= per + 10 * EPSILON
    assert pace.window <= per + max(1.0, 0.05 * per)
    if profile is QuotaProfile.STEADY and requests > 1:
        assert pace.burst + pace.rate * pace.window <= requests * (1 + 1e-9)


@given(
    requests=st.integers(2, 40),
    pauses=st.lists(st.sampled_from([0.0, 0.0, 0.01, 0.3, 1.0, 5.0, 90.0]), max_size=150),
)
def test_steady_pacing_alone_keeps_the_limit(requests: int, pauses: list[float]) -> None:
    """Even if each answer came at once, no W seconds see more than burst + rate * W <= N grants."""
    bucket = Bucket(Pace.of(RateLimit(requests, per=60.0)))
    window = bucket.pace.window
    bucket.pace = Pace.of(RateLimit(10_000, per=60.0))  # takes the guard out of the way
    now, grants = 0.0, []
    for pause in pauses:
        now = max(bucket.ready_at(now), now + pause)
        if bucket.ready_at(now) <= now:
            bucket.take(now)
            bucket.answered(now)
            grants.append(now)
    for first in grants:
        assert sum(1 for at in grants if first <= at < first + window - EPSILON) <= requests


def test_a_permit_returns_a_window_after_its_answer() -> None:
    """With one permit in all, the next is ready W after the answer, not after the sending."""
    bucket = Bucket(Pace.of(RateLimit(1, per=60.0)))
    bucket.take(100.0)
    assert bucket.ready_at(500.0) == math.inf
    bucket.answered(500.0)
    assert bucket.ready_at(500.0) == 561.0
    assert bucket.ready_at(560.9) == 561.0
    assert bucket.ready_at(561.0) == 561.0
    assert bucket.cooling(561.0) == 0


def test_a_lost_answer_keeps_its_permit_for_the_grace_too() -> None:
    """After ``lost`` the permit returns grace + W later."""
    bucket = Bucket(Pace.of(RateLimit(1, per=60.0)))
    bucket.take(0.0)
    bucket.lost(10.0, 30.0)
    assert bucket.ready_at(10.0) == 101.0


def test_an_unsent_permit_gives_back_slot_and_token() -> None:
    """After ``unsent`` the bucket is as before the permit was taken."""
    bucket = Bucket(Pace.of(RateLimit(60, per=60.0)))
    assert drain(bucket, 0.0) == 2
    bucket.unsent()
    bucket.unsent()
    assert bucket.held == 0
    assert bucket.available(0.0) == 2
    assert drain(bucket, 0.0) == 2


def test_lost_permits_do_not_hold_back_those_answered_later() -> None:
    """Permits return in the order of their instants, whatever the order they were reported in."""
    bucket = Bucket(Pace.of(RateLimit(2, per=60.0), QuotaProfile.FAST))
    bucket.take(0.0)
    bucket.take(0.0)
    bucket.lost(0.0, 100.0)
    bucket.answered(1.0)
    assert bucket.ready_at(1.0) == 61.25


def test_serial_sends_one_at_a_time_with_a_spacing_after_the_answer() -> None:
    """In the serial profile nothing is ready while a permit is out, nor right after its answer."""
    bucket = Bucket(Pace.of(RateLimit(60, per=60.0), QuotaProfile.SERIAL))
    assert bucket.available(0.0) == 1
    bucket.take(0.0)
    assert bucket.ready_at(0.0) == math.inf
    bucket.answered(0.2)
    assert bucket.ready_at(0.2) == pytest.approx(0.2 + 61 / 60)


def test_changing_the_pace_hands_out_no_full_bucket() -> None:
    """After a change at most one permit is ready, and what is held stays held."""
    bucket = Bucket(Pace.of(RateLimit(60, per=60.0), QuotaProfile.SERIAL))
    bucket.take(0.0)
    bucket.answered(0.0)
    bucket.change_pace(Pace.of(RateLimit(60, per=60.0)), 100.0)
    assert drain(bucket, 100.0) <= 1


def test_a_block_holds_everything_back_and_is_never_shortened() -> None:
    """Nothing is ready before the end of the longest block."""
    bucket = Bucket(Pace.of(RateLimit(60, per=60.0)))
    bucket.block(50.0)
    bucket.block(20.0)
    assert bucket.ready_at(0.0) == 50.0
    assert bucket.blocked_for(20.0) == 30.0
    assert bucket.available(20.0) == 0
    assert bucket.blocked_for(50.0) == 0.0
    assert bucket.ready_at(50.0) == 50.0


def test_taking_more_than_the_limit_is_an_error() -> None:
    """The bucket checks its own invariant: held + cooling never exceed the limit."""
    bucket = Bucket(Pace.of(RateLimit(2, per=60.0)))
    bucket.take(0.0)
    bucket.take(0.0)
    with pytest.raises(AssertionError, match="more permits"):
        bucket.take(0.0)


def test_a_huge_limit_is_reached_with_coarse_timers() -> None:
    """100,000 a second are not throttled by timers that come every 20 ms."""
    bucket = Bucket(Pace.of(RateLimit(100_000, per=1.0)))
    granted, now = 0, 0.0
    for _ in range(100):
        taken = drain(bucket, now)
        for _ in range(taken):
            bucket.answered(now)
        granted += taken
        now += 0.02
    assert granted / now == pytest.approx(bucket.pace.rate, rel=0.05)


def test_a_hint_of_another_client_limits_what_follows() -> None:
    """With 3 requests left for 20 s, three permits are granted until then and no more."""
    bucket = Bucket(Pace.of(RateLimit(60, per=60.0)))
    bucket.tighten(QuotaHint(3, 20.0), 0.0)
    granted, now = [], 0.0
    while (now := bucket.ready_at(now)) < 25.0:
        bucket.take(now)
        bucket.answered(now)
        granted.append(now)
    assert sum(1 for at in granted if at < 20.0) == 3
    assert granted[3] == 20.0


def test_a_hint_counts_the_requests_under_way() -> None:
    """What is held may not be counted by the server yet, so it is subtracted."""
    bucket = Bucket(Pace.of(RateLimit(60, per=60.0)))
    assert drain(bucket, 0.0) == 2
    bucket.tighten(QuotaHint(2, 30.0), 0.0)
    assert bucket.ready_at(1.5) == 30.0
    bucket.unsent()
    assert bucket.available(1.5) == 1


def test_a_reset_beyond_the_window_is_capped() -> None:
    """No hint reaches further than W."""
    bucket = Bucket(Pace.of(RateLimit(60, per=60.0)))
    bucket.tighten(QuotaHint(0, 1e9), 0.0)
    assert bucket.ready_at(0.0) == 61.0


@pytest.mark.parametrize(
    "hint",
    [
        QuotaHint(),
        QuotaHint(5, None),
        QuotaHint(None, 5.0),
        QuotaHint(0, 0.0),
        QuotaHint(0, -3.0),
        QuotaHint(0, math.nan),
        QuotaHint(60, 30.0),
        QuotaHint(1000, 30.0),
    ],
)
def test_hints_that_say_nothing_change_nothing(hint: QuotaHint) -> None:
    """Incomplete hints, and those that leave as much as the own count, are ignored."""
    bucket = Bucket(Pace.of(RateLimit(60, per=60.0)))
    bucket.tighten(hint, 0.0)
    assert bucket.available(0.0) == 2


def test_truthful_hints_of_a_sliding_window_cost_nothing() -> None:
    """A lone client that is told exactly what it has left keeps its rate."""
    bucket, now, log = Bucket(Pace.of(RateLimit(60, per=60.0))), 0.0, []
    while (now := bucket.ready_at(now)) < 600.0:
        bucket.take(now)
        log.append(now)
        bucket.answered(now)
        bucket.tighten(QuotaHint(60 - sum(1 for at in log if at > now - 60), 60.0), now)
    assert len(log) / 10 == pytest.approx(57.05, abs=0.5)


hints = st.tuples(
    st.builds(QuotaHint, st.integers(0, 60), st.floats(0.1, 100.0)), st.floats(0.0, 5.0)
)


@given(st.lists(hints, min_size=1, max_size=60))
def test_hints_never_loosen(stream: list[tuple[QuotaHint, float]]) -> None:
    """With hints, every permit comes at the same time as without them or later."""
    free, told = (Bucket(Pace.of(RateLimit(60, per=60.0))) for _ in range(2))
    at_free = at_told = 0.0
    for hint, pause in stream:
        told.tighten(hint, at_told)
        at_free = free.ready_at(at_free + pause)
        at_told = told.ready_at(max(at_told, at_free))
        for bucket, now in ((free, at_free), (told, at_told)):
            bucket.take(now)
            bucket.answered(now)
        assert at_told >= at_free - EPSILON


@given(st.lists(hints, min_size=1, max_size=120))
def test_every_foreign_hint_is_kept_until_its_reset(stream: list[tuple[QuotaHint, float]]) -> None:
    """However many hints overlap, each that says less than the own count holds until its reset."""
    bucket, now, granted = Bucket(Pace.of(RateLimit(60, per=60.0))), 0.0, []
    promises: list[tuple[float, float, int]] = []
    for hint, pause in stream:
        used = bucket.held + bucket.cooling(now)
        bucket.tighten(hint, now)
        assert hint.remaining is not None
        assert hint.reset_after is not None
        if hint.remaining + used < 60:
            until = now + min(hint.reset_after, bucket.pace.window)
            promises.append((now, until, hint.remaining))
        now += pause
        while bucket.ready_at(now) <= now:
            bucket.take(now)
            bucket.answered(now)
            granted.append(now)
        # A grant at the very instant of a hint came before it in the next round.
        now += 1e-3
    for since, until, most in promises:
        assert sum(1 for at in granted if since <= at < until - EPSILON) <= most


def test_many_overlapping_hints_stay_cheap() -> None:
    """However many hints differ, only a few are kept, and merging them is on the strict side."""
    bucket = Bucket(Pace.of(RateLimit(10_000, per=60.0)))
    for number in range(200):
        bucket.tighten(QuotaHint(10 * number, 1.0 + number / 4), 0.0)
    assert len(bucket._hints) <= 32
    assert bucket.ready_at(0.0) == 1.0
    kept = bucket._hints
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(kept))
