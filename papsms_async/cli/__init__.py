"""The command line ``papsms``. `main` is its entry point; importing this loads nothing else."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run ``papsms`` with ``args`` (the process's own by default) and exit with its status."""
    try:
        from papsms_async.cli.early import ignore_late, interrupt_early

        interrupt_early()
        # Loading all of it takes a moment, in which Ctrl-C must not show a traceback.
        from papsms_async.cli.entry import run

        code = run(args)
        ignore_late()
    except KeyboardInterrupt:
        code = 130
        _say("papsms: interrupted")
    _flush()
    sys.exit(code)


def _say(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - before anything is loaded
    except (OSError, ValueError):
        return


def _flush() -> None:
    """Flush standard output now: at exit a reader that left would make Python complain."""
    import os

    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            try:
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
            except (OSError, ValueError, AttributeError):
                continue
