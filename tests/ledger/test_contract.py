"""What every ledger promises, run over memory, SQLite and PostgreSQL alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import attrs
import pytest

from papsms_async.errors import BudgetExceededError
from papsms_async.ledger import Ledger, LedgerConflictError, LedgerEntry
from papsms_async.lifecycle import OPEN, OWED, TERMINAL, State
from papsms_async.models import Sms

Make = Callable[..., LedgerEntry]


async def test_an_entry_comes_back_as_it_was_written(
    ledger: Ledger, make_entry: Make, now: datetime
) -> None:
    """Every field survives, digits of money and microseconds included."""
    entry = make_entry(
        state=State.RECEIVED,
        reference="row 7",
        tenant="acme",
        worst_price=Decimal("2.50"),
        activation_id="12345678",
        phone_number="+14155550123",
        expires_at=now + timedelta(minutes=20),
        cost=Decimal("0.80"),
        sms=Sms(code=None, full_text="Ihr Code: äöü 123 😀", received_at=now),
        reason="because",
    )
    await ledger.add(entry)
    found = await ledger.get("intent-1")
    assert found == entry
    assert (str(found.cost), str(found.worst_price)) == ("0.80", "2.50")
    assert found.created_at.tzinfo is not None
    assert await ledger.get("intent-2") is None


@pytest.mark.parametrize(
    "amount", ["0", "0.1", "0.30000000000000004", "1.10", "123456789.123456789"]
)
async def test_money_keeps_its_digits(ledger: Ledger, make_entry: Make, amount: str) -> None:
    """No amount passes through a binary float."""
    await ledger.add(make_entry(worst_price=Decimal(amount)))
    await ledger.add(make_entry("intent-2", worst_price=Decimal("0.20")))
    found = await ledger.get("intent-1")
    assert found is not None
    assert str(found.worst_price) == amount
    assert await ledger.committed() == Decimal(amount) + Decimal("0.20")


async def test_instants_of_any_zone_are_the_same_instant(
    ledger: Ledger, make_entry: Make, now: datetime
) -> None:
    """An instant may be written in any zone and is aware when read."""
    zone = timezone(timedelta(hours=-7))
    await ledger.add(make_entry(created_at=now.astimezone(zone)))
    found = await ledger.get("intent-1")
    assert found is not None
    assert found.created_at == now
    assert found.created_at.utcoffset() is not None


async def test_instants_of_an_event_are_told_for_all_entries_at_once(
    ledger: Ledger, make_entry: Make, now: datetime
) -> None:
    """Each entry that it happened to, with the first time that it did."""
    for name in ("a", "b", "c"):
        await ledger.add(make_entry(name))
    for seconds, name, before in ((1, "a", State.SENDING), (2, "b", State.SENDING)):
        at = now + timedelta(seconds=seconds)
        await ledger.move(name, before, State.WAITING, event="bought", at=at)
    later = now + timedelta(seconds=9)
    await ledger.move("a", State.WAITING, State.WAITING, event="bought", at=later)
    assert await ledger.instants("bought") == {
        "a": now + timedelta(seconds=1),
        "b": now + timedelta(seconds=2),
    }
    assert await ledger.instants("nothing") == {}


async def test_an_id_is_taken_once(ledger: Ledger, make_entry: Make) -> None:
    """A second entry of the same id is refused and changes nothing."""
    await ledger.add(make_entry())
    with pytest.raises(LedgerConflictError) as caught:
        await ledger.add(make_entry(service="telegram"))
    assert caught.value.intent_id == "intent-1"
    found = await ledger.get("intent-1")
    assert found is not None
    assert found.service == "whatsapp"
    assert len(await ledger.history("intent-1")) == 1


async def test_a_life_is_written_down_step_by_step(
    ledger: Ledger, make_entry: Make, now: datetime
) -> None:
    """Moves return and store the new entry, and the history tells what, when and why."""
    await ledger.add(make_entry(reason="asked for"))
    bought = await ledger.move(
        "intent-1",
        State.SENDING,
        State.WAITING,
        event="bought",
        at=now + timedelta(seconds=1),
        activation_id="1",
        phone_number="+14155550123",
        country="gb",
        expires_at=now + timedelta(minutes=20),
        cost=Decimal("0.70"),
    )
    assert bought.activation is not None
    assert (bought.state, bought.country, bought.cost) == (State.WAITING, "gb", Decimal("0.70"))
    assert bought.reason == "asked for"
    sms = Sms(code="847291", full_text="Your code: 847291", received_at=now)
    received = await ledger.move(
        "intent-1",
        State.WAITING,
        State.RECEIVED,
        event="sms",
        at=now + timedelta(seconds=2),
        sms=sms,
        reason="seen by a poll",
    )
    assert received.sms == sms
    assert received == await ledger.get("intent-1")
    assert received == attrs.evolve(
        bought,
        state=State.RECEIVED,
        sms=sms,
        reason="seen by a poll",
        updated_at=now + timedelta(seconds=2),
    )
    lines = await ledger.history("intent-1")
    assert [(line.event, line.state, line.reason) for line in lines] == [
        ("intent", State.SENDING, "asked for"),
        ("bought", State.WAITING, None),
        ("sms", State.RECEIVED, "seen by a poll"),
    ]
    assert [line.at - now for line in lines] == [timedelta(seconds=n) for n in range(3)]
    assert await ledger.history("nobody") == ()


@pytest.mark.parametrize("state", State)
async def test_a_move_from_another_state_changes_nothing(
    ledger: Ledger, make_entry: Make, now: datetime, state: State
) -> None:
    """Whoever expects a state that it is not in gets a conflict, and the entry stays as it was."""
    entry = make_entry(state=state)
    await ledger.add(entry)
    wrong = State.UNKNOWN if state is State.SENDING else State.SENDING
    with pytest.raises(LedgerConflictError, match=f"is {state.value}, not {wrong.value}"):
        await ledger.move("intent-1", wrong, State.REFUSED, event="refused", at=now)
    assert await ledger.get("intent-1") == entry
    assert len(await ledger.history("intent-1")) == 1


async def test_a_move_of_nothing_is_a_conflict(ledger: Ledger, now: datetime) -> None:
    """An entry that is not there can't be moved."""
    with pytest.raises(LedgerConflictError, match="not in the ledger"):
        await ledger.move("nobody", State.SENDING, State.REFUSED, event="refused", at=now)


async def test_a_move_sets_only_what_may_change(
    ledger: Ledger, make_entry: Make, now: datetime
) -> None:
    """Fields such as the service are fixed for good."""
    await ledger.add(make_entry())
    with pytest.raises(TypeError, match="service"):
        await ledger.move(
            "intent-1", State.SENDING, State.WAITING, event="bought", at=now, service="telegram"
        )


async def test_one_of_many_movers_wins(ledger: Ledger, make_entry: Make, now: datetime) -> None:
    """Of moves that race for one entry exactly one succeeds; those beside them go through."""
    await ledger.add(make_entry())
    others = [make_entry(f"other-{n}") for n in range(10)]

    async def move() -> bool:
        try:
            await ledger.move("intent-1", State.SENDING, State.WAITING, event="bought", at=now)
        except LedgerConflictError:
            return False
        return True

    results = await asyncio.gather(*(move() for _ in range(20)), *map(ledger.add, others))
    assert sum(result is True for result in results) == 1
    assert len(await ledger.entries()) == 11
    assert len(await ledger.history("intent-1")) == 2


async def test_entries_are_found_by_state_oldest_first(ledger: Ledger, make_entry: Make) -> None:
    """A set of states chooses; the order is that of writing."""
    for number, state in enumerate(State):
        await ledger.add(make_entry(f"{9 - number}", state=state))
    assert [entry.state for entry in await ledger.entries()] == list(State)
    for states in (OPEN, OWED, TERMINAL, frozenset({State.UNKNOWN}), frozenset()):
        found = await ledger.entries(states)
        assert [entry.state for entry in found] == [one for one in State if one in states]


async def test_what_is_committed_follows_the_states(
    ledger: Ledger, make_entry: Make, now: datetime
) -> None:
    """Worst price until the price is known, then the price; nothing once it is given back."""
    amounts: dict[State, tuple[str, str]] = dict.fromkeys(State, ("3", "0.50"))
    expected = Decimal(0)
    for state, (worst, cost) in amounts.items():
        for known in (True, False):
            entry = make_entry(
                f"{state}-{known}",
                state=state,
                worst_price=Decimal(worst),
                cost=Decimal(cost) if known else None,
            )
            await ledger.add(entry)
            expected += entry.committed
    assert expected > 0
    assert await ledger.committed() == expected
    await ledger.move("sending-False", State.SENDING, State.REFUSED, event="refused", at=now)
    assert await ledger.committed() == expected - 3


async def test_a_budget_takes_what_fits_and_no_more(
    ledger: Ledger, make_entry: Make, now: datetime
) -> None:
    """An entry that might go over the limit is not written; one that just fits is."""
    limit = Decimal("2.10")
    for number in range(3):
        await ledger.add(make_entry(f"{number}", worst_price=Decimal("0.70")), limit=limit)
    with pytest.raises(BudgetExceededError) as caught:
        await ledger.add(make_entry("3", worst_price=Decimal("0.01")), limit=limit)
    assert caught.value.intent_id == "3"
    assert await ledger.get("3") is None
    assert await ledger.history("3") == ()
    await ledger.move(
        "0", State.SENDING, State.WAITING, event="bought", at=now, cost=Decimal("0.5")
    )
    await ledger.add(make_entry("3", worst_price=Decimal("0.20")), limit=limit)
    assert await ledger.committed() == limit


async def test_a_budget_holds_against_a_crowd(
    ledger: Ledger, make_entry: Make, now: datetime
) -> None:
    """Reservations and settlements that come at once never go over the limit."""

    async def buy(number: int) -> bool:
        try:
            await ledger.add(make_entry(f"{number}"), limit=Decimal(30))
        except BudgetExceededError:
            return False
        if number % 2:
            await ledger.move(
                f"{number}", State.SENDING, State.WAITING, event="bought", at=now, cost=Decimal(1)
            )
        return True

    results = await asyncio.gather(*(buy(number) for number in range(60)))
    assert 10 <= sum(results) < 30
    assert await ledger.committed() <= 30


async def test_an_id_taken_twice_is_a_conflict_also_over_the_limit(
    ledger: Ledger, make_entry: Make
) -> None:
    """The sharper of two reasons is told."""
    await ledger.add(make_entry(), limit=Decimal(3))
    with pytest.raises(LedgerConflictError):
        await ledger.add(make_entry(), limit=Decimal(3))


# Leases ------------------------------------------------------------------------------------------


async def test_a_claim_takes_what_nobody_drives(
    ledger: Ledger, make_entry: Make, now: datetime
) -> None:
    """Entries without a living owner are taken, oldest first, up to the limit; ended ones never."""
    for number in range(5):
        await ledger.add(make_entry(f"{number}"))
    await ledger.add(make_entry("ended", state=State.COMPLETED))
    await ledger.add(make_entry("unknown", state=State.UNKNOWN))
    first = await ledger.claim("a", now=now, lease=30, limit=3)
    second = await ledger.claim("b", now=now, lease=30)
    assert [entry.intent_id for entry in first] == ["0", "1", "2"]
    assert [entry.intent_id for entry in second] == ["3", "4"]
    assert await ledger.claim("c", now=now, lease=30) == ()
    for entry in first:
        assert (entry.owner, entry.fence) == ("a", 1)
        assert entry.lease_until == now + timedelta(seconds=30)
        assert await ledger.get(entry.intent_id) == entry
    line = (await ledger.history("0"))[-1]
    assert (line.event, line.actor, line.at) == ("claimed", "a", now)


async def test_a_claim_looks_at_the_states_it_is_given(
    ledger: Ledger, make_entry: Make, now: datetime
) -> None:
    """A reaper can take only what is owed."""
    await ledger.add(make_entry("sending"))
    await ledger.add(make_entry("owed", state=State.CANCELLING))
    (taken,) = await ledger.claim("a", now=now, lease=30, states=OWED)
    assert taken.intent_id == "owed"


async def test_whose_lease_was_taken_changes_nothing(
    ledger: Ledger, make_entry: Make, now: datetime
) -> None:
    """A process that slept past its lease is fenced off; the new owner goes on."""
    await ledger.add(make_entry(state=State.WAITING), owner="a", lease=30, now=now)
    assert await ledger.claim("b", now=now + timedelta(seconds=30), lease=30) == ()
    (taken,) = await ledger.claim("b", now=now + timedelta(seconds=31), lease=30)
    assert (taken.owner, taken.fence) == ("b", 1)
    with pytest.raises(LedgerConflictError, match="Another process"):
        await ledger.move(
            "intent-1", State.WAITING, State.CANCELLING, event="release", at=now, owner="a", fence=0
        )
    with pytest.raises(LedgerConflictError, match="Another process"):
        await ledger.move(
            "intent-1", State.WAITING, State.CANCELLING, event="release", at=now, fence=0
        )
    assert await ledger.get("intent-1") == taken
    moved = await ledger.move(
        "intent-1", State.WAITING, State.RECEIVED, event="sms", at=now, owner="b", fence=1
    )
    assert moved.owner == "b"
    assert (await ledger.history("intent-1"))[-1].actor == "b"


async def test_an_owner_takes_its_own_ended_lease_with_a_new_fence(
    ledger: Ledger, make_entry: Make, now: datetime
) -> None:
    """A claim always raises the fence, whoever held it before."""
    await ledger.add(make_entry(), owner="a", lease=1, now=now)
    (taken,) = await ledger.claim("a", now=now + timedelta(seconds=2), lease=1)
    assert taken.fence == 1


async def test_renewing_tells_what_is_still_held(
    ledger: Ledger, make_entry: Make, now: datetime
) -> None:
    """A heartbeat prolongs all leases and names them, so that the rest is dropped."""
    for number in range(3):
        await ledger.add(make_entry(f"{number}"), owner="a", lease=10, now=now)
    later = now + timedelta(seconds=11)
    (lost,) = await ledger.claim("b", now=later, lease=10, limit=1)
    assert await ledger.renew("a", now=later, lease=10) == ("1", "2")
    assert await ledger.renew("nobody", now=later, lease=10) == ()
    assert await ledger.claim("c", now=later, lease=10) == ()
    assert (await ledger.get("0")) == lost


async def test_leases_given_up_are_free_at_once(
    ledger: Ledger, make_entry: Make, now: datetime
) -> None:
    """An orderly stop leaves nothing to wait for."""
    await ledger.add(make_entry("0"), owner="a", lease=1000, now=now)
    await ledger.add(make_entry("1"), owner="b", lease=1000, now=now)
    assert await ledger.release_leases("a") == 1
    assert [entry.intent_id for entry in await ledger.claim("c", now=now, lease=1)] == ["0"]


async def test_what_was_let_go_of_can_be_left_alone(
    ledger: Ledger, make_entry: Make, now: datetime
) -> None:
    """Whoever finishes what the dead left may not take what a job engine holds between steps."""
    for name in ("dead", "between", "other"):
        await ledger.add(make_entry(name), owner=name, lease=10, now=now)
    await ledger.release_leases("between")
    later = now + timedelta(seconds=11)
    ids = ("dead", "between")
    taken = await ledger.claim("c", now=later, lease=10, intent_ids=ids, let_go=False)
    assert [entry.intent_id for entry in taken] == ["dead"]
    taken = await ledger.claim("c", now=later, lease=10, intent_ids=ids)
    assert [entry.intent_id for entry in taken] == ["between"]


@pytest.mark.parametrize("state", sorted(TERMINAL | {State.UNKNOWN}))
async def test_what_can_not_be_driven_has_no_lease(
    ledger: Ledger, make_entry: Make, now: datetime, state: State
) -> None:
    """An entry that leaves the open states is nobody's."""
    await ledger.add(make_entry(), owner="a", lease=1000, now=now)
    moved = await ledger.move("intent-1", State.SENDING, state, event="x", at=now, owner="a")
    assert (moved.owner, moved.lease_until) == (None, None)
    assert await ledger.renew("a", lease=1) == ()


async def test_the_ledgers_own_clock_drives_leases(ledger: Ledger, make_entry: Make) -> None:
    """Without an instant from the caller the store's clock counts."""
    before = datetime.now(UTC)
    await ledger.add(make_entry(), owner="a", lease=1000)
    assert await ledger.claim("b", lease=1000) == ()
    assert await ledger.renew("a", lease=2000) == ("intent-1",)
    found = await ledger.get("intent-1")
    assert found is not None
    assert found.lease_until is not None
    # The server of the tests is this machine or one with a usable clock.
    assert 1900 < (found.lease_until - before).total_seconds() < 2100


async def test_two_claimers_never_get_the_same(ledger: Ledger, make_entry: Make) -> None:
    """Claims at the same time share the entries out."""
    for number in range(40):
        await ledger.add(make_entry(f"{number}"))
    shares = await asyncio.gather(
        *(ledger.claim(f"owner-{n}", lease=60, limit=15) for n in range(4))
    )
    ids = [entry.intent_id for share in shares for entry in share]
    assert len(ids) == len(set(ids)) == 40


@pytest.mark.parametrize("wrong", [{"owner": "a"}, {"lease": 5.0}])
async def test_owner_and_lease_go_together(
    ledger: Ledger, make_entry: Make, wrong: dict[str, Any]
) -> None:
    """A lease without an owner, or an owner without a lease, is a programming error."""
    with pytest.raises(TypeError, match="go together"):
        await ledger.add(make_entry(), **wrong)
    with pytest.raises(ValueError, match="above 0"):
        await ledger.claim("a", lease=0)
    assert await ledger.get("intent-1") is None


# Retention ---------------------------------------------------------------------------------------


async def test_a_purge_forgets_what_ended_long_ago(
    ledger: Ledger, make_entry: Make, now: datetime
) -> None:
    """Ended and older goes, with its history; open, unknown or younger stays; the sum stays."""
    for state in State:
        await ledger.add(make_entry(f"old-{state}", state=state, cost=Decimal("0.40")))
        await ledger.add(
            make_entry(f"new-{state}", state=state, updated_at=now + timedelta(days=2))
        )
    sum_before = await ledger.committed()
    assert await ledger.purge(now + timedelta(days=1)) == len(TERMINAL)
    assert await ledger.purge(now + timedelta(days=1)) == 0
    for state in State:
        is_there = await ledger.get(f"old-{state}") is not None
        assert is_there == (state not in TERMINAL)
        assert bool(await ledger.history(f"old-{state}")) == is_there
        assert await ledger.get(f"new-{state}") is not None
    assert await ledger.committed() == sum_before
    await ledger.purge(now + timedelta(days=3))
    assert await ledger.committed() == sum_before


async def test_a_repr_shows_nothing_secret(ledger: Ledger, make_entry: Make) -> None:
    """Neither numbers nor messages are in the repr of a ledger or of its entries."""
    sms = Sms(code="847291", full_text="Your code: 847291")
    await ledger.add(make_entry(phone_number="+14155550123", sms=sms))
    text = repr(ledger) + repr(await ledger.entries())
    assert "847291" not in text
    assert "4155550123" not in text
