"""Fixtures of the command line's tests: a service on a socket, and `papsms` in a process."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from zygote import PIPE, Child, Zygote

from papsms_async.cli import entry
from papsms_async.sandbox import SandboxConfig, SandboxEngine
from papsms_async.sandbox.server import SandboxServer

LIMIT = "60000/60s"


@attrs.frozen
class Ended:
    """A process that ended."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """What it wrote to standard output, as JSON Lines."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def sentences(self) -> list[str]:
        """What it wrote to standard error, without the lines of progress."""
        return [line for line in self.err.splitlines() if " | " not in line]


class Process:
    """A running `papsms`."""

    def __init__(self, process: asyncio.subprocess.Process | Child) -> None:
        self.process = process

    async def line(self, *, err: bool = False) -> str:
        """Wait for the next line that it writes."""
        stream = self.process.stderr if err else self.process.stdout
        assert stream is not None
        return (await stream.readline()).decode()

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def end(self, data: bytes | None = None) -> Ended:
        """Wait until it ends."""
        out, err = await self.process.communicate(data or b"")  # b"" ends its standard input
        assert self.process.returncode is not None
        ended = Ended(self.process.returncode, (out or b"").decode(), (err or b"").decode())
        assert "Traceback" not in ended.err
        return ended


Start = Callable[..., Awaitable[Process]]
Run = Callable[..., Awaitable[Ended]]
Serve = Callable[..., Awaitable[SandboxEngine]]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment that `papsms` is started in; change it at will."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PAPSMS_")}
    return {
        **kept,
        "PAPSMS_API_KEY": "sandbox",
        "PAPSMS_LIMIT": LIMIT,
        "COLUMNS": "80",
        "XDG_DATA_HOME": str(tmp_path / "data"),
    }


@pytest.fixture
async def start(
    environment: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Start]:
    """Return what starts `papsms` in an empty directory; an interpreter of its own if it is new."""
    interpreters: list[asyncio.subprocess.Process] = []
    forked: list[Child] = []

    async def begin(*args: str, new: bool = sys.platform != "linux", **options: Any) -> Process:
        options = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE, "cwd": tmp_path, **options}
        options["env"] = environment
        if new:
            interpreter = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "papsms_async.cli", *args, **options
            )
            interpreters.append(interpreter)
            return Process(interpreter)
        zygote: Zygote = request.getfixturevalue("zygote")
        forked.append(await zygote.start("papsms_async.cli:main", args, **options))
        return Process(forked[-1])

    yield begin
    for process in interpreters:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    for child in forked:
        await child.close()


@pytest.fixture
def run(start: Start) -> Run:
    """Return what runs `papsms` to its end."""

    async def to_end(*args: str, stdin: bytes = b"", **options: Any) -> Ended:
        return await (await start(*args, **options)).end(stdin)

    return to_end


@pytest.fixture
def command(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Callable[..., Ended]]:
    """Return what carries out a `papsms` that needs no process of its own; call it in no loop."""
    logger = logging.getLogger("papsms_async")
    before = (logger.level, logger.propagate, list(logger.handlers))
    for name in tuple(os.environ):
        if name.startswith("PAPSMS_"):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PAPSMS_API_KEY")
    monkeypatch.chdir(tmp_path)

    def carry_out(*args: str) -> Ended:
        code = entry.run(args)
        said = capsys.readouterr()
        return Ended(int(code), said.out, said.err)

    yield carry_out
    logger.setLevel(before[0])
    logger.propagate = before[1]
    logger.handlers[:] = before[2]


@pytest.fixture
async def serve(environment: dict[str, str]) -> AsyncIterator[Serve]:
    """Return what serves a sandbox of the given configuration to `papsms`."""
    servers: list[SandboxServer] = []

    async def begin(*, seed: int = 0, **config: Any) -> SandboxEngine:
        config.setdefault("limit", LIMIT)
        config.setdefault("sms_delay", "uniform:0.05-0.3")
        engine = SandboxEngine(SandboxConfig(**config), seed=seed)
        server = SandboxServer(engine)
        await server.start()
        servers.append(server)
        environment["PAPSMS_BASE_URL"] = server.base_url
        return engine

    yield begin
    for server in servers:
        await server.close()


@pytest.fixture
async def service(serve: Serve) -> SandboxEngine:
    """Return a sandbox that serves `papsms`, without faults."""
    return await serve()
