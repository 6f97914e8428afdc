"""Recordings as files."""

from __future__ import annotations

import os
from pathlib import Path

from .form import RecordingError
from .replay import Replayed, replay_lines


class RecordingFile:
    """Appends lines to an open file, each handed to the system whole and at once.

    A crash loses nothing that was written, and leaves at most its last line cut off.

    Args:
        descriptor: The file, opened for writing; `close` closes it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.lines = 0

    def write(self, line: str) -> None:
        """Append a line.

        Raises:
            OSError: It cannot be written.
        """
        view = memoryview(line.encode())
        while view:
            view = view[os.write(self._descriptor, view) :]
        self.lines += 1

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def replay_file(path: str | os.PathLike[str]) -> Replayed:
    """Replay a recorded session against a fresh engine.

    Raises:
        RecordingError: The file is no recording, of a newer form, cut off or damaged.
        OSError: It cannot be read.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="\n") as lines:
            return replay_lines(lines)
    except UnicodeDecodeError as error:
        raise RecordingError("this is no recording: it is not text") from error
