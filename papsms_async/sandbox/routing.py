"""Which part of the sandbox a request goes to: a table of paths, and the service for all others."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from .messages import SandboxReply, SandboxRequest

Handler = Callable[[SandboxRequest, float], SandboxReply]
"""Answers one request at a time in POSIX seconds; neither waits nor reads a clock."""


@attrs.frozen
class Route:
    """A row of the table.

    Attributes:
        pattern: A path such as ``"/sandbox/sms"``; with a final ``*`` every path that begins so.
        handle: Who answers.
        static: Whether its answers have nothing to do with the engine, such as those of a page.
    """

    pattern: str
    handle: Handler
    static: bool = attrs.field(default=False, kw_only=True)

    def matches(self, path: str) -> bool:
        """Whether a path, as `path_of` writes it, is this row's."""
        if self.pattern.endswith("*"):
            return path.startswith(self.pattern[:-1])
        return path == self.pattern


class Routes:
    """The table.

    Args:
        routes: Its rows; of several that match the first counts.
        otherwise: Who answers all other requests: the service.
    """

    def __init__(self, routes: Iterable[Route], *, otherwise: Handler) -> None:
        self._routes = tuple(routes)
        self._rest = Route("*", otherwise)

    def handle(self, request: SandboxRequest, now: float) -> SandboxReply:
        """Let the part that a request goes to answer it; see `Handler`."""
        return self.find(request.path).handle(request, now)

    def find(self, target: str) -> Route:
        """Return the row of a target (a path with any query)."""
        path = path_of(target)
        for route in self._routes:
            if route.matches(path):
                return route
        return self._rest


def path_of(target: str) -> str:
    """Return the path of a request target: no query, no fragment, no origin, one slash in front.

    Slashes further on stay as they are.
    """
    path = target.partition("#")[0].partition("?")[0]
    if "://" in path[:8]:  # absolute form, as sent to a proxy
        path = path.partition("://")[2].partition("/")[2]
    return "/" + path.lstrip("/")
