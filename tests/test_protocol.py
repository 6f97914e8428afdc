"""Requests are built safely, and every answer is a value or a typed error."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from papsms_async import errors
from papsms_async.converter import converter
from papsms_async.errors import (
    AnswerLostError,
    ConfigurationError,
    Execution,
    MalformedAnswerError,
    Money,
    PapSMSError,
    RateLimitedError,
    RedirectRefusedError,
    ServiceError,
)
from papsms_async.models import Activation, ActivationStatus, Country, FinishStatus
from papsms_async.protocol import (
    Defect,
    Operation,
    WireAnswer,
    WireRequest,
    countries_request,
    finish_request,
    purchase_request,
    quota_hint,
    read_countries,
    read_finish,
    read_purchase,
    read_status,
    retry_after,
    server_date,
    status_request,
)

CORPUS = [
    pytest.param(case, id=f"{case['operation']}-{case['name']}")
    for path in sorted((Path(__file__).parent / "data" / "answers").glob("*.jsonl"))
    for case in map(json.loads, path.read_text("utf-8").splitlines())
]


def read(operation: str, answer: WireAnswer) -> Any:
    """Read ``answer`` as the answer to ``operation``."""
    if operation == Operation.PURCHASE:
        return read_purchase(answer, service="whatsapp", country="us")
    if operation == Operation.STATUS:
        return read_status(answer, activation_id="A1")
    if operation == Operation.FINISH:
        return read_finish(answer, activation_id="A1")
    return read_countries(answer)


# Requests ----------------------------------------------------------------------------------------


def test_purchase_request_is_the_documented_one() -> None:
    """A purchase is a POST with country and service, and must not be repeated."""
    request = purchase_request("whatsapp", "us")
    assert (request.method, request.path) == ("POST", "numbers/purchase")
    assert json.loads(request.body or b"") == {"country": "us", "service": "whatsapp"}
    assert not request.repeatable


def test_other_requests_are_the_documented_ones() -> None:
    """Status, finish and countries are as documented, and may be repeated."""
    assert status_request("12345678") == WireRequest(
        operation=Operation.STATUS, method="GET", path="numbers/status/12345678"
    )
    finish = finish_request("12345678", "completed")
    assert (finish.method, finish.path) == ("POST", "numbers/finish/12345678")
    assert json.loads(finish.body or b"") == {"status": "completed"}
    assert finish == finish_request("12345678", FinishStatus.COMPLETED)
    assert countries_request().path == "countries"
    assert all(request.repeatable for request in (status_request("1"), finish, countries_request()))


@given(st.text(min_size=1, max_size=50))
def test_an_id_never_leaves_its_path_segment(activation_id: str) -> None:
    """Whatever the id is, the path has one segment for it, or nothing is built."""
    try:
        path = status_request(activation_id).path
    except ConfigurationError:
        return
    assert path.startswith("numbers/status/")
    segment = path.removeprefix("numbers/status/")
    assert segment.strip(".")
    assert not set(segment) & set("/?#\\ \r\n")
    assert segment.isascii()


@pytest.mark.parametrize("activation_id", ["", " ", "a\nb", "a\0", ".", "..", "\ud800", "x" * 201])
def test_an_impossible_id_is_refused(activation_id: str) -> None:
    """An id that can't be one is refused before anything is sent."""
    with pytest.raises(ConfigurationError):
        status_request(activation_id)
    with pytest.raises(ConfigurationError):
        finish_request(activation_id, "cancelled")


def test_wrong_arguments_are_refused() -> None:
    """A finish word that does not exist, a missing id and an empty service are refused."""
    with pytest.raises(ConfigurationError, match="completed or cancelled"):
        finish_request("1", "done")
    with pytest.raises(ConfigurationError):
        status_request(None)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        purchase_request("", "us")
    with pytest.raises(ConfigurationError):
        purchase_request("whatsapp", "u\ns")


# Answers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CORPUS)
def test_corpus(case: dict[str, Any]) -> None:
    """Answers as services of this field give them are read as expected."""
    answer = WireAnswer(
        case["status"], case["headers"], case["body"].encode("utf-8", "surrogatepass")
    )
    expected = dict(case["expect"])
    if "error" not in expected:
        value = read(case["operation"], answer)
        seen = (
            [converter().unstructure(country) for country in value]
            if isinstance(value, tuple)
            else converter().unstructure(value)
        )
        assert seen == expected["value"]
        return
    with pytest.raises(PapSMSError) as caught:
        read(case["operation"], answer)
    error = caught.value
    assert type(error) is getattr(errors, expected.pop("error"))
    assert error.http_status == case["status"]
    for name, value in expected.items():
        assert getattr(error, name) == value, name


HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "date", "RateLimit", "X-RateLimit-Reset", "Content-Length"])
    | st.text(max_size=20),
    st.text(max_size=40) | st.integers().map(str) | st.just("0"),
    max_size=5,
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["NO_NUMBERS", "waiting", "received", "2026-04-19T15:30:00Z", "+14155550123"])
)
KEYS = st.sampled_from(
    [
        "success",
        "data",
        "error",
        "errors",
        "code",
        "message",
        "status",
        "sms",
        "activation_id",
        "id",
        "phone_number",
        "country",
        "service",
        "expires_at",
        "cost",
        "full_text",
        "received_at",
        "countries",
        "name",
        "price",
    ]
) | st.text(max_size=5)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=20,
)
BODIES = st.one_of(
    st.binary(max_size=200),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.tuples(JSON, st.integers(0, 60)).map(lambda cut: json.dumps(cut[0]).encode()[: cut[1]]),
)
STATUSES = st.sampled_from([200, 200, 200, 204, 302, 400, 404, 409, 429, 500]) | st.integers()


@given(st.sampled_from(Operation), STATUSES, HEADERS, BODIES, st.none() | st.sampled_from(Defect))
@example(Operation.PURCHASE, 200, {}, b"[" * 100_000, None)
@example(Operation.STATUS, 200, {}, b'{"a":' * 100_000, None)
@example(Operation.STATUS, 200, {}, b'{"data": {"status": ' + b"9" * 5_000 + b"}}", None)
@example(Operation.COUNTRIES, 200, {}, b"\xff\xfe[\x00]\x00", None)
@example(Operation.COUNTRIES, 200, {}, b'["\\ud800"]', None)
@example(Operation.PURCHASE, 200, {"date": "Mon, 99 Foo 99999 99:99:99 GMT"}, b"{}", None)
def test_any_answer_is_a_value_or_a_typed_error(
    operation: Operation, status: int, headers: dict[str, str], body: bytes, defect: Defect | None
) -> None:
    """For ANY status, headers and body, reading gives a value or a `PapSMSError`."""
    answer = WireAnswer(status, headers, body, defect)
    outcome: Any
    try:
        outcome = read(operation, answer)
    except PapSMSError as error:
        outcome = error
    if isinstance(outcome, PapSMSError):
        assert outcome.http_status == status
        assert outcome.excerpt is None or len(outcome.excerpt) <= 200
        assert len(str(outcome)) < 300
        if operation is Operation.PURCHASE and outcome.execution is Execution.UNKNOWN:
            assert outcome.money is not Money.NOT_CHARGED
        assert outcome.money is not Money.CHARGED or outcome.activation_id is not None
    else:
        assert 200 <= status < 300
        assert isinstance(outcome, Activation | ActivationStatus | tuple | None)
        if isinstance(outcome, Activation):
            assert outcome.activation_id
            assert outcome.cost >= 0
            assert outcome.expires_at.utcoffset() is not None
        if isinstance(outcome, tuple):
            assert all(isinstance(country, Country) for country in outcome)
    retry_after(answer, None)
    quota_hint(answer)
    server_date(answer)


def purchase_error(answer: WireAnswer) -> PapSMSError:
    """Return the error that reading ``answer`` as a purchase's raises."""
    with pytest.raises(PapSMSError) as caught:
        read_purchase(answer, service="whatsapp", country="us")
    return caught.value


HALF = b'{"success": true, "data": {"activation_id": "77", "phone_number": "+1415'


@pytest.mark.parametrize(
    ("status", "body", "defect", "cls", "money"),
    [
        (200, b'{"succ', Defect.LOST, AnswerLostError, Money.UNKNOWN),
        (200, HALF, Defect.LOST, MalformedAnswerError, Money.CHARGED),
        (200, b"[" * 99, Defect.TOO_LARGE, MalformedAnswerError, Money.UNKNOWN),
        (200, b"", Defect.UNREADABLE, MalformedAnswerError, Money.UNKNOWN),
        (404, b"", Defect.LOST, AnswerLostError, Money.UNKNOWN),
        (429, b"<", Defect.LOST, RateLimitedError, Money.NOT_CHARGED),
        (302, b"<", Defect.LOST, RedirectRefusedError, Money.UNKNOWN),
        (502, b"<", Defect.TOO_LARGE, ServiceError, Money.UNKNOWN),
    ],
)
def test_an_incomplete_answer_to_a_purchase(
    status: int, body: bytes, defect: Defect, cls: type[PapSMSError], money: Money
) -> None:
    """A body that broke off leaves the outcome unknown, unless its head or an id tells it."""
    error = purchase_error(WireAnswer(status, {}, body, defect))
    assert type(error) is cls
    assert error.money is money
    if money is Money.CHARGED:
        assert error.activation_id == "77"
        assert not error.retryable


def test_a_bought_number_names_the_unusable_fields_only() -> None:
    """The error says which fields are missing, and nothing of what the others hold."""
    body = b'{"success": true, "data": {"activation_id": "77", "phone_number": "+14155550123"}}'
    error = purchase_error(WireAnswer(200, {}, body))
    assert "cost, expires_at" in str(error)
    assert "4155550123" not in str(error) + str(error.excerpt) + repr(vars(error))
    assert error.__cause__ is None


def test_unreadable_bytes_do_not_cost_an_sms() -> None:
    """A text with bytes that are not UTF-8 is kept, with the broken characters replaced."""
    body = b'{"data": {"status": "received", "sms": {"code": "1234", "full_text": "caf\xe9"}}}'
    status = read_status(WireAnswer(200, {}, body))
    assert status.sms is not None
    assert (status.sms.code, status.sms.full_text) == ("1234", "caf\ufffd")


def test_an_id_with_unreadable_bytes_is_none() -> None:
    """An id that is not known exactly is no id: releasing it would release another."""
    body = b'{"success": true, "data": {"activation_id": "12\xe945", "cost": 1}}'
    error = purchase_error(WireAnswer(200, {}, body))
    assert error.activation_id is None
    assert error.money is Money.UNKNOWN


def test_prices_never_go_through_binary_floating_point() -> None:
    """A price keeps its digits, however many."""
    body = (
        b'{"data": {"activation_id": "1", "phone_number": "+14155550123", "cost":'
        b' 0.1000000000000000055, "expires_at": "2026-04-19T15:30:00Z"}}'
    )
    activation = read_purchase(WireAnswer(200, {}, body), service="s", country="us")
    assert activation.cost == Decimal("0.1000000000000000055")


def test_an_answer_shows_neither_body_nor_headers() -> None:
    """The repr of an answer shows its status and size only."""
    shown = repr(WireAnswer(200, {"Set-Cookie": "hidden-cookie"}, b"hidden-body"))
    assert "hidden" not in shown
    assert "200" in shown
    assert "11 bytes" in shown


def test_a_404_that_gives_no_reason_names_the_base_url() -> None:
    """A URL without the API's path is answered like that; the service itself gives a reason."""
    bare = purchase_error(WireAnswer(status=404, headers={}, body=b"<html>Not Found</html>"))
    assert "base URL" in str(bare)
    told = purchase_error(WireAnswer(status=404, headers={}, body=b'{"error": "NO_NUMBERS"}'))
    assert "base URL" not in str(told)


def test_a_code_is_shown_only_if_it_is_known() -> None:
    """An unknown code is kept on the error, but not put into its text."""
    known = purchase_error(WireAnswer(400, {}, b'{"error": "BAD_SERVICE"}'))
    unknown = purchase_error(WireAnswer(400, {}, b'{"error": "QWERTYCODE"}'))
    assert "BAD_SERVICE" in str(known)
    assert unknown.code == "QWERTYCODE"
    assert "QWERTYCODE" not in str(unknown)
