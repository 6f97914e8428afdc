"""The receiver as an ASGI application, to be mounted in yours; it needs no framework.

Starlette and FastAPI:

    app.mount("/webhooks", webhook_asgi(receiver))

The URL for the account's settings is then ``https://your.host/webhooks`` followed by
`WebhookReceiver.path`. It holds the secret: keep it out of access logs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from papsms_async.errors import LedgerError
from papsms_async.ledger import open_ledger
from papsms_async.webhook.core import MAX_BODY, TOO_SLOW, Refusal, WebhookRequest
from papsms_async.webhook.receiver import BODY_TIMEOUT, WebhookAnswer, WebhookReceiver

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


def webhook_asgi(receiver: WebhookReceiver, *, database: str | None = None) -> ASGIApp:
    """Return an application that hands every request to ``receiver``.

    Args:
        receiver: Takes them.
        database: A ledger to keep webhooks in, for an application that runs by itself with no
            manager in its process: it is opened and closed by the server's lifespan protocol.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await _http(receiver, scope, receive, send)
            case "lifespan":
                await _lifespan(receiver, database, receive, send)
            case "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1000})

    return app


async def _http(receiver: WebhookReceiver, scope: Scope, receive: Receive, send: Send) -> None:
    client = scope.get("client")
    head = WebhookRequest(
        method=scope["method"],
        path=_path(scope),
        headers=tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
        ),
        peer=client[0] if client else None,
    )
    answer = receiver.admit(head)
    if answer is None:
        body = await _read(receive)
        if body is None:
            return  # it hung up
        if isinstance(body, Refusal):
            answer = receiver.refuse(body)
        else:
            answer = await receiver.receive(head, body)
    await _send(answer, send, close=scope.get("http_version", "1.1").startswith("1"))


def _path(scope: Scope) -> str:
    """Return the path below the mount; some servers leave the mount's own path away already."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    below = path.removeprefix(root)
    return below if below.startswith("/") else path


async def _read(receive: Receive) -> bytes | Refusal | None:
    """Return the body; of one that is too large, so much that this is seen."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            while len(body) <= MAX_BODY:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        return TOO_SLOW
    return bytes(body)


async def _send(answer: WebhookAnswer, send: Send, *, close: bool) -> None:
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(answer.body))),
        *answer.headers,
    ]
    if answer.close and close:
        headers.append(("Connection", "close"))
    lines = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": lines})
    await send({"type": "http.response.body", "body": answer.body})


async def _lifespan(
    receiver: WebhookReceiver, database: str | None, receive: Receive, send: Send
) -> None:
    """Open and close the ledger with the server; without one, only say that all is well."""
    ledger = None if database is None else open_ledger(database)
    await receive()
    try:
        if ledger is not None:
            await ledger.open()
            receiver.attach(ledger.inbox)
    except LedgerError as error:
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        return
    await send({"type": "lifespan.startup.complete"})
    try:
        await receive()
    finally:
        if ledger is not None:
            await receiver.detach()
            await ledger.aclose()
    await send({"type": "lifespan.shutdown.complete"})
