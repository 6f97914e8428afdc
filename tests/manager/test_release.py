"""The finish that each purchase is owed: repeated as long as needed, executed exactly once."""

from __future__ import annotations

import asyncio

import pytest

from papsms_async import EarlyCancelError, Outcome, RateLimit, State
from papsms_async.release import LONGEST_PAUSE, Pause, early_pause
from papsms_async.testing import virtual_time


def kinds(engine):
    """Return the kinds of the charge log's entries, in order."""
    return [str(entry.kind) for entry in engine.charge_log]


@pytest.mark.parametrize(
    "faults",
    [
        "finish:server_error#1",
        "finish:drop_before#1",
        "finish:drop_after#1",
        "finish:hang#1",
        "finish:malformed#1",
        "finish:truncated#1",
        "finish:rate_limited#1",
        "finish:refuse#1",
        "finish:server_error@0.6",
        "finish:drop_after@0.6",
        "any:drop_before@0.3",
    ],
)
@pytest.mark.parametrize("service", ["whatsapp", "test-never"])
@virtual_time
async def test_finish_is_repeated_until_taken(world, settled, faults, service):
    """Whatever happens to the finish on its way, the service executes it once."""
    async with world(faults=faults) as w:
        await w.manager.verify(service, sms_timeout=30)
    settled(w.engine)
    assert w.manager.owed == ()


@virtual_time
async def test_too_early_to_cancel_is_tried_again_later(world, settled):
    """A service that wants the number kept for a while gets its cancel when it allows it."""
    async with world(min_cancel_age=60.0) as w:
        result = await w.manager.verify("test-never", sms_timeout=10)
        assert result.outcome is Outcome.TIMED_OUT
        await asyncio.sleep(1)
        assert w.manager.statistics().refunds_expected == result.activation.cost
        await asyncio.sleep(120)
        assert w.manager.statistics().refunded == result.activation.cost
    settled(w.engine)


@virtual_time
async def test_sms_that_wins_the_race_against_the_cancel_is_completed(world, settled):
    """The cancel is refused, the status is read again, and the used number is completed."""
    async with world() as w:
        async with w.manager.activate("test-race", sms_timeout=10):
            await asyncio.sleep(1)
        await asyncio.sleep(60)
        assert kinds(w.engine)[-1] == "complete"
        assert w.manager.statistics().refunds_expected == 0
    settled(w.engine)


@virtual_time
async def test_finish_waits_no_longer_than_about_a_minute(world, settled):
    """Even when due polls take every permit, a finish is sent within about a minute."""
    async with world(
        limit="60/60s", rate_limit=RateLimit(60, 60), manager={"max_in_flight": 200}
    ) as w:
        finished = {}

        def listen(event):
            if event.kind in ("completing", "cancelling"):
                finished[event.intent_id] = -asyncio.get_running_loop().time()
            if event.kind in ("completed", "cancelled"):
                finished[event.intent_id] += asyncio.get_running_loop().time()

        w.manager.subscribe(listen)
        async for _ in w.manager.run(["whatsapp"] * 80):
            pass
    settled(w.engine)
    assert len(finished) == 80
    assert max(finished.values()) < 75


@virtual_time
async def test_what_is_owed_at_a_bounded_close_is_named_and_stays_owed(world, caplog):
    """Closing gives up after its time, names what is owed, and says so in the log."""
    async with world(faults="finish:hang@1") as w:
        async with w.manager.activate("test-instant") as activation:
            await activation.wait_for_sms()
        start = asyncio.get_running_loop().time()
        await w.manager.aclose(drain_timeout=20)
        assert asyncio.get_running_loop().time() - start <= 21
        entry = await w.manager.ledger.get(activation.intent_id)
        assert entry.state is State.COMPLETING
        assert w.manager.owed == (entry,)
    assert activation.activation_id in caplog.text
    assert "still owed" in caplog.text


@virtual_time
async def test_closing_leaves_the_service_alone_for_as_long_as_it_asked(world, settled):
    """Pauses are short at closing, but not where they would end before a ban does.

    Each try in vain is one more line of the ledger's history.
    """
    async with world(faults="finish:rate_limited=400#1") as w:
        async with w.manager.activate("test-instant") as activation:
            await activation.wait_for_sms()
        start = asyncio.get_running_loop().time()
        await w.manager.aclose(drain_timeout=1000)
        assert 400 <= asyncio.get_running_loop().time() - start <= 410
        history = await w.manager.ledger.history(activation.intent_id)
        assert [line.event for line in history].count("finish_failed") <= 3
        assert w.routes().count("finish") == 2
    settled(w.engine)


@pytest.mark.parametrize("owed", [1, 5])
@virtual_time
async def test_closing_does_not_ask_each_second_for_what_is_too_early(world, owed):
    """A number that can't be cancelled yet takes no permit a second, and no line of history."""
    async with world(min_cancel_age=300.0) as w:
        held = [w.manager.activate("test-never") for _ in range(owed)]
        for number in held:
            await number.__aenter__()
        await asyncio.sleep(5)
        await w.manager.aclose(drain_timeout=90)
        assert 1 <= w.routes().count("finish") <= 12 * owed
        assert len(w.manager.owed) == owed


@virtual_time
async def test_closing_obeys_a_ban_that_a_second_look_is_told(world):
    """Where a cancel is refused the status is read; what that answer asks for is kept to."""
    async with world(faults="status:rate_limited=3600") as w:
        async with w.manager.activate("test-race", sms_timeout=10):
            await asyncio.sleep(1)
        await w.manager.aclose(drain_timeout=60)
        assert w.routes().count("finish") <= 3


def test_no_pause_outlasts_its_bound():
    """A service that names a day until a number may be cancelled is asked again in minutes."""
    day = EarlyCancelError("too early", retry_after=86_400.0)
    assert early_pause(day, 0) == Pause(LONGEST_PAUSE, LONGEST_PAUSE)
    soon = EarlyCancelError("too early", retry_after=7.0)
    assert early_pause(soon, 5) == Pause(7.0, 7.0)
    guessed = [early_pause(EarlyCancelError("too early"), failures) for failures in (0, 3, 1000)]
    assert 0 < guessed[0].seconds < guessed[1].seconds < guessed[2].seconds == LONGEST_PAUSE
    assert all(1 < pause.at_closing <= pause.seconds for pause in guessed)


@virtual_time
async def test_closing_makes_pauses_short_that_nobody_asked_for(world, settled):
    """A service that is back is told at once, however long the pauses had grown."""
    async with world(faults="finish:server_error#1-10") as w:
        async with w.manager.activate("test-instant") as activation:
            await activation.wait_for_sms()
        await asyncio.sleep(240)
        start = asyncio.get_running_loop().time()
        await w.manager.aclose()
        assert asyncio.get_running_loop().time() - start <= 10
    settled(w.engine)


@virtual_time
async def test_finish_outlasts_a_night_of_failures(world, settled):
    """A finish that failed more than a thousand times is still tried again, every few minutes."""
    async with world(faults="finish:server_error#1-1100") as w:
        await w.manager.verify("test-instant")
        await asyncio.sleep(3 * 24 * 3600)
        assert w.manager.owed == ()
    settled(w.engine)
