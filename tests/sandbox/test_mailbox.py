"""Messages that applications send to virtual numbers: the mailbox and the plain endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async.sandbox import SandboxEngine, SandboxRequest, WebhookConfig, mailbox
from papsms_async.sandbox.front import front_of
from papsms_async.sandbox.mailbox import LATEST, Via, phone_numbers
from papsms_async.sandbox.views import summary

Make = Callable[..., Any]
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def caller(make: Make) -> Any:
    """Return a caller to an engine that sends no SMS by itself."""
    return make(sms_delay="never")


def post(caller: Any, body: object, *, content_type: str = JSON) -> tuple[int, Any]:
    """Post to the plain endpoint."""
    if not isinstance(body, bytes):
        text = json.dumps(body) if content_type == JSON else urlencode(body)  # type: ignore[arg-type]
        body = text.encode()
    request = SandboxRequest("POST", "/sandbox/sms", {"Content-Type": content_type}, body)
    reply = front_of(caller.engine).handle(request, caller.now)
    return reply.status, json.loads(reply.body)


def messages(caller: Any, query: str = "") -> Any:
    """Read the messages that are kept, through the control API."""
    request = SandboxRequest("GET", f"/_sandbox/messages{query}")
    return json.loads(front_of(caller.engine).handle(request, caller.now).body)["messages"]


@pytest.mark.parametrize("content_type", [JSON, FORM, FORM + "; charset=UTF-8"])
def test_an_own_message_arrives(caller: Any, content_type: str) -> None:
    """An application's message arrives at the number that it was sent to, and its code is found."""
    data = caller.data(caller.purchase())
    body = {"to": data["phone_number"], "text": "Acme: use 123-456 to sign in", "from": "Acme"}
    if content_type != JSON:
        content_type = FORM
    status, answer = post(caller, body, content_type=content_type)
    assert status == 200
    assert answer["status"] == "delivered"
    assert (answer["activation_id"], answer["code"]) == (data["activation_id"], "123456")
    sms = caller.data(caller.status(data["activation_id"]))["sms"]
    assert (sms["code"], sms["full_text"]) == ("123456", "Acme: use 123-456 to sign in")


def test_a_message_without_a_code_is_received_all_the_same(caller: Any) -> None:
    """Where no code is recognised the text alone arrives."""
    data = caller.data(caller.purchase())
    _, answer = post(caller, {"to": data["phone_number"], "text": "Welcome to Acme"})
    assert answer["code"] is None
    status = caller.data(caller.status(data["activation_id"]))
    assert status["status"] == "received"
    assert (status["sms"]["code"], status["sms"]["full_text"]) == (None, "Welcome to Acme")


def test_of_several_the_latest_counts(caller: Any) -> None:
    """A second message takes the first one's place, and any takes that of the sandbox's own."""
    data = caller.data(caller.purchase("test-delay-60"))
    for code in ("1111", "2222"):
        post(caller, {"to": data["phone_number"], "text": f"Your code is {code}"})
        caller.now += 1
    assert caller.data(caller.status(data["activation_id"]))["sms"]["code"] == "2222"
    caller.now += 120
    assert caller.data(caller.status(data["activation_id"]))["sms"]["code"] == "2222"


def test_a_message_to_nobody_is_kept(caller: Any) -> None:
    """A message to a number that nobody holds, or holds no more, is kept as undelivered."""
    data = caller.data(caller.purchase())
    caller.finish(data["activation_id"], "cancelled")
    for number in (data["phone_number"], "+4915112345678"):
        status, answer = post(caller, {"to": number, "text": "Your code is 4711"})
        assert (status, answer["status"], answer["activation_id"]) == (200, "undelivered", None)
        assert (answer["to"], answer["code"]) == (number, "4711")
    kept = messages(caller)
    assert [(m["to"], m["status"]) for m in kept] == [
        (data["phone_number"], "undelivered"),
        ("+4915112345678", "undelivered"),
    ]


def test_messages_are_listed(caller: Any) -> None:
    """The control API shows the latest messages, oldest first, with who, when and where."""
    data = caller.data(caller.purchase())
    for n in range(3):
        caller.now += 1
        post(caller, {"to": data["phone_number"], "text": f"Code {n}111", "from": "Acme"})
    assert [m["code"] for m in messages(caller)] == ["0111", "1111", "2111"]
    [latest] = messages(caller, "?last=1")
    assert latest == {
        "sid": latest["sid"],
        "at": caller.now,
        "via": "plain",
        "from": "Acme",
        "to": data["phone_number"],
        "text": "Code 2111",
        "code": "2111",
        "status": "delivered",
        "activation_id": data["activation_id"],
    }
    caller.engine.reset()
    assert messages(caller) == []


def test_watchers_are_told_of_messages(caller: Any) -> None:
    """Whoever watches hears of each message; the summary has the latest of those to nobody."""
    told: list[int] = []
    caller.engine.watch(lambda: told.append(caller.engine.mailbox.undelivered))
    number = caller.data(caller.purchase())["phone_number"]
    told.clear()
    post(caller, {"to": number, "text": "Code 4711"})
    assert told
    assert summary(caller.engine)["undelivered"] == {"count": 0, "latest": []}
    for n in range(LATEST + 5):
        post(caller, {"to": "+4915112345678", "text": f"Code {n:04d}"})
    undelivered: Any = summary(caller.engine)["undelivered"]
    assert undelivered["count"] == told[-1] == LATEST + 5
    assert [m["code"] for m in undelivered["latest"]] == [f"{n:04d}" for n in range(5, 25)]


def test_an_own_message_gives_a_webhook(make: Make) -> None:
    """An own message is told of by a webhook like any SMS."""
    webhook = WebhookConfig(url="http://127.0.0.1:9000/hook")
    caller = make(sms_delay="never", webhook=webhook)
    data = caller.data(caller.purchase())
    post(caller, {"to": data["phone_number"], "text": "Acme code 998877"})
    [told] = caller.engine.webhooks.take_due(caller.now)
    assert json.loads(told.body)["code"] == "998877"


@pytest.mark.parametrize(
    ("body", "content_type", "why"),
    [
        (b"{", JSON, "not JSON"),
        (b"[]", JSON, "not a JSON object"),
        (b"", JSON, "to is missing"),
        ({"to": "+14155550123"}, JSON, "text is missing"),
        ({"to": "+14155550123", "text": ""}, FORM, "text is missing"),
        ({"to": "+14155550123", "text": 5}, JSON, "text is a string"),
        ({"to": "+14155550123", "text": "x" * 1601}, JSON, "at most 1600 characters"),
        ({"to": "Acme", "text": "x"}, JSON, "not a phone number"),
        ({"to": "+1", "text": "x"}, FORM, "not a phone number"),
        ({"to": "+14155550123", "text": "x", "body": "x"}, JSON, "no such field: 'body'"),
        (b"to=%2B14155550123&text=\xff", FORM, "UTF-8"),
        (b"&".join(b"to=1" for _ in range(300)), FORM, "fields"),
    ],
)
def test_what_is_refused(caller: Any, body: object, content_type: str, why: str) -> None:
    """A wrong message is refused with one sentence, and not kept."""
    status, answer = post(caller, body, content_type=content_type)
    assert status == 400
    assert why in answer["error"]
    assert messages(caller) == []


def test_other_verbs_and_large_bodies(caller: Any) -> None:
    """Only POST is taken, and no more than 64 KiB."""
    front = front_of(caller.engine)
    refused = front.handle(SandboxRequest("GET", "/sandbox/sms"), caller.now)
    assert (refused.status, refused.headers["Allow"]) == (405, "POST")
    assert post(caller, b"x" * 70_000)[0] == 413


@pytest.mark.parametrize(
    "to",
    [
        "+14155550123",
        "+1 (415) 555-0123",
        "1 415 555 0123",
        "0014155550123",
        "415-555-0123",
        "+1.415.555.0123",
        "+1\u00a0415\u2013555\u20130123",
    ],
)
def test_numbers_are_understood_in_any_format(caller: Any, to: str) -> None:
    """However a number is formatted, the message reaches its holder."""
    assert "+14155550123" in phone_numbers(to)
    number = caller.data(caller.purchase())["phone_number"]
    assert number.startswith("+1")
    formatted = to.replace("415", number[2:5], 1).replace("555", number[5:8], 1)
    formatted = formatted[:-4] + number[-4:]
    assert post(caller, {"to": formatted, "text": "code 4711"})[1]["to"] == number


@given(st.text(max_size=40))
def test_any_number_is_read_or_refused(text: str) -> None:
    """No text does anything but give numbers in E.164 or a ValueError."""
    try:
        numbers = phone_numbers(text)
    except ValueError:
        return
    assert numbers
    for number in numbers:
        assert number[0] == "+"
        assert number[1:].isdigit()
        assert number.isascii()
        assert phone_numbers(number)[0] == number


def test_old_messages_are_forgotten(caller: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mailbox keeps only so many messages, the latest."""
    monkeypatch.setattr(mailbox, "MAILBOX_LENGTH", 3)
    box = SandboxEngine().mailbox
    sids = [box.receive(float(n), to="+14155550123", text="x", via=Via.PLAIN).sid for n in range(5)]
    assert [message.sid for message in box] == sids[2:]
    assert box.find(sids[0]) is None


def test_equal_seeds_give_equal_sids() -> None:
    """Sids follow from the seed."""

    def sids(seed: int) -> list[str]:
        box = SandboxEngine(seed=seed).mailbox
        return [box.receive(0.0, to="+14155550123", text="x", via=Via.PLAIN).sid for _ in range(3)]

    assert sids(1) == sids(1)
    assert sids(1) != sids(2)


def test_secrets_stay_out_of_the_repr() -> None:
    """Neither number, text nor code is in a message's repr."""
    box = SandboxEngine().mailbox
    message = box.receive(0.0, to="+14155550123", text="code 4711", via=Via.PLAIN, sender="+1999")
    assert not any(word in repr(message) for word in ("4155550123", "4711", "1999"))
