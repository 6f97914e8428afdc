"""Pages of other sites are kept away, programs are not."""

from __future__ import annotations

import pytest

from papsms_async.sandbox import SandboxEngine, SandboxReply, SandboxRequest
from papsms_async.sandbox.front import front_of
from papsms_async.sandbox.guard import Guard

NOW = 1_776_607_200.0


def objection(method: str = "POST", **headers: str) -> str | None:
    """Return what a guard that knows ``sandbox.example.com`` objects to a request."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    guard = Guard(["sandbox.example.com", "0.0.0.0"])  # noqa: S104 - a name like others here
    return guard.objection(SandboxRequest(method, "/_sandbox/reset", named))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8085",
        "localhost",
        "LocalHost:8085",
        "localhost.:8085",
        "app.localhost:8085",
        "[::1]:8085",
        "192.168.1.7:8085",
        "sandbox",
        "sandbox:8085",
        "papsms.test",
        "host.docker.internal:8085",
        "sandbox.example.com:8085",
        "SANDBOX.example.com.",
    ],
)
def test_names_that_nobody_else_can_have_are_served(host: str) -> None:
    """Addresses, names without a dot, names that cannot be registered, and given ones."""
    assert objection(Host=host) is None
    assert objection(Host=host, Origin=f"http://{host}") is None


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8085", "localhost.evil.example", "", "[", "@"]
)
def test_other_names_are_refused(host: str) -> None:
    """A name that its owner can point at loopback is refused, and the way out is told."""
    refused = objection(Host=host)
    assert refused is not None
    assert "--allow-host" in refused


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://localhost:3000", "http://127.0.0.1", "file://", ""],
)
def test_other_origins_are_refused(origin: str) -> None:
    """A page of another origin, and of another port too, is refused, whatever it asks."""
    for method in ("GET", "POST", "PUT", "DELETE"):
        assert objection(method, Host="127.0.0.1:8085", Origin=origin) is not None
    assert objection(Origin="http://127.0.0.1:8085") is not None


@pytest.mark.parametrize(
    ("method", "site", "mode", "served"),
    [
        ("POST", "same-origin", "cors", True),
        ("GET", "none", "navigate", True),
        ("GET", "cross-site", "navigate", True),
        ("GET", "cross-site", "no-cors", False),
        ("GET", "same-site", "cors", False),
        ("POST", "cross-site", "navigate", False),
        ("POST", "same-site", "no-cors", False),
    ],
)
def test_what_the_browser_says_of_the_site_counts(
    method: str, site: str, mode: str, served: bool
) -> None:
    """A link may lead here; anything else that another site starts is refused."""
    refused = objection(method, Host="localhost:8085", Sec_Fetch_Site=site, Sec_Fetch_Mode=mode)
    assert (refused is None) is served


def test_programs_without_such_headers_are_served() -> None:
    """curl, scripts and HTTP/1.0 clients without a Host."""
    assert objection() is None
    assert objection("DELETE", Host="127.0.0.1:8085", User_Agent="curl/8") is None


EVIL = {"Host": "evil.example:8085", "Authorization": "Bearer sandbox"}


@pytest.mark.parametrize(
    "path",
    ["/", "/_sandbox/page/app.js", "/_sandbox/events", "/_sandbox/health", "/_sandbox/docs"],
)
def test_all_beside_the_service_is_guarded(path: str) -> None:
    """The page, the events, the control API and its description; nothing was done."""

    def ask(headers: dict[str, str]) -> SandboxReply:
        return front_of(SandboxEngine()).handle(SandboxRequest("GET", path, headers), NOW)

    assert ask({"Host": "127.0.0.1:8085"}).status == 200
    assert ask(EVIL).status == 403
    named = front_of(SandboxEngine(), names=["evil.example"])
    assert named.handle(SandboxRequest("GET", path, EVIL), NOW).status == 200


def test_the_service_itself_is_not_guarded() -> None:
    """It asks for a key, and clients reach it under any name."""
    asked = SandboxRequest("GET", "/api/v1/countries", EVIL | {"Origin": "http://evil.example"})
    assert front_of(SandboxEngine()).handle(asked, NOW).status == 200
