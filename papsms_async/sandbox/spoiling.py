"""Answers, and what faults make of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

import attrs

from . import answers
from .answers import ErrorShape
from .faults import Effect, FaultKind
from .messages import Delivery, SandboxReply

_JSON = {"Content-Type": "application/json"}
_HTML = {"Content-Type": "text/html; charset=utf-8"}
_HUGE = 2 * 1024 * 1024
_DEPTH = 20_000


def answer(status: int, body: bytes, headers: Mapping[str, str], now: float) -> SandboxReply:
    """Return an ordinary answer with ``Date`` and ``Content-Length``."""
    full = {"Date": answers.http_date(now), "Content-Length": str(len(body)), **headers}
    return SandboxReply(status, full, body)


def retry_after(seconds: int, now: float, *, as_date: bool) -> dict[str, str]:
    """Return a Retry-After header, in seconds or as an HTTP date."""
    return {"Retry-After": answers.http_date(now + seconds) if as_date else str(seconds)}


def instead(effect: Effect, now: float) -> SandboxReply:
    """Return what the client gets in place of an executed request."""
    match effect.kind:
        case FaultKind.REFUSE:
            return attrs.evolve(answer(503, b"", {}, now), delivery=Delivery.REFUSE)
        case FaultKind.HANG:
            return attrs.evolve(answer(504, b"", {}, now), delivery=Delivery.HANG)
        case FaultKind.DROP_BEFORE | FaultKind.DROP_AFTER:
            return attrs.evolve(answer(502, b"", {}, now), delivery=Delivery.DROP)
        case FaultKind.RATE_LIMITED:
            headers = dict(_JSON)
            if effect.retry_after is not None:
                headers |= retry_after(effect.retry_after, now, as_date=effect.as_date)
            body = answers.refused(ErrorShape.OBJECT, "RATE_LIMITED", "Too many requests")
            return answer(429, body, headers, now)
        case FaultKind.SERVER_ERROR:
            return _server_error(effect, now)
        case FaultKind.REDIRECT:
            return answer(effect.status, b"", {"Location": "/elsewhere"}, now)
        case FaultKind.MALFORMED | FaultKind.TRUNCATED | FaultKind.SLOW:
            raise ValueError(f"{effect.kind.value} needs an answer to spoil")
        case _:
            assert_never(effect.kind)


def spoil(reply: SandboxReply, effect: Effect, now: float) -> SandboxReply:
    """Return what reaches the client of an executed request's answer."""
    match effect.kind:
        case FaultKind.TRUNCATED:
            # Content-Length stays: it promises the whole.
            return attrs.evolve(
                reply, body=reply.body[: len(reply.body) // 2], delivery=Delivery.TRUNCATE
            )
        case FaultKind.MALFORMED:
            body, headers = _malformed(effect.body, reply.body)
            return answer(200, body, headers, now)
        case FaultKind.SLOW:
            return attrs.evolve(reply, delay=reply.delay + effect.delay)
        case _:
            return instead(effect, now)


def _server_error(effect: Effect, now: float) -> SandboxReply:
    match effect.body:
        case "html":
            page = f"<html><head><title>{effect.status}</title></head><body>Error</body></html>"
            return answer(effect.status, page.encode(), _HTML, now)
        case "empty":
            return answer(effect.status, b"", {}, now)
        case _:
            body = answers.refused(ErrorShape.OBJECT, "INTERNAL_ERROR", "Internal error")
            return answer(effect.status, body, _JSON, now)


def _malformed(style: str, body: bytes) -> tuple[bytes, Mapping[str, str]]:
    match style:
        case "html":
            return b"<!doctype html><html><body>Just a moment...</body></html>", _HTML
        case "empty":
            return b"", _JSON
        case "null":
            return b"null", _JSON
        case "list":
            return b"[]", _JSON
        case "deep":
            return b'{"success": true, "data": ' + b"[" * _DEPTH + b"]" * _DEPTH + b"}", _JSON
        case "huge":
            return b'{"success": true, "data": "' + b"x" * _HUGE + b'"}', _JSON
        case _:
            return body[: max(1, len(body) // 2)], _JSON
