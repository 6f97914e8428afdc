"""One purchase in the hands of this process: its ledger entry, moved by the lifecycle table.

`Tracked.apply` is the only way a purchase changes: it looks the event up in the table, makes the
new state durable, and hands the effects on. Events of one purchase are applied one after another.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

import anyio
import attrs

from papsms_async.decisions import DecisionKind
from papsms_async.errors import (
    ActivationEndedError,
    ActivationNotFoundError,
    LedgerError,
    PapSMSError,
)
from papsms_async.events import EventHub, EventKind, VerificationEvent
from papsms_async.explaining import Explainer, Look
from papsms_async.leases import Leases
from papsms_async.ledger import Ledger, LedgerConflictError, LedgerEntry
from papsms_async.lifecycle import TERMINAL, Effect, Event, State, step
from papsms_async.limits import Budget, TenantLimits
from papsms_async.models import Activation, Sms
from papsms_async.verification import Priority, VerificationRequest

_log = logging.getLogger("papsms_async")

_KIND_OF_STATE = {
    State.WAITING: EventKind.PURCHASED,
    State.RECEIVED: EventKind.SMS_RECEIVED,
    State.COMPLETING: EventKind.COMPLETING,
    State.CANCELLING: EventKind.CANCELLING,
    State.COMPLETED: EventKind.COMPLETED,
    State.CANCELLED: EventKind.CANCELLED,
    State.EXPIRED: EventKind.EXPIRED,
    State.UNKNOWN: EventKind.PURCHASE_UNKNOWN,
    State.REFUSED: EventKind.NOT_PURCHASED,
}


_ENDED = TERMINAL | {State.UNKNOWN}


class Releaser(Protocol):
    """Whoever pays the debt of a finish."""

    def owe(self, tracked: Tracked) -> None:
        """Take on the finish that ``tracked`` owes now."""


@attrs.define(kw_only=True)
class Spending:
    """What this process bought, in US dollars; a running sum for statistics."""

    charged: Decimal = Decimal(0)
    refunds_expected: Decimal = Decimal(0)
    refunded: Decimal = Decimal(0)
    unknown: Decimal = Decimal(0)


@attrs.define(kw_only=True)
class Shared:
    """What the parts of one manager share."""

    ledger: Ledger
    hub: EventHub
    clock: Callable[[], datetime]
    budget: Budget | None
    worst_price: Decimal
    tenant_limits: Callable[[str], TenantLimits | None] | None = None
    leases: Leases | None = None
    """How this process holds its purchases; ``None`` where no other can see the ledger."""
    money: Spending = attrs.field(factory=Spending)
    explainer: Explainer = attrs.field(factory=Explainer)

    def publish(self, kind: EventKind, request: VerificationRequest, **fields: Any) -> None:
        """Tell everyone who listens."""
        self.hub.publish(VerificationEvent(kind=kind, at=self.clock(), request=request, **fields))


class Tracked:
    """A purchase that this process drives.

    Args:
        entry: Its ledger entry.
        request: The request that it was bought for.
        shared: What the manager's parts share.
        releaser: Takes on the finish once it is owed.
        counted: Whether it counts in this process's spending; not if another one bought it.
        priority: Who goes first.
    """

    def __init__(
        self,
        entry: LedgerEntry,
        request: VerificationRequest,
        shared: Shared,
        releaser: Releaser,
        *,
        counted: bool = True,
        priority: Priority = Priority.INTERACTIVE,
    ) -> None:
        self.entry = entry
        # What the ledger has, while a write failed: the state, and the changes that it lacks.
        self._written = entry.state
        self._unwritten: dict[str, Any] = {}
        # Writes that failed, and may be there all the same.
        self._doubtful: list[tuple[str, datetime]] = []
        self._counted = counted
        self.request = request
        self.priority = priority
        self.purchased_at: datetime | None = None
        self.sms_at: datetime | None = None
        self.wait_error: PapSMSError | None = None
        self.wait_over = anyio.Event()
        self.settled = anyio.Event()
        self._shared = shared
        self._releaser = releaser
        self._lock = anyio.Lock()
        if shared.leases is not None and entry.owner == shared.leases.owner:
            shared.leases.took(entry.intent_id)

    def __repr__(self) -> str:
        return f"<Tracked {self.entry.intent_id} {self.entry.state.value}>"

    @property
    def state(self) -> State:
        """Where it stands."""
        return self.entry.state

    @property
    def activation(self) -> Activation:
        """The number that was bought."""
        activation = self.entry.activation
        if activation is None:
            raise LedgerError("The purchase has no usable activation.")
        return activation

    @property
    def sms(self) -> Sms | None:
        """The SMS, once one came."""
        return self.entry.sms

    def fail_wait(self, error: PapSMSError) -> None:
        """End the wait for the SMS with ``error``, unless it is over already."""
        if not self.wait_over.is_set():
            error.intent_id = self.entry.intent_id
            error.activation_id = self.entry.activation_id
            error.token = self.entry.intent_id
            self.wait_error = error
            self.wait_over.set()

    def is_gone(self, error: ActivationNotFoundError) -> bool:
        """Return whether the service itself says that there is no such activation.

        A bare 404 may come from whatever stands in front of it; that is believed only once the
        number has expired, when the money is back either way.
        """
        expires_at = self.entry.expires_at
        return error.code is not None or expires_at is None or self._shared.clock() >= expires_at

    def resume_finish(self) -> None:
        """Go on with a finish that an earlier process owed."""
        self._releaser.owe(self)

    def granted(
        self, kind: DecisionKind, since: float | None = None, look: Look | None = None
    ) -> None:
        """A permit is there for a request about it; see `Explainer.granted`."""
        self._shared.explainer.granted(
            kind,
            self.request,
            self.entry.country,
            since=since,
            intent_id=self.entry.intent_id,
            look=look,
        )

    async def ensure_ours(self) -> None:
        """Make sure that no other process drives it, before something is prepared to be sent.

        What the ledger lacks is written first: whoever drives it next must find what was decided.

        Raises:
            LedgerConflictError: One does.
            LedgerError: One may, and the ledger can't be asked.
        """
        if self._shared.leases is not None:
            await self.catch_up()
            await self._shared.leases.ensure(self.entry.intent_id)

    def check_ours(self) -> None:
        """Make sure of it once more, in the step in which it is sent.

        Raises:
            LedgerError: Another process may drive it; try again.
        """
        if self._shared.leases is not None:
            self._shared.leases.check(self.entry.intent_id)

    async def finish(self) -> None:
        """The caller is done: keep the number if its SMS came, else release it."""
        async with self._lock:
            received = self.state is State.RECEIVED
            await self._apply(Event.KEEP if received else Event.RELEASE, None, {})

    async def apply(
        self, event: Event, *, reason: str | None = None, **changes: Any
    ) -> tuple[Effect, ...]:
        """Move along the table: durable first, then the effects.

        Args:
            event: What happened.
            reason: Why, in a few words without secrets.
            **changes: Fields of the ledger entry that the event brings.

        Returns:
            The effects; those that concern waiting and money are done already.

        Raises:
            IllegalEventError: The event can't happen now; nothing changed.
            LedgerConflictError: Another process moved it; nothing changed here.
        """
        async with self._lock:
            return await self._apply(event, reason, changes)

    async def _apply(
        self, event: Event, reason: str | None, changes: dict[str, Any]
    ) -> tuple[Effect, ...]:
        old = self.entry
        row = step(old.state, event)
        if row.state is old.state and not row.effects:
            return ()
        at = self._shared.clock()
        try:
            self.entry = await self._write(row.state, event.value, at, reason, changes)
        except LedgerConflictError as error:
            # Driven elsewhere from now on: nothing more comes to whoever waits here.
            self.fail_wait(error)
            self.settled.set()
            raise
        except LedgerError as error:
            # What was paid for is driven to its end all the same, and written with the next step or
            # by `catch_up`. Only an intent must never go unwritten, and that is written elsewhere.
            _log.error(
                "the ledger could not take %s of activation %s: %s",
                event.value,
                changes.get("activation_id", old.activation_id),
                error,
            )
            self._unwritten |= changes
            self.entry = attrs.evolve(old, state=row.state, updated_at=at, **changes)
        self._account(old, row.effects)
        if Effect.DELIVER_SMS in row.effects:
            self.sms_at = at
            self.wait_over.set()
        if Effect.END_WAIT in row.effects:
            self.fail_wait(
                ActivationEndedError(
                    f"The service ended the activation ({row.state.value}) before an SMS came."
                )
            )
        if row.state is not old.state:
            self._publish(row.state, reason)
        if row.state not in (State.SENDING, State.WAITING, State.RECEIVED) and (
            not self.entry.is_owed
        ):
            self.settled.set()
        if Effect.SEND_FINISH in row.effects or (self.is_behind and row.state in _ENDED):
            self._releaser.owe(self)
        return row.effects

    @property
    def is_behind(self) -> bool:
        """Whether the ledger lacks the last step."""
        return self._written is not self.entry.state or bool(self._unwritten)

    async def catch_up(self) -> None:
        """Write down what the ledger lacks.

        Raises:
            LedgerError: It still can't be written.
        """
        async with self._lock:
            if self.is_behind:
                self.entry = await self._write(
                    self.entry.state, "caught_up", self._shared.clock(), None, {}
                )

    async def _write(
        self,
        state: State,
        event: str,
        at: datetime,
        reason: str | None,
        changes: dict[str, Any],
    ) -> LedgerEntry:
        changes = {**self._unwritten, **changes}
        try:
            try:
                entry = await self._move(state, event, at, reason, changes)
            except LedgerConflictError:
                # Perhaps with our own write, whose answer was lost.
                found = await self._own_write()
                if found is None:
                    raise
                self._written = found.state
                if found.state is not state:
                    entry = await self._move(state, event, at, reason, changes)
                elif found.fence == self.entry.fence:
                    entry = attrs.evolve(found, sms=changes.get("sms", self.entry.sms))
                else:
                    raise
        except LedgerConflictError:
            raise
        except LedgerError:
            self._doubtful.append((event, at))
            raise
        self._written, self._unwritten, self._doubtful = state, {}, []
        return entry

    async def _move(
        self,
        state: State,
        event: str,
        at: datetime,
        reason: str | None,
        changes: dict[str, Any],
    ) -> LedgerEntry:
        leases = self._shared.leases
        return await self._shared.ledger.move(
            self.entry.intent_id,
            self._written,
            state,
            event=event,
            at=at,
            reason=reason,
            owner=None if leases is None else leases.owner,
            fence=None if leases is None else self.entry.fence,
            **changes,
        )

    async def _own_write(self) -> LedgerEntry | None:
        """Return the entry if the last step that it took is one whose answer was lost here."""
        if not self._doubtful:
            return None
        lines = await self._shared.ledger.history(self.entry.intent_id)
        owner = None if self._shared.leases is None else self._shared.leases.owner
        # No two processes share a name, and no two steps of a process an instant and an event.
        if not lines or lines[-1].actor != owner:
            return None
        if (lines[-1].event, lines[-1].at) not in self._doubtful:
            return None
        return await self._shared.ledger.get(self.entry.intent_id)

    def _publish(self, state: State, reason: str | None) -> None:
        self._shared.publish(
            _KIND_OF_STATE[state],
            self.request,
            intent_id=self.entry.intent_id,
            activation=self.entry.activation,
            sms=self.entry.sms,
            detail=reason,
        )

    def _account(self, old: LedgerEntry, effects: tuple[Effect, ...]) -> None:
        if not self._counted:
            return
        money, new = self._shared.money, self.entry
        price = new.worst_price if new.cost is None else new.cost
        if new.state is State.UNKNOWN:
            money.unknown += new.worst_price
        elif old.state is State.UNKNOWN:
            money.unknown -= new.worst_price
        if old.state in (State.SENDING, State.UNKNOWN) and new.activation_id is not None:
            money.charged += price
        if new.state is State.CANCELLING and old.state is not State.CANCELLING:
            money.refunds_expected += price
        if old.state is State.CANCELLING and new.state is not State.CANCELLING:
            money.refunds_expected -= price
        if Effect.GIVE_BACK in effects and old.activation_id is not None:
            money.refunded += price
