"""SMS that are sent by hand, later or not at all, and numbers that the service ends by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async.sandbox import (
    ActivationState,
    SandboxConfig,
    SandboxControl,
    SandboxEngine,
    SandboxRequest,
)

Make = Callable[..., Any]
Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def caller(make: Make) -> Any:
    """Return a caller to an engine whose SMS arrive after a minute."""
    return make(sms_delay="fixed:60")


def text_of(caller: Any, activation_id: str) -> str | None:
    """Return the text that the service tells now, ``None`` while there is no SMS."""
    sms = caller.data(caller.status(activation_id))["sms"]
    return None if sms is None else sms["full_text"]


def test_a_delayed_sms_replaces_the_one_on_its_way(caller: Any, ask: Ask) -> None:
    """It arrives when it should, to the second, and the purchase's own never does."""
    bought = caller.buy()
    status, row = ask("POST", "deliver", {"activation_id": bought, "text": "mine", "delay": 5})
    assert (status, row["state"], row["sms_at"]) == (200, "waiting", None)
    assert [(sms["text"], sms["arrived"]) for sms in row["messages"]] == [("mine", False)]
    caller.now += 4.9
    assert text_of(caller, bought) is None
    caller.now += 0.2
    sms = caller.data(caller.status(bought))["sms"]
    assert (sms["full_text"], sms["code"]) == ("mine", None)
    caller.now += 100
    assert text_of(caller, bought) == "mine"


def test_one_that_arrived_stands_until_the_next_does(caller: Any, ask: Ask) -> None:
    """A later SMS replaces an earlier one on its arrival, and both are told to who looks."""
    bought = caller.buy()
    ask("POST", "deliver", {"activation_id": bought, "text": "first"})
    ask("POST", "deliver", {"activation_id": bought, "text": "third", "delay": 20})
    ask("POST", "deliver", {"activation_id": bought, "text": "second", "delay": 10})
    told = []
    for _ in range(3):
        told.append(text_of(caller, bought))
        caller.now += 10
    assert told == ["first", "second", "third"]
    (row,) = ask("GET", "activations")[1]["activations"]
    assert [sms["text"] for sms in row["messages"]] == ["first", "second", "third"]
    assert row["sms_text"] == "third"


def test_a_dropped_sms_never_comes(caller: Any, ask: Ask) -> None:
    """Neither the purchase's own nor one sent by hand; a new one still can."""
    bought = caller.buy()
    ask("POST", "deliver", {"activation_id": bought, "delay": 30})
    number = caller.engine.activations[bought].phone_number
    status, row = ask("POST", "drop", {"phone_number": number})
    assert (status, row["messages"]) == (200, [])
    assert ask("POST", "drop", {"phone_number": number})[0] == 409
    caller.now += 600
    assert text_of(caller, bought) is None
    ask("POST", "deliver", {"activation_id": bought, "text": "now"})
    assert text_of(caller, bought) == "now"


def test_a_drop_leaves_what_has_arrived(caller: Any, ask: Ask) -> None:
    """Only what is on its way is dropped."""
    bought = caller.buy()
    caller.now += 60
    ask("POST", "deliver", {"activation_id": bought, "text": "late", "delay": 10})
    own = caller.engine.activations[bought].sms_text
    assert ask("POST", "drop", {"activation_id": bought})[0] == 200
    caller.now += 60
    assert text_of(caller, bought) == own


@pytest.mark.parametrize("delay", [1140, 1141, 86_400])
def test_nothing_arrives_after_expiry(caller: Any, ask: Ask, delay: float) -> None:
    """An SMS that would come when the number has expired is refused at once."""
    bought = caller.buy()
    caller.now += 60
    assert ask("POST", "deliver", {"activation_id": bought, "delay": delay})[0] == 404
    assert ask("POST", "deliver", {"activation_id": bought, "delay": 1139.5})[0] == 200


def test_nothing_arrives_after_the_end(caller: Any, ask: Ask) -> None:
    """What is on its way to a number that is finished before does not count."""
    bought = caller.buy()
    ask("POST", "deliver", {"activation_id": bought, "delay": 10})
    caller.finish(bought, "cancelled")
    assert ask("POST", "drop", {"activation_id": bought})[0] == 409
    caller.now += 20
    (row,) = ask("GET", "activations")[1]["activations"]
    assert (row["state"], row["messages"]) == ("cancelled", [])
    assert caller.data(caller.status(bought)) == {"status": "cancelled", "sms": None}


def test_one_that_came_too_late_is_not_shown_as_arrived(caller: Any, ask: Ask) -> None:
    """The purchase's own SMS, due after the number was finished, has not arrived."""
    caller.finish(caller.buy(), "cancelled")
    caller.now += 100
    (row,) = ask("GET", "activations")[1]["activations"]
    assert [sms["arrived"] for sms in row["messages"]] == [False]


@pytest.mark.parametrize("state", ["cancelled", "expired"])
def test_the_service_ends_a_number(caller: Any, ask: Ask, state: str) -> None:
    """A waiting number is ended and refunded once; its number is free again."""
    balance = caller.engine.balance
    bought = caller.buy()
    number = caller.engine.activations[bought].phone_number
    assert ask("POST", "end", {"phone_number": number, "state": state})[1]["state"] == state
    assert caller.engine.balance == balance
    assert caller.data(caller.status(bought)) == {"status": state, "sms": None}
    assert caller.error(caller.finish(bought, "completed"))[0] == 409
    assert ask("POST", "end", {"activation_id": bought, "state": state})[0] == 409
    assert ask("POST", "end", {"phone_number": number, "state": state})[0] == 404
    caller.now += 2000
    caller.engine.advance(caller.now)
    assert caller.engine.balance == balance


def test_a_number_with_its_sms_is_not_ended(caller: Any, ask: Ask) -> None:
    """It was paid for: only its owner finishes it."""
    bought = caller.buy("test-instant")
    status, error = ask("POST", "end", {"activation_id": bought, "state": "expired"})
    assert status == 409
    assert "received" in error["error"]
    assert not caller.engine.end(
        caller.now, caller.engine.activations[bought], ActivationState.CANCELLED
    )


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("deliver", {"activation_id": "1", "delay": -1}, 400),
        ("deliver", {"activation_id": "1", "delay": 86_401}, 400),
        ("deliver", {"activation_id": "1", "delay": "soon"}, 400),
        ("deliver", {"activation_id": "1", "delay": True}, 400),
        ("drop", {}, 400),
        ("drop", {"activation_id": "1", "phone_number": "2"}, 400),
        ("drop", {"activation_id": "1"}, 404),
        ("end", {"activation_id": "1"}, 400),
        ("end", {"activation_id": "1", "state": "completed"}, 400),
        ("end", {"activation_id": "1", "state": "expired"}, 404),
    ],
)
def test_wrong_calls_are_explained(ask: Ask, name: str, body: object, status: int) -> None:
    """A wrong call answers an error that says why, and NaN is no delay."""
    answered, error = ask("POST", name, body)
    assert (answered, bool(error["error"])) == (status, True)


def test_nan_is_no_delay(caller: Any) -> None:
    """JSON as Python writes it may hold NaN."""
    body = b'{"activation_id": "1", "delay": NaN}'
    reply = SandboxControl(caller.engine).handle(
        SandboxRequest("POST", "/_sandbox/deliver", {}, body), caller.now
    )
    assert reply.status == 400


# ---- faults one by one ----


def test_faults_are_added_and_removed_one_by_one(caller: Any, ask: Ask) -> None:
    """The calls that the others have counted go on counting."""
    ask("PUT", "faults", {"faults": "countries:server_error#3"})
    assert [caller.countries().status for _ in range(2)] == [200, 200]
    both = ["countries:server_error#3", "status:hang"]
    assert ask("POST", "faults", {"faults": ["status:hang"]}) == (200, {"faults": both})
    assert ask("DELETE", "faults", {"faults": ["status:hang"]}) == (200, {"faults": both[:1]})
    assert ask("DELETE", "faults", {"faults": ["status:hang"]})[0] == 404
    assert [caller.countries().status for _ in range(2)] == [500, 200]
    ((_, calls, struck),) = caller.engine.faults.counts()
    assert (calls, struck) == (4, 1)


# ---- against a plain model ----


@attrs.frozen
class Sent:
    """An SMS of the model."""

    at: float
    number: int
    text: str


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([0.0, 1.0, 3.0, 10.0])),
        st.tuples(st.just("deliver"), st.sampled_from([0.0, 1.0, 2.0, 7.0, 40.0])),
        st.tuples(st.just("drop"), st.just(0.0)),
    ),
    max_size=14,
)


@given(STEPS, st.sampled_from(["never", "fixed:5", "fixed:30"]))
def test_what_is_told_is_the_latest_that_arrived(steps: Any, law: str) -> None:
    """Whatever is sent, delayed and dropped when, the status tells the latest SMS there is."""
    engine = SandboxEngine(SandboxConfig(limit="none", sms_delay=law, lifetime=60))
    auth = {"Authorization": "Bearer sandbox"}
    start = now = 1_776_607_200.0

    def call(method: str, path: str, body: bytes = b"") -> Any:
        request = SandboxRequest(method, f"/api/v1/{path}", auth, body)
        return json.loads(engine.handle(request, now).body)["data"]

    bought = call("POST", "numbers/purchase", b'{"country": "us", "service": "x"}')
    activation = engine.activations[bought["activation_id"]]
    sent: list[Sent] = []
    own = activation.sms_at
    if own is not None:
        sent.append(Sent(own, -1, activation.sms_text))
    for number, (step, seconds) in enumerate(steps):
        arrived = [sms for sms in sent if sms.at <= now]
        if step == "wait":
            now += seconds
        elif step == "drop":
            gone = len(sent) - len(arrived)
            sent = arrived
            # Both agree on how many there were, as long as the number lives.
            assert engine.drop(now, activation) == (gone if now < start + 60 or arrived else 0)
        else:
            text = f"text {number}"
            received = engine.deliver(
                now, activation_id=bought["activation_id"], text=text, delay=seconds
            )
            assert (received is not None) == (now + seconds < start + 60)
            if received is not None:
                if not arrived:
                    sent = [sms for sms in sent if sms.number >= 0]
                sent.append(Sent(now + seconds, number, text))
        expected = max(
            (sms for sms in sent if sms.at <= now),
            key=lambda sms: (sms.at, sms.number),
            default=None,
        )
        sms = call("GET", f"numbers/status/{bought['activation_id']}")["sms"]
        assert (sms and sms["full_text"]) == (expected and expected.text)
