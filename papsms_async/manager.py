"""`ActivationManager`: many purchase, wait, finish lifecycles at once.

How the parts work together
===========================

``Purchasing`` buys a number for an order: intent into the ledger, then the purchase, in a task of
the manager's own. The caller gets a `LiveActivation`; its wait is a watch of the ``Poller``, which
asks for the status at the ages where a request gains most. Where webhooks come, ``Hearing`` wakes
that wait, and the polls are few. When the block is left, the purchase goes to the ``ReleaseDesk``,
which owes the service one finish. All of them send through the client's dispatcher, so all wait in
one queue; and all of them change a purchase only through `papsms_async.tracking.Tracked`, so every
change is a row of the lifecycle table and in the ledger.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from types import TracebackType
from typing import Self

from papsms_async.bulk import run_all
from papsms_async.client import PapSMSClient
from papsms_async.errors import ConfigurationError, ManagerClosedError
from papsms_async.events import EventHub, EventKind, EventStream, Listener
from papsms_async.leases import LEASE, Leases
from papsms_async.ledger import Ledger, LedgerEntry, MemoryLedger, open_ledger
from papsms_async.limits import Budget, TenantLimits
from papsms_async.live import ActivationBlock, Flow, ResumedBlock
from papsms_async.parts import Parts
from papsms_async.purchase_line import TenantWeights
from papsms_async.purchasing import Order
from papsms_async.recovery import RecoveryReport
from papsms_async.results import result_of
from papsms_async.statistics import ManagerStatistics
from papsms_async.tasks import see_through
from papsms_async.tracking import Shared
from papsms_async.verification import (
    Outcome,
    Priority,
    VerificationRequest,
    VerificationResult,
    as_priority,
    check_timeout,
)
from papsms_async.webhook.receiver import WebhookReceiver

WORST_PRICE = Decimal("3.00")
"""US dollars that the dearest verification costs. Source: PapSMS API guide, "Basics"."""
DRAIN_TIMEOUT = 90.0
"""Seconds that closing waits for owed finishes; at 60 a minute that pays about 85 of them."""


class ActivationManager:
    """Runs verifications: buys numbers, waits for their SMS, and finishes every one of them.

    Use it as an async context manager, inside the client's. Leaving it waits, for a bounded time,
    until each number is finished.

    Args:
        client: The client to send through.
        max_in_flight: How many activations there may be at once; ``None`` takes the number of
            requests a minute that the client's limit allows.
        sms_timeout: Seconds to wait for an SMS where a request names none.
        database: Where the ledger is: ``"sqlite:///papsms.db"``, a PostgreSQL URL, a ledger of your
            own, or ``None`` to keep it in memory, which a crash does not survive.
        budget: What may be spent at most; ``None`` for no bound.
        webhook: Takes webhooks, so that SMS need not be polled for; see `WebhookReceiver`. Polling
            stays as a safety net, and takes over when webhooks stop coming.
        objective: What matters while more is wanted than the limit allows: ``"latency"``, SMS seen
            soon; ``"throughput"``, many completions, and callers who have their number soon;
            ``"balanced"``, between them; or the price of a request in bulk, in seconds of waiting
            that it must save (3 is quick, 100 is sparing).
        early_cancel: Give a number back before its timeout once the chance that its SMS still comes
            is below this, such as 0.02. Saves requests and frees places; its cost is that of the
            SMS that come at all, up to about such a share is not waited for. Only where enough was
            seen of the service and country, and after one more look. 0 waits for every SMS.
        tenant_limits: What each tenant may do: one value for all, or a function of the tenant's
            name. Counted in the ledger, so also across processes.
        tenant_weights: How tenants share the purchases of one priority while they wait for them: a
            mapping of names to weights, such as ``{"a": 2.0}``, or a function of the name. Who is
            not named, and requests without a tenant together, weigh 1.
        explain: Whether each permit is explained: by an event of kind ``decided`` whose
            ``decision`` says why it went where it went, and in ``statistics().decisions``.
        drain_timeout: Seconds that closing waits for finishes that are owed.
        lease: Seconds, above 0, after which another process may take over what this one drove, once
            it is dead, stopped or cut off from the ledger. Renewed three times as often.
        clock: Gives the present instant (aware, UTC); for tests.
        rng: Randomness of pauses and of intent ids; seed it to repeat a run exactly. For tests.

    Raises:
        ConfigurationError: An argument can't be used.
    """

    def __init__(
        self,
        client: PapSMSClient,
        *,
        max_in_flight: int | None = None,
        sms_timeout: float = 120.0,
        database: str | Ledger | None = None,
        budget: Budget | None = None,
        webhook: WebhookReceiver | None = None,
        objective: str | float = "balanced",
        early_cancel: float = 0.0,
        tenant_limits: TenantLimits | Callable[[str], TenantLimits | None] | None = None,
        tenant_weights: TenantWeights | None = None,
        explain: bool = False,
        drain_timeout: float = DRAIN_TIMEOUT,
        lease: float = LEASE,
        clock: Callable[[], datetime] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        if webhook is not None and not isinstance(webhook, WebhookReceiver):
            raise ConfigurationError("webhook must be a WebhookReceiver.")
        if budget is not None and not isinstance(budget, Budget):
            raise ConfigurationError("budget must be a Budget, such as Budget(20).")
        if max_in_flight is None:
            limit = client.rate_limit
            max_in_flight = max(10, min(2000, round(60 * limit.requests / limit.per)))
        if max_in_flight < 1:
            raise ConfigurationError(f"max_in_flight must be 1 or more, not {max_in_flight}.")
        if not isinstance(early_cancel, int | float) or not 0 <= early_cancel < 1:
            raise ConfigurationError(
                f"early_cancel must be a chance from 0 to below 1, not {early_cancel!r}."
            )
        self.max_in_flight = max_in_flight
        self.client = client
        self.sms_timeout = check_timeout("sms_timeout", sms_timeout)
        self.drain_timeout = drain_timeout
        self._shared = Shared(
            ledger=open_ledger(database)
            if database is None or isinstance(database, str)
            else database,
            hub=EventHub(),
            clock=clock or _utc_now,
            budget=budget,
            worst_price=WORST_PRICE if budget is None else budget.worst_price,
            tenant_limits=(lambda _: tenant_limits)
            if isinstance(tenant_limits, TenantLimits)
            else tenant_limits,
        )
        if not isinstance(self._shared.ledger, MemoryLedger):
            self._shared.leases = Leases(self._shared.ledger, lease=check_timeout("lease", lease))
        self._parts = Parts(
            client,
            self._shared,
            max_in_flight=max_in_flight,
            sms_timeout=self.sms_timeout,
            tenant_weights=tenant_weights,
            webhook=webhook,
            explain=explain,
            objective=objective,
            early_cancel=early_cancel,
            rng=rng,
            check_open=self._require_open,
        )
        self._outcomes: Counter[Outcome] = Counter()
        self._state = "new"
        self._closing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<ActivationManager {self._state} in_flight={len(self._parts.live)}>"

    # Opening and closing -------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._state != "new":
            raise ManagerClosedError("A manager can be entered once; make a new one.")
        await self._parts.open()
        self._state = "open"
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def stop_buying(self) -> None:
        """Buy nothing more; numbers that are there go on to their end.

        Verifications whose purchase is not on the wire yet end with `ManagerClosedError`.
        """
        self._parts.purchasing.close()

    async def aclose(self, *, drain_timeout: float | None = None) -> None:
        """Stop buying, release what is not used, and wait until every number is finished.

        It takes ``drain_timeout`` seconds at most, also when its caller is cancelled. What is still
        owed then stays in the ledger and is named in the log.

        Args:
            drain_timeout: Seconds; ``None`` takes the manager's.
        """
        if self._closing is None:
            timeout = self.drain_timeout if drain_timeout is None else drain_timeout
            self._closing = asyncio.get_running_loop().create_task(self._close(timeout))
        await see_through(self._closing)

    async def _close(self, timeout: float) -> None:
        was_open, self._state = self._state == "open", "closing"
        try:
            if was_open:
                await self._parts.drain(timeout)
        finally:
            await self._parts.close()
            self._state = "closed"

    @property
    def ledger(self) -> Ledger:
        """Where the purchases are written down."""
        return self._shared.ledger

    @property
    def is_buying(self) -> bool:
        """Whether new verifications can begin."""
        return self._state == "open" and not self._parts.purchasing.closed

    @property
    def owed(self) -> tuple[LedgerEntry, ...]:
        """Numbers whose finish the service has not taken yet."""
        return tuple(tracked.entry for tracked in self._parts.desk.owed)

    @property
    def unfinished(self) -> tuple[LedgerEntry, ...]:
        """Numbers that are bought and not finished: in the hands of flows, or owed."""
        return (*self._parts.live.entries, *self.owed)

    # One verification ----------------------------------------------------------------------------

    def activate(
        self,
        service: str | VerificationRequest,
        country: str = "us",
        *,
        fallbacks: Iterable[str] = (),
        reference: str | None = None,
        tenant: str | None = None,
        sms_timeout: float | None = None,
        priority: Priority | str = Priority.INTERACTIVE,
    ) -> ActivationBlock:
        """Buy a number for the length of an ``async with`` block.

        Leaving the block with an SMS completes the number; leaving it without one, by an error, a
        timeout or a cancellation, gives it back for a refund. Either is owed by the manager, so
        leaving does not wait for it.

        Args:
            service: Name of the service, or a whole request.
            country: Two-letter code.
            fallbacks: Countries to try in turn when ``country`` has no number.
            reference: Your own name for it.
            tenant: On whose behalf it runs.
            sms_timeout: Seconds to wait for the SMS; ``None`` takes the manager's.
            priority: Who goes first, where the request itself does not say.

        Returns:
            A block that gives a `LiveActivation`.

        Raises:
            NoNumbersError: On entering: no country has a number.
            PurchaseUnknownError: On entering: the answer was lost; it may have been charged.
            PapSMSError: On entering: it could not be bought otherwise.
        """
        request = _request(service, country, fallbacks, reference, tenant, sms_timeout)
        return self._block(request, priority)

    async def verify(
        self,
        service: str | VerificationRequest,
        country: str = "us",
        *,
        flow: Flow | None = None,
        fallbacks: Iterable[str] = (),
        reference: str | None = None,
        tenant: str | None = None,
        sms_timeout: float | None = None,
        priority: Priority | str = Priority.INTERACTIVE,
    ) -> VerificationResult:
        """Run one verification and tell what became of it; errors are part of the result.

        Args:
            service: Name of the service, or a whole request.
            country: Two-letter code.
            flow: Called with the `LiveActivation`; drives your sign-up. ``None`` only waits for the
                SMS.
            fallbacks: Countries to try in turn when ``country`` has no number.
            reference: Your own name for it.
            tenant: On whose behalf it runs.
            sms_timeout: Seconds to wait for the SMS; ``None`` takes the manager's.
            priority: Who goes first, where the request itself does not say.

        Raises:
            ConfigurationError: An argument can't be used; nothing was bought.
            ManagerClosedError: The manager is not open.
        """
        request = _request(service, country, fallbacks, reference, tenant, sms_timeout)
        self._require_open()
        block = self._block(request, priority)
        started_at = self._shared.clock()
        value, failure = await block.run(flow)
        result = result_of(
            request,
            block.tracked,
            value=value,
            failure=failure,
            attempts=block.attempts,
            worst_price=self._shared.worst_price,
            started_at=started_at,
            ended_at=self._shared.clock(),
        )
        self._outcomes[result.outcome] += 1
        self._shared.publish(
            EventKind.RESULT,
            request,
            intent_id=None if block.tracked is None else block.tracked.entry.intent_id,
            activation=result.activation,
            sms=result.sms,
            result=result,
        )
        return result

    def run(
        self,
        requests: Iterable[VerificationRequest | str] | AsyncIterable[VerificationRequest | str],
        *,
        flow: Flow | None = None,
        priority: Priority | str = Priority.BULK,
    ) -> AsyncGenerator[VerificationResult, None]:
        """Run many verifications, and give each result as it ends.

        As many run at once as may be in flight. The input is read only as fast as there is room, so
        it may be endless. One request's failure is its result; an error of the input itself is
        raised after the results of what was begun. Leaving the loop early releases what is running;
        ``contextlib.aclosing`` makes sure that it happens at once.

        Args:
            requests: Requests, or names of services, as any iterable or async iterable.
            flow: As for `verify`.
            priority: Who goes first, where a request itself does not say.
        """
        self._require_open()
        return run_all(self, requests, flow, as_priority(priority))

    async def recover(self, *, dry_run: bool = False, wait: bool = True) -> RecoveryReport:
        """Bring to its end what an earlier process left behind in the ledger.

        Purchases whose answer is not known become ``unknown`` and are never sent again; numbers
        with an SMS are completed, all others given back. What a living process drives is left
        alone, so after a crash it takes up to a ``lease`` until its purchases can be taken.

        Args:
            dry_run: Only tell what would be done.
            wait: Return when all of it is finished; else the manager goes on by itself.

        Returns:
            What was found.

        Raises:
            LedgerError: The ledger can't be read or written.
            ManagerClosedError: The manager is not open.
        """
        return await self._parts.takeover.recover(dry_run=dry_run, wait=wait)

    def resume(self, token: str) -> ResumedBlock:
        """Go on with a number that another process let go of, or left behind.

        Args:
            token: `LiveActivation.token`, or the ``token`` of an error.

        Returns:
            A block like that of `activate`; its timeout starts with the first wait.

        Raises:
            ConfigurationError: On entering: the ledger has no purchase of this token.
            LedgerConflictError: On entering: a living process drives it.
            PurchaseUnknownError: On entering: the answer to the purchase was lost; it is settled
                by hand, with ``papsms ledger resolve``.
            ActivationEndedError: On entering: it is over.
        """
        return self._parts.takeover.resume(token)

    async def submit(self, service: str | VerificationRequest, country: str = "us") -> str:
        """Buy a number and let go of it at once, for a job engine to `advance`.

        Args:
            service: Name of the service, or a whole request.
            country: Two-letter code.

        Returns:
            The intent id.

        Raises:
            PapSMSError: It could not be bought; ``money`` says whether it was charged.
        """
        block = self.activate(service, country, priority=Priority.BULK)
        async with block as activation:
            return await activation.detach()

    async def advance(self, intent_id: str) -> float | None:
        """Carry out the next short step of a purchase; see `papsms_async.stepping`.

        Any process on the same ledger may do it, so any job engine can drive purchases.

        Args:
            intent_id: What `submit` returned.

        Returns:
            Seconds until the next step is due, 0 for at once; ``None`` when nothing is left to do.

        Raises:
            ConfigurationError: The ledger has no such purchase.
            LedgerError: The ledger can't be used, or another process took the purchase over.
        """
        return await self._parts.takeover.advance(intent_id)

    # Looking on ----------------------------------------------------------------------------------

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with every `VerificationEvent`; the returned function ends that."""
        return self._shared.hub.subscribe(listener)

    def events(self) -> EventStream:
        """Return an async iterator over the events from now on."""
        return self._shared.hub.stream()

    def statistics(self) -> ManagerStatistics:
        """Return the numbers of this moment."""
        money = self._shared.money
        return ManagerStatistics(
            queued=len(self._parts.purchasing.line),
            in_flight=len(self._parts.live),
            waiting_for_sms=self._parts.poller.watched,
            owed=len(self._parts.desk.owed),
            outcomes=dict(self._outcomes),
            charged=money.charged,
            refunds_expected=money.refunds_expected,
            refunded=money.refunded,
            unknown=money.unknown,
            price=self._parts.market.price,
            permits=dict(self._shared.explainer.permits),
            decisions=self._shared.explainer.recent,
            quota=self.client.quota.statistics(),
            webhooks=None if self._parts.hearing is None else self._parts.hearing.statistics(),
        )

    # For the parts -------------------------------------------------------------------------------

    def more_to_come(self, change: int) -> None:
        """A bulk run tells that it has more requests than there is room for, or no longer."""
        self._parts.endless += change

    def _require_open(self) -> None:
        if self._state == "new":
            raise ManagerClosedError("Enter the manager first: async with ActivationManager(...).")
        if self._state != "open":
            raise ManagerClosedError("The manager is closed; make a new one.")

    def _block(self, request: VerificationRequest, priority: Priority | str) -> ActivationBlock:
        mine = as_priority(priority) if request.priority is None else request.priority

        def order() -> Order:
            self._require_open()
            return self._parts.purchasing.order(request, mine)

        return ActivationBlock(self._parts.live, request, order)


def _request(
    service: str | VerificationRequest,
    country: str,
    fallbacks: Iterable[str],
    reference: str | None,
    tenant: str | None,
    sms_timeout: float | None,
) -> VerificationRequest:
    if isinstance(service, VerificationRequest):
        return service
    return VerificationRequest(
        service,
        country,
        fallbacks=tuple(fallbacks),
        reference=reference,
        tenant=tenant,
        sms_timeout=sms_timeout,
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)
