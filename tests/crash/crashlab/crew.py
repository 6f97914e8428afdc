"""Starts workers in milliseconds, in forks of the zygote."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs
from zygote import Child, Zygote

from crashlab.worker import Job


class Worker:
    """A running worker.

    Attributes:
        pid: Its process id; its own until it was waited for.
    """

    def __init__(self, child: Child, crew: set[Worker]) -> None:
        self._child = child
        self._crew = crew
        crew.add(self)
        self.pid = child.pid

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._child.returncode is not None

    @property
    def is_stopped(self) -> bool:
        """Whether it is stopped by a signal."""
        with open(f"/proc/{self.pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"

    def signal(self, number: int) -> None:
        """Send it a signal; harmless once it is dead."""
        self._child.send_signal(number)

    def stop(self) -> None:
        """Stop it, until it gets SIGCONT."""
        self.signal(signal.SIGSTOP)

    async def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, reap it, and return its status.

        Raises:
            TimeoutError: It lives on.
        """
        async with asyncio.timeout(timeout):
            status = await self._child.wait()
        await self.close()
        return status

    async def close(self) -> None:
        """Watch it no more; it is killed if it lives."""
        await self._child.close()
        self._crew.discard(self)


class Crew:
    """All workers of a test, as an async context manager that ends those that are left.

    Args:
        zygote: Forks them.
        errors: File that takes what they say on their standard error.
    """

    def __init__(self, zygote: Zygote, errors: Path) -> None:
        self._zygote = zygote
        self._errors = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._workers: set[Worker] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in tuple(self._workers):
            await worker.close()
        os.close(self._errors)

    async def start(self, job: Job) -> Worker:
        """Start a job and return its worker."""
        child = await self._zygote.start(
            "crashlab.worker:main",
            attrs.asdict(job),
            stdout=self._errors,
            stderr=self._errors,
        )
        return Worker(child, self._workers)
