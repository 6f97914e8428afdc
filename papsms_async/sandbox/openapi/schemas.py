"""The shapes of what goes in and comes out, each declared once, as JSON Schema 2020-12."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs

from ..activations import ActivationState, ChargeKind
from ..answers import CountriesShape, ErrorShape
from ..endpoints import FINISH_WORDS
from ..faults import FaultKind, FaultRoute
from ..limits import LimitKind
from ..messages import Delivery

Json = dict[str, Any]


@attrs.frozen
class Shapes:
    """What of a configuration changes the shapes; see `papsms_async.sandbox.SandboxConfig`."""

    errors: ErrorShape = ErrorShape.OBJECT
    countries: CountriesShape = CountriesShape.OBJECTS
    errors_with_200: bool = attrs.field(default=False, kw_only=True)


def ref(name: str) -> Json:
    """Refer to a shape."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(properties: Json, *, optional: tuple[str, ...] = (), **more: Any) -> Json:
    """Describe an object; every property is required but the ``optional`` ones."""
    required = [name for name in properties if name not in optional]
    found: Json = {"type": "object", "properties": properties, **more}
    return {**found, "required": required} if required else found


def text(description: str = "", **more: Any) -> Json:
    """Describe a string."""
    return _described({"type": "string", **more}, description)


def number(description: str = "", **more: Any) -> Json:
    """Describe a number."""
    return _described({"type": "number", **more}, description)


def whole(description: str = "", **more: Any) -> Json:
    """Describe a whole number."""
    return _described({"type": "integer", **more}, description)


def optional(shape: Json) -> Json:
    """Admit ``null`` as well."""
    return {**shape, "type": [shape["type"], "null"]}


def listed(items: Json, description: str = "") -> Json:
    """Describe an array."""
    return _described({"type": "array", "items": items}, description)


def _described(shape: Json, description: str) -> Json:
    return {**shape, "description": description} if description else shape


_INSTANT = "POSIX seconds."
_ID = text(
    "Id of an activation: one bought number and its life.", minLength=1, examples=["12345678"]
)
_NUMBER = text("E.164.", pattern=r"^\+[1-9][0-9]{4,14}$", examples=["+14155550123"])
_COUNTRY = text(
    "Two letters, as `GET /api/v1/countries` lists them, in any case. `zz` and `xx` are accepted"
    " and always out of stock.",
    pattern="^[A-Za-z]{2}$",
    examples=["us"],
)
_SERVICE = text(
    "Any name, in any case. One that begins with `test-` provokes one outcome.",
    pattern="^[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}$",
    examples=["whatsapp"],
)
_CODE = optional(text("The code; `null` where none was recognised.", examples=["847291"]))
_COST = number("US dollars.", minimum=0, examples=[Decimal("0.80")])

_ACTIVATION = record(
    {
        "activation_id": _ID,
        "phone_number": _NUMBER,
        "country": text("In lower case.", examples=["us"]),
        "service": text("In lower case.", examples=["whatsapp"]),
        "expires_at": text(
            "When the number expires, UTC.",
            format="date-time",
            examples=["2026-04-19T15:30:00Z"],
        ),
        "cost": _COST,
    }
)

_STATUS_WORDS = ", ".join(f"`{state}`" for state in ActivationState)

_STATUS = record(
    {
        "status": text(
            f"{_STATUS_WORDS}; another word is to be taken for `waiting`.", examples=["waiting"]
        ),
        "sms": {"anyOf": [ref("Sms"), {"type": "null"}]},
    }
)

_ERRORS: dict[ErrorShape, Json] = {
    ErrorShape.OBJECT: record(
        {
            "success": {"const": False},
            "error": record({"code": text(examples=["NO_NUMBERS"]), "message": text()}),
        }
    ),
    ErrorShape.STRING: record(
        {
            "success": {"const": False},
            "error": text(examples=["NO_NUMBERS"]),
            "message": text(),
        }
    ),
    ErrorShape.MESSAGE: record({"success": {"const": False}, "message": text()}),
}

_COUNTRIES: dict[CountriesShape, Json] = {
    CountriesShape.OBJECTS: listed(
        record({"code": text(), "name": text(), "price": number("The cheapest, US dollars.")})
    ),
    CountriesShape.STRINGS: listed(text()),
    CountriesShape.MAPPING: {
        "type": "object",
        "additionalProperties": record(
            {"name": text(), "price": number("The cheapest, US dollars.")}
        ),
    },
}

FAULT_PATTERN = (
    "^(" + "|".join(FaultRoute) + "):(" + "|".join(FaultKind) + ")"
    "(=[a-z0-9./]+)?(@[0-9.]+|#[0-9]+(-[0-9]*)?)?$"
)
_COUNT = "0*[1-9][0-9]{0,8}"
LIMIT_PATTERN = (
    f"^(none|{_COUNT}/({_COUNT}(\\.[0-9]+)?|0*\\.[0-9]*[1-9][0-9]*)?(ms|s|m|min|h)(:("
    + "|".join(kind for kind in LimitKind if kind is not LimitKind.NONE)
    + "))?)$"
)

_FAULT = text(
    "`ROUTE:KIND[=VALUE][@SHARE|#CALL]`, as in the table of faults.",
    examples=["purchase:drop_after@0.05"],
)
_FAULTS = {
    "anyOf": [
        text("Several, separated by commas or blanks."),
        listed({**_FAULT, "pattern": FAULT_PATTERN}),
    ]
}
_LIMIT = text("`N/WINDOW[:KIND]` or `none`.", examples=["60/60s:sliding-log"])
_SEED = optional(whole("Seeds the draws anew; the seed in force where left out."))

_ROW = record(
    {
        "activation_id": _ID,
        "phone_number": _NUMBER,
        "country": text(),
        "service": text(),
        "cost": _COST,
        "state": text(enum=list(ActivationState)),
        "bought_at": number(_INSTANT),
        "expires_at": number(_INSTANT),
        "sms_at": optional(number("When the SMS arrives, `null` for never.")),
        "sms_code": _CODE,
        "sms_text": text(),
        "ended_at": optional(number(_INSTANT)),
        "finishes": whole("Finish requests that were executed; never above 1.", maximum=1),
        "status_calls": whole("Status requests for it so far.", minimum=0),
        "messages": listed(
            record(
                {
                    "at": number(_INSTANT),
                    "code": _CODE,
                    "text": text(),
                    "arrived": {"type": "boolean"},
                }
            ),
            "All SMS, arrived and on their way, in the order of their arrival.",
        ),
    }
)

_CHARGE = record(
    {
        "at": number(_INSTANT),
        "kind": text(enum=list(ChargeKind)),
        "activation_id": _ID,
        "amount": number("US dollars taken (purchase) or given back (refunds), else 0."),
        "service": text(),
        "country": text(),
    }
)

_LOGGED = record(
    {
        "at": number(_INSTANT),
        "method": text(),
        "route": text("`unknown` for a path that is none of the service's."),
        "status": whole("0 where the client got no answer."),
        "counted": {"type": "boolean", "description": "Whether it reached the limit."},
        "delivery": text(enum=list(Delivery)),
    }
)


def _counts(names: Any) -> Json:
    return record({str(name): whole(minimum=0) for name in names})


_STATS = record(
    {
        "seed": whole(),
        "balance": number("US dollars left."),
        "limit": _LIMIT,
        "requests": whole("Requests that reached the limit.", minimum=0),
        "window": number("Seconds."),
        "busiest_window": whole("Most requests in any such window.", minimum=0),
        "activations": _counts(ActivationState),
        "charges": _counts(ChargeKind),
        "finished_more_than_once": whole("Always 0.", maximum=0),
        "statuses": {
            "type": "object",
            "additionalProperties": whole(minimum=1),
            "description": "Answers by status.",
        },
    }
)


def _for_number(properties: Json, *, optional_ones: tuple[str, ...] = ()) -> Json:
    return record(
        {
            "activation_id": optional(_ID),
            "phone_number": optional(text("Of a number that is held.", examples=["+14155550123"])),
            **properties,
        },
        optional=("activation_id", "phone_number", *optional_ones),
        description="One of `activation_id` and `phone_number` says which number is meant.",
        oneOf=[
            {"required": [name], "properties": {name: {"type": "string"}}}
            for name in ("activation_id", "phone_number")
        ],
    )


_DELIVER = _for_number(
    {
        "code": optional(text("Left out: the one in the text, if one is recognised.")),
        "text": optional(text("An ordinary text with the code where left out.")),
        "delay": optional(
            number("Seconds until it arrives; 0 where left out.", minimum=0, maximum=86_400)
        ),
    },
    optional_ones=("code", "text", "delay"),
)


def schemas(shapes: Shapes) -> Json:
    """Return every shape by name, as a sandbox of that configuration has it."""

    def answer(name: str) -> Json:
        success = record({"success": {"const": True}, "data": ref(name)})
        return {"anyOf": [success, ref("Error")]} if shapes.errors_with_200 else success

    return {
        "Purchase": record({"country": _COUNTRY, "service": _SERVICE}),
        "Activation": _ACTIVATION,
        "ActivationAnswer": answer("Activation"),
        "Sms": record(
            {
                "code": _CODE,
                "full_text": text(examples=["Your WhatsApp code: 847291"]),
                "received_at": text(format="date-time", examples=["2026-04-19T14:35:22Z"]),
            }
        ),
        "Status": _STATUS,
        "StatusAnswer": answer("Status"),
        "Finish": record(
            {
                "status": text(
                    "`completed`: the code was received and used. `cancelled`: unused; refunded.",
                    enum=list(FINISH_WORDS),
                )
            }
        ),
        "Finished": record({"activation_id": _ID, "status": text(enum=list(FINISH_WORDS))}),
        "FinishedAnswer": answer("Finished"),
        "Countries": _COUNTRIES[shapes.countries],
        "CountriesAnswer": answer("Countries"),
        "Error": _ERRORS[shapes.errors],
        "SmsEvent": record({"activation_id": _ID, "code": _CODE, "full_text": text()}),
        "ControlError": record({"error": text("What is wrong, in a sentence.")}),
        "Health": record({"ok": {"const": True}, "requests": whole(minimum=0)}),
        "Faults": record({"faults": listed(_FAULT)}),
        "NewFaults": record({"faults": _FAULTS, "seed": _SEED}, optional=("seed",)),
        "MoreFaults": record({"faults": _FAULTS}),
        "Limit": record({"limit": _LIMIT}),
        "NewLimit": record({"limit": {**_LIMIT, "pattern": LIMIT_PATTERN}}),
        "GoneFaults": record({"faults": _FAULTS}, optional=("faults",)),
        "Deliver": _DELIVER,
        "Drop": _for_number({}),
        "End": _for_number({"state": text(enum=["cancelled", "expired"])}),
        "ActivationRow": _ROW,
        "Activations": record({"activations": listed(ref("ActivationRow"))}),
        "Charge": _CHARGE,
        "ChargeLog": record({"charges": listed(ref("Charge"))}),
        "LoggedRequest": _LOGGED,
        "Requests": record({"requests": listed(ref("LoggedRequest"))}),
        "Reset": record({"seed": _SEED}, optional=("seed",)),
        "ResetDone": record({"ok": {"const": True}, "seed": whole()}),
        "Stats": _STATS,
    }
