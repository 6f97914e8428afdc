"""SIGINT, SIGTERM and SIGHUP: the first asks to stop in order, the second leaves at once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from types import TracebackType
from typing import Self

from papsms_async.cli.early import SIGNALS


class Interrupts:
    """Listens to the signals while an event loop runs.

    Args:
        on_first: Called in the loop with the first signal.
        on_second: Called in the loop with every further one.
    """

    def __init__(self, on_first: Callable[[], None], on_second: Callable[[], None]) -> None:
        self.count = 0
        self._on_first = on_first
        self._on_second = on_second
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        for number in SIGNALS:
            if signal.getsignal(number) is signal.SIG_IGN:
                continue
            # Not on Windows and not outside the main thread: there Ctrl-C cancels the main task.
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                self._loop.add_signal_handler(number, self._heard)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._loop is not None:
            for number in SIGNALS:
                with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                    if self._loop.remove_signal_handler(number):
                        # Removing one of them gives back the system's, which kills.
                        signal.signal(number, signal.default_int_handler)

    def _heard(self) -> None:
        self.count += 1
        if self.count == 1:
            self._on_first()
        else:
            self._on_second()
