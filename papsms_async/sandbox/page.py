"""The sandbox's page: files of this package, served as they are.

The page is a program for the browser in ``page/``; it reads `GET /_sandbox/events` and uses the
control API. It loads nothing from anywhere else, and its Content-Security-Policy would not let it:
no script or style but its own files, and no way to turn text into markup (Trusted Types).
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib import resources

import attrs

from . import spoiling
from .control import CONTROL_PATH
from .messages import SandboxReply, SandboxRequest
from .routing import path_of

PAGE_PATH = CONTROL_PATH + "page/"
"""Where the page's scripts and styles are; the page itself is at ``/``."""

_NAMED = {"/": "index.html", "/favicon.ico": "icon.svg"}

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)

_SECURITY = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@attrs.frozen
class _File:
    body: bytes = attrs.field(repr=False)
    media_type: str
    tag: str


def serve_page(request: SandboxRequest, now: float) -> SandboxReply:
    """Answer a request for the page or one of its files."""
    path = path_of(request.path)
    found = _files().get(_NAMED.get(path) or path.removeprefix(PAGE_PATH))
    if found is None:
        return _plain(404, "There is no such file; the page is at /.\n", now)
    if request.method.upper() not in {"GET", "HEAD"}:
        return _plain(405, "This can only be read.\n", now, Allow="GET, HEAD")
    # Checked at each visit, so that a newer version of the package is never mixed with an old page.
    headers = {"Cache-Control": "no-cache", "ETag": found.tag, **_SECURITY}
    if found.tag in (request.header("If-None-Match") or ""):
        return spoiling.answer(304, b"", headers, now)
    return spoiling.answer(200, found.body, {"Content-Type": found.media_type, **headers}, now)


def _plain(status: int, text: str, now: float, **headers: str) -> SandboxReply:
    full = {"Content-Type": "text/plain; charset=utf-8", **_SECURITY, **headers}
    return spoiling.answer(status, text.encode(), full, now)


@lru_cache(maxsize=1)
def _files() -> dict[str, _File]:
    """Return the files by name; read once, when somebody first looks at the page."""
    files: dict[str, _File] = {}
    for entry in (resources.files("papsms_async.sandbox") / "page").iterdir():
        media_type = _TYPES.get(entry.name.rpartition(".")[2])
        if media_type is not None:
            body = entry.read_bytes()
            tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
            files[entry.name] = _File(body, media_type, tag)
    return files
