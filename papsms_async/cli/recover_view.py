"""What ``papsms recover`` shows before it begins."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from papsms_async.cli.ledger_access import SHORT, plain, print_table
from papsms_async.cli.results import amount
from papsms_async.lifecycle import State
from papsms_async.recovery import DETACHED_FOR, RecoveryAction, RecoveryReport

if TYPE_CHECKING:
    from papsms_async.ledger import InboxEntry, LedgerEntry

_WORDS = {
    RecoveryAction.MARK_UNKNOWN: "mark as unknown",
    RecoveryAction.CANCEL: "give back",
    RecoveryAction.COMPLETE: "complete",
    RecoveryAction.LEAVE: "leave: in use",
}


def print_plan(report: RecoveryReport, *, dry_run: bool, no_color: bool) -> None:
    """Print what there is to do, who holds what, and what is unknown."""
    if not report.actions:
        click.echo("nothing to recover")
    else:
        print_table(
            [
                ("intent", "whole"),
                ("activation", "left"),
                ("state", "whole"),
                ("would" if dry_run else "will", "whole"),
                ("may cost", "right"),
                ("service", "left"),
                ("in", "whole"),
            ],
            [_row(entry, action) for entry, action in report.actions],
            no_color=no_color,
        )
    for line in _held_lines(entry for entry, action in report.actions if is_held(action)):
        click.echo(line)
    if report.unknown:
        count = len(report.unknown)
        click.echo(
            f"{count} purchase{'s' * (count != 1)} unknown, at most"
            f" ${amount(report.unknown_cost)} in all; look into the account, then settle each"
            " with papsms ledger resolve:"
        )
        for entry in report.unknown:
            click.echo(
                f"  {entry.intent_id}  {entry.created_at:%Y-%m-%d %H:%M:%S} UTC"
                f"  {plain(entry.service)} {plain(entry.country)}"
                f"  at most ${amount(entry.committed)}"
            )
            for line in candidate_lines(report.candidates(entry)):
                click.echo(f"    {line}")


def candidate_lines(found: Sequence[InboxEntry], most: int = 5) -> list[str]:
    """Say which activations an unknown purchase may have bought, by webhooks that came."""
    lines = []
    for entry in found[:most]:
        event = entry.event
        named = " ".join(plain(word) for word in (event.service, event.country) if word)
        about = f" about {named}" if named else ""
        lines.append(
            f"may be activation {plain(event.activation_id)}: a webhook{about} came at"
            f" {entry.received_at:%Y-%m-%d %H:%M:%S} UTC"
        )
    if len(found) > most:
        lines.append(f"and {len(found) - most} more: papsms webhook list --orphans")
    return lines


def is_held(action: RecoveryAction) -> bool:
    """Whether a purchase is left to somebody else."""
    return action is RecoveryAction.LEAVE


def _row(entry: LedgerEntry, action: RecoveryAction) -> list[str]:
    least = "" if entry.cost is not None and entry.state is not State.SENDING else "<="
    return [
        entry.intent_id[:SHORT],
        entry.activation_id or "-",
        entry.state.value,
        _WORDS[action],
        f"{least}${amount(entry.committed)}",
        entry.service,
        entry.country,
    ]


def _held_lines(entries: Iterable[LedgerEntry]) -> list[str]:
    """Say who holds what, and until when."""
    held: dict[str | None, list[LedgerEntry]] = {}
    for entry in entries:
        held.setdefault(entry.owner, []).append(entry)
    lines = []
    for owner, theirs in held.items():
        ids = ", ".join(entry.intent_id[:SHORT] for entry in theirs)
        if owner is None:
            until = max(entry.updated_at for entry in theirs) + timedelta(seconds=DETACHED_FOR)
            lines.append(
                "let go of for another process or a job engine, and left to it until"
                f" {until:%Y-%m-%d %H:%M:%S} UTC: {ids}"
            )
            continue
        ends = max((entry.lease_until for entry in theirs if entry.lease_until), default=None)
        words = "" if ends is None else f" until {ends:%Y-%m-%d %H:%M:%S} UTC"
        after = (
            "; that process is gone, so --wait waits for it"
            if _is_gone(owner)
            else ", and longer while that process lives"
        )
        lines.append(f"held by {plain(owner)}{words}{after}: {ids}")
    return lines


def _is_gone(owner: str) -> bool:
    """Whether ``owner`` was a process of this machine that has ended. Only for words."""
    host, _, rest = owner.partition(":")
    number = rest.partition(":")[0]
    if host != socket.gethostname() or not number.isdecimal() or os.name == "nt":
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False
