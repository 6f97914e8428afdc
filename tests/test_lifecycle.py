"""The lifecycle's table: every state with every event, and what holds for the table as a whole."""

from __future__ import annotations

import re
from collections import deque
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async.ledger import LedgerConflictError, LedgerEntry, MemoryLedger
from papsms_async.lifecycle import (
    OPEN,
    OWED,
    TABLE,
    TERMINAL,
    Effect,
    Event,
    IllegalEventError,
    State,
    Step,
    diagram,
    step,
)

S, E, F = State, Event, Effect

_NEWS = (
    E.SMS,
    E.KEEP,
    E.RELEASE,
    E.FINISHED,
    E.ALREADY_FINISHED,
    E.NOT_FOUND,
    E.SERVICE_CANCELLED,
    E.SERVICE_EXPIRED,
    E.SERVICE_COMPLETED,
)
"""What may still come in late, and changes nothing any more."""

EXPECTED = {
    S.SENDING: {
        E.BOUGHT: (S.WAITING, F.SETTLE_PRICE),
        E.BOUGHT_UNUSABLE: (S.CANCELLING, F.KEEP_WORST, F.SEND_FINISH),
        E.REFUSED: (S.REFUSED, F.GIVE_BACK),
        E.ANSWER_LOST: (S.UNKNOWN, F.KEEP_WORST),
    },
    S.UNKNOWN: {
        E.SETTLED_BOUGHT: (S.CANCELLING, F.SETTLE_PRICE, F.SEND_FINISH),
        E.SETTLED_NOT_BOUGHT: (S.REFUSED, F.GIVE_BACK),
    },
    S.WAITING: {
        E.SMS: (S.RECEIVED, F.DELIVER_SMS),
        E.RELEASE: (S.CANCELLING, F.SEND_FINISH),
        E.SERVICE_CANCELLED: (S.CANCELLED, F.GIVE_BACK, F.END_WAIT),
        E.SERVICE_EXPIRED: (S.EXPIRED, F.GIVE_BACK, F.END_WAIT),
        E.SERVICE_COMPLETED: (S.COMPLETED, F.END_WAIT),
    },
    S.RECEIVED: {
        E.SMS: (S.RECEIVED,),
        E.KEEP: (S.COMPLETING, F.SEND_FINISH),
        E.RELEASE: (S.CANCELLING, F.SEND_FINISH),
        E.SERVICE_CANCELLED: (S.COMPLETED,),
        E.SERVICE_EXPIRED: (S.COMPLETED,),
        E.SERVICE_COMPLETED: (S.COMPLETED,),
    },
    S.COMPLETING: {
        E.SMS: (S.COMPLETING,),
        E.KEEP: (S.COMPLETING,),
        E.RELEASE: (S.COMPLETING,),
        E.FINISHED: (S.COMPLETED,),
        E.ALREADY_FINISHED: (S.COMPLETED,),
        E.NOT_FOUND: (S.COMPLETED,),
        E.FINISH_FAILED: (S.COMPLETING, F.RETRY_FINISH),
        E.SERVICE_CANCELLED: (S.COMPLETED,),
        E.SERVICE_EXPIRED: (S.COMPLETED,),
        E.SERVICE_COMPLETED: (S.COMPLETED,),
    },
    S.CANCELLING: {
        E.SMS: (S.COMPLETING, F.SEND_FINISH),
        E.KEEP: (S.CANCELLING,),
        E.RELEASE: (S.CANCELLING,),
        E.FINISHED: (S.CANCELLED, F.GIVE_BACK),
        E.ALREADY_FINISHED: (S.CANCELLED, F.GIVE_BACK),
        E.NOT_FOUND: (S.EXPIRED, F.GIVE_BACK),
        E.FINISH_FAILED: (S.CANCELLING, F.RETRY_FINISH),
        E.TOO_EARLY: (S.CANCELLING, F.RETRY_FINISH),
        E.CANNOT_CANCEL: (S.CANCELLING, F.REREAD_STATUS),
        E.SERVICE_CANCELLED: (S.CANCELLED, F.GIVE_BACK),
        E.SERVICE_EXPIRED: (S.EXPIRED, F.GIVE_BACK),
        E.SERVICE_COMPLETED: (S.COMPLETED,),
    },
    S.REFUSED: dict.fromkeys((E.SMS, E.KEEP, E.RELEASE), (S.REFUSED,)),
    S.COMPLETED: dict.fromkeys(_NEWS, (S.COMPLETED,)),
    S.CANCELLED: dict.fromkeys(_NEWS, (S.CANCELLED,)),
    S.EXPIRED: dict.fromkeys(_NEWS, (S.EXPIRED,)),
}
"""The table a second time, by state, as the rules about money ask for it."""

NOW = datetime(2026, 4, 19, tzinfo=UTC)


def entry_in(state: State) -> LedgerEntry:
    """Return an entry in ``state`` whose price differs from the worst one."""
    return LedgerEntry(
        intent_id="intent-1",
        state=state,
        service="whatsapp",
        country="us",
        worst_price=Decimal(3),
        cost=None if state in (S.SENDING, S.UNKNOWN, S.REFUSED) else Decimal("0.80"),
        created_at=NOW,
        updated_at=NOW,
    )


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_every_state_with_every_event(state: State, event: Event) -> None:
    """Each pair leads where the rules say; every other pair is illegal."""
    row = EXPECTED[state].get(event)
    if row is None:
        with pytest.raises(IllegalEventError, match=f"{event.value}.*{state.value}"):
            step(state, event)
        assert (state, event) not in TABLE
    else:
        assert step(state, event) == Step(row[0], tuple(row[1:]))


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
async def test_an_illegal_event_leaves_the_state_unchanged(state: State, event: Event) -> None:
    """Whoever asks the table before writing can't write what is not in it."""
    ledger = MemoryLedger()
    before = entry_in(state)
    await ledger.add(before)

    async def drive() -> None:
        row = step(before.state, event)
        await ledger.move("intent-1", before.state, row.state, event=event, at=NOW)

    if event in EXPECTED[state]:
        await drive()
        after = await ledger.get("intent-1")
        assert after is not None
        assert after.state is EXPECTED[state][event][0]
    else:
        with pytest.raises(IllegalEventError):
            await drive()
        assert await ledger.get("intent-1") == before
        assert len(await ledger.history("intent-1")) == 1


def reachable(start: State) -> set[State]:
    """Return the states to which events can lead from ``start``."""
    found, todo = {start}, deque([start])
    while todo:
        state = todo.popleft()
        for (before, _), row in TABLE.items():
            if before is state and row.state not in found:
                found.add(row.state)
                todo.append(row.state)
    return found


def test_every_state_can_be_reached() -> None:
    """A purchase begins in SENDING, and no state is out of its reach."""
    assert reachable(State.SENDING) == set(State)


@pytest.mark.parametrize("state", State)
def test_every_state_can_end(state: State) -> None:
    """From everywhere some events lead to an end, so nothing is stuck for ever."""
    assert reachable(state) & TERMINAL


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_an_end_is_an_end(state: State) -> None:
    """No event leaves an ended purchase, and none has an effect on it."""
    rows = {row for (before, _), row in TABLE.items() if before is state}
    assert rows == {Step(state)}


def test_the_kinds_of_states_do_not_overlap() -> None:
    """Each state is open, ended, or unknown; what is owed is open."""
    assert OWED < OPEN
    assert not OPEN & TERMINAL
    assert set(State) - OPEN - TERMINAL == {State.UNKNOWN}


def test_only_an_answer_of_the_service_ends_a_debt() -> None:
    """Nothing that we do or fail to do makes an owed finish go away."""
    ours = {Event.KEEP, Event.RELEASE, Event.FINISH_FAILED, Event.TOO_EARLY, Event.CANNOT_CANCEL}
    for (state, event), row in TABLE.items():
        if state in OWED and event in ours | {Event.SMS}:
            assert row.state in OWED


def test_what_was_bought_is_never_forgotten_without_a_finish_or_the_services_word() -> None:
    """A bought number reaches an end through a finish or because the service ended it."""
    by_service = {Event.SERVICE_CANCELLED, Event.SERVICE_EXPIRED, Event.SERVICE_COMPLETED}
    for (state, event), row in TABLE.items():
        if state in (State.WAITING, State.RECEIVED) and row.state in TERMINAL:
            assert event in by_service


def test_a_lost_answer_is_never_sent_again() -> None:
    """No event leads back to SENDING, and only a person settles UNKNOWN."""
    assert all(row.state is not State.SENDING for row in TABLE.values())
    settled = {event for state, event in TABLE if state is State.UNKNOWN}
    assert settled == {Event.SETTLED_BOUGHT, Event.SETTLED_NOT_BOUGHT}


def test_a_finish_is_sent_whenever_one_begins_to_be_owed() -> None:
    """Entering a debt, or changing its kind, sends a finish; staying in it never sends twice."""
    for (state, _), row in TABLE.items():
        enters = row.state in OWED and row.state is not state
        assert (Effect.SEND_FINISH in row.effects) == enters


@pytest.mark.parametrize(("state", "event"), TABLE)
def test_money_is_given_back_exactly_where_nothing_is_held_any_more(
    state: State, event: Event
) -> None:
    """The effects and what the ledger counts against a budget tell the same story."""
    row = TABLE[state, event]
    before, after = entry_in(state), entry_in(row.state)
    assert (Effect.GIVE_BACK in row.effects) == bool(before.committed and not after.committed)


def test_the_diagram_is_drawn_from_the_table() -> None:
    """Every row that changes something is an arrow, and every arrow is a row."""
    lines = diagram().splitlines()
    assert lines[:2] == ["stateDiagram-v2", "    [*] --> sending"]
    arrows = {
        (found[1], found[2], found[3])
        for line in lines
        if (found := re.fullmatch(r"    (\w+) --> (\w+): (\w+)", line))
    }
    assert arrows == {
        (state.value, row.state.value, event.value)
        for (state, event), row in TABLE.items()
        if row != Step(state)
    }
    ends = {line.split()[0] for line in lines if line.endswith("--> [*]")}
    assert ends == {state.value for state in TERMINAL}


@given(st.lists(st.sampled_from(Event), max_size=40))
def test_any_walk_keeps_the_rules(events: list[Event]) -> None:
    """Whatever happens in whatever order: one debt at most, one end, no money lost on the way."""
    state, held, ended = State.SENDING, True, 0
    finishes: list[State] = []
    for event in events:
        try:
            row = step(state, event)
        except IllegalEventError:
            continue
        if Effect.GIVE_BACK in row.effects:
            assert held, "given back twice"
            held = False
        if Effect.SEND_FINISH in row.effects:
            finishes.append(row.state)
        ended += row.state in TERMINAL and state not in TERMINAL
        state = row.state
    assert ended == (state in TERMINAL)
    assert held == (state not in {State.REFUSED, State.CANCELLED, State.EXPIRED})
    # A cancellation may be overtaken by the SMS; a completion is never taken back.
    assert finishes in (
        [],
        [State.COMPLETING],
        [State.CANCELLING],
        [State.CANCELLING, State.COMPLETING],
    )


@given(st.lists(st.sampled_from(Event), max_size=12), st.integers(1, 3))
async def test_drivers_that_race_end_in_one_story(events: list[Event], drivers: int) -> None:
    """Of several drivers of one entry one wins each step, and the history is one story."""
    ledger = MemoryLedger()
    await ledger.add(entry_in(State.SENDING))
    for event in events:
        seen = await ledger.get("intent-1")
        assert seen is not None
        if (seen.state, event) not in TABLE:
            continue
        row = step(seen.state, event)
        won = 0
        for _ in range(drivers):
            try:
                await ledger.move("intent-1", seen.state, row.state, event=event, at=NOW)
            except LedgerConflictError:
                continue
            won += 1
        assert won == (drivers if row.state is seen.state else 1)
    history = await ledger.history("intent-1")
    for before, after in pairwise(history):
        assert TABLE[before.state, Event(after.event)].state is after.state
