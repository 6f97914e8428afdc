"""Asks the zygote for processes, and watches them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

PIPE = subprocess.PIPE


class Zygote:
    """The process that forks, as a context manager; it may be used from many event loops.

    Args:
        path: Directories in which modules are found, beside those that are installed.
        modules: Which of these are imported before the first fork.
    """

    def __init__(self, path: Sequence[Path] = (), modules: Sequence[str] = ()) -> None:
        self._preparation = json.dumps({"path": list(map(str, path)), "modules": list(modules)})
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def __enter__(self) -> Self:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "zygote.server", f"{number}", self._preparation],
                cwd=Path(__file__).parents[1],
                pass_fds=[number],
                stdin=subprocess.DEVNULL,
            )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._channel is not None
        assert self._process is not None
        self._channel.close()
        self._process.wait()

    async def start(
        self,
        call: str,
        *arguments: Any,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> Child:
        """Start a process.

        Args:
            call: What it does, as ``module:function``.
            *arguments: Of the function, as far as JSON can hold them.
            cwd: Its directory; ours by default.
            env: Its environment; ours by default.
            settings: What it sets before, as ``module:NAME``: to wait less long than a user would.
            stdin: A descriptor, or `PIPE`; nothing by default.
            stdout: A descriptor, or `PIPE`; nothing by default.
            stderr: A descriptor, or `PIPE`; nothing by default.
        """
        assert self._channel is not None
        request = {
            "call": call,
            "arguments": arguments,
            "cwd": str(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
            "settings": dict(settings or {}),
        }
        control, theirs = socket.socketpair()
        pipes: list[int | None] = []
        handed_over = [theirs.detach()]
        try:
            for number, wanted in enumerate((stdin, stdout, stderr)):
                ours, child = _ends(wanted, writing=number == 0)
                pipes.append(ours)
                handed_over.append(child)
            socket.send_fds(self._channel, [json.dumps(request).encode()], handed_over)
        finally:
            for descriptor in handed_over:
                os.close(descriptor)
        child = Child(*await asyncio.open_connection(sock=control))
        await child.open(*pipes)
        return child


def _ends(wanted: int | None, *, writing: bool) -> tuple[int | None, int]:
    """Return our end of a standard stream, if there is one, and the child's."""
    if wanted is None:
        return None, os.open(os.devnull, os.O_RDWR)
    if wanted != PIPE:
        return None, os.dup(wanted)
    reading_end, writing_end = os.pipe()
    return (writing_end, reading_end) if writing else (reading_end, writing_end)


class Child:
    """A process that the zygote started; alike `asyncio.subprocess.Process`.

    Attributes:
        pid: Its process id; its own until it was waited for.
        stdin: Where it is written to, if that is a pipe.
        stdout: Where its output is read, if that is a pipe.
        stderr: Where its complaints are read, if that is a pipe.
        returncode: Its exit status, or the negative number of the signal that killed it; ``None``
            while it runs.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._control = writer
        self._transports: list[asyncio.BaseTransport] = []
        self._watch: asyncio.Task[int] | None = None
        self._reaped = False
        self.pid = 0
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None

    async def open(self, stdin: int | None, stdout: int | None, stderr: int | None) -> None:
        """Connect the pipes, and wait until it runs."""
        if stdin is not None:
            loop = asyncio.get_running_loop()
            transport, protocol = await loop.connect_write_pipe(
                lambda: asyncio.streams.FlowControlMixin(loop), os.fdopen(stdin, "wb", 0)
            )
            self._transports.append(transport)
            self.stdin = asyncio.StreamWriter(transport, protocol, None, loop)
        self.stdout = await self._read(stdout)
        self.stderr = await self._read(stderr)
        self.pid = int(await self._reader.readline())
        self._watch = asyncio.create_task(self._end())

    async def _read(self, descriptor: int | None) -> asyncio.StreamReader | None:
        if descriptor is None:
            return None
        reader = asyncio.StreamReader(limit=1 << 20)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
        )
        self._transports.append(transport)
        return reader

    async def _end(self) -> int:
        line = await self._reader.readline()
        if not line:
            raise RuntimeError("the zygote is gone")
        return int(line)

    async def _reap(self) -> None:
        """Let the zygote kill it if it lives, and wait until its process id is free."""
        if not self._reaped:
            self._reaped = True
            self._control.write_eof()
            while await self._reader.readline():
                pass

    @property
    def returncode(self) -> int | None:
        """Its exit status, once it ended."""
        assert self._watch is not None
        return self._watch.result() if self._watch.done() else None

    def send_signal(self, number: int) -> None:
        """Send it a signal; harmless once it is dead."""
        if not self._reaped:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def close_stdout(self) -> None:
        """Read its output no more: the next that it writes is a broken pipe."""
        assert self.stdout is not None
        self._transports[self.stdin is not None].close()

    async def wait(self) -> int:
        """Wait for its end, reap it and return its exit status."""
        assert self._watch is not None
        status = await asyncio.shield(self._watch)
        await self._reap()
        return status

    async def communicate(self, data: bytes | None = None) -> tuple[bytes, bytes]:
        """Write ``data`` and close its input, read all that it writes, and wait for its end."""

        async def read(stream: asyncio.StreamReader | None) -> bytes:
            return b"" if stream is None else await stream.read()

        async def write() -> None:
            if self.stdin is not None:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    if data:
                        self.stdin.write(data)
                        await self.stdin.drain()
                self.stdin.close()

        _, out, err = await asyncio.gather(write(), read(self.stdout), read(self.stderr))
        await self.wait()
        return out, err

    async def close(self) -> None:
        """Read and watch it no more; it is killed if it lives."""
        assert self._watch is not None
        self._watch.cancel()
        await asyncio.wait({self._watch})
        await self._reap()
        for transport in self._transports:
            transport.close()
        self._control.close()
