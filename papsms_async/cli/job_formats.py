"""CSV and JSON Lines as rows; told apart by the name's extension, else by the first character.

Both are read as an iterator over lines, so that a file, standard input at once, and standard input
as it comes are the same thing.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import PurePath
from typing import Any

from papsms_async.cli.jobs import COLUMNS, Job, Problem, clip, column_problem, read_job

DELIMITERS = (",", ";", "\t")
"""Separators of columns; the header shows which one it is."""

_WIDE_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class JobFormat(StrEnum):
    """How the input is written."""

    CSV = "csv"
    JSONL = "jsonl"


def format_of_name(name: str) -> JobFormat | None:
    """Return the format that a file's extension tells, if any."""
    match PurePath(name).suffix.lower():
        case ".csv" | ".tsv":
            return JobFormat.CSV
        case ".jsonl" | ".ndjson" | ".json":
            return JobFormat.JSONL
        case _:
            return None


def read_rows(
    lines: Iterable[bytes], *, format: JobFormat | None = None, ignore_columns: bool = False
) -> Iterator[Job | Problem]:
    """Yield each row of the input as a job, or what is wrong with it.

    Args:
        lines: The input, cut anywhere after a line feed.
        format: How it is written; ``None`` finds out.
        ignore_columns: Whether columns without a meaning are ignored.
    """
    problems: list[Problem] = []
    texts = _decode(lines, problems)
    first = next(texts, "")
    if format is None:
        sign = first.lstrip()[:1]
        format = JobFormat.JSONL if sign in ("{", "[") and sign else JobFormat.CSV
    read = _read_csv if format is JobFormat.CSV else _read_jsonl
    for row in read(_chain(first, texts), ignore_columns):
        damaged = max((problem.line for problem in problems), default=0)
        yield from _drain(problems)
        if not isinstance(row, Job) or row.line > damaged:
            yield row
    yield from _drain(problems)


def split_lines(data: bytes) -> Iterator[bytes]:
    """Cut ``data`` after each line feed."""
    return iter(io.BytesIO(data))


def _drain(problems: list[Problem]) -> Iterator[Problem]:
    while problems:
        yield problems.pop(0)


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from rest


def _decode(lines: Iterable[bytes], problems: list[Problem]) -> Iterator[str]:
    """Yield the lines as text; what can't be read is told in ``problems`` and left blank."""
    for number, line in enumerate(lines, 1):
        if number == 1:
            if line.startswith(_WIDE_MARKS):
                problems.append(
                    Problem(line=1, message="the file is UTF-16 or UTF-32; save it as UTF-8")
                )
                return
            line = line.removeprefix(codecs.BOM_UTF8)
        text = line.decode("utf-8", errors="replace")
        at = line.find(b"\0")
        if at >= 0:
            problems.append(
                Problem(line=number, column=f"character {at + 1}", message="a NUL character")
            )
            text = text.replace("\0", " ")
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            column = len(line[: error.start].decode("utf-8", errors="replace")) + 1
            problems.append(
                Problem(
                    line=number,
                    column=f"character {column}",
                    message=f"not UTF-8 (byte 0x{line[error.start]:02x})",
                )
            )
        yield text


# CSV ---------------------------------------------------------------------------------------------


def _read_csv(lines: Iterator[str], ignore_columns: bool) -> Iterator[Job | Problem]:
    first = ""
    skipped = 0
    for first in lines:
        if first.strip():
            break
        skipped += 1
    if not first.strip():
        yield Problem(line=1, message="the input is empty", fatal=True)
        return
    delimiter = _delimiter(first)
    reader = csv.reader(_chain(first, lines), delimiter=delimiter, strict=True)
    records = _records(reader, skipped)
    header: list[str] | None = None
    for line, record in records:
        if isinstance(record, Problem):
            yield record
        elif header is None:
            header = [_normal(cell) for cell in record]
            found = list(_header_problems(header, line, ignore_columns))
            yield from found
            if any(problem.fatal for problem in found):
                return
        elif any(cell.strip() for cell in record):  # else a blank line
            yield from _csv_row(header, record, line)


def _delimiter(header: str) -> str:
    def known(delimiter: str) -> int:
        return sum(_normal(cell.strip('" \r\n')) in COLUMNS for cell in header.split(delimiter))

    return max(DELIMITERS, key=known)


def _records(reader: Any, skipped: int) -> Iterator[tuple[int, Any]]:
    """Yield each record with the line that it begins in."""
    while True:
        line = skipped + int(reader.line_num) + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            message = str(error)
            at = skipped + int(reader.line_num)
            if "unexpected end of data" in message:
                message = "a quotation mark is never closed"
            elif "field larger" in message:
                message = "a field is too long, a quotation mark may be missing"
            elif "expected after" in message:
                message = 'text after a closing quotation mark; inside quotes write "" for one'
            yield line, Problem(line=max(line, 1), message=f"{message} (seen in line {at})")
            if "unexpected end" in str(error):
                return
        else:
            yield line, record


def _normal(name: str) -> str:
    return "_".join(name.strip().lower().replace("-", " ").split())


def _header_problems(header: list[str], line: int, ignore: bool) -> Iterator[Problem]:
    if "service" not in header:
        near = [column_problem(name) for name in header if name]
        typo = next((text for text in near if text and "did you mean 'service'" in text), None)
        yield Problem(
            line=line,
            message=typo
            or "no column 'service'; the first line must name the columns, of "
            + ", ".join(COLUMNS),
            fatal=True,
        )
        return
    for number, name in enumerate(header, 1):
        column = f"column {number}"
        if name and header.index(name) != number - 1:
            yield Problem(
                line=line, column=column, message=f"{clip(name)} is named twice", fatal=True
            )
        elif not name:
            yield Problem(line=line, column=column, message="the column has no name")
        elif not ignore and (message := column_problem(name)) is not None:
            yield Problem(line=line, column=column, message=message)


def _csv_row(header: list[str], record: list[str], line: int) -> Iterator[Job | Problem]:
    if len(record) != len(header):
        yield Problem(
            line=line,
            column=f"column {min(len(record), len(header)) + 1}",
            message=f"the row has {len(record)} of the header's {len(header)} columns"
            if len(record) < len(header)
            else f"the row has {len(record)} columns, the header {len(header)}",
        )
        return
    columns = {name: f"column {number} ({name})" for number, name in enumerate(header, 1)}
    yield from read_job(dict(zip(header, record, strict=True)), line=line, columns=columns)


# JSON Lines --------------------------------------------------------------------------------------


class _RowError(ValueError):
    pass


def _read_jsonl(lines: Iterator[str], ignore_columns: bool) -> Iterator[Job | Problem]:
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
        except json.JSONDecodeError as error:
            yield Problem(
                line=number, column=f"character {error.colno}", message=f"not JSON: {error.msg}"
            )
        except (ValueError, RecursionError) as error:
            message = str(error) if isinstance(error, _RowError) else "not JSON that can be read"
            yield Problem(line=number, message=message)
        else:
            if isinstance(value, dict):
                yield from _json_row(value, number, ignore_columns)
                continue
            what = "an array" if isinstance(value, list) else clip(value)
            yield Problem(
                line=number,
                column="character 1",
                message=f"each line must be an object such as"
                f' {{"service": "whatsapp", "country": "us"}}, not {what}',
            )


def _json_row(value: dict[str, Any], line: int, ignore: bool) -> Iterator[Job | Problem]:
    unknown = False
    for name in value:
        message = None if ignore else column_problem(name)
        if message is not None:
            unknown = True
            yield Problem(line=line, column=f"key {clip(name)}", message=message)
    if not unknown:
        yield from read_job(value, line=line, columns={name: f"key {name!r}" for name in COLUMNS})


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _RowError("a key is named twice")
    return value


def _constant(name: str) -> Any:
    raise _RowError(f"{name} is not JSON")
