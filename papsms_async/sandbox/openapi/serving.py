"""Serves the document and its readable page, as pure as the engine.

Both are loaded when somebody first asks for them: most sandboxes are never asked, and start sooner.
"""

from __future__ import annotations

import re

from .. import answers, spoiling
from ..config import SandboxConfig
from ..messages import SandboxReply, SandboxRequest
from ..routing import Route

DOCUMENT_PATHS = ("/_sandbox/openapi.json", "/openapi.json")
PAGE_PATHS = ("/_sandbox/docs", "/_sandbox/docs/")

_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9a-fA-F:.]{2,45}\](:[0-9]{1,5})?")
_ELSEWHERE = "127.0.0.1:8085"

_JSON = {"Content-Type": "application/json"}
_HTML = {
    "Content-Type": "text/html; charset=utf-8",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def description_routes(config: SandboxConfig) -> list[Route]:
    """Return the rows of the sandbox's table that describe it.

    Args:
        config: The sandbox's configuration.
    """

    def document(request: SandboxRequest, now: float) -> SandboxReply:
        from .document import openapi_document

        return _readable(request, answers.dump(openapi_document(config)), _JSON, now)

    def readable_page(request: SandboxRequest, now: float) -> SandboxReply:
        from .document import openapi_document
        from .page import POLICY, page

        host = request.header("Host") or ""
        origin = f"http://{host if _HOST.fullmatch(host) else _ELSEWHERE}"
        text = page(openapi_document(config), origin=origin)
        headers = _HTML | {"Content-Security-Policy": POLICY}
        return _readable(request, text.encode(), headers, now)

    handlers = dict.fromkeys(DOCUMENT_PATHS, document) | dict.fromkeys(PAGE_PATHS, readable_page)
    return [Route(path, handle, static=True) for path, handle in handlers.items()]


def _readable(
    request: SandboxRequest, body: bytes, headers: dict[str, str], now: float
) -> SandboxReply:
    if request.method.upper() in {"GET", "HEAD"}:
        return spoiling.answer(200, body, headers, now)
    error = answers.dump({"error": "this can only be read"})
    return spoiling.answer(405, error, _JSON | {"Allow": "GET, HEAD"}, now)
