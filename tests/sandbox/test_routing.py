"""The table of paths."""

from __future__ import annotations

import pytest

from papsms_async.sandbox import SandboxEngine, SandboxReply, SandboxRequest
from papsms_async.sandbox.routing import Route, Routes, path_of


def answering(name: str) -> Route:
    """Return a route for that pattern whose answer is the pattern."""

    def handle(request: SandboxRequest, now: float) -> SandboxReply:
        return SandboxReply(200, {}, name.encode())

    return Route(name, handle)


@pytest.mark.parametrize(
    ("target", "who"),
    [
        ("/", "/"),
        ("/?theme=dark", "/"),
        ("", "/"),
        ("/_sandbox/", "/_sandbox/*"),
        ("/_sandbox/health?x=1", "/_sandbox/*"),
        ("//_sandbox/x", "/_sandbox/*"),
        ("http://sandbox:8085/_sandbox/x", "/_sandbox/*"),
        ("/_sandbox/events", "/_sandbox/events"),
        ("/_sandbox/events/more", "/_sandbox/*"),
        ("/_sandbox", "the service"),
        ("/api/v1/countries", "the service"),
        ("/x/_sandbox/health", "the service"),
    ],
)
def test_the_first_row_that_matches_answers(target: str, who: str) -> None:
    """A path goes to the first row that is its own or begins it, and else to the service."""
    table = Routes(
        [answering("/"), answering("/_sandbox/events"), answering("/_sandbox/*")],
        otherwise=answering("the service").handle,
    )
    assert table.handle(SandboxRequest("GET", target), 0.0).body.decode() == who


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/a/b?c#d", "/a/b"),
        ("//a//b/", "/a//b/"),
        ("", "/"),
        ("http://h", "/"),
        ("http://h//a?b", "/a"),
    ],
)
def test_a_target_has_a_path(target: str, path: str) -> None:
    """Query, fragment and origin are no part of a path; it begins with one slash."""
    assert path_of(target) == path


def test_the_service_answers_what_is_nobodys() -> None:
    """An engine behind an empty table answers everything, also what it does not know."""
    engine = SandboxEngine()
    reply = Routes([], otherwise=engine.handle).handle(SandboxRequest("GET", "/nothing"), 0.0)
    assert reply.status == 401
