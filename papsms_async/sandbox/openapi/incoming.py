"""Messages of applications under test, described, with their shapes."""

from __future__ import annotations

from ..mailbox import MOST_CHARACTERS, MessageStatus, Via
from ..sms_endpoint import SMS_PATH
from .parts import (
    FORM_TYPE,
    GUARDED,
    JSON_TYPE,
    LAST,
    answered,
    control,
    described,
    taken,
)
from .schemas import Json, listed, number, optional, record, ref, text

TAG = "Messages in"

SID = "SM0123456789abcdef0123456789abcdef"
NUMBER = text(
    "E.164; other formats are understood.",
    pattern="^\\+[1-9][0-9]{6,14}$",
    examples=["+14155550123"],
)
TEXT = text("What the SMS says.", minLength=1, maxLength=MOST_CHARACTERS)
_CODE = optional(text("The code in the text; `null` where none was recognised."))
_RECEIVER = optional(text("The activation that received it; `null` for an undelivered one."))
_STATUS = text("`undelivered`: nobody holds that number.", enum=list(MessageStatus))
MESSAGE_SID = text(pattern="^SM[0-9a-f]{32}$", examples=[SID])
SAID = "Acme: 847291 is your code"
INCOMING_SCHEMAS: Json = {
    "PlainSms": record(
        {"to": NUMBER, "text": TEXT, "from": optional(text("Who sends it."))},
        optional=("from",),
        additionalProperties=False,
    ),
    "PlainSmsTaken": record(
        {
            "sid": MESSAGE_SID,
            "to": text("E.164."),
            "status": _STATUS,
            "activation_id": _RECEIVER,
            "code": _CODE,
        }
    ),
    "ReceivedMessage": record(
        {
            "sid": MESSAGE_SID,
            "at": number("POSIX seconds."),
            "via": text("Where it came in.", enum=list(Via)),
            "from": optional(text("Who sent it, as given.")),
            "to": text("E.164."),
            "text": text(),
            "code": _CODE,
            "status": _STATUS,
            "activation_id": _RECEIVER,
        }
    ),
    "ReceivedMessages": record({"messages": listed(ref("ReceivedMessage"))}),
}
"""Shapes by name."""

_DELIVERED = {
    "sid": SID,
    "to": "+14155550123",
    "status": "delivered",
    "activation_id": "12345678",
    "code": "847291",
}
MESSAGE_CONTROLS: dict[tuple[str, str], Json] = {
    ("GET", "messages"): control(
        "getMessages",
        "The latest messages of applications",
        "That came in by `/sandbox/sms` or by Twilio's API, undelivered ones too; oldest first.",
        (
            "ReceivedMessages",
            {
                "messages": [
                    {
                        "sid": SID,
                        "at": 1776609022.5,
                        "via": "twilio",
                        "from": "+15005550006",
                        "to": "+14155550123",
                        "text": SAID,
                        "code": "847291",
                        "status": "delivered",
                        "activation_id": "12345678",
                    }
                ]
            },
        ),
        parameters=[LAST],
    ),
}
"""The endpoint of the control API, by verb and name."""


INCOMING_PATHS: Json = {
    SMS_PATH: {
        "post": described(
            "sendSms",
            TAG,
            "Send an SMS to a number",
            "An application under test posts its own message here in place of its provider. The"
            " code is taken from the text. To a number that nobody holds it is kept as"
            " `undelivered`.",
            security=[],
            requestBody=taken(
                "PlainSms",
                {"example": {"to": "+14155550123", "text": SAID}},
                media_types=(JSON_TYPE, FORM_TYPE),
            ),
            responses={
                **GUARDED,
                200: answered("Taken.", "PlainSmsTaken", {"delivered": _DELIVERED}),
                400: answered(
                    "The body is not of its form.",
                    "ControlError",
                    {"no number": {"error": "to is missing: the phone number, like +14155550123"}},
                ),
                413: answered(
                    "The body is too large.",
                    "ControlError",
                    {"too large": {"error": "the body is too large"}},
                ),
            },
        )
    },
}
"""The endpoints, by path and verb."""
