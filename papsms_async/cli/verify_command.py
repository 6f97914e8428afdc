"""``papsms verify``: one verification, driven by a person, a program or a command."""

from __future__ import annotations

import asyncio
import contextlib

import click

from papsms_async.cli.exit_codes import ExitCode
from papsms_async.cli.jobs import Job
from papsms_async.cli.options import Common, common_options
from papsms_async.cli.output import LineWriter
from papsms_async.cli.progress import Silent, Tally
from papsms_async.cli.run_command import exec_options, make_flow
from papsms_async.cli.session import Session, Sink
from papsms_async.cli.settings import database, open_manager, rate_limit
from papsms_async.cli.sinks import SPARSE, HumanSink, JsonSink


@click.command("verify")
@click.argument("service")
@click.argument("country", default="us")
@click.option(
    "--fallback",
    "fallbacks",
    multiple=True,
    metavar="C",
    help="Country to try when COUNTRY has no number; may be given several times.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, 86_400, min_open=True),
    default=120.0,
    show_default=True,
    metavar="S",
    help="Seconds to wait for the SMS.",
)
@exec_options
@click.option(
    "--json", "as_json", is_flag=True, help="JSON Lines: the number, the SMS, the result."
)
@click.option("--limit", metavar="N/Ws", help="Limit of the key [60/60s; env: PAPSMS_LIMIT].")
@click.option(
    "--database",
    "database_",
    metavar="URL",
    help="Ledger to keep, or none [a file of yours; env: PAPSMS_DATABASE].",
)
@common_options
def verify_command(
    *,
    common: Common,
    service: str,
    country: str,
    fallbacks: tuple[str, ...],
    timeout: float,
    exec_command: str | None,
    exec_after_sms: str | None,
    exec_timeout: float,
    as_json: bool,
    limit: str | None,
    database_: str | None,
) -> ExitCode:
    """Buy a number for SERVICE in COUNTRY (us by default), and wait for its SMS.

    The number is printed as soon as it is there: use it, and the code follows. With an SMS it is
    completed, without one it is given back for a refund. Exit status 0 means completed.
    """
    job = Job(service, country, fallbacks=fallbacks, sms_timeout=timeout, priority="interactive")
    flow = make_flow(exec_command, exec_after_sms, exec_timeout)
    rate = rate_limit(limit)

    async def verify() -> ExitCode:
        async with contextlib.AsyncExitStack() as stack:
            client = await stack.enter_async_context(common.connection.open_client(rate))
            session: Session
            writer = LineWriter(None, on_failure=lambda: session.hurry())
            stack.callback(writer.close)
            sink: Sink = (
                JsonSink(writer, SPARSE)
                if as_json
                else HumanSink(writer, timeout=timeout, quiet=flow is not None)
            )
            session = Session(
                manager=open_manager(client, database=database(database_), sms_timeout=timeout),
                sink=sink,
                tally=Tally(total=1),
                progress=Silent(),
                flow=flow,
                drain=0.0,
                say_errors=not as_json,
            )
            return await session.run([job])

    return asyncio.run(verify())
