"""The input of ``papsms run``: rows of a CSV or JSON Lines file as requests.

The columns are ``service`` (needed), ``country``, ``fallbacks`` (separated by ``|``, ``;`` or
blanks), ``reference``, ``tenant``, ``sms_timeout`` (seconds) and ``priority``. A column that begins
with ``x_`` is a note of the user's; any other unknown one is a problem, because ``contry`` must not
be ignored in silence. Whatever the bytes are, reading gives jobs and problems and never fails.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from papsms_async.errors import ConfigurationError
from papsms_async.verification import Priority, VerificationRequest, check_timeout

COLUMNS = ("service", "country", "fallbacks", "reference", "tenant", "sms_timeout", "priority")
"""The columns that have a meaning."""

LONGEST_NOTE = 500
"""Characters that a reference or a tenant may have."""

_COUNTRY = re.compile(r"[A-Za-z0-9_-]{1,32}")
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9}")
_BETWEEN = re.compile(r"[|;,\s]+")


@attrs.frozen
class Job(VerificationRequest):
    """A request that knows its line in the input.

    Args:
        line: Line of the input that it begins in, from 1; 0 for one that was not in a file.
    """

    line: int = attrs.field(default=0, kw_only=True)


@attrs.frozen(kw_only=True)
class Problem:
    """Something in the input that can't be used.

    Attributes:
        line: Line of the input, from 1.
        column: The column in words, such as ``column 2 (country)``, or ``None``.
        message: What is wrong with it, without a full stop.
        fatal: Whether nothing after it can be read.
    """

    line: int
    column: str | None = None
    message: str
    fatal: bool = False

    def __str__(self) -> str:
        where = f"line {self.line}" + (f", {self.column}" if self.column else "")
        return f"{where}: {self.message}"


@attrs.frozen
class JobFile:
    """What an input holds.

    Attributes:
        jobs: Its usable rows.
        problems: What is wrong with it; with any, nothing should be bought.
    """

    jobs: tuple[Job, ...]
    problems: tuple[Problem, ...]


def collect(rows: Iterable[Job | Problem]) -> JobFile:
    """Read ``rows`` to their end."""
    jobs: list[Job] = []
    problems: list[Problem] = []
    for row in rows:
        if isinstance(row, Job):
            jobs.append(row)
        else:
            problems.append(row)
    if not jobs and not problems:
        problems.append(Problem(line=1, message="there is no row in the input"))
    return JobFile(tuple(jobs), tuple(problems))


def column_problem(name: str) -> str | None:
    """Return what is wrong with a column's name, or ``None`` if it can be used or ignored."""
    if name in COLUMNS or name.startswith("x_"):
        return None
    near = difflib.get_close_matches(name, COLUMNS, n=1)
    hint = f", did you mean {near[0]!r}?" if near else f"; known are {', '.join(COLUMNS)}"
    return f"unknown column {clip(name)}{hint} (name it x_... or pass --ignore-columns to keep it)"


def clip(value: object) -> str:
    """Return a value of the input for a message: quoted, short, and printable."""
    text = ascii(value) if not isinstance(value, str) or not value.isprintable() else repr(value)
    return text if len(text) <= 40 else f"{text[:36]}...{text[-1]}"


def read_job(
    values: dict[str, Any], *, line: int, columns: dict[str, str]
) -> Iterator[Job | Problem]:
    """Yield the job that ``values`` make, or everything that is wrong with them.

    Args:
        values: Values by the names in `COLUMNS`; texts or, from JSON, other values. ``None`` and
            an empty text mean the default.
        line: Line of the input that they begin in.
        columns: How to speak of each column in a problem.
    """
    problems: list[Problem] = []
    fields: dict[str, Any] = {}
    readers = {
        "service": _service,
        "country": _country,
        "fallbacks": _fallbacks,
        "reference": _note,
        "tenant": _note,
        "sms_timeout": _seconds,
        "priority": _priority,
    }
    for name, reader in readers.items():
        value = values.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        try:
            fields[name] = reader(value)
        except ValueError as error:
            message = str(error).rstrip(".")
            problems.append(Problem(line=line, column=columns.get(name, name), message=message))
    if "service" not in fields and not problems:
        problems.append(
            Problem(line=line, column=columns.get("service"), message="the service is missing")
        )
    if problems:
        yield from problems
        return
    try:
        yield Job(line=line, **fields)
    except ConfigurationError as error:  # a rule of the library that no reader here knows
        yield Problem(line=line, message=error.message.rstrip("."))


def _service(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"the service must be a text, not {clip(value)}")
    text = value.strip()
    if len(text) > 100 or not text.isprintable():
        raise ValueError(f"not the name of a service: {clip(value)}")
    return text


def _country(value: Any) -> str:
    if not isinstance(value, str) or not _COUNTRY.fullmatch(value.strip()):
        raise ValueError(f"not the code of a country, such as us: {clip(value)}")
    return value.strip()


def _fallbacks(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(_country(part) for part in _BETWEEN.split(value) if part)
    if isinstance(value, list):
        return tuple(_country(part) for part in value)
    raise ValueError(f"fallbacks are codes of countries, such as gb|de: {clip(value)}")


def _note(value: Any) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        raise ValueError(f"must be a text, not {clip(value)}")
    if len(text) > LONGEST_NOTE:
        raise ValueError(f"is longer than {LONGEST_NOTE} characters")
    if not text.isprintable():
        raise ValueError(f"has a character that can't be printed: {clip(value)}")
    return text.strip()


def _seconds(value: Any) -> float:
    number: float = math.nan
    if isinstance(value, str):
        if _NUMBER.fullmatch(value.strip()):
            number = float(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(max(-1.0, min(value, 1e9)))
    if math.isnan(number):
        raise ValueError(f"not a number of seconds, such as 90: {clip(value)}")
    return check_timeout("sms_timeout", number)


def _priority(value: Any) -> Priority:
    word = value.strip().lower() if isinstance(value, str) else value
    if word not in tuple(Priority):
        raise ValueError(f"not a priority, interactive or bulk: {clip(value)}")
    return Priority(word)
