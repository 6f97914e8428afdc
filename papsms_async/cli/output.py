"""Where results go: a file or standard output, line by line, written by a thread of its own.

A reader that pauses (``| less``) must not hold up the verifications, so the event loop never
writes. Each line is handed to the system before the next is taken: a crash loses nothing that was
written.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from papsms_async.cli.exit_codes import ExitCode
from papsms_async.cli.failures import CommandError
from papsms_async.cli.settings import reason

BACKLOG = 1000
"""Lines that may wait to be written before `LineWriter.room` makes its caller wait."""


def open_output(path: Path | None, *, force: bool) -> tuple[int, bool]:
    """Open the output, for its owner's eyes only: it holds phone numbers and codes.

    Args:
        path: The file; ``None`` and ``-`` mean standard output.
        force: Whether a file that exists may be emptied.

    Returns:
        Its descriptor, and whether the file was made just now.

    Raises:
        CommandError: It can't be written, or exists.
    """
    if path is None or str(path) == "-":
        try:
            return os.dup(sys.stdout.fileno()), False
        except (OSError, AttributeError, ValueError) as error:
            raise CommandError("standard output is closed", ExitCode.NOT_WRITABLE) from error
    flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
    try:
        try:
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600), True
        except FileExistsError:
            found = path.stat()
            if stat.S_ISREG(found.st_mode) and not force:
                raise CommandError(
                    f"{path} exists; name another file or pass --force to overwrite it",
                    ExitCode.NOT_WRITABLE,
                ) from None
            descriptor = os.open(path, flags)
            if stat.S_ISREG(found.st_mode):
                os.ftruncate(descriptor, 0)
                with contextlib.suppress(OSError, AttributeError):
                    os.fchmod(descriptor, 0o600)
            return descriptor, False
    except OSError as error:
        raise CommandError(f"can't write {path}: {reason(error)}", ExitCode.NOT_WRITABLE) from error


class LineWriter:
    """Writes lines to a descriptor, in order, without ever blocking the event loop.

    Args:
        path: See `open_output`.
        force: See `open_output`.
        on_failure: Called once, in the event loop, when a line could not be written.

    Raises:
        CommandError: The output can't be written.
    """

    def __init__(
        self, path: Path | None, *, force: bool = False, on_failure: Callable[[], None]
    ) -> None:
        self.name = "standard output" if path is None or str(path) == "-" else str(path)
        self._descriptor, self._fresh = open_output(path, force=force)
        self._path = path
        self._on_failure = on_failure
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._waiting = 0
        self._written = 0
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._thread: threading.Thread | None = None
        self.failure: OSError | None = None

    def write(self, line: str) -> None:
        """Write one line; call it in the event loop."""
        if self.failure is not None:
            return
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, name="papsms output", daemon=True)
            self._thread.start()
        with self._lock:
            self._waiting += 1
        # What can't be encoded (half of a surrogate pair from the service) must not end the run.
        self._lines.put(line.encode("utf-8", errors="backslashreplace") + b"\n")

    async def room(self) -> None:
        """Wait while too much waits to be written."""
        while self.failure is None and self._waiting > BACKLOG:
            self._news.clear()
            await self._news.wait()

    async def drain(self) -> None:
        """Wait until all is written, or nothing can be."""
        while self.failure is None and self._waiting:
            self._news.clear()
            await self._news.wait()

    def close(self) -> None:
        """Close the output; an empty file that was made for it is taken away again."""
        if self._thread is not None:
            self._lines.put(None)
        if not self._waiting:
            if self._thread is not None:
                self._thread.join()
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
        if self._fresh and not self._written and self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()

    @property
    def reader_left(self) -> bool:
        """Whether it failed because nobody reads any more."""
        return isinstance(self.failure, BrokenPipeError)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                view = memoryview(line)
                while view:
                    view = view[os.write(self._descriptor, view) :]
            except OSError as error:
                self._tell(error)
                return
            self._written += 1
            with self._lock:
                self._waiting -= 1
            if self._waiting in (0, BACKLOG):
                self._tell(None)

    def _tell(self, error: OSError | None) -> None:
        loop = self._loop
        assert loop is not None  # noqa: S101 - set before the thread is started
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(self._heard, error)

    def _heard(self, error: OSError | None) -> None:
        if error is not None and self.failure is None:
            self.failure = error
            self._on_failure()
        self._news.set()
