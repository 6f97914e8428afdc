"""Interactive callers before bulk, and tenants in proportion to their weights."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from statistics import mean

import attrs
import pytest

from papsms_async import (
    ConfigurationError,
    Outcome,
    Priority,
    RateLimit,
    VerificationRequest,
)
from papsms_async.testing import virtual_time

LAW = "lognormal:12/0.8,never:0.08"
USUAL = {"limit": "60/60s", "rate_limit": RateLimit(60, 60), "sms_delay": LAW}
PERMIT = 61 / 58
"""Seconds between two permits when the usual limit is used up."""


@attrs.frozen
class Beside:
    """A bulk run with callers beside it.

    Attributes:
        per_minute: Verifications that ended a minute, both kinds together.
        waits: Seconds that each caller waited for its number.
        seen: Seconds from each caller's SMS until it was seen.
        seen_in_bulk: The same of the bulk run's.
    """

    per_minute: float
    waits: list[float]
    seen: list[float]
    seen_in_bulk: list[float]


def delays(results):
    """Return the seconds from each SMS until it was seen."""
    return [(one.sms_at - one.sms.received_at).total_seconds() for one in results if one.sms]


async def bulk_beside_callers(world, count, *, every=None, manager=None, **options):
    """Run ``count`` in bulk, and a caller every so many seconds."""
    manager = {"rng": random.Random(1), **(manager or {})}
    async with world(manager=manager, seed=1, **USUAL) as w:
        now = asyncio.get_running_loop().time
        called = []

        async def call():
            called.append(await w.manager.verify("whatsapp", **options))

        async def callers():
            async with asyncio.TaskGroup() as group:
                while every is not None:
                    await asyncio.sleep(every)
                    group.create_task(call())

        begun = now()
        calling = asyncio.create_task(callers())
        results = [result async for result in w.manager.run(["whatsapp"] * count)]
        took = now() - begun
        calling.cancel()
        await asyncio.wait({calling})
    assert len(results) == count
    return Beside(
        per_minute=60 * (count + len(called)) / took,
        waits=[(one.purchased_at - one.started_at).total_seconds() for one in called],
        seen=delays(called),
        seen_in_bulk=delays(results),
    )


@virtual_time
async def test_interactive_callers_have_their_number_in_a_few_permits(world):
    """Beside 500 in bulk a caller waits for a permit or two, and bulk loses little more than that.

    And its SMS is looked for sooner.
    """
    alone = await bulk_beside_callers(world, 500)
    beside = await bulk_beside_callers(world, 500, every=31.0)
    assert len(beside.waits) > 40
    assert mean(beside.waits) < 2 * PERMIT
    assert sorted(beside.waits)[int(0.95 * len(beside.waits))] < 8 * PERMIT
    assert beside.per_minute > 0.93 * alone.per_minute
    assert mean(beside.seen) < 0.8 * mean(beside.seen_in_bulk)
    assert mean(beside.seen_in_bulk) < 1.3 * mean(alone.seen_in_bulk)


@virtual_time
async def test_priority_makes_no_difference_among_equals(world):
    """Where all are interactive, none of them is looked for at less than the price."""
    async with world(manager={"explain": True}, **USUAL) as w:
        prices = []

        def listen(event):
            if event.decision is not None and event.decision.kind == "poll":
                prices.append((event.decision.price, w.manager.statistics().price))

        w.manager.subscribe(listen)
        await asyncio.gather(*(w.manager.verify("whatsapp") for _ in range(8)))
        assert len(prices) > 20
        assert all(paid == asked for paid, asked in prices)
        prices.clear()
        bulk = asyncio.gather(*(w.manager.verify("whatsapp", priority="bulk") for _ in range(8)))
        await asyncio.gather(bulk, w.manager.verify("whatsapp"))
        assert any(paid < asked for paid, asked in prices)


@virtual_time
async def test_caller_may_say_that_it_can_wait(world):
    """As bulk it stands in line with all the others."""
    beside = await bulk_beside_callers(world, 100, every=31.0, priority="bulk")
    assert mean(beside.waits[:3]) > 20 * PERMIT


@virtual_time
async def test_few_places_do_not_make_callers_wait_for_bulk(world):
    """With ten places taken by bulk all the time, callers find one that was kept for them."""
    options = {"max_in_flight": 10}
    beside = await bulk_beside_callers(world, 100, every=31.0, manager=options)
    assert mean(beside.waits[1:]) < 3 * PERMIT


@virtual_time
async def test_request_knows_better_than_the_call(world):
    """What the request says wins over the call's priority, in bulk as for one."""
    bought = []

    def listen(event):
        if event.kind == "purchasing":
            bought.append(event.request.reference)

    def wanted(name, priority):
        return VerificationRequest("test-instant", reference=name, priority=priority)

    async with world(rate_limit=RateLimit(1, 10)) as w:
        w.manager.subscribe(listen)
        requests = [
            wanted("plain", None),
            wanted("waits", "bulk"),
            wanted("hurries", Priority.INTERACTIVE),
        ]
        async for result in w.manager.run(requests, priority="interactive"):
            assert result.request in requests
        assert bought == ["plain", "hurries", "waits"]
        del bought[:]
        async with asyncio.TaskGroup() as group:
            group.create_task(w.manager.verify("test-instant", reference="0"))
            await asyncio.sleep(0.1)
            group.create_task(w.manager.verify("test-instant", reference="1", priority="bulk"))
            group.create_task(w.manager.verify(wanted("2", "bulk")))
            group.create_task(w.manager.verify(wanted("3", None)))
        assert bought == ["0", "3", "1", "2"]


@virtual_time
async def test_tenants_share_by_weight(world, settled):
    """Three runs at once: twice the weight, twice the purchases, whoever came first."""
    bought = Counter()
    async with world(manager={"tenant_weights": {"a": 2.0}, "max_in_flight": 500}, **USUAL) as w:

        def listen(event):
            if event.kind == "purchasing":
                bought[event.request.tenant] += 1

        async def run(tenant):
            requests = [VerificationRequest("whatsapp", tenant=tenant)] * 200
            async for _ in w.manager.run(requests):
                pass

        w.manager.subscribe(listen)
        runs = [asyncio.create_task(run(tenant)) for tenant in (None, "b", "a")]
        while bought.total() < 100:
            await asyncio.sleep(1)
        for task in runs:
            task.cancel()
        await asyncio.wait(runs)
    settled(w.engine)
    assert bought["a"] == pytest.approx(2 * bought["b"], abs=3)
    assert bought[None] == pytest.approx(bought["b"], abs=2)


@virtual_time
async def test_lone_tenant_does_not_wait_behind_a_long_run(world):
    """One request of another tenant goes next, not behind the hundreds that came before it."""
    async with world(**USUAL) as w:
        requests = [VerificationRequest("test-never", tenant="many")] * 300
        many = asyncio.create_task(anext(w.manager.run(requests)))
        await asyncio.sleep(10)
        bought = w.routes().count("purchase")
        assert w.manager.statistics().queued > 40
        one = w.manager.run([VerificationRequest("test-instant", tenant="one")])
        work = asyncio.create_task(anext(one))
        async for event in w.manager.events():
            if event.kind == "purchased" and event.request.tenant == "one":
                break
        assert w.routes().count("purchase") <= bought + 2
        assert (await work).outcome is Outcome.COMPLETED
        many.cancel()


@pytest.mark.parametrize("priority", ["urgent", "", 1, None])
@virtual_time
async def test_impossible_priorities_are_named(world, priority):
    """A word that is no priority raises at once, and buys nothing."""
    async with world() as w:
        for call in (w.manager.activate, w.manager.verify, w.manager.run):
            with pytest.raises(ConfigurationError, match="'interactive' or 'bulk'"):
                outcome = call(["whatsapp"] if call == w.manager.run else "w", priority=priority)
                await outcome
        if priority is not None:
            with pytest.raises(ConfigurationError, match="'interactive' or 'bulk'"):
                VerificationRequest("whatsapp", priority=priority)
        assert w.routes() == []


@virtual_time
async def test_weight_that_can_not_be_used_is_the_result(world):
    """A function that gives an impossible weight fails the verifications of that tenant alone."""
    async with world(manager={"tenant_weights": {"good": 1.0, "bad": -1.0}.get}) as w:
        good = await w.manager.verify("test-instant", tenant="good")
        bad = await w.manager.verify("test-instant", tenant="bad")
        assert (good.outcome, bad.outcome) == (Outcome.COMPLETED, Outcome.FAILED)
        assert isinstance(bad.error, ConfigurationError)
        assert w.routes().count("purchase") == 1
