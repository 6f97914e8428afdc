"""``papsms webhook``: take webhooks for other processes, and look at what came."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from papsms_async.cli.exit_codes import ExitCode
from papsms_async.cli.failures import CommandError
from papsms_async.cli.ledger_access import (
    database_option,
    echo_array,
    existing_ledger,
    print_table,
)
from papsms_async.cli.options import Common, common_options
from papsms_async.cli.progress import say
from papsms_async.cli.results import instant
from papsms_async.cli.settings import ledger_of
from papsms_async.cli.webhook_options import Webhooks, make_webhooks, sender_options
from papsms_async.models import mask_number
from papsms_async.signals import Interrupts

if TYPE_CHECKING:
    from papsms_async.ledger import InboxEntry


@click.group("webhook")
def webhook_command() -> None:
    """Take webhooks for other processes, and look at what came."""


@webhook_command.command("serve")
@click.option(
    "--listen",
    default="127.0.0.1:8086",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to listen.",
)
@sender_options
@database_option
@common_options
def serve_command(
    *,
    common: Common,
    listen: str,
    allowed: tuple[str, ...],
    proxies: tuple[str, ...],
    database_: str | None,
) -> ExitCode:
    """Take webhooks and write them into the ledger, for all processes that use it.

    Each webhook is durable before it is answered. papsms run --webhook-inbox, and managers with a
    receiver without secrets, hear of it from there. The secret in the URL's path comes from
    PAPSMS_WEBHOOK_SECRET (two, with a comma between, while it is rotated); without it a new one is
    made and printed. With PAPSMS_WEBHOOK_SIGNING_SECRET every webhook has to be signed (Standard
    Webhooks). Ctrl-C stops it.
    """
    webhooks = make_webhooks(
        listen=listen, inbox=False, trust=None, allowed=allowed, proxies=proxies, option="--listen"
    )
    assert webhooks is not None  # noqa: S101 - it listens
    return asyncio.run(_serve(webhooks, database_))


async def _serve(webhooks: Webhooks, database: str | None) -> ExitCode:
    stop = asyncio.Event()
    ledger = ledger_of(database)
    if ledger is None:
        raise CommandError("webhooks are kept in a ledger; name one with --database")
    await ledger.open()
    try:
        with Interrupts(stop.set, stop.set):
            webhooks.receiver.attach(ledger.inbox)
            try:
                await webhooks.open_listener()
                await stop.wait()
            finally:
                await webhooks.receiver.detach()
    finally:
        await ledger.aclose()
    counts = webhooks.receiver.counts
    refused = sum(counts.refused.values())
    say(
        f"papsms: {counts.accepted} taken ({counts.copies} copies), {refused} refused,"
        f" {counts.deferred} put off"
    )
    return ExitCode.OK


@webhook_command.command("list")
@database_option
@click.option("--orphans", is_flag=True, help="Only those about numbers that were not bought here.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
@click.option("--show-secrets", is_flag=True, help="Whole numbers, and codes and texts of SMS.")
@common_options
def list_command(
    *,
    common: Common,
    database_: str | None,
    orphans: bool,
    as_json: bool,
    show_secrets: bool,
) -> ExitCode:
    """List the webhooks in the ledger, oldest first.

    Orphans are about activations of which the ledger has no purchase: somebody else uses the
    account, or the answer to a purchase was lost (papsms ledger show tells which it may be).
    """

    async def read() -> tuple[InboxEntry, ...]:
        async with existing_ledger(database_) as ledger:
            return await (ledger.inbox.orphans() if orphans else ledger.inbox.entries())

    entries = asyncio.run(read())
    if as_json:
        echo_array(webhook_record(entry, secrets=show_secrets) for entry in entries)
    elif entries:
        _print(entries, secrets=show_secrets, no_color=common.no_color)
    else:
        click.echo("no webhooks")
    return ExitCode.OK


def webhook_record(entry: InboxEntry, *, secrets: bool) -> dict[str, Any]:
    """Return a webhook as it is written in JSON.

    Args:
        entry: The webhook.
        secrets: Whether the whole number, the code and the text are in it.
    """
    event = entry.event
    number, sms = event.phone_number, event.sms
    record: dict[str, Any] = {
        "activation_id": event.activation_id,
        "received_at": instant(entry.received_at),
        "copies": entry.copies,
        "signed": event.signed,
        "sms": sms is not None,
        "phone_number": number if secrets or number is None else mask_number(number),
        "service": event.service,
        "country": event.country,
    }
    if secrets:
        record["code"] = None if sms is None else sms.code
        record["full_text"] = None if sms is None else sms.full_text
    return record


def _print(entries: tuple[InboxEntry, ...], *, secrets: bool, no_color: bool) -> None:
    columns = [
        ("came (UTC)", "whole"),
        ("activation", "left"),
        ("copies", "right"),
        ("signed", "whole"),
        ("service", "left"),
        ("in", "whole"),
        *([("code", "left"), ("text", "left")] if secrets else []),
    ]
    rows = [
        [
            f"{entry.received_at:%Y-%m-%d %H:%M:%S}",
            entry.event.activation_id,
            str(entry.copies),
            "yes" if entry.event.signed else "no",
            entry.event.service or "-",
            entry.event.country or "-",
            *(_secrets(entry) if secrets else []),
        ]
        for entry in entries
    ]
    print_table(columns, rows, no_color=no_color)
    click.echo(f"{len(entries)} webhook{'s' * (len(entries) != 1)}")


def _secrets(entry: InboxEntry) -> list[str]:
    sms = entry.event.sms
    return ["-", "-"] if sms is None else [sms.code or "-", " ".join(sms.full_text.split())]
