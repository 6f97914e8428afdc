"""The whole sandbox as one function of requests and time: the service, and what is beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from .control import CONTROL_PATH, SandboxControl
from .engine import SandboxEngine
from .feed import EVENTS_PATH, serve_events
from .guard import Guard
from .openapi.serving import description_routes
from .page import PAGE_PATH, serve_page
from .routing import Handler, Route, Routes
from .sms_endpoint import SMS_PATH, SmsEndpoint
from .twilio_api import TWILIO_PATH, TwilioApi


def front_of(
    engine: SandboxEngine,
    *,
    names: Iterable[str] = (),
    record: Callable[[Handler], Handler] | None = None,
) -> Routes:
    """Return the table of everything that an engine's sandbox answers.

    Whoever carries requests to the sandbox (the server, a replay) sends them through it.

    Args:
        engine: The engine.
        names: Names under which browsers may reach what needs no key; see
            `papsms_async.sandbox.guard`.
        record: Returns a handler that also writes down what it is asked and answers; for
            everything but static pages.
    """
    record = record or _unrecorded
    guard = Guard(names)
    rows = [
        Route("/", serve_page, static=True),
        Route("/favicon.ico", serve_page, static=True),
        Route(PAGE_PATH + "*", serve_page, static=True),
        *description_routes(engine.config),
        Route(EVENTS_PATH, serve_events, static=True),
        Route(CONTROL_PATH + "*", SandboxControl(engine).handle),
        Route(SMS_PATH, SmsEndpoint(engine).handle),
        Route(TWILIO_PATH + "*", TwilioApi(engine).handle),
    ]
    # What the guard keeps away changes nothing, so nobody has to write it down.
    guarded = [
        attrs.evolve(row, handle=guard.protect(row.handle if row.static else record(row.handle)))
        for row in rows
    ]
    return Routes(guarded, otherwise=record(engine.handle))


def _unrecorded(handle: Handler) -> Handler:
    return handle
