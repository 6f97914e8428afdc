"""The receiver as an ASGI application, to be mounted in yours; it needs no framework.

Starlette and FastAPI:

    app.mount("/webhooks", webhook_asgi(receiver))

The URL for the account's settings is then ``https://your.host/webhooks`` followed by
`WebhookReceiver.path`. It holds the secret: keep it out of access logs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from papsms_async.errors import PapSMSError
from papsms_async.ledger import Ledger, open_ledger
from papsms_async.webhook.core import MAX_BODY, TOO_SLOW, Refusal, WebhookRequest
from papsms_async.webhook.receiver import BODY_TIMEOUT, WebhookAnswer, WebhookReceiver

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger("papsms_async.webhook")


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
            case other:
                raise ValueError(f"webhook_asgi serves no scope of type {other!r}")

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
    """Open and close the ledger with the server; without one, only say that all is well.

    Whatever goes wrong is answered: a server may take an exception for an application that has no
    lifespan, and serve without a ledger.
    """
    await receive()
    ledger: Ledger | None = None
    try:
        if database is not None:
            ledger = await _opened(receiver, database)
    except Exception as error:
        await send(_failed("startup", "The webhook receiver can't start", error))
        return
    try:
        await send({"type": "lifespan.startup.complete"})
        await receive()
    finally:
        # Also where the server ends this without a word.
        failed = None if ledger is None else await _closed(receiver, ledger)
    await send(failed or {"type": "lifespan.shutdown.complete"})


async def _opened(receiver: WebhookReceiver, database: str) -> Ledger:
    """Return the ledger, open and with the receiver attached to its inbox."""
    ledger = open_ledger(database)
    try:
        await ledger.open()
        receiver.attach(ledger.inbox)
    except BaseException:
        await ledger.aclose()
        raise
    return ledger


async def _closed(receiver: WebhookReceiver, ledger: Ledger) -> Message | None:
    """Detach and close; return what the server is told if that fails."""
    try:
        try:
            await receiver.detach()
        finally:
            await ledger.aclose()
    except Exception as error:
        return _failed("shutdown", "The webhook receiver could not close its ledger", error)
    return None


def _failed(phase: str, what: str, error: Exception) -> Message:
    if isinstance(error, PapSMSError):
        why = str(error)
        _log.error("%s: %s", what, why)
    else:
        why = f"{type(error).__name__}; the log has more."
        _log.error("%s", what, exc_info=error)
    return {"type": f"lifespan.{phase}.failed", "message": f"{what}: {why}"}
