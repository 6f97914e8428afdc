"""What is wanted of the permits, and giving numbers back early, through the whole manager."""

from __future__ import annotations

import asyncio
import statistics

import pytest

from papsms_async import ConfigurationError, Outcome, RateLimit, SmsTimeoutError
from papsms_async.pricing import OBJECTIVES
from papsms_async.testing import virtual_time

LIMIT = RateLimit(60, 60)


async def bulk(world, count: int, **manager) -> tuple[list, float]:
    """Run a bulk at 60 a minute; return its results and the requests for each completion."""
    async with world(
        rate_limit=LIMIT, limit="60/60s", sms_delay="lognormal:12/0.8,never:0.08", manager=manager
    ) as w:
        results = [result async for result in w.manager.run(["whatsapp"] * count)]
        completed = sum(result.ok for result in results)
        return results, w.engine.counted_requests / completed


def lateness(results: list) -> float:
    """Mean seconds from the SMS's arrival to its caller's having it."""
    return statistics.fmean(
        (result.sms_at - result.sms.received_at).total_seconds() for result in results if result.ok
    )


@virtual_time
async def test_objectives_trade_requests_for_lateness(world):
    """Quick costs requests, many completions cost lateness, balanced is between."""
    quick, many, both = [
        await bulk(world, 120, objective=name) for name in ("latency", "throughput", "balanced")
    ]
    assert lateness(quick[0]) < lateness(both[0]) < lateness(many[0])
    assert quick[1] > both[1] > many[1]


@pytest.mark.parametrize("requests", [60, 12])
@virtual_time
async def test_one_alone_leaves_a_permit_to_the_next(world, requests):
    """Who comes when somebody's SMS was looked for all the time need not wait for a permit."""
    async with world(
        rate_limit=RateLimit(requests, 60), limit=f"{requests}/60s", sms_delay="fixed:100"
    ) as w:
        loop = asyncio.get_running_loop()
        first = asyncio.create_task(w.manager.verify("whatsapp"))
        await asyncio.sleep(95)
        assert len(w.routes()) > 95 * requests / 60 / 1.4
        async with w.manager.activate("whatsapp"):
            assert loop.time() < 95.5
        assert (await first).ok


@virtual_time
async def test_no_look_within_the_first_second(world):
    """However many permits lie idle: as with planned polls, an SMS is given a second to come."""
    async with world(rate_limit=RateLimit(600, 60), limit="600/60s", sms_delay="fixed:5") as w:
        first = asyncio.create_task(w.manager.verify("whatsapp"))
        await asyncio.sleep(0.95)
        assert w.routes() == ["purchase"]
        assert (await first).ok
        # One a second, not one for each permit.
        assert w.routes().count("status") <= 6


@pytest.mark.parametrize(
    ("requests", "count", "seed", "late"),
    [(60, 300, 0, 45), (60, 300, 3, 45), (6, 60, 0, 60), (6, 60, 5, 60), (3, 30, 1, 60)],
)
@virtual_time
async def test_many_places_do_not_make_a_cohort(world, requests, count, seed, late):
    """However many may be in flight, none is bought whose last look nobody could make in time."""
    async with world(
        seed=seed,
        rate_limit=RateLimit(requests, 60),
        limit=f"{requests}/60s",
        sms_delay="lognormal:12/0.8,never:0.08",
        manager={"objective": "throughput", "max_in_flight": 1000},
    ) as w:
        results = [result async for result in w.manager.run(["whatsapp"] * count)]
    # An SMS within the last moment may come behind the last look.
    came = [
        bought
        for bought in w.engine.activations.values()
        if bought.sms_at is not None and bought.sms_at <= bought.bought_at + 119
    ]
    assert sum(result.ok for result in results) >= len(came)
    assert lateness(results) < late
    assert w.engine.busiest_window(60) <= requests


@virtual_time
async def test_flows_that_need_no_request_leave_room_for_others(world):
    """Numbers that are held for long after their SMS keep nobody from buying."""

    async def slow(live) -> None:
        await live.wait_for_sms()
        await asyncio.sleep(600)

    async with world(rate_limit=LIMIT, limit="60/60s", manager={"max_in_flight": 100}) as w:
        began = asyncio.get_running_loop().time()
        async for result in w.manager.run(["whatsapp"] * 60, flow=slow):
            assert result.ok
        assert asyncio.get_running_loop().time() - began < 600 + 300


@virtual_time
async def test_a_wait_without_answers_teaches_nothing(world):
    """Where no status could be read, it is not known that no SMS came."""
    async with world(sms_delay="fixed:5", faults="status:server_error") as w:
        delays = w.manager._parts.poller.times.delays
        law = delays.law("whatsapp", "us")
        result = await w.manager.verify("whatsapp", "us")
        assert result.outcome is not Outcome.COMPLETED
        assert delays.law("whatsapp", "us").survival(120.0) == pytest.approx(law.survival(120.0))


@virtual_time
async def test_price_may_be_given(world):
    """A number is the price in bulk."""
    async with world(rate_limit=LIMIT, manager={"objective": 8.0}) as w:
        run = w.manager.run(["test-delay-30"] * 200)
        await anext(run)
        assert w.manager.statistics().price == 8.0
        await run.aclose()


@pytest.mark.parametrize("wrong", ["quick", -1, None])
@virtual_time
async def test_wrong_objective_is_refused(world, wrong):
    """A wrong one is told before anything is bought, with what there is."""
    with pytest.raises(ConfigurationError, match="latency, balanced, throughput"):
        async with world(manager={"objective": wrong}):
            pass
    assert "balanced" in OBJECTIVES


@pytest.mark.parametrize("wrong", [-0.1, 1, "0.1"])
@virtual_time
async def test_wrong_chance_is_refused(world, wrong):
    """It is a probability below one."""
    with pytest.raises(ConfigurationError, match="early_cancel"):
        async with world(manager={"early_cancel": wrong}):
            pass


@virtual_time
async def test_hopeless_numbers_are_given_back_early(world):
    """With enough seen, a number whose SMS hardly comes any more does not wait for its timeout."""
    early, late = [await bulk(world, 150, early_cancel=chance) for chance in (0.05, 0.0)]
    for results, gives_up in ((early[0], True), (late[0], False)):
        waits = [
            (result.ended_at - result.purchased_at).total_seconds()
            for result in results
            if result.outcome is Outcome.TIMED_OUT
        ]
        assert waits
        assert (min(waits) < 110) is gives_up
        assert max(waits) < 130
    told = [str(r.error) for r in early[0] if isinstance(r.error, SmsTimeoutError)]
    assert any("given back early" in text for text in told)


@virtual_time
async def test_nothing_is_given_up_on_thin_evidence(world):
    """As long as little was seen of a service, its numbers get their whole timeout."""
    async with world(manager={"early_cancel": 0.9}) as w:
        result = await w.manager.verify("test-never")
        waited = (result.ended_at - result.purchased_at).total_seconds()
        assert result.outcome is Outcome.TIMED_OUT
        assert waited >= 120


@virtual_time
async def test_no_permit_is_lost_while_somebody_waits(world):
    """With permits to spare, a number that waits is looked after about once a second."""
    async with world(rate_limit=LIMIT, limit="60/60s", sms_delay="fixed:60") as w:
        result = await w.manager.verify("whatsapp")
        assert result.ok
        assert w.routes().count("status") >= 50
        assert w.engine.busiest_window(60) <= 60
