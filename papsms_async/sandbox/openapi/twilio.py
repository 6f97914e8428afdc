"""Twilio's Messages resource, described as the sandbox has it, with its shapes."""

from __future__ import annotations

from ..mailbox import MessageStatus
from .incoming import MESSAGE_SID, NUMBER, SAID, SID, TAG, TEXT
from .parts import FORM_TYPE, GUARDED, Responses, answered, described, query, taken
from .schemas import Json, listed, optional, record, ref, text, whole

TWILIO_SCHEME: Json = {
    "type": "http",
    "scheme": "basic",
    "description": "Account or API key, and its token; any, unless the sandbox was told which.",
}

_ACCOUNT = "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
_TWILIO_PATH = "/2010-04-01/Accounts/{AccountSid}/Messages"
_DATE = text("RFC 2822.", examples=["Sun, 19 Apr 2026 14:00:00 +0000"])

_TWILIO_STATUS = text(
    "`queued` or `accepted` in the answer to its sender, `delivered` or `undelivered` later.",
    enum=["queued", "accepted", *MessageStatus],
)
_TWILIO = record(
    {
        "sid": MESSAGE_SID,
        "account_sid": text(examples=[_ACCOUNT]),
        "messaging_service_sid": optional(text()),
        "api_version": {"const": "2010-04-01"},
        "body": text(),
        "to": text("E.164."),
        "direction": {"const": "outbound-api"},
        "num_media": text(),
        "price": {"type": "null"},
        "price_unit": {"const": "USD"},
        "date_created": _DATE,
        "date_updated": _DATE,
        "uri": text(),
        "subresource_uris": record({"media": text()}),
        "status": _TWILIO_STATUS,
        "num_segments": text("Of an SMS; `0` while it is not known who will send it."),
        "from": optional(text()),
        "date_sent": optional(_DATE),
        "error_code": optional(whole("30005 where nobody holds the number.")),
        "error_message": optional(text()),
    }
)

TWILIO_SCHEMAS: Json = {
    "TwilioNewMessage": record(
        {
            "To": NUMBER,
            "Body": TEXT,
            "From": text(
                "A phone number, a short code or a sender id.",
                pattern="^(\\+[1-9][0-9]{6,14}|[0-9]{3,6}|[A-Za-z][A-Za-z0-9]{0,10})$",
            ),
            "MessagingServiceSid": text(
                "In place of `From`, or beside it.", pattern="^(MG[A-Za-z0-9]{1,62})?$"
            ),
        },
        optional=("From", "MessagingServiceSid"),
        description="`From` or `MessagingServiceSid` is needed. Other fields of Twilio's are taken"
        " and mean nothing; `ContentSid`, `SendAt` and `ScheduleType` are refused.",
    ),
    "TwilioMessage": _TWILIO,
    "TwilioMessages": record(
        {
            "messages": listed(ref("TwilioMessage")),
            "page": whole(),
            "page_size": whole(),
            "start": whole(),
            "end": whole(),
            "uri": text(),
            "first_page_uri": text(),
            "next_page_uri": optional(text()),
            "previous_page_uri": optional(text()),
        }
    ),
    "TwilioError": record(
        {
            "code": whole("Twilio's code.", examples=[21211]),
            "message": text(),
            "more_info": text(),
            "status": whole("That of the answer."),
        }
    ),
}
"""Shapes by name."""

_CREATED = {
    "sid": SID,
    "account_sid": _ACCOUNT,
    "messaging_service_sid": None,
    "api_version": "2010-04-01",
    "body": SAID,
    "to": "+14155550123",
    "direction": "outbound-api",
    "num_media": "0",
    "price": None,
    "price_unit": "USD",
    "date_created": "Sun, 19 Apr 2026 14:00:00 +0000",
    "date_updated": "Sun, 19 Apr 2026 14:00:00 +0000",
    "uri": f"/2010-04-01/Accounts/{_ACCOUNT}/Messages/{SID}.json",
    "subresource_uris": {"media": f"/2010-04-01/Accounts/{_ACCOUNT}/Messages/{SID}/Media.json"},
    "status": "queued",
    "num_segments": "1",
    "from": "+15005550006",
    "date_sent": None,
    "error_code": None,
    "error_message": None,
}
_FIRST_PAGE = f"/2010-04-01/Accounts/{_ACCOUNT}/Messages.json?PageSize=50&Page=0"
_KEPT = {**_CREATED, "status": "delivered", "date_sent": _CREATED["date_created"]}


def _refused(*answers: tuple[int, str, str, int, str]) -> Responses:
    """Describe refusals by status, meaning, name, Twilio's code and sentence."""
    return {
        status: answered(
            meaning,
            "TwilioError",
            {
                name: {
                    "code": code,
                    "message": said,
                    "more_info": f"https://www.twilio.com/docs/errors/{code}",
                    "status": status,
                }
            },
        )
        for status, meaning, name, code, said in answers
    }


_UNKNOWN_ACCOUNT = (401, "Account and token do not fit.", "authenticate", 20003, "Authenticate")
_UNKNOWN_PATH = (404, "There is no such thing.", "not found", 20404, "The resource was not found")
_PARAMETERS = {
    "AccountSid": {
        "name": "AccountSid",
        "in": "path",
        "required": True,
        "schema": text(pattern="^[A-Za-z0-9]{1,64}$"),
        "example": _ACCOUNT,
    },
    "Sid": {
        "name": "Sid",
        "in": "path",
        "required": True,
        "schema": text(pattern="^[A-Za-z0-9]{1,64}$"),
        "example": SID,
    },
}

TWILIO_PATHS: Json = {
    _TWILIO_PATH + ".json": {
        "post": described(
            "createTwilioMessage",
            TAG,
            "Send an SMS, as with Twilio",
            "An application under test that sends by Twilio needs another base URL, nothing else."
            " A message is `queued` at first and `delivered` from then on; to a number that nobody"
            " holds it is `undelivered`. The numbers of Twilio's test credentials are refused as"
            " there.",
            security=[{"twilio": []}],
            parameters=[_PARAMETERS["AccountSid"]],
            requestBody=taken(
                "TwilioNewMessage",
                {"example": {"To": "+14155550123", "From": "+15005550006", "Body": SAID}},
                media_types=(FORM_TYPE,),
            ),
            responses={
                **GUARDED,
                201: answered("Taken.", "TwilioMessage", {"queued": _CREATED}),
                **_refused(
                    (
                        400,
                        "A field is missing or wrong, or a number is one that is refused.",
                        "no receiver",
                        21604,
                        "A 'To' phone number is required.",
                    ),
                    _UNKNOWN_ACCOUNT,
                    _UNKNOWN_PATH,
                    (413, "The body is too large.", "too large", 21617, "The body is too large."),
                ),
            },
        ),
        "get": described(
            "listTwilioMessages",
            TAG,
            "An account's messages, as with Twilio",
            "Latest first.",
            security=[{"twilio": []}],
            parameters=[
                _PARAMETERS["AccountSid"],
                query("To", text(), "Only those to this number."),
                query("From", text(), "Only those from this sender."),
                query("PageSize", whole(minimum=1, maximum=1000, default=50), "How many at most."),
                query("Page", whole(minimum=0, maximum=999_999, default=0), "Which of the pages."),
            ],
            responses={
                **GUARDED,
                200: answered(
                    "A page of them.",
                    "TwilioMessages",
                    {
                        "one": {
                            "messages": [_KEPT],
                            "page": 0,
                            "page_size": 50,
                            "start": 0,
                            "end": 0,
                            "uri": _FIRST_PAGE,
                            "first_page_uri": _FIRST_PAGE,
                            "next_page_uri": None,
                            "previous_page_uri": None,
                        }
                    },
                ),
                **_refused(
                    (
                        400,
                        "The query is not of its form.",
                        "page too long",
                        20001,
                        "PageSize is a whole number, 1 to 1000.",
                    ),
                    _UNKNOWN_ACCOUNT,
                    _UNKNOWN_PATH,
                ),
            },
        ),
    },
    _TWILIO_PATH + "/{Sid}.json": {
        "get": described(
            "getTwilioMessage",
            TAG,
            "One message, as with Twilio",
            "With what has become of it.",
            security=[{"twilio": []}],
            parameters=[_PARAMETERS["AccountSid"], _PARAMETERS["Sid"]],
            responses={
                **GUARDED,
                200: answered("The message.", "TwilioMessage", {"delivered": _KEPT}),
                **_refused(_UNKNOWN_ACCOUNT, _UNKNOWN_PATH),
            },
        )
    },
}
"""The endpoints, by path and verb."""
