"""``papsms countries``, ``status``, ``complete`` and ``cancel``: one call to the service each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs
import click

from papsms_async.cli.exit_codes import ExitCode
from papsms_async.cli.options import Common, common_options
from papsms_async.cli.results import amount, dump, sms_fields
from papsms_async.cli.settings import rate_limit
from papsms_async.client import PapSMSClient
from papsms_async.models import Country

T = TypeVar("T")

_JSON = click.option("--json", "as_json", is_flag=True, help="JSON Lines.")


@click.command("countries")
@_JSON
@common_options
def countries_command(*, common: Common, as_json: bool) -> ExitCode:
    """List the countries on offer.

    The service asks to read this list once an hour at most.
    """
    for country in _call(common, lambda client: client.countries()):
        if as_json:
            record = attrs.asdict(country)
            record["price"] = None if country.price is None else amount(country.price)
            click.echo(dump(record))
        else:
            click.echo(_line(country))
    return ExitCode.OK


def _line(country: Country) -> str:
    price = "" if country.price is None else f"from ${country.price:.2f}"
    left = "" if country.available is None else f"{country.available} left"
    return f"{country.code:<4}{country.name or '':<28}{price:<13}{left}".rstrip()


@click.command("status")
@click.argument("activation_id", metavar="ID")
@_JSON
@common_options
def status_command(*, common: Common, activation_id: str, as_json: bool) -> ExitCode:
    """Show how an activation stands, and its SMS."""
    status = _call(common, lambda client: client.status(activation_id))
    if as_json:
        sms = None if status.sms is None else sms_fields(status.sms)
        click.echo(dump({"activation_id": activation_id, "status": status.status, "sms": sms}))
        return ExitCode.OK
    click.echo(f"status  {status.status}")
    if status.sms is not None:
        click.echo(f"code    {status.sms.code or '(none was recognised)'}")
        click.echo(f"text    {' '.join(status.sms.full_text.split())}")
    return ExitCode.OK


@click.command("complete")
@click.argument("activation_id", metavar="ID")
@common_options
def complete_command(*, common: Common, activation_id: str) -> ExitCode:
    """Finish an activation whose code was used."""
    _call(common, lambda client: client.complete(activation_id))
    click.echo(f"{activation_id} is completed")
    return ExitCode.OK


@click.command("cancel")
@click.argument("activation_id", metavar="ID")
@common_options
def cancel_command(*, common: Common, activation_id: str) -> ExitCode:
    """Give an unused number back for a refund."""
    _call(common, lambda client: client.cancel(activation_id))
    click.echo(f"{activation_id} is cancelled")
    return ExitCode.OK


def _call(common: Common, work: Callable[[PapSMSClient], Awaitable[T]]) -> T:
    async def call() -> T:
        async with common.connection.open_client(rate_limit(None)) as client:
            return await work(client)

    return asyncio.run(call())
