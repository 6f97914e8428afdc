"""``papsms plan``: what a limit gives, by polling and by webhook, before anything is bought."""

from __future__ import annotations

import click

from papsms_async.cli.exit_codes import ExitCode
from papsms_async.cli.ledger_access import print_table
from papsms_async.cli.options import Common, common_options
from papsms_async.cli.results import dump
from papsms_async.cli.settings import rate_limit
from papsms_async.limits import QuotaProfile

_SECONDS = click.FloatRange(0, 86_400, min_open=True)


@click.command("plan")
@click.option("--limit", metavar="N/Ws", help="Limit of the key [60/60s; env: PAPSMS_LIMIT].")
@click.option(
    "--profile",
    type=click.Choice([profile.value for profile in QuotaProfile]),
    help="How closely to follow the limit [steady].",
)
@click.option(
    "--median",
    type=_SECONDS,
    default=12.0,
    show_default=True,
    metavar="S",
    help="Seconds within which half of the SMS come that come at all.",
)
@click.option(
    "--sigma",
    type=click.FloatRange(0.05, 5),
    default=0.8,
    show_default=True,
    metavar="X",
    help="Spread: standard deviation of the logarithm of the delay.",
)
@click.option(
    "--never",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.08,
    show_default=True,
    metavar="P",
    help="Share of SMS that never come.",
)
@click.option(
    "--timeout",
    type=_SECONDS,
    default=120.0,
    show_default=True,
    metavar="S",
    help="Seconds to wait for an SMS.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON Lines.")
@common_options
def plan_command(
    *,
    common: Common,
    limit: str | None,
    profile: str | None,
    median: float,
    sigma: float,
    never: float,
    timeout: float,
    as_json: bool,
) -> ExitCode:
    """Say what a limit gives: verifications a minute, and how late each SMS is seen.

    Worked out for a lognormal law of the SMS delay and more wanted than the limit allows; nothing
    is sent. With less wanted, SMS are seen sooner.
    """
    from papsms_async.capacity import capacities
    from papsms_async.delays import DelayLaw

    rows = capacities(
        rate_limit(limit, profile), DelayLaw.lognormal(median, sigma, never), timeout=timeout
    )
    if as_json:
        for row in rows:
            click.echo(
                dump(
                    {
                        "way": row.way,
                        "per_minute": round(row.per_minute, 2),
                        "per_hour": round(row.per_hour),
                        "requests": round(row.requests, 2),
                        "delay": round(row.delay, 2),
                        "in_flight": round(row.in_flight, 1),
                    }
                )
            )
        return ExitCode.OK
    print_table(
        [
            ("", "whole"),
            ("a minute", "right"),
            ("an hour", "right"),
            ("requests each", "right"),
            ("SMS seen after", "right"),
            ("in flight", "right"),
        ],
        (
            (
                row.way,
                f"{row.per_minute:.1f}",
                f"{row.per_hour:.0f}",
                f"{row.requests:.2f}",
                "at once" if row.delay == 0 else f"{row.delay:.1f} s",
                f"{row.in_flight:.0f}",
            )
            for row in rows
        ),
        no_color=common.no_color,
    )
    return ExitCode.OK
