"""From the words of a command line to an exit status: every failure becomes one sentence."""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence

import click

from papsms_async.cli.exit_codes import ExitCode
from papsms_async.cli.failures import CommandError, as_clause, exit_code_of, sentence_of
from papsms_async.cli.progress import say
from papsms_async.errors import PapSMSError

_log = logging.getLogger("papsms_async.cli")


def run(args: Sequence[str] | None) -> int:
    """Carry out a command line and return its exit status; nothing but Ctrl-C is raised."""
    from papsms_async.cli.app import papsms

    try:
        code = papsms.main(args, prog_name="papsms", standalone_mode=False)
    except click.Abort:
        # click makes it of a KeyboardInterrupt.
        say("papsms: interrupted")
        return ExitCode.INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return ExitCode.USAGE
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context is not None else ""
        say(f"papsms: {as_clause(error.format_message())}{hint}")
        return ExitCode.USAGE
    except CommandError as error:
        say(f"papsms: {error.message}")
        for line in error.details:
            say(line)
        return error.code
    except PapSMSError as error:
        say(f"papsms: {sentence_of(error)}")
        return exit_code_of(error)
    except BrokenPipeError:
        return ExitCode.NOT_WRITABLE
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO, errno.EBADF):
            return _defect(error)
        say(f"papsms: can't write standard output: {as_clause(error.strerror or 'it failed')}")
        return ExitCode.NOT_WRITABLE
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else ExitCode.DEFECT
    except Exception as error:
        return _defect(error)
    return int(code) if isinstance(code, int) else ExitCode.OK


def _defect(error: Exception) -> int:
    _log.debug("unexpected", exc_info=True)
    say(
        f"papsms: {sentence_of(error)}; this is a defect of papsms, please report it together with"
        " what --verbose prints"
    )
    return ExitCode.DEFECT
