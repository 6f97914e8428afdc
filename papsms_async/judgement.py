"""Whether an answer is a value or an error, which error, and what happened to the money.

How an answer is judged:

===========================  =====================================================================
answer                       judged as
===========================  =====================================================================
2xx with what was asked for  the value
a well-formed error (any of  refused, by its code, else its message, else its HTTP status; money
the guide's shapes), with    not charged. An error with 2xx or 4xx that speaks of a failure inside
2xx or 4xx                   the service is judged as 5xx
any other 4xx (HTML, empty)  refused, by its HTTP status: whoever answered 4xx did not do it
408, 425, 444, 460, 499      unless a known word says more: as 5xx
429                          turned away, not executed; unless its words speak of a ban
5xx                          outcome unknown: `ServiceError`. What may be repeated is named by its
                             word if that is known ("already finished" with status 500)
3xx                          outcome unknown: `RedirectRefusedError`
unreadable or incomplete     outcome unknown: `MalformedAnswerError`, `AnswerLostError`
===========================  =====================================================================

For a purchase an unknown outcome means unknown money. Where an activation id can be read from a
purchase's answer that is otherwise unusable, and the answer does not say that it failed, the number
was bought: the `MalformedAnswerError` has the ``activation_id`` so that it can be released.

Source: PapSMS API guide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from papsms_async.converter import ValueRefusedError, identifier, price, read_json
from papsms_async.errors import (
    AnswerLostError,
    Execution,
    MalformedAnswerError,
    Money,
    PapSMSError,
    RedirectRefusedError,
    ServiceError,
    UnavailableError,
)
from papsms_async.headers import retry_after
from papsms_async.leniency import first
from papsms_async.redaction import excerpt
from papsms_async.vocabulary import SENTENCES, by_word, by_words, classify
from papsms_async.wire import Defect, Operation, WireAnswer

ID_KEYS = ("activation_id", "activationId", "id")
"""Names under which a purchase's answer may have the activation's id."""

_SALVAGED_ID = re.compile(
    rb'"activation_?id"\s{0,9}:\s{0,9}(?:"([^"\\\s]{1,200})"|(\d{1,30})\s{0,9}[,}])', re.IGNORECASE
)
_SAYS_FAILED = re.compile(rb'"success"\s{0,9}:\s{0,9}"?(?:false|0)', re.IGNORECASE)
_CODE = re.compile(r"[A-Za-z0-9_.:\-]{1,64}")
_NO = frozenset({"false", "0", "no"})
_FAILURES = frozenset({"error", "fail", "failed", "failure"})


@attrs.define
class Judge:
    """One answer, and what is known about it; makes its errors.

    Attributes:
        answer: The answer.
        operation: What it answers.
        activation_id: The activation it is about, if that is known; kept on the errors.
    """

    answer: WireAnswer
    operation: Operation
    activation_id: str | None = None

    def data(self) -> Mapping[str, Any]:
        """Return the ``data`` object of an answer that is no error."""
        payload = self.payload()
        data = payload.get("data", payload)
        if not isinstance(data, dict):
            raise self.malformed("missing or unusable: data")
        return data

    def payload(self, *, lists: bool = False) -> Any:
        """Return the whole JSON value of an answer that is no error: an object, or a list."""
        answer = self.answer
        if answer.defect is not None:
            raise self._incomplete()
        payload = _payload(answer.body)
        told = _told(payload)
        if 200 <= answer.status < 300:
            if told is not None:
                raise self._refused(*told)
            if isinstance(payload, dict) or (lists and isinstance(payload, list)):
                return payload
            raise self.malformed("not the JSON that was expected")
        raise self._failed(*(told or _error_words(payload)))

    def check_bought(self, reason: str = "it is not an answer to a purchase") -> None:
        """Raise what makes a release possible, if the answer names a number that was bought."""
        activation_id = _bought_id(self.answer)
        if activation_id is not None:
            raise MalformedAnswerError(
                f"A number was bought, but the answer can't be used: {reason}"
                f" (HTTP {self.answer.status}).",
                http_status=self.answer.status,
                excerpt=excerpt(self.answer.body) or None,
                money=Money.CHARGED,
                retryable=False,
                activation_id=activation_id,
            ) from None

    def malformed(self, reason: str) -> PapSMSError:
        """Return the error for an answer that can't be used because of ``reason``."""
        return self._error(MalformedAnswerError, f"The service's answer can't be used: {reason}")

    def _incomplete(self) -> PapSMSError:
        status = self.answer.status
        if status == 429 or 300 <= status < 400 or status >= 500:
            # Its first line says enough.
            return self._failed(None, None)
        if self.answer.defect is Defect.LOST:
            return self._error(AnswerLostError, "The service's answer broke off")
        return self.malformed(f"its body is {str(self.answer.defect).replace('_', ' ')}")

    def _failed(self, code: str | None, message: str | None) -> PapSMSError:
        """Return the error for an answer whose HTTP status is not 2xx."""
        status = self.answer.status
        if 300 <= status < 400:
            return self._error(
                RedirectRefusedError, "The service answered with a redirect, which is not followed"
            )
        if 400 <= status < 500:
            return self._refused(code, message)
        if status >= 500:
            known = code is not None and by_word(code) is not None
            if known and self.operation is not Operation.PURCHASE:
                return self._refused(code, None)
            return self._error(ServiceError, "The service failed", code)
        return self.malformed("its HTTP status is unknown")

    def _refused(self, code: str | None, message: str | None) -> PapSMSError:
        """Return the error for an answer that says no, by its words, else by its status."""
        status = self.answer.status
        if 200 <= status < 300 and code is not None and re.fullmatch(r"[45]\d\d", code):
            # The status stands in the body only.
            status = int(code)
        cls = classify(status, self.operation, code, message)
        execution = None
        if cls is ServiceError and status < 400 and by_words(code, message) is not cls:
            # A no whose reason is not known; "internal error", though, may have been charged.
            execution = Execution.REFUSED
        sentence = SENTENCES[cls]
        if cls is UnavailableError and by_words(code, message) is not cls:
            # Of a server that stands elsewhere, or of another path: it says nothing of numbers.
            sentence += ", or its base URL is another one"
        return self._error(cls, sentence, code, execution)

    def _error(
        self,
        cls: type[PapSMSError],
        sentence: str,
        code: str | None = None,
        execution: Execution | None = None,
    ) -> PapSMSError:
        status = self.answer.status
        # A code is shown only if it is one of the known words: it might be anything else.
        shown = f", {code}" if code is not None and by_word(code) is not None else ""
        error = cls(
            f"{sentence} (HTTP {status}{shown}).",
            code=code,
            http_status=status,
            excerpt=excerpt(self.answer.body) or None,
            retry_after=self._retry_after(),
            execution=execution,
            activation_id=self.activation_id,
        )
        if self.operation is Operation.PURCHASE and error.execution is Execution.UNKNOWN:
            error.money = Money.UNKNOWN
        return error

    def _retry_after(self) -> float | None:
        seconds = retry_after(self.answer, None)
        if seconds is not None:
            return seconds
        payload = _payload(self.answer.body)
        for part in (payload, payload.get("error") if isinstance(payload, dict) else None):
            if isinstance(part, dict):
                try:
                    return float(price(first(part, "retry_after", "retryAfter")))
                except ValueRefusedError:
                    continue
        return None


# What an answer says -----------------------------------------------------------------------------


def _payload(body: bytes) -> Any:
    try:
        return read_json(body)
    except ValueRefusedError:
        # Services of this field answer errors as a bare word, too: NO_NUMBERS
        return body[:100].decode("utf-8", "replace").strip() if len(body) <= 100 else None


def _says_failed(payload: Mapping[str, Any]) -> bool:
    success = payload.get("success")
    if isinstance(success, int):
        return not success
    return isinstance(success, str) and success.strip().lower() in _NO


def _told(payload: Any) -> tuple[str | None, str | None] | None:
    """Return code and message if ``payload`` says by itself that it is an error."""
    if isinstance(payload, str) and by_word(payload) is not None:
        return _error_words(payload)
    if not isinstance(payload, dict):
        return None
    if _says_failed(payload):
        return _error_words(payload)
    if payload.get("data"):
        # It has what was asked for: an "error" beside it is a warning at most.
        return None
    if payload.get("error") or payload.get("errors"):
        return _error_words(payload)
    word = payload.get("status")
    if "sms" not in payload and isinstance(word, str) and word.lower() in _FAILURES:
        return _error_words(payload)
    return None


def _error_words(payload: Any) -> tuple[str | None, str | None]:
    """Return the error code and the message in ``payload``, in whichever shape they are there."""
    if isinstance(payload, str):
        # Any other text is no code, and might be anything.
        return (payload.strip(), None) if by_word(payload) is not None else (None, payload)
    if not isinstance(payload, dict):
        return None, None
    error = payload.get("error") or payload.get("errors")
    if isinstance(error, list):
        error = error[0] if error else None
    inner: Mapping[str, Any] = error if isinstance(error, dict) else {}
    code = first(inner, *_CODE_KEYS) or (error if isinstance(error, str) else None)
    message = first(inner, *_MESSAGE_KEYS)
    return _code_and_message(
        first(payload, *_CODE_KEYS) if code is None else code,
        first(payload, *_MESSAGE_KEYS) if message is None else message,
    )


_CODE_KEYS = ("code", "error_code", "errorCode", "type", "name")
_MESSAGE_KEYS = ("message", "msg", "detail", "description", "title", "reason")


def _code_and_message(code: Any, message: Any) -> tuple[str | None, str | None]:
    if isinstance(code, int) and not isinstance(code, bool):
        code = str(code)
    message = message if isinstance(message, str) else None
    if not isinstance(code, str):
        return None, message
    code = code.strip()
    # Prose in the place of a code; seven digits and more might be a number or an SMS code.
    if not _CODE.fullmatch(code) or re.search(r"\d{7}", code):
        return None, f"{code}. {message}" if message else code or None
    return code, message


def _bought_id(answer: WireAnswer) -> str | None:
    """Return the activation id in a purchase's answer that does not say that it failed."""
    try:
        payload = read_json(answer.body)
    except ValueRefusedError:
        match = _SALVAGED_ID.search(answer.body)
        if match is None or _SAYS_FAILED.search(answer.body):
            return None
        found: Any = (match[1] or match[2]).decode("utf-8", "replace")
    else:
        if not isinstance(payload, dict) or _told(payload) is not None:
            return None
        data = payload.get("data")
        if isinstance(data, list) and data:
            data = data[0]
        # Beside the data, "id" may be anything: the id of the request, for instance.
        found = first(data, *ID_KEYS) if isinstance(data, dict) else None
        if found is None:
            found = first(payload, "activation_id", "activationId")
    try:
        return identifier(found)
    except ValueRefusedError:
        return None
