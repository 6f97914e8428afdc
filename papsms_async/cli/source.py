"""Where jobs come from: a file or standard input, read as a whole, or as rows come (--stream)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path

from papsms_async.cli.failures import CommandError
from papsms_async.cli.job_formats import JobFormat, format_of_name, read_rows, split_lines
from papsms_async.cli.jobs import Job, JobFile, Problem, collect
from papsms_async.cli.settings import reason

SHOWN = 20
"""Problems that are printed at most."""
AHEAD = 100
"""Rows of a stream that are read before somebody takes them."""


def read_jobs(name: str, *, format: JobFormat | None, ignore_columns: bool) -> tuple[Job, ...]:
    """Read a whole input.

    Args:
        name: Path of a file, ``-`` for standard input.
        format: How it is written; ``None`` finds out.
        ignore_columns: Whether columns without a meaning are ignored.

    Raises:
        CommandError: It can't be read, or there is any problem in it; all are named.
    """
    label = "standard input" if name == "-" else name
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except (OSError, ValueError, AttributeError) as error:
        why = reason(error) if isinstance(error, OSError) else "it is closed"
        raise CommandError(f"can't read {label}: {why}") from error
    rows = read_rows(
        split_lines(data), format=format or format_of_name(name), ignore_columns=ignore_columns
    )
    file = collect(rows)
    if file.problems:
        raise CommandError(problem_sentence(label, file), details=problem_lines(file.problems))
    return file.jobs


def problem_sentence(label: str, file: JobFile) -> str:
    """Return the sentence above a list of problems."""
    count = len(file.problems)
    return f"{label} has {count} problem{'s' * (count != 1)}; nothing was bought"


def problem_lines(problems: tuple[Problem, ...]) -> tuple[str, ...]:
    """Return a list of problems, not endlessly many."""
    lines = [f"  {problem}" for problem in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"  ... and {len(problems) - SHOWN} more")
    return tuple(lines)


def stdin_lines() -> Iterator[bytes]:
    """Yield the lines of standard input as they come."""
    # Not through sys.stdin: a thread that waits in it can't be left behind when the process ends.
    rest = b""
    while chunk := os.read(0, 65_536):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"
    if rest:
        yield rest


class Stream:
    """Rows of standard input as they come, for a bulk run without end.

    A thread reads, because reading blocks; it is a daemon, because nothing can end such a read.

    Args:
        lines: The input.
        format: How it is written; ``None`` finds out.
        ignore_columns: Whether columns without a meaning are ignored.
        on_problem: Called in the event loop with each row that can't be used.
    """

    def __init__(
        self,
        lines: Iterable[bytes],
        *,
        format: JobFormat | None,
        ignore_columns: bool,
        on_problem: Callable[[Problem], None],
    ) -> None:
        self._rows = read_rows(lines, format=format, ignore_columns=ignore_columns)
        self._on_problem = on_problem
        self._queue: asyncio.Queue[Job | Problem | BaseException | None] = asyncio.Queue()
        self._room = threading.Semaphore(AHEAD)
        self._closed = False

    def close(self) -> None:
        """Read no more; call it in the event loop."""
        self._closed = True
        self._queue.put_nowait(None)
        self._room.release()

    async def __aiter__(self) -> AsyncIterator[Job]:
        """Give the usable rows.

        Raises:
            CommandError: Nothing in it can be read.
        """
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=self._read, args=(loop,), name="papsms jobs", daemon=True)
        thread.start()
        while not self._closed:
            row = await self._queue.get()
            self._room.release()
            if row is None or self._closed:
                return
            if isinstance(row, BaseException):
                why = reason(row) if isinstance(row, OSError) else type(row).__name__
                raise CommandError(f"can't read standard input: {why}") from row
            if isinstance(row, Job):
                yield row
            elif row.fatal:
                raise CommandError("standard input can't be used", details=(f"  {row}",))
            else:
                self._on_problem(row)

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        def put(row: Job | Problem | BaseException | None) -> None:
            self._room.acquire()
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._queue.put_nowait, row)

        try:
            for row in self._rows:
                put(row)
                if self._closed:
                    return
        except Exception as error:
            put(error)
        else:
            put(None)
