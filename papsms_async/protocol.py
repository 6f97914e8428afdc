"""The API without I/O: builds requests and deciphers answers.

Every ``read_*`` function returns its value or raises a `PapSMSError`, whatever came back; how an
answer is judged is told in `papsms_async.judgement`.

Source: PapSMS API guide, "Endpoints".
"""

from __future__ import annotations

import json
from contextlib import suppress
from urllib.parse import quote

from papsms_async.converter import MAX_ID, ValueRefusedError, identifier, structure
from papsms_async.errors import ConfigurationError, PapSMSError
from papsms_async.headers import quota_hint, retry_after, server_date
from papsms_async.judgement import ID_KEYS, Judge
from papsms_async.leniency import first, read_activation_status, read_country_list
from papsms_async.models import Activation, ActivationStatus, Country, FinishStatus
from papsms_async.wire import Defect, Operation, WireAnswer, WireRequest

__all__ = [
    "Defect",
    "Operation",
    "WireAnswer",
    "WireRequest",
    "countries_request",
    "finish_request",
    "purchase_request",
    "quota_hint",
    "read_countries",
    "read_finish",
    "read_purchase",
    "read_status",
    "retry_after",
    "server_date",
    "status_request",
]

# Requests ----------------------------------------------------------------------------------------


def purchase_request(service: str, country: str) -> WireRequest:
    """Return the request that buys a number.

    Raises:
        ConfigurationError: A word is empty, too long, or has control characters.
    """
    return WireRequest(
        operation=Operation.PURCHASE,
        method="POST",
        path="numbers/purchase",
        body=_body(country=_argument("country", country), service=_argument("service", service)),
    )


def status_request(activation_id: str) -> WireRequest:
    """Return the request that asks for the state of an activation.

    Raises:
        ConfigurationError: The id can't be one.
    """
    return WireRequest(
        operation=Operation.STATUS, method="GET", path=f"numbers/status/{_segment(activation_id)}"
    )


def finish_request(activation_id: str, status: FinishStatus | str) -> WireRequest:
    """Return the request that finishes an activation.

    Raises:
        ConfigurationError: The id can't be one, or ``status`` is not a `FinishStatus`.
    """
    try:
        status = FinishStatus(status)
    except ValueError:
        words = " or ".join(FinishStatus)
        raise ConfigurationError(f"An activation is finished as {words}.") from None
    return WireRequest(
        operation=Operation.FINISH,
        method="POST",
        path=f"numbers/finish/{_segment(activation_id)}",
        body=_body(status=status.value),
    )


def countries_request() -> WireRequest:
    """Return the request that lists the countries."""
    return WireRequest(operation=Operation.COUNTRIES, method="GET", path="countries")


def _body(**members: str) -> bytes:
    # ASCII: what is no character (a lone surrogate) stays an escape instead of an error.
    return json.dumps(members).encode("ascii")


def _argument(name: str, value: object) -> str:
    word = value.strip() if isinstance(value, str) else ""
    if not 0 < len(word) <= MAX_ID or not word.isprintable():
        raise ConfigurationError(f"The {name} must be up to {MAX_ID} printable characters.")
    return word


def _segment(activation_id: object) -> str:
    word = _argument("activation id", activation_id)
    if word.isascii() and word.isalnum():
        return word
    # Dots alone would be taken for a step up in the path.
    if not word.strip("."):
        raise ConfigurationError("The activation id can't be dots alone.")
    return quote(word, safe="")


# Answers -----------------------------------------------------------------------------------------


def read_purchase(answer: WireAnswer, *, service: str, country: str) -> Activation:
    """Return the number that was bought.

    Args:
        answer: The answer to `purchase_request`.
        service: What was asked for; stands in where the answer does not repeat it.
        country: Likewise.

    Raises:
        MalformedAnswerError: The answer can't be used. With ``activation_id`` and ``money``
            charged, the number was bought and should be released.
        PapSMSError: The purchase failed; ``money`` says whether it may have been charged.
    """
    judge = Judge(answer, Operation.PURCHASE)
    try:
        data = judge.data()
    except PapSMSError:
        judge.check_bought()
        raise
    # Known from the request, and nothing hangs on the service's spelling of them.
    wanted = {"service": service, "country": country}
    for key in wanted:
        with suppress(ValueRefusedError):
            wanted[key] = identifier(data.get(key))
    activation_id = first(data, *ID_KEYS)
    try:
        return structure({**data, **wanted, "activation_id": activation_id}, Activation)
    except ValueRefusedError as error:
        reason = str(error)
    judge.check_bought(reason)
    raise judge.malformed(reason)


def read_status(answer: WireAnswer, *, activation_id: str | None = None) -> ActivationStatus:
    """Return the state of an activation.

    Args:
        answer: The answer to `status_request`.
        activation_id: The id that was asked for, for the errors.

    Raises:
        ActivationNotFoundError: The service knows no such activation.
        PapSMSError: The answer is another error, or can't be used.
    """
    judge = Judge(answer, Operation.STATUS, activation_id)
    try:
        return read_activation_status(judge.data())
    except ValueRefusedError as error:
        reason = str(error)
    raise judge.malformed(reason)


def read_finish(answer: WireAnswer, *, activation_id: str | None = None) -> None:
    """Return if the activation was finished.

    What the service answers then is not documented. Taken for success are an object that does not
    speak of an error, and no content where the answer says so (204, or ``Content-Length: 0``).

    Args:
        answer: The answer to `finish_request`.
        activation_id: The id that was asked for, for the errors.

    Raises:
        AlreadyFinishedError: It was finished before.
        EarlyCancelError: It is too early to cancel it.
        CannotCancelError: It can't be cancelled.
        PapSMSError: The answer is another error, or can't be used.
    """
    judge = Judge(answer, Operation.FINISH, activation_id)
    empty = not answer.body.strip() and answer.defect is None
    if empty and (
        answer.status in (204, 205)
        or (200 <= answer.status < 300 and answer.header("content-length") == "0")
    ):
        return
    judge.payload()


def read_countries(answer: WireAnswer) -> tuple[Country, ...]:
    """Return the countries on offer, in the service's order, each code once.

    Raises:
        PapSMSError: The answer is an error, or no country can be read from it.
    """
    judge = Judge(answer, Operation.COUNTRIES)
    try:
        return read_country_list(judge.payload(lists=True))
    except ValueRefusedError as error:
        reason = str(error)
    raise judge.malformed(reason)
