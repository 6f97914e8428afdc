"""`LiveActivation`: the handle that a flow holds while its number is alive."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime
from decimal import Decimal
from typing import Any

from papsms_async.errors import ActivationEndedError, ActivationError
from papsms_async.lifecycle import Event, State
from papsms_async.models import Activation, Sms, mask_number
from papsms_async.poller import Poller
from papsms_async.tasks import OwnedTasks, outcome_of
from papsms_async.tracking import Tracked
from papsms_async.verification import VerificationRequest


class LiveActivation:
    """A number that was bought, inside the block or flow that uses it.

    It carries what `Activation` carries, and waits for the SMS. It is made by `ActivationManager`.

    Attributes:
        request: The request that it was bought for.
        activation: The number as a plain value that outlives the block.
    """

    def __init__(
        self,
        tracked: Tracked,
        poller: Poller,
        tasks: OwnedTasks,
        *,
        sms_timeout: float,
        let_go: Callable[[Tracked], Coroutine[Any, Any, None]],
    ) -> None:
        self.request: VerificationRequest = tracked.request
        self.activation: Activation = tracked.activation
        self._tracked = tracked
        self._poller = poller
        self._tasks = tasks
        self._sms_timeout = sms_timeout
        self._let_go = let_go

    def __repr__(self) -> str:
        return (
            f"<LiveActivation {self.activation_id} {mask_number(self.phone_number)}"
            f" {self.state.value}>"
        )

    @property
    def activation_id(self) -> str:
        """The service's id of it."""
        return self.activation.activation_id

    @property
    def phone_number(self) -> str:
        """The number in E.164 form, with ``+``."""
        return self.activation.phone_number

    @property
    def country(self) -> str:
        """Code of the country it was bought in, which may be a fallback."""
        return self.activation.country

    @property
    def service(self) -> str:
        """The service it was bought for."""
        return self.activation.service

    @property
    def expires_at(self) -> datetime:
        """When the service takes it back (UTC)."""
        return self.activation.expires_at

    @property
    def cost(self) -> Decimal:
        """What it cost, in US dollars."""
        return self.activation.cost

    @property
    def intent_id(self) -> str:
        """The ledger's id of its purchase."""
        return self._tracked.entry.intent_id

    @property
    def token(self) -> str:
        """Names it across processes that share the ledger; holds no secret."""
        return self._tracked.entry.intent_id

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._tracked.state

    @property
    def sms(self) -> Sms | None:
        """The SMS, once it came."""
        return self._tracked.sms

    def mark_requested(self) -> None:
        """Tell that the SMS was triggered just now.

        The timeout then counts from here, and the delays that the schedule learns from are exact.
        Without it they count from the first `wait_for_sms`.
        """
        if self._tracked.state is State.WAITING:
            self._poller.restart(self._tracked, self._sms_timeout)

    async def wait_for_sms(self) -> Sms:
        """Wait for the SMS and return it; again and again if you like.

        Cancelling the wait (also by a timeout of yours) leaves the number alive until the block is
        left; waiting again goes on where it was.

        Returns:
            The SMS; its ``code`` is ``None`` if the service recognised none in ``full_text``.

        Raises:
            SmsTimeoutError: None came within the timeout.
            ActivationEndedError: The activation was ended, here or at the service.
            PapSMSError: The status can't be read, for instance with a key that was revoked.
        """
        tracked = self._tracked
        if tracked.state is State.WAITING:
            self._poller.watch(tracked, self._sms_timeout)
            await tracked.wait_over.wait()
        if tracked.sms is not None:
            return tracked.sms
        if tracked.wait_error is not None:
            raise tracked.wait_error
        raise ActivationEndedError(
            "The activation is over; no SMS can come any more.",
            intent_id=self.intent_id,
            activation_id=self.activation_id,
        )

    async def detach(self) -> str:
        """Let go of the number without finishing it: another process goes on with it.

        Leaving the block then does nothing. Whoever has the token and the same ledger goes on with
        `ActivationManager.resume`; if nobody does, recovery gives the number back.

        Returns:
            The token.
        """
        await outcome_of(self._tasks.spawn(self._let_go(self._tracked), name="papsms detach"))
        return self.token

    async def cancel(self) -> None:
        """Give the number back now instead of at the end of the block.

        Returns once that is written down; the manager does the rest. If an SMS came first, the
        service charges for it and the number is completed instead.
        """
        await outcome_of(self._tasks.spawn(self._cancel(), name="papsms cancel"))

    async def complete(self) -> None:
        """Finish the number as used now instead of at the end of the block.

        Raises:
            ActivationError: No SMS came, so there is nothing to complete.
        """
        if self._tracked.sms is None:
            raise ActivationError(
                "An activation can be completed only after its SMS came; leave the block or call"
                " cancel() to give the number back.",
                intent_id=self.intent_id,
                activation_id=self.activation_id,
            )
        await outcome_of(self._tasks.spawn(self._tracked.apply(Event.KEEP), name="papsms complete"))

    async def _cancel(self) -> None:
        self._poller.unwatch(self._tracked)
        await self._tracked.apply(Event.RELEASE, reason="cancelled by its flow")
        self._tracked.fail_wait(ActivationEndedError("The activation was cancelled by its flow."))
