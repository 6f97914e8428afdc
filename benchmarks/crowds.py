"""How much of the processor a permit takes, alone and in a crowd, for quota.py."""

from __future__ import annotations

import asyncio
import gc
import math
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Any
from unittest import mock

import attrs
from limiters import LOADERS, Opened, Opener
from schedworld.measure import CreepingLoop
from schedworld.service import EPOCH

PLENTY = 10_000_000
"""A limit a second that nobody reaches."""
LIMIT = (60, 60.0)
"""Requests and seconds of the limit that a crowd waits for."""


class JumpingLoop(CreepingLoop):
    """Jumps over all waiting, and counts the timers that fire.

    While it runs, Python's other clocks show its time as well.
    """

    fired = 0

    def call_at(self, when: float, callback: Any, *args: Any, **kwargs: Any) -> Any:
        """See `asyncio.loop.call_at`."""

        def fire() -> None:
            self.fired += 1
            callback(*args)

        return super().call_at(when, fire, **kwargs)


@contextmanager
def one_clock(loop: JumpingLoop) -> Iterator[None]:
    """Let limiters that ask other clocks than the loop's live by the loop's all the same."""

    def nanoseconds() -> int:
        return round(1e9 * (EPOCH + loop.time()))

    def seconds() -> float:
        return EPOCH + loop.time()

    with ExitStack() as stack:
        stack.enter_context(mock.patch("time.time", seconds))
        stack.enter_context(mock.patch("time.monotonic", seconds))
        clocks = sys.modules.get("pyrate_limiter.clocks")
        if clocks is not None:
            stack.enter_context(mock.patch.object(clocks, "monotonic_ns", nanoseconds))
        yield


class Counted:
    """Awaits something and counts how often the task is woken meanwhile."""

    wakes = 0

    def __init__(self, awaitable: Awaitable[Any]) -> None:
        self._steps = awaitable.__await__()

    def __await__(self) -> Generator[Any, None, Any]:
        try:
            waited_for = next(self._steps)
            while True:
                yield waited_for
                Counted.wakes += 1
                waited_for = next(self._steps)
        except StopIteration as stop:
            return stop.value


@attrs.frozen
class Line:
    """What it came to that many stood in line.

    Attributes:
        microseconds: Processor time for each permit.
        granted: How many were given.
        wakes: Wake-ups of tasks for each grant; counted or 0.
        timers: Timers that fired for each grant; counted or 0.
    """

    microseconds: float
    granted: int
    wakes: float = 0.0
    timers: float = 0.0


async def alone(limiter: Opened, count: int) -> Line:
    """Take permits that are there, one after another."""
    began = time.process_time()
    for _ in range(count):
        permit = await limiter.take()
        if limiter.answered is not None:
            limiter.answered(permit)
    return Line((time.process_time() - began) / count * 1e6, count)


async def crowd(
    limiter: Opened,
    waiters: int,
    *,
    stop: float,
    give_up: Callable[[int], None],
    count: bool,
    held: bool,
) -> Line:
    """Let many wait for permits, of which none is there, and serve them.

    Args:
        limiter: The limiter.
        waiters: How many.
        stop: Real seconds after which it is given up.
        give_up: Called then, from a thread, with the number of those that were served.
        count: Whether to count wake-ups, which costs more than they do.
        held: Hold all permits back until everybody waits, and time only what comes then.
    """
    loop = asyncio.get_running_loop()
    assert isinstance(loop, JumpingLoop)
    let_go = limiter.hold() if held and limiter.hold is not None else None
    for _ in range(0 if held else limiter.burst):
        permit = await limiter.take()
        if limiter.answered is not None:
            limiter.answered(permit)
    granted, over = 0, asyncio.Event()

    async def wait() -> None:
        nonlocal granted
        permit = await (Counted(limiter.queue()) if count else limiter.queue())
        if limiter.answered is not None:
            limiter.answered(permit)
        granted += 1
        if granted == waiters:
            over.set()

    gc.collect()
    alarm = threading.Timer(stop, lambda: give_up(granted))
    alarm.start()
    Counted.wakes = loop.fired = 0
    began = time.process_time()
    tasks = [loop.create_task(wait()) for _ in range(waiters)]
    if let_go is not None:
        await asyncio.sleep(0)
        began = time.process_time()
        let_go()
    await over.wait()
    took = time.process_time() - began
    alarm.cancel()
    await asyncio.wait(tasks)
    return Line(took / waiters * 1e6, granted, Counted.wakes / waiters, loop.fired / waiters)


@attrs.frozen
class Run:
    """What to measure.

    Attributes:
        name: The limiter's.
        waiters: How many wait; 1 for permits that are there when they are asked for.
        stop: Seconds after which a crowd is given up.
        count: See `crowd`.
        held: See `crowd`.
    """

    name: str
    waiters: int
    stop: float = 60.0
    count: bool = False
    held: bool = False

    def here(self, give_up: Callable[[int], None]) -> Line:
        """Measure in this process; see `crowd`."""
        if self.waiters == 1:
            return asyncio.run(self._alone())
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, JumpingLoop)
            opener = LOADERS[self.name]()
            with one_clock(loop):
                return runner.run(self._crowd(opener, give_up))

    async def _alone(self) -> Line:
        limiter = LOADERS[self.name]()(PLENTY, 1.0)
        await alone(limiter, 2_000)  # warm-up
        line = await alone(limiter, 20_000)
        limiter.close()
        return line

    async def _crowd(self, opener: Opener, give_up: Callable[[int], None]) -> Line:
        limiter = opener(PLENTY, 1.0) if self.held else opener(*LIMIT)
        line = await crowd(
            limiter,
            self.waiters,
            stop=self.stop,
            give_up=give_up,
            count=self.count,
            held=self.held,
        )
        limiter.close()
        return line

    def median(self, rounds: int) -> Line:
        """Return the median of some rounds, each in a process of its own."""
        spawn = multiprocessing.get_context("spawn")
        lines: list[Line] = []
        for _ in range(rounds):
            here, there = spawn.Pipe()
            process = spawn.Process(target=_measure, args=(self, there))
            process.start()
            lines.append(here.recv())
            process.join()
            if self.stopped(lines[-1]):
                return lines[-1]
        return sorted(lines, key=lambda line: line.microseconds)[rounds // 2]

    def stopped(self, line: Line) -> bool:
        """Return whether the crowd was given up."""
        return line.granted < self.waiters


def _measure(run: Run, pipe: Connection) -> None:
    """Be the process of one round."""

    def give_up(granted: int) -> None:
        pipe.send(Line(math.nan, granted))
        # At once: to cancel a crowd one by one can take longer than to serve it.
        os._exit(0)

    pipe.send(run.here(give_up))
