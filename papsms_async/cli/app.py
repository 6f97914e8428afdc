"""The command ``papsms``: its subcommands and what its help says."""

from __future__ import annotations

from typing import Any

import click

from papsms_async._version import __version__
from papsms_async.cli.account_commands import (
    cancel_command,
    complete_command,
    countries_command,
    status_command,
)
from papsms_async.cli.demo import demo_command
from papsms_async.cli.exit_codes import help_text
from papsms_async.cli.ledger_command import ledger_command
from papsms_async.cli.options import common_options
from papsms_async.cli.plan_command import plan_command
from papsms_async.cli.recover_command import recover_command
from papsms_async.cli.replay_command import replay_command
from papsms_async.cli.report_command import report_command
from papsms_async.cli.run_command import run_command
from papsms_async.cli.sandbox_command import sandbox_command
from papsms_async.cli.verify_command import verify_command
from papsms_async.cli.webhook_command import webhook_command

_EPILOG = f"""\b
Environment, also from a .env file (found upwards; it never overrides):
  PAPSMS_API_KEY    the API key; there is no option for it, because command
                    lines can be read by others (or see --api-key-file)
  PAPSMS_BASE_URL   where the API is
  PAPSMS_LIMIT      limit of the key, 60/60s by default
  PAPSMS_DATABASE   ledger to keep: sqlite:///file.db, postgresql://..., or
                    none; by default papsms.db in your data directory (on
                    Linux ~/.local/share/papsms-async)
  PAPSMS_WEBHOOK_SECRET          secret segment of the webhook's URL, or two
                                 with a comma between while it is rotated
  PAPSMS_WEBHOOK_SIGNING_SECRET  webhooks must be signed with it (whsec_...)

\b
Exit status (where several apply: 7, 130, 70, 6, 3, 5, 4, 2, 1):
{help_text()}
"""


class _Group(click.Group):
    """Lists its commands in the order in which one gets to know them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    epilog=_EPILOG,
)
@click.version_option(__version__, prog_name="papsms")
@common_options
def papsms(**_: Any) -> None:
    """SMS verifications with PapSMS, many at once, under the rate limit.

    Try it without key or network:  papsms demo
    """


for _command in (
    demo_command,
    run_command,
    verify_command,
    recover_command,
    ledger_command,
    report_command,
    webhook_command,
    sandbox_command,
    replay_command,
    plan_command,
    countries_command,
    status_command,
    complete_command,
    cancel_command,
):
    papsms.add_command(_command)
