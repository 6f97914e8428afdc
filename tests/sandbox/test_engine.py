"""The engine as a client sees it: documented shapes, errors, ends, limits, any bytes at all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async.sandbox import (
    ChargeKind,
    Delivery,
    SandboxConfig,
    SandboxEngine,
    SandboxReply,
    SandboxRequest,
)

Make = Callable[..., Any]
PURCHASE = "/api/v1/numbers/purchase"
NOW = 1_776_607_200.0


def test_a_purchase_is_as_documented(caller: Any) -> None:
    """A purchase answers the documented shape, with the cost's two digits and UTC instants."""
    reply = caller.purchase()
    assert re.fullmatch(
        rb'\{"success": true, "data": \{"activation_id": "\d{8}", "phone_number":'
        rb' "\+1\d{3}55501\d\d", "country": "us", "service": "whatsapp", "expires_at":'
        rb' "2026-04-19T14:20:00Z", "cost": 0\.80\}\}',
        reply.body,
    )
    assert reply.headers["Content-Type"] == "application/json"


def test_a_status_is_as_documented(make: Make) -> None:
    """A status answers the documented shapes, while waiting and after the SMS."""
    caller = make(sms_delay="fixed:9.5")
    activation_id = caller.buy()
    assert caller.status(activation_id).body == (
        b'{"success": true, "data": {"status": "waiting", "sms": null}}'
    )
    caller.now += 9.5
    assert re.fullmatch(
        rb'\{"success": true, "data": \{"status": "received", "sms": \{"code": "(\d{6})",'
        rb' "full_text": "Your WhatsApp code: \1", "received_at": "2026-04-19T14:00:09Z"\}\}\}',
        caller.status(activation_id).body,
    )


@pytest.mark.parametrize("word", ["completed", "cancelled"])
def test_a_finish_ends_an_activation(make: Make, word: str) -> None:
    """A finish is executed once, and the status says so from then on."""
    caller = make(sms_delay="never")
    activation_id = caller.buy()
    assert caller.data(caller.finish(activation_id, word))["status"] == word
    assert caller.data(caller.status(activation_id)) == {"status": word, "sms": None}
    code = {"completed": "ALREADY_FINISHED", "cancelled": "ALREADY_CANCELLED"}[word]
    for again in ("completed", "cancelled"):
        assert caller.error(caller.finish(activation_id, again)) == (409, code)
    assert caller.engine.finish_counts() == {activation_id: 1}
    assert caller.engine.open_activations() == []


@pytest.mark.parametrize("shape", ["objects", "strings", "mapping"])
def test_countries(make: Make, shape: str) -> None:
    """Countries are listed in the chosen shape."""
    listed = json.loads(make(countries_shape=shape).countries().body)["data"]
    codes = [row["code"] for row in listed] if shape == "objects" else list(listed)
    assert len(codes) >= 85
    assert "us" in codes
    assert isinstance(listed, dict) == (shape == "mapping")


def test_a_cancel_refunds_all(make: Make) -> None:
    """A cancel without an SMS gives the whole cost back."""
    caller = make(balance=5, sms_delay="never")
    activation_id = caller.buy()
    assert caller.engine.balance == Decimal("4.20")
    caller.finish(activation_id, "cancelled")
    assert caller.engine.balance == Decimal(5)
    assert [(c.kind, c.amount) for c in caller.engine.charge_log] == [
        (ChargeKind.PURCHASE, Decimal("0.80")),
        (ChargeKind.CANCEL, Decimal(0)),
        (ChargeKind.REFUND, Decimal("0.80")),
    ]


def test_a_cancel_after_the_sms_is_refused(make: Make) -> None:
    """Once an SMS has arrived nothing is refunded and the number can only be completed."""
    caller = make(sms_delay="fixed:3")
    activation_id = caller.buy()
    caller.now += 3
    assert caller.error(caller.finish(activation_id, "cancelled")) == (409, "CANNOT_CANCEL")
    assert caller.finish(activation_id, "completed").status == 200


def test_an_early_cancel_is_refused_for_a_while(make: Make) -> None:
    """A cancel before the least age is refused, one at it accepted."""
    caller = make(sms_delay="never", min_cancel_age=120)
    activation_id = caller.buy()
    caller.now += 119.9
    assert caller.error(caller.finish(activation_id, "cancelled")) == (409, "EARLY_CANCEL_DENIED")
    caller.now += 0.1
    assert caller.finish(activation_id, "cancelled").status == 200


def test_an_expired_number_is_refunded_once(make: Make) -> None:
    """A number without an SMS expires on time, whoever asks, and is refunded once."""
    caller = make(sms_delay="never", balance=1)
    activation_id = caller.buy()
    caller.now += 1199.9
    assert caller.data(caller.status(activation_id))["status"] == "waiting"
    caller.now += 100
    for _ in range(2):
        assert caller.data(caller.status(activation_id)) == {"status": "expired", "sms": None}
    assert caller.error(caller.finish(activation_id, "cancelled")) == (409, "ALREADY_FINISHED")
    assert caller.engine.balance == Decimal(1)
    assert [c.kind for c in caller.engine.charge_log] == ["purchase", "expire_refund"]
    assert caller.engine.charge_log[1].at == caller.now - 99.9


def test_a_number_with_an_sms_is_not_refunded_at_expiry(make: Make) -> None:
    """A number that got its SMS stays received and open after expiry, and can be completed."""
    caller = make(sms_delay="fixed:3", balance=1)
    activation_id = caller.buy()
    caller.now += 5000
    assert caller.data(caller.status(activation_id))["status"] == "received"
    assert [a.activation_id for a in caller.engine.open_activations()] == [activation_id]
    assert caller.finish(activation_id, "completed").status == 200
    assert caller.engine.balance == Decimal("0.20")


def test_an_sms_after_expiry_or_end_never_shows(make: Make) -> None:
    """An SMS that would arrive after the end of a number is not received."""
    caller = make(sms_delay="fixed:1300")
    expired, cancelled = caller.buy(), caller.buy()
    caller.finish(cancelled, "cancelled")
    caller.now += 2000
    assert caller.data(caller.status(expired)) == {"status": "expired", "sms": None}
    assert caller.data(caller.status(cancelled)) == {"status": "cancelled", "sms": None}


def test_money_runs_out(make: Make) -> None:
    """A purchase above the balance is NO_BALANCE and charges nothing."""
    caller = make(balance="0.90")
    caller.buy()
    assert caller.error(caller.purchase()) == (402, "NO_BALANCE")
    assert caller.engine.balance == Decimal("0.10")


def test_open_numbers_are_bounded(make: Make) -> None:
    """With a bound on open numbers the next one is refused until one has ended."""
    caller = make(max_open=2, sms_delay="never")
    first, _ = caller.buy(), caller.buy()
    assert caller.error(caller.purchase()) == (409, "TOO_MANY_ACTIVATIONS")
    caller.finish(first, "cancelled")
    caller.buy()
    caller.now += 1200  # both that are held expire, the cancelled one does not count again
    assert [caller.buy(), caller.buy()]
    assert caller.error(caller.purchase()) == (409, "TOO_MANY_ACTIVATIONS")


def test_open_numbers_do_not_repeat(make: Make) -> None:
    """No two open activations share an id or a phone number."""
    caller = make(balance=10_000)
    ids = [caller.buy() for _ in range(3000)]
    assert (
        len({a.phone_number for a in caller.engine.activations.values()}) == len(set(ids)) == 3000
    )


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "NO_KEY"),
        ({"Authorization": ""}, "NO_KEY"),
        ({"Authorization": "Bearer wrong"}, "BAD_KEY"),
        ({"Authorization": "Basic sandbox"}, "BAD_KEY"),
        ({"Authorization": "sandbox"}, "BAD_KEY"),
        ({"Authorization": "Bearer "}, "BAD_KEY"),
    ],
)
def test_a_missing_or_unknown_key(caller: Any, headers: dict[str, str], code: str) -> None:
    """Without a known key every route answers 401."""
    for method, path in (("POST", PURCHASE), ("GET", "/api/v1/countries"), ("GET", "/nowhere")):
        assert caller.error(caller.send(method, path, headers=headers)) == (401, code)


@pytest.mark.parametrize("name", ["authorization", "AUTHORIZATION", "Authorization"])
@pytest.mark.parametrize("value", ["Bearer other", "bearer other", "  BEARER   other "])
def test_the_key_is_found_whatever_the_case(make: Make, name: str, value: str) -> None:
    """Header names and the scheme are read without regard to case."""
    caller = make(api_keys={"sandbox", "other"})
    assert caller.send("GET", "/api/v1/countries", headers={name: value}).status == 200


def test_addresses_may_be_restricted(make: Make) -> None:
    """A key that is tied to addresses answers 403 from others."""
    caller = make(allowed_ips=["203.0.113.9"])
    assert caller.error(caller.countries()) == (403, "IP_NOT_ALLOWED")
    assert caller.send("GET", "/api/v1/countries", peer="203.0.113.9").status == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "BAD_REQUEST"),
        (b"{", 400, "BAD_REQUEST"),
        (b"\xff\xfe", 400, "BAD_REQUEST"),
        (b"[" * 60_000, 400, "BAD_REQUEST"),
        (b"[]", 400, "BAD_REQUEST"),
        (b"{}", 400, "BAD_COUNTRY"),
        (b'{"country": "us"}', 400, "BAD_SERVICE"),
        (b'{"country": 1, "service": "x"}', 400, "BAD_COUNTRY"),
        (b'{"country": "qq", "service": "x"}', 422, "BAD_COUNTRY"),
        (b'{"country": "us", "service": "no such"}', 422, "BAD_SERVICE"),
        (b'{"country": "us", "service": "\\ud800"}', 422, "BAD_SERVICE"),
        (b'{"country": "us", "service": "test-typo"}', 422, "BAD_SERVICE"),
        (b'{"country": "zz", "service": "x"}', 404, "NO_NUMBERS"),
        (b" " * 100_000, 413, "PAYLOAD_TOO_LARGE"),
    ],
)
def test_bad_purchases(caller: Any, body: bytes, status: int, code: str) -> None:
    """A purchase that cannot be is refused with its reason and charges nothing."""
    assert caller.error(caller.send("POST", PURCHASE, body)) == (status, code)
    assert caller.engine.charge_log == []


def test_bad_finishes(make: Make) -> None:
    """A finish without a known status, or of an unknown activation, is refused."""
    caller = make(sms_delay="never")
    activation_id = caller.buy()
    for body in ({}, {"status": "done"}, {"status": None}, {"status": ["completed"]}):
        reply = caller.send("POST", f"/api/v1/numbers/finish/{activation_id}", body)
        assert caller.error(reply) == (400, "BAD_STATUS")
    assert caller.error(caller.finish("nobody", "completed")) == (404, "ACTIVATION_NOT_FOUND")
    assert caller.error(caller.status("nobody")) == (404, "ACTIVATION_NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", PURCHASE, "POST"),
        ("PUT", PURCHASE, "POST"),
        ("POST", "/api/v1/countries", "GET, HEAD"),
        ("DELETE", "/api/v1/numbers/status/1", "GET, HEAD"),
        ("HEAD", "/api/v1/numbers/finish/1", "POST"),
    ],
)
def test_wrong_methods(caller: Any, method: str, path: str, allow: str) -> None:
    """A wrong method answers 405 and names the right ones."""
    reply = caller.send(method, path)
    assert caller.error(reply) == (405, "METHOD_NOT_ALLOWED")
    assert reply.headers["Allow"] == allow


@pytest.mark.parametrize(
    "path", ["/", "", "/api/v1", "/api/v2/countries", "/api/v1/numbers/status"]
)
def test_unknown_routes(caller: Any, path: str) -> None:
    """A path that is none of the service's answers 404."""
    assert caller.error(caller.send("GET", path)) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/countries/",
        "//api//v1/countries?x=/",
        "http://host:1/api/v1/countries",
        "/api/v1/countr%69es",
        "api/v1/countries#part",
    ],
)
def test_forgiving_paths(caller: Any, path: str) -> None:
    """Slashes too many, queries, escapes and the absolute form find the route."""
    assert caller.send("GET", path).status == 200
    assert caller.send("HEAD", path).status == 200


@pytest.mark.parametrize("shape", ["object", "string", "message"])
@pytest.mark.parametrize("with_200", [True, False])
def test_error_shapes(make: Make, shape: str, with_200: bool) -> None:
    """Errors come in the configured shape, with their status or with 200."""
    reply = make(error_shape=shape, errors_with_200=with_200).purchase(country="zz")
    assert reply.status == (200 if with_200 else 404)
    decoded = json.loads(reply.body)
    assert decoded.pop("success") is False
    expected = {
        "object": {"error": {"code": "NO_NUMBERS", "message": decoded_message(decoded)}},
        "string": {"error": "NO_NUMBERS", "message": decoded_message(decoded)},
        "message": {"message": decoded_message(decoded)},
    }
    assert decoded == expected[shape]


def decoded_message(decoded: dict[str, Any]) -> str:
    error = decoded.get("error")
    message = error["message"] if isinstance(error, dict) else decoded["message"]
    assert isinstance(message, str)
    return message


@pytest.mark.parametrize(
    ("style", "expected"),
    [("seconds", "40"), ("none", None), ("date", "Sun, 19 Apr 2026 14:01:00 GMT")],
)
def test_the_limit_says_when_to_come_back(make: Make, style: str, expected: str | None) -> None:
    """Over the limit a request answers 429 with Retry-After in the configured style."""
    caller = make(limit="3/60s", retry_after=style)
    for _ in range(3):
        assert caller.countries().status == 200
    caller.now += 20
    reply = caller.countries()
    assert caller.error(reply) == (429, "RATE_LIMITED")
    assert reply.headers.get("Retry-After") == expected


def test_each_key_has_its_own_limit(make: Make) -> None:
    """Keys do not share a limit, and a key can have one of its own or none."""
    caller = make(api_keys={"a", "b", "c"}, limit="2/60s", key_limits={"c": "none"})

    def passed(key: str) -> int:
        headers = {"Authorization": f"Bearer {key}"}
        replies = [caller.send("GET", "/api/v1/countries", headers=headers) for _ in range(5)]
        return sum(reply.status == 200 for reply in replies)

    assert [passed(key) for key in "abc"] == [2, 2, 5]


@given(gaps=st.lists(st.integers(0, 40), max_size=60), width=st.integers(1, 100))
def test_busiest_window(gaps: list[int], width: int) -> None:
    """The busiest window is the largest count over all half-open windows of that length."""
    engine = SandboxEngine(SandboxConfig(limit="none"))
    arrivals = []
    now = int(NOW)
    for gap in gaps:
        now += gap
        arrivals.append(now)
        engine.handle(SandboxRequest("GET", "/", {}), now)
    expected = max((sum(a <= b < a + width for b in arrivals) for a in arrivals), default=0)
    assert engine.busiest_window(width) == expected


def test_dates_are_the_injected_clocks(caller: Any) -> None:
    """The Date header is the engine's time, on answers and errors alike."""
    for reply in (
        caller.countries(),
        caller.send("GET", "/nowhere"),
        caller.purchase("test-error"),
    ):
        assert parsedate_to_datetime(reply.headers["Date"]).timestamp() == caller.now


def test_latency_delays_every_answer(make: Make) -> None:
    """Latency and its jitter are added to each answer, not to its execution."""
    caller = make(latency=0.2, latency_jitter=0.1)
    delays = [caller.countries().delay for _ in range(50)]
    assert 0.2 <= min(delays) < max(delays) <= 0.3


def test_time_never_runs_backwards(make: Make) -> None:
    """A clock that is set back does not undo what has happened."""
    caller = make(sms_delay="fixed:3")
    activation_id = caller.buy()
    caller.now += 3
    caller.countries()
    caller.now -= 100
    assert caller.data(caller.status(activation_id))["status"] == "received"


def test_equal_seeds_give_equal_services(make: Make) -> None:
    """Equal seeds and equal calls give equal bytes; another seed gives others."""

    def run(seed: int) -> list[SandboxReply]:
        caller = make(seed=seed, faults="any:drop_after@0.2", latency_jitter=0.1)
        replies = []
        for _ in range(40):
            replies.append(caller.purchase())
            caller.now += 7
            replies += [caller.status(key) for key in list(caller.engine.activations)[-3:]]
        return replies

    assert run(5) == run(5)
    assert run(5) != run(6)


def test_a_reset_begins_again(make: Make) -> None:
    """After a reset everything is as after the start, and repeats itself."""
    caller = make(limit="3/60s", faults="purchase:hang#2")
    first = [caller.purchase() for _ in range(4)]
    caller.engine.reset()
    assert (caller.engine.balance, caller.engine.activations) == (Decimal(1000), {})
    assert [caller.purchase() for _ in range(4)] == first
    caller.engine.reset(seed=9)
    assert caller.engine.seed == 9
    assert [caller.purchase() for _ in range(4)] != first


def test_a_later_start_gives_other_ids(make: Make) -> None:
    """A sandbox started later does not give the ids of an earlier one again."""
    early, late = make(), make()
    late.now += 3600
    assert {early.buy() for _ in range(100)}.isdisjoint({late.buy() for _ in range(100)})


def test_reprs_keep_secrets(make: Make) -> None:
    """No repr holds an API key, a phone number or a code."""
    caller = make(api_keys="very-secret", sms_delay="fixed:0")
    headers = {"Authorization": "Bearer very-secret"}
    reply = caller.send("POST", PURCHASE, {"country": "us", "service": "x"}, headers=headers)
    (activation,) = caller.engine.activations.values()
    shown = f"{caller.engine.config!r} {activation!r} {reply!r} {caller.engine.request_log!r}"
    shown += repr(SandboxRequest("GET", "/", headers))
    for secret in ("very-secret", activation.phone_number, activation.sms_code):
        assert secret not in shown


PATHS = st.one_of(
    st.text(max_size=40),
    st.sampled_from([PURCHASE, "/api/v1/countries", "/_sandbox/reset"]),
    st.builds("/api/v1/numbers/{}/{}".format, st.sampled_from(["status", "finish"]), st.text()),
)
BODIES = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["country", "service", "status"]) | st.text(), inner, max_size=4
            )
        ),
        max_leaves=6,
    ).map(lambda value: json.dumps(value).encode()),
)
METHODS = st.sampled_from(["GET", "POST", "HEAD", "PUT"]) | st.text(max_size=10)
HEADERS = st.dictionaries(st.text(max_size=10), st.text(max_size=20), max_size=3)


@given(st.lists(st.tuples(METHODS, PATHS, HEADERS, BODIES, st.booleans()), max_size=5))
def test_any_bytes_get_an_answer(
    requests: list[tuple[str, str, dict[str, str], bytes, bool]],
) -> None:
    """Whatever is sent, the engine answers, and never with an unexpected error."""
    engine = SandboxEngine(SandboxConfig(limit="none"))
    for method, path, headers, body, authorised in requests:
        if authorised:
            headers = {**headers, "Authorization": "Bearer sandbox"}
        reply = engine.handle(SandboxRequest(method, path, headers, body), NOW)
        assert reply.delivery is Delivery.ANSWER
        assert reply.status in {200, 400, 401, 402, 404, 405, 409, 413, 422}
        assert int(reply.headers["Content-Length"]) == len(reply.body)
        assert json.loads(reply.body)["success"] is (reply.status == 200)
