"""What becomes of steps and results: JSON Lines, or words for a person."""

from __future__ import annotations

from papsms_async.cli.exit_codes import ExitCode
from papsms_async.cli.failures import CommandError
from papsms_async.cli.jobs import Problem
from papsms_async.cli.output import LineWriter
from papsms_async.cli.results import dump, event_record, problem_record, result_record
from papsms_async.cli.session import Sink
from papsms_async.cli.settings import reason
from papsms_async.events import EventKind, VerificationEvent
from papsms_async.verification import Outcome, VerificationResult

SPARSE = frozenset(
    {EventKind.PURCHASED, EventKind.SMS_RECEIVED, EventKind.TIMED_OUT, EventKind.RESULT}
)
"""The steps that a program which drives one sign-up needs."""


class JsonSink(Sink):
    """JSON Lines: a result for each row, or each step with ``events``.

    Args:
        writer: Where the lines go.
        events: The steps that are written, results included; ``None`` for bare results.
    """

    def __init__(self, writer: LineWriter, events: frozenset[EventKind] | None = None) -> None:
        self._writer = writer
        self._events = events

    def event(self, event: VerificationEvent) -> None:
        """See `Sink.event`."""
        if self._events is not None and event.kind in self._events:
            self._writer.write(dump(event_record(event)))

    def result(self, result: VerificationResult) -> None:
        """See `Sink.result`; with events the result was one of them."""
        if self._events is None:
            self._writer.write(dump(result_record(result)))

    def problem(self, problem: Problem) -> None:
        """Write a row that can't be used."""
        record = problem_record(problem)
        if self._events is not None:
            record = {"event": EventKind.RESULT.value, **record}
        self._writer.write(dump(record))

    async def room(self) -> None:
        """See `Sink.room`."""
        await self._writer.room()

    async def drain(self) -> None:
        """See `Sink.drain`."""
        await self._writer.drain()

    @property
    def failure(self) -> CommandError | None:
        """See `Sink.failure`."""
        return write_failure(self._writer)


class HumanSink(Sink):
    """Words for a person who runs one verification by hand.

    Args:
        writer: Where the words go.
        timeout: Seconds that the SMS is waited for.
        quiet: Whether only the result is told, because a command is told the rest.
    """

    def __init__(self, writer: LineWriter, *, timeout: float, quiet: bool) -> None:
        self._writer = writer
        self._timeout = timeout
        self._quiet = quiet

    def event(self, event: VerificationEvent) -> None:
        """See `Sink.event`."""
        activation = event.activation
        if event.kind is EventKind.PURCHASED and activation is not None and not self._quiet:
            self._writer.write(
                f"number   {activation.phone_number}  ({activation.service},"
                f" {activation.country}, ${activation.cost}, id {activation.activation_id})"
            )
            self._writer.write(f"waiting  for the SMS, {self._timeout:g} s at most")

    def result(self, result: VerificationResult) -> None:
        """See `Sink.result`."""
        if result.sms is not None:
            self._writer.write(f"code     {result.sms.code or '(none was recognised)'}")
            self._writer.write(f"text     {' '.join(result.sms.full_text.split())}")
        words = result.outcome.value.replace("_", " ")
        cost = f"${result.cost:.2f}"
        if result.outcome is Outcome.UNKNOWN:
            cost = f"up to ${result.cost_uncertain:.2f}"
        self._writer.write(f"outcome  {words}, {cost}, {result.duration:.1f} s")

    async def drain(self) -> None:
        """See `Sink.drain`."""
        await self._writer.drain()

    @property
    def failure(self) -> CommandError | None:
        """See `Sink.failure`."""
        return write_failure(self._writer)


def write_failure(writer: LineWriter) -> CommandError | None:
    """Return why ``writer`` failed as a sentence, or ``None`` if it did not."""
    if writer.failure is None:
        return None
    if writer.reader_left:
        return CommandError(
            "nobody reads the results any more, so it stopped", ExitCode.NOT_WRITABLE
        )
    return CommandError(
        f"can't write to {writer.name}: {reason(writer.failure)}", ExitCode.NOT_WRITABLE
    )
