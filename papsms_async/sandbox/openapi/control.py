"""The control API, described."""

from __future__ import annotations

from decimal import Decimal

from ..control import CONTROL_PATH
from ..feed import EVENTS_PATH
from ..fields import MOST
from .incoming import MESSAGE_CONTROLS
from .parts import CONTROL_TAG, GUARDED, LAST, control, described, query, taken
from .schemas import Json
from .webhooks import WEBHOOK_CONTROLS

_ROW = {
    "activation_id": "12345678",
    "phone_number": "+14155550123",
    "country": "us",
    "service": "whatsapp",
    "cost": Decimal("0.80"),
    "state": "received",
    "bought_at": 1776609000.0,
    "expires_at": 1776610200.0,
    "sms_at": 1776609022.5,
    "sms_code": "847291",
    "sms_text": "Your WhatsApp code: 847291",
    "ended_at": None,
    "finishes": 0,
    "status_calls": 2,
    "messages": [
        {
            "at": 1776609022.5,
            "code": "847291",
            "text": "Your WhatsApp code: 847291",
            "arrived": True,
        }
    ],
}
_GONE: Json = {**_ROW, "state": "expired", "sms_at": None, "messages": [], "ended_at": 1776609030.0}
_FAULTS = {"faults": ["purchase:drop_after@0.05", "status:server_error#3"]}
_LIMIT = {"limit": "60/60s:sliding-log"}
_STATS = {
    "seed": 0,
    "balance": Decimal("999.20"),
    "limit": "60/60s:sliding-log",
    "requests": 3,
    "window": 60.0,
    "busiest_window": 3,
    "activations": {"waiting": 0, "received": 1, "cancelled": 0, "expired": 0, "completed": 0},
    "charges": {"purchase": 1, "complete": 0, "cancel": 0, "refund": 0, "expire_refund": 0},
    "finished_more_than_once": 0,
    "statuses": {"200": 3},
}
_CHARGE = {
    "at": 1776609000.0,
    "kind": "purchase",
    "activation_id": "12345678",
    "amount": Decimal("0.80"),
    "service": "whatsapp",
    "country": "us",
}
_REQUEST = {
    "at": 1776609000.0,
    "method": "POST",
    "route": "purchase",
    "status": 200,
    "counted": True,
    "delivery": "answer",
}


CONTROLS: dict[tuple[str, str], Json] = {
    ("GET", "health"): control(
        "getHealth",
        "Whether the sandbox answers",
        "Also how many requests to the service it has counted.",
        ("Health", {"ok": True, "requests": 3}),
    ),
    ("GET", "faults"): control(
        "getFaults", "The faults in force", "As they are written.", ("Faults", _FAULTS)
    ),
    ("PUT", "faults"): control(
        "setFaults",
        "Replace the faults",
        "What goes wrong from now on, and how often; the table of faults says how it is written.",
        ("Faults", _FAULTS),
        fails={400: "not a fault: 'purchase:explode'"},
        requestBody=taken(
            "NewFaults",
            {
                "several": {**_FAULTS, "seed": 7},
                "as one string": {"faults": "any:slow=1, finish:hang#2"},
            },
        ),
    ),
    ("POST", "faults"): control(
        "addFaults",
        "Add faults",
        "They come behind those in force, whose counts go on.",
        ("Faults", _FAULTS),
        fails={400: "not a fault: 'purchase:explode'"},
        requestBody=taken("MoreFaults", {"example": _FAULTS}),
    ),
    ("DELETE", "faults"): control(
        "removeFaults",
        "Remove faults",
        "Those of the body, or all of them without one.",
        ("Faults", {"faults": []}),
        fails={404: "not in force: purchase:hang"},
        requestBody=taken("GoneFaults", {"example": _FAULTS}, required=False),
    ),
    ("GET", "limit"): control(
        "getLimit", "The limit in force", "Of keys without one of their own.", ("Limit", _LIMIT)
    ),
    ("PUT", "limit"): control(
        "setLimit",
        "Replace the limit",
        "Every key starts anew.",
        ("Limit", _LIMIT),
        fails={400: "not a limit: 'fast'"},
        requestBody=taken("NewLimit", {"example": _LIMIT}),
    ),
    ("POST", "deliver"): control(
        "deliverSms",
        "Let an SMS arrive",
        "It arrives now or after a delay, for the holder of a phone number or for an activation,"
        " and replaces the one of the purchase if that is still on its way.",
        ("ActivationRow", _ROW),
        fails={
            400: "give activation_id or phone_number, one of them",
            404: "no open activation can receive that SMS",
        },
        requestBody=taken(
            "Deliver",
            {
                "code": {"phone_number": "+14155550123", "code": "847291"},
                "text": {"activation_id": "12345678", "text": "G-847291 is your code"},
                "later": {"phone_number": "+14155550123", "delay": 5},
            },
        ),
    ),
    ("POST", "drop"): control(
        "dropSms",
        "Let SMS on their way never come",
        "Also the one of the purchase; a new one can still be sent.",
        ("ActivationRow", {**_ROW, "state": "waiting", "sms_at": None, "messages": []}),
        fails={404: "there is no such activation", 409: "no SMS is on its way to that number"},
        requestBody=taken("Drop", {"example": {"phone_number": "+14155550123"}}),
    ),
    ("POST", "end"): control(
        "endNumber",
        "Let the service end a number",
        "One that waits is cancelled or expires now, and is refunded.",
        ("ActivationRow", _GONE),
        fails={
            404: "there is no such activation",
            409: "that number is not waiting but received",
        },
        requestBody=taken("End", {"example": {"phone_number": "+14155550123", "state": "expired"}}),
    ),
    **MESSAGE_CONTROLS,
    **WEBHOOK_CONTROLS,
    ("POST", "reset"): control(
        "reset",
        "Begin again",
        "Balance, limit and faults are as after the start, and nothing is bought.",
        ("ResetDone", {"ok": True, "seed": 7}),
        fails={400: "seed is a whole number"},
        requestBody=taken("Reset", {"example": {"seed": 7}}, required=False),
    ),
    ("GET", "charge-log"): control(
        "getChargeLog",
        "Every charge, refund and finish",
        "Oldest first.",
        ("ChargeLog", {"charges": [_CHARGE]}),
    ),
    ("GET", "activations"): control(
        "getActivations",
        "Every activation",
        "Oldest first.",
        ("Activations", {"activations": [_ROW]}),
        parameters=[
            query(
                "open",
                {"type": "boolean", "default": False},
                "Only those that have not ended; also `1` and `0`.",
            )
        ],
    ),
    ("GET", "requests"): control(
        "getRequests",
        "The latest requests",
        "Oldest first; the control API's own are not among them.",
        ("Requests", {"requests": [_REQUEST]}),
        parameters=[LAST],
    ),
    ("GET", "stats"): control(
        "getStats",
        "Counts, balance, busiest window",
        "Since the start or the last reset.",
        ("Stats", _STATS),
        parameters=[
            query(
                "window",
                {"type": "number", "exclusiveMinimum": 0, "maximum": MOST, "default": 60},
                "Length in seconds of the window in which requests are counted.",
            )
        ],
    ),
}
"""The endpoints of the control API, described, by verb and name."""


_EVENTS = described(
    "getEvents",
    CONTROL_TAG,
    "Follow what happens",
    "Server-sent events named `news` with a JSON object: `summary`, the `activations`,"
    " `requests` and `posts` of webhooks that are new or changed, and `fresh` where what was known"
    " is to be forgotten."
    " A client that was cut off goes on with the header `Last-Event-ID`.",
    security=[],
    responses={
        200: {
            "description": "Events without end.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **GUARDED,
    },
    parameters=[query("since", {"type": "string"}, "Id of the last event seen, at the start.")],
)


def control_paths() -> Json:
    """Describe the control API, by path and verb."""
    paths: Json = {EVENTS_PATH: {"get": _EVENTS}}
    for (method, name), one in CONTROLS.items():
        paths.setdefault(CONTROL_PATH + name, {})[method.lower()] = one
    return paths
