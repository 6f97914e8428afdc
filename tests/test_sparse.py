"""The plan of the safety net: as good as any, and as sparse as webhooks allow."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papsms_async.delays import COLD_START, DelayLaw
from papsms_async.sparse import DOUBT, NET_PRICE, SparsePlan, sparse_plan

USUAL = DelayLaw.lognormal(12, 0.8, 0.08)


def ages(plan: SparsePlan) -> list[float]:
    """Return the ages of all polls of an activation that stays silent."""
    found, last = [], 0.0
    while last < plan.timeout:
        last = plan.next_look(last)
        found.append(last)
    return found


def cost(plan: SparsePlan, polls: tuple[float, ...]) -> float:
    """Return what polls at these ages cost on average, step by step and without the program."""
    step = plan.timeout / 150
    total, last = 0.0, 0.0

    def survival(age: float) -> float:
        return DOUBT + (1 - DOUBT) * plan.law.survival(age)

    for poll in polls:
        # It is made by those that had no SMS at the last poll and were not announced since.
        lost = plan.loss * (survival(last) - survival(poll))
        total += plan.price * (survival(poll) + lost)
        count = max(1, round((poll - last) / step))
        for k in range(count):
            middle = last + (k + 0.5) * (poll - last) / count
            total += plan.loss * (survival(last) - survival(middle)) * (poll - last) / count
        last = poll
    return total


@pytest.mark.parametrize("loss", [0.05, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("timeout", [60.0, 300.0])
def test_no_other_ages_are_better(loss: float, timeout: float) -> None:
    """Against every choice of up to three polls on a grid of its own."""
    plan = sparse_plan(USUAL, timeout=timeout, loss=loss)
    mine = cost(plan, tuple(ages(plan)))
    grid = [timeout * k / 12 for k in range(1, 12)]
    others = [
        cost(plan, (*some, timeout))
        for number in range(4)
        for some in itertools.combinations(grid, number)
    ]
    assert mine <= 1.01 * min(others)


@pytest.mark.parametrize("law", [USUAL, COLD_START])
@pytest.mark.parametrize("timeout", [3.0, 30.0, 60.0, 120.0])
def test_usual_loss_leaves_only_the_last_poll(law: DelayLaw, timeout: float) -> None:
    """With one webhook in twenty lost, a verification takes hardly more than two requests."""
    assert ages(sparse_plan(law, timeout=timeout, loss=0.05)) == [timeout]


def test_the_more_is_lost_the_more_it_looks() -> None:
    """And long waits are looked at before their end."""
    counts = [len(ages(sparse_plan(USUAL, timeout=120, loss=loss))) for loss in (0.02, 0.2, 0.9)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
    first, *_, last = ages(sparse_plan(USUAL, timeout=1200, loss=0.05))
    assert first < 120
    assert last == 1200


@settings(max_examples=50)
@given(
    last=st.floats(0, 500),
    timeout=st.floats(0.5, 400),
    loss=st.floats(0, 1),
    median=st.floats(0.1, 200),
)
def test_each_look_is_a_decent_gap_later(
    last: float, timeout: float, loss: float, median: float
) -> None:
    """Whatever was looked at before, it never asks twice for the same."""
    plan = sparse_plan(DelayLaw.lognormal(median, 1.0, 0.1), timeout=timeout, loss=loss)
    due = plan.next_look(last)
    assert due <= timeout
    assert due == timeout or due >= last + min(2.0, timeout / 60)


def test_law_that_knows_of_none_that_never_come_is_doubted() -> None:
    """Of many that began together those without an SMS are learned last."""
    sure = DelayLaw.lognormal(12, 0.8, 0.0)
    assert ages(sparse_plan(sure, timeout=120, loss=0.05)) == [120]
    assert ages(sparse_plan(sure, timeout=120, loss=0.05, price=NET_PRICE / 30))[0] < 60
