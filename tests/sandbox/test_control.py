"""The control API, without a socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async.sandbox import (
    SandboxConfig,
    SandboxControl,
    SandboxEngine,
    SandboxRequest,
    control,
)

Make = Callable[..., Any]
Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def caller(make: Make) -> Any:
    """Return a caller to an engine whose SMS never arrive by themselves."""
    return make(sms_delay="never", limit="5/60s")


def test_each_documented_call_exists(ask: Ask) -> None:
    """Each row of the module's table is answered, and each endpoint is in the table."""
    documented = set()
    for line in (control.__doc__ or "").splitlines():
        if line.startswith("``"):
            method, path = line.split("``")[1].split()
            documented.add((method, path.removeprefix("/_sandbox/")))
    events = {("GET", "events")}  # which the server writes, see test_live.py
    assert documented == set(SandboxControl(SandboxEngine())._endpoints) | events


def test_control_calls_are_not_counted(caller: Any, ask: Ask) -> None:
    """Control calls need no key and leave the limit and the request log alone."""
    for _ in range(20):
        assert ask("GET", "health") == (200, {"ok": True, "requests": 0})
    assert caller.countries().status == 200
    assert len(caller.engine.request_log) == 1


def test_faults_are_set_read_and_removed(caller: Any, ask: Ask) -> None:
    """Faults can be replaced, read back and removed while the sandbox runs."""
    assert ask("PUT", "faults", {"faults": ["countries:server_error#1"], "seed": 3})[0] == 200
    assert ask("GET", "faults") == (200, {"faults": ["countries:server_error#1"]})
    assert [caller.countries().status for _ in range(2)] == [500, 200]
    assert ask("PUT", "faults", {"faults": "any:hang, status:slow=1"})[1]["faults"] == [
        "any:hang",
        "status:slow=1",
    ]
    assert ask("DELETE", "faults") == (200, {"faults": []})
    assert caller.countries().status == 200


def test_the_limit_is_replaced(caller: Any, ask: Ask) -> None:
    """A new limit takes force at once."""
    assert ask("GET", "limit")[1] == {"limit": "5/60s:sliding-log"}
    assert ask("PUT", "limit", {"limit": "1/60s:fixed-window"})[0] == 200
    assert [caller.countries().status for _ in range(2)] == [200, 429]


@pytest.mark.parametrize("by", ["activation_id", "phone_number"])
@pytest.mark.parametrize(
    ("given_fields", "code", "text"),
    [
        ({"code": "4711"}, "4711", "Your WhatsApp code: 4711"),
        ({"text": "Use 12-34"}, None, "Use 12-34"),
        ({"text": "Use 123456, not 9"}, "123456", "Use 123456, not 9"),
        ({"text": "G-1", "code": "1"}, "1", "G-1"),
    ],
)
def test_an_sms_is_delivered(
    caller: Any, ask: Ask, by: str, given_fields: dict[str, str], code: str | None, text: str
) -> None:
    """An SMS arrives at once, for an activation or for a phone number."""
    data = caller.data(caller.purchase())
    status, row = ask("POST", "deliver", {by: data[by], **given_fields})
    assert (status, row["activation_id"]) == (200, data["activation_id"])
    sms = caller.data(caller.status(data["activation_id"]))["sms"]
    assert (sms["code"], sms["full_text"]) == (code, text)


def test_an_sms_to_nobody_is_an_error(caller: Any, ask: Ask) -> None:
    """To an unknown or ended activation nothing is delivered."""
    activation_id = caller.buy()
    caller.finish(activation_id, "cancelled")
    assert ask("POST", "deliver", {"activation_id": activation_id})[0] == 404
    assert ask("POST", "deliver", {"phone_number": "+10000000000"})[0] == 404
    assert ask("POST", "deliver", {})[0] == 400


def test_time_passes_between_control_calls(caller: Any, ask: Ask) -> None:
    """A control call sees the present, though no client has asked for anything since."""
    activation_id = caller.buy()
    caller.now += 60
    assert ask("POST", "deliver", {"activation_id": activation_id})[1]["sms_at"] == caller.now
    caller.buy()
    caller.now += 1200
    rows = ask("GET", "activations")[1]["activations"]
    assert [row["state"] for row in rows] == ["received", "expired"]


def test_the_logs_can_be_read(caller: Any, ask: Ask) -> None:
    """Charges, activations, requests and counts are what the engine holds."""
    first, second = caller.buy(), caller.buy()
    caller.finish(first, "cancelled")
    charges = ask("GET", "charge-log")[1]["charges"]
    assert [(c["kind"], c["activation_id"]) for c in charges] == [
        ("purchase", first),
        ("purchase", second),
        ("cancel", first),
        ("refund", first),
    ]
    rows = ask("GET", "activations")[1]["activations"]
    assert [(row["activation_id"], row["state"], row["finishes"]) for row in rows] == [
        (first, "cancelled", 1),
        (second, "waiting", 0),
    ]
    (only,) = ask("GET", "activations?open=1")[1]["activations"]
    assert only["activation_id"] == second
    requests = ask("GET", "requests?last=2")[1]["requests"]
    assert [row["route"] for row in requests] == ["purchase", "finish"]
    stats = ask("GET", "stats?window=1")[1]
    assert stats["busiest_window"] == stats["requests"] == 3
    assert stats["charges"]["refund"] == stats["activations"]["cancelled"] == 1
    assert stats["finished_more_than_once"] == 0
    assert stats["statuses"] == {"200": 3}


def test_a_reset_begins_again(caller: Any, ask: Ask) -> None:
    """A reset clears everything and can seed anew."""
    caller.buy()
    assert ask("POST", "reset", {"seed": 7}) == (200, {"ok": True, "seed": 7})
    assert ask("POST", "reset") == (200, {"ok": True, "seed": 7})
    assert ask("POST", "reset", {"seed": 8.0}) == (200, {"ok": True, "seed": 8})
    assert ask("GET", "charge-log")[1] == {"charges": []}


def test_another_verb_is_told_which_there_are(caller: Any) -> None:
    """A control that does not take a verb says which ones it takes, as HTTP wants it."""
    api = SandboxControl(caller.engine)
    for name, verbs in (("limit", "GET, PUT, HEAD"), ("reset", "POST")):
        reply = api.handle(SandboxRequest("PATCH", f"/_sandbox/{name}"), caller.now)
        assert (reply.status, reply.headers["Allow"]) == (405, verbs)


@pytest.mark.parametrize(
    ("method", "name", "body", "status"),
    [
        ("GET", "nothing", None, 404),
        ("POST", "health", None, 405),
        ("PUT", "faults", {"faults": "any:explode"}, 400),
        ("PUT", "faults", {"faults": [1]}, 400),
        ("PUT", "faults", {"faults": [""]}, 400),
        ("PUT", "faults", {"faults": ["any:slow, any:hang"]}, 400),
        ("PUT", "faults", {}, 400),
        ("PUT", "limit", {"limit": 5}, 400),
        ("PUT", "limit", {}, 400),
        ("POST", "reset", {"seed": "x"}, 400),
        ("POST", "reset", [], 400),
        ("GET", "stats?window=0", None, 400),
        ("GET", "stats?window=x", None, 400),
        ("GET", "stats?window=nan", None, 400),
        ("GET", "stats?window=2e9", None, 400),
        ("GET", "stats?window=", None, 400),
        ("GET", "activations?open=yes", None, 400),
        ("GET", "requests?last=", None, 400),
        ("GET", "requests?last=x", None, 400),
    ],
)
def test_wrong_calls_are_explained(
    ask: Ask, method: str, name: str, body: object, status: int
) -> None:
    """A wrong control call answers an error that says why."""
    answered, data = ask(method, name, body)
    assert answered == status
    assert data["error"]


@given(
    st.sampled_from(["GET", "PUT", "POST", "DELETE"]) | st.text(max_size=6),
    st.sampled_from(["faults", "deliver", "reset", "stats?window=1e9", "requests?last=-1"])
    | st.text(max_size=20),
    st.binary(max_size=60)
    | st.dictionaries(
        st.sampled_from(["faults", "seed", "code", "text", "activation_id"]),
        st.none() | st.integers() | st.text(max_size=9),
    ).map(lambda value: json.dumps(value).encode()),
)
def test_any_control_call_gets_an_answer(method: str, name: str, body: bytes) -> None:
    """Whatever is sent, the control API answers."""
    api = SandboxControl(SandboxEngine(SandboxConfig()))
    reply = api.handle(SandboxRequest(method, f"/_sandbox/{name}", {}, body), 1_776_607_200.0)
    assert reply.status in {200, 400, 404, 405}
    json.loads(reply.body)
