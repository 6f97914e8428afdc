"""Runs jobs through a manager from the first purchase to the last finish, whatever happens.

Three things can end it before its input does: a signal, an output that can't be written, and an
error that every further purchase would meet too (wrong key, no balance, no network). In each case
nothing more is bought, what was bought comes to its end, and the results of it are written.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

import attrs

from papsms_async.cli.early import SIGNALS
from papsms_async.cli.exec_flow import ExecFlow
from papsms_async.cli.exit_codes import ExitCode, gravest
from papsms_async.cli.failures import CommandError, exit_code_of, sentence_of, stops_buying
from papsms_async.cli.holdings import Holdings
from papsms_async.cli.progress import Progress, Silent, Tally, money_words, say
from papsms_async.errors import ConnectError, Execution, LedgerError, ManagerClosedError, Money
from papsms_async.events import EventKind, VerificationEvent
from papsms_async.signals import Interrupts
from papsms_async.verification import Outcome, VerificationResult

if TYPE_CHECKING:
    from papsms_async.cli.jobs import Job
    from papsms_async.manager import ActivationManager

UNREACHABLE = 3
"""Rows in a row that found no connection, after which nothing more is bought; before the first
answer of the service one is enough."""
CLOSING = 90.0
"""Seconds that the last finishes may take."""


class Sink:
    """What a session tells of itself; every method is called in the event loop."""

    def event(self, event: VerificationEvent) -> None:
        """One step happened."""

    def result(self, result: VerificationResult) -> None:
        """One verification ended."""

    async def room(self) -> None:
        """Wait until more can be taken."""

    async def drain(self) -> None:
        """Wait until all is written."""

    @property
    def failure(self) -> CommandError | None:
        """Why nothing can be written any more, if so."""
        return None


async def _no_listener() -> None:
    return None


_WORDS = {
    EventKind.WEBHOOKS_SILENT: "papsms: webhooks don't come: SMS are polled for from now on",
    EventKind.WEBHOOKS_BACK: "papsms: webhooks come again",
}
"""What is said of an event that concerns all verifications."""


@attrs.define(kw_only=True)
class Session:
    """One run.

    Attributes:
        manager: The manager, not entered yet.
        sink: Takes steps and results.
        tally: Counts what came of the rows.
        progress: Shows it.
        flow: Drives each verification; ``None`` waits for the SMS only.
        drain: Seconds that running verifications have to end after the first signal.
        close_source: Called when no more rows are wanted.
        say_errors: Whether the error of a verification is said, for one that is run by hand.
        say_decisions: Whether each permit's decision is said.
        listen: Awaited once the manager is open, to listen for webhooks; what it opens is closed
            with the manager.
    """

    manager: ActivationManager
    sink: Sink
    tally: Tally
    progress: Progress
    flow: ExecFlow | None = None
    drain: float = 10.0
    close_source: Callable[[], None] = attrs.field(default=lambda: None)
    say_errors: bool = False
    say_decisions: bool = False
    listen: Callable[[], Awaitable[object]] = attrs.field(default=_no_listener)
    holdings: Holdings = attrs.field(factory=Holdings)
    fatal: BaseException | None = None
    interrupted: bool = False
    _stopped: bool = attrs.field(default=False, init=False)
    _hurry: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _unreachable: int = attrs.field(default=0, init=False)
    _answered: bool = attrs.field(default=False, init=False)

    async def run(self, jobs: Iterable[Job] | AsyncIterable[Job]) -> ExitCode:
        """Run ``jobs`` and return the exit status; sentences about failures are printed.

        Raises:
            CommandError: The ledger can't be opened, the address of webhooks can't be listened on,
                or the input can't be read.
        """
        with Interrupts(self._interrupt, self._leave, signals=SIGNALS):
            try:
                await self.manager.__aenter__()
            except LedgerError as error:
                raise CommandError(sentence_of(error), ExitCode.NOT_WRITABLE) from error
            unsubscribe = self.manager.subscribe(self._hear)
            self.progress.start()
            try:
                await self.listen()
                await self._conduct(jobs)
                await self.sink.drain()
            finally:
                unsubscribe()
                await self.manager.aclose(drain_timeout=CLOSING)
                self.progress.stop()
            return self._conclude()

    def stop(self) -> None:
        """Buy nothing more and bring what was bought to its end; safe to call twice."""
        if not self._stopped:
            self._stopped = True
            self.manager.stop_buying()
            self.close_source()

    # Its course ----------------------------------------------------------------------------------

    async def _conduct(self, jobs: Iterable[Job] | AsyncIterable[Job]) -> None:
        consumer = asyncio.create_task(self._consume(jobs))
        hurried = asyncio.create_task(self._hurry.wait())
        try:
            await asyncio.wait({consumer, hurried}, return_when=asyncio.FIRST_COMPLETED)
            if not consumer.done():
                seconds = 0.0 if self.sink.failure is not None else self.drain
                if self.manager.statistics().in_flight and seconds:
                    self.progress.phase(
                        f"stopping: {self.manager.statistics().in_flight} verifications have"
                        f" {seconds:g} s to end; interrupt again to leave at once"
                    )
                await asyncio.wait({consumer}, timeout=seconds)
            if not consumer.done() and self.flow is not None:
                await self.flow.stop()
                await asyncio.wait({consumer}, timeout=1.0)
            owed = len(self.holdings.open)
            if owed:
                self.progress.phase(f"finishing {owed} number{'s' * (owed != 1)} ...")
            await self.manager.aclose(drain_timeout=CLOSING)
            await consumer
        finally:
            consumer.cancel()
            hurried.cancel()
            await asyncio.wait({consumer, hurried})

    async def _consume(self, jobs: Iterable[Job] | AsyncIterable[Job]) -> None:
        async for result in self.manager.run(jobs, flow=self.flow):
            error = result.error
            if result.activation is None and _never_bought(error):
                continue  # nothing was done for it
            self._judge(result)
            if self.fatal is not None and not self._answered:
                continue  # nothing can be done for any: one sentence says it, and no line each
            self.tally.outcomes[result.outcome] += 1
            self.sink.result(result)
            await self.sink.room()

    def _judge(self, result: VerificationResult) -> None:
        """Stop where every further row would meet the same error."""
        error = result.error
        if isinstance(error, ConnectError) and error.execution is Execution.NOT_EXECUTED:
            self._unreachable += 1
            hopeless = self._unreachable >= (UNREACHABLE if self._answered else 1)
        else:
            hopeless = stops_buying(error)
            self._unreachable = 0
            self._answered = self._answered or not hopeless
        if self.say_errors and error is not None and not hopeless:
            say(f"papsms: {sentence_of(error)}")
        if hopeless and self.fatal is None and not self._stopped:
            self.fatal = error
            self.stop()

    def _hear(self, event: VerificationEvent) -> None:
        self.holdings.hear(event)
        if event.kind in _WORDS:
            self.progress.note(_WORDS[event.kind])
        if self.say_decisions and event.decision is not None:
            self.progress.note(f"papsms: {event.decision}")
        self.sink.event(event)

    # Signals -------------------------------------------------------------------------------------

    def hurry(self) -> None:
        """Let what runs not go on for longer than the drain."""
        self.stop()
        self._hurry.set()

    def _interrupt(self) -> None:
        self.interrupted = True
        self.hurry()

    def _leave(self) -> None:
        """Leave at once; what is owed is printed, and stays in the ledger if that is durable."""
        if self.flow is not None:
            self.flow.kill()
        self.progress.stop()
        owed = self.holdings.owed_words()
        hint = "; finish with: papsms recover --wait" if owed else ""
        say(f"papsms: left at once; {owed or 'nothing is owed'}{hint}")
        os._exit(ExitCode.OWED if owed else ExitCode.INTERRUPTED)

    # The end -------------------------------------------------------------------------------------

    def _conclude(self) -> ExitCode:
        tally, numbers = self.tally, self.manager.statistics()
        left = ""
        if tally.total is not None and (not_begun := tally.total - tally.done) > 0:
            left = f"; {not_begun} row{'s' * (not_begun != 1)} not begun"
        if tally.done or self.fatal is None:
            self._summarise(f"{tally.words()} | {money_words(numbers)}")
        codes = [ExitCode.OK]
        if any(tally.outcomes[o] for o in Outcome if o is not Outcome.COMPLETED) or tally.invalid:
            codes.append(ExitCode.NOT_ALL_COMPLETED)
        if self.fatal is not None:
            say(f"papsms: {sentence_of(self.fatal)}; nothing more was bought{left}")
            codes.append(exit_code_of(self.fatal))
        if self.sink.failure is not None:
            say(f"papsms: {self.sink.failure.message}; {self._released()}{left}")
            codes.append(self.sink.failure.code)
        if self.interrupted:
            say(f"papsms: interrupted; {self._released()}{left}")
            codes.append(ExitCode.INTERRUPTED)
        if (unknown := tally.outcomes[Outcome.UNKNOWN]) > 0:
            say(
                f"papsms: the answer to {unknown} purchase{'s' * (unknown != 1)} was lost: maybe"
                " charged, never sent again; compare with the account"
            )
        if (owed := self.holdings.owed_words()) is not None:
            advice = "; finish with: papsms cancel ID" if self.holdings.open else ""
            say(f"papsms: still owed: {owed}{advice}")
            codes.append(ExitCode.OWED)
        return gravest(*codes)

    def _summarise(self, text: str) -> None:
        if not isinstance(self.progress, Silent):
            self.progress.note(f"papsms: {text}")

    def _released(self) -> str:
        released = self.holdings.released
        return f"{released} number{'s' * (released != 1)} released"


def _never_bought(error: BaseException | None) -> bool:
    return isinstance(error, ManagerClosedError) and error.money is Money.NOT_CHARGED
