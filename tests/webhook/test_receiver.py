"""The receiver: durable first, then the answer; nobody learns more than they have to."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime

import pytest

from papsms_async.errors import ConfigurationError, LedgerError
from papsms_async.ledger.inbox import MemoryInbox
from papsms_async.models import Sms, WebhookEvent
from papsms_async.testing import virtual_time
from papsms_async.webhook import receiver as module
from papsms_async.webhook.receiver import WebhookReceiver, new_webhook_secret

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class SlowInbox(MemoryInbox):
    """An inbox that takes a second, or fails."""

    def __init__(self, *, known=lambda _: False, error=None):
        super().__init__(known)
        self.error = error
        self.order = []

    async def put(self, event, *, at):
        """Take a while."""
        await asyncio.sleep(1.0)
        if self.error is not None:
            raise self.error
        self.order.append("durable")
        return await super().put(event, at=at)


@pytest.fixture
def inbox():
    """An inbox that takes a second."""
    return SlowInbox()


async def receive(receiver, request, body):
    """Do what an application does."""
    return receiver.admit(request) or await receiver.receive(request, body)


@virtual_time
async def test_durable_before_it_is_answered(inbox, secret, make_request, make_body):
    """The sender's 2xx and the listener's call come after the write."""
    receiver = WebhookReceiver(secret)
    heard = []
    receiver.attach(inbox, lambda entry: heard.append(entry) or inbox.order.append("heard"))
    answer = await receive(receiver, make_request(), make_body())
    inbox.order.append("answered")
    assert answer.status == 200
    assert inbox.order == ["durable", "heard", "answered"]
    assert heard[0].event.activation_id == "12345678"
    assert receiver.counts.accepted == 1


@virtual_time
async def test_known_unknown_and_copies_are_answered_alike(secret, make_request, make_body):
    """Nobody can ask the receiver which activations there are."""
    receiver = WebhookReceiver(secret)
    receiver.attach(SlowInbox(known=lambda activation_id: activation_id == "1"))
    answers = [
        await receive(receiver, make_request(), make_body(activation_id=one))
        for one in ("1", "2", "1", "2")
    ]
    assert all(answer == answers[0] for answer in answers)
    assert receiver.counts.copies == 2


@virtual_time
async def test_sender_that_hangs_up_does_not_undo_it(inbox, secret, make_request, make_body):
    """Cancelled in the middle of the write, the webhook is there and heard all the same."""
    receiver = WebhookReceiver(secret)
    heard = []
    receiver.attach(inbox, heard.append)
    sender = asyncio.create_task(receive(receiver, make_request(), make_body()))
    await asyncio.sleep(0.5)
    sender.cancel()
    await asyncio.wait({sender})
    await receiver.detach()
    assert len(heard) == len(await inbox.entries()) == 1


@virtual_time
async def test_detaching_waits_for_what_was_taken(inbox, secret, make_request, make_body):
    """What is being written is written and heard; later senders are asked to come again."""
    receiver = WebhookReceiver(secret)
    heard = []
    receiver.attach(inbox, heard.append)
    senders = [
        asyncio.create_task(receive(receiver, make_request(), make_body(activation_id=str(n))))
        for n in range(5)
    ]
    await asyncio.sleep(0.5)
    await receiver.detach()
    assert [sender.result().status for sender in senders] == [200] * 5
    assert len(heard) == 5
    late = await receive(receiver, make_request(), make_body())
    assert late.status == 503
    assert ("Retry-After", "5") in late.headers
    await receiver.detach()


@virtual_time
async def test_without_a_ledger_senders_are_asked_to_come_again(secret, make_request, make_body):
    """Who has no secret learns not even that."""
    receiver = WebhookReceiver(secret)
    assert (await receive(receiver, make_request(), make_body())).status == 503
    assert (await receive(receiver, make_request("/wrong"), make_body())).status == 404
    assert receiver.counts.deferred == 1


@virtual_time
async def test_ledger_that_fails_does_not_keep_the_sms(secret, make_request, make_body, caplog):
    """It is heard, and the sender is asked to come again, because it is not durable."""
    receiver = WebhookReceiver(secret)
    heard = []
    receiver.attach(SlowInbox(error=LedgerError("The ledger is full.")), heard.append)
    answer = await receive(receiver, make_request(), make_body())
    assert answer.status == 503
    assert len(heard) == 1
    assert receiver.counts.accepted == 0
    assert "The ledger is full." in caplog.text


@virtual_time
async def test_more_than_it_can_write_is_put_off(
    inbox, secret, make_request, make_body, monkeypatch
):
    """A flood does not pile up in memory."""
    monkeypatch.setattr(module, "MOST_PENDING", 3)
    receiver = WebhookReceiver(secret)
    receiver.attach(inbox)
    answers = await asyncio.gather(
        *(receive(receiver, make_request(), make_body(activation_id=str(n))) for n in range(5))
    )
    assert [answer.status for answer in answers] == [200, 200, 200, 503, 503]


@virtual_time
async def test_refusals_are_one_line_a_minute_without_what_was_sent(
    secret, make_request, make_body, caplog
):
    """Somebody who tries out paths neither fills the log nor writes into it."""
    caplog.set_level(logging.DEBUG)
    receiver = WebhookReceiver(secret)
    for _ in range(100):
        await receive(receiver, make_request("/canary-path", canary="canary"), b"canary")
        await asyncio.sleep(1)
    await receive(receiver, make_request(content_type="text/canary"), make_body())
    assert receiver.counts.refused == {404: 100, 415: 1}
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "refused 1 request to the webhook, the last with 404: unknown path or address",
        "refused 60 requests to the webhook, the last with 404: unknown path or address",
    ]
    assert "canary" not in caplog.text
    assert secret not in caplog.text


@virtual_time
async def test_method_is_told_and_bodies_are_json(secret, make_request):
    """405 names the method that is taken; every answer can be parsed."""
    receiver = WebhookReceiver(secret)
    answer = receiver.admit(make_request(method="GET"))
    assert answer.status == 405
    assert ("Allow", "POST") in answer.headers
    assert json.loads(answer.body) == {"error": "only POST is taken"}
    assert answer.close


def test_payload_is_trusted_only_if_asked_for_and_signed_if_that_is():
    """In confirm mode nothing is, also not what is signed."""
    sms = Sms(code="1", full_text="t")
    plain = WebhookEvent(activation_id="1", sms=sms)
    signed = WebhookEvent(activation_id="1", sms=sms, signed=True)
    empty = WebhookEvent(activation_id="1", signed=True)
    secret = new_webhook_secret()
    for receiver, trusted in (
        (WebhookReceiver(secret), []),
        (WebhookReceiver(secret, signing_secrets=KEY), []),
        (WebhookReceiver(secret, trust="payload"), [plain, signed]),
        (WebhookReceiver(secret, trust="payload", signing_secrets=[KEY]), [signed]),
        (WebhookReceiver(trust="payload"), [plain, signed]),
    ):
        assert [event for event in (plain, signed, empty) if receiver.trusts(event)] == trusted


@virtual_time
async def test_receiver_without_secrets_takes_no_requests(make_request, make_body):
    """Another process takes them; here every request is not found."""
    receiver = WebhookReceiver()
    receiver.attach(MemoryInbox(lambda _: False))
    assert (await receive(receiver, make_request(), make_body())).status == 404
    assert (await receiver.receive(make_request(), make_body())).status == 404


@pytest.mark.parametrize(
    "options",
    [
        {"trust": "everybody"},
        {"secrets": "short"},
        {"secrets": ()},
        {"signing_secrets": "nonsense"},
        {"allowed": ()},
        {"allowed": "nonsense"},
        {"proxies": "10.0.0.1"},
        {"tolerance": 0, "signing_secrets": KEY},
    ],
)
def test_bad_options_are_refused_at_once(options, secret):
    """Each with one clear sentence."""
    with pytest.raises(ConfigurationError):
        WebhookReceiver(**{"secrets": secret, **options})


@virtual_time
async def test_one_receiver_belongs_to_one_manager(inbox, secret):
    """Two would fight over what it hears; after the first is closed it can be used again."""
    receiver = WebhookReceiver(secret)
    receiver.attach(inbox)
    with pytest.raises(ConfigurationError, match="a manager already"):
        receiver.attach(inbox)
    await receiver.detach()
    receiver.attach(inbox)


@virtual_time
async def test_age_of_a_signature_is_by_the_given_clock(inbox, secret, make_request, make_body):
    """Signed now, by the clock of whoever attached it."""
    from standardwebhooks import Webhook

    receiver = WebhookReceiver(secret, signing_secrets=KEY)
    now = datetime(2026, 4, 19, 14, 0, tzinfo=UTC)
    receiver.attach(inbox, clock=lambda: now)
    body = make_body()
    lines = (
        ("webhook-id", "1"),
        ("webhook-timestamp", str(int(now.timestamp()))),
        ("webhook-signature", Webhook(KEY).sign("1", now, body.decode())),
    )
    answer = await receive(receiver, make_request(more=lines), body)
    assert answer.status == 200
    # A replay within the tolerance is one more copy, and is answered like any other.
    assert await receive(receiver, make_request(more=lines), body) == answer
    (entry,) = await inbox.entries()
    assert (entry.copies, entry.event.signed, entry.received_at) == (2, True, now)
    assert (await receive(receiver, make_request(), body)).status == 401


def test_secrets_are_long_and_different(secret):
    """And the receiver's path and repr show what they should."""
    assert len({new_webhook_secret() for _ in range(100)}) == 100
    assert all(WebhookReceiver(new_webhook_secret()).path for _ in range(100))
    assert WebhookReceiver([secret, secret[::-1]]).path == f"/{secret}"
    assert secret not in repr(WebhookReceiver(secret))
