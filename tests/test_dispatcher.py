"""The dispatcher: what is sent again, what never is, and who goes first."""

from __future__ import annotations

import asyncio
import itertools
import json
import random

import pytest

from papsms_async import (
    AnswerLostError,
    AuthenticationError,
    ConfigurationError,
    ConnectError,
    PapSMSError,
    RateLimit,
    RateLimitedError,
    ServiceError,
)
from papsms_async.dispatcher import Dispatcher, KeyRing, Rank
from papsms_async.protocol import (
    WireAnswer,
    countries_request,
    finish_request,
    purchase_request,
    read_countries,
    read_finish,
    read_purchase,
    read_status,
    status_request,
)
from papsms_async.quota import LocalQuota
from papsms_async.testing import virtual_time

BOUGHT = {
    "activation_id": "12345678",
    "phone_number": "+14155550123",
    "country": "us",
    "service": "whatsapp",
    "expires_at": "2026-04-19T15:30:00Z",
    "cost": 0.8,
}


def answer(status=200, data=None, error=None, headers=None):
    """Make an answer of the service."""
    body = {"success": True, "data": data} if error is None else {"success": False, "error": error}
    return WireAnswer(status=status, headers=headers or {}, body=json.dumps(body).encode())


class Script:
    """A transport that answers from a list, and remembers what was sent when and with which key."""

    def __init__(self, *steps, delay=0.01):
        self.steps = list(steps)
        self.sent = []
        self.delay = delay

    async def send(self, request, *, key, timeout, on_sent=None):
        step = self.steps.pop(0) if self.steps else answer(data={"status": "waiting", "sms": None})
        if isinstance(step, ConnectError):
            raise step
        if on_sent is not None:
            on_sent()
        self.sent.append((request.path, key, asyncio.get_running_loop().time()))
        await asyncio.sleep(self.delay)
        if isinstance(step, Exception):
            raise step
        return step

    async def aclose(self):
        """Nothing to close."""


def dispatcher(script, *, key="key", limit=None, **options):
    """Make a dispatcher over ``script``."""
    quota = LocalQuota(limit or RateLimit(6000, 60), rng=random.Random(1))
    return Dispatcher(script, quota, KeyRing(key), timeout=5, rng=random.Random(2), **options)


def bought(answer):
    """Decipher a purchase."""
    return read_purchase(answer, service="whatsapp", country="us")


def status(answer):
    """Decipher a status."""
    return read_status(answer, activation_id="1")


TROUBLES = [
    ("lost", AnswerLostError("lost")),
    ("500", answer(500, error="INTERNAL")),
    ("503 html", WireAnswer(status=503, headers={}, body=b"<html>")),
    ("broken 200", WireAnswer(status=200, headers={}, body=b'{"success": tr')),
    ("redirect", WireAnswer(status=302, headers={"Location": "https://x"}, body=b"")),
]


@pytest.mark.parametrize("trouble", [t for _, t in TROUBLES], ids=[name for name, _ in TROUBLES])
@virtual_time
async def test_purchase_is_never_sent_again_after_it_may_have_been_executed(trouble):
    """A lost, broken or 5xx answer to a purchase ends it: one POST on the wire, money unknown."""
    script = Script(trouble, answer(data=BOUGHT))
    with pytest.raises(PapSMSError):
        await dispatcher(script).call(purchase_request("whatsapp", "us"), bought)
    assert len(script.sent) == 1


@pytest.mark.parametrize(
    "trouble",
    [ConnectError("no connection"), answer(429, error="RATE_LIMITED"), answer(429)],
    ids=["connect", "429", "429 bare"],
)
@virtual_time
async def test_purchase_is_sent_again_when_it_certainly_was_not_executed(trouble):
    """No connection, or turned away by the limit: it is tried again."""
    script = Script(trouble, trouble, answer(data=BOUGHT))
    activation = await dispatcher(script).call(purchase_request("whatsapp", "us"), bought)
    assert activation.activation_id == "12345678"


@pytest.mark.parametrize("trouble", [t for _, t in TROUBLES[:4]], ids=[n for n, _ in TROUBLES[:4]])
@pytest.mark.parametrize("request_", [status_request("1"), finish_request("1", "cancelled")])
@virtual_time
async def test_repeatable_requests_are_sent_again(trouble, request_):
    """Status and finish are repeated after passing trouble, with pauses that grow."""
    script = Script(trouble, trouble, answer(data={"status": "waiting", "sms": None}))
    read = status if "status" in request_.path else read_finish
    await dispatcher(script).call(request_, read)
    times = [at for _, _, at in script.sent]
    assert len(times) == 3
    assert all(later - earlier >= 0.1 for earlier, later in itertools.pairwise(times))


@virtual_time
async def test_tries_are_bounded_and_the_last_error_is_raised():
    """A service that stays down gives its typed error after the given number of tries."""
    script = Script(*[answer(500, error="INTERNAL")] * 10)
    with pytest.raises(ServiceError):
        await dispatcher(script, attempts=3).call(status_request("1"), status)
    assert len(script.sent) == 3


@virtual_time
async def test_refusals_are_not_repeated():
    """A well-formed no is an answer."""
    script = Script(answer(404, error="ACTIVATION_NOT_FOUND"))
    with pytest.raises(PapSMSError):
        await dispatcher(script).call(status_request("1"), status)
    assert len(script.sent) == 1


@virtual_time
async def test_429_blocks_the_whole_key():
    """After a 429 with Retry-After nobody sends anything until it is over."""
    script = Script(answer(429, error="RATE_LIMITED", headers={"Retry-After": "30"}))
    desk = dispatcher(script)
    first = asyncio.create_task(desk.call(status_request("1"), status))
    await asyncio.sleep(1)
    await asyncio.gather(first, *(desk.call(status_request("2"), status) for _ in range(3)))
    times = [at for _, _, at in script.sent]
    assert times[1] >= 30
    assert len(times) == 5


@virtual_time
async def test_rate_limit_told_with_status_200_counts_as_well():
    """The refusal's word decides, whatever its HTTP status."""
    script = Script(answer(200, error={"code": "RATE_LIMITED", "message": "slow down"}))
    desk = dispatcher(script)
    await desk.call(status_request("1"), status)
    assert desk.quota.statistics().rate_limited == 1


@virtual_time
async def test_absurd_retry_after_is_an_error_at_once():
    """A service that wants hours of silence gives an error now, not a silent wait."""
    script = Script(answer(429, error="RATE_LIMITED", headers={"Retry-After": "14400"}))
    desk = dispatcher(script)
    start = asyncio.get_running_loop().time()
    with pytest.raises(RateLimitedError) as caught:
        await desk.call(status_request("1"), status)
    assert asyncio.get_running_loop().time() - start < 1
    assert caught.value.retry_after > 14000
    with pytest.raises(RateLimitedError):
        await desk.call(status_request("2"), status)
    assert len(script.sent) == 1


@virtual_time
async def test_refused_key_is_asked_for_again_once_for_all():
    """Many requests refused at once lead to one question for the new key."""
    keys = iter(["old", "new", "newer"])
    asked = []

    async def source():
        asked.append(next(keys))
        return asked[-1]

    refused = answer(401, error="BAD_KEY")
    script = Script(refused, refused, refused)
    desk = dispatcher(script, key=source)
    await asyncio.gather(*(desk.call(status_request(str(n)), status) for n in range(3)))
    assert asked == ["old", "new"]
    assert [key for _, key, _ in script.sent] == ["old"] * 3 + ["new"] * 3


@virtual_time
async def test_purchase_refused_for_its_key_is_not_repeated_but_marked():
    """A purchase is made anew by whoever keeps the ledger, not repeated here."""
    keys = iter(["old", "new"])
    script = Script(answer(401, error="BAD_KEY"))
    with pytest.raises(AuthenticationError) as caught:
        await dispatcher(script, key=lambda: next(keys)).call(
            purchase_request("whatsapp", "us"), bought
        )
    assert caught.value.retryable
    assert len(script.sent) == 1


@virtual_time
async def test_fixed_key_that_is_refused_is_an_error():
    """There is nothing to ask: the error comes at once."""
    script = Script(answer(401, error="BAD_KEY"))
    with pytest.raises(AuthenticationError) as caught:
        await dispatcher(script).call(status_request("1"), status)
    assert not caught.value.retryable
    assert len(script.sent) == 1


@pytest.mark.parametrize("key", ["", "   ", "with space", "line\nbreak", "ünicode", None, 5])
@virtual_time
async def test_impossible_keys_are_named(key):
    """A key that can't be one gives a sentence that says where to look, and sends nothing."""
    script = Script()
    with pytest.raises(ConfigurationError, match="PAPSMS_API_KEY") as caught:
        await dispatcher(script, key=lambda: key).call(status_request("1"), status)
    assert script.sent == []
    if isinstance(key, str) and key.strip():
        assert key not in str(caught.value)


@virtual_time
async def test_order_of_the_waiting_requests():
    """A permit goes to the most urgent: polls in the order they came, finishes, purchases."""
    script = Script(delay=0.0)
    desk = dispatcher(script, limit=RateLimit(1, per=10.0))
    await desk.call(countries_request(), lambda _: None)
    calls = []
    for name, rank in (
        ("purchase", Rank.PURCHASE),
        ("finish", Rank.FINISH),
        ("poll-a", Rank.POLL),
        ("poll-b", Rank.POLL),
    ):
        calls.append(asyncio.create_task(desk.call(status_request(name), status, rank=rank)))
        await asyncio.sleep(1.0)
    await asyncio.gather(*calls)
    order = [path.rsplit("/", 1)[1] for path, _, _ in script.sent[1:]]
    assert order == ["poll-a", "poll-b", "finish", "purchase"]


@virtual_time
async def test_prepare_runs_once_and_its_error_sends_nothing():
    """What must be durable first is written once; if it can't be, nothing leaves."""
    script = Script(ConnectError("no"), ConnectError("no"), answer(data=BOUGHT))
    desk = dispatcher(script)
    prepared = []

    async def prepare():
        prepared.append(len(script.sent))

    await desk.call(purchase_request("whatsapp", "us"), bought, prepare=prepare)
    assert prepared == [0]

    async def fail():
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await desk.call(purchase_request("whatsapp", "us"), bought, prepare=fail)
    assert len(script.sent) == 1
    assert desk.quota.statistics().held == 0


@virtual_time
async def test_on_wire_tells_when_an_answer_is_at_stake():
    """True before an attempt may reach the service, False once it is known that it did nothing."""
    script = Script(answer(429, error="RATE_LIMITED"), answer(data=BOUGHT))
    told = []
    await dispatcher(script).call(purchase_request("whatsapp", "us"), bought, on_wire=told.append)
    assert told == [True, False, True]


@virtual_time
async def test_cancelled_calls_give_their_permits_back():
    """Cancelled while waiting, or on the wire: no permit stays out."""
    script = Script(delay=5.0)
    desk = dispatcher(script, limit=RateLimit(2, per=10.0))
    tasks = [asyncio.create_task(desk.call(status_request("1"), status)) for _ in range(5)]
    await asyncio.sleep(1)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    statistics = desk.quota.statistics()
    assert (statistics.held, statistics.waiting) == (0, 0)
    assert statistics.lost >= 1


@virtual_time
async def test_countries_answer_is_read():
    """The dispatcher returns what the reader makes of the answer."""
    script = Script(answer(data=["us", "gb"]))
    countries = await dispatcher(script).call(countries_request(), read_countries)
    assert [country.code for country in countries] == ["us", "gb"]
