"""Why each permit went where it went: told to those who ask, and to nobody else."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from papsms_async import DecisionKind, EventKind, RateLimit, VerificationRequest
from papsms_async.explaining import KEPT
from papsms_async.polling import index
from papsms_async.testing import virtual_time

USUAL = {
    "limit": "60/60s",
    "rate_limit": RateLimit(60, 60),
    "sms_delay": "lognormal:12/0.8,never:0.08",
}
KIND_OF_ROUTE = {
    "purchase": DecisionKind.PURCHASE,
    "status": DecisionKind.POLL,
    "finish": DecisionKind.FINISH,
}


@virtual_time
async def test_permits_are_counted_and_nothing_is_explained_unasked(world):
    """Without ``explain`` there are counts, no decision is made, and no event tells of one."""
    async with world() as w:
        kinds = []
        w.manager.subscribe(lambda event: kinds.append(event.kind))
        async for _ in w.manager.run(["whatsapp"] * 5):
            pass
        await asyncio.sleep(60)
        statistics = w.manager.statistics()
    assert EventKind.DECIDED not in kinds
    assert statistics.decisions == ()
    assert statistics.permits == Counter(KIND_OF_ROUTE[route] for route in w.routes())
    assert statistics.permits[DecisionKind.PURCHASE] == 5


@virtual_time
async def test_every_request_has_its_decision(world, settled):
    """One decision a request, in order, with what was known in that moment."""
    async with world(manager={"explain": True, "max_in_flight": 200}, **USUAL) as w:
        told, priced, laws = [], [], []

        def listen(event):
            if event.kind is EventKind.DECIDED:
                told.append(event)
                priced.append(w.manager.statistics().price)
                laws.append(w.manager._parts.poller.times.delays.law("whatsapp", "us"))

        w.manager.subscribe(listen)
        async for _ in w.manager.run(["whatsapp"] * 60):
            pass
        await asyncio.sleep(120)
        statistics = w.manager.statistics()
    decisions = [event.decision for event in told]
    assert [one.at for one in decisions] == [event.at for event in told]
    assert all(one.intent_id == event.intent_id for one, event in zip(decisions, told, strict=True))
    assert all(one.request is event.request for one, event in zip(decisions, told, strict=True))
    settled(w.engine)
    assert [one.kind for one in decisions] == [KIND_OF_ROUTE[route] for route in w.routes()]
    assert [one.price for one in decisions] == priced
    assert statistics.decisions == tuple(decisions[-KEPT:])
    assert sum(statistics.permits.values()) == len(decisions)
    purchases = [one for one in decisions if one.kind is DecisionKind.PURCHASE]
    assert [one.purchases for one in purchases[2:]] == [*range(57, -1, -1)]
    assert str(purchases[10].runner_up).startswith("purchase (waits ")
    assert purchases[0].law.source is None
    polls = [one for one in decisions if one.kind is DecisionKind.POLL]
    assert all(one.last_look <= one.due <= one.age + 1e-6 for one in polls)
    assert all(one.waited == pytest.approx(one.age - one.due, abs=1e-6) for one in polls)
    assert all((one.delay_cost <= 1.0) is (one.age < one.timeout) for one in polls)
    assert max(one.waited for one in polls) > 1
    # Whoever waits most urgently is named: another poll that is due, and where none is, a finish.
    nexts = Counter(one.runner_up.what for one in polls if one.runner_up is not None)
    assert nexts["bulk poll"] > 0
    assert nexts["finish"] > 0
    assert polls[-1].law.source == ("whatsapp", "us")
    finishes = [one for one in decisions if one.kind is DecisionKind.FINISH]
    assert all(one.index is None and one.law is None for one in finishes)
    assert finishes[-1].finishes == 0
    # What a poll was said to save is what the law said in that very moment.
    for one, law in zip(decisions, laws, strict=True):
        if one.kind is DecisionKind.POLL:
            assert one.index == index(law, one.last_look, one.age)
            assert one.law.never == law.survival(one.timeout)


@virtual_time
async def test_each_permit_counts_also_those_that_were_turned_away(world):
    """A request that is sent again has a decision each time, and so has each fallback."""
    async with world(manager={"explain": True}, faults="any:rate_limited=1#2-6") as w:
        request = VerificationRequest("test-no-numbers-us", "us", fallbacks=("gb",), reference="r")
        await w.manager.verify(request)
        await asyncio.sleep(60)
        statistics = w.manager.statistics()
    assert statistics.quota.rate_limited == 5
    assert sum(statistics.permits.values()) == statistics.quota.granted == len(w.routes())
    assert [one.kind for one in statistics.decisions] == [KIND_OF_ROUTE[r] for r in w.routes()]
    assert statistics.decisions[0].country == "us"
    assert statistics.decisions[1].country == "gb"
    assert "whatsapp" not in str(statistics.decisions[1])


@virtual_time
async def test_listener_that_fails_does_no_harm(world, settled):
    """An explanation that somebody stumbles over stops no request."""
    async with world(manager={"explain": True}) as w:

        def listen(event):
            if event.decision is not None:
                raise RuntimeError("listener")

        w.manager.subscribe(listen)
        assert (await w.manager.verify("whatsapp")).ok
    settled(w.engine)


@virtual_time
async def test_an_interactive_caller_in_line_is_named_as_what_it_is(world):
    """Its purchase waits with the rank of bulk's polls, and still is told to be a purchase."""
    async with world(manager={"explain": True, "max_in_flight": 50}, **USUAL) as w:
        told = []
        w.manager.subscribe(lambda event: told.append(event.decision))
        await asyncio.gather(*(w.manager.verify("whatsapp") for _ in range(40)))
    nexts = [one.runner_up for one in told if one is not None and one.runner_up is not None]
    assert {one.what for one in nexts} >= {"poll", "purchase"}
    # There is no bulk, so nothing of bulk can be next.
    assert "bulk poll" not in {one.what for one in nexts}
    assert all(one.waits is None or one.waits < 600 for one in nexts)


@virtual_time
async def test_explanation_that_fails_stops_no_request(world, settled, caplog):
    """Numbers are bought and finished also where why they are can't be told."""
    async with world(manager={"explain": True}) as w:
        w.manager.client.quota.next_in_line = None
        assert (await w.manager.verify("whatsapp")).ok
        statistics = w.manager.statistics()
    settled(w.engine)
    assert statistics.decisions == ()
    assert statistics.permits[DecisionKind.PURCHASE] == 1
    assert "can't be explained: TypeError" in caplog.text
