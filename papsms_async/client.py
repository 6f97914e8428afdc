"""`PapSMSClient`: the service's endpoints as methods."""

from __future__ import annotations

import asyncio
import os
import random
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from papsms_async.dispatcher import Dispatcher, KeyRing, KeySource, Rank
from papsms_async.errors import (
    AlreadyFinishedError,
    AuthenticationError,
    ConfigurationError,
    ConnectError,
    Execution,
    Money,
    PapSMSError,
)
from papsms_async.limits import RateLimit
from papsms_async.models import Activation, ActivationStatus, Country, FinishStatus
from papsms_async.protocol import (
    countries_request,
    finish_request,
    purchase_request,
    read_countries,
    read_finish,
    read_purchase,
    read_status,
    status_request,
)
from papsms_async.quota import LocalQuota, Quota
from papsms_async.transport import AiohttpTransport, Transport
from papsms_async.verification import check_timeout

if TYPE_CHECKING:
    import aiohttp

DEFAULT_BASE_URL = "https://papsms.com/api/v1/"
"""Where the service lives. Source: PapSMS API guide, "Basics"."""
COUNTRIES_TTL = 3600.0
"""Seconds that the list of countries is kept; the service asks for one read an hour at most."""


class PapSMSClient:
    """The PapSMS API as an asyncio client that keeps to the rate limit.

    Use it as an async context manager, or call `aclose` yourself. All calls share one limit; when
    it is used up they wait, and whoever gains most goes first.

    Args:
        api_key: The key, or a callable (also async) that returns it and is asked again after the
            service refused the key, so that keys rotate without a restart. ``None`` takes the
            environment variable ``PAPSMS_API_KEY``.
        base_url: Where the API is; ``None`` takes ``PAPSMS_BASE_URL``, else the service itself.
            HTTPS only, except to loopback.
        rate_limit: The limit of the key.
        timeout: Seconds for one attempt of one request, connection included.
        session: Your own aiohttp session, for proxies or TLS settings; it stays open. Purchases
            then share its pooled connections, see `papsms_async.transport`.
        quota: Your own limiter, for instance one that several clients share.
        transport: Another way to the service, for instance the in-memory one of
            `papsms_async.testing`.
        rng: Randomness of all pauses; seed it to repeat a run exactly.

    Raises:
        ConfigurationError: There is no key, or an argument can't be used.
    """

    def __init__(
        self,
        api_key: KeySource | None = None,
        *,
        base_url: str | None = None,
        rate_limit: RateLimit = RateLimit(60, per=60.0),  # noqa: B008 - frozen
        timeout: float = 30.0,
        session: aiohttp.ClientSession | None = None,
        quota: Quota | None = None,
        transport: Transport | None = None,
        rng: random.Random | None = None,
    ) -> None:
        if not isinstance(rate_limit, RateLimit):
            raise ConfigurationError("rate_limit must be a RateLimit, such as RateLimit(60, 60).")
        if api_key is None:
            api_key = os.environ.get("PAPSMS_API_KEY", "")
            if not api_key.strip():
                raise ConfigurationError(
                    "There is no API key: set the environment variable PAPSMS_API_KEY"
                    " or pass api_key."
                )
        if transport is None:
            url = base_url or os.environ.get("PAPSMS_BASE_URL") or DEFAULT_BASE_URL
            transport = AiohttpTransport(url, session=session)
        elif session is not None or base_url is not None:
            raise ConfigurationError("Pass either transport, or base_url and session.")
        if not isinstance(api_key, str) and not callable(api_key):
            raise ConfigurationError("api_key must be a text or a callable that returns one.")
        self.rate_limit = rate_limit
        self.quota: Quota = LocalQuota(rate_limit, rng=rng) if quota is None else quota
        self.dispatcher = Dispatcher(
            transport,
            self.quota,
            KeyRing(api_key),
            timeout=check_timeout("timeout", timeout),
            rng=rng,
        )
        self._countries: tuple[Country, ...] | None = None
        self._countries_until = 0.0
        self._countries_task: asyncio.Task[tuple[Country, ...]] | None = None

    def __repr__(self) -> str:
        return f"<PapSMSClient limit={self.rate_limit}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. Safe to call twice."""
        if self._countries_task is not None:
            self._countries_task.cancel()
            self._countries_task = None
        await self.dispatcher.aclose()

    async def purchase(self, service: str, country: str = "us") -> Activation:
        """Buy a number.

        It is sent once. After a lost answer it is *not* sent again: the error's ``money`` is then
        ``unknown``. If this call is cancelled while the request is on the wire, the answer is lost
        too; `ActivationManager` has neither problem.

        Args:
            service: Name of the service, as the catalogue spells it.
            country: Two-letter code.

        Raises:
            NoNumbersError: The country has no number for the service.
            InsufficientBalanceError: The deposit does not cover the price.
            PapSMSError: It failed otherwise; ``money`` says whether it was charged.

        Source: PapSMS API guide, ``POST /numbers/purchase``.
        """
        request = purchase_request(service, country)
        read = partial(read_purchase, service=service, country=country)
        try:
            try:
                return await self.dispatcher.call(request, read, rank=Rank.PURCHASE)
            except AuthenticationError as error:
                # Refused for its key, so nothing was bought; with a new key it is a new purchase.
                if not error.retryable:
                    raise
                return await self.dispatcher.call(request, read, rank=Rank.PURCHASE)
        except PapSMSError as error:
            raise purchase_error(error) from error.__cause__

    async def status(self, activation_id: str) -> ActivationStatus:
        """Ask for the state of an activation.

        Raises:
            ActivationNotFoundError: The service knows no such activation.
            PapSMSError: It failed otherwise.

        Source: PapSMS API guide, ``GET /numbers/status/{activation_id}``.
        """
        return await self.dispatcher.call(
            status_request(activation_id),
            partial(read_status, activation_id=activation_id),
            rank=Rank.POLL,
        )

    async def finish(self, activation_id: str, status: FinishStatus | str) -> None:
        """Finish an activation as ``"completed"`` or ``"cancelled"``.

        Finishing twice is no error: an activation that is already finished counts as success.

        Raises:
            EarlyCancelError: It is too early to cancel; try again later.
            CannotCancelError: It can't be cancelled, usually because an SMS arrived.
            ActivationNotFoundError: The service knows no such activation.
            ConfigurationError: ``status`` is another word.
            PapSMSError: It failed otherwise.

        Source: PapSMS API guide, ``POST /numbers/finish/{activation_id}``.
        """
        try:
            await self.dispatcher.call(
                finish_request(activation_id, status),
                partial(read_finish, activation_id=activation_id),
                rank=Rank.FINISH,
            )
        except AlreadyFinishedError:
            return

    async def complete(self, activation_id: str) -> None:
        """Finish an activation whose code was used. Raises as `finish` does."""
        await self.finish(activation_id, FinishStatus.COMPLETED)

    async def cancel(self, activation_id: str) -> None:
        """Give an unused number back for a refund. Raises as `finish` does."""
        await self.finish(activation_id, FinishStatus.CANCELLED)

    async def countries(self, *, refresh: bool = False) -> tuple[Country, ...]:
        """Return the countries on offer, in the service's order; kept for an hour.

        However many ask at once, one request is made.

        Args:
            refresh: Ask the service even if the list is still fresh.

        Raises:
            PapSMSError: The list could not be read.

        Source: PapSMS API guide, ``GET /countries``.
        """
        loop = asyncio.get_running_loop()
        if not refresh and self._countries is not None and loop.time() < self._countries_until:
            return self._countries
        if self._countries_task is None:
            # A task of its own, so that a cancelled caller does not cancel it for the others.
            self._countries_task = loop.create_task(self._read_countries())
            self._countries_task.add_done_callback(self._forget_countries_task)
        task = self._countries_task
        await asyncio.wait({task})
        if task.cancelled():
            raise ConnectError("The client was closed meanwhile.", retryable=False)
        return task.result()

    async def _read_countries(self) -> tuple[Country, ...]:
        countries = await self.dispatcher.call(countries_request(), read_countries)
        self._countries = countries
        self._countries_until = asyncio.get_running_loop().time() + COUNTRIES_TTL
        return countries

    def _forget_countries_task(self, task: asyncio.Task[tuple[Country, ...]]) -> None:
        if self._countries_task is task:
            self._countries_task = None
        if not task.cancelled():
            task.exception()  # seen, even if every caller is gone


def purchase_error(error: PapSMSError) -> PapSMSError:
    """Return ``error`` with what it means for a purchase: after a lost answer, money is unknown."""
    if error.execution is Execution.UNKNOWN and error.money is Money.NOT_CHARGED:
        error.money = Money.UNKNOWN
    return error
