"""Between JSON and values: the one place where types are checked.

The hooks are strict: a wrong id, price or instant would cost money. Where strictness would lose
something that was paid for (an SMS), `papsms_async.leniency` is in between.

By itself cattrs turns a null id into the text ``'None'`` and accepts instants without a time zone;
here both are refused. Numbers never go through binary floating point.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from papsms_async.models import Activation, Country

if TYPE_CHECKING:
    import cattrs

T = TypeVar("T")

_SEPARATORS = re.compile(r"[\s().\-]")
_PHONE_DIGITS = re.compile(r"\d{4,20}", re.ASCII)

MAX_PRICE = Decimal(1_000_000)
"""US dollars above which a number is no price."""

MAX_ID = 200
"""Characters that an id has at most."""


class ValueRefusedError(ValueError):
    """A value does not have the form that it must have. Names the fields, never their content."""


# JSON --------------------------------------------------------------------------------------------


def read_json(body: bytes) -> Any:
    """Return what the JSON text ``body`` says; numbers with a fraction as `Decimal`.

    A byte order mark is skipped and bytes that are not UTF-8 become U+FFFD, so that one broken
    character in a text does not cost the whole answer. ``NaN`` and ``Infinity`` become such
    decimals, which every hook refuses.

    Raises:
        ValueRefusedError: It is not JSON, or nested too deeply.
    """
    try:
        text = body.decode("utf-8", "replace").removeprefix("\ufeff").strip(" \t\r\n")
        value, end = _JSON.raw_decode(text)
    except (ValueError, RecursionError):
        pass  # The error quotes the text; so it is not chained.
    else:
        if end == len(text):
            return value
    raise ValueRefusedError("not JSON")


def read_strict_json(body: bytes, *, deepest: int = 8) -> Any:
    """Return what the JSON text ``body`` says, where nothing in it can be read in two ways.

    For what a stranger sends, and others (a proxy, a verifier of signatures) read as well. Numbers
    are read as by `read_json`.

    Args:
        body: The text, in UTF-8; a byte order mark is skipped.
        deepest: How many objects and lists may be inside each other.

    Raises:
        ValueRefusedError: It is not JSON or not UTF-8, an object has a key twice, or it is nested
            more deeply.
    """
    try:
        value = json.loads(
            body.decode("utf-8-sig"),
            parse_float=_decimal,
            parse_int=_integer,
            parse_constant=_decimal,
            object_pairs_hook=_object,
        )
    except (ValueError, RecursionError):
        pass  # The error quotes the text; so it is not chained.
    else:
        level = [value]
        for _ in range(deepest + 1):
            level = [
                inner
                for one in level
                if isinstance(one, dict | list)
                for inner in (one.values() if isinstance(one, dict) else one)
            ]
        if not level:
            return value
    raise ValueRefusedError("not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _decimal(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except ArithmeticError:  # an exponent beyond all bounds
        return Decimal("NaN")


def _integer(digits: str) -> int | Decimal:
    # Python refuses to read integers of more than 4,300 digits.
    return int(digits) if len(digits) <= 100 else Decimal("NaN")


_JSON = json.JSONDecoder(parse_float=_decimal, parse_int=_integer, parse_constant=_decimal)
"""Kept: to make one takes longer than to read a status with it."""


# Hooks -------------------------------------------------------------------------------------------


def price(value: Any) -> Decimal:
    """Return ``value``, a JSON number or its digits as a text, as US dollars.

    Raises:
        ValueRefusedError: It is anything else, negative, not finite, or no price.
    """
    if isinstance(value, str) and re.fullmatch(r"\d{1,12}(\.\d{1,20})?", value.strip(), re.ASCII):
        value = Decimal(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueRefusedError("not a price")
    amount = Decimal(value)
    if not amount.is_finite():
        raise ValueRefusedError("not a price")
    exponent = amount.as_tuple().exponent
    # -0.0 is below zero only for comparisons of signs. Far exponents would make later sums huge.
    if amount < 0 or amount > MAX_PRICE or not isinstance(exponent, int) or exponent < -20:
        raise ValueRefusedError("not a price")
    return abs(amount)


def instant(value: Any) -> datetime:
    """Return ``value``, a text in ISO 8601 with a time zone or an aware ``datetime``, in UTC.

    Raises:
        ValueRefusedError: It is anything else, or has no time zone.
    """
    if isinstance(value, str) and len(value) <= 64:
        try:
            value = datetime.fromisoformat(value.strip().upper())
        except ValueError:
            value = None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueRefusedError("not an instant with a time zone")
    try:
        return value.astimezone(UTC)
    except (ValueError, OverflowError):
        value = None
    raise ValueRefusedError("not an instant with a time zone")


def identifier(value: Any) -> str:
    """Return ``value``, a non-empty text or an integer, as an id.

    Raises:
        ValueRefusedError: It is null, a boolean, empty, too long, or has unprintable characters.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueRefusedError("not an id")
    text: str = value.strip()
    # U+FFFD stands for bytes that could not be read: such an id would be another one.
    if not 0 < len(text) <= MAX_ID or not text.isprintable() or "\ufffd" in text:
        raise ValueRefusedError("not an id")
    return text


def phone_number(value: Any) -> str:
    """Return ``value`` in E.164 form: ``+`` and digits. Separators and a leading 00 are removed.

    Raises:
        ValueRefusedError: It is not a phone number.
    """
    digits = _SEPARATORS.sub("", identifier(value))
    digits = digits.removeprefix("+" if digits.startswith("+") else "00")
    if not _PHONE_DIGITS.fullmatch(digits):
        raise ValueRefusedError("not a phone number")
    return f"+{digits}"


def text(value: Any) -> str:
    """Return ``value`` if it is a text.

    Raises:
        ValueRefusedError: It is anything else.
    """
    if not isinstance(value, str):
        raise ValueRefusedError("not a text")
    return value


def count(value: Any) -> int:
    """Return ``value``, an integer of 0 or more or its digits.

    Raises:
        ValueRefusedError: It is anything else.
    """
    if isinstance(value, str) and re.fullmatch(r"\d{1,12}", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueRefusedError("not a count")
    return value


def boolean(value: Any) -> bool:
    """Return ``value`` if it is true or false.

    Raises:
        ValueRefusedError: It is anything else.
    """
    if not isinstance(value, bool):
        raise ValueRefusedError("not a boolean")
    return value


def number(value: Any) -> float:
    """Return ``value``, a finite number, for what is measured and not money.

    Raises:
        ValueRefusedError: It is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueRefusedError("not a number")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise ValueRefusedError("not a number")
    return result


@cache
def converter() -> cattrs.Converter:
    """Return the one converter of all values of `papsms_async.models`.

    Unstructured, money and instants are texts. It is built at the first call, so that importing
    this library costs little more than importing aiohttp.
    """
    import cattrs
    from cattrs.gen import make_dict_structure_fn, override

    built = cattrs.Converter()
    built.register_structure_hook(str, lambda value, _: text(value))
    built.register_structure_hook(int, lambda value, _: count(value))
    built.register_structure_hook(Decimal, lambda value, _: price(value))
    built.register_structure_hook(datetime, lambda value, _: instant(value))
    built.register_structure_hook(bool, lambda value, _: boolean(value))
    built.register_structure_hook(float, lambda value, _: number(value))
    built.register_unstructure_hook(Decimal, str)
    built.register_unstructure_hook(
        datetime, lambda value: value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    )
    built.register_structure_hook(
        Activation,
        make_dict_structure_fn(
            Activation,
            built,
            activation_id=override(struct_hook=lambda value, _: identifier(value)),
            phone_number=override(struct_hook=lambda value, _: phone_number(value)),
            country=override(struct_hook=lambda value, _: identifier(value).lower()),
            service=override(struct_hook=lambda value, _: identifier(value)),
        ),
    )
    built.register_structure_hook(
        Country,
        make_dict_structure_fn(
            Country, built, code=override(struct_hook=lambda value, _: identifier(value).lower())
        ),
    )
    return built


def structure(value: Any, cls: type[T]) -> T:
    """Return ``value``, as read from JSON, as a ``cls``. Unknown keys are ignored.

    Raises:
        ValueRefusedError: It does not fit; the message names the fields.
    """
    from cattrs import ClassValidationError

    try:
        return converter().structure(value, cls)
    except ClassValidationError as error:
        grouped, other = error.group_exceptions()
        names = sorted({note.name for _, note in grouped})
        reason = ", ".join(names) if names else type(other[0]).__name__ if other else "its form"
    except Exception as error:
        reason = type(error).__name__
    # Not chained: the errors of the hooks quote what they were given.
    raise ValueRefusedError(f"missing or unusable: {reason}")
