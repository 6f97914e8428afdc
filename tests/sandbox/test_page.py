"""The page's files: served from the package, with nothing from outside."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from papsms_async.sandbox import SandboxEngine, SandboxReply, SandboxRequest
from papsms_async.sandbox.front import front_of
from papsms_async.sandbox.page import PAGE_PATH, serve_page

NOW = 1_776_607_200.0
FILES = {
    entry.name: entry.read_text(encoding="utf-8")
    for entry in (resources.files("papsms_async.sandbox") / "page").iterdir()
    if entry.is_file()
}


def ask(path: str, method: str = "GET", **headers: str) -> SandboxReply:
    """Ask the sandbox for a path."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return front_of(SandboxEngine()).handle(SandboxRequest(method, path, named), NOW)


def test_the_page_is_at_the_root() -> None:
    """It is HTML, and needs no key."""
    reply = ask("/")
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert reply.body.decode() == FILES["index.html"]


@pytest.mark.parametrize("name", sorted(FILES))
def test_each_file_is_served_with_its_type(name: str) -> None:
    """Each file is as it is in the package, and may neither be guessed at nor framed."""
    reply = ask(PAGE_PATH + name)
    kinds = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg"}
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith(kinds[name.rpartition(".")[2]])
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    policy = reply.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("name", sorted(FILES))
def test_nothing_comes_from_outside(name: str) -> None:
    """No file names another address, and each file that one names is there."""
    text = FILES[name]
    addresses = re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'`)]*", text)
    assert [one for one in addresses if not one.startswith("http://www.w3.org/")] == []
    for path in re.findall(r"(?:href|src)=\"(/_sandbox/page/[^\"]+)\"", text):
        assert path.removeprefix(PAGE_PATH) in FILES
    for module in re.findall(r"from \"\./([\w.-]+)\"", text):
        assert module in FILES


def test_nothing_turns_text_into_markup() -> None:
    """No script writes HTML or runs text, and none is written into the page itself."""
    for name, text in FILES.items():
        found = re.findall(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function", text
        )
        assert (name, found) == (name, [])
    page = FILES["index.html"]
    assert re.findall(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|<style", page) == []


def test_a_file_is_not_sent_again() -> None:
    """Who has it already is told so."""
    tag = ask("/").headers["ETag"]
    again = ask("/", If_None_Match=f'W/"x", {tag}')
    assert (again.status, again.body) == (304, b"")
    assert ask("/", If_None_Match='"other"').status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/", 200),
        ("GET", "/favicon.ico", 200),
        ("GET", PAGE_PATH + "nothing.js", 404),
        ("GET", PAGE_PATH + "../page.py", 404),
        ("GET", PAGE_PATH + "../../version.py", 404),
        ("GET", PAGE_PATH, 404),
        ("POST", "/", 405),
        ("DELETE", PAGE_PATH + "app.js", 405),
    ],
)
def test_what_else_is_asked_of_the_page(method: str, path: str, status: int) -> None:
    """Only the files are there, and they can only be read."""
    assert ask(path, method).status == status
    assert serve_page(SandboxRequest(method, path), NOW).status == status


def test_looking_is_not_counted() -> None:
    """The page and its files are no requests to the service."""
    engine = SandboxEngine()
    for path in ("/", "/favicon.ico", PAGE_PATH + "app.js"):
        front_of(engine).handle(SandboxRequest("GET", path), NOW)
    assert engine.counted_requests == len(engine.request_log) == 0
