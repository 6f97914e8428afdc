"""Faults: their notation, when they strike, and what the client and the account see of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async.sandbox import (
    ChargeKind,
    Delivery,
    Effect,
    Fault,
    FaultKind,
    FaultRoute,
    FaultSet,
    Trigger,
    parse_faults,
)

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "purchase:drop_after@0.05",
            Fault(FaultRoute.PURCHASE, Effect(FaultKind.DROP_AFTER, executed=True), Trigger(0.05)),
        ),
        (
            "status:server_error#3",
            Fault(
                FaultRoute.STATUS,
                Effect(FaultKind.SERVER_ERROR, False, 500, "json"),
                Trigger(1.0, 3, 3),
            ),
        ),
        (
            "finish:server_error=503/html/after#1-2",
            Fault(
                FaultRoute.FINISH,
                Effect(FaultKind.SERVER_ERROR, True, 503, "html"),
                Trigger(1.0, 1, 2),
            ),
        ),
        (
            "ANY:rate_limited=30/date#5-",
            Fault(
                FaultRoute.ANY,
                Effect(FaultKind.RATE_LIMITED, retry_after=30, as_date=True),
                Trigger(first=5),
            ),
        ),
        ("connect:refuse", Fault(FaultRoute.CONNECT, Effect(FaultKind.REFUSE))),
        (
            "countries:slow=0.5",
            Fault(FaultRoute.COUNTRIES, Effect(FaultKind.SLOW, executed=True, delay=0.5)),
        ),
    ],
)
def test_notation(text: str, fault: Fault) -> None:
    """A fault is read from its notation and remembers it."""
    read = Fault.parse(text)
    assert attrs.evolve(read, text="") == fault
    assert str(read) == text.lower()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "purchase",
        "purchase:",
        "buy:hang",
        "any:explode",
        "any:hang@2",
        "any:hang@x",
        "any:hang#0",
        "any:hang#3-2",
        "any:hang=5",
        "any:server_error=200",
        "any:slow=x",
        "any:redirect=304",
        "connect:hang",
        "any:rate_limited=date",
        "any:hang@0.5#3",
        "any:malformed=json",
    ],
)
def test_a_wrong_notation_is_a_clear_error(text: str) -> None:
    """What is no fault is a ValueError that names it."""
    with pytest.raises(ValueError, match="not a fault"):
        Fault.parse(text)


@given(st.text(alphabet="anypurchs:=@#-/0123456789.hg", max_size=25))
def test_any_text_is_a_fault_or_a_value_error(text: str) -> None:
    """No text brings anything but a fault or a ValueError."""
    try:
        Fault.parse(text)
    except ValueError:
        return
    assert ":" in text


def test_several_faults_are_read_from_one_text() -> None:
    """Commas and blanks separate faults."""
    faults = parse_faults("any:hang#1, status:slow=1\npurchase:refuse@0.1")
    assert [fault.route.value for fault in faults] == ["any", "status", "purchase"]


@given(first=st.integers(1, 9), length=st.integers(0, 9), seed=st.integers(0, 9))
def test_by_number_it_strikes_these_calls_alone(first: int, length: int, seed: int) -> None:
    """A fault with a range of calls strikes these calls of its route and no others."""
    faults = FaultSet([Fault.parse(f"status:hang#{first}-{first + length}")], seed=seed)
    struck = []
    for call in range(1, 25):
        assert faults.strike(FaultRoute.PURCHASE) == (None, 0.0)
        if faults.strike(FaultRoute.STATUS)[0] is not None:
            struck.append(call)
    assert struck == list(range(first, first + length + 1))


def test_by_probability_it_strikes_that_share_repeatably() -> None:
    """A probability is a share of calls, and equal seeds strike equally."""

    def struck(seed: int) -> list[bool]:
        faults = FaultSet(parse_faults("any:hang@0.2"), seed=seed)
        return [faults.strike(FaultRoute.STATUS)[0] is not None for _ in range(5000)]

    assert sum(struck(1)) / 5000 == pytest.approx(0.2, abs=0.02)
    assert struck(1) == struck(1)
    assert struck(1) != struck(2)


def test_slow_adds_to_other_faults() -> None:
    """Delays add up, and of other faults the first that strikes counts."""
    faults = FaultSet(parse_faults("any:slow=1,status:hang,any:drop_before,status:slow=2"))
    effect, late = faults.strike(FaultRoute.STATUS)
    assert effect is not None
    assert (effect.kind, late) == (FaultKind.HANG, 3.0)


# fault, delivery, status, whether a purchase was charged
OUTCOMES: list[tuple[str, Delivery, int, bool]] = [
    ("refuse", Delivery.REFUSE, 0, False),
    ("rate_limited", Delivery.ANSWER, 429, False),
    ("server_error", Delivery.ANSWER, 500, False),
    ("server_error=502/after", Delivery.ANSWER, 502, True),
    ("hang", Delivery.HANG, 0, False),
    ("hang=after", Delivery.HANG, 0, True),
    ("drop_before", Delivery.DROP, 0, False),
    ("drop_after", Delivery.DROP, 0, True),
    ("truncated", Delivery.TRUNCATE, 200, True),
    ("malformed", Delivery.ANSWER, 200, True),
    ("slow", Delivery.ANSWER, 200, True),
    ("redirect", Delivery.ANSWER, 307, False),
]


def test_every_kind_has_an_outcome() -> None:
    """No kind of fault is left untested."""
    assert {Effect.parse(row[0]).kind for row in OUTCOMES} == set(FaultKind)


@pytest.mark.parametrize(("kind", "delivery", "status", "charged"), OUTCOMES)
def test_outcome_of_a_purchase(
    make: Make, kind: str, delivery: Delivery, status: int, charged: bool
) -> None:
    """Each fault travels as it should and charges if and only if it executes."""
    caller = make(faults=f"purchase:{kind}#1")
    reply = caller.purchase()
    assert reply.delivery is delivery
    assert len(caller.engine.charge_log) == int(charged)
    logged = caller.engine.request_log[-1]
    assert (logged.status, logged.delivery) == (status, delivery)
    assert logged.counted == (delivery is not Delivery.REFUSE)
    assert caller.engine.busiest_window(60) == int(logged.counted)
    caller.buy()


@pytest.mark.parametrize(("kind", "delivery", "status", "executed"), OUTCOMES)
def test_outcome_of_a_finish(
    make: Make, kind: str, delivery: Delivery, status: int, executed: bool
) -> None:
    """A faulty finish ends the activation if and only if it executes."""
    caller = make(faults=f"finish:{kind}#1", sms_delay="never")
    activation_id = caller.buy()
    assert caller.finish(activation_id, "cancelled").delivery is delivery
    assert caller.engine.finish_counts() == {activation_id: int(executed)}
    refunds = [c for c in caller.engine.charge_log if c.kind is ChargeKind.REFUND]
    assert len(refunds) == int(executed)


@pytest.mark.parametrize("route", ["purchase", "status", "finish", "countries", "any"])
def test_a_fault_strikes_its_route_alone(make: Make, route: str) -> None:
    """A fault on one route leaves the others alone; on ``any`` it strikes all."""
    caller = make(sms_delay="never")
    activation_id = caller.buy()
    caller.engine.set_faults(FaultSet(parse_faults(f"{route}:server_error")))
    struck = {
        "purchase": caller.purchase().status == 500,
        "status": caller.status(activation_id).status == 500,
        "countries": caller.countries().status == 500,
        "finish": caller.finish(activation_id, "cancelled").status == 500,
    }
    assert struck == {name: route in {name, "any"} for name in struck}


def test_connect_faults_are_not_for_requests(make: Make) -> None:
    """A fault on connections neither strikes nor counts requests."""
    caller = make(faults="connect:refuse#2")
    assert caller.countries().delivery is Delivery.ANSWER
    assert [caller.engine.refuses_connection() for _ in range(3)] == [False, True, False]


@pytest.mark.parametrize(
    ("value", "expected"), [("", None), ("=none", None), ("=30", "30"), ("=0", "0")]
)
def test_retry_after(make: Make, value: str, expected: str | None) -> None:
    """A provoked 429 carries the Retry-After it was given, or none."""
    reply = make(faults=f"any:rate_limited{value}").countries()
    assert reply.status == 429
    assert reply.headers.get("Retry-After") == expected


def test_retry_after_as_date(make: Make) -> None:
    """Retry-After as a date is relative to the engine's clock."""
    caller = make(faults="any:rate_limited=90/date")
    header = caller.countries().headers["Retry-After"]
    assert parsedate_to_datetime(header).timestamp() == caller.now + 90


@pytest.mark.parametrize(
    ("style", "content_type", "empty"),
    [("json", "application/json", False), ("html", "text/html", False), ("empty", None, True)],
)
def test_bodies_of_server_errors(
    make: Make, style: str, content_type: str | None, empty: bool
) -> None:
    """A 5xx comes with JSON, HTML or nothing."""
    reply = make(faults=f"any:server_error=503/{style}").countries()
    assert reply.status == 503
    assert (reply.body == b"") == empty
    assert (reply.headers.get("Content-Type") or "").startswith(content_type or "")


@pytest.mark.parametrize("style", ["cut", "html", "empty", "null", "list", "deep", "huge"])
def test_malformed_answers(make: Make, style: str) -> None:
    """A malformed answer is a 200 without the documented data."""
    reply = make(faults=f"any:malformed={style}").purchase()
    assert reply.status == 200
    try:
        decoded = json.loads(reply.body)
    except (ValueError, RecursionError):
        return
    assert style in {"null", "list", "huge"}
    assert not isinstance(decoded, dict) or not isinstance(decoded["data"], dict)


def test_truncated_answers_promise_more(make: Make) -> None:
    """A truncated answer's Content-Length is the whole body's."""
    reply = make(faults="any:truncated").countries()
    assert int(reply.headers["Content-Length"]) > len(reply.body) > 0


def test_the_limit_comes_before_faults(make: Make) -> None:
    """A request over the limit gets its 429 whatever fault is set, and is not executed."""
    caller = make(limit="1/60s", faults="any:malformed")
    assert caller.countries().status == 200
    reply = caller.purchase()
    assert (reply.status, caller.engine.charge_log) == (429, [])
