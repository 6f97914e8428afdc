"""Asks once for the status of an activation that is watched: one request, and how long it may take.

The request waits in the line of polls. However long the queue or a block of the key: the wait for
the SMS has an end, a short grace after its timeout.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import anyio
import attrs

from papsms_async.dispatcher import Dispatcher, Rank
from papsms_async.errors import AnswerLostError, PapSMSError
from papsms_async.models import ActivationStatus
from papsms_async.protocol import read_status, status_request
from papsms_async.running_line import RunningLine
from papsms_async.verification import Priority
from papsms_async.watch import EPSILON, Watch

_RANKS = {Priority.INTERACTIVE: Rank.POLL, Priority.BULK: Rank.BULK_POLL}


class PollOverdueError(AnswerLostError):
    """A poll took so long that the last one of all, at the timeout, would be late."""


class WaitEndedError(Exception):
    """No answer came before the wait for the SMS had to end."""


@attrs.frozen
class Answer:
    """What was answered.

    Attributes:
        status: The status of the activation.
        asked_at: Age of the watch at which it was asked for; it was like that then, or later.
    """

    status: ActivationStatus
    asked_at: float


async def ask(
    dispatcher: Dispatcher,
    line: RunningLine,
    watch: Watch,
    due: float,
    *,
    cost: Callable[[], float],
    granted: Callable[[], None],
) -> Answer:
    """Ask for the status of a watched activation, once.

    Looks that were asked for by then (`Watch.looks`) are made by it, if it does not fail.

    Args:
        dispatcher: Sends the request.
        line: Where it waits for its permit.
        watch: The watch.
        due: Loop time at which it was due.
        cost: Gives what waiting costs now, in seconds of unseen SMS a second.
        granted: Called with the permit in hand.

    Raises:
        PapSMSError: The request failed.
        PollOverdueError: It took too long, and the last poll of all is due.
        WaitEndedError: The wait is over, the grace included.
    """
    loop = asyncio.get_running_loop()
    activation_id = watch.tracked.activation.activation_id
    asked_at = watch.last
    looks: list[float] = []

    async def permitted() -> None:
        nonlocal asked_at
        asked_at = watch.age()
        looks.extend(watch.take_looks(asked_at))
        if asked_at < watch.timeout - EPSILON:
            # One that hangs must not take the last poll's place: that one is asked after the
            # timeout, so only its answer tells all.
            scope.deadline = watch.start + watch.timeout + watch.grace / 2

    limit = max(watch.start + watch.timeout, loop.time()) + watch.grace
    try:
        with anyio.fail_after(limit - loop.time()) as scope:
            status = await dispatcher.call(
                status_request(activation_id),
                partial(read_status, activation_id=activation_id),
                # An SMS that nobody looks for in time is money lost: urgent at the timeout.
                acquire=partial(
                    line.permit,
                    _RANKS[watch.tracked.priority],
                    due,
                    watch.start + watch.timeout,
                    # After a 429 it is still to be made.
                    lambda: 1.0 if looks else cost(),
                ),
                attempts=1,
                granted=granted,
                prepare=permitted,
            )
    except PapSMSError:
        watch.looks += looks  # it is still to be looked
        raise
    except TimeoutError:
        if loop.time() < limit - EPSILON:
            raise PollOverdueError("No answer came before the timeout.") from None
        raise WaitEndedError from None
    return Answer(status, asked_at)
