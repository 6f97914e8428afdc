"""The control API, described."""

from __future__ import annotations

from decimal import Decimal

from ..control import CONTROL_PATH
from ..fields import MOST
from .parts import LAST, control, query, taken
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
}
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
    ("DELETE", "faults"): control(
        "removeFaults",
        "Remove all faults",
        "From now on nothing goes wrong.",
        ("Faults", {"faults": []}),
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
        "It arrives now, for the holder of a phone number or for an activation, and replaces the"
        " one that was on its way.",
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
            },
        ),
    ),
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


def control_paths() -> Json:
    """Describe the control API, by path and verb."""
    paths: Json = {}
    for (method, name), one in CONTROLS.items():
        paths.setdefault(CONTROL_PATH + name, {})[method.lower()] = one
    return paths
