"""Numbers in the hands of flows: the blocks that hold them, and the register of what they hold.

A number enters the register in the same step in which its purchase is settled, and leaves it in the
same step in which its release begins. So whatever is cancelled or closed in between, each number is
always either on its way, held, or owed.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, TypeAlias

from papsms_async.activation import LiveActivation
from papsms_async.errors import ActivationEndedError, ManagerClosedError, Money, PapSMSError
from papsms_async.handover import USABLE, let_go
from papsms_async.hearing import Hearing
from papsms_async.ledger import LedgerEntry
from papsms_async.poller import Poller
from papsms_async.purchasing import Order
from papsms_async.tasks import OwnedTasks, outcome_of
from papsms_async.tracking import Shared, Tracked
from papsms_async.verification import VerificationRequest

Flow: TypeAlias = Callable[[LiveActivation], Awaitable[Any]]

RELEASE_TASK = "papsms release"
"""Name of the tasks that write down what is owed."""


class LiveNumbers:
    """The register of numbers that flows hold.

    Args:
        shared: What the manager's parts share.
        poller: Looks for their SMS.
        tasks: Owns the tasks that release them.
        sms_timeout: Seconds to wait for an SMS where a request names none.
        hearing: Hears webhooks about them; ``None`` where there are none.
    """

    def __init__(
        self,
        shared: Shared,
        poller: Poller,
        tasks: OwnedTasks,
        *,
        sms_timeout: float,
        hearing: Hearing | None = None,
    ) -> None:
        self._shared = shared
        self._poller = poller
        self._tasks = tasks
        self._sms_timeout = sms_timeout
        self._hearing = hearing
        # In the order of their purchase.
        self._held: dict[Tracked, None] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._held)

    @property
    def entries(self) -> tuple[LedgerEntry, ...]:
        """Their ledger entries."""
        return tuple(tracked.entry for tracked in self._held)

    def holds(self, intent_id: str) -> bool:
        """Whether a flow of this process holds that purchase."""
        return any(tracked.entry.intent_id == intent_id for tracked in self._held)

    def register(self, tracked: Tracked) -> None:
        """A number is there for a flow to use; while closing it is released at once."""
        self._held[tracked] = None
        if self._hearing is not None:
            self._hearing.entered(tracked)
        if self._closed:
            self.leave(tracked)

    def enter(self, tracked: Tracked) -> LiveActivation:
        """Give a flow the handle of its number.

        Raises:
            ManagerClosedError: The manager was closed before the flow could begin.
        """
        if tracked not in self._held:
            raise ManagerClosedError(
                "The manager was closed when the number came; it is released.",
                intent_id=tracked.entry.intent_id,
                activation_id=tracked.entry.activation_id,
                money=Money.CHARGED,
            )
        timeout = tracked.request.sms_timeout or self._sms_timeout
        return LiveActivation(
            tracked, self._poller, self._tasks, sms_timeout=timeout, let_go=self._let_go
        )

    def leave(self, tracked: Tracked, error: PapSMSError | None = None) -> None:
        """The flow is over: stop looking, and let the number be finished.

        No await here: a cancellation can't come between the flow's end and its release.
        """
        if tracked in self._held:
            del self._held[tracked]
            self._stop_looking(tracked)
            tracked.fail_wait(
                error or ActivationEndedError("The block of this activation was left.")
            )
            self._tasks.spawn(tracked.finish(), name=RELEASE_TASK)

    def _stop_looking(self, tracked: Tracked) -> None:
        self._poller.unwatch(tracked)
        if self._hearing is not None:
            self._hearing.left(tracked)

    def close(self) -> None:
        """End all waits and release all numbers, also those that are still to come."""
        self._closed = True
        for tracked in tuple(self._held):
            self.leave(
                tracked, ManagerClosedError("The manager was closed while the SMS was awaited.")
            )

    async def _let_go(self, tracked: Tracked) -> None:
        """Stop driving a purchase that stays alive, so that another process can take it up."""
        if tracked not in self._held or tracked.state not in USABLE:
            raise ActivationEndedError(
                "The activation is over; there is nothing to go on with.",
                intent_id=tracked.entry.intent_id,
                activation_id=tracked.entry.activation_id,
            )
        # First the ledger: if that fails, the number is still held here and will be finished.
        await let_go(self._shared, tracked)
        if self._held.pop(tracked, tracked) is None:
            self._stop_looking(tracked)
            tracked.fail_wait(
                ActivationEndedError("The activation was detached: go on with its token.")
            )


class ActivationBlock:
    """The ``async with`` block that `ActivationManager.activate` gives."""

    def __init__(
        self,
        live: LiveNumbers,
        request: VerificationRequest,
        order: Callable[[], Order],
    ) -> None:
        self.request = request
        self.tracked: Tracked | None = None
        self._live = live
        self._begin = order
        self._order: Order | None = None

    @property
    def attempts(self) -> int:
        """How many purchases were tried."""
        return 0 if self._order is None else self._order.attempts

    async def run(self, flow: Flow | None) -> tuple[Any, BaseException | None]:
        """Run ``flow`` inside the block, or only wait for the SMS.

        Returns:
            What the flow returned, and what it or the block raised instead.
        """
        value: Any = None
        try:
            async with self as live:
                if flow is None:
                    await live.wait_for_sms()
                else:
                    value = flow(live)
                    if inspect.isawaitable(value):
                        value = await value
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Not ours: something that the flow awaited was cancelled. That is the flow's failure.
            return value, error
        except Exception as error:
            return value, error
        return value, None

    async def __aenter__(self) -> LiveActivation:
        if self._order is not None:
            raise ManagerClosedError("A block can be entered once; call activate() again.")
        order = self._order = self._begin()
        assert order.task is not None  # noqa: S101 - the order has just been begun
        try:
            await asyncio.wait({order.task})
        except asyncio.CancelledError:
            order.abandon()
            order.task.add_done_callback(self._give_up)
            raise
        if order.task.cancelled():
            order.free_slot()
            raise ManagerClosedError("The manager is closing; no number was bought.")
        tracked = order.task.result()
        try:
            live = self._live.enter(tracked)
        except ManagerClosedError:
            order.free_slot()
            raise
        self.tracked = tracked
        return live

    def _give_up(self, task: asyncio.Task[Tracked]) -> None:
        """The caller is gone: if it was bought all the same, it is released."""
        if not task.cancelled() and task.exception() is None:
            self._live.leave(task.result())
        if self._order is not None:
            self._order.free_slot()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.tracked is not None:
            self._live.leave(self.tracked)
        if self._order is not None:
            self._order.free_slot()


class ResumedBlock:
    """The ``async with`` block that `ActivationManager.resume` gives."""

    def __init__(
        self,
        live: LiveNumbers,
        tasks: OwnedTasks,
        take_up: Callable[[], Coroutine[Any, Any, Tracked]],
    ) -> None:
        self._live = live
        self._tasks = tasks
        self._take_up = take_up
        self._tracked: Tracked | None = None

    async def __aenter__(self) -> LiveActivation:
        task = self._tasks.spawn(self._take_and_register(), name="papsms resume")
        try:
            self._tracked = await outcome_of(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._give_up)
            raise
        return self._live.enter(self._tracked)

    async def _take_and_register(self) -> Tracked:
        tracked = await self._take_up()
        self._live.register(tracked)
        return tracked

    def _give_up(self, task: asyncio.Task[Tracked]) -> None:
        # What was taken up for nobody is released, not forgotten.
        if not task.cancelled() and task.exception() is None:
            self._live.leave(task.result())

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._tracked is not None:
            self._live.leave(self._tracked)
