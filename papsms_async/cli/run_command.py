"""``papsms run``: every row of a file as a verification."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import stat
from collections.abc import AsyncIterable, Iterable
from pathlib import Path
from typing import Any

import attrs
import click

from papsms_async.bucket import Pace
from papsms_async.cli.exec_flow import ExecFlow, split_command
from papsms_async.cli.exit_codes import ExitCode
from papsms_async.cli.failures import CommandError
from papsms_async.cli.job_formats import JobFormat, format_of_name
from papsms_async.cli.jobs import Job, Problem
from papsms_async.cli.options import Common, common_options
from papsms_async.cli.output import LineWriter
from papsms_async.cli.progress import Tally, make_progress
from papsms_async.cli.session import Session
from papsms_async.cli.settings import (
    DEFAULT_WORST_PRICE,
    budget,
    database,
    objective_named,
    open_manager,
    rate_limit,
    weights,
)
from papsms_async.cli.sinks import JsonSink
from papsms_async.cli.source import Stream, read_jobs, stdin_lines
from papsms_async.cli.webhook_options import Webhooks, webhook_options
from papsms_async.events import EventKind
from papsms_async.limits import Budget, QuotaProfile, RateLimit

REQUESTS_EACH = 3
"""Requests that a verification takes at least: purchase, one status, finish."""

ALL_EVENTS = frozenset(EventKind)


@attrs.frozen(kw_only=True)
class Plan:
    """What one run is to do, every option checked.

    Attributes:
        jobs: The rows; ``None`` for standard input as it comes.
        format: How the input is written; ``None`` finds out.
        ignore_columns: Whether columns without a meaning are ignored.
        limit: Limit of the key.
        budget: What may be spent at most.
        flow: Drives each verification.
        events: Whether each step is written.
        explain: Whether each permit's decision is told.
        output: Where results go; ``None`` for standard output.
        force: Whether an output that exists may be overwritten.
        manager: Options of the manager.
        webhooks: How webhooks come; ``None`` for none.
        drain: Seconds that verifications have to end after a signal.
        progress: Whether progress is shown.
    """

    jobs: tuple[Job, ...] | None
    format: JobFormat | None
    ignore_columns: bool
    limit: RateLimit
    budget: Budget | None
    flow: ExecFlow | None
    events: bool
    explain: bool
    output: Path | None
    force: bool
    manager: dict[str, Any]
    webhooks: Webhooks | None
    drain: float
    progress: bool


def exec_options(function: Any) -> Any:
    """Add the options that name commands to drive verifications with."""
    for option in (
        click.option(
            "--exec-timeout",
            type=click.FloatRange(0, 3600, min_open=True),
            default=120.0,
            show_default=True,
            metavar="S",
            help="Seconds that a command may take after the SMS.",
        ),
        click.option(
            "--exec-after-sms",
            metavar="CMD",
            help="Start CMD with the SMS; PAPSMS_CODE and PAPSMS_SMS_TEXT are in its environment.",
        ),
        click.option(
            "--exec",
            "exec_command",
            metavar="CMD",
            help="Start CMD with each number (no shell). It gets JSON Lines on its standard input"
            " and PAPSMS_PHONE_NUMBER etc. in its environment; exit status 0 after the SMS means"
            " completed, anything else gives the number back.",
        ),
    ):
        function = option(function)
    return function


def make_flow(
    exec_command: str | None, exec_after_sms: str | None, exec_timeout: float
) -> ExecFlow | None:
    """Return the flow that the options ask for, if any.

    Raises:
        CommandError: A command can't be started.
    """
    first = None if exec_command is None else split_command("--exec", exec_command)
    second = None if exec_after_sms is None else split_command("--exec-after-sms", exec_after_sms)
    return ExecFlow(first, second, timeout=exec_timeout) if first or second else None


_SECONDS = click.FloatRange(0, 86_400, min_open=True)


@click.command("run")
@click.argument("jobs", metavar="JOBS|-")
@click.option("--format", "format_", type=click.Choice(["csv", "jsonl"]), help="Of the input.")
@click.option("--stream", is_flag=True, help="Take rows of standard input as they come.")
@click.option("--ignore-columns", is_flag=True, help="Ignore columns that have no meaning.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="Write results there."
)
@click.option("--force", is_flag=True, help="Overwrite the output if it exists.")
@click.option("--events", is_flag=True, help="Write each step as it happens, not only results.")
@click.option(
    "--explain",
    is_flag=True,
    help="Say of each permit why it went where it went; with --events, as steps of kind decided.",
)
@exec_options
@click.option(
    "--timeout",
    type=_SECONDS,
    default=120.0,
    show_default=True,
    metavar="S",
    help="Seconds to wait for an SMS, where a row has no sms_timeout.",
)
@click.option(
    "--max-in-flight", type=click.IntRange(1, 100_000), metavar="N", help="Numbers held at once."
)
@click.option(
    "--max-spend",
    metavar="USD",
    help="Never spend more than this: in this run, or in all that a named ledger holds.",
)
@click.option(
    "--worst-price", metavar="USD", help="Most that one number can cost [3.00, or --max-spend]."
)
@click.option(
    "--tenant-weight",
    "tenant_weights",
    multiple=True,
    metavar="T=W",
    help="Share of tenant T among the rows that wait, such as acme=2; 1 for all others.",
)
@click.option(
    "--objective",
    metavar="NAME",
    default="balanced",
    show_default=True,
    help="What matters in bulk: latency, balanced, throughput, or a price in seconds.",
)
@click.option(
    "--early-cancel",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    metavar="P",
    help="Give a number back once the chance of its SMS is below P; such SMS are lost.",
)
@click.option("--limit", metavar="N/Ws", help="Limit of the key [60/60s; env: PAPSMS_LIMIT].")
@click.option(
    "--profile",
    type=click.Choice([profile.value for profile in QuotaProfile]),
    help="How closely to follow the limit [steady].",
)
@click.option(
    "--database",
    "database_",
    metavar="URL",
    help="Ledger to keep, or none [a file of yours; env: PAPSMS_DATABASE].",
)
@click.option(
    "--drain",
    type=click.FloatRange(0, 3600),
    default=10.0,
    show_default=True,
    metavar="S",
    help="Seconds that verifications have to end after Ctrl-C.",
)
@click.option("--dry-run", is_flag=True, help="Check everything, show the plan, buy nothing.")
@click.option("--no-progress", is_flag=True, help="Show no progress.")
@common_options
@webhook_options
def run_command(
    *,
    common: Common,
    jobs: str,
    format_: str | None,
    stream: bool,
    ignore_columns: bool,
    output: Path | None,
    force: bool,
    events: bool,
    explain: bool,
    webhooks: Webhooks | None,
    exec_command: str | None,
    exec_after_sms: str | None,
    exec_timeout: float,
    timeout: float,
    max_in_flight: int | None,
    max_spend: str | None,
    worst_price: str | None,
    tenant_weights: tuple[str, ...],
    objective: str,
    early_cancel: float,
    limit: str | None,
    profile: str | None,
    database_: str | None,
    drain: float,
    dry_run: bool,
    no_progress: bool,
) -> ExitCode:
    """Verify every row of JOBS, many at once.

    JOBS is a CSV file whose first line names the columns, or JSON Lines; - is standard input. The
    columns are service (needed), country, fallbacks (such as gb|de), reference, tenant, sms_timeout
    and priority (interactive goes before bulk, which a row is that does not say). All rows are
    checked before anything is bought.

    Results are JSON Lines: line, reference, tenant, service, country, outcome, activation_id,
    phone_number, code, full_text, cost, cost_uncertain, attempts, error, public_message,
    started_at, purchased_at, sms_at, ended_at, seconds (and exec_status). They hold numbers and
    codes, so a new file is made readable for you alone. Rows that were not begun have no line.

    The first Ctrl-C buys nothing more, gives what runs a little time, and releases the rest; the
    second leaves at once and prints what is still owed. The ledger knows it, and what a crash left
    behind: papsms recover finishes it.

    With --webhook-listen SMS are heard of by webhooks, and polled for little while they come; the
    secret in the URL's path comes from PAPSMS_WEBHOOK_SECRET.
    """
    if stream and (jobs != "-" or dry_run):
        raise CommandError("--stream needs - for JOBS, and no --dry-run")
    spending = budget(max_spend, worst_price)
    if webhooks is not None and webhooks.listen is None and database(database_) is None:
        raise CommandError("--webhook-inbox needs a ledger that the other process writes into")
    format = JobFormat(format_) if format_ else None
    plan = Plan(
        limit=rate_limit(limit, profile),
        budget=spending,
        flow=make_flow(exec_command, exec_after_sms, exec_timeout),
        jobs=None if stream else read_jobs(jobs, format=format, ignore_columns=ignore_columns),
        format=format or format_of_name(jobs),
        ignore_columns=ignore_columns,
        events=events,
        explain=explain,
        output=output,
        force=force,
        manager={
            "max_in_flight": max_in_flight,
            "sms_timeout": timeout,
            "database": database(database_),
            "budget": spending,
            "tenant_weights": weights(tenant_weights),
            "explain": explain,
            "webhook": None if webhooks is None else webhooks.receiver,
            "objective": objective_named(objective),
            "early_cancel": early_cancel,
        },
        webhooks=webhooks,
        drain=drain,
        progress=not no_progress,
    )
    if dry_run:
        for line in describe(plan):
            click.echo(line)
        return ExitCode.OK
    return asyncio.run(carry_out(plan, common))


async def carry_out(plan: Plan, common: Common) -> ExitCode:
    """Run a plan from the first purchase to the last finish.

    Raises:
        CommandError: Something it needs can't be had; nothing was bought.
    """
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(common.connection.open_client(plan.limit))
        manager = open_manager(client, **plan.manager)
        tally = Tally(total=None if plan.jobs is None else len(plan.jobs))
        # Looked at only once it runs, so the order of making does not matter.
        session: Session
        writer = LineWriter(plan.output, force=plan.force, on_failure=lambda: session.hurry())
        stack.callback(writer.close)
        sink = JsonSink(writer, ALL_EVENTS if plan.events else None)

        def on_problem(problem: Problem) -> None:
            tally.invalid += 1
            sink.problem(problem)

        source: Iterable[Job] | AsyncIterable[Job]
        close_source = _nothing
        if plan.jobs is None:
            source = stream = Stream(
                stdin_lines(),
                format=plan.format,
                ignore_columns=plan.ignore_columns,
                on_problem=on_problem,
            )
            close_source = stream.close
        else:
            source = plan.jobs
        session = Session(
            manager=manager,
            sink=sink,
            tally=tally,
            progress=make_progress(
                manager.statistics,
                tally,
                show=plan.progress,
                no_color=common.no_color,
                # A command's own words, or results on the same terminal, would tear the bar.
                live=plan.flow is None and not (plan.output is None and _is_tty(1)),
            ),
            flow=plan.flow,
            drain=plan.drain,
            say_decisions=plan.explain and not plan.events,
            close_source=close_source,
        )
        if plan.webhooks is not None:
            session.listen = plan.webhooks.open_listener
        return await session.run(source)


def describe(plan: Plan) -> list[str]:
    """Return what ``plan`` would do, in a few lines; no request is made for it."""
    jobs = plan.jobs or ()
    countries = sorted({country for job in jobs for country in job.countries})
    services = sorted({job.service for job in jobs})
    price = DEFAULT_WORST_PRICE if plan.budget is None else plan.budget.worst_price
    worst = price * len(jobs)
    bound = ""
    if plan.budget is not None and worst > plan.budget.limit:
        worst, bound = plan.budget.limit, " (bounded by --max-spend)"
    pace = Pace.of(plan.limit)
    trusted = plan.webhooks is not None and plan.webhooks.receiver.trust == "payload"
    requests = (REQUESTS_EACH - trusted) * len(jobs)
    seconds = max(0.0, (requests - pace.burst) / pace.rate)
    return [
        f"rows        {len(jobs)}",
        f"services    {len(services)}: {_some(services)}",
        f"countries   {len(countries)}: {_some(countries)}",
        f"worst cost  ${worst:.2f} at ${price:.2f} each{bound}",
        *([] if plan.webhooks is None else [f"webhooks    {plan.webhooks.words()}"]),
        f"least time  {_duration(seconds)} for {requests} requests at {plan.limit}"
        f" ({plan.limit.profile.value})",
        "nothing was bought and no request was made",
    ]


def _some(words: list[str], most: int = 8) -> str:
    return ", ".join(words[:most]) + (", ..." if len(words) > most else "")


def _duration(seconds: float) -> str:
    whole = math.ceil(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"


def _is_tty(descriptor: int) -> bool:
    try:
        return stat.S_ISCHR(os.fstat(descriptor).st_mode) and os.isatty(descriptor)
    except OSError:
        return False


def _nothing() -> None:
    return None
