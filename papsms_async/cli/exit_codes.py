"""The exit status of every command, in one place."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the exit status of `papsms` says."""

    OK = 0
    NOT_ALL_COMPLETED = 1
    USAGE = 2
    KEY = 3
    UNREACHABLE = 4
    ACCOUNT = 5
    NOT_WRITABLE = 6
    OWED = 7
    DEFECT = 70
    INTERRUPTED = 130


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "everything that was asked for was done",
    ExitCode.NOT_ALL_COMPLETED: "a verification not completed, a request refused, a replay that"
    " differs",
    ExitCode.USAGE: "wrong usage, or malformed input; nothing was bought",
    ExitCode.KEY: "no API key, or the service refused it",
    ExitCode.UNREACHABLE: "the service can't be reached",
    ExitCode.ACCOUNT: "the account or the service can't (no balance, blocked, failing)",
    ExitCode.NOT_WRITABLE: "output or ledger can't be used, or its reader went away",
    ExitCode.OWED: "a number is not finished yet, its id is printed",
    ExitCode.DEFECT: "a defect of papsms itself",
    ExitCode.INTERRUPTED: "interrupted by SIGINT or SIGTERM; what was begun is released",
}
"""One line each, for ``papsms --help``."""

PRECEDENCE = (
    ExitCode.OWED,
    ExitCode.INTERRUPTED,
    ExitCode.DEFECT,
    ExitCode.NOT_WRITABLE,
    ExitCode.KEY,
    ExitCode.ACCOUNT,
    ExitCode.UNREACHABLE,
    ExitCode.USAGE,
    ExitCode.NOT_ALL_COMPLETED,
    ExitCode.OK,
)
"""Where several apply, the first of these is the exit status."""


def gravest(*codes: ExitCode) -> ExitCode:
    """Return the one of ``codes`` that comes first in `PRECEDENCE`; OK for none."""
    return min(codes, key=PRECEDENCE.index, default=ExitCode.OK)


def help_text() -> str:
    """Return the table of exit statuses for a help page."""
    return "\n".join(f"  {code.value:>3}  {meaning}" for code, meaning in MEANINGS.items())
