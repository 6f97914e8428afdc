"""``POST /sandbox/sms``: an application's own message to a virtual number, in its plainest form.

The body is JSON or a form with ``to``, ``text`` and, if wanted, ``from``. The answer says what
became of it::

    {"sid": "SM...", "to": "+14155550123", "status": "delivered", "activation_id": "12345678",
     "code": "847291"}

``undelivered``, with ``activation_id`` null, is a message to a number that nobody holds; it is
kept, see ``GET /_sandbox/messages``. No key is needed and no limit counts it.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import answers, spoiling
from .endpoints import MAX_BODY
from .engine import SandboxEngine
from .fields import check_known, form_fields, json_object, text_of
from .mailbox import MOST_CHARACTERS, ReceivedMessage, Via
from .messages import SandboxReply, SandboxRequest

SMS_PATH = "/sandbox/sms"

_FORM = "application/x-www-form-urlencoded"
_JSON = {"Content-Type": "application/json"}
_FIELDS = ("to", "text", "from")


class SmsEndpoint:
    """Takes messages for the numbers of one engine.

    Args:
        engine: The engine.
    """

    def __init__(self, engine: SandboxEngine) -> None:
        self._engine = engine

    def handle(self, request: SandboxRequest, now: float) -> SandboxReply:
        """Answer one request at that time (POSIX seconds)."""
        if request.method.upper() != "POST":
            error = answers.dump({"error": f"{SMS_PATH} takes POST"})
            return spoiling.answer(405, error, _JSON | {"Allow": "POST"}, now)
        if len(request.body) > MAX_BODY:
            error = answers.dump({"error": "the body is too large"})
            return spoiling.answer(413, error, _JSON, now)
        try:
            message = self._receive(_fields(request), now)
        except ValueError as exc:
            return spoiling.answer(400, answers.dump({"error": str(exc)}), _JSON, now)
        return spoiling.answer(200, answers.dump(_shown(message)), _JSON, now)

    def _receive(self, body: Mapping[str, object], now: float) -> ReceivedMessage:
        check_known(body, _FIELDS)
        to, text, sender = (text_of(body, name) for name in _FIELDS)
        if not to:
            raise ValueError("to is missing: the phone number, like +14155550123")
        if not text:
            raise ValueError("text is missing: what the SMS says")
        if len(text) > MOST_CHARACTERS:
            raise ValueError(f"text has at most {MOST_CHARACTERS} characters")
        self._engine.advance(now)
        return self._engine.mailbox.receive(now, to=to, text=text, via=Via.PLAIN, sender=sender)


def _fields(request: SandboxRequest) -> Mapping[str, object]:
    if (request.header("Content-Type") or "").partition(";")[0].strip().lower() == _FORM:
        return form_fields(request)
    return json_object(request)


def _shown(message: ReceivedMessage) -> dict[str, object]:
    return {
        "sid": message.sid,
        "to": message.to,
        "status": message.status,
        "activation_id": message.activation_id,
        "code": message.code,
    }
