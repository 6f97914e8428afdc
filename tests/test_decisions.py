"""A decision as a value: the law summed up, and one line for people."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async import VerificationRequest
from papsms_async.decisions import Contender, Decision, DecisionKind, LawSummary
from papsms_async.delays import DelayLaw
from papsms_async.learning import DelayModel

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def decision(**fields):
    """Return a decision about a poll; any field can be given."""
    return Decision(
        **{
            "kind": DecisionKind.POLL,
            "at": NOW,
            "request": VerificationRequest("whatsapp", "us", reference="user-1"),
            "country": "gb",
            "waited": 0.5,
            "price": 4.0,
            "index": 6.25,
            "delay_cost": 0.3125,
            "age": 21.5,
            "last_look": 9.0,
            "due": 21.0,
            "timeout": 120.0,
            "law": LawSummary(median=11.8, never=0.081, evidence=143.2, source=("whatsapp", "gb")),
            "purchases": 40,
            "polls": 2,
            "finishes": 1,
            "runner_up": Contender("finish", 3.1),
        }
        | fields
    )


def test_poll_is_one_line():
    """What it was expected to save, at which price, when, by which law, before whom."""
    assert str(decision()) == (
        "poll     whatsapp/gb user-1: saves 6.2 s (waiting costs 0.31 s a second), price 4 s;"
        " age 21.5 s, last look 9.0 s, due 21.0 s; law: median 11.8 s, 8 % never,"
        " 143 seen of whatsapp/gb;"
        " in line: purchases 40, polls 2, finishes 1; next: finish (waits 3.1 s)"
    )


def test_first_and_last_look_are_told():
    """Nothing before the first; the last one is at the timeout."""
    text = str(decision(last_look=0.0, due=120.0, age=120.0, delay_cost=math.inf))
    assert "not looked yet, due 120.0 s (the last look);" in text
    assert "saves 6.2 s, price 4 s;" in text


def test_purchase_and_finish_are_one_line():
    """They have no index; a finish has no law."""
    purchase = decision(
        kind=DecisionKind.PURCHASE,
        index=None,
        price_reason="line",
        runner_up=None,
        law=LawSummary(median=15.0, never=0.1, evidence=0.0, source=None),
    )
    assert str(purchase) == (
        "purchase whatsapp/gb user-1: waited 0.5 s, price 4 s (line); law: median 15.0 s,"
        " 10 % never, nothing seen yet; in line: purchases 40, polls 2, finishes 1; next: nobody"
    )
    finish = decision(
        kind=DecisionKind.FINISH, index=None, law=None, runner_up=Contender("purchase")
    )
    assert str(finish) == (
        "finish   whatsapp/gb user-1: waited 0.5 s, price 4 s;"
        " in line: purchases 40, polls 2, finishes 1; next: purchase"
    )
    assert "9 seen of all services" in str(LawSummary(median=1, never=0, evidence=9, source=()))


@given(median=st.floats(1.0, 40.0), sigma=st.floats(0.2, 1.0), never=st.floats(0.0, 0.5))
def test_law_is_summed_up_by_what_comes_in_time(median, sigma, never):
    """Half of those that come within the timeout come within the median."""
    law = DelayLaw.lognormal(median, sigma, never)
    summary = LawSummary.of(law, timeout=120.0, evidence=3.0, source=())
    assert summary.never == law.survival(120.0)
    come = 1.0 - summary.never
    assert law.survival(summary.median) == pytest.approx(1.0 - come / 2, abs=0.01)
    assert summary.median <= 1.2 * median


def test_model_tells_what_a_law_rests_on():
    """The most specific that enough was seen of; before anything was seen, nothing."""
    model = DelayModel()
    assert model.grounds("whatsapp", "us") == (None, 0.0)
    model.observe("telegram", "de", age=5.0, arrived=True, at=0.0)
    assert model.grounds("whatsapp", "us") == ((), pytest.approx(1.0))
    for _ in range(300):
        model.observe("whatsapp", "gb", age=5.0, arrived=True, at=0.0)
    assert model.grounds("whatsapp", "us")[0] == ("whatsapp",)
    assert model.grounds("signal", "us")[0] == ()
    key, weight = model.grounds("whatsapp", "gb")
    assert key == ("whatsapp", "gb")
    assert 100 < weight < 300
