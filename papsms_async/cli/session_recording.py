"""A sandbox's session into a file: what cannot be written any more ends the sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from papsms_async.cli.exit_codes import ExitCode
from papsms_async.cli.failures import CommandError
from papsms_async.cli.output import open_output
from papsms_async.cli.settings import reason
from papsms_async.sandbox import SandboxEngine
from papsms_async.sandbox.recording import Recorder, RecordingFile


async def record_session(
    engine: SandboxEngine,
    path: Path,
    *,
    force: bool,
    serve: Callable[[Recorder], Awaitable[None]],
) -> None:
    """Serve a sandbox and record everything that is asked of it.

    Args:
        engine: The engine.
        path: The recording.
        force: Whether a file that exists may be overwritten.
        serve: Serves the engine through a recorder until it is cancelled.

    Raises:
        CommandError: The recording cannot be begun, or not gone on with.
    """
    if str(path) == "-":
        raise CommandError("--record needs a file: standard output is for the sandbox's address")
    descriptor, fresh = open_output(path, force=force)
    file = RecordingFile(descriptor)
    try:
        await _Session(file, path).run(engine, serve)
    except BaseException:
        if fresh and file.lines <= 1:
            _take_away(path)
        raise
    finally:
        file.close()


def _take_away(path: Path) -> None:
    """Remove a recording in which nothing was asked: the next try finds no file in its way."""
    with contextlib.suppress(OSError):
        path.unlink()


class _Session:
    def __init__(self, file: RecordingFile, path: Path) -> None:
        self._file = file
        self._path = path
        self._failure: OSError | None = None
        self._serving: asyncio.Future[None] | None = None

    async def run(
        self, engine: SandboxEngine, serve: Callable[[Recorder], Awaitable[None]]
    ) -> None:
        try:
            recorder = Recorder(engine, self._write, start=time.time())
        except ValueError as error:
            raise CommandError(f"--record: {error}") from error
        if self._failure is None:
            self._serving = asyncio.ensure_future(serve(recorder))
            await asyncio.wait([self._serving])
        if self._failure is not None:
            why = reason(self._failure)
            raise CommandError(f"can't write {self._path}: {why}", ExitCode.NOT_WRITABLE)
        if self._serving is not None:
            self._serving.result()

    def _write(self, line: str) -> None:
        if self._failure is not None:
            return
        try:
            self._file.write(line)
        except OSError as error:
            self._failure = error
            if self._serving is not None:
                self._serving.cancel()
