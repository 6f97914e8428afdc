"""The service's words on the wire: documented success shapes, the error shapes, money and time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import formatdate
from enum import StrEnum
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import assert_never

from .catalogue import COUNTRIES, cheapest


class ErrorShape(StrEnum):
    """The shapes in which services of this field say no; PapSMS documents none of them."""

    OBJECT = "object"
    """``{"success": false, "error": {"code": "NO_NUMBERS", "message": "..."}}``"""
    STRING = "string"
    """``{"success": false, "error": "NO_NUMBERS", "message": "..."}``"""
    MESSAGE = "message"
    """``{"success": false, "message": "..."}``"""


class CountriesShape(StrEnum):
    """The shapes in which ``/countries`` may list; which one PapSMS uses is not documented."""

    OBJECTS = "objects"
    """A list of objects with ``code``, ``name`` and ``price``."""
    STRINGS = "strings"
    """A list of codes."""
    MAPPING = "mapping"
    """An object keyed by code."""


class Refusal(Exception):
    """The service says no.

    Args:
        status: HTTP status.
        code: The machine's word, for example ``"NO_NUMBERS"``.
        message: A sentence.
        shape: Shape of the answer, ``None`` for the configured one.
        headers: Headers that belong to it, such as ``Retry-After``.
        literal: Whether the status stands even where errors are configured to come with 200.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        shape: ErrorShape | None = None,
        headers: Mapping[str, str] | None = None,
        literal: bool = False,
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.shape = shape
        self.headers = dict(headers or {})
        self.literal = literal


def dump(value: object) -> bytes:
    """Write JSON; a `Decimal` becomes a number with its own digits (``0.80``, not ``0.8``)."""
    return _text(value).encode("ascii")


def _text(value: object) -> str:
    # The usual types first: this runs a dozen times for every answer.
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dict):
        items = [f"{encode_basestring_ascii(key)}: {_text(item)}" for key, item in value.items()]
        return "{" + ", ".join(items) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    return json.dumps(value, allow_nan=False)


def instant(at: float) -> str:
    """Write POSIX seconds as the service does: ``2026-04-19T15:30:00Z``, whole seconds."""
    return _instant(int(at))


def http_date(at: float) -> str:
    """Write POSIX seconds as a ``Date`` or ``Retry-After`` header."""
    return _http_date(int(at))


@lru_cache(maxsize=4096)
def _instant(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(maxsize=64)
def _http_date(second: int) -> str:
    return formatdate(second, usegmt=True)


def success(data: object) -> bytes:
    """Write a success with its data."""
    return dump({"success": True, "data": data})


def purchased(
    *,
    activation_id: str,
    phone_number: str,
    country: str,
    service: str,
    expires_at: float,
    cost: Decimal,
) -> dict[str, object]:
    """Return the data of a purchase, as documented."""
    return {
        "activation_id": activation_id,
        "phone_number": phone_number,
        "country": country,
        "service": service,
        "expires_at": instant(expires_at),
        "cost": cost,
    }


def status(
    word: str, *, code: str | None, full_text: str | None, received_at: float | None
) -> bytes:
    """Write a status, as documented; without ``received_at`` there is no SMS."""
    sms: dict[str, object] | None = None
    if received_at is not None:
        sms = {"code": code, "full_text": full_text, "received_at": instant(received_at)}
    return success({"status": word, "sms": sms})


def finished(activation_id: str, word: str) -> bytes:
    """Write the answer to a finish."""
    return success({"activation_id": activation_id, "status": word})


@lru_cache(maxsize=4)
def countries(shape: CountriesShape) -> bytes:
    """Write the list of countries."""
    match shape:
        case CountriesShape.OBJECTS:
            return success(
                [
                    {"code": country.code, "name": country.name, "price": cheapest(country)}
                    for country in COUNTRIES.values()
                ]
            )
        case CountriesShape.STRINGS:
            return success(list(COUNTRIES))
        case CountriesShape.MAPPING:
            return success(
                {
                    code: {"name": country.name, "price": cheapest(country)}
                    for code, country in COUNTRIES.items()
                }
            )
        case _:
            assert_never(shape)


def refused(shape: ErrorShape, code: str, message: str) -> bytes:
    """Write a refusal in that shape."""
    match shape:
        case ErrorShape.OBJECT:
            return dump({"success": False, "error": {"code": code, "message": message}})
        case ErrorShape.STRING:
            return dump({"success": False, "error": code, "message": message})
        case ErrorShape.MESSAGE:
            return dump({"success": False, "message": message})
        case _:
            assert_never(shape)
