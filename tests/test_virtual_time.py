"""The event loop whose clock jumps."""

import asyncio
import threading
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async.testing import (
    DeadlockError,
    VirtualTimeLoop,
    run_virtual,
    virtual_runner,
    virtual_time,
)


def test_hours_pass_in_no_time() -> None:
    """A day of sleeping is exact in virtual time and short in real time."""

    async def main() -> float:
        await asyncio.sleep(86_400 * 3 + 0.125)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert run_virtual(main()) == 86_400 * 3 + 0.125
    assert time.monotonic() - began < 5


@virtual_time
async def test_sleepers_wake_in_the_order_of_their_times() -> None:
    """Concurrent sleeps overlap, as they do on the ordinary loop."""
    woken: list[tuple[float, float]] = []

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((seconds, asyncio.get_running_loop().time()))

    async with asyncio.TaskGroup() as group:
        for seconds in (30.0, 1.0, 500.0, 2.5):
            group.create_task(sleep(seconds))
    assert woken == [(s, s) for s in (1.0, 2.5, 30.0, 500.0)]


@virtual_time
async def test_timeouts_of_asyncio_and_anyio_work() -> None:
    """Timeouts fire at their virtual time."""
    loop = asyncio.get_running_loop()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(40):
            await asyncio.Event().wait()
    with pytest.raises(TimeoutError):
        with anyio.fail_after(2):
            await anyio.sleep(3600)
    assert loop.time() == 42


def run_impatiently(main: Coroutine[Any, Any, None]) -> None:
    """Run ``main`` without hope for other threads: the test runner may have some."""
    with asyncio.Runner(loop_factory=partial(VirtualTimeLoop, patience=0.0)) as runner:
        runner.run(main)


def test_a_deadlock_is_an_error_and_not_a_hang() -> None:
    """Waiting for what nobody can do any more is reported at once."""

    async def main() -> None:
        await asyncio.sleep(10)
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match="no timer is set"):
        run_impatiently(main())


def test_tasks_are_cleaned_up_after_a_deadlock() -> None:
    """The runner cancels what was stuck, so `finally` blocks run."""
    cleaned = []

    async def main() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(5)
            cleaned.append(asyncio.get_running_loop().time())

    with pytest.raises(DeadlockError):
        run_impatiently(main())
    assert cleaned == [5]


def test_a_thread_may_still_bring_work() -> None:
    """While another thread runs, the lack of timers is no deadlock."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        go = threading.Event()

        def work() -> None:
            go.wait(5)
            loop.call_soon_threadsafe(future.set_result, 7)

        thread = threading.Thread(target=work)
        thread.start()
        loop.call_later(1.0, go.set)
        result = await future
        thread.join()
        return result

    assert run_virtual(main()) == 7


def test_a_tiny_wait_far_from_the_start_makes_progress() -> None:
    """Where a wait is below the resolution of the clock's numbers, the loop does not spin."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(1e9)
        for _ in range(100):
            await asyncio.sleep(1e-8)
        assert loop.time() >= 1e9

    run_virtual(main())


def test_it_is_a_loop_factory() -> None:
    """`asyncio.Runner` takes the loop as it is, and runs several mains on one clock."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(asyncio.sleep(10))
        assert runner.get_loop().time() == 10
    with virtual_runner(debug=True) as runner:
        runner.run(asyncio.sleep(10))
        assert runner.get_loop().time() == 10


@given(st.floats(0, 1e6))
@virtual_time
async def test_the_decorator_works_below_hypothesis(seconds: float) -> None:
    """`@virtual_time` makes an ordinary test of a coroutine function, arguments included."""
    await asyncio.sleep(seconds)
    assert asyncio.get_running_loop().time() == pytest.approx(seconds)


def test_the_decorator_refuses_what_it_cannot_run() -> None:
    """A plain function is a mistake that is told at once."""
    with pytest.raises(TypeError, match="async def"):
        virtual_time(lambda: None)  # type: ignore[arg-type, return-value]
