"""`WebhookReceiver`: takes webhooks, writes them down, and only then says so.

Theory of operation
===================

A request is admitted by its head, read, and judged (`papsms_async.webhook.core`). What is a webhook
goes into the inbox of a ledger, in a task of the receiver's own: a sender that hangs up in the
middle does not undo it. Once it is durable the sender gets its 2xx, and whoever listens (a manager)
is told. Where it can't be written, the sender is asked to come again; whoever listens is told all
the same, because an SMS that is known should not wait for a disk.

Between `attach` and `detach` it takes webhooks. Before and after, and when it has more in its hands
than it can write, those who know the secret are asked to come again; all others never learn of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets as random_words
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Literal

import attrs

from papsms_async.errors import ConfigurationError, LedgerError
from papsms_async.ledger import Inbox, InboxEntry
from papsms_async.models import WebhookEvent
from papsms_async.webhook.addresses import AddressRules
from papsms_async.webhook.core import (
    NOT_FOUND,
    WRONG_METHOD,
    Gate,
    Refusal,
    WebhookRequest,
)
from papsms_async.webhook.signature import TOLERANCE, SignatureVerifier

_log = logging.getLogger("papsms_async.webhook")

BODY_TIMEOUT = 10.0
"""Seconds in which the whole body has to come."""
MOST_PENDING = 1000
"""Webhooks that may wait to be written; a sender beyond that is asked to come again."""
COME_AGAIN = 5
"""Seconds after which a sender that could not be served is asked to come again."""
COMPLAINTS = 60.0
"""Seconds between two lines of the log about refusals."""

Trust = Literal["confirm", "payload"]
Heard = Callable[[InboxEntry], None]

_OK = b'{"received": true}\n'


def new_webhook_secret() -> str:
    """Return a new secret for the path of a webhook's URL."""
    return random_words.token_urlsafe(32)


@attrs.frozen(kw_only=True)
class WebhookAnswer:
    """What the sender of a request gets.

    Attributes:
        status: HTTP status.
        body: The body, JSON.
        headers: Header lines.
        close: Whether the connection is closed after it.
    """

    status: int
    body: bytes = _OK
    headers: tuple[tuple[str, str], ...] = ()
    close: bool = False


@attrs.frozen(kw_only=True)
class WebhookCounts:
    """What came to a receiver so far.

    Attributes:
        accepted: Webhooks that were taken, copies included.
        copies: How many of them had come before.
        refused: Requests that were refused, by HTTP status.
        deferred: Webhooks whose sender was asked to come again.
    """

    accepted: int
    copies: int
    refused: dict[int, int]
    deferred: int


class WebhookReceiver:
    """Takes webhooks for a manager: ``ActivationManager(client, webhook=receiver)``.

    It has no server of its own: mount `papsms_async.webhook.aiohttp_app.webhook_app` or
    `papsms_async.webhook.asgi.webhook_asgi` in yours, or use
    `papsms_async.webhook.listener.WebhookListener`.

    Args:
        secrets: The secret segment of the URL's path, or two while they are rotated; see
            `new_webhook_secret`. ``None`` takes no requests here: another process on the same
            ledger does, and its webhooks are heard from there.
        trust: ``"confirm"`` takes a webhook for a hint, which one status call confirms.
            ``"payload"`` takes the SMS in it at its word, which saves that call; then whoever knows
            the secret (and signs, with ``signing_secrets``) decides what a flow gets.
        signing_secrets: A Standard Webhooks secret, or two while they are rotated. With them every
            webhook has to be signed; needs the extra ``webhook``.
        tolerance: Seconds that a signature's time may be off.
        allowed: Addresses and networks that may send; ``None`` for all.
        proxies: Addresses and networks of proxies in front, whose ``X-Forwarded-For`` counts;
            ``unix`` for one on a Unix socket. Only of use with ``allowed``.

    Raises:
        ConfigurationError: An argument can't be used.
    """

    def __init__(
        self,
        secrets: str | Iterable[str] | None = None,
        *,
        trust: Trust = "confirm",
        signing_secrets: str | Iterable[str] = (),
        tolerance: float = TOLERANCE,
        allowed: Iterable[str] | None = None,
        proxies: Iterable[str] = (),
    ) -> None:
        if trust not in ("confirm", "payload"):
            raise ConfigurationError('trust must be "confirm" or "payload".')
        keys = _several(signing_secrets)
        proxies = _several(proxies)
        if proxies and allowed is None:
            raise ConfigurationError("proxies only have a meaning together with allowed.")
        words = None if secrets is None else _several(secrets)
        signatures = SignatureVerifier(keys, tolerance=tolerance) if keys else None
        addresses = None if allowed is None else AddressRules(_several(allowed), proxies)
        self.trust: Trust = trust
        self.path = "" if not words else f"/{words[0]}"
        self._signed_only = bool(keys)
        self._gate = (
            None if words is None else Gate(words, signatures=signatures, addresses=addresses)
        )
        self._inbox: Inbox | None = None
        self._heard: Heard | None = None
        self._clock: Callable[[], datetime] = _utc_now
        # In the order of their begin, so that equal runs do equal things in equal order.
        self._writing: dict[asyncio.Task[WebhookAnswer], None] = {}
        self._accepted = self._copies = self._deferred = 0
        self._refused: Counter[int] = Counter()
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._complained_at = -COMPLAINTS
        self._uncomplained = 0

    def __repr__(self) -> str:
        state = "attached" if self._inbox is not None else "detached"
        return f"<WebhookReceiver {state} trust={self.trust}>"

    # Opening and closing -------------------------------------------------------------------------

    def attach(
        self,
        inbox: Inbox,
        heard: Heard | None = None,
        *,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        """Take webhooks from now on.

        Args:
            inbox: Where they are written down; open until `detach` has returned.
            heard: Called with each of them, copies included.
            clock: Gives the present instant (UTC).

        Raises:
            ConfigurationError: It is attached already.
        """
        if self._inbox is not None:
            raise ConfigurationError(
                "This receiver belongs to a manager already; each manager needs one of its own."
            )
        self._inbox, self._heard = inbox, heard
        self._clock = clock or _utc_now

    async def detach(self) -> None:
        """Take no more; return once all that was taken is written down. Safe to call twice."""
        try:
            # Whoever is answered now is not lost: what listens goes first, then what it took.
            while self._closers:
                await self._closers.pop()()
        finally:
            self._inbox = None
            while self._writing:
                await asyncio.wait(tuple(self._writing))
            self._heard = None

    def on_detach(self, close: Callable[[], Awaitable[None]]) -> None:
        """Have ``close`` awaited when the receiver is detached: its listener ends with it."""
        self._closers.append(close)

    @property
    def counts(self) -> WebhookCounts:
        """What came so far."""
        return WebhookCounts(
            accepted=self._accepted,
            copies=self._copies,
            refused=dict(self._refused),
            deferred=self._deferred,
        )

    def trusts(self, event: WebhookEvent) -> bool:
        """Whether the SMS in a webhook may be taken at its word.

        It may have been taken by another process, which did not have to ask for a signature.
        """
        if self.trust != "payload" or event.sms is None:
            return False
        return event.signed or not self._signed_only

    # Receiving -----------------------------------------------------------------------------------

    def admit(self, request: WebhookRequest) -> WebhookAnswer | None:
        """Refuse a request before its body is read; ``None`` where `receive` is next."""
        if self._gate is None:
            return self.refuse(NOT_FOUND)
        refusal = self._gate.admit(request)
        return None if refusal is None else self.refuse(refusal)

    def refuse(self, refusal: Refusal) -> WebhookAnswer:
        """Count a refusal, and return the answer."""
        self._refused[refusal.status] += 1
        self._complain(refusal)
        headers: tuple[tuple[str, str], ...] = ()
        if refusal is WRONG_METHOD:
            headers = (("Allow", "POST"),)
        body = json.dumps({"error": refusal.text}).encode() + b"\n"
        return WebhookAnswer(status=refusal.status, body=body, headers=headers, close=True)

    async def receive(self, request: WebhookRequest, body: bytes) -> WebhookAnswer:
        """Take a request that was admitted; its sender may be cancelled meanwhile.

        Args:
            request: Its head.
            body: Its whole body, or so much of one that is too large that it is seen to be.
        """
        if self._gate is None:
            return self.refuse(NOT_FOUND)
        at = self._clock()
        judged = self._gate.read(request, body, now=at.timestamp())
        if isinstance(judged, Refusal):
            return self.refuse(judged)
        if self._inbox is None or len(self._writing) >= MOST_PENDING:
            return self._defer()
        work = self._take(self._inbox, judged, at)
        task = asyncio.get_running_loop().create_task(work, name="papsms webhook")
        self._writing[task] = None
        task.add_done_callback(lambda done: self._writing.pop(done, None))
        return await asyncio.shield(task)

    async def _take(self, inbox: Inbox, event: WebhookEvent, at: datetime) -> WebhookAnswer:
        try:
            entry = await inbox.put(event, at=at)
        except LedgerError as error:
            _log.error("a webhook can't be written down: %s", error)
            self._tell(InboxEntry(seq=0, event=event, received_at=at))
            return self._defer()
        self._accepted += 1
        self._copies += entry.copies > 1
        self._tell(entry)
        return WebhookAnswer(status=200)

    def _tell(self, entry: InboxEntry) -> None:
        if self._heard is not None:
            self._heard(entry)

    def _defer(self) -> WebhookAnswer:
        self._deferred += 1
        return WebhookAnswer(
            status=503,
            body=b'{"error": "come again"}\n',
            headers=(("Retry-After", str(COME_AGAIN)),),
        )

    def _complain(self, refusal: Refusal) -> None:
        """Say now and then that requests are refused, and why the last one was."""
        self._uncomplained += 1
        now = asyncio.get_running_loop().time()
        if now - self._complained_at >= COMPLAINTS:
            _log.warning(
                "refused %d request%s to the webhook, the last with %d: %s",
                self._uncomplained,
                "s" if self._uncomplained > 1 else "",
                refusal.status,
                "unknown path or address" if refusal is NOT_FOUND else refusal.text,
            )
            self._complained_at, self._uncomplained = now, 0


def _several(words: str | Iterable[str]) -> tuple[str, ...]:
    return (words,) if isinstance(words, str) else tuple(words)


def _utc_now() -> datetime:
    return datetime.now(UTC)
