"""The life of one purchase, as a table: (state, event) -> (state, effects).

Theory of operation
===================

A purchase is charged when the service acts on it, has no idempotency key and can't be listed
afterwards. So the ledger writes the *intent* first, and every later step is one row of `TABLE`:
who drives an activation looks up the row, writes the new state into the ledger (guarded by the old
one), and only then carries out the effects. Nothing else in the library decides a transition.

::

    SENDING --bought--------> WAITING --sms----> RECEIVED --keep----> COMPLETING --> COMPLETED
       |                         |                   |                     ^
       |--bought, unusable--.    |--release--.       |--release--.         | sms won the race
       |                    '--------------> CANCELLING <--------'---------'
       |--refused--> REFUSED                     |--finished--> CANCELLED
       '--answer lost--> UNKNOWN                 '--expired---> EXPIRED

Rules that the table encodes:

* ``SENDING`` is durable before the request leaves. A crash in it, or a lost answer, makes it
  ``UNKNOWN``: it keeps counting at the worst price and is never sent again. Only a person who
  looked at the account can settle it (`Event.SETTLED_BOUGHT`, `Event.SETTLED_NOT_BOUGHT`).
* A number that was bought is owed exactly one finish. ``COMPLETING`` and ``CANCELLING`` are that
  debt; they are left only by an answer of the service, never by a timeout of ours.
* Finishing is idempotent: "already finished" and "not found" are as good as "finished".
* "Too early to cancel" is tried again; "can't be cancelled" re-reads the status, because an SMS may
  have won the race. If it did, the number was used up: it is completed.
* Poll and webhook give the same event, and a repeated one is harmless.

An event without a row is a programming error: `step` raises `IllegalEventError` and the state stays
what it was. Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from papsms_async.models import Status


class State(StrEnum):
    """Where a purchase stands. The values are what the ledger stores."""

    SENDING = "sending"
    """The intent is durable; the request may be on the wire."""
    UNKNOWN = "unknown"
    """The answer was lost: maybe charged. Settled by hand only."""
    REFUSED = "refused"
    """Certainly not bought."""
    WAITING = "waiting"
    """Bought; no SMS yet."""
    RECEIVED = "received"
    """An SMS came and is being used."""
    COMPLETING = "completing"
    """A finish as completed is owed."""
    CANCELLING = "cancelling"
    """A finish as cancelled is owed."""
    COMPLETED = "completed"
    """Finished and charged."""
    CANCELLED = "cancelled"
    """Finished and refunded."""
    EXPIRED = "expired"
    """The service took the number back by itself."""


class Event(StrEnum):
    """What can happen to a purchase."""

    BOUGHT = "bought"
    BOUGHT_UNUSABLE = "bought_unusable"
    """The answer names an activation, but not all of what it takes to use it."""
    REFUSED = "refused"
    ANSWER_LOST = "answer_lost"
    SETTLED_BOUGHT = "settled_bought"
    SETTLED_NOT_BOUGHT = "settled_not_bought"
    SMS = "sms"
    """An SMS is there, seen by a poll or told by a webhook."""
    KEEP = "keep"
    """The caller is done and used the SMS."""
    RELEASE = "release"
    """The caller is done and has no use for the number."""
    FINISHED = "finished"
    ALREADY_FINISHED = "already_finished"
    TOO_EARLY = "too_early"
    CANNOT_CANCEL = "cannot_cancel"
    FINISH_FAILED = "finish_failed"
    """The finish could not be delivered, for whatever passing reason."""
    NOT_FOUND = "not_found"
    SERVICE_CANCELLED = "service_cancelled"
    SERVICE_EXPIRED = "service_expired"
    SERVICE_COMPLETED = "service_completed"


class Effect(StrEnum):
    """What has to be done once the new state is durable."""

    SETTLE_PRICE = "settle_price"
    """Replace the reserved worst price by the price that was charged."""
    GIVE_BACK = "give_back"
    """Give the reserved or charged amount back to the budget."""
    KEEP_WORST = "keep_worst"
    """Go on counting the worst price against the budget."""
    DELIVER_SMS = "deliver_sms"
    """Hand the SMS to whoever waits for it."""
    END_WAIT = "end_wait"
    """Tell whoever waits that no SMS will come."""
    SEND_FINISH = "send_finish"
    """Send the finish that the new state owes."""
    RETRY_FINISH = "retry_finish"
    """Send the finish again later."""
    REREAD_STATUS = "reread_status"
    """Ask for the status; its answer is the next event."""


class Step(NamedTuple):
    """One row's right side."""

    state: State
    effects: tuple[Effect, ...] = ()


TERMINAL = frozenset({State.REFUSED, State.COMPLETED, State.CANCELLED, State.EXPIRED})
"""States in which nothing is owed and nothing can happen any more."""

OWED = frozenset({State.COMPLETING, State.CANCELLING})
"""States in which a finish is owed to the service."""

OPEN = frozenset({State.SENDING, State.WAITING, State.RECEIVED, *OWED})
"""States that an earlier process may have left behind for `recover`."""


def _table() -> Mapping[tuple[State, Event], Step]:
    stay: dict[tuple[State, Event], Step] = {}
    rows: dict[tuple[State, Event], Step] = {
        (State.SENDING, Event.BOUGHT): Step(State.WAITING, (Effect.SETTLE_PRICE,)),
        (State.SENDING, Event.BOUGHT_UNUSABLE): Step(
            State.CANCELLING, (Effect.KEEP_WORST, Effect.SEND_FINISH)
        ),
        (State.SENDING, Event.REFUSED): Step(State.REFUSED, (Effect.GIVE_BACK,)),
        (State.SENDING, Event.ANSWER_LOST): Step(State.UNKNOWN, (Effect.KEEP_WORST,)),
        (State.UNKNOWN, Event.SETTLED_BOUGHT): Step(
            State.CANCELLING, (Effect.SETTLE_PRICE, Effect.SEND_FINISH)
        ),
        (State.UNKNOWN, Event.SETTLED_NOT_BOUGHT): Step(State.REFUSED, (Effect.GIVE_BACK,)),
        (State.WAITING, Event.SMS): Step(State.RECEIVED, (Effect.DELIVER_SMS,)),
        (State.WAITING, Event.RELEASE): Step(State.CANCELLING, (Effect.SEND_FINISH,)),
        (State.RECEIVED, Event.KEEP): Step(State.COMPLETING, (Effect.SEND_FINISH,)),
        (State.RECEIVED, Event.RELEASE): Step(State.CANCELLING, (Effect.SEND_FINISH,)),
        (State.COMPLETING, Event.FINISHED): Step(State.COMPLETED),
        (State.COMPLETING, Event.ALREADY_FINISHED): Step(State.COMPLETED),
        (State.COMPLETING, Event.NOT_FOUND): Step(State.COMPLETED),
        (State.COMPLETING, Event.FINISH_FAILED): Step(State.COMPLETING, (Effect.RETRY_FINISH,)),
        (State.CANCELLING, Event.FINISHED): Step(State.CANCELLED, (Effect.GIVE_BACK,)),
        (State.CANCELLING, Event.ALREADY_FINISHED): Step(State.CANCELLED, (Effect.GIVE_BACK,)),
        (State.CANCELLING, Event.NOT_FOUND): Step(State.EXPIRED, (Effect.GIVE_BACK,)),
        (State.CANCELLING, Event.FINISH_FAILED): Step(State.CANCELLING, (Effect.RETRY_FINISH,)),
        (State.CANCELLING, Event.TOO_EARLY): Step(State.CANCELLING, (Effect.RETRY_FINISH,)),
        (State.CANCELLING, Event.CANNOT_CANCEL): Step(State.CANCELLING, (Effect.REREAD_STATUS,)),
        # The SMS won the race against the cancellation: the service charges for it either way.
        (State.CANCELLING, Event.SMS): Step(State.COMPLETING, (Effect.SEND_FINISH,)),
    }
    # What the service did by itself, seen in a status.
    for event, end in (
        (Event.SERVICE_CANCELLED, State.CANCELLED),
        (Event.SERVICE_EXPIRED, State.EXPIRED),
    ):
        rows[State.WAITING, event] = Step(end, (Effect.GIVE_BACK, Effect.END_WAIT))
        rows[State.CANCELLING, event] = Step(end, (Effect.GIVE_BACK,))
        # With an SMS in hand it stays charged, and there is nothing left to finish.
        rows[State.RECEIVED, event] = Step(State.COMPLETED)
        rows[State.COMPLETING, event] = Step(State.COMPLETED)
    rows[State.WAITING, Event.SERVICE_COMPLETED] = Step(State.COMPLETED, (Effect.END_WAIT,))
    for state in (State.RECEIVED, State.COMPLETING, State.CANCELLING):
        rows[state, Event.SERVICE_COMPLETED] = Step(State.COMPLETED)
    # Late or repeated news changes nothing.
    for state in (State.RECEIVED, State.COMPLETING, *sorted(TERMINAL)):
        stay[state, Event.SMS] = Step(state)
    for state in sorted(TERMINAL | OWED):
        stay[state, Event.RELEASE] = Step(state)
        stay[state, Event.KEEP] = Step(state)
    for state in sorted(TERMINAL - {State.REFUSED}):
        for event in (
            Event.SERVICE_CANCELLED,
            Event.SERVICE_EXPIRED,
            Event.SERVICE_COMPLETED,
            Event.FINISHED,
            Event.ALREADY_FINISHED,
            Event.NOT_FOUND,
        ):
            stay[state, event] = Step(state)
    return MappingProxyType({**stay, **rows})


TABLE: Mapping[tuple[State, Event], Step] = _table()
"""Every transition there is."""


SERVICE_END: Mapping[Status, Event] = MappingProxyType(
    {
        Status.CANCELLED: Event.SERVICE_CANCELLED,
        Status.EXPIRED: Event.SERVICE_EXPIRED,
        Status.COMPLETED: Event.SERVICE_COMPLETED,
    }
)
"""What a status means that ends an activation at the service."""


class IllegalEventError(Exception):
    """An event came that can't happen in this state: a programming error of this library."""


def step(state: State, event: Event) -> Step:
    """Return the new state and the effects of ``event`` in ``state``.

    Raises:
        IllegalEventError: The table has no such row.
    """
    try:
        return TABLE[state, event]
    except KeyError:
        raise IllegalEventError(f"{event.value} can't happen in state {state.value}") from None


def diagram() -> str:
    """Return the table as a Mermaid state diagram, without the rows that change nothing."""
    lines = ["stateDiagram-v2", "    [*] --> sending"]
    lines += [
        f"    {state.value} --> {row.state.value}: {event.value}"
        for (state, event), row in TABLE.items()
        if row.state is not state or row.effects
    ]
    lines += [f"    {state.value} --> [*]" for state in State if state in TERMINAL]
    return "\n".join(lines)
