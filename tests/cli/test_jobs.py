"""Reading jobs: every usable row becomes a job, all else a problem with its place."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async.cli.job_formats import JobFormat, format_of_name, read_rows, split_lines
from papsms_async.cli.jobs import COLUMNS, Job, JobFile, collect


def read(data: bytes, format: JobFormat | None = None, *, ignore: bool = False) -> JobFile:
    """Read a whole input."""
    return collect(read_rows(split_lines(data), format=format, ignore_columns=ignore))


def test_csv_row_has_all_columns() -> None:
    """Every known column of a CSV file reaches the job."""
    file = read(
        b"service,country,fallbacks,reference,tenant,sms_timeout,priority\n"
        b"whatsapp,US,gb|de;fr in,ref-1,acme,90.5,Interactive\n"
    )
    assert file.problems == ()
    assert file.jobs == (
        Job(
            "whatsapp",
            "us",
            fallbacks=("gb", "de", "fr", "in"),
            reference="ref-1",
            tenant="acme",
            sms_timeout=90.5,
            priority="interactive",
            line=2,
        ),
    )


def test_json_lines_row_has_all_columns() -> None:
    """Every known key of a JSON object reaches the job; null means the default."""
    row = {
        "service": "x",
        "country": None,
        "fallbacks": ["gb", "de"],
        "reference": 7,
        "sms_timeout": 60,
        "priority": "bulk",
        "x_note": {"any": "thing"},
    }
    file = read(json.dumps(row).encode())
    assert file.problems == ()
    expected = Job("x", fallbacks=("gb", "de"), reference="7", sms_timeout=60.0, line=1)
    assert file.jobs == (attrs.evolve(expected, priority="bulk"),)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"service\r\na\r\nb\r\n", [2, 3]),
        (b"\xef\xbb\xbfservice\na\n", [2]),
        (b"\n\nservice\n\na\n,\n", [5]),
        (b"service;country\na;us\n", [2]),
        (b"service\tcountry\na\tus\n", [2]),
        (b'"Service","SMS Timeout"\n"a",3\n', [2]),
        (b'service,reference\n"a","x ""y"" z"\nb,\n', [2, 3]),
        (b"service,x_mine\na,1\n", [2]),
        (b"service,,\n", None),
        (b'{"service":"a"}\n\n{"service":"b"}', [1, 3]),
    ],
)
def test_spellings_that_are_understood(data: bytes, lines: list[int] | None) -> None:
    """Byte order marks, blank lines, other separators and quotes are understood."""
    file = read(data)
    if lines is None:
        assert file.problems
    else:
        assert file.problems == ()
        assert [job.line for job in file.jobs] == lines


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "line 1: the input is empty"),
        (b"\n \n", "line 1: the input is empty"),
        (b"service\n", "line 1: there is no row in the input"),
        (b"servce,country\na,b\n", "line 1: unknown column 'servce', did you mean 'service'?"),
        (b"whatsapp\ntelegram\n", "line 1: no column 'service'"),
        (b"service,contry\na,us\n", "line 1, column 2: unknown column 'contry', did you mean"),
        (b"service,service\na,b\n", "line 1, column 2: 'service' is named twice"),
        (b"service,\na,b\n", "line 1, column 2: the column has no name"),
        (b"service,country\na\n", "line 2, column 2: the row has 1 of the header's 2 columns"),
        (b"service,country\na,b,c\n", "line 2, column 3: the row has 3 columns, the header 2"),
        (b"service,country\n,us\n", "line 2, column 1 (service): the service is missing"),
        (b"service,country\na,u s\n", "line 2, column 2 (country): not the code"),
        (b"service,sms_timeout\na,nan\n", "line 2, column 2 (sms_timeout): not a number"),
        (b"service,sms_timeout\na,1e3\n", "line 2, column 2 (sms_timeout): not a number"),
        (b"service,sms_timeout\na,0\n", "line 2, column 2 (sms_timeout): sms_timeout must be"),
        (b"service,sms_timeout\na,99999999\n", "line 2, column 2 (sms_timeout): sms_timeout"),
        ("service,sms_timeout\na,١٢\n".encode(), "line 2, column 2 (sms_timeout): not a number"),
        (b"service,priority\na,first\n", "line 2, column 2 (priority): not a priority"),
        (b'{"service":"a","priority":[1]}', "line 1, key 'priority': not a priority"),
        (b"service\na\xff\n", "line 2, character 2: not UTF-8 (byte 0xff)"),
        (b"service\na\0b\n", "line 2, character 2: a NUL character"),
        ("service\na\n".encode("utf-16"), "line 1: the file is UTF-16 or UTF-32"),
        (b'service\n"a\nb\n', "line 2: a quotation mark is never closed"),
        (b'service\n"a"b\n', "line 2: text after a closing quotation mark"),
        (b"service\n" + b"a" * 200_000, "line 2: a field is too long"),
        (b'service\n"a\nb"\n', "line 2, column 1 (service): not the name of a service"),
        (b'{"service":"a"', "line 1, character 15: not JSON"),
        (b'{"service":"a"}\n[1]', "line 2, character 1: each line must be an object"),
        (b'[{"service":"a"}]', "line 1, character 1: each line must be an object"),
        (b'{"country":"us"}', "line 1, key 'service': the service is missing"),
        (b'{"service":5}', "line 1, key 'service': the service must be a text, not 5"),
        (b'{"service":"a","service":"b"}', "line 1: a key is named twice"),
        (b'{"service":"a","sms_timeout":NaN}', "line 1: NaN is not JSON"),
        (b'{"service":"a","sms_timeout":true}', "line 1, key 'sms_timeout': not a number"),
        (b'{"service":"\\ud800"}', "line 1, key 'service': not the name of a service"),
        (b'{"service":"a","reference":"' + b"r" * 501 + b'"}', "line 1, key 'reference': is long"),
        (b'{"service":"a","fallback":"gb"}', "line 1, key 'fallback': unknown column 'fallback'"),
        (b'{"service":' + b"[" * 100_000, "line 1: not JSON that can be read"),
        (b'{"service":"a","sms_timeout":' + b"9" * 5000 + b"}", "line 1: not JSON that can be"),
    ],
)
def test_problem_names_its_place(data: bytes, expected: str) -> None:
    """What can't be used is told with line and column."""
    problems = [str(problem) for problem in read(data).problems]
    assert any(problem.startswith(expected) for problem in problems), problems


def test_all_problems_are_told() -> None:
    """One run shows everything that is wrong, not only the first thing."""
    file = read(b"service,country,sms_timeout\na,!,x\n,us,5\nok,us,5\nb,us\n")
    assert [problem.line for problem in file.problems] == [2, 2, 3, 5]
    assert [job.line for job in file.jobs] == [4]


def test_ignored_columns_do_no_harm() -> None:
    """With the option, unknown columns are ignored in both formats."""
    assert read(b"service,price\na,1\n", ignore=True).problems == ()
    assert read(b'{"service":"a","price":1}', ignore=True).problems == ()


def test_damaged_row_is_no_job() -> None:
    """A row with bytes that can't be read is never bought for, also when the rest is."""
    rows = list(read_rows(split_lines(b"service\na\xff\nb\n")))
    assert [row.line for row in rows if isinstance(row, Job)] == [3]


def test_rows_come_one_by_one() -> None:
    """A row is given before the next line is read, so a stream is served as it comes."""
    seen: list[int] = []

    def source() -> Iterator[bytes]:
        for number, line in enumerate((b"service\n", b"a\n", b"b\n")):
            seen.append(number)
            yield line

    rows = read_rows(source(), format=JobFormat.CSV)
    next(iter(rows))
    assert seen == [0, 1]


@pytest.mark.parametrize(
    ("name", "format"),
    [("a.csv", "csv"), ("A.TSV", "csv"), ("a.jsonl", "jsonl"), ("a.ndjson", "jsonl"), ("-", None)],
)
def test_format_follows_the_name(name: str, format: str | None) -> None:
    """The extension tells the format."""
    assert format_of_name(name) == format


@given(st.binary(), st.sampled_from([None, *JobFormat]))
def test_any_bytes_give_jobs_or_problems(data: bytes, format: JobFormat | None) -> None:
    """Whatever the bytes are, there are jobs or problems and no exception."""
    file = read(data, format)
    assert file.jobs or file.problems
    assert all("\n" not in str(problem) for problem in file.problems)


@given(
    st.text(
        alphabet=st.sampled_from('{}[]":,service country\n\t"0123e.-\\u\x00\ud83dé'), max_size=80
    ),
    st.sampled_from([None, *JobFormat]),
)
def test_almost_right_text_gives_jobs_or_problems(text: str, format: JobFormat | None) -> None:
    """Text of the formats' own characters never raises either."""
    file = read(b"service,country\n" + text.encode("utf-8", "surrogatepass"), format)
    assert file.jobs or file.problems


_words = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=20)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "service": _words,
                "country": st.from_regex(r"[a-z]{2}", fullmatch=True),
                "fallbacks": st.lists(st.from_regex(r"[a-z]{2}", fullmatch=True)),
                "reference": st.one_of(st.none(), _words),
                "sms_timeout": st.one_of(st.none(), st.integers(1, 86_400)),
            }
        ).filter(
            lambda row: str(row["service"]).isprintable() and str(row["reference"]).isprintable()
        ),
        min_size=1,
        max_size=5,
    )
)
def test_both_formats_say_the_same(rows: list[dict[str, object]]) -> None:
    """Rows written as CSV and as JSON Lines are read as the same jobs."""
    text = io.StringIO()
    names = [name for name in COLUMNS if name in rows[0]]
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    for row in rows:
        writer.writerow({**row, "fallbacks": "|".join(row["fallbacks"])})  # type: ignore[arg-type]
    from_csv = read(text.getvalue().encode(), JobFormat.CSV)
    from_json = read("\n".join(json.dumps(row) for row in rows).encode(), JobFormat.JSONL)
    assert from_csv.problems == from_json.problems == ()
    blank = [
        (job.service, job.country, job.fallbacks, job.reference, job.sms_timeout)
        for job in from_csv.jobs
    ]
    assert blank == [
        (job.service, job.country, job.fallbacks, job.reference, job.sms_timeout)
        for job in from_json.jobs
    ]
