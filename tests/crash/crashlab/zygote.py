"""Starts workers in milliseconds: a process that has imported everything, and forks.

It reads lines of JSON, ``{"start": number, "job": {...}}`` and ``{"reap": number}``, and writes
``{"number": n, "pid": p}`` and ``{"number": n, "exit": status}``. A dead worker stays a zombie
until it is reaped, so its process id is nobody else's as long as somebody may send it a signal.
When its input ends, it kills the workers that are left.

Outside of it, `Zygote` is its driver and `Worker` a handle of one of its children.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import selectors
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import IO, Any, Self

import attrs

_PR_SET_PDEATHSIG = 1


class Worker:
    """A child of the zygote.

    Attributes:
        pid: Its process id; its own until `reap`.
        ended: Its exit status, or the negative number of the signal that killed it.
    """

    def __init__(self, zygote: Zygote, number: int) -> None:
        loop = asyncio.get_running_loop()
        self.pid = 0
        self.number = number
        self.started: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[int] = loop.create_future()
        self._zygote = zygote
        self._reaped = False

    def signal(self, signum: int) -> None:
        """Send it a signal; harmless once it is dead."""
        if not self._reaped:
            os.kill(self.pid, signum)

    def stop(self) -> None:
        """Stop it, until it gets SIGCONT."""
        self.signal(signal.SIGSTOP)

    def is_stopped(self) -> bool:
        """Whether it is stopped by a signal."""
        with open(f"/proc/{self.pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"

    async def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, reap it, and return its status.

        Raises:
            TimeoutError: It lives on.
        """
        async with asyncio.timeout(timeout):
            status = await asyncio.shield(self.ended)
        if not self._reaped:
            self._reaped = True
            self._zygote.send({"reap": self.number})
        return status


class Zygote:
    """The process that forks workers, as an async context manager.

    Args:
        errors: File that takes what workers say on their standard error.
    """

    def __init__(self, errors: Path) -> None:
        self._errors = errors
        self._workers: dict[int, Worker] = {}
        self._count = 0
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        with self._errors.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "crashlab.zygote",
                cwd=Path(__file__).parents[1],
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
            )
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._reader is not None
        self._process.stdin.close()
        await self._reader
        await self._process.wait()

    async def start(self, job: Any) -> Worker:
        """Start a job and return its worker."""
        self._count += 1
        worker = self._workers[self._count] = Worker(self, self._count)
        self.send({"start": worker.number, "job": attrs.asdict(job)})
        await worker.started
        return worker

    def send(self, message: dict[str, Any]) -> None:
        """Send a line to the process."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            message = json.loads(line)
            worker = self._workers[message["number"]]
            if "pid" in message:
                worker.pid = message["pid"]
                worker.started.set_result(None)
            else:
                del self._workers[message["number"]]
                worker.ended.set_result(message["exit"])


def serve(commands: IO[bytes], answers: IO[bytes]) -> None:
    """Fork workers until the input ends."""
    from crashlab.worker import job_of, main, warm_up

    warm_up()
    assert threading.active_count() == 1, "a fork would lose the other threads"

    gc.collect()
    gc.freeze()
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    alive: dict[int, int] = {}
    dead: dict[int, int] = {}
    zygote = os.getpid()

    def say(**message: int) -> None:
        answers.write(json.dumps(message).encode() + b"\n")
        answers.flush()

    def fork(number: int, job: dict[str, Any]) -> None:
        pid = os.fork()
        if pid:
            alive[number] = pid
            say(number=number, pid=pid)
            return
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # No worker survives the one who watches it.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != zygote:
                os._exit(1)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(2, 1)
            main(job_of(json.dumps(job)))
            status = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)

    def look() -> None:
        for number, pid in list(alive.items()):
            found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is not None:
                dead[number] = alive.pop(number)
                status = found.si_status
                say(number=number, exit=status if found.si_code == os.CLD_EXITED else -status)

    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(commands, selectors.EVENT_READ)
        selector.register(read_end, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd == read_end:
                    with contextlib.suppress(BlockingIOError):
                        os.read(read_end, 4096)
                    continue
                chunk = os.read(key.fd, 65536)
                if not chunk:
                    for pid in alive.values():
                        os.kill(pid, signal.SIGKILL)
                        os.waitpid(pid, 0)
                    return
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    message = json.loads(line)
                    if "reap" in message:
                        os.waitpid(dead.pop(message["reap"]), 0)
                    else:
                        fork(message["start"], message["job"])
            look()


if __name__ == "__main__":
    with open(0, "rb", buffering=0) as commands, open(1, "wb") as answers:
        serve(commands, answers)
