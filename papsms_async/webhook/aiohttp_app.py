"""The receiver as an application of aiohttp.web, to be mounted in yours.

    app.add_subapp("/webhooks/", webhook_app(receiver))

The URL for the account's settings is then ``https://your.host/webhooks`` followed by
`WebhookReceiver.path`. It holds the secret: keep it out of access logs.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from papsms_async.webhook.core import MAX_BODY, TOO_SLOW, UNREADABLE, Refusal, WebhookRequest
from papsms_async.webhook.receiver import BODY_TIMEOUT, WebhookAnswer, WebhookReceiver


def webhook_app(receiver: WebhookReceiver) -> web.Application:
    """Return an application that hands every request to ``receiver``."""

    async def handle(request: web.Request) -> web.Response:
        return await answer(receiver, request, "/" + request.match_info["path"])

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle, expect_handler=_not_yet)
    return app


async def _not_yet(request: web.Request) -> None:
    """Ask for no body before it is known that the request is admitted; see `_read`."""


async def answer(receiver: WebhookReceiver, request: web.BaseRequest, path: str) -> web.Response:
    """Return the answer to a request.

    Args:
        receiver: Takes it.
        request: As aiohttp has it; its body is not read yet.
        path: Its path below the receiver's.
    """
    head = WebhookRequest(
        method=request.method,
        path=path,
        headers=tuple(request.headers.items()),
        peer=_peer(request),
    )
    refused = receiver.admit(head)
    if refused is not None:
        return _response(refused)
    body = await _read(request)
    if isinstance(body, Refusal):
        return _response(receiver.refuse(body))
    return _response(await receiver.receive(head, body))


async def _read(request: web.BaseRequest) -> bytes | Refusal:
    """Return the body; of one that is too large, so much that this is seen."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY:
                    break
    except TimeoutError:
        return TOO_SLOW
    except (web.RequestPayloadError, ValueError):
        return UNREADABLE
    return bytes(body)


def _response(answer: WebhookAnswer) -> web.Response:
    response = web.Response(
        status=answer.status,
        body=answer.body,
        headers=dict(answer.headers),
        content_type="application/json",
    )
    if answer.close:
        # Whoever was refused may have more of the same, or a body that nobody reads.
        response.force_close()
    return response


def _peer(request: web.BaseRequest) -> str | None:
    """Return the address of whoever connected, whatever the request says of itself."""
    name = None if request.transport is None else request.transport.get_extra_info("peername")
    return str(name[0]) if isinstance(name, tuple) else None
