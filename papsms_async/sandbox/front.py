"""The whole sandbox as one function of requests and time: the service, and what is beside it."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from .control import CONTROL_PATH, SandboxControl
from .engine import SandboxEngine
from .openapi import description_routes
from .routing import Handler, Route, Routes


def front_of(
    engine: SandboxEngine, *, record: Callable[[Handler], Handler] | None = None
) -> Routes:
    """Return the table of everything that an engine's sandbox answers.

    Whoever carries requests to the sandbox (the server, a replay) sends them through it.

    Args:
        engine: The engine.
        record: Returns a handler that also writes down what it is asked and answers; for
            everything but static pages.
    """
    rows = [
        *description_routes(engine.config),
        Route(CONTROL_PATH + "*", SandboxControl(engine).handle),
    ]
    if record is None:
        return Routes(rows, otherwise=engine.handle)
    recorded = [row if row.static else attrs.evolve(row, handle=record(row.handle)) for row in rows]
    return Routes(recorded, otherwise=record(engine.handle))
