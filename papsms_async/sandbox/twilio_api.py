"""Twilio's Messages resource, so that an application's own SMS reach virtual numbers.

=================================================== ==========================================
request                                             what it does
=================================================== ==========================================
``POST /2010-04-01/Accounts/SID/Messages.json``     takes a message: ``To``, ``Body``, and ``From``
                                                    or ``MessagingServiceSid``, as a form
``GET /2010-04-01/Accounts/SID/Messages.json``      the account's messages, latest first
``GET /2010-04-01/Accounts/SID/Messages/SM....json`` one message, for those who poll its status
=================================================== ==========================================

A message is ``queued`` (``accepted`` for a messaging service) in the answer to the POST and
``delivered`` from then on; to a number that nobody holds it is taken all the same, and
``undelivered`` with code 30005, as with a real provider.

Any account with any token is accepted, so that an application needs to change nothing but where
its requests go; `papsms_async.sandbox.SandboxConfig.twilio_accounts` says otherwise. API keys
(``SK...``) work as well. The numbers of Twilio's test credentials are refused as there.

Not there: scheduling, content templates, media (counted, not kept), status callbacks (taken and
not called), deleting and changing messages.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlencode

from . import answers, spoiling
from .endpoints import MAX_BODY
from .engine import SandboxEngine
from .fields import form_fields
from .mailbox import MOST_CHARACTERS, Via, phone_numbers
from .messages import SandboxReply, SandboxRequest
from .routing import path_of
from .twilio_errors import MAGIC_RECEIVERS, MAGIC_SENDERS, TwilioRefusal, refuse_magic
from .twilio_messages import MESSAGES, as_created, as_kept

TWILIO_PATH = "/2010-04-01/"

_PATH = re.compile(
    r"/2010-04-01/Accounts/(?P<account>[A-Za-z0-9]{1,64})/Messages(?:/(?P<sid>[A-Za-z0-9]{1,64}))?"
    r"\.json"
)
_SHORT_CODE = re.compile(r"[0-9]{3,8}", re.ASCII)
_SENDER_ID = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 &_+-]{1,11}", re.ASCII)
_SERVICE = re.compile(r"MG[A-Za-z0-9]{1,62}", re.ASCII)
_JSON = {"Content-Type": "application/json"}
_LONGEST_PAGE = 1000
_LAST_PAGE = 999_999
_NOT_THERE = ("ContentSid", "ScheduleType", "SendAt")


class TwilioApi:
    """Takes messages for the numbers of one engine, as Twilio would.

    Args:
        engine: The engine.
    """

    def __init__(self, engine: SandboxEngine) -> None:
        self._engine = engine

    def handle(self, request: SandboxRequest, now: float) -> SandboxReply:
        """Answer one request at that time (POSIX seconds)."""
        self._engine.advance(now)
        try:
            status, body = self._answer(request, now)
            return spoiling.answer(status, answers.dump(body), _JSON, now)
        except TwilioRefusal as refusal:
            headers = dict(_JSON)
            if refusal.status == 401:
                headers["WWW-Authenticate"] = 'Basic realm="Twilio API"'
            if refusal.status == 405:
                headers["Allow"] = "GET, HEAD" if _sid_of(request.path) else "GET, HEAD, POST"
            return spoiling.answer(refusal.status, answers.dump(refusal.body()), headers, now)

    def _answer(self, request: SandboxRequest, now: float) -> tuple[int, Mapping[str, object]]:
        path, _, query = request.path.partition("?")
        match = _PATH.fullmatch(path_of(path))
        self._check_account(request, match["account"] if match else None)
        if match is None:
            raise TwilioRefusal(404, 20404, f"The requested resource {path} was not found")
        account, sid = match["account"], match["sid"]
        method = request.method.upper().replace("HEAD", "GET")
        if method == "GET" and sid:
            message = self._engine.mailbox.find(sid)
            if message is None or message.account != account:
                raise TwilioRefusal(404, 20404, f"The requested resource {path} was not found")
            return 200, as_kept(message)
        if method == "GET":
            return 200, self._list(account, dict(parse_qsl(query, keep_blank_values=True)))
        if method == "POST" and not sid:
            return 201, self._create(account, request, now)
        raise TwilioRefusal(405, 20004, "Method not allowed")

    def _check_account(self, request: SandboxRequest, account: str | None) -> None:
        """See that the request comes from an account, by its token or by one of its keys."""
        credentials = basic_credentials(request.header("Authorization") or "")
        known = self._engine.config.twilio_accounts
        if credentials is not None:
            user, token = credentials
            accepted = known is None or known.get(user) == token
            if accepted and (user == account or user.startswith("SK")):
                return
        raise TwilioRefusal(401, 20003, "Authenticate")

    def _create(self, account: str, request: SandboxRequest, now: float) -> Mapping[str, object]:
        fields = _form(request)
        to, text = fields.get("To", ""), fields.get("Body", "")
        sender, service = fields.get("From", ""), fields.get("MessagingServiceSid", "")
        if not to:
            raise TwilioRefusal(400, 21604, "A 'To' phone number is required.")
        if not sender and not service:
            raise TwilioRefusal(400, 21603, "A 'From' phone number is required.")
        if service and not _SERVICE.fullmatch(service):
            raise TwilioRefusal(400, 21705, "The Messaging Service Sid is invalid.")
        for name in _NOT_THERE:
            if fields.get(name):
                raise TwilioRefusal(400, 20001, f"{name} is not there in the sandbox; send a Body.")
        if not text:
            raise TwilioRefusal(400, 21619, "A text message body must be specified.")
        if len(text) > MOST_CHARACTERS:
            raise TwilioRefusal(
                400, 21617, f"The message body exceeds the {MOST_CHARACTERS} character limit."
            )
        _check_receiver(to)
        _check_sender(sender, to)
        message = self._engine.mailbox.receive(
            now,
            to=to,
            text=text,
            via=Via.TWILIO,
            sender=sender or None,
            service=service or None,
            account=account,
        )
        return as_created(message)

    def _list(self, account: str, query: Mapping[str, str]) -> Mapping[str, object]:
        found = [message for message in self._engine.mailbox if message.account == account]
        if query.get("To"):
            found = [message for message in found if message.to in _numbers(query["To"])]
        if query.get("From"):
            found = [message for message in found if message.sender == query["From"]]
        size = _whole(query, "PageSize", 50, least=1, most=_LONGEST_PAGE)
        page = _whole(query, "Page", 0, least=0, most=_LAST_PAGE)
        latest_first = found[::-1]
        part = latest_first[page * size : (page + 1) * size]

        def uri(number: int) -> str:
            again = {key: value for key, value in query.items() if key in {"To", "From"}}
            options = urlencode({**again, "PageSize": size, "Page": number}, quote_via=quote)
            return f"/2010-04-01/Accounts/{account}/{MESSAGES}.json?{options}"

        return {
            "messages": [as_kept(message) for message in part],
            "page": page,
            "page_size": size,
            "start": page * size,
            "end": max(page * size, page * size + len(part) - 1),
            "uri": uri(page),
            "first_page_uri": uri(0),
            "next_page_uri": uri(page + 1) if (page + 1) * size < len(found) else None,
            "previous_page_uri": uri(page - 1) if page else None,
        }


def basic_credentials(header: str) -> tuple[str, str] | None:
    """Return account or key and token of an ``Authorization`` header, if it has both."""
    scheme, _, encoded = header.strip().partition(" ")
    try:
        user, _, token = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:
        return None
    return (user, token) if scheme.lower() == "basic" and user and token else None


def _check_receiver(to: str) -> None:
    numbers = _numbers(to)
    if not numbers:
        raise TwilioRefusal(400, 21211, f"The 'To' number {to} is not a valid phone number.")
    refuse_magic(MAGIC_RECEIVERS, numbers[0])


def _check_sender(sender: str, to: str) -> None:
    if not sender:
        return
    numbers = [] if _SHORT_CODE.fullmatch(sender) else _numbers(sender)
    if not numbers and not _SHORT_CODE.fullmatch(sender) and not _SENDER_ID.fullmatch(sender):
        raise TwilioRefusal(400, 21212, f"The 'From' number {sender} is not a valid phone number.")
    if numbers:
        refuse_magic(MAGIC_SENDERS, numbers[0])
        if numbers[0] == _numbers(to)[0]:
            raise TwilioRefusal(400, 21266, "The 'To' and 'From' numbers cannot be the same.")


def _numbers(text: str) -> list[str]:
    try:
        return phone_numbers(text)
    except ValueError:
        return []


def _form(request: SandboxRequest) -> dict[str, str]:
    if len(request.body) > MAX_BODY:
        raise TwilioRefusal(413, 21617, "The message body exceeds the character limit.")
    try:
        return form_fields(request)
    except ValueError as exc:
        raise TwilioRefusal(400, 20001, str(exc).capitalize()) from None


def _whole(query: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and least <= int(text) <= most):
        raise TwilioRefusal(400, 20001, f"{name} is a whole number, {least} to {most}.")
    return int(text)


def _sid_of(path: str) -> str | None:
    match = _PATH.fullmatch(path_of(path))
    return match["sid"] if match else None
