"""`verify` and `run`: results instead of errors, backpressure, order of completion."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from decimal import Decimal

import pytest

from papsms_async import (
    Budget,
    ConfigurationError,
    ManagerClosedError,
    Outcome,
    SmsTimeoutError,
    VerificationRequest,
)
from papsms_async.testing import virtual_time


async def outcome_of(manager, service, **options):
    """Verify once and return the outcome."""
    return (await manager.verify(service, **options)).outcome


@virtual_time
async def test_verify_returns_what_the_flow_returned(world, settled):
    """The flow is the body of the block; its value, the SMS and the money are in the result."""

    async def flow(activation):
        sms = await activation.wait_for_sms()
        return f"signed up with {sms.code}"

    async with world() as w:
        result = await w.manager.verify("whatsapp", "gb", flow=flow, reference="user-1")
        assert result.ok
        assert result.outcome is Outcome.COMPLETED
        assert result.value == f"signed up with {result.sms.code}"
        assert result.request.reference == "user-1"
        assert result.cost == result.activation.cost
        assert result.cost_uncertain == 0
        assert result.attempts == 1
        assert result.started_at <= result.purchased_at <= result.sms_at <= result.ended_at
        assert result.raise_for_outcome() is result
    settled(w.engine)


@pytest.mark.parametrize(
    ("service", "outcome"),
    [
        ("test-instant", Outcome.COMPLETED),
        ("test-null-code", Outcome.COMPLETED),
        ("test-never", Outcome.TIMED_OUT),
        ("test-no-numbers", Outcome.NO_NUMBERS),
        ("test-no-balance", Outcome.NO_BALANCE),
        ("test-bad-service", Outcome.REJECTED),
        ("test-bad-country", Outcome.REJECTED),
        ("test-bad-key", Outcome.REJECTED),
        ("test-ip", Outcome.REJECTED),
        ("test-banned", Outcome.REJECTED),
        ("test-account-blocked", Outcome.REJECTED),
        ("test-temp-banned", Outcome.REJECTED),
        ("test-cancelled", Outcome.CANCELLED),
        ("test-expired", Outcome.CANCELLED),
        ("test-error", Outcome.UNKNOWN),
        ("test-error-html", Outcome.UNKNOWN),
        ("test-error-empty", Outcome.UNKNOWN),
        ("test-malformed", Outcome.FAILED),
        ("test-html", Outcome.UNKNOWN),
        ("test-empty", Outcome.UNKNOWN),
        ("test-null", Outcome.UNKNOWN),
        ("test-list", Outcome.UNKNOWN),
        ("test-null-id", Outcome.UNKNOWN),
        ("test-deep", Outcome.UNKNOWN),
        ("test-drop-after", Outcome.UNKNOWN),
        ("test-truncated", Outcome.UNKNOWN),
        ("test-hang-after", Outcome.UNKNOWN),
        ("test-redirect", Outcome.UNKNOWN),
        ("test-missing-fields", Outcome.FAILED),
        ("test-numeric-id", Outcome.COMPLETED),
        ("test-string-cost", Outcome.COMPLETED),
        ("test-string-error", Outcome.NO_NUMBERS),
        ("test-message-error", Outcome.NO_NUMBERS),
        ("test-slow", Outcome.COMPLETED),
        ("test-late", Outcome.COMPLETED),
        ("test-race", Outcome.TIMED_OUT),
    ],
)
@virtual_time
async def test_every_magic_service_has_its_defined_end(world, service, outcome):
    """Each way in which the service can answer has one outcome, one purchase and one finish."""
    async with world() as w:
        result = await w.manager.verify(service)
        assert result.outcome is outcome, result.error
        assert w.routes().count("purchase") == 1
        if outcome is Outcome.UNKNOWN:
            assert result.cost_uncertain == 3
            assert w.manager.statistics().unknown == 3
        if outcome is not Outcome.COMPLETED:
            assert result.error is not None
            assert result.cost == 0
    assert all(count <= 1 for count in w.engine.finish_counts().values())
    known = {result.activation.activation_id} if result.activation else set()
    assert not [a for a in w.engine.open_activations() if a.activation_id in known]


@virtual_time
async def test_flow_errors_are_results(world, settled):
    """A flow that raises gives a failed result and its number back; other flows go on."""

    async def flow(activation):
        await activation.wait_for_sms()
        raise LookupError("no such page")

    async def early(activation):
        raise LookupError("no such page")

    async with world() as w:
        after = await w.manager.verify("whatsapp", flow=flow)
        before = await w.manager.verify("whatsapp", flow=early)
        assert after.outcome is before.outcome is Outcome.FAILED
        assert isinstance(after.error, LookupError)
        assert after.cost == after.activation.cost
        assert (before.cost, before.cost_uncertain) == (0, before.activation.cost)
    settled(w.engine)


@virtual_time
async def test_flow_that_catches_the_timeout_still_timed_out(world):
    """A flow may swallow the timeout; the outcome tells what happened all the same."""

    async def flow(activation):
        try:
            await activation.wait_for_sms()
        except SmsTimeoutError:
            return "none"
        return "some"

    async with world() as w:
        result = await w.manager.verify("test-never", flow=flow, sms_timeout=5)
        assert (result.outcome, result.value) == (Outcome.TIMED_OUT, "none")


@virtual_time
async def test_run_gives_every_request_one_result_as_they_end(world, settled):
    """Results come in order of completion; each request has exactly one."""
    delays = [30, 5, 20, 1, 12]
    async with world() as w:
        results = [
            result.request.reference
            async for result in w.manager.run(
                VerificationRequest(f"test-delay-{delay}", reference=str(delay)) for delay in delays
            )
        ]
    assert sorted(results) == sorted(map(str, delays))
    assert results.index("1") < results.index("12") < results.index("30")
    settled(w.engine)


@virtual_time
async def test_run_takes_async_input_and_names(world):
    """The input may be an async iterable, and a plain name is a request."""

    async def names():
        for _ in range(3):
            await asyncio.sleep(1)
            yield "test-instant"

    async with world() as w:
        outcomes = Counter([result.outcome async for result in w.manager.run(names())])
        assert outcomes == {Outcome.COMPLETED: 3}
        assert w.manager.statistics().outcomes == {Outcome.COMPLETED: 3}


@virtual_time
async def test_endless_input_is_read_only_as_there_is_room(world, settled):
    """With a slow consumer the input waits; leaving the loop releases what runs."""
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield VerificationRequest("whatsapp")

    async with world(manager={"max_in_flight": 7}) as w:
        seen = 0
        async with contextlib.aclosing(w.manager.run(endless())) as results:
            async for _ in results:
                seen += 1
                await asyncio.sleep(100)
                assert w.manager.statistics().in_flight <= 7
                assert read <= seen + 2 * 7
                if seen == 20:
                    break
    settled(w.engine)


@virtual_time
async def test_error_of_the_input_comes_after_all_results(world, settled):
    """What was begun ends with its result before the input's own error is raised."""

    def broken():
        yield VerificationRequest("test-instant")
        yield VerificationRequest("test-instant")
        raise OSError("the disk is gone")

    async with world() as w:
        seen = []
        with pytest.raises(OSError, match="disk is gone"):
            async for result in w.manager.run(broken()):
                seen.append(result.outcome)
        assert seen == [Outcome.COMPLETED] * 2
    settled(w.engine)


@virtual_time
async def test_input_of_another_type_is_refused_in_one_sentence(world):
    """Anything but requests and names is an error that says so."""
    async with world() as w:
        with pytest.raises(ConfigurationError, match="VerificationRequest"):
            async for _ in w.manager.run([42]):
                pytest.fail("it is no request")
        assert w.engine.request_log == [] or not list(w.engine.request_log)


@virtual_time
async def test_cancelled_consumer_releases_what_runs(world, settled):
    """Cancelling the task that runs the loop leaves no number open."""
    async with world(sms_delay="never") as w:

        async def consume():
            async for _ in w.manager.run(["whatsapp"] * 10):
                pytest.fail("no SMS ever comes")

        task = asyncio.create_task(consume())
        await asyncio.sleep(20)
        assert w.manager.statistics().in_flight == 10
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert w.manager.statistics().in_flight == 0
    settled(w.engine)


@virtual_time
async def test_stop_buying_lets_running_ones_end(world, settled):
    """After `stop_buying` nothing is bought, and what was bought runs to its end."""
    async with world(manager={"max_in_flight": 5}) as w:
        outcomes = Counter()
        async for result in w.manager.run(VerificationRequest("whatsapp") for _ in range(50)):
            outcomes[result.outcome] += 1
            w.manager.stop_buying()
        assert outcomes[Outcome.COMPLETED] == 5
        assert set(outcomes) <= {Outcome.COMPLETED, Outcome.CANCELLED}
        assert sum(entry.kind == "purchase" for entry in w.engine.charge_log) == 5
        result = await w.manager.verify("whatsapp")
        assert isinstance(result.error, ManagerClosedError)
    settled(w.engine)


@virtual_time
async def test_budget_is_never_exceeded_and_refusals_are_results(world, settled):
    """Purchases that might go over the budget are not made; refunds make room again."""
    budget = Budget("6.5", worst_price="3")
    async with world(manager={"budget": budget}) as w:
        results = [
            result async for result in w.manager.run(["test-instant"] * 30 + ["test-never"] * 10)
        ]
        outcomes = Counter(result.outcome for result in results)
        assert outcomes[Outcome.OVER_BUDGET] > 0
        assert sum((result.cost for result in results), Decimal(0)) <= budget.limit
        spent = most = Decimal(0)
        for entry in w.engine.charge_log:
            spent += {"purchase": 1, "refund": -1}.get(str(entry.kind), 0) * entry.amount
            most = max(most, spent)
        assert most <= budget.limit
    settled(w.engine)


@virtual_time
async def test_statistics_and_events_tell_the_same_story(world):
    """Every verification's steps are told in order, and the sums agree with the service's log."""
    async with world() as w:
        stream = w.manager.events()
        results = [r async for r in w.manager.run(["test-instant", "test-no-numbers"])]
        stream.close()
        told = {}
        async for event in stream:
            told.setdefault(event.request.service, []).append(event.kind.value)
    assert told["test-instant"][:5] == [
        "queued",
        "purchasing",
        "purchased",
        "waiting_for_sms",
        "sms_received",
    ]
    assert told["test-no-numbers"] == ["queued", "purchasing", "not_purchased", "result"]
    statistics = w.manager.statistics()
    assert statistics.spend == sum(result.cost for result in results)
    assert w.engine.balance == 1000 - statistics.spend


@virtual_time
async def test_broken_listener_does_no_harm(world):
    """A listener that raises is told nothing less, and nothing else suffers."""
    async with world() as w:
        heard = []

        def listener(event):
            heard.append(event.kind)
            raise RuntimeError("listener")

        unsubscribe = w.manager.subscribe(listener)
        assert await outcome_of(w.manager, "test-instant") is Outcome.COMPLETED
        count = len(heard)
        unsubscribe()
        assert await outcome_of(w.manager, "test-instant") is Outcome.COMPLETED
        assert count == len(heard) > 4
