"""An event loop whose clock jumps: hours of waiting run in milliseconds, and always the same way.

When nothing is ready to run, the loop's time jumps to the next timer instead of sleeping. So
``asyncio.sleep``, timeouts and everything else that asks the loop for the time is instant::

    async def scenario() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert run_virtual(scenario()) == 3600

If nothing is ready, nothing is scheduled and no thread or socket could change that, the program
would hang for ever; then `DeadlockError` is raised.

Sockets and threads live in real time, which does not pass here while the clock jumps: use the
in-memory transport together with this loop, and the ordinary loop for tests of sockets.

With pytest, for any version of pytest-asyncio or none, decorate a test; it also works below
Hypothesis' ``@given``::

    @virtual_time
    async def test_a_timeout() -> None: ...

Asynchronous *fixtures* run on the plugin's own loop. To have those in virtual time as well, give
pytest-asyncio 1.4 or newer the loop for a whole directory, in its ``conftest.py``::

    @pytest.hookimpl(optionalhook=True)
    def pytest_asyncio_loop_factories(config, item):
        return {"virtual": VirtualTimeLoop}
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import selectors
import threading
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

_T = TypeVar("_T")
_P = ParamSpec("_P")


class DeadlockError(RuntimeError):
    """Every task waits for something that can't happen any more."""


class _JumpingSelector(selectors.DefaultSelector):
    """Looks at its files without waiting and moves the clock on instead."""

    def __init__(self, patience: float, jump: Callable[[float], None]) -> None:
        super().__init__()
        self.jump = jump
        self._patience = patience

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is not None:
            self.jump(timeout)
            return []
        # The loop's own wake-up pipe is always registered; anything beyond it, or a thread, may
        # still bring work.
        if threading.active_count() > 1 or len(self.get_map()) > 1:
            ready = super().select(self._patience)
        if not ready:
            raise DeadlockError(
                "Deadlock: no task is ready and no timer is set, so nothing can ever happen again."
            )
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time` starts at 0 and jumps to the next timer when nothing is ready.

    Use it as ``asyncio.Runner(loop_factory=VirtualTimeLoop)``, or through `run_virtual`.

    Args:
        patience: Real seconds to wait for threads and sockets before a lack of timers counts as a
            deadlock.
    """

    def __init__(self, *, patience: float = 5.0) -> None:
        self._now = 0.0
        super().__init__(_JumpingSelector(patience, self._jump))
        self._jump(0.0)

    def time(self) -> float:
        """Return the virtual time in seconds since the loop was made."""
        return self._now

    def _jump(self, seconds: float) -> None:
        self._now += seconds
        # A timer fires once it is less than this ahead. The real clock's resolution would be too
        # coarse on some systems; and far from zero it must not be lost in rounding, or the loop
        # would spin without ever reaching the timer.
        self._clock_resolution = max(1e-9, 2 * math.ulp(self._now))


def virtual_runner(*, debug: bool | None = None) -> asyncio.Runner:
    """Return a runner, a context manager, whose loop runs in virtual time."""
    return asyncio.Runner(loop_factory=VirtualTimeLoop, debug=debug)


def run_virtual(main: Coroutine[Any, Any, _T], *, debug: bool | None = None) -> _T:
    """Run ``main`` in virtual time, like ``asyncio.run``, and return its result.

    Raises:
        DeadlockError: All tasks wait for one another.
    """
    with virtual_runner(debug=debug) as runner:
        return runner.run(main)


def virtual_time(test: Callable[_P, Coroutine[Any, Any, _T]]) -> Callable[_P, _T]:
    """Make an asynchronous test a synchronous one that runs in virtual time.

    Raises:
        TypeError: ``test`` is no coroutine function.
    """
    if not inspect.iscoroutinefunction(test):
        raise TypeError("virtual_time decorates coroutine functions (async def).")

    @functools.wraps(test)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        return run_virtual(test(*args, **kwargs))

    return run
