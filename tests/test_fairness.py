"""Fair queueing: shares by weight, first come first served within a tenant, and nobody starves."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from papsms_async import fairness
from papsms_async.fairness import BULK_TURN, FairQueue, Line
from papsms_async.verification import Priority

TENANTS = (None, "a", "b", "c")
weights = st.fixed_dictionaries({tenant: st.floats(0.05, 20.0) for tenant in TENANTS})
# What comes between two purchases: some requests of some tenants, and some that are withdrawn.
steps = st.lists(
    st.tuples(
        st.lists(st.sampled_from(TENANTS), max_size=4), st.lists(st.integers(0, 99), max_size=2)
    ),
    max_size=60,
)


def history(shares, steps):
    """Play the steps; return, for each purchase, whose it was and who waited right before it.

    Who waits is ``None`` where nobody did since the last one, because no span goes on over that.
    """
    queue, waiting, numbers = FairQueue(), [], itertools.count()
    told = []
    for arrivals, departures in steps:
        for tenant in arrivals:
            item = (tenant, next(numbers))
            waiting.append(item)
            queue.add(item, tenant, shares[tenant])
        for which in departures:
            if waiting:
                item = waiting.pop(which % len(waiting))
                queue.remove(item, item[0])
        assert len(queue) == len(waiting)
        assert sorted(queue, key=str) == sorted(waiting, key=str)
        if not waiting:
            told.append((None, frozenset()))
            continue
        head = queue.head()
        item = queue.take()
        assert item == head
        assert item == min(other for other in waiting if other[0] == item[0])
        told.append((item, frozenset(tenant for tenant, _ in waiting)))
        waiting.remove(item)
        if not waiting:
            told.append((None, frozenset()))
    return told


@settings(max_examples=300)
@given(shares=weights, steps=steps)
def test_shares_of_any_two_who_wait_differ_by_one_request_of_each(shares, steps):
    """Over any span in which two tenants wait, purchases by weight differ by one each at most.

    Whatever comes and goes meanwhile; and within each tenant it is first come, first served.
    """
    told = history(shares, steps)
    for one, other in itertools.combinations(TENANTS, 2):
        bound = 1 / shares[one] + 1 / shares[other]
        lead, low, high = 0.0, 0.0, 0.0
        for item, waited in told:
            if not {one, other} <= waited:
                lead = low = high = 0.0
                continue
            lead += (item[0] == one) / shares[one] - (item[0] == other) / shares[other]
            low, high = min(low, lead), max(high, lead)
            assert high - low <= bound * (1 + 1e-9)


@settings(max_examples=100)
@given(shares=weights, count=st.integers(1, 200))
def test_share_of_each_is_within_one_request_a_tenant(shares, count):
    """While all wait, each has its weighted share of the purchases, give or take one a tenant."""
    queue = FairQueue()
    for number in range(count):
        for tenant in TENANTS:
            queue.add((tenant, number), tenant, shares[tenant])
    total = sum(shares.values())
    taken = Counter()
    for number in range(1, count + 1):
        taken[queue.take()[0]] += 1
        for tenant in TENANTS:
            share = number * shares[tenant] / total
            assert abs(taken[tenant] - share) <= 1 + len(TENANTS) * shares[tenant] / total


@given(shares=weights, backlog=st.integers(1, 50), rounds=st.integers(0, 50))
def test_newcomer_goes_beside_the_others_and_not_before_them(shares, backlog, rounds):
    """Who was away has saved nothing up: from then on both take turns by weight."""
    queue = FairQueue()
    for number in range(backlog + rounds + 100):
        queue.add(("a", number), "a", shares["a"])
    for _ in range(rounds):
        queue.take()
    for number in range(100):
        queue.add(("b", number), "b", shares["b"])
    taken = Counter()
    while taken["a"] < backlog and taken["b"] < 100:
        taken[queue.take()[0]] += 1
        lead = taken["a"] / shares["a"] - taken["b"] / shares["b"]
        assert abs(lead) <= (1 / shares["a"] + 1 / shares["b"]) * (1 + 1e-9)


def test_equal_tenants_take_turns():
    """With equal weights it is one of each in turn, the one who waited longer first."""
    queue = FairQueue()
    for tenant in "aab":
        for number in range(3):
            queue.add((tenant, number, object()), tenant)
    assert [queue.take()[0] for _ in range(9)] == ["a", "b", "a", "b", "a", "b", "a", "a", "a"]
    with pytest.raises(LookupError):
        queue.take()
    with pytest.raises(LookupError):
        queue.head()


def test_extra_purchases_are_paid_for():
    """Who took a permit beside the queue has that much less of it; with nobody there it is free."""
    queue = FairQueue()
    queue.charge("a")
    for number in range(6):
        queue.add(("a", number), "a")
        queue.add(("b", number), "b")
    queue.charge("a")
    queue.charge("a")
    queue.charge("c", 0.5)
    queue.add(("c", 0), "c", 0.5)
    assert [queue.take()[0] for _ in range(6)] == ["b", "b", "a", "c", "b", "a"]


def test_weights_that_change_count_from_then_on():
    """A tenant's newest weight is the one that counts."""
    queue = FairQueue()
    for number in range(40):
        queue.add(("a", number), "a", 1.0)
        queue.add(("b", number), "b", 1.0)
    assert Counter(queue.take()[0] for _ in range(20)) == {"a": 10, "b": 10}
    queue.add(("a", 99), "a", 3.0)
    taken = Counter(queue.take()[0] for _ in range(20))
    assert taken["a"] == pytest.approx(15, abs=1)


def test_withdrawn_requests_and_past_tenants_leave_nothing(monkeypatch):
    """However many come and go, only those are remembered who wait or had their share just now."""
    monkeypatch.setattr(fairness, "_MOST_IDLE", 100)
    queue = FairQueue()
    queue.add("there", "there")
    for number in range(10_000):
        queue.add(number, f"t{number}")
        queue.remove(number, f"t{number}")
    assert (len(queue), queue.tenants) == (1, 1)
    assert len(queue._heap) < 200
    for number in range(10_000):
        queue.add(number, f"t{number}")
        queue.take()
    assert len(queue) == 1
    assert queue.tenants <= len(queue._idle) + 1 <= 101
    for number in range(10_000):
        queue.add(number, number % 3)
        queue.take()
    assert queue.tenants <= len(queue._idle) + 1 <= 5
    queue.take()
    assert (queue.tenants, queue._heap, queue._idle) == (0, [], [])


def test_line_gives_bulk_its_turn():
    """Interactive goes first; while both wait every tenth is bulk's, so neither starves."""
    line = Line()
    for number in range(50):
        line.of(Priority.BULK).add(("bulk", number), None)
        line.of(Priority.INTERACTIVE).add(("interactive", number), None)
    taken = [line.take(line.next())[0] for _ in range(100)]
    first = taken[:BULK_TURN]
    assert first == ["interactive"] * (BULK_TURN - 1) + ["bulk"]
    assert taken[: 5 * BULK_TURN] == first * 5
    assert len(line) == 0
    assert line.next() is None


def test_line_does_not_hold_what_can_not_go():
    """Where bulk can't go, interactive does; bulk that waits alone is not made to wait."""
    line = Line()
    line.of(Priority.BULK).add("bulk", None)
    assert line.next(bulk=False) is None
    assert line.next() is Priority.BULK
    for number in range(30):
        line.of(Priority.INTERACTIVE).add(number, None)
        assert line.next(bulk=False) is Priority.INTERACTIVE
        line.take(Priority.INTERACTIVE)
    line.of(Priority.INTERACTIVE).add("one", None)
    assert line.next() is Priority.BULK


class EndlessCallers(RuleBasedStateMachine):
    """Interactive callers and tenants without end, against one bulk request that waits."""

    def __init__(self):
        super().__init__()
        self.line = Line()
        self.numbers = itertools.count()
        self.ahead = 0
        self.waited = 0
        self.line.of(Priority.BULK).add("patient", "patient")

    @rule(count=st.integers(1, 30), tenant=st.sampled_from(TENANTS), interactive=st.booleans())
    def arrive(self, count, tenant, interactive):
        """Others come."""
        priority = Priority.INTERACTIVE if interactive else Priority.BULK
        for _ in range(count):
            self.line.of(priority).add(next(self.numbers), tenant)

    @precondition(lambda self: len(self.line))
    @rule(count=st.integers(1, 30))
    def buy(self, count):
        """Permits come."""
        for _ in range(count):
            priority = self.line.next()
            if priority is None:
                return
            if self.line.take(priority) == "patient":
                self.line.of(Priority.BULK).add("patient", "patient")
                self.waited = 0
            else:
                self.waited += 1

    @invariant()
    def waits_for_a_bounded_number(self):
        """At most nine interactive callers, and one bulk request of each tenant, go before it."""
        assert self.waited <= BULK_TURN * (len(TENANTS) + 1)


EndlessCallers.TestCase.settings = settings(max_examples=30, stateful_step_count=20)
TestEndlessCallers = EndlessCallers.TestCase
