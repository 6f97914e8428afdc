"""The client: the service's endpoints as methods."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from papsms_async import (
    ActivationNotFoundError,
    CannotCancelError,
    ConfigurationError,
    EarlyCancelError,
    Money,
    NoNumbersError,
    PapSMSClient,
    PapSMSError,
    RateLimit,
)
from papsms_async.sandbox import SandboxConfig, SandboxEngine
from papsms_async.testing import virtual_time
from papsms_async.testing.memory_transport import MemoryService


def service(**config):
    """Make a service in memory."""
    config.setdefault("limit", "6000/60s")
    return MemoryService(SandboxEngine(SandboxConfig(**config)))


FAST = RateLimit(6000, 60)


@virtual_time
async def test_a_whole_verification_by_hand():
    """Purchase, status until the SMS is there, complete: the values are as documented."""
    world = service(sms_delay="fixed:5")
    async with world.client(rate_limit=FAST) as client:
        activation = await client.purchase("whatsapp", "us")
        assert activation.service == "whatsapp"
        assert isinstance(activation.cost, Decimal)
        assert activation.expires_at.utcoffset().total_seconds() == 0
        status = await client.status(activation.activation_id)
        assert (status.status, status.sms) == ("waiting", None)
        await asyncio.sleep(6)
        status = await client.status(activation.activation_id)
        assert status.status == "received"
        assert status.sms.code
        await client.complete(activation.activation_id)
        await client.complete(activation.activation_id)
    assert world.engine.finish_counts() == {activation.activation_id: 1}


@virtual_time
async def test_cancel_is_idempotent_and_refunds():
    """Cancelling twice is no error; the money is back."""
    world = service()
    async with world.client(rate_limit=FAST) as client:
        activation = await client.purchase("test-never")
        await client.cancel(activation.activation_id)
        await client.finish(activation.activation_id, "cancelled")
    assert world.engine.balance == 1000


@virtual_time
async def test_errors_are_typed():
    """Each refusal has its class; money says that nothing was charged."""
    world = service(min_cancel_age=60.0)
    async with world.client(rate_limit=FAST) as client:
        with pytest.raises(NoNumbersError) as none:
            await client.purchase("whatsapp", "zz")
        assert none.value.money is Money.NOT_CHARGED
        with pytest.raises(ActivationNotFoundError):
            await client.status("99")
        activation = await client.purchase("test-never")
        with pytest.raises(EarlyCancelError):
            await client.cancel(activation.activation_id)
        arrived = await client.purchase("test-instant")
        await asyncio.sleep(61)
        with pytest.raises(CannotCancelError):
            await client.cancel(arrived.activation_id)
        with pytest.raises(ConfigurationError):
            await client.finish(activation.activation_id, "thrown away")
        with pytest.raises(ConfigurationError):
            await client.status("")


@virtual_time
async def test_lost_purchase_says_that_the_money_is_unknown():
    """A lost answer to a purchase is one request and an error that says so."""
    world = service(faults="purchase:drop_after#1")
    async with world.client(rate_limit=FAST) as client:
        with pytest.raises(PapSMSError) as caught:
            await client.purchase("whatsapp")
        assert caught.value.money is Money.UNKNOWN
    assert world.transport.sent == 1


@virtual_time
async def test_rotated_key_makes_the_purchase_anew():
    """A key that was refused is asked for again, and the purchase succeeds with the new one."""
    keys = iter(["revoked", "sandbox"])
    world = service()
    async with world.client(lambda: next(keys), rate_limit=FAST) as client:
        activation = await client.purchase("whatsapp")
    assert activation.activation_id in world.engine.activations
    assert len(world.engine.activations) == 1


@virtual_time
async def test_countries_are_read_once_an_hour_however_many_ask():
    """One request serves all who ask at once and for an hour, then the next is made."""
    world = service()
    async with world.client(rate_limit=FAST) as client:
        lists = await asyncio.gather(*(client.countries() for _ in range(20)))
        assert all(countries is lists[0] for countries in lists)
        assert len(lists[0]) >= 85
        await asyncio.sleep(3599)
        await client.countries()
        assert world.transport.sent == 1
        await asyncio.sleep(2)
        await client.countries()
        assert world.transport.sent == 2
        await client.countries(refresh=True)
        assert world.transport.sent == 3


@virtual_time
async def test_cancelled_caller_does_not_cancel_the_countries_of_others():
    """The one request goes on for whoever still waits."""
    world = service(latency=2.0)
    async with world.client(rate_limit=FAST) as client:
        first = asyncio.create_task(client.countries())
        second = asyncio.create_task(client.countries())
        await asyncio.sleep(1)
        first.cancel()
        assert await second
        assert first.cancelled()
    assert world.transport.sent == 1


@virtual_time
async def test_failed_countries_are_asked_for_again():
    """A failure is not kept."""
    world = service(faults="countries:server_error#1-4")
    async with world.client(rate_limit=FAST) as client:
        with pytest.raises(PapSMSError):
            await client.countries()
        assert await client.countries()


def test_missing_key_is_one_sentence(monkeypatch):
    """Without a key the client says where it looks for one."""
    monkeypatch.delenv("PAPSMS_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="PAPSMS_API_KEY"):
        PapSMSClient()


def test_settings_come_from_the_environment(monkeypatch):
    """Key and base URL are taken from the environment, and neither shows in the repr."""
    monkeypatch.setenv("PAPSMS_API_KEY", "from-the-environment")
    monkeypatch.setenv("PAPSMS_BASE_URL", "http://192.0.2.1/api/v1/")
    with pytest.raises(ConfigurationError, match="must be https"):
        PapSMSClient()
    monkeypatch.setenv("PAPSMS_BASE_URL", "http://127.0.0.1:1/api/v1/")
    assert "from-the" not in repr(PapSMSClient())


@pytest.mark.parametrize("options", [{"rate_limit": 60}, {"api_key": 5}])
def test_arguments_of_another_type_are_one_sentence(options):
    """A number where a limit or a key belongs is named as such."""
    with pytest.raises(ConfigurationError, match="must be a"):
        PapSMSClient(**{"api_key": "key", **options})


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": -1}, {"timeout": "soon"}])
def test_bad_options_are_refused(options):
    """An argument that can't be used is named."""
    with pytest.raises(ConfigurationError, match="timeout"):
        PapSMSClient("key", **options)
