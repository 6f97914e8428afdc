"""The documented endpoints, described as this sandbox answers them."""

from __future__ import annotations

from decimal import Decimal

from ..answers import CountriesShape, ErrorShape
from ..endpoints import BASE_PATH, ENDPOINTS, MAX_BODY
from ..faults import FaultRoute
from .parts import JSON_TYPE, Responses, answered, described, refused, taken
from .schemas import Json, Shapes, ref

TAG = "Service"

REFUSALS: dict[FaultRoute, dict[int, dict[str, str]]] = {
    FaultRoute.PURCHASE: {
        400: {
            "BAD_REQUEST": "Request body is not JSON",
            "BAD_COUNTRY": "country is missing or not a string",
            "BAD_SERVICE": "service is missing or not a string",
        },
        402: {"NO_BALANCE": "Insufficient balance"},
        404: {"NO_NUMBERS": "No numbers available for this country and service"},
        409: {"TOO_MANY_ACTIVATIONS": "Too many unfinished activations"},
        413: {"PAYLOAD_TOO_LARGE": "Request body is too large"},
        422: {"BAD_COUNTRY": "Unknown country", "BAD_SERVICE": "Unknown service"},
    },
    FaultRoute.STATUS: {404: {"ACTIVATION_NOT_FOUND": "Activation not found"}},
    FaultRoute.FINISH: {
        400: {
            "BAD_REQUEST": "Request body is not JSON",
            "BAD_STATUS": "status is 'completed' or 'cancelled'",
        },
        404: {"ACTIVATION_NOT_FOUND": "Activation not found"},
        409: {
            "ALREADY_FINISHED": "Activation is already finished",
            "ALREADY_CANCELLED": "Activation is already cancelled",
            "EARLY_CANCEL_DENIED": "Too early to cancel this activation",
            "CANNOT_CANCEL": "Cannot cancel: an SMS was received",
        },
        413: {"PAYLOAD_TOO_LARGE": "Request body is too large"},
    },
    FaultRoute.COUNTRIES: {},
}
"""The codes with which each endpoint says no by itself, by status, and what it says."""

COMMON: dict[int, dict[str, str]] = {
    401: {"NO_KEY": "API key is missing", "BAD_KEY": "API key is invalid"},
    403: {"IP_NOT_ALLOWED": "IP address is not allowed"},
    429: {"RATE_LIMITED": "Too many requests"},
}
"""The codes with which every endpoint says no."""

_MEANINGS = {
    400: "The body is not JSON, or not of its form. Nothing was done.",
    401: "No key, or one that is not accepted.",
    402: "There is not enough money. Nothing was charged.",
    403: "The key is not accepted from this address, or the account is banned or blocked.",
    404: "There is no such thing.",
    409: "The state of the account or of the activation does not allow it.",
    413: f"The body has more than {MAX_BODY // 1024} KiB.",
    422: "The body is of its form and names what there is not. Nothing was charged.",
    429: "The limit of the key is used up; such requests count too.",
}

_RETRY_AFTER = {
    "Retry-After": {
        "description": "When to come back: seconds, or an HTTP date. It may be missing.",
        "schema": {"type": "string", "examples": ["7"]},
    }
}

_ONLY_ON_DEMAND = "Only where a fault or a magic service asks for it"

RARE: dict[str, Json] = {
    "3XX": {
        "description": f"{_ONLY_ON_DEMAND}: a redirect to elsewhere.",
        "headers": {
            "Location": {
                "description": "Where to.",
                "required": True,
                "schema": {"type": "string"},
            }
        },
    },
    "4XX": {
        "description": f"{_ONLY_ON_DEMAND}: any other refusal, perhaps in another shape.",
        "content": {JSON_TYPE: {"schema": {}}, "text/html": {"schema": {"type": "string"}}},
    },
    "5XX": {
        "description": f"{_ONLY_ON_DEMAND}: it fails, with JSON, HTML or nothing in the body."
        " Whether the request took effect is not known.",
        "content": {
            JSON_TYPE: {"schema": ref("Error")},
            "text/html": {"schema": {"type": "string"}},
        },
    },
}
"""What a sandbox without faults answers to no ordinary request."""

_ID = {
    "name": "activation_id",
    "in": "path",
    "required": True,
    "description": "As the purchase gave it.",
    "schema": {"type": "string", "minLength": 1},
    "example": "12345678",
}

_ACTIVATION = {
    "activation_id": "12345678",
    "phone_number": "+14155550123",
    "country": "us",
    "service": "whatsapp",
    "expires_at": "2026-04-19T15:30:00Z",
    "cost": Decimal("0.80"),
}
_SMS = {
    "code": "847291",
    "full_text": "Your WhatsApp code: 847291",
    "received_at": "2026-04-19T14:35:22Z",
}

_COUNTRIES: dict[CountriesShape, object] = {
    CountriesShape.OBJECTS: [
        {"code": "gb", "name": "United Kingdom", "price": Decimal("0.15")},
        {"code": "us", "name": "United States", "price": Decimal("0.15")},
    ],
    CountriesShape.STRINGS: ["gb", "us"],
    CountriesShape.MAPPING: {"us": {"name": "United States", "price": Decimal("0.15")}},
}


def service_paths(shapes: Shapes) -> Json:
    """Describe the documented endpoints, by path and verb."""
    paths: Json = {}
    for route, endpoint in ENDPOINTS.items():
        one = _DESCRIPTIONS[route](_responses(route, shapes.errors), shapes.countries)
        paths.setdefault(BASE_PATH + endpoint.path, {})[endpoint.method.lower()] = one
    return paths


def webhooks() -> Json:
    """Describe what the service posts by itself."""
    event = {"activation_id": "12345678", "code": _SMS["code"], "full_text": _SMS["full_text"]}
    post = described(
        "smsReceived",
        TAG,
        "An SMS has arrived",
        "Posted to the URL that the account has set, so that nobody has to ask for the status. It"
        " may come late, twice, out of order, or never, and anybody can forge it: take it for a"
        " hint, and ask for the status before the code is used.",
        security=[],
        requestBody=taken("SmsEvent", {"with a code": event}),
        responses={"2XX": {"description": "Taken. Any other answer is a reason to try again."}},
    )
    return {"smsReceived": {"post": post}}


def _responses(route: FaultRoute, errors: ErrorShape) -> Responses:
    codes = dict(sorted((COMMON | REFUSALS[route]).items()))
    found: Responses = {
        status: refused(
            errors,
            _MEANINGS[status],
            said.items(),
            **({"headers": _RETRY_AFTER} if status == 429 else {}),
        )
        for status, said in codes.items()
    }
    return found | {status: {"$ref": f"#/components/responses/{status}"} for status in RARE}


def _success(data: object) -> Json:
    return {"success": True, "data": data}


def _link(operation_id: str, description: str) -> Json:
    return {
        "operationId": operation_id,
        "description": description,
        "parameters": {"activation_id": "$response.body#/data/activation_id"},
    }


def _purchase(responses: Responses, _: CountriesShape) -> Json:
    bought = answered(
        "Bought and charged.",
        "ActivationAnswer",
        {"bought": _success(_ACTIVATION)},
        links={
            "status": _link("getStatus", "Look for the SMS."),
            "finish": _link("finishActivation", "Complete it, or give it back."),
        },
    )
    return described(
        "purchaseNumber",
        TAG,
        "Buy a number",
        "There is no idempotency key, and no way to list what was bought: a purchase whose answer"
        " was lost may have been charged, and must not simply be sent again.",
        requestBody=taken("Purchase", {"whatsapp": {"country": "us", "service": "whatsapp"}}),
        responses={200: bought, **responses},
    )


def _status(responses: Responses, _: CountriesShape) -> Json:
    examples = {
        "waiting": _success({"status": "waiting", "sms": None}),
        "received": _success({"status": "received", "sms": _SMS}),
        "no code recognised": _success(
            {
                "status": "received",
                "sms": {**_SMS, "code": None, "full_text": "Welcome to WhatsApp"},
            }
        ),
    }
    return described(
        "getStatus",
        TAG,
        "Look whether the SMS has arrived",
        "To be asked about every 2 s at most, for 60 to 120 s.",
        parameters=[_ID],
        responses={200: answered("How it stands.", "StatusAnswer", examples), **responses},
    )


def _finish(responses: Responses, _: CountriesShape) -> Json:
    done = _success({"activation_id": "12345678", "status": "completed"})
    return described(
        "finishActivation",
        TAG,
        "Finish an activation",
        "Every number is finished once: completed when the code was used, else cancelled, which"
        " gives the money back. A number that has had an SMS cannot be cancelled.",
        parameters=[_ID],
        requestBody=taken(
            "Finish", {"used": {"status": "completed"}, "unused": {"status": "cancelled"}}
        ),
        responses={200: answered("Finished.", "FinishedAnswer", {"used": done}), **responses},
    )


def _list_countries(responses: Responses, shape: CountriesShape) -> Json:
    listed = answered("The countries.", "CountriesAnswer", {"some": _success(_COUNTRIES[shape])})
    return described(
        "listCountries",
        TAG,
        "List the countries on offer",
        "To be read once an hour at most.",
        responses={200: listed, **responses},
    )


_DESCRIPTIONS = {
    FaultRoute.PURCHASE: _purchase,
    FaultRoute.STATUS: _status,
    FaultRoute.FINISH: _finish,
    FaultRoute.COUNTRIES: _list_countries,
}
