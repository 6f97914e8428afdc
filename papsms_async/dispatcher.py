"""Where permits meet waiting requests, and the only place that sends a request again.

Every request of a client waits in the quota's one queue; which of them gets a permit is decided
when the permit is there, by `Rank`. Each permit pays for one wire attempt.

What may be sent again:

* anything that certainly was not executed: no connection, or turned away by a 429;
* status, finish and countries also after a lost answer, an unreadable one, or a server error,
  because repeating them does no harm;
* a purchase after a lost answer: never.

A 401 asks the key's source for a new key. If it gives another one, repeatable requests are sent
again with it; a purchase fails with an error marked ``retryable``, so that it is made anew rather
than repeated.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import TypeAlias, TypeVar

from papsms_async.bucket import QuotaHint
from papsms_async.endpoint import Secret
from papsms_async.errors import (
    AuthenticationError,
    ConfigurationError,
    Execution,
    PapSMSError,
    RateLimitedError,
    TransportError,
)
from papsms_async.protocol import WireAnswer, WireRequest, quota_hint
from papsms_async.quota import Permit, Quota
from papsms_async.transport import Transport

T = TypeVar("T")
KeySource: TypeAlias = str | Callable[[], str | Awaitable[str]]

_log = logging.getLogger("papsms_async")

RETRY_BASE = 0.5
"""Seconds that the first backoff is drawn from; it doubles with each try."""
RETRY_CAP = 20.0
"""Seconds that no backoff goes above."""


class Rank(IntEnum):
    """Who gets the next permit; lower goes first, and within a rank who came first.

    Polls and finishes of a manager wait in lines of their own, each with one place here
    (`papsms_async.running_line`, `papsms_async.purchase_line`).
    """

    URGENT = 0
    """A finish that has waited as long as it may, or the last look for an SMS."""
    POLL = 1
    """A status call that is due: waiting costs somebody time."""
    CALL = 1
    """Any other call that a caller awaits. Of the same rank as polls, so that the earlier goes
    first and neither starves the other."""
    BULK_POLL = 2
    """A status call that is due, of one among many; and an interactive purchase."""
    FINISH = 3
    """A finish: the caller already has what it wanted."""
    PURCHASE = 4
    """A bulk purchase: it takes what is left, so that running activations never starve."""

    def __str__(self) -> str:
        """Return it as people call it."""
        return self.name.lower().replace("_", " ")


class KeyRing:
    """Gives the API key, and asks its source again when the service refuses it.

    Args:
        source: The key, or a callable (also async) that returns it.
    """

    def __init__(self, source: KeySource) -> None:
        self._source = source
        self._key: str | None = None
        self._lock: asyncio.Lock | None = None
        if isinstance(source, str):
            self._key = _checked(source)

    def __repr__(self) -> str:
        return "<KeyRing>"

    @property
    def known(self) -> str | None:
        """The key to use now, where it need not be asked for."""
        return self._key

    async def current(self) -> str:
        """Return the key to use now."""
        if self._key is None:
            self._key = await self._ask()
        return self._key

    async def refused(self, key: str) -> bool:
        """Tell that the service refused ``key``; return whether there is another one now."""
        if isinstance(self._source, str):
            return False
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            # Of many requests refused at once, the first asks and the others find the new key.
            if self._key == key:
                self._key = await self._ask()
            return self._key != key

    async def _ask(self) -> str:
        if isinstance(self._source, str):
            return self._source
        try:
            answer = self._source()
            key = await answer if inspect.isawaitable(answer) else answer
        except PapSMSError:
            raise
        except Exception as error:
            # Not chained: nobody knows what the text of a foreign error holds.
            raise ConfigurationError(
                f"The source of the API key failed ({type(error).__name__}); nothing was sent."
            ) from None
        return _checked(key)


def _checked(key: object) -> str:
    if not isinstance(key, str) or not key.strip():
        raise ConfigurationError("The API key is empty: set PAPSMS_API_KEY or pass api_key.")
    key = key.strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigurationError(
            "The API key has a character that no key can have: check PAPSMS_API_KEY for quotes,"
            " spaces or line breaks."
        )
    return Secret(key)


class Dispatcher:
    """Sends requests through a transport under a quota.

    Args:
        transport: Makes one wire attempt a call.
        quota: Gives one permit an attempt.
        keys: Gives the API key.
        timeout: Seconds for one attempt, connection included.
        attempts: How often one call is tried at most when nobody says otherwise.
        rng: Randomness of the backoff.
    """

    def __init__(
        self,
        transport: Transport,
        quota: Quota,
        keys: KeyRing,
        *,
        timeout: float,
        attempts: int = 4,
        rng: random.Random | None = None,
    ) -> None:
        self.quota = quota
        self._transport = transport
        self._keys = keys
        self._timeout = timeout
        self._attempts = attempts
        # Jitter, not a secret.
        self._rng = rng or random.Random()  # noqa: S311

    async def call(
        self,
        request: WireRequest,
        read: Callable[[WireAnswer], T],
        *,
        rank: Rank = Rank.CALL,
        attempts: int | None = None,
        acquire: Callable[[], Awaitable[Permit]] | None = None,
        granted: Callable[[], None] | None = None,
        prepare: Callable[[], Awaitable[None]] | None = None,
        last_check: Callable[[], None] | None = None,
        on_wire: Callable[[bool], None] | None = None,
    ) -> T:
        """Send ``request`` as often as is safe and needed, and return what ``read`` makes of it.

        Args:
            request: What to send.
            read: Deciphers the answer; raises a `PapSMSError` where it is not what was wanted.
            rank: Its place among the waiting requests.
            attempts: How often to try; 429 answers and refused keys don't count.
            acquire: Gives the permit of each attempt, where somebody else decides who is next;
                ``None`` waits for one by rank.
            granted: Called with each permit in hand, before anything else.
            prepare: Awaited once, with the first permit in hand and before anything is sent. If it
                raises, nothing is sent.
            last_check: Called in the very step in which an attempt leaves. If it raises, it does
                not leave; a ``retryable`` error is tried again like a connection that failed.
            on_wire: Called with ``True`` right before an attempt may reach the service, and with
                ``False`` when it is certain that it was not executed.

        Raises:
            PapSMSError: The last try failed, or another try is not safe.
        """
        limit = self._attempts if attempts is None else attempts
        failures = rate_limits = refused_keys = 0
        while True:
            permit = await (self._permit(rank) if acquire is None else acquire())
            try:
                if granted is not None:
                    granted()
                if prepare is not None:
                    await prepare()
                    prepare = None
                key = self._keys.known or await self._keys.current()
            except BaseException:
                permit.unsent()
                raise
            try:
                return await self._attempt(permit, request, read, key, last_check, on_wire)
            except RateLimitedError as error:
                rate_limits += 1
                # The quota blocks the whole key; the next permit comes when that is over.
                if rate_limits > 2 * self._attempts:
                    raise
                _log.info("%s was turned away by the rate limit", request.operation.value)
                if error.execution is not Execution.NOT_EXECUTED:
                    raise
            except AuthenticationError as error:
                refused_keys += 1
                if refused_keys > 1 or not await self._keys.refused(key):
                    raise
                if not request.repeatable:
                    error.retryable = True
                    raise
            except PapSMSError as error:
                failures += 1
                if failures >= limit or not self._may_repeat(request, error):
                    raise
                delay = self._backoff(failures, error.retry_after)
                _log.info(
                    "%s failed (%s), next try in %.1f s",
                    request.operation.value,
                    type(error).__name__,
                    delay,
                )
                await asyncio.sleep(delay)

    def _permit(self, rank: Rank) -> Awaitable[Permit]:
        return self.quota.enqueue((rank, asyncio.get_running_loop().time()))

    async def _attempt(
        self,
        permit: Permit,
        request: WireRequest,
        read: Callable[[WireAnswer], T],
        key: str,
        last_check: Callable[[], None] | None,
        on_wire: Callable[[bool], None] | None,
    ) -> T:
        sent = False

        def mark_sent() -> None:
            nonlocal sent
            if last_check is not None:
                last_check()
            sent = True
            if on_wire is not None:
                on_wire(True)

        def mark_unsent() -> None:
            permit.unsent()
            if sent and on_wire is not None:
                on_wire(False)

        try:
            answer = await self._transport.send(
                request, key=key, timeout=self._timeout, on_sent=mark_sent
            )
        except TransportError as error:
            if error.execution is Execution.NOT_EXECUTED:
                mark_unsent()
            else:
                permit.lost()
            raise
        except BaseException:
            # Cancelled, or an error that should not be: whether it left decides what it counts.
            if sent:
                permit.lost()
            else:
                permit.unsent()
            raise
        try:
            value = read(answer)
        except RateLimitedError as error:
            # Before the permit goes back, so that nobody gets a permit in between.
            self.quota.rate_limited(error.retry_after)
            if on_wire is not None and error.execution is Execution.NOT_EXECUTED:
                on_wire(False)
            raise
        except PapSMSError:
            self.quota.succeeded()
            raise
        else:
            self.quota.succeeded()
            return value
        finally:
            permit.answered()
            hint = quota_hint(answer)
            if hint is not None:
                self.quota.observe(QuotaHint(*hint))

    @staticmethod
    def _may_repeat(request: WireRequest, error: PapSMSError) -> bool:
        if not error.retryable:
            return False
        if error.execution is Execution.NOT_EXECUTED:
            return True
        return error.execution is Execution.UNKNOWN and request.repeatable

    def _backoff(self, failures: int, retry_after: float | None) -> float:
        ceiling = min(RETRY_CAP, RETRY_BASE * 2.0**failures)
        # Full jitter, with a floor so that a try is never made at once.
        delay = 0.1 + self._rng.random() * ceiling
        return delay if retry_after is None else max(delay, min(retry_after, RETRY_CAP))

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()
