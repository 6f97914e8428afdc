"""Magic services: each row of the table does what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from papsms_async.sandbox import Delivery, magic

Make = Callable[..., Any]


def rows() -> list[str]:
    """Return the services that the module's table names."""
    return [service for row in magic.OUTCOMES for service in row.split(", ")]


def plain(row: str) -> tuple[str, str]:
    """Return a row's service without and with its optional part."""
    filled = row.replace("SECONDS", "7").replace("STATUS", "418").replace("COUNTRY", "us")
    return re.sub(r"\[.*\]", "", filled), filled.replace("[", "").replace("]", "")


def test_the_table_has_rows() -> None:
    """The table is found, and names each service once."""
    assert len(rows()) > 40
    assert len(set(rows())) == len(rows())


@pytest.mark.parametrize("row", rows())
def test_each_row_is_magic(row: str) -> None:
    """Each service in the table has its magic, with and without its optional part."""
    for service in plain(row):
        assert magic.find_magic(service) not in {None, magic.ORDINARY}


def test_each_named_magic_has_a_row() -> None:
    """No magic is left out of the table."""
    named = {plain(row)[0] for row in rows()}
    assert {magic.PREFIX + name for name in magic._NAMED} <= named


@pytest.mark.parametrize(
    "name", ["", "nothing", "delay", "delay-x", "error-200", "string-error-204"]
)
def test_another_name_is_no_magic(caller: Any, name: str) -> None:
    """A name that begins like magic and is in no row is a BAD_SERVICE, so that typos show."""
    assert magic.find_magic(f"test-{name}") is None
    assert caller.error(caller.purchase(f"test-{name}")) == (422, "BAD_SERVICE")


@pytest.mark.parametrize("name", ["whatsapp", "test", "testing", "x-test-never"])
def test_other_services_are_ordinary(name: str) -> None:
    """Services without the prefix have no magic."""
    assert magic.find_magic(name) is magic.ORDINARY


@pytest.mark.parametrize(
    ("service", "seconds"),
    [("test-instant", 0), ("test-late", 90), ("test-delay-7", 7), ("test-delay-0.5", 0.5)],
)
def test_sms_after_its_time(make: Make, service: str, seconds: float) -> None:
    """The SMS arrives when the service's name says, whatever law is configured."""
    caller = make(sms_delay="never")
    activation_id = caller.buy(service)
    if seconds:
        caller.now += seconds - 0.25
        assert caller.data(caller.status(activation_id)) == {"status": "waiting", "sms": None}
        caller.now += 0.25
    data = caller.data(caller.status(activation_id))
    assert data["status"] == "received"
    assert data["sms"]["code"] in data["sms"]["full_text"]


def test_never(make: Make) -> None:
    """The SMS never arrives."""
    caller = make(sms_delay="fixed:0")
    activation_id = caller.buy("test-never")
    caller.now += 1199
    assert caller.data(caller.status(activation_id))["status"] == "waiting"


def test_null_code(caller: Any) -> None:
    """The SMS has a text and no code."""
    sms = caller.data(caller.status(caller.buy("test-null-code")))["sms"]
    assert sms["code"] is None
    assert re.search(r"\d{6}", sms["full_text"])


def test_unicode(caller: Any) -> None:
    """The SMS's text has several scripts and its code."""
    sms = caller.data(caller.status(caller.buy("test-unicode")))["sms"]
    assert sms["code"] in sms["full_text"]
    assert "🔑" in sms["full_text"]


def test_unknown_status(caller: Any) -> None:
    """An undocumented status stands for waiting until the SMS arrives."""
    activation_id = caller.buy("test-unknown-status")
    assert caller.data(caller.status(activation_id)) == {"status": "retry_requested", "sms": None}
    caller.now += 10
    assert caller.data(caller.status(activation_id))["status"] == "received"


def test_finished(caller: Any) -> None:
    """After completion the status is the other word for it, and the SMS can still be read."""
    activation_id = caller.buy("test-finished")
    caller.finish(activation_id, "completed")
    data = caller.data(caller.status(activation_id))
    assert data["status"] == "finished"
    assert data["sms"]["code"]


@pytest.mark.parametrize(
    ("service", "word"), [("test-expired", "expired"), ("test-cancelled", "cancelled")]
)
def test_ends_by_itself(make: Make, service: str, word: str) -> None:
    """The service ends the activation and refunds it once."""
    caller = make(balance=5)
    activation_id = caller.buy(service)
    for _ in range(2):
        assert caller.data(caller.status(activation_id)) == {"status": word, "sms": None}
    assert caller.engine.balance == 5
    assert caller.finish(activation_id, "cancelled").status == 409


@pytest.mark.parametrize(
    ("service", "age"), [("test-early-cancel", 120), ("test-early-cancel-7", 7)]
)
def test_early_cancel(caller: Any, service: str, age: float) -> None:
    """A cancel is denied for a while."""
    activation_id = caller.buy(service)
    caller.now += age - 0.5
    assert caller.error(caller.finish(activation_id, "cancelled")) == (409, "EARLY_CANCEL_DENIED")
    caller.now += 0.5
    assert caller.finish(activation_id, "cancelled").status == 200


def test_race(caller: Any) -> None:
    """A cancel finds that the SMS has just arrived."""
    activation_id = caller.buy("test-race")
    caller.now += 60
    assert caller.data(caller.status(activation_id))["status"] == "waiting"
    assert caller.error(caller.finish(activation_id, "cancelled")) == (409, "CANNOT_CANCEL")
    assert caller.data(caller.status(activation_id))["status"] == "received"
    assert caller.finish(activation_id, "completed").status == 200


def test_status_error(caller: Any) -> None:
    """The first status call fails, the next one does not."""
    activation_id = caller.buy("test-status-error")
    assert caller.status(activation_id).status == 500
    assert caller.data(caller.status(activation_id))["status"] == "received"


def test_finish_error_and_lost(caller: Any) -> None:
    """The first finish fails without effect, or takes effect and its answer is lost."""
    failed, lost = caller.buy("test-finish-error"), caller.buy("test-finish-lost")
    assert caller.finish(failed, "cancelled").status == 500
    assert caller.finish(failed, "cancelled").status == 200
    assert caller.finish(lost, "cancelled").delivery is Delivery.DROP
    assert caller.error(caller.finish(lost, "cancelled")) == (409, "ALREADY_CANCELLED")


@pytest.mark.parametrize(
    ("service", "status", "code"),
    [
        ("test-no-numbers", 404, "NO_NUMBERS"),
        ("test-no-numbers-us", 404, "NO_NUMBERS"),
        ("test-no-balance", 402, "NO_BALANCE"),
        ("test-too-many", 409, "TOO_MANY_ACTIVATIONS"),
        ("test-bad-service", 422, "BAD_SERVICE"),
        ("test-bad-country", 422, "BAD_COUNTRY"),
        ("test-bad-key", 401, "BAD_KEY"),
        ("test-ip", 403, "IP_NOT_ALLOWED"),
        ("test-banned", 403, "BANNED"),
        ("test-account-blocked", 403, "ACCOUNT_BLOCKED"),
        ("test-temp-banned", 429, "TEMP_BANNED"),
        ("test-rate-limited", 429, "RATE_LIMITED"),
        ("test-rate-limited-bare", 429, "RATE_LIMITED"),
        ("test-rate-limited-date", 429, "RATE_LIMITED"),
        ("test-object-error", 404, "NO_NUMBERS"),
        ("test-object-error-200", 200, "NO_NUMBERS"),
        ("test-error", 500, "INTERNAL_ERROR"),
        ("test-error-503", 503, "INTERNAL_ERROR"),
    ],
)
def test_refusals(caller: Any, service: str, status: int, code: str) -> None:
    """A refusal comes with its status and code and charges nothing."""
    assert caller.error(caller.purchase(service)) == (status, code)
    assert caller.engine.charge_log == []


def test_no_numbers_in_one_country(caller: Any) -> None:
    """Out of stock in one country, the service is sold in the others."""
    assert caller.purchase("test-no-numbers-us", "us").status == 404
    assert caller.purchase("test-no-numbers-us", "gb").status == 200


@pytest.mark.parametrize("country", ["zz", "xx", "ZZ"])
def test_countries_out_of_stock(caller: Any, country: str) -> None:
    """The magic countries never have a number."""
    assert caller.error(caller.purchase(country=country)) == (404, "NO_NUMBERS")


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("test-rate-limited", "1"),
        ("test-rate-limited-86400", "86400"),
        ("test-rate-limited-bare", None),
        ("test-temp-banned", None),
    ],
)
def test_retry_after(caller: Any, service: str, expected: str | None) -> None:
    """A 429 says in its service's way when to come back."""
    assert caller.purchase(service).headers.get("Retry-After") == expected


def test_retry_after_date(caller: Any) -> None:
    """Retry-After as a date lies ahead of the engine's clock."""
    header = caller.purchase("test-rate-limited-date").headers["Retry-After"]
    assert parsedate_to_datetime(header).timestamp() == caller.now + 2


@pytest.mark.parametrize("status", ["", "-200", "-422", "-500"])
def test_the_other_error_shapes(caller: Any, status: str) -> None:
    """The two shapes without an error object come with any status, 200 included."""
    string, message = (caller.purchase(f"test-{s}-error{status}") for s in ("string", "message"))
    assert string.status == message.status == int(status[1:] or 404)
    assert json.loads(string.body)["error"] == "NO_NUMBERS"
    assert set(json.loads(message.body)) == {"success", "message"}


@pytest.mark.parametrize(
    ("service", "status", "content_type"),
    [
        ("test-error-html", 502, "text/html; charset=utf-8"),
        ("test-error-html-500", 500, "text/html; charset=utf-8"),
        ("test-error-empty", 503, None),
        ("test-redirect", 307, None),
    ],
)
def test_answers_of_a_proxy(
    caller: Any, service: str, status: int, content_type: str | None
) -> None:
    """Answers as from a proxy in front: not JSON, and nothing charged."""
    reply = caller.purchase(service)
    assert (reply.status, reply.headers.get("Content-Type")) == (status, content_type)
    assert caller.engine.charge_log == []


@pytest.mark.parametrize(
    "name", ["malformed", "html", "empty", "null", "list", "deep", "huge", "truncated"]
)
def test_charged_and_unreadable(caller: Any, name: str) -> None:
    """A number is bought and charged, and its answer cannot be read."""
    reply = caller.purchase(f"test-{name}")
    assert reply.status == 200
    assert len(caller.engine.charge_log) == 1
    try:
        decoded = json.loads(reply.body)
    except (ValueError, RecursionError):
        decoded = None
    assert not isinstance(decoded, dict) or not isinstance(decoded["data"], dict)


def test_data_with_wrong_fields(caller: Any) -> None:
    """A number is bought, and a field of the answer is null, missing, or of another type."""
    assert caller.data(caller.purchase("test-null-id"))["activation_id"] is None
    assert caller.data(caller.purchase("test-string-cost"))["cost"] == "0.50"
    assert isinstance(caller.data(caller.purchase("test-numeric-id"))["activation_id"], int)
    assert not {"cost", "expires_at"} & set(caller.data(caller.purchase("test-missing-fields")))
    assert len(caller.engine.charge_log) == 4


@pytest.mark.parametrize(
    ("service", "delivery", "charged"),
    [
        ("test-hang", Delivery.HANG, False),
        ("test-hang-after", Delivery.HANG, True),
        ("test-drop-before", Delivery.DROP, False),
        ("test-drop-after", Delivery.DROP, True),
        ("test-truncated", Delivery.TRUNCATE, True),
    ],
)
def test_answers_that_do_not_arrive(
    caller: Any, service: str, delivery: Delivery, charged: bool
) -> None:
    """The answer is lost on its way, before or after the purchase took effect."""
    assert caller.purchase(service).delivery is delivery
    assert len(caller.engine.charge_log) == int(charged)


def test_slow(caller: Any) -> None:
    """The answer comes late."""
    assert caller.purchase("test-slow").delay == 5.0
