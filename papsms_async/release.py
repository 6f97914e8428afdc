"""Pays the debt of each purchase: exactly one finish that the service took.

`ReleaseDesk.owe` takes a purchase in state COMPLETING or CANCELLING and does not let go of it until
the service answered. Failures are tried again with growing pauses for as long as the manager lives;
what is still owed when it closes stays in the ledger for the next recovery.

A finish can wait, because its caller has what it wanted: it goes after due polls that lose by
waiting and before purchases of bulk, but for no longer than `PATIENCE`, and not past the time when
the number expires.
"""

from __future__ import annotations

import asyncio
import logging
import random
from functools import partial

import anyio
import attrs

from papsms_async.decisions import DecisionKind
from papsms_async.dispatcher import Dispatcher, Rank
from papsms_async.errors import (
    ActivationNotFoundError,
    AlreadyFinishedError,
    CannotCancelError,
    EarlyCancelError,
    LedgerError,
    PapSMSError,
)
from papsms_async.events import EventKind
from papsms_async.ledger import LedgerConflictError
from papsms_async.lifecycle import SERVICE_END, Effect, Event, IllegalEventError, State
from papsms_async.market import Market
from papsms_async.models import ActivationStatus, FinishStatus, Status
from papsms_async.protocol import finish_request, read_finish, read_status, status_request
from papsms_async.running_line import RunningLine
from papsms_async.tasks import OwnedTasks
from papsms_async.tracking import Shared, Tracked

_log = logging.getLogger("papsms_async")

PATIENCE = 45.0
"""Seconds after which a finish goes before all else; it bounds its wait to about a minute."""
EARLY_PAUSE = 10.0
"""First pause, in seconds, after "too early to cancel" where the service names none."""
MOMENT = 1.0
"""Shortest pause, in seconds, between two tries at closing."""
LONGEST_PAUSE = 180.0
"""Seconds that no pause between two tries goes above; many that fail must not use up the limit."""


@attrs.frozen
class Pause:
    """How long to wait before another try.

    Attributes:
        seconds: How long, as a rule.
        at_closing: How long when the manager closes, which is in a hurry: a moment at least, and
            longer only where a try before would be in vain.
    """

    seconds: float = 0.0
    at_closing: float = 0.0


class ReleaseDesk:
    """Finishes what is owed.

    Args:
        dispatcher: Sends the finishes.
        line: Where they wait for permits.
        tasks: Owns the tasks that they run in.
        shared: What the manager's parts share.
        rng: Randomness of the pauses.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        line: RunningLine,
        tasks: OwnedTasks,
        shared: Shared,
        *,
        rng: random.Random | None = None,
    ) -> None:
        self._dispatcher = dispatcher
        self._line = line
        self._tasks = tasks
        self._shared = shared
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._owed: dict[str, Tracked] = {}
        self._hurry = anyio.Event()
        self.market: Market | None = None

    @property
    def owed(self) -> tuple[Tracked, ...]:
        """Purchases whose finish the service has not taken yet."""
        return tuple(self._owed.values())

    def hurry(self) -> None:
        """It is closing: finishes go before everything else, and pauses are cut short."""
        self._hurry.set()
        self._line.hurry()

    def owe(self, tracked: Tracked) -> None:
        """Take on the finish that ``tracked`` owes; harmless if it is taken on already."""
        if tracked.entry.intent_id not in self._owed:
            self._owed[tracked.entry.intent_id] = tracked
            self._tasks.spawn(self._settle(tracked), name="papsms finish")

    async def _settle(self, tracked: Tracked) -> None:
        failures = 0
        cut = False
        if self.market is not None:
            self.market.finish_waits(+1)
        try:
            while tracked.entry.is_owed or tracked.is_behind:
                effects, pause = await self._next_try(tracked, failures)
                if Effect.RETRY_FINISH in effects:
                    failures += 1
                    self._shared.publish(
                        EventKind.FINISH_DELAYED,
                        tracked.request,
                        intent_id=tracked.entry.intent_id,
                        activation=tracked.entry.activation,
                        detail=tracked.entry.reason,
                    )
                    await self._wait(pause)
        except asyncio.CancelledError:
            # The manager's time is over: it stays owed, until a recovery pays it.
            cut = True
            raise
        except LedgerConflictError:
            _log.info("activation %s is driven elsewhere now", tracked.entry.activation_id)
        except IllegalEventError:
            _log.exception("activation %s is in a state of its own", tracked.entry.activation_id)
        finally:
            if self.market is not None:
                self.market.finish_waits(-1)
            if not cut:
                del self._owed[tracked.entry.intent_id]
            # Nobody need wait for it any longer, whether it is finished or driven elsewhere.
            tracked.settled.set()

    async def _next_try(self, tracked: Tracked, failures: int) -> tuple[tuple[Effect, ...], Pause]:
        """Send what is owed, or write what the ledger lacks; whatever fails is tried again."""
        backoff = self._backoff(failures)
        try:
            if tracked.entry.is_owed:
                return await self.attempt(tracked, failures)
            await tracked.catch_up()
        except (LedgerConflictError, IllegalEventError):
            raise
        except LedgerError:
            return (Effect.RETRY_FINISH,), Pause(backoff)
        except Exception as error:
            # A defect must not make a debt forgotten.
            _log.error(
                "finishing activation %s failed with %s",
                tracked.entry.activation_id,
                type(error).__name__,
            )
            return (Effect.RETRY_FINISH,), Pause(backoff)
        return (), Pause()

    def _backoff(self, failures: int) -> float:
        # The exponent is bounded: after a thousand failures the power would overflow.
        ceiling = min(LONGEST_PAUSE, 2.0 ** min(failures, 20))
        return ceiling * (0.5 + self._rng.random() / 2)

    async def _wait(self, pause: Pause) -> None:
        """Sleep; a pause in which closing begins is cut short, too."""
        with anyio.move_on_after(pause.seconds):
            begun = anyio.current_time()
            await self._hurry.wait()
            await anyio.sleep(max(MOMENT, begun + pause.at_closing - anyio.current_time()))

    async def attempt(
        self, tracked: Tracked, failures: int = 0
    ) -> tuple[tuple[Effect, ...], Pause]:
        """Send the finish once.

        Args:
            tracked: A purchase whose finish is owed.
            failures: How often it failed before.

        Returns:
            The effects of the answer, and the pause before another try if it takes one.

        Raises:
            LedgerConflictError: Another process drives it.
        """
        activation_id = tracked.entry.activation_id or ""
        status = (
            FinishStatus.COMPLETED if tracked.state is State.COMPLETING else FinishStatus.CANCELLED
        )
        now = asyncio.get_running_loop().time()
        hurry = self._hurry.is_set()
        backoff = self._backoff(failures)
        try:
            await self._dispatcher.call(
                finish_request(activation_id, status),
                partial(read_finish, activation_id=activation_id),
                rank=Rank.URGENT,
                acquire=None
                if hurry
                else partial(self._line.permit, Rank.FINISH, now, now + self._patience(tracked)),
                attempts=1,
                granted=partial(tracked.granted, DecisionKind.FINISH, now),
                prepare=tracked.ensure_ours,
                last_check=tracked.check_ours,
            )
        except AlreadyFinishedError:
            return await tracked.apply(Event.ALREADY_FINISHED), Pause()
        except ActivationNotFoundError as error:
            return await self._not_found(tracked, error, backoff)
        except EarlyCancelError as error:
            if status is FinishStatus.CANCELLED:
                effects = await tracked.apply(Event.TOO_EARLY, reason="too early to cancel")
                return effects, early_pause(error, failures)
            return await self._failed(tracked, error, backoff)
        except CannotCancelError:
            if status is FinishStatus.CANCELLED:
                await tracked.apply(Event.CANNOT_CANCEL, reason="can't be cancelled")
            return await self._reread(tracked, activation_id, backoff)
        except LedgerConflictError:
            raise
        except PapSMSError as error:
            return await self._failed(tracked, error, backoff)
        return await tracked.apply(Event.FINISHED), Pause()

    async def _failed(
        self, tracked: Tracked, error: PapSMSError, backoff: float
    ) -> tuple[tuple[Effect, ...], Pause]:
        _log.info(
            "finishing activation %s failed (%s)",
            tracked.entry.activation_id,
            type(error).__name__,
        )
        effects = await tracked.apply(Event.FINISH_FAILED, reason=type(error).__name__)
        asked = min(error.retry_after or 0.0, LONGEST_PAUSE)
        return effects, Pause(max(backoff, asked), asked)

    async def _not_found(
        self, tracked: Tracked, error: ActivationNotFoundError, backoff: float
    ) -> tuple[tuple[Effect, ...], Pause]:
        if not tracked.is_gone(error):
            return await self._failed(tracked, error, backoff)
        return await tracked.apply(Event.NOT_FOUND, reason=type(error).__name__), Pause()

    async def _reread(
        self, tracked: Tracked, activation_id: str, backoff: float
    ) -> tuple[tuple[Effect, ...], Pause]:
        """Ask what became of an activation that can't be cancelled."""
        try:
            status: ActivationStatus = await self._dispatcher.call(
                status_request(activation_id),
                partial(read_status, activation_id=activation_id),
                rank=Rank.FINISH,
                granted=partial(tracked.granted, DecisionKind.FINISH),
            )
        except ActivationNotFoundError as error:
            return await self._not_found(tracked, error, backoff)
        except PapSMSError as error:
            return await self._failed(tracked, error, backoff)
        again = Pause(backoff)
        if status.sms is not None or status.status == Status.RECEIVED:
            if tracked.state is State.COMPLETING:
                return await tracked.apply(Event.FINISH_FAILED, reason="refused"), again
            changes = {} if status.sms is None else {"sms": status.sms}
            return await tracked.apply(Event.SMS, reason="an SMS came first", **changes), again
        if status.is_over:
            end = SERVICE_END[Status(status.status)]
            return await tracked.apply(end, reason="seen in its status"), Pause()
        return await tracked.apply(Event.FINISH_FAILED, reason="refused for now"), again

    def _patience(self, tracked: Tracked) -> float:
        """Seconds that this finish may wait for its permit."""
        expires_at = tracked.entry.expires_at
        if expires_at is None:
            return 0.0
        left = (expires_at - self._shared.clock()).total_seconds()
        return min(PATIENCE, max(0.0, left - 10.0)) if left > 0 else PATIENCE


def early_pause(error: EarlyCancelError, failures: int) -> Pause:
    """Return the pause until a number may be cancelled: what the service said, or a guess."""
    if error.retry_after:
        asked = min(error.retry_after, LONGEST_PAUSE)
        return Pause(asked, asked)
    guess = min(LONGEST_PAUSE, EARLY_PAUSE * 1.5 ** min(failures, 20))
    return Pause(guess, min(guess, EARLY_PAUSE))
