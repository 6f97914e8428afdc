"""Fields of a control request: read strictly, with one clear sentence where one is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from urllib.parse import parse_qsl

from .messages import SandboxRequest

MOST = 999_999_999
"""The largest whole number and the most seconds in a query."""

_MOST_FIELDS = 200
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{0,99})?([eE][+-]?[0-9]{1,3})?|\.[0-9]{1,99}", re.ASCII)


ControlCall = Callable[[Mapping[str, object], Mapping[str, str]], object]
"""Answers a control request, given the fields of its body and of its query."""

ControlCalls = dict[tuple[str, str], ControlCall]
"""Those who answer, by verb and name."""


class ControlError(Exception):
    """A control request that is well-formed and can't be done.

    Args:
        status: HTTP status.
        message: A sentence.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def json_object(request: SandboxRequest) -> Mapping[str, object]:
    """Return the body, nothing for an empty one.

    Raises:
        ValueError: It is not a JSON object.
    """
    if not request.body.strip():
        return {}
    try:
        value = json.loads(request.body)
    except (ValueError, RecursionError):
        raise ValueError("the body is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("the body is not a JSON object")
    return value


def form_fields(request: SandboxRequest) -> dict[str, str]:
    """Return the fields of a body that is a form; of several with one name the last.

    Raises:
        ValueError: It is no form in UTF-8, or has too many fields.
    """
    try:
        text = request.body.decode()
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise ValueError(
            f"the body is no form in UTF-8 with at most {_MOST_FIELDS} fields"
        ) from None


def text_of(body: Mapping[str, object], key: str) -> str | None:
    """Return a string, ``None`` where it is left out or null.

    Raises:
        ValueError: It is something else.
    """
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key} is a string")
    return value


def integer_of(body: Mapping[str, object], key: str) -> int | None:
    """Return a whole number, ``None`` where it is left out or null.

    Raises:
        ValueError: It is something else.
    """
    value = body.get(key)
    if isinstance(value, float) and value.is_integer():  # 7.0 is one too, as JSON Schema has it
        return int(value)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise ValueError(f"{key} is a whole number")
    return value


def number_of(body: Mapping[str, object], key: str) -> float | None:
    """Return a number, ``None`` where it is left out or null.

    Raises:
        ValueError: It is something else.
    """
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{key} is a number")
    return float(value)


def notation_of(body: Mapping[str, object], key: str) -> str:
    """Return a notation that may be written as one string or as a list of strings.

    Raises:
        ValueError: It is something else, or left out.
    """
    value = body.get(key)
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        if any(len(re.split(r"[,\s]+", item.strip())) != 1 or not item.strip() for item in value):
            raise ValueError(f"{key} has one in each item of the list")
        return ",".join(value)
    raise ValueError(f"{key} is a string or a list of strings")


def last_of(query: Mapping[str, str], *, default: int = 1000) -> int:
    """Return how many of the latest entries a request asks for with ``?last=N``.

    Raises:
        ValueError: It is no whole number, 0 or more.
    """
    text = query.get("last", str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MOST))):
        raise ValueError(f"last is a whole number, 0 to {MOST}")
    return int(text)


def flag_of(query: Mapping[str, str], key: str) -> bool:
    """Return whether a request asks for something with ``?KEY=1`` or ``?KEY=true``.

    Raises:
        ValueError: It is neither that nor 0 nor false.
    """
    text = query.get(key, "0").lower()
    if text not in {"0", "1", "false", "true"}:
        raise ValueError(f"{key} is 1, 0, true or false")
    return text in {"1", "true"}


def seconds_of(query: Mapping[str, str], key: str, *, default: float) -> float:
    """Return a number of seconds above 0, at most `MOST`.

    Raises:
        ValueError: It is something else.
    """
    text = query.get(key)
    if text is None:
        return default
    seconds = float(text) if _NUMBER.fullmatch(text) else 0.0
    if not 0.0 < seconds <= MOST:
        raise ValueError(f"{key} is a number of seconds above 0, at most {MOST}")
    return seconds


def check_known(body: Mapping[str, object], known: Collection[str]) -> None:
    """See that a body has no other keys than these.

    Raises:
        ValueError: It has.
    """
    unknown = sorted(set(body) - set(known))
    if unknown:
        raise ValueError(f"no such field: {unknown[0]!r}; there are {', '.join(known)}")
