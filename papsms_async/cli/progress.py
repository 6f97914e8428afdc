"""What standard error shows while verifications run: a live bar on a terminal, else plain lines.

Standard output carries results only. `rich` is imported when a live bar is really shown.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from papsms_async.verification import Outcome

if TYPE_CHECKING:
    from papsms_async.statistics import ManagerStatistics

LIVE_INTERVAL = 0.2
"""Seconds between two pictures of the live bar."""
PLAIN_INTERVAL = 10.0
"""Seconds between two plain lines."""


@attrs.define(kw_only=True)
class Tally:
    """What came of the rows so far.

    Attributes:
        total: Rows in all, or ``None`` where that is not known.
        outcomes: How many ended how.
        invalid: Rows that could not be used.
        not_begun: Rows that nothing was done for.
        begun: Rows whose verification began, whether it ended or not.
    """

    total: int | None = None
    outcomes: Counter[Outcome] = attrs.field(factory=Counter)
    invalid: int = 0
    not_begun: int = 0
    begun: int = 0

    @property
    def done(self) -> int:
        """How many rows have their end."""
        return sum(self.outcomes.values()) + self.invalid

    def words(self) -> str:
        """Return the counts in words, completed ones first."""
        words = [f"completed {self.outcomes[Outcome.COMPLETED]}"]
        words += [
            f"{outcome.value.replace('_', ' ')} {self.outcomes[outcome]}"
            for outcome in Outcome
            if outcome is not Outcome.COMPLETED and self.outcomes[outcome]
        ]
        if self.invalid:
            words.append(f"invalid {self.invalid}")
        return " · ".join(words)


Look = Callable[[], "ManagerStatistics"]


class Progress(Protocol):
    """Shows how far it is."""

    def start(self) -> None:
        """Begin to show."""

    def note(self, text: str) -> None:
        """Say something to the user."""

    def phase(self, text: str) -> None:
        """Say what is being done now."""

    def stop(self) -> None:
        """Show no more. Safe to call twice."""


def say(text: str) -> None:
    """Write a line to standard error; one that is closed does no harm."""
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return


def wants_color(stream: Any, *, no_color: bool) -> bool:
    """Whether ``stream`` is a terminal that may be coloured."""
    return (
        not no_color
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
        and is_terminal(stream)
    )


def is_terminal(stream: Any) -> bool:
    """Whether somebody looks at ``stream``."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def make_progress(look: Look, tally: Tally, *, show: bool, no_color: bool, live: bool) -> Progress:
    """Return the display that suits.

    Args:
        look: Gives the manager's numbers.
        tally: What came of the rows, kept by somebody else.
        show: Whether anything is to be shown.
        no_color: Whether colours are unwanted.
        live: Whether a live bar may be shown if standard error is a terminal.
    """
    if not show:
        return Silent()
    if live and is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb":
        return Live(look, tally, no_color=not wants_color(sys.stderr, no_color=no_color))
    return Plain(look, tally)


def money_words(numbers: ManagerStatistics) -> str:
    """Return what was spent in words."""
    words = f"spent ${numbers.spend:.2f}"
    if numbers.refunds_expected:
        words += f", ${numbers.refunds_expected:.2f} of refunds asked for"
    if numbers.unknown:
        words += f", up to ${numbers.unknown:.2f} unknown"
    return words


def quota_words(numbers: ManagerStatistics) -> str:
    """Return how much of the limit is used in words."""
    quota = numbers.quota
    used = quota.held + quota.cooling
    words = f"quota {used}/{quota.limit.requests} per {quota.limit.per:g} s"
    if quota.rate_limited:
        words += f", {quota.rate_limited} answers 429"
    if quota.blocked_for > 0:
        words += f", blocked for {quota.blocked_for:.0f} s"
    return words


class Silent:
    """Shows nothing but notes."""

    def start(self) -> None:
        """See `Progress.start`."""

    def note(self, text: str) -> None:
        """See `Progress.note`."""
        say(text)

    def phase(self, text: str) -> None:
        """See `Progress.phase`."""

    def stop(self) -> None:
        """See `Progress.stop`."""


class _Repeating:
    """Calls ``_show`` at intervals in the event loop, until stopped."""

    interval: float

    def __init__(self, look: Look, tally: Tally) -> None:
        self._look = look
        self._tally = tally
        self._phase = ""
        self._timer: asyncio.TimerHandle | None = None
        self._began = time.monotonic()

    def start(self) -> None:
        """See `Progress.start`."""
        self._timer = asyncio.get_running_loop().call_later(self.interval, self._tick)

    def phase(self, text: str) -> None:
        """See `Progress.phase`."""
        self._phase = text

    def stop(self) -> None:
        """See `Progress.stop`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._show()
        self._timer = asyncio.get_running_loop().call_later(self.interval, self._tick)

    def _show(self) -> None:
        raise NotImplementedError

    def _seconds(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        return f"{minutes}:{seconds:02d}"

    def _share(self) -> str:
        total = self._tally.total
        return f"{self._tally.done}" + ("" if total is None else f"/{total}")


class Plain(_Repeating):
    """A line every ten seconds."""

    interval = PLAIN_INTERVAL

    def note(self, text: str) -> None:
        """See `Progress.note`."""
        say(text)

    def phase(self, text: str) -> None:
        """See `Progress.phase`."""
        super().phase(text)
        say(f"papsms: {text}")

    def _show(self) -> None:
        numbers = self._look()
        say(
            f"papsms: {self._seconds()} {self._share()}: {self._tally.words()}"
            f" | in flight {numbers.in_flight} | {money_words(numbers)} | {quota_words(numbers)}"
        )


class Live(_Repeating):
    """A bar and two lines of numbers that are painted anew several times a second."""

    interval = LIVE_INTERVAL

    def __init__(self, look: Look, tally: Tally, *, no_color: bool) -> None:
        super().__init__(look, tally)
        from rich.console import Console
        from rich.live import Live as RichLive

        # With nothing that guesses: numbers are not to be coloured by pattern.
        self._console = Console(
            stderr=True, no_color=no_color or None, highlight=False, emoji=False, markup=False
        )
        self._live = RichLive(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._running = False

    def start(self) -> None:
        """See `Progress.start`."""
        super().start()
        self._live.start()
        self._running = True
        self._show()

    def note(self, text: str) -> None:
        """See `Progress.note`."""
        self._console.print(text, soft_wrap=True)

    def stop(self) -> None:
        """See `Progress.stop`."""
        super().stop()
        if self._running:
            self._running = False
            self._live.stop()

    def _show(self) -> None:
        try:
            self._live.update(self._picture(), refresh=True)
        except OSError:  # the terminal is gone
            self.stop()

    def _picture(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        tally, numbers = self._tally, self._look()
        top = Table.grid(padding=(0, 1), expand=True)
        top.add_column(ratio=1)
        top.add_column(justify="right", no_wrap=True)
        bar = ProgressBar(
            total=max(1, tally.total) if tally.total is not None else None,
            completed=min(tally.done, tally.total) if tally.total is not None else 0,
            pulse=tally.total is None,
            complete_style="green",
            finished_style="green",
        )
        top.add_row(bar, f"{self._share()}  {self._seconds()}")
        style = "green" if tally.outcomes[Outcome.COMPLETED] == tally.done else "yellow"
        flow = f"in flight {numbers.in_flight} · waiting for an SMS {numbers.waiting_for_sms}"
        if numbers.owed:
            flow += f" · to finish {numbers.owed}"
        rows: list[Table | Text] = [
            top,
            Text(tally.words(), style=style),
            Text(flow),
            Text(f"{money_words(numbers)} · {quota_words(numbers)}", style="dim"),
        ]
        if self._phase:
            rows.append(Text(self._phase, style="bold"))
        return Group(*rows)
