"""Signals before there is an event loop and after it; imports next to nothing, to act early."""

from __future__ import annotations

import contextlib
import signal

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


def interrupt_early() -> None:
    """Let every such signal end a command that has no event loop yet, as Ctrl-C does."""
    for number in SIGNALS:
        # An ignored one stays ignored: whoever started us (nohup) wants it so.
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            with contextlib.suppress(ValueError, OSError):  # not the main thread
                signal.signal(number, signal.default_int_handler)


def ignore_late() -> None:
    """The exit status stands: nothing that comes now may turn it into a traceback."""
    for number in SIGNALS:
        with contextlib.suppress(ValueError, OSError):
            signal.signal(number, signal.SIG_IGN)
