"""SIGINT and SIGTERM: the first asks to stop in order, the second leaves at once.

For a service:

    async with ActivationManager(client, database=...) as manager:
        with stop_on_signals(manager, drain=30):
            async for result in manager.run(requests, flow=sign_up):
                ...

The first signal stops the buying; running verifications have ``drain`` seconds to end, then their
numbers are released, and the loop above ends by itself. A second signal names what is owed and ends
the process; with a durable ledger the next ``manager.recover()`` finishes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from papsms_async.manager import ActivationManager

INTERRUPTED = 130
"""Exit status of a process that a second signal ended."""


class Interrupts:
    """Listens to signals while an event loop runs.

    Args:
        on_first: Called in the loop with the first signal.
        on_second: Called in the loop with every further one.
        signals: Which signals; those that are ignored stay ignored, as under ``nohup``.
    """

    def __init__(
        self,
        on_first: Callable[[], None],
        on_second: Callable[[], None],
        *,
        signals: Iterable[signal.Signals] = (signal.SIGINT, signal.SIGTERM),
    ) -> None:
        self.count = 0
        self._on_first = on_first
        self._on_second = on_second
        self._signals = tuple(signals)
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        for number in self._signals:
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
            for number in self._signals:
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


def stop_on_signals(manager: ActivationManager, *, drain: float = 30.0) -> Interrupts:
    """Stop ``manager`` in order at the first SIGINT or SIGTERM, and the process at the second.

    Args:
        manager: A manager that is open.
        drain: Seconds that running verifications have to end after the first signal; then they end
            with `ManagerClosedError` and their numbers are released.

    Returns:
        A context manager; enter it in the event loop, inside the manager's block.
    """
    closing: set[asyncio.Task[None]] = set()

    def close() -> None:
        task = asyncio.get_running_loop().create_task(manager.aclose())
        closing.add(task)
        task.add_done_callback(closing.discard)

    def stop() -> None:
        manager.stop_buying()
        asyncio.get_running_loop().call_later(drain, close)

    def leave() -> None:
        owed = [entry.activation_id for entry in manager.unfinished]
        names = ", ".join(str(activation_id) for activation_id in owed) or "nothing"
        print(f"left at once; still owed: {names}", file=sys.stderr, flush=True)  # noqa: T201
        # Anything softer would wait for what is being finished.
        os._exit(INTERRUPTED)

    return Interrupts(stop, leave)
