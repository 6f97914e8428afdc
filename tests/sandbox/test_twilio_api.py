"""Twilio's Messages resource as the sandbox has it, without a socket."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from papsms_async.sandbox import SandboxReply, SandboxRequest
from papsms_async.sandbox.front import front_of
from papsms_async.sandbox.twilio_errors import MAGIC_RECEIVERS, MAGIC_SENDERS
from papsms_async.sandbox.twilio_messages import segments

Make = Callable[..., Any]

ACCOUNT = "AC" + "a" * 32
KEY = "SK" + "b" * 32
SENDER = "+15005550006"


@pytest.fixture
def caller(make: Make) -> Any:
    """Return a caller to an engine that sends no SMS by itself."""
    return make(sms_delay="never")


def basic(user: str, token: str) -> str:
    """Write credentials as a header."""
    return "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()


def ask(
    caller: Any,
    method: str,
    path: str = "Messages.json",
    fields: dict[str, str] | None = None,
    *,
    account: str = ACCOUNT,
    authorization: str | None = None,
) -> SandboxReply:
    """Send a request as Twilio's clients do."""
    if authorization is None:
        authorization = basic(account, "token")
    request = SandboxRequest(
        method,
        path if path.startswith("/") else f"/2010-04-01/Accounts/{account}/{path}",
        {
            "Authorization": authorization,
            "Content-Type": "application/x-www-form-urlencoded",
        },
        urlencode(fields or {}).encode(),
    )
    reply: SandboxReply = front_of(caller.engine).handle(request, caller.now)
    return reply


def send(caller: Any, to: str, text: str = "Acme code 4711", **fields: str) -> Any:
    """Send a message and decode the answer."""
    given = {"To": to, "Body": text, "From": SENDER} | fields
    reply = ask(caller, "POST", fields={key: value for key, value in given.items() if value})
    return reply.status, json.loads(reply.body)


def test_a_message_is_taken_and_delivered(caller: Any) -> None:
    """The answer to the sender is Twilio's, and the message has arrived."""
    data = caller.data(caller.purchase())
    status, answer = send(caller, data["phone_number"])
    assert status == 201
    sid = answer["sid"]
    uri = f"/2010-04-01/Accounts/{ACCOUNT}/Messages/{sid}"
    assert len(sid) == 34
    assert sid.startswith("SM")
    assert answer == {
        "sid": sid,
        "account_sid": ACCOUNT,
        "messaging_service_sid": None,
        "api_version": "2010-04-01",
        "body": "Acme code 4711",
        "to": data["phone_number"],
        "from": SENDER,
        "direction": "outbound-api",
        "status": "queued",
        "num_segments": "1",
        "num_media": "0",
        "price": None,
        "price_unit": "USD",
        "date_created": "Sun, 19 Apr 2026 14:00:00 +0000",
        "date_updated": "Sun, 19 Apr 2026 14:00:00 +0000",
        "date_sent": None,
        "error_code": None,
        "error_message": None,
        "uri": uri + ".json",
        "subresource_uris": {"media": uri + "/Media.json"},
    }
    assert parsedate_to_datetime(answer["date_created"]).timestamp() == caller.now
    assert caller.data(caller.status(data["activation_id"]))["sms"]["code"] == "4711"
    later = json.loads(ask(caller, "GET", f"Messages/{sid}.json").body)
    assert (later["status"], later["error_code"]) == ("delivered", None)
    assert later["date_sent"] == answer["date_created"]


def test_a_message_to_nobody(caller: Any) -> None:
    """To a number that nobody holds it is queued too, and found undelivered by who asks."""
    status, answer = send(caller, "+4915112345678")
    assert (status, answer["status"]) == (201, "queued")
    later = json.loads(ask(caller, "GET", f"Messages/{answer['sid']}.json").body)
    assert (later["status"], later["error_code"]) == ("undelivered", 30005)


def test_a_messaging_service(caller: Any) -> None:
    """A messaging service stands in for a sender; the message is accepted at first."""
    number = caller.data(caller.purchase())["phone_number"]
    service = "MG" + "c" * 32
    status, answer = send(caller, number, From="", MessagingServiceSid=service)
    assert (status, answer["status"], answer["from"]) == (201, "accepted", None)
    assert (answer["messaging_service_sid"], answer["num_segments"]) == (service, "0")
    later = json.loads(ask(caller, "GET", f"Messages/{answer['sid']}.json").body)
    assert (later["status"], later["num_segments"]) == ("delivered", "1")
    assert later["from"] is not None


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"To": ""}, 21604),
        ({"From": ""}, 21603),
        ({"Body": ""}, 21619),
        ({"Body": "x" * 1601}, 21617),
        ({"To": "Acme"}, 21211),
        ({"To": "+1"}, 21211),
        ({"To": "whatsapp:+14155550123"}, 21211),
        ({"From": "Acme: Secure Login"}, 21212),
        ({"From": "+14155550123"}, 21266),
        ({"From": "", "MessagingServiceSid": "Acme"}, 21705),
        ({"SendAt": "2026-04-19T15:00:00Z"}, 20001),
        ({"ContentSid": "HX" + "d" * 32}, 20001),
        *(({"To": to}, code) for to, (code, _) in MAGIC_RECEIVERS.items()),
        *(({"From": sender}, code) for sender, (code, _) in MAGIC_SENDERS.items()),
    ],
)
def test_what_is_refused(caller: Any, fields: dict[str, str], code: int) -> None:
    """A refusal has Twilio's shape and code, and nothing is kept."""
    status, answer = send(caller, **{"to": "+14155550123", "text": "code 4711"} | fields)  # type: ignore[arg-type]
    assert status == 400
    assert answer == {
        "code": code,
        "message": answer["message"],
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": 400,
    }
    assert "{" not in answer["message"]
    assert len(caller.engine.mailbox) == 0


@pytest.mark.parametrize("sender", ["Acme", "12345", "ACME-1", "+1 (500) 555-0006", "MG Bank"])
def test_senders(caller: Any, sender: str) -> None:
    """Numbers, short codes and names may send."""
    assert send(caller, "+14155550123", From=sender)[0] == 201


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        basic(ACCOUNT, ""),
        basic("", "token"),
        basic("AC" + "e" * 32, "token"),
        "Bearer sandbox",
        "Bearer " + basic(ACCOUNT, "token").split()[1],
    ],
)
def test_without_credentials(caller: Any, authorization: str) -> None:
    """Without the account's credentials the answer is 401 with Twilio's code."""
    reply = ask(caller, "POST", fields={"To": "+14155550123"}, authorization=authorization)
    assert reply.status == 401
    assert json.loads(reply.body)["code"] == 20003
    assert reply.headers["WWW-Authenticate"].startswith("Basic")


def test_only_known_accounts(make: Make) -> None:
    """A sandbox that was told the accounts accepts these alone, with their token or key."""
    caller = make(twilio_accounts={ACCOUNT: "right", KEY: "secret"})
    fields = {"To": "+14155550123", "From": SENDER, "Body": "code 4711"}

    def status(user: str, token: str, account: str = ACCOUNT) -> int:
        authorization = basic(user, token)
        return ask(
            caller, "POST", fields=fields, account=account, authorization=authorization
        ).status

    assert status(ACCOUNT, "right") == 201
    assert status(KEY, "secret") == 201
    assert status(ACCOUNT, "wrong") == 401
    assert status(KEY, "right") == 401
    assert status("SK" + "0" * 32, "secret") == 401
    other = "AC" + "0" * 32
    assert status(other, "right", account=other) == 401
    assert "right" not in repr(caller.engine.config)


def test_any_key_of_any_account(caller: Any) -> None:
    """Unless the sandbox was told otherwise, an API key is as good as an account's token."""
    fields = {"To": "+14155550123", "From": SENDER, "Body": "code 4711"}
    reply = ask(caller, "POST", fields=fields, authorization=basic(KEY, "anything"))
    assert reply.status == 201


def test_an_account_sees_its_own_messages(caller: Any) -> None:
    """Another account's message is not found."""
    _, answer = send(caller, "+14155550123")
    other = "AC" + "f" * 32
    reply = ask(caller, "GET", f"Messages/{answer['sid']}.json", account=other)
    assert (reply.status, json.loads(reply.body)["code"]) == (404, 20404)
    assert json.loads(ask(caller, "GET", account=other).body)["messages"] == []


@pytest.mark.parametrize(
    "path",
    [
        "Messages/SM0.json",
        "Messages",
        "Calls.json",
        "Messages/SM0/Media.json",
        "/2010-04-01/Accounts.json",
    ],
)
def test_what_is_not_there(caller: Any, path: str) -> None:
    """Other resources are not found, in Twilio's words."""
    reply = ask(caller, "GET", path, authorization=basic(KEY, "token"))
    assert (reply.status, json.loads(reply.body)["code"]) == (404, 20404)


def test_other_verbs(caller: Any) -> None:
    """Messages are neither changed nor deleted."""
    _, answer = send(caller, "+14155550123")
    path = f"Messages/{answer['sid']}.json"
    for method, where, allow in (
        ("DELETE", path, "GET, HEAD"),
        ("POST", path, "GET, HEAD"),
        ("PUT", "Messages.json", "GET, HEAD, POST"),
    ):
        reply = ask(caller, method, where)
        assert (reply.status, json.loads(reply.body)["code"]) == (405, 20004)
        assert reply.headers["Allow"] == allow


def test_pages_of_messages(caller: Any) -> None:
    """Messages are listed latest first, page by page, by receiver and by sender."""
    for n in range(5):
        caller.now += 1
        send(caller, f"+1415555010{n % 2}", f"Code {n}000", From="Acme" if n == 4 else SENDER)
    page = json.loads(ask(caller, "GET", "Messages.json?PageSize=2").body)
    seen = [m["body"] for m in page["messages"]]
    assert page["previous_page_uri"] is None
    while page["next_page_uri"]:
        page = json.loads(ask(caller, "GET", page["next_page_uri"]).body)
        seen += [m["body"] for m in page["messages"]]
    assert seen == ["Code 4000", "Code 3000", "Code 2000", "Code 1000", "Code 0000"]
    assert page["previous_page_uri"] is not None
    to = json.loads(ask(caller, "GET", "Messages.json?To=%2B14155550101").body)
    assert [m["body"] for m in to["messages"]] == ["Code 3000", "Code 1000"]
    by = json.loads(ask(caller, "GET", "Messages.json?From=Acme").body)
    assert [m["body"] for m in by["messages"]] == ["Code 4000"]


def test_a_body_that_is_no_form(caller: Any) -> None:
    """A body that can't be read is refused, a large one as well."""
    for body, status in ((b"To=\xff", 400), (b"x" * 70_000, 413)):
        path = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
        request = SandboxRequest("POST", path, {"Authorization": basic(ACCOUNT, "t")}, body)
        reply = front_of(caller.engine).handle(request, caller.now)
        assert reply.status == status
        assert json.loads(reply.body)["status"] == status


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("я" * 70, 1),
        ("я" * 71, 2),
        ("🔑" * 35, 1),
        ("🔑" * 36, 2),
        ("я" * 135, 3),
    ],
)
def test_segments(text: str, expected: int) -> None:
    """Texts are counted in segments as networks do."""
    assert segments(text) == expected
