"""Buying a number: intent first, fallbacks in turn, and no answer lost to a cancelled caller."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import Callable
from functools import partial
from itertools import islice

from papsms_async.client import purchase_error
from papsms_async.decisions import DecisionKind
from papsms_async.dispatcher import Dispatcher
from papsms_async.errors import (
    AccountError,
    AuthenticationError,
    Execution,
    ManagerClosedError,
    Money,
    PapSMSError,
    PurchaseUnknownError,
    UnavailableError,
)
from papsms_async.events import EventKind
from papsms_async.ledger import LedgerEntry
from papsms_async.lifecycle import Event, State
from papsms_async.limits import TenantLimits
from papsms_async.models import Activation
from papsms_async.protocol import purchase_request, read_purchase
from papsms_async.purchase_line import Buyer, PurchaseLine, TenantWeights
from papsms_async.tasks import OwnedTasks, see_through
from papsms_async.tracking import Releaser, Shared, Tracked
from papsms_async.verification import Priority, VerificationRequest

_log = logging.getLogger("papsms_async")

ACCOUNT_PAUSE = 30.0
"""Seconds for which no purchase is tried after the account could not buy: each would fail alike."""


class Order:
    """One purchase on its way, fallbacks included.

    Attributes:
        request: What is wanted.
        buyer: Its part in the line.
        attempts: How many purchases were tried so far.
        intent_id: The ledger's id of the purchase that is tried at the moment.
        abandoned: Whether its caller is gone.
        on_wire: Whether a purchase may have reached the service and its answer is awaited.
        busy: Whether it must not be cancelled: a write or an answer is at stake.
    """

    def __init__(self, request: VerificationRequest, buyer: Buyer) -> None:
        self.request = request
        self.buyer = buyer
        self.attempts = 0
        self.intent_id: str | None = None
        self.abandoned = False
        self.on_wire = False
        self.busy = False
        self.task: asyncio.Task[Tracked] | None = None

    def free_slot(self) -> None:
        """Give its place among the activations in flight to the next; safe to call twice."""
        self.buyer.leave()

    def abandon(self) -> None:
        """The caller is gone: don't buy, or, if that is too late, release what was bought."""
        self.abandoned = True
        # On the wire it may have been bought, and in the middle of a write nobody knows whether the
        # intent is durable: both are let go on, and looked after when they are through.
        if self.task is not None and not self.busy:
            self.task.cancel()


class Purchasing:
    """Buys numbers on behalf of the manager.

    Args:
        dispatcher: Sends the purchases.
        tasks: Owns the tasks that purchases run in.
        shared: What the manager's parts share.
        releaser: Releases what was bought for nobody.
        supply: Requests a second that the quota gives.
        max_in_flight: How many activations there may be at once.
        tenant_weights: Shares of tenants among purchases of equal priority.
        rng: Where intent ids come from; ``None`` for ids that are unique in the world.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        tasks: OwnedTasks,
        shared: Shared,
        releaser: Releaser,
        *,
        supply: float,
        max_in_flight: int,
        tenant_weights: TenantWeights | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._rng = rng
        self.places = PurchaseLine(
            dispatcher.quota,
            tasks,
            places=max_in_flight,
            supply=supply,
            weights=tenant_weights,
        )
        self._dispatcher = dispatcher
        self._tasks = tasks
        self._shared = shared
        self._releaser = releaser
        # In the order of their begin, so that equal runs do equal things in equal order.
        self._orders: dict[Order, None] = {}
        self.on_bought: Callable[[Tracked], None] = lambda _: None
        self.on_asked: Callable[[float], None] = lambda _: None
        self._paused: tuple[AccountError, float] | None = None
        self.closed = False

    @property
    def line(self) -> list[VerificationRequest]:
        """What waits to be bought."""
        return [order.request for order in self._orders if not order.on_wire]

    @property
    def buyable(self) -> list[VerificationRequest]:
        """What of it has, or could have, a place among the activations in flight."""
        waiting = [order for order in self._orders if not order.on_wire]
        placed = [order.request for order in waiting if order.buyer.has_place]
        others = (order.request for order in waiting if not order.buyer.has_place)
        return [*placed, *islice(others, self.places.free_places)]

    def drives(self, intent_id: str) -> bool:
        """Whether an order of this process is about to settle that purchase."""
        return any(order.intent_id == intent_id for order in self._orders)

    def close(self) -> None:
        """Buy nothing more; purchases that are not on the wire yet end with an error."""
        self.closed = True
        for order in tuple(self._orders):
            # One that is on the wire goes on: its caller is still there.
            if not order.busy:
                order.abandon()

    def order(self, request: VerificationRequest, priority: Priority) -> Order:
        """Start to buy a number for ``request``; the order's task has it, or the error.

        The order holds a place in flight from its first permit until `Order.free_slot`.

        Args:
            request: What is wanted.
            priority: Who goes first.

        Raises:
            ConfigurationError: The weight of the request's tenant can't be used.
        """
        order = Order(request, self.places.buyer(request.tenant, priority))
        if priority is Priority.INTERACTIVE:
            self.on_asked(asyncio.get_running_loop().time())
        self._orders[order] = None
        self._shared.publish(EventKind.QUEUED, request)
        order.task = self._tasks.spawn(self._buy(order), name="papsms purchase")
        order.task.add_done_callback(partial(self._done, order))
        return order

    def _done(self, order: Order, task: asyncio.Task[Tracked]) -> None:
        self._orders.pop(order, None)
        if task.cancelled() or task.exception() is not None:
            order.free_slot()

    async def _buy(self, order: Order) -> Tracked:
        unavailable: UnavailableError | None = None
        for country in order.request.countries:
            try:
                return await self._buy_in(order, country)
            except UnavailableError as error:
                unavailable = error
        assert unavailable is not None  # noqa: S101 - there is at least one country
        raise unavailable

    async def _buy_in(self, order: Order, country: str) -> Tracked:
        try:
            return await self._attempt(order, country)
        except AuthenticationError as error:
            # The key was rotated meanwhile: refused, so nothing was bought; make it anew.
            if not error.retryable:
                raise
            return await self._attempt(order, country)

    async def _attempt(self, order: Order, country: str) -> Tracked:
        request = order.request
        now = self._shared.clock()
        entry = LedgerEntry(
            intent_id=self._new_id(),
            state=State.SENDING,
            service=request.service,
            country=country,
            reference=request.reference,
            tenant=request.tenant,
            worst_price=self._shared.worst_price,
            created_at=now,
            updated_at=now,
        )
        order.intent_id = entry.intent_id
        tracked = Tracked(
            entry, request, self._shared, self._releaser, priority=order.buyer.priority
        )
        written = False

        def granted() -> None:
            tracked.granted(DecisionKind.PURCHASE, order.buyer.since)

        async def write_intent() -> None:
            nonlocal written
            self._refuse_if_pointless(order)
            budget = self._shared.budget
            order.busy = True
            try:
                leases = self._shared.leases
                await self._shared.ledger.add(
                    entry,
                    limit=None if budget is None else budget.limit,
                    tenant_limits=self._limits_of(request.tenant),
                    owner=None if leases is None else leases.owner,
                    lease=None if leases is None else leases.lease,
                )
            finally:
                order.busy = False
            written = True
            if leases is not None:
                leases.took(entry.intent_id)
            self._refuse_if_pointless(order)
            order.attempts += 1
            self._shared.publish(
                EventKind.PURCHASING, request, intent_id=entry.intent_id, detail=country
            )

        def check() -> None:
            # aiohttp writes in a task of its own, which runs on for a moment after this one was
            # cancelled: what left then would be nobody's. (In this one it is asked only to note
            # that a cancelled request may have left.)
            if order.abandoned and asyncio.current_task() is not order.task:
                raise ManagerClosedError("The caller is gone; no number was bought.")
            tracked.check_ours()

        def mark(on_wire: bool) -> None:
            order.on_wire = order.busy = on_wire
            if not on_wire and (order.abandoned or self.closed):
                # Turned away after its caller was gone: it is not sent again.
                order.abandon()

        self._refuse_if_pointless(order)
        try:
            activation = await self._dispatcher.call(
                purchase_request(request.service, country),
                partial(read_purchase, service=request.service, country=country),
                acquire=order.buyer.permit,
                granted=granted,
                prepare=write_intent,
                last_check=check,
                on_wire=mark,
            )
        except BaseException as error:
            # What it means is written down in a task of its own: an abandoned order may be
            # cancelled at any moment, and its intent would stay `SENDING`.
            failure = self._failure_of(error, order, entry.intent_id if written else None)
            order.on_wire, order.busy = False, True
            if written:
                settling = self._tasks.spawn(
                    self._settle_failure(tracked, failure), name="papsms failed purchase"
                )
                await see_through(settling)
            order.busy = False
            if failure is error:
                raise
            raise failure from error
        order.on_wire, order.busy = False, True
        taking = self._take_in(order, tracked, activation)
        await see_through(self._tasks.spawn(taking, name="papsms bought"))
        return tracked

    async def _take_in(self, order: Order, tracked: Tracked, activation: Activation) -> None:
        """Write down what was bought, and hand it to the flow that waits for it, if one does."""
        await tracked.apply(
            Event.BOUGHT,
            activation_id=activation.activation_id,
            phone_number=activation.phone_number,
            country=activation.country,
            expires_at=activation.expires_at,
            cost=activation.cost,
        )
        tracked.purchased_at = self._shared.clock()
        if not order.abandoned:
            self.on_bought(tracked)
            return
        await tracked.apply(Event.RELEASE, reason="its caller was gone")
        raise ManagerClosedError(
            "The number came after its caller was gone; it is released.",
            intent_id=tracked.entry.intent_id,
            activation_id=activation.activation_id,
            money=Money.CHARGED,
        )

    def _failure_of(
        self, error: BaseException, order: Order, intent_id: str | None
    ) -> BaseException:
        """Return what a failed purchase means: an error of ours, or the cancellation itself."""
        if isinstance(error, PapSMSError):
            error.intent_id = intent_id
            error.token = intent_id if error.activation_id is not None else error.token
            if isinstance(error, AccountError) and not error.retryable:
                self._pause(error)
            failure = purchase_error(error)
            lost = failure.execution is Execution.UNKNOWN and failure.money is Money.UNKNOWN
            return _unknown(failure, intent_id) if lost else failure
        if order.on_wire:
            # Cancelled at the end of the manager's time, or an error that should not be.
            return _unknown(error, intent_id)
        return error

    async def _settle_failure(self, tracked: Tracked, error: BaseException) -> None:
        name = type(error.__cause__ or error).__name__
        if isinstance(error, PurchaseUnknownError):
            await tracked.apply(Event.ANSWER_LOST, reason=name)
        elif isinstance(error, PapSMSError) and (
            error.activation_id is not None and error.money is Money.CHARGED
        ):
            _log.warning("activation %s can't be used, releasing it", error.activation_id)
            await tracked.apply(
                Event.BOUGHT_UNUSABLE, reason=name, activation_id=error.activation_id
            )
        else:
            await tracked.apply(Event.REFUSED, reason=name)

    def _new_id(self) -> str:
        if self._rng is None:
            return uuid.uuid4().hex
        return f"{self._rng.getrandbits(128):032x}"

    def _refuse_if_pointless(self, order: Order) -> None:
        if self.closed or order.abandoned:
            raise ManagerClosedError("The manager is closing; no number was bought.")
        if self._paused is not None:
            error, until = self._paused
            if asyncio.get_running_loop().time() < until:
                raise type(error)(error.message, code=error.code, http_status=error.http_status)
            self._paused = None

    def _limits_of(self, tenant: str | None) -> TenantLimits | None:
        limits = self._shared.tenant_limits
        return None if limits is None or tenant is None else limits(tenant)

    def _pause(self, error: AccountError) -> None:
        loop = asyncio.get_running_loop()
        if self._paused is None or self._paused[1] <= loop.time():
            _log.warning(
                "the account can't buy (%s); no purchase is tried for %.0f s",
                type(error).__name__,
                ACCOUNT_PAUSE,
            )
            self._paused = (error, loop.time() + ACCOUNT_PAUSE)


def _unknown(error: BaseException, intent_id: str | None) -> PurchaseUnknownError:
    """Return the error for a purchase whose answer was lost through ``error``."""
    told = error if isinstance(error, PapSMSError) else None
    unknown = PurchaseUnknownError(
        f"The answer to the purchase was lost ({type(error).__name__}): it may have been charged."
        " It is in the ledger as unknown; compare it with the account.",
        code=None if told is None else told.code,
        http_status=None if told is None else told.http_status,
        excerpt=None if told is None else told.excerpt,
        intent_id=intent_id,
        token=intent_id,
    )
    unknown.__cause__ = error
    return unknown
