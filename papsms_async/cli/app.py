"""The command ``papsms``: its subcommands and what its help says."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from papsms_async._version import __version__
from papsms_async.cli.exit_codes import help_text
from papsms_async.cli.options import common_options

_COMMANDS = {
    "demo": "demo",
    "run": "run_command",
    "verify": "verify_command",
    "recover": "recover_command",
    "ledger": "ledger_command",
    "report": "report_command",
    "webhook": "webhook_command",
    "sandbox": "sandbox_command",
    "replay": "replay_command",
    "plan": "plan_command",
    "countries": "account_commands",
    "status": "account_commands",
    "complete": "account_commands",
    "cancel": "account_commands",
}
"""In which module a command is, in the order in which one gets to know them."""

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
    """Loads a command when it is asked for: most need little of what the others do."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        found = getattr(import_module(f"papsms_async.cli.{module}"), f"{cmd_name}_command")
        assert isinstance(found, click.Command)  # noqa: S101 - as the table has it
        return found


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
