"""One activation: what its block promises about the number, the wait and the finish."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from papsms_async import (
    ActivationEndedError,
    ActivationError,
    InsufficientBalanceError,
    ManagerClosedError,
    NoNumbersError,
    SmsTimeoutError,
    State,
)
from papsms_async.testing import virtual_time


def kinds(engine):
    """Return the kinds of the charge log's entries, in order."""
    return [str(entry.kind) for entry in engine.charge_log]


@virtual_time
async def test_left_with_an_sms_is_completed(world, settled):
    """A block that got its SMS completes the number, exactly once."""
    async with world() as w:
        async with w.manager.activate("whatsapp", "us") as activation:
            assert activation.phone_number.startswith("+1")
            assert activation.cost > 0
            assert activation.state is State.WAITING
            sms = await activation.wait_for_sms()
            assert sms.code is not None
            assert sms.code in sms.full_text
            assert activation.sms is sms
            assert await activation.wait_for_sms() is sms
        assert "finish" not in w.routes()[:2]
    settled(w.engine)
    assert kinds(w.engine) == ["purchase", "complete"]


@virtual_time
async def test_leaving_does_not_wait_for_the_finish(world, settled):
    """The finish is owed by the manager: the block ends at once, closing the manager waits."""
    async with world() as w:
        async with w.manager.activate("test-instant") as activation:
            await activation.wait_for_sms()
            before = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() == before
        assert kinds(w.engine) == ["purchase"]
    assert kinds(w.engine) == ["purchase", "complete"]
    settled(w.engine)


@pytest.mark.parametrize("service", ["test-never", "whatsapp"])
@virtual_time
async def test_left_by_an_error_without_sms_is_cancelled(world, settled, service):
    """An error in the block passes through, and the number is given back for a refund."""
    async with world() as w:
        with pytest.raises(ZeroDivisionError):
            async with w.manager.activate(service):
                _ = 1 / 0
    settled(w.engine)
    assert kinds(w.engine) == ["purchase", "cancel", "refund"]


@virtual_time
async def test_timeout_raises_after_a_last_look_and_releases(world, settled):
    """Without an SMS the wait ends at the timeout with a typed error, after a poll right there."""
    async with world() as w:
        start = asyncio.get_running_loop().time()
        with pytest.raises(SmsTimeoutError) as caught:
            async with w.manager.activate("test-never", sms_timeout=60) as activation:
                await activation.wait_for_sms()
        waited = asyncio.get_running_loop().time() - start
        assert 60 <= waited < 63
        last = max(entry.at for entry in w.engine.request_log if entry.route == "status")
        first = min(entry.at for entry in w.engine.request_log)
        assert last - first >= 60
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.activation_id == activation.activation_id
        assert caught.value.intent_id == activation.intent_id
    settled(w.engine)
    assert kinds(w.engine) == ["purchase", "cancel", "refund"]


@virtual_time
async def test_sms_just_before_the_timeout_is_delivered(world):
    """An SMS that came in time is delivered however late it is seen."""
    async with (
        world() as w,
        w.manager.activate("test-delay-59.8", sms_timeout=60) as activation,
    ):
        assert (await activation.wait_for_sms()).code


@virtual_time
async def test_null_code_counts_as_received(world):
    """An SMS without a recognised code is an SMS."""
    async with world() as w, w.manager.activate("test-null-code") as activation:
        sms = await activation.wait_for_sms()
        assert sms.code is None
        assert sms.full_text


@virtual_time
async def test_clock_of_the_timeout_starts_when_the_sms_is_requested(world):
    """`mark_requested` starts the timeout anew, however long the flow took before."""
    async with (
        world() as w,
        w.manager.activate("test-delay-150", sms_timeout=60) as activation,
    ):
        await asyncio.sleep(100)
        activation.mark_requested()
        assert (await activation.wait_for_sms()).code


@virtual_time
async def test_nothing_is_polled_before_anyone_waits(world):
    """A flow that has not asked for the SMS costs no request."""
    async with world() as w, w.manager.activate("whatsapp"):
        await asyncio.sleep(300)
        assert w.routes() == ["purchase"]


@virtual_time
async def test_fallback_countries_are_tried_in_turn(world, settled):
    """No number in the first countries leads to the next, and the number tells its country."""
    async with world() as w:
        async with w.manager.activate("whatsapp", "zz", fallbacks=["xx", "gb"]) as activation:
            assert activation.country == "gb"
            await activation.wait_for_sms()
        assert w.routes().count("purchase") == 3
    settled(w.engine)


@virtual_time
async def test_no_numbers_anywhere_raises(world):
    """When no country has a number, entering raises and nothing is owed."""
    async with world() as w:
        with pytest.raises(NoNumbersError):
            async with w.manager.activate("whatsapp", "zz", fallbacks=["xx"]):
                pytest.fail("there is no number")
        assert w.manager.statistics().in_flight == 0
        assert w.engine.charge_log == []


@virtual_time
async def test_flow_can_cancel_early(world, settled):
    """`cancel` gives the number back at once; waiting then says that it is over."""
    async with world() as w:
        async with w.manager.activate("whatsapp") as activation:
            await activation.cancel()
            with pytest.raises(ActivationEndedError):
                await activation.wait_for_sms()
        assert activation.state in (State.CANCELLING, State.CANCELLED)
    settled(w.engine)
    assert kinds(w.engine) == ["purchase", "cancel", "refund"]


@virtual_time
async def test_flow_can_complete_early_but_not_without_sms(world, settled):
    """`complete` needs an SMS; with one it finishes before the block is left."""
    async with world() as w:
        async with w.manager.activate("whatsapp") as activation:
            with pytest.raises(ActivationError, match="after its SMS"):
                await activation.complete()
            await activation.wait_for_sms()
            await activation.complete()
            await asyncio.sleep(5)
            assert kinds(w.engine) == ["purchase", "complete"]
    settled(w.engine)
    assert kinds(w.engine) == ["purchase", "complete"]


@virtual_time
async def test_cancelled_wait_goes_on_where_it_was(world):
    """A timeout of the caller's own around the wait does not end the activation."""
    async with world() as w, w.manager.activate("test-delay-40") as activation:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(20):
                await activation.wait_for_sms()
        assert (await activation.wait_for_sms()).code


@virtual_time
async def test_service_that_ends_the_activation_ends_the_wait(world, settled):
    """Cancelled or expired at the service: the wait ends with a typed error, nothing is sent."""
    async with world() as w:
        for service in ("test-cancelled", "test-expired"):
            with pytest.raises(ActivationEndedError):
                async with w.manager.activate(service) as activation:
                    await activation.wait_for_sms()
    settled(w.engine)
    assert "finish" not in w.routes()


@virtual_time
async def test_number_that_expires_first_bounds_the_wait(world, settled):
    """The wait ends when the number does, if that is before the timeout."""
    async with world(lifetime=30.0) as w:
        start = asyncio.get_running_loop().time()
        with pytest.raises((SmsTimeoutError, ActivationEndedError)):
            async with w.manager.activate("test-never", sms_timeout=120) as activation:
                await activation.wait_for_sms()
        assert asyncio.get_running_loop().time() - start < 35
    settled(w.engine)


@virtual_time
async def test_unknown_status_is_waited_through(world):
    """A word that nobody knows counts as still waiting."""
    async with world() as w, w.manager.activate("test-unknown-status") as activation:
        assert (await activation.wait_for_sms()).code


@virtual_time
async def test_passing_trouble_of_the_service_does_not_end_the_wait(world, settled):
    """Server errors, lost and broken answers to polls are ridden out."""
    faults = "status:server_error@0.3,status:drop_before@0.2,status:malformed@0.2"
    async with world(faults=faults, sms_delay="fixed:30") as w:
        async with w.manager.activate("whatsapp") as activation:
            assert (await activation.wait_for_sms()).code
    settled(w.engine)


@virtual_time
async def test_account_without_balance_stops_buying_for_a_while(world):
    """After one refusal no request is wasted on purchases that would fail alike."""
    async with world(balance="0.05") as w:
        for _ in range(5):
            with pytest.raises(InsufficientBalanceError):
                async with w.manager.activate("whatsapp"):
                    pytest.fail("there is no money")
        assert w.routes() == ["purchase"]
        await asyncio.sleep(31)
        with pytest.raises(InsufficientBalanceError):
            async with w.manager.activate("whatsapp"):
                pytest.fail("there is no money")
        assert w.routes() == ["purchase"] * 2


@virtual_time
async def test_manager_must_be_open(world):
    """Before entering and after closing, the manager says what to do instead of buying."""
    async with world() as w:
        pass
    with pytest.raises(ManagerClosedError):
        async with w.manager.activate("whatsapp"):
            pytest.fail("it is closed")
    assert w.engine.charge_log == []


@virtual_time
async def test_repr_and_statistics_hide_numbers(world):
    """What a log may show of a live activation has neither its number nor its code."""
    async with world() as w, w.manager.activate("whatsapp") as activation:
        sms = await activation.wait_for_sms()
        shown = f"{activation!r} {w.manager!r} {w.manager.statistics()!r} {sms!r}"
        assert activation.phone_number not in shown
        assert sms.code not in shown
        assert w.manager.statistics().charged == activation.cost
        assert w.manager.statistics().spend == activation.cost
        assert w.manager.statistics().unknown == Decimal(0)
