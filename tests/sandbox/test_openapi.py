"""The document and the page in which the sandbox describes itself."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import papsms_async.sandbox
from papsms_async.sandbox import (
    CountriesShape,
    ErrorShape,
    FaultKind,
    FaultRoute,
    SandboxConfig,
    SandboxControl,
    SandboxEngine,
    SandboxReply,
    SandboxRequest,
)
from papsms_async.sandbox.front import front_of
from papsms_async.sandbox.openapi.control import CONTROLS
from papsms_async.sandbox.openapi.document import openapi_document
from papsms_async.sandbox.openapi.page import page
from papsms_async.sandbox.openapi.service import COMMON, REFUSALS

Make = Callable[..., Any]
NOW = 1_776_607_200.0
SOURCES = Path(papsms_async.sandbox.__file__).parent


def ask(method: str, path: str, *, engine: SandboxEngine | None = None, **headers: str) -> Any:
    """Send a request to the whole sandbox."""
    return front_of(engine or SandboxEngine()).handle(SandboxRequest(method, path, headers), NOW)


def text_of(reply: SandboxReply) -> Any:
    """Decode a JSON answer, which must be one."""
    assert reply.headers["Content-Type"] == "application/json"
    return json.loads(reply.body)


# ---- the document ----


def test_every_control_is_described_and_no_other() -> None:
    """The control API's table and its description name the same endpoints."""
    assert set(CONTROLS) == set(SandboxControl(SandboxEngine())._endpoints)


def test_every_route_is_described() -> None:
    """Each route of the service that requests can have is described."""
    routes = set(FaultRoute) - {FaultRoute.ANY, FaultRoute.CONNECT}
    assert set(REFUSALS) == routes


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    """Return verb, path and description of each endpoint."""
    return [
        (method.upper(), path, operation)
        for path, item in openapi_document()["paths"].items()
        for method, operation in item.items()
    ]


@pytest.mark.parametrize(
    ("method", "path", "operation"), operations(), ids=lambda v: v if isinstance(v, str) else ""
)
def test_what_is_described_exists(method: str, path: str, operation: dict[str, Any]) -> None:
    """Each described endpoint is answered with a described status, also where nothing is given."""
    reply = ask(method, path, Authorization="Bearer sandbox")
    assert str(reply.status) in operation["responses"]
    assert b'"NOT_FOUND"' not in reply.body
    assert b"no such control" not in reply.body
    ids = [one["operationId"] for _, _, one in operations()]
    assert ids.count(operation["operationId"]) == 1


def refusal_codes() -> Iterator[tuple[int, str]]:
    """Return the refusals that the sandbox's source raises, but those of no endpoint."""
    for source in SOURCES.glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id == "Refusal" and all(
                isinstance(argument, ast.Constant) for argument in node.args[:2]
            ):
                status, code = (ast.literal_eval(argument) for argument in node.args[:2])
                if code not in {"NOT_FOUND", "METHOD_NOT_ALLOWED"}:
                    yield status, code


def test_every_refusal_is_described() -> None:
    """No code is raised anywhere that no endpoint's description has."""
    raised = set(refusal_codes())
    assert len(raised) > 12
    described = {
        (status, code)
        for refusals in [COMMON, *REFUSALS.values()]
        for status, codes in refusals.items()
        for code in codes
    }
    assert raised <= described


def provoked(make: Make) -> dict[tuple[FaultRoute, int, str], SandboxReply]:
    """Return for each refusal that is described an answer that has it."""
    purchase, status = "/api/v1/numbers/purchase", "/api/v1/numbers/status/1"
    finish, countries = "/api/v1/numbers/finish/1", "/api/v1/countries"
    calls = {
        FaultRoute.PURCHASE: ("POST", purchase),
        FaultRoute.STATUS: ("GET", status),
        FaultRoute.FINISH: ("POST", finish),
        FaultRoute.COUNTRIES: ("GET", countries),
    }
    found: dict[tuple[FaultRoute, int, str], SandboxReply] = {}
    for route, (method, path) in calls.items():
        found[route, 401, "NO_KEY"] = make().send(method, path, headers={})
        wrong = {"Authorization": "Bearer x"}
        found[route, 401, "BAD_KEY"] = make().send(method, path, headers=wrong)
        found[route, 403, "IP_NOT_ALLOWED"] = make(allowed_ips=["192.0.2.1"]).send(method, path)
        limited = make(limit="1/60s")
        limited.send(method, path)
        found[route, 429, "RATE_LIMITED"] = limited.send(method, path)
        if method == "POST" and route is FaultRoute.PURCHASE:
            found[route, 400, "BAD_REQUEST"] = make().send(method, path, b"{")
            found[route, 413, "PAYLOAD_TOO_LARGE"] = make().send(method, path, b" " * 70_000)
    buy = FaultRoute.PURCHASE
    found[buy, 400, "BAD_COUNTRY"] = make().send("POST", purchase, {"service": "x"})
    found[buy, 400, "BAD_SERVICE"] = make().send("POST", purchase, {"country": "us"})
    found[buy, 402, "NO_BALANCE"] = make(balance=0).purchase()
    found[buy, 404, "NO_NUMBERS"] = make().purchase(country="zz")
    full = make(max_open=1)
    full.buy()
    found[buy, 409, "TOO_MANY_ACTIVATIONS"] = full.purchase()
    found[buy, 422, "BAD_COUNTRY"] = make().purchase(country="qq")
    found[buy, 422, "BAD_SERVICE"] = make().purchase("test-nothing")
    found[FaultRoute.STATUS, 404, "ACTIVATION_NOT_FOUND"] = make().status("1")
    end = FaultRoute.FINISH
    found[end, 404, "ACTIVATION_NOT_FOUND"] = make().finish("1", "completed")
    caller = make()
    path = f"/api/v1/numbers/finish/{caller.buy()}"
    found[end, 400, "BAD_REQUEST"] = caller.send("POST", path, b"{")
    found[end, 413, "PAYLOAD_TOO_LARGE"] = caller.send("POST", path, b" " * 70_000)
    found[end, 400, "BAD_STATUS"] = caller.send("POST", path, {"status": "done"})
    for word, code in (("completed", "ALREADY_FINISHED"), ("cancelled", "ALREADY_CANCELLED")):
        caller = make(sms_delay="never")
        activation_id = caller.buy()
        caller.finish(activation_id, word)
        found[end, 409, code] = caller.finish(activation_id, word)
    for service, code in (
        ("test-early-cancel", "EARLY_CANCEL_DENIED"),
        ("test-race", "CANNOT_CANCEL"),
    ):
        caller = make()
        found[end, 409, code] = caller.finish(caller.buy(service), "cancelled")
    return found


def test_every_described_refusal_is_as_described(make: Make) -> None:
    """Each described refusal can be provoked, and the answer is the example to the letter."""
    document = openapi_document()
    answers = provoked(make)
    described = {
        (route, status, code)
        for route, own in REFUSALS.items()
        for status, codes in (COMMON | own).items()
        for code in codes
    }
    assert set(answers) == described
    by_route = dict(zip(FaultRoute, list(document["paths"].values())[:4], strict=False))
    for (route, status, code), reply in answers.items():
        (operation,) = by_route[route].values()
        content = operation["responses"][str(status)]["content"]["application/json"]
        assert reply.status == status
        assert json.loads(reply.body) == content["examples"][code]["value"]


def test_shapes_follow_the_configuration() -> None:
    """The document describes the shapes that this sandbox was configured with."""
    config = SandboxConfig(
        error_shape=ErrorShape.MESSAGE,
        countries_shape=CountriesShape.STRINGS,
        errors_with_200=True,
    )
    schemas = text_of(ask("GET", "/openapi.json", engine=SandboxEngine(config)))["components"][
        "schemas"
    ]
    assert "error" not in schemas["Error"]["properties"]
    assert schemas["Countries"] == {"type": "array", "items": {"type": "string"}}
    assert schemas["StatusAnswer"]["anyOf"][1] == {"$ref": "#/components/schemas/Error"}


def test_each_kind_of_fault_is_told() -> None:
    """The table of faults has each kind."""
    (told,) = (t for t in openapi_document()["tags"] if t["name"] == "Faults")
    for kind in FaultKind:
        assert f"| `{kind}` |" in told["description"]


def shapes_within(shape: Any) -> Iterator[Any]:
    """Return a shape and those within it."""
    yield shape
    if isinstance(shape, dict):
        for name, part in shape.items():
            if name in {"properties", "$defs"}:
                for one in part.values():
                    yield from shapes_within(one)
            elif name in {"anyOf", "oneOf", "allOf"}:
                for one in part:
                    yield from shapes_within(one)
            elif name in {"items", "not"}:
                yield from shapes_within(part)


def test_generators_can_read_every_shape() -> None:
    """No shape is a bare true or false: generators of clients stumble over them."""
    for shape in openapi_document()["components"]["schemas"].values():
        assert all(isinstance(one, dict) for one in shapes_within(shape))


# ---- serving ----


@pytest.mark.parametrize(
    "path", ["/openapi.json", "/_sandbox/openapi.json", "/_sandbox/docs", "/_sandbox/docs/"]
)
def test_it_can_only_be_read(path: str) -> None:
    """Document and page are served without a key, to GET and HEAD alone, and are not counted."""
    engine = SandboxEngine()
    assert ask("GET", path, engine=engine).status == ask("HEAD", path, engine=engine).status == 200
    refused = ask("POST", path, engine=engine)
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")
    assert engine.counted_requests == 0


def test_both_addresses_have_the_same_document() -> None:
    """The document is the same at both of its addresses."""
    documents = [ask("GET", path).body for path in ("/openapi.json", "/_sandbox/openapi.json")]
    assert documents[0] == documents[1]
    assert json.loads(documents[0])["openapi"] == "3.1.0"


def test_other_sites_are_refused_as_described() -> None:
    """What is answered to a page of another site is described wherever no key is asked for."""
    for method, path, operation in operations():
        if operation["tags"] == ["Service"]:
            continue
        reply = ask(method, path, Origin="http://elsewhere.test", Host="localhost")
        content = operation["responses"]["403"]["content"]["application/json"]
        assert (reply.status, text_of(reply)) == (403, content["examples"]["example"]["value"])


# ---- the page ----

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Reader(HTMLParser):
    """Reads a page strictly: every element is closed in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        given = dict(attrs)
        self.tags.add(tag)
        self.attributes |= set(given)
        if tag not in VOID:
            self.open.append(tag)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        if tag == "a":
            self.links.append(str(given["href"]))

    def handle_endtag(self, tag: str) -> None:
        """Check that it is the latest one that is closed."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


@pytest.fixture
def read() -> Reader:
    """Return the page, read."""
    reader = Reader()
    reader.feed(ask("GET", "/_sandbox/docs", Host="sandbox.test:9000").body.decode())
    reader.close()
    return reader


def test_the_page_is_whole(read: Reader) -> None:
    """Every element is closed, every id is unique, and every link within the page leads there."""
    assert read.open == []
    assert len(set(read.ids)) == len(read.ids)
    within = {link[1:] for link in read.links if link.startswith("#")}
    assert within
    assert within <= set(read.ids)


def test_the_page_needs_nothing_else(read: Reader) -> None:
    """No script, no picture, no style sheet, no font from anywhere; the policy forbids them."""
    assert not read.tags & {"script", "img", "link", "iframe", "object", "form"}
    assert not any(name.startswith("on") or name in {"src", "style"} for name in read.attributes)
    beyond = [link for link in read.links if not link.startswith("#")]
    assert beyond == ["/", "/_sandbox/openapi.json"]
    policy = ask("GET", "/_sandbox/docs").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")


def test_the_page_tells_everything(read: Reader) -> None:
    """Each endpoint, each status, each code, each shape and each magic service is on the page."""
    document = openapi_document()
    for _, path, operation in operations():
        assert path in read.text
        assert operation["operationId"] in read.ids
        for status in operation["responses"]:
            assert status in read.text
    for name in document["components"]["schemas"]:
        assert f"shape-{name}" in read.ids
    for word in ("EARLY_CANCEL_DENIED", "test-null-code", "drop_after", "Retry-After"):
        assert word in read.text


def test_commands_name_the_sandbox_that_was_asked(read: Reader) -> None:
    """Commands to copy go to the address under which the page was asked for."""
    assert "http://sandbox.test:9000/api/v1/numbers/status/12345678" in read.text
    forged = ask("GET", "/_sandbox/docs", Host="<b>'$(x)").body.decode()
    assert "http://127.0.0.1:8085/api/v1/countries" in forged
    assert "$(x)" not in forged


def test_the_page_escapes_what_it_shows() -> None:
    """Text of the document is text on the page, whatever is in it."""
    document = {**openapi_document(), "info": {**openapi_document()["info"], "summary": '<b>&"'}}
    assert "&lt;b&gt;&amp;&quot;" in page(document, origin="http://127.0.0.1")
