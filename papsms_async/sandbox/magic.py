"""Magic services and countries: each provokes one outcome, with no fault set anywhere.

`OUTCOMES` lists the services. Another name that begins with ``test-`` is a BAD_SERVICE, so that
typos show.

Countries: ``zz`` and ``xx`` are accepted and always out of stock (NO_NUMBERS); every other code
that ``/countries`` does not list is a BAD_COUNTRY.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

import attrs

from .answers import ErrorShape, Refusal
from .delays import Fixed, Never, SmsDelay
from .faults import Effect

PREFIX = "test-"

OUTCOMES: dict[str, str] = {
    "test-instant": "SMS at once",
    "test-delay-SECONDS": "SMS after so many seconds",
    "test-late": "SMS after 90 s",
    "test-never": "SMS never arrives",
    "test-null-code": "SMS at once, `code` null, `full_text` present",
    "test-unicode": "SMS at once, its text in several scripts",
    "test-unknown-status": "status `retry_requested` instead of waiting; SMS after 10 s",
    "test-finished": "after completion the status is `finished`",
    "test-expired": "expired, refunded at once",
    "test-cancelled": "the service cancels at the first status call and refunds",
    "test-early-cancel[-SECONDS]": "no SMS; cancel is EARLY_CANCEL_DENIED for the first 120 s",
    "test-race": "no SMS until cancelled: it arrives just before, 409 CANNOT_CANCEL",
    "test-status-error": "SMS at once; the first status call answers 500",
    "test-finish-error": "no SMS; the first finish answers 500 and is not executed",
    "test-finish-lost": "no SMS; the first finish is executed and its answer lost",
    "test-no-numbers[-COUNTRY]": "404 NO_NUMBERS, in that country only if one is named",
    "test-no-balance": "402 NO_BALANCE",
    "test-too-many": "409 TOO_MANY_ACTIVATIONS",
    "test-bad-service": "422 BAD_SERVICE",
    "test-bad-country": "422 BAD_COUNTRY",
    "test-bad-key": "401 BAD_KEY",
    "test-ip": "403 IP_NOT_ALLOWED",
    "test-banned": "403 BANNED",
    "test-account-blocked": "403 ACCOUNT_BLOCKED",
    "test-temp-banned": "429 TEMP_BANNED, without Retry-After",
    "test-rate-limited[-SECONDS]": "429 RATE_LIMITED, Retry-After 1 s or so many",
    "test-rate-limited-date": "429 RATE_LIMITED, Retry-After an HTTP date 2 s ahead",
    "test-rate-limited-bare": "429 RATE_LIMITED, without Retry-After",
    "test-object-error[-STATUS]": "NO_NUMBERS, 404 or that status, its `error` an object",
    "test-string-error[-STATUS]": "NO_NUMBERS, its `error` a string",
    "test-message-error[-STATUS]": "NO_NUMBERS, as a `message` alone",
    "test-error[-STATUS]": "500 or that status, JSON",
    "test-error-html[-STATUS]": "502 or that status, HTML",
    "test-error-empty[-STATUS]": "503 or that status, empty body",
    "test-malformed": "bought and charged, 200 with half a JSON document",
    "test-html, test-empty": "bought and charged, 200 with HTML, with nothing",
    "test-null, test-list": "bought and charged, 200 with `null`, with `[]`",
    "test-deep, test-huge": "bought and charged, 200 with deep nesting, with 2 MiB",
    "test-null-id": "bought and charged, `activation_id` null",
    "test-missing-fields": "bought and charged, `cost` and `expires_at` missing",
    "test-numeric-id": "bought and charged, `activation_id` a JSON number",
    "test-string-cost": "bought and charged, `cost` a string",
    "test-hang, test-hang-after": "no answer; not executed, executed",
    "test-drop-before": "connection closed without answer, not executed",
    "test-drop-after": "connection closed without answer, bought and charged",
    "test-truncated": "bought and charged, half the body arrives",
    "test-slow": "bought and charged, the answer is 5 s late",
    "test-redirect": "307 to elsewhere",
}
"""What each magic service provokes. Capitals stand for a value; brackets mean may be left out."""

MISSING = object()
"""In `Magic.changes`: the key is left away."""

_NONE: Mapping[str, object] = MappingProxyType({})


@attrs.frozen
class RefusalRule:
    """A purchase that is refused; see `papsms_async.sandbox.answers.Refusal`."""

    status: int
    code: str
    shape: ErrorShape | None = None
    retry_after: int | None = None
    as_date: bool = False
    country: str | None = None

    def refusal(self, headers: Mapping[str, str]) -> Refusal:
        """Return the refusal, with those headers."""
        message = self.code.replace("_", " ").capitalize()
        return Refusal(
            self.status, self.code, message, shape=self.shape, headers=headers, literal=True
        )


@attrs.frozen(eq=False)
class Magic:
    """What a service does out of the ordinary; everything left alone is ordinary.

    Attributes:
        refusal: The purchase is refused, nothing is charged.
        purchase: What goes wrong with the purchase.
        changes: Replaced keys of the purchase's data.
        delay: Law of the SMS delay in place of the configured one.
        null_code: The SMS has no code.
        text: The SMS's text, with ``{code}``, in place of the ordinary one.
        waiting_word: Status word in place of ``waiting``.
        completed_word: Status word in place of ``completed``.
        lifetime: Seconds until expiry.
        cancel_age: Seconds after the purchase before which it cannot be cancelled.
        gives_up: The service cancels at the first status call.
        races: A cancel finds that an SMS has just arrived.
        first_status: What goes wrong with an activation's first status call.
        first_finish: What goes wrong with its first finish.
    """

    refusal: RefusalRule | None = None
    purchase: Effect | None = None
    changes: Mapping[str, object] = _NONE
    delay: SmsDelay | None = None
    null_code: bool = False
    text: str | None = None
    waiting_word: str | None = None
    completed_word: str | None = None
    lifetime: float | None = None
    cancel_age: float | None = None
    gives_up: bool = False
    races: bool = False
    first_status: Effect | None = None
    first_finish: Effect | None = None


ORDINARY = Magic()
_AT_ONCE = Fixed(0.0)


def _effect(text: str) -> Magic:
    return Magic(purchase=Effect.parse(text), delay=_AT_ONCE)


_NAMED: dict[str, Magic] = {
    "instant": Magic(delay=_AT_ONCE),
    "late": Magic(delay=Fixed(90.0)),
    "never": Magic(delay=Never()),
    "null-code": Magic(delay=_AT_ONCE, null_code=True),
    "unicode": Magic(delay=_AT_ONCE, text="Ваш код: {code} · 验证码 · رمز 🔑"),
    "unknown-status": Magic(delay=Fixed(10.0), waiting_word="retry_requested"),
    "finished": Magic(delay=_AT_ONCE, completed_word="finished"),
    "expired": Magic(delay=Never(), lifetime=0.0),
    "cancelled": Magic(delay=Never(), gives_up=True),
    "race": Magic(delay=Never(), races=True),
    "status-error": Magic(delay=_AT_ONCE, first_status=Effect.parse("server_error")),
    "finish-error": Magic(delay=Never(), first_finish=Effect.parse("server_error")),
    "finish-lost": Magic(delay=Never(), first_finish=Effect.parse("drop_after")),
    "no-balance": Magic(RefusalRule(402, "NO_BALANCE")),
    "too-many": Magic(RefusalRule(409, "TOO_MANY_ACTIVATIONS")),
    "bad-service": Magic(RefusalRule(422, "BAD_SERVICE")),
    "bad-country": Magic(RefusalRule(422, "BAD_COUNTRY")),
    "bad-key": Magic(RefusalRule(401, "BAD_KEY")),
    "ip": Magic(RefusalRule(403, "IP_NOT_ALLOWED")),
    "banned": Magic(RefusalRule(403, "BANNED")),
    "account-blocked": Magic(RefusalRule(403, "ACCOUNT_BLOCKED")),
    "temp-banned": Magic(RefusalRule(429, "TEMP_BANNED")),
    "rate-limited-bare": Magic(RefusalRule(429, "RATE_LIMITED")),
    "rate-limited-date": Magic(RefusalRule(429, "RATE_LIMITED", retry_after=2, as_date=True)),
    "malformed": _effect("malformed"),
    "html": _effect("malformed=html"),
    "empty": _effect("malformed=empty"),
    "null": _effect("malformed=null"),
    "list": _effect("malformed=list"),
    "deep": _effect("malformed=deep"),
    "huge": _effect("malformed=huge"),
    "null-id": Magic(delay=_AT_ONCE, changes={"activation_id": None}),
    "missing-fields": Magic(delay=_AT_ONCE, changes={"cost": MISSING, "expires_at": MISSING}),
    "numeric-id": Magic(delay=_AT_ONCE, changes={"activation_id": int}),
    "string-cost": Magic(delay=_AT_ONCE, changes={"cost": str}),
    "hang": _effect("hang"),
    "hang-after": _effect("hang=after"),
    "drop-before": _effect("drop_before"),
    "drop-after": _effect("drop_after"),
    "truncated": _effect("truncated"),
    "slow": _effect("slow=5"),
    "redirect": _effect("redirect"),
}

_PARAMETRIC = re.compile(
    r"(?P<name>delay|early-cancel|no-numbers|rate-limited|object-error|string-error|message-error"
    r"|error-html|error-empty|error)(?:-(?P<value>[a-z0-9.]{1,8}))?"
)
_NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]+)?")
_STATUS = re.compile(r"200|[45][0-9]{2}")
_SERVER_ERRORS = {"error": "500/json", "error-html": "502/html", "error-empty": "503/empty"}


def find_magic(service: str) -> Magic | None:
    """Return what a service does out of the ordinary.

    Args:
        service: Name in lower case.

    Returns:
        Its magic, `ORDINARY` for an ordinary service, or ``None`` for a name that begins with
        ``test-`` and is in no row of `OUTCOMES`.
    """
    if not service.startswith(PREFIX):
        return ORDINARY
    name = service.removeprefix(PREFIX)
    return _NAMED.get(name) or _parametric(name)


def _parametric(text: str) -> Magic | None:
    match = _PARAMETRIC.fullmatch(text)
    if match is None:
        return None
    name, value = match["name"], match["value"]
    number = value is None or _NUMBER.fullmatch(value) is not None
    status = value is None or _STATUS.fullmatch(value) is not None
    if name == "delay" and number and value is not None:
        return Magic(delay=Fixed(float(value)))
    if name == "early-cancel" and number:
        return Magic(delay=Never(), cancel_age=120.0 if value is None else float(value))
    if name == "rate-limited" and number:
        seconds = 1 if value is None else int(float(value))
        return Magic(RefusalRule(429, "RATE_LIMITED", retry_after=seconds))
    if name == "no-numbers":
        return Magic(RefusalRule(404, "NO_NUMBERS", country=value))
    if name in _SERVER_ERRORS and status and not (value or "").startswith("2"):
        default, _, body = _SERVER_ERRORS[name].partition("/")
        return Magic(purchase=Effect.parse(f"server_error={value or default}/{body}"))
    if name.endswith("-error") and status:
        shape = ErrorShape(name.removesuffix("-error"))
        return Magic(RefusalRule(int(value or 404), "NO_NUMBERS", shape=shape))
    return None
