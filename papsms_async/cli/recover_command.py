"""``papsms recover``: brings to its end what a crash, or a second Ctrl-C, left behind."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
import click

from papsms_async.cli.early import SIGNALS
from papsms_async.cli.exit_codes import ExitCode, gravest
from papsms_async.cli.failures import CommandError, sentence_of
from papsms_async.cli.ledger_access import (
    SHORT,
    database_option,
    entry_record,
    existing_ledger,
    plain,
)
from papsms_async.cli.options import Common, common_options
from papsms_async.cli.progress import say
from papsms_async.cli.recover_view import is_held, print_plan
from papsms_async.cli.results import amount, dump
from papsms_async.cli.settings import database, open_manager, rate_limit
from papsms_async.errors import LedgerError
from papsms_async.events import EventKind, VerificationEvent
from papsms_async.recovery import RecoveryAction, RecoveryReport, plan
from papsms_async.signals import Interrupts

if TYPE_CHECKING:
    from papsms_async.ledger import LedgerEntry
    from papsms_async.manager import ActivationManager

GRACE = 5.0
"""Seconds that finishes which are on their way get after Ctrl-C."""
UNREACHABLE = 5
"""Finishes in a row that found no connection, after which it gives up."""

_DONE = {
    EventKind.COMPLETED: "completed",
    EventKind.CANCELLED: "given back",
    EventKind.EXPIRED: "taken back by the service",
    EventKind.PURCHASE_UNKNOWN: "unknown: maybe charged, never sent again",
}
# Errors of a finish after which every other one would fail, too, by the names that events give.
_HOPELESS = {
    "AuthenticationError": (ExitCode.KEY, "the service refused the API key"),
    "AddressNotAllowedError": (ExitCode.ACCOUNT, "the API key is tied to other IP addresses"),
    "AccountBlockedError": (ExitCode.ACCOUNT, "the account is blocked"),
}


@click.command("recover")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option(
    "--wait",
    is_flag=True,
    help="First wait until what a crashed process held can be taken: a minute at most.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, 86_400, min_open=True),
    default=600.0,
    show_default=True,
    metavar="S",
    help="Seconds to go on trying, where the service does not take a finish yet.",
)
@click.option("--limit", metavar="N/Ws", help="Limit of the key [60/60s; env: PAPSMS_LIMIT].")
@database_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object at the end.")
@common_options
def recover_command(
    *,
    common: Common,
    dry_run: bool,
    wait: bool,
    timeout: float,
    limit: str | None,
    database_: str | None,
    as_json: bool,
) -> ExitCode:
    """Finish what an earlier process left behind.

    Numbers with an SMS are completed, all others given back for a refund. Purchases without an
    answer become unknown: they may have been charged, are never sent again, and papsms ledger
    resolve settles them.

    What a living process drives is left alone, and for 15 minutes what one let go of for another to
    go on with. A process that crashed is taken to live for up to a minute; --wait waits for that.
    The exit status is 7 if a number is not finished afterwards.
    """
    rate = rate_limit(limit)
    recovery = Recovery(common=common, database=database_, as_json=as_json)
    return asyncio.run(recovery.run(dry_run=dry_run, wait=wait, timeout=timeout, rate=rate))


@attrs.define(kw_only=True)
class Recovery:
    """One run of the command.

    Attributes:
        common: The shared options.
        database: What ``--database`` says.
        as_json: Whether to write JSON.
    """

    common: Common
    database: str | None
    as_json: bool
    interrupted: bool = False
    _total: int = attrs.field(default=0, init=False)
    _done: dict[str, EventKind] = attrs.field(factory=dict, init=False)
    _unreachable: int = attrs.field(default=0, init=False)
    _hopeless: tuple[ExitCode, str] | None = attrs.field(default=None, init=False)
    _stop: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _manager: ActivationManager | None = attrs.field(default=None, init=False)

    async def run(self, *, dry_run: bool, wait: bool, timeout: float, rate: Any) -> ExitCode:
        """Show what there is to do, do it, and tell what is left.

        Raises:
            CommandError: There is something to finish and no key, or no ledger.
            LedgerError: The ledger can't be used.
        """
        with Interrupts(self._interrupt, self._leave, signals=SIGNALS):
            report = await self._look()
            if wait and not dry_run:
                report = await self._wait_for_leases(report)
            if not self.as_json:
                print_plan(report, dry_run=dry_run, no_color=self.common.no_color)
            if dry_run:
                if self.as_json:
                    self._write(report, dry_run=True, left=())
                return ExitCode.OK
            actions = {action for _, action in report.actions}
            if actions & {RecoveryAction.CANCEL, RecoveryAction.COMPLETE}:
                await self._finish(report, timeout=timeout, rate=rate)
            elif RecoveryAction.MARK_UNKNOWN in actions:
                await self._mark_unknown()
            after = report if actions <= {RecoveryAction.LEAVE} else await self._look()
            return self._conclude(report, after)

    # Before --------------------------------------------------------------------------------------

    async def _look(self) -> RecoveryReport:
        async with existing_ledger(self.database) as ledger:
            return await plan(ledger, datetime.now(UTC))

    async def _wait_for_leases(self, report: RecoveryReport) -> RecoveryReport:
        """Wait once until every lease has ended that is not renewed meanwhile."""
        ends = [e.lease_until for e, a in report.actions if is_held(a) and e.lease_until]
        seconds = (max(ends) - datetime.now(UTC)).total_seconds() + 0.1 if ends else 0.0
        if seconds <= 0:
            return report
        say(
            f"papsms: waiting up to {math.ceil(seconds)} s for the leases of"
            f" {len(ends)} purchase{'s' * (len(ends) != 1)}; Ctrl-C goes on without"
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        return await self._look()

    # At work -------------------------------------------------------------------------------------

    async def _mark_unknown(self) -> None:
        """Do what takes neither the service nor a key."""
        from papsms_async.settling import mark_unknown

        async with existing_ledger(self.database) as ledger:
            for entry in await mark_unknown(ledger):
                self._done[entry.intent_id] = EventKind.PURCHASE_UNKNOWN
                say(f"papsms: purchase {entry.intent_id} {_DONE[EventKind.PURCHASE_UNKNOWN]}")

    async def _finish(self, report: RecoveryReport, *, timeout: float, rate: Any) -> None:
        self._total = sum(not is_held(action) for _, action in report.actions)
        async with contextlib.AsyncExitStack() as stack:
            client = await stack.enter_async_context(self.common.connection.open_client(rate))
            manager = open_manager(client, database=database(self.database))
            if self._stop.is_set():
                return
            try:
                await manager.__aenter__()
            except LedgerError as error:
                raise CommandError(sentence_of(error), ExitCode.NOT_WRITABLE) from error
            self._manager = manager
            unsubscribe = manager.subscribe(self._hear)
            work = asyncio.create_task(manager.recover())
            stop = asyncio.create_task(self._stop.wait())
            try:
                await asyncio.wait(
                    {work, stop}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
                )
                if work.done():
                    work.result()
                elif not self._stop.is_set():
                    say(f"papsms: not all was taken within {timeout:g} s")
            finally:
                stop.cancel()
                grace = GRACE if self.interrupted else 0.0
                await manager.aclose(drain_timeout=0.0 if work.done() else grace)
                unsubscribe()
                work.cancel()
                await asyncio.wait({work, stop})

    def _hear(self, event: VerificationEvent) -> None:
        if event.intent_id is None:
            return
        name = event.intent_id[:SHORT]
        if event.activation is not None:
            name += f" ({plain(event.activation.activation_id)})"
        if event.kind in _DONE:
            self._unreachable = 0
            self._done[event.intent_id] = event.kind
            share = f"{len(self._done)}/{max(self._total, len(self._done))}"
            say(f"papsms: {share}  {name} {_DONE[event.kind]}")
        elif event.kind is EventKind.FINISH_DELAYED:
            say(f"papsms: {name} is tried again later ({event.detail})")
            self._judge(event.detail or "")

    def _judge(self, failure: str) -> None:
        """Give up where going on has no sense."""
        self._unreachable = self._unreachable + 1 if failure == "ConnectError" else 0
        if failure in _HOPELESS:
            self._hopeless = _HOPELESS[failure]
        elif self._unreachable >= UNREACHABLE:
            self._hopeless = (ExitCode.UNREACHABLE, "the service can't be reached")
        if self._hopeless is not None:
            self._stop.set()

    # Signals -------------------------------------------------------------------------------------

    def _interrupt(self) -> None:
        self.interrupted = True
        self._stop.set()

    def _leave(self) -> None:
        owed = () if self._manager is None else self._manager.owed
        ids = ", ".join(plain(entry.activation_id) or entry.intent_id for entry in owed)
        say(f"papsms: left at once; {f'still owed: {ids}' if ids else 'the rest stays owed'}")
        os._exit(ExitCode.OWED if owed else ExitCode.INTERRUPTED)

    # The end -------------------------------------------------------------------------------------

    def _conclude(self, before: RecoveryReport, after: RecoveryReport) -> ExitCode:
        left = tuple(entry for entry, _ in after.actions)
        if self.as_json:
            self._write(before, dry_run=False, left=left, unknown=after)
        codes = [ExitCode.OK]
        if self._hopeless is not None:
            say(f"papsms: {self._hopeless[1]}")
            codes.append(self._hopeless[0])
        if self.interrupted:
            codes.append(ExitCode.INTERRUPTED)
            say("papsms: interrupted")
        if left:
            codes.append(ExitCode.OWED)
            ids = ", ".join(plain(e.activation_id) or e.intent_id for e in left[:20])
            more = f" and {len(left) - 20} more" if len(left) > 20 else ""
            say(
                f"papsms: {len(left)} not finished: {ids}{more}; finish with: papsms recover --wait"
            )
        return gravest(*codes)

    def _write(
        self,
        report: RecoveryReport,
        *,
        dry_run: bool,
        left: tuple[LedgerEntry, ...],
        unknown: RecoveryReport | None = None,
    ) -> None:
        """Write one JSON object."""
        open_ids = {entry.intent_id for entry in left}
        last = unknown or report
        purchases = []
        for entry, action in report.actions:
            record = entry_record(entry, secrets=False) | {"action": action.value}
            if not dry_run:
                kind = self._done.get(entry.intent_id)
                record["end"] = None if kind is None else kind.value
                record["finished"] = entry.intent_id not in open_ids
            purchases.append(record)
        click.echo(
            dump(
                {
                    "dry_run": dry_run,
                    "purchases": purchases,
                    "unknown": [
                        entry_record(entry, secrets=False, candidates=last.candidates(entry))
                        for entry in last.unknown
                    ],
                    "unknown_cost": amount(last.unknown_cost),
                }
            )
        )
