"""Reading what the service may say in more than one way, or say half.

An SMS that arrived was paid for, and a list of countries is read by people: neither is thrown away
because a part of it is strange. Ids, prices and instants still go through the strict hooks of
`papsms_async.converter`.

Source: PapSMS API guide, "What is not documented".
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from papsms_async.converter import (
    ValueRefusedError,
    count,
    identifier,
    instant,
    price,
    structure,
    text,
)
from papsms_async.models import ActivationStatus, Country, Sms, Status

_KNOWN_STATUSES = {status.value: status.value for status in Status} | {
    "pending": Status.WAITING.value,
    "wait": Status.WAITING.value,
    "finished": Status.COMPLETED.value,
    "complete": Status.COMPLETED.value,
    "canceled": Status.CANCELLED.value,
}


def read_sms(value: Any) -> Sms | None:
    """Return the SMS that ``value`` describes, or ``None`` if there is none in it.

    An SMS that arrived was paid for: a code that is missing or strange becomes ``None``, a text
    that is missing ``""``, an instant that can't be read ``None``. A code that was sent as a number
    keeps its digits.
    """
    if isinstance(value, list) and value:
        value = value[-1]
    if isinstance(value, str) and value.strip():
        value = {"full_text": value}
    if not isinstance(value, dict):
        return None
    code = _code(first(value, "code", "sms_code"))
    full_text = first(value, "full_text", "fullText", "text", "message")
    if code is None and not (isinstance(full_text, str) and full_text.strip()):
        return None
    try:
        received_at = instant(first(value, "received_at", "receivedAt"))
    except ValueRefusedError:
        received_at = None
    return Sms(
        code=code,
        full_text=full_text if isinstance(full_text, str) else "",
        received_at=received_at,
    )


def _code(value: Any) -> str | None:
    if isinstance(value, Decimal) and value.is_finite() and abs(value) < 10**30:
        # A code that went through somebody's floating point: 847291.0
        value = int(value) if value == value.to_integral_value() else str(value)
    try:
        return identifier(value)
    except ValueRefusedError:
        return None


def read_activation_status(value: Any) -> ActivationStatus:
    """Return the state that ``value`` describes; a word that is not known is kept as it is.

    Raises:
        ValueRefusedError: There is neither a status nor an SMS in it.
    """
    if not isinstance(value, dict):
        raise ValueRefusedError("missing or unusable: status")
    sms = read_sms(value.get("sms"))
    try:
        word = identifier(value.get("status"))
    except ValueRefusedError:
        word = ""
    if not word:
        if sms is None:
            raise ValueRefusedError("missing or unusable: status")
        word = Status.RECEIVED.value
    return ActivationStatus(status=_KNOWN_STATUSES.get(word.lower(), word), sms=sms)


def read_country_list(value: Any) -> tuple[Country, ...]:
    """Return the countries in ``value``, each code once, in its order.

    It may be a list of objects or of texts, or an object keyed by code, wrapped in ``data`` or
    ``countries`` or both.

    Raises:
        ValueRefusedError: It has another form, or no entry of it is a country.
    """
    for key in ("data", "countries"):
        if isinstance(value, dict) and isinstance(value.get(key), list | dict):
            value = value[key]
    if isinstance(value, dict):
        found = [
            read_country(entry, key)
            for key, entry in value.items()
            if isinstance(entry, dict | str | int | Decimal) and key not in _ENVELOPE
        ]
    elif isinstance(value, list):
        found = [read_country(entry) for entry in value]
    else:
        raise ValueRefusedError("missing or unusable: countries")
    countries = {country.code: country for country in reversed(found) if country is not None}
    if not countries and (value or isinstance(value, dict)):
        raise ValueRefusedError("missing or unusable: countries")
    return tuple(reversed(countries.values()))


_ENVELOPE = frozenset({"success", "message", "status", "data", "countries"})


def read_country(value: Any, code: str | None = None) -> Country | None:
    """Return the country that ``value`` (an object, a name or a code) describes.

    Args:
        value: The country; where ``code`` is given, a text is its name, else its code.
        code: Its code where the list is an object keyed by code.

    Returns:
        The country, or ``None`` if it has no usable code. What else is strange is left out.
    """
    if isinstance(value, str):
        value = {"code": value} if code is None else {"name": value}
    elif code is not None and isinstance(value, int | Decimal):
        value = {}  # a price or a count: nobody says which
    if not isinstance(value, dict):
        return None
    if code is None:
        code = first(value, "code", "country_code", "countryCode", "iso", "iso2", "country", "id")
    wanted: dict[str, Any] = {"code": code}
    optional = {
        "name": first(value, "name", "country_name", "title"),
        "price": first(value, "price", "min_price", "cost"),
        "available": first(value, "available", "count", "stock", "quantity"),
    }
    for key, check in (("name", text), ("price", price), ("available", count)):
        try:
            wanted[key] = check(optional[key])
        except ValueRefusedError:
            continue
    try:
        return structure(wanted, Country)
    except ValueRefusedError:
        return None


def first(value: Mapping[Any, Any], *keys: str) -> Any:
    """Return the first value that is there and not null."""
    for key in keys:
        found = value.get(key)
        if found is not None:
            return found
    return None
