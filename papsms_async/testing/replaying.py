"""Recorded sessions of the sandbox as tests."""

from __future__ import annotations

import os

from papsms_async.sandbox.recording import replay_file


def replay(path: str | os.PathLike[str]) -> int:
    """Ask a fresh sandbox what a recorded session asked; every answer must be as recorded.

    A file that ``papsms sandbox --record`` wrote is a regression test in one line::

        def test_sign_up_still_works_like_that():
            replay("tests/data/sign_up.jsonl")

    Args:
        path: The recording.

    Returns:
        How many answers and webhooks were compared.

    Raises:
        AssertionError: An answer is another one; the message shows the first.
        RecordingError: The file is no recording, of a newer version, cut off or damaged.
        OSError: It cannot be read.
    """
    replayed = replay_file(path)
    if replayed.difference is not None:
        raise AssertionError(f"{path}: {replayed.difference}")
    return replayed.compared
