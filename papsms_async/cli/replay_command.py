"""``papsms replay``: recorded sessions of the sandbox as regression tests."""

from __future__ import annotations

from pathlib import Path

import click

from papsms_async.cli.exit_codes import ExitCode, gravest
from papsms_async.cli.failures import CommandError
from papsms_async.cli.progress import say
from papsms_async.cli.settings import reason


@click.command("replay")
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
def replay_command(*, files: tuple[Path, ...]) -> ExitCode:
    """Replay recorded sessions of the sandbox and compare every answer.

    papsms sandbox --record FILE records one. The same is asked of a fresh sandbox of this version,
    at the same times, without waiting: every answer has to be the same, byte for byte. The first
    one that is not is shown, and the exit status is 1.
    """
    return gravest(*map(_replay, files))


def _replay(path: Path) -> ExitCode:
    from papsms_async.sandbox.recording import RecordingError, replay_file

    try:
        replayed = replay_file(path)
    except OSError as error:
        raise CommandError(f"can't read {path}: {reason(error)}") from error
    except RecordingError as error:
        raise CommandError(f"{path}: {error}") from error
    if replayed.difference is not None:
        say(f"papsms: {path}: {replayed.difference}")
        return ExitCode.NOT_ALL_COMPLETED
    count = replayed.compared
    click.echo(f"{path}: {count} {'answer' if count == 1 else 'answers'}, each as recorded")
    return ExitCode.OK
