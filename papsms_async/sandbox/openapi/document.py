"""The OpenAPI 3.1 document of a sandbox, as it is configured."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from papsms_async._version import __version__

from ..config import SandboxConfig
from ..faults import KINDS
from ..magic import OUTCOMES
from ..webhook_faults import WEBHOOK_KINDS
from . import control, incoming, service, twilio
from .parts import CONTROL_TAG
from .schemas import Json, Shapes, schemas
from .webhooks import WEBHOOK_SCHEMAS

_INTRODUCTION = """\
An offline stand-in of the PapSMS API: it charges, refunds, limits, delays and fails as the service
does, and a control API beside it changes what it does while it runs. Nothing here costs money, no
number belongs to anybody, and no SMS is sent.

At `/` is an inbox for the browser, at `/_sandbox/docs` this description to read.

Every `GET` endpoint but that of the events answers `HEAD` too. Another verb is answered with 405
and `Allow`, an unknown path with 404.
"""

_SERVICE = """\
The API as PapSMS documents it; where PapSMS is silent, this is what the sandbox assumes. Send the
key as `Authorization: Bearer KEY`; it is `sandbox` unless the sandbox was started with another one.
"""

_INCOMING = """\
An application under test sends its own messages to virtual numbers: it posts them here in place of
its SMS provider. They arrive at once and count before any that the sandbox has in store; started
with `--delay never` the sandbox sends none by itself. Neither API key nor limit is concerned.
"""

_CONTROL = """\
Shows and changes what the sandbox does. It needs no key, and the limit does not count it.
"""

_MAGIC = """\
A purchase for one of these services provokes one outcome. Capitals stand for a value; what is in
brackets may be left out.
"""

_FAULTS = """\
A fault goes wrong with a request to the service, as often as it says:
`ROUTE:KIND[=VALUE[/VALUE...]][@SHARE|#CALL|#FIRST-LAST|#FIRST-]`, such as
`purchase:drop_after@0.05` (one purchase in twenty is charged and its answer lost) or
`status:server_error#3` (the third status call answers 500). Routes are `purchase`, `status`,
`finish`, `countries`, `any`, and `connect` with the kind `refuse` alone.
"""

_WEBHOOK_FAULTS = """\
What goes wrong with the webhooks that the sandbox posts, as often as it says:
`KIND[=VALUE][@SHARE|#EVENT|#FIRST-LAST|#FIRST-]`, such as `loss@0.05` (one SMS in twenty is never
told of) or `late=0-30` (each post leaves up to 30 s late). A forger never has the signing secret.
"""


def openapi_document(config: SandboxConfig | None = None) -> Json:
    """Return the document; the caller must not change it.

    Args:
        config: The sandbox's configuration, whose shapes of errors and countries it describes.
    """
    config = config or SandboxConfig()
    return _document(
        Shapes(config.error_shape, config.countries_shape, errors_with_200=config.errors_with_200)
    )


@lru_cache(maxsize=4)
def _document(shapes: Shapes) -> Json:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "PapSMS sandbox",
            "version": __version__,
            "summary": "The PapSMS API, offline, and a control API for it.",
            "description": _INTRODUCTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "This sandbox."}],
        "security": [{"apiKey": []}],
        "tags": [
            {"name": service.TAG, "description": _SERVICE},
            {"name": incoming.TAG, "description": _INCOMING},
            {"name": CONTROL_TAG, "description": _CONTROL},
            {
                "name": "Magic services",
                "description": _MAGIC + _table(("Service", "Outcome"), OUTCOMES.items()),
            },
            {
                "name": "Faults",
                "description": _FAULTS
                + _table(
                    ("Kind", "Executed", "What the client sees; values, defaults first"),
                    ((kind, *told) for kind, told in KINDS.items()),
                ),
            },
            {
                "name": "Webhook faults",
                "description": _WEBHOOK_FAULTS
                + _table(
                    ("Kind", "Strikes", "What happens; default values in code"),
                    ((kind, *told) for kind, told in WEBHOOK_KINDS.items()),
                ),
            },
        ],
        "paths": service.service_paths(shapes)
        | incoming.INCOMING_PATHS
        | twilio.TWILIO_PATHS
        | control.control_paths(),
        "webhooks": service.webhooks(),
        "components": {
            "schemas": schemas(shapes)
            | incoming.INCOMING_SCHEMAS
            | twilio.TWILIO_SCHEMAS
            | WEBHOOK_SCHEMAS,
            "responses": service.RARE,
            "securitySchemes": {
                "apiKey": {"type": "http", "scheme": "bearer", "description": "The API key."},
                "twilio": twilio.TWILIO_SCHEME,
            },
        },
    }


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Write a Markdown table whose first column is code."""
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    for first, *rest in rows:
        names = ", ".join(f"`{name}`" for name in first.split(", "))
        lines.append(" | ".join([names, *rest]))
    return "\n" + "".join(f"| {line} |\n" for line in lines)
