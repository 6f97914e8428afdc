"""The part of the control API that is about webhooks, described, with its shapes."""

from __future__ import annotations

from ..webhook_config import WebhookShape
from ..webhook_faults import WebhookFaultKind
from ..webhook_posts import NoAnswer, PostKind
from .parts import LAST, control, taken
from .schemas import Json, listed, number, optional, record, ref, text, whole

WEBHOOK_FAULT_PATTERN = (
    "^(" + "|".join(WebhookFaultKind) + ")(=[0-9.-]+)?(@[0-9.]+|#[0-9]+(-[0-9]*)?)?$"
)

_NOT_SET = "no webhook is set: PUT /_sandbox/webhook with a url first"
_SETTING = {
    "url": "http://127.0.0.1:9000/...",
    "signed": True,
    "faults": ["loss@0.05", "late=0-30"],
    "attempts": 5,
    "backoff": 1.0,
    "timeout": 10.0,
    "shape": "flat",
}
_POST = {
    "at": 1776609022.5,
    "kind": "sms",
    "activation_id": "12345678",
    "attempt": 1,
    "status": 204,
    "error": None,
    "took": 0.004,
    "forged": False,
    "duplicate": False,
}
_FAULT = text(
    "`KIND[=VALUE][@SHARE|#EVENT]`, as in the table of webhook faults.", examples=["loss@0.05"]
)
_FAULTS: Json = {
    "anyOf": [
        text("Several, separated by commas or blanks."),
        listed({**_FAULT, "pattern": WEBHOOK_FAULT_PATTERN}),
    ]
}
_ATTEMPTS = whole("Most posts for one SMS until one is answered 2xx.", minimum=1, maximum=20)
_BACKOFF = number(
    "Seconds before the second attempt; before each later one three times as many.",
    minimum=0.01,
    maximum=3600,
)
_TIMEOUT = number("Seconds until a post has failed.", minimum=0.05, maximum=60)
_SHAPE = text("Shape of the body.", enum=list(WebhookShape))
_FOUR = "(?:[A-Za-z0-9+/]{4})"
_SECRET_PATTERN = (
    f"^whsec_(?:{_FOUR}{{8,21}}|{_FOUR}{{8,21}}[A-Za-z0-9+/]{{2}}={{0,2}}"
    f"|{_FOUR}{{8,20}}[A-Za-z0-9+/]{{3}}=?)$"
)
"""24 to 64 bytes in base64, whose padding may be missing."""
_SECRET_EXAMPLE = "whsec_c2FuZGJveC1leGFtcGxlLXNlY3JldC0wMDE="  # noqa: S105

WEBHOOK_SCHEMAS: Json = {
    "WebhookSetting": record(
        {
            "url": text("Where posts go; the path, which is a secret, is left out."),
            "signed": {"type": "boolean", "description": "Whether posts are signed."},
            "faults": listed(_FAULT),
            "attempts": _ATTEMPTS,
            "backoff": _BACKOFF,
            "timeout": _TIMEOUT,
            "shape": _SHAPE,
        }
    ),
    "Webhook": record({"webhook": {"anyOf": [ref("WebhookSetting"), {"type": "null"}]}}),
    "NewWebhook": record(
        {
            "url": optional(
                text(
                    "Where posts go: http or https, on this machine unless the sandbox was"
                    " started with `--webhook-remote`. Where it is left out, URL and secret stay.",
                    format="uri",
                    maxLength=2048,
                    pattern="^https?://",
                )
            ),
            "secret": optional(
                text(
                    "`whsec_` and 24 to 64 bytes in base64: posts are signed as Standard"
                    " Webhooks has it. Only together with `url`.",
                    pattern=_SECRET_PATTERN,
                )
            ),
            "faults": _FAULTS,
            "seed": optional(whole("Seeds the draws anew; the sandbox's seed where left out.")),
            "attempts": optional({**_ATTEMPTS, "default": 5}),
            "backoff": optional({**_BACKOFF, "default": 1.0}),
            "timeout": optional({**_TIMEOUT, "default": 10.0}),
            "shape": {
                **_SHAPE,
                "type": ["string", "null"],
                "enum": [*WebhookShape, None],
                "default": "flat",
            },
        },
        optional=(
            "url",
            "secret",
            "faults",
            "seed",
            "attempts",
            "backoff",
            "timeout",
            "shape",
        ),
        additionalProperties=False,
        anyOf=[
            {"required": ["url"], "properties": {"url": {"type": "string"}}},
            {"not": {"required": ["secret"], "properties": {"secret": {}}}},
        ],
    ),
    "MoreWebhookFaults": record({"faults": _FAULTS}, additionalProperties=False),
    "GoneWebhookFaults": record(
        {"faults": _FAULTS}, optional=("faults",), additionalProperties=False
    ),
    "WebhookPost": record(
        {
            "at": number("When it left, in POSIX seconds."),
            "kind": text("Why it was made; `lost`: a fault kept it back.", enum=list(PostKind)),
            "activation_id": text("Of which activation it spoke.", examples=["12345678"]),
            "attempt": whole("How often the service had tried; 0 for `lost`.", minimum=0),
            "status": optional(whole("Status of the answer; `null` if there was none.")),
            "error": {
                "type": ["string", "null"],
                "description": "Why there was no answer; `null` if there was one, or none is"
                " known.",
                "enum": [*NoAnswer, None],
            },
            "took": number("Seconds until the answer, or until it was given up.", minimum=0),
            "forged": {"type": "boolean", "description": "Whether what it said was not true."},
            "duplicate": {"type": "boolean", "description": "Whether it repeated another post."},
        }
    ),
    "WebhookPosts": record({"webhooks": listed(ref("WebhookPost"))}),
}
"""Shapes by name."""

WEBHOOK_CONTROLS: dict[tuple[str, str], Json] = {
    ("GET", "webhook"): control(
        "getWebhook",
        "Where webhooks are posted",
        "And how; `null` for nowhere.",
        ("Webhook", {"webhook": _SETTING}),
    ),
    ("PUT", "webhook"): control(
        "setWebhook",
        "Replace where webhooks are posted",
        "From now on each SMS is told of by a `POST` there, again with a growing pause until it is"
        " answered 2xx (or 410). Posts that were planned are dropped. What is left out is as by"
        " default.",
        ("Webhook", {"webhook": _SETTING}),
        fails={
            400: "not a webhook fault: 'lost'",
            409: "url is missing: no webhook is set",
        },
        requestBody=taken(
            "NewWebhook",
            {
                "a receiver": {
                    "url": "http://127.0.0.1:9000/hook/SECRET",
                    "secret": _SECRET_EXAMPLE,
                    "faults": ["loss@0.05", "late=0-30"],
                },
                "other faults, same receiver": {"faults": "duplicate@0.5", "seed": 7},
            },
            required=False,
        ),
    ),
    ("DELETE", "webhook"): control(
        "removeWebhook",
        "Post no webhooks any more",
        "Posts that were planned are dropped.",
        ("Webhook", {"webhook": None}),
    ),
    ("POST", "webhook-faults"): control(
        "addWebhookFaults",
        "Add faults of webhooks",
        "They come behind those in force. Counts and posts that were planned go on.",
        ("Webhook", {"webhook": _SETTING}),
        fails={400: "not a webhook fault: 'lost'", 409: _NOT_SET},
        requestBody=taken("MoreWebhookFaults", {"example": {"faults": ["loss@0.05"]}}),
    ),
    ("DELETE", "webhook-faults"): control(
        "removeWebhookFaults",
        "Remove faults of webhooks",
        "Those of the body, or all of them without one.",
        ("Webhook", {"webhook": {**_SETTING, "faults": []}}),
        fails={404: "not in force: loss@0.05", 409: _NOT_SET},
        requestBody=taken(
            "GoneWebhookFaults", {"example": {"faults": ["loss@0.05"]}}, required=False
        ),
    ),
    ("GET", "webhooks"): control(
        "getWebhooks",
        "The latest posts",
        "Oldest first, each when it has ended.",
        ("WebhookPosts", {"webhooks": [_POST]}),
        parameters=[LAST],
    ),
}
"""The endpoints, by verb and name."""
