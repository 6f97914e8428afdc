"""The whole sandbox as one function of requests and time: the service, and what is beside it."""

from __future__ import annotations

from .control import CONTROL_PATH, SandboxControl
from .engine import SandboxEngine
from .openapi import description_routes
from .routing import Route, Routes


def front_of(engine: SandboxEngine) -> Routes:
    """Return the table of everything that an engine's sandbox answers.

    Whoever carries requests to the sandbox (the server, a replay) sends them through it.
    """
    rows = [
        *description_routes(engine.config),
        Route(CONTROL_PATH + "*", SandboxControl(engine).handle),
    ]
    return Routes(rows, otherwise=engine.handle)
