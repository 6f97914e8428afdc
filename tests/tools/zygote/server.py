"""The process that forks: it imports everything once, then makes a child for each request.

A request is one datagram: JSON that says what to call, with four descriptors, which are the child's
control socket, standard input, output and error. On the control socket the child's process id is
told, and its exit status once it ended. It stays a zombie until the other side says by an end of
file that it watches no more, so its process id is nobody else's as long as somebody may send it a
signal; whoever is not watched any more is killed. Then the socket is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import Any

PR_SET_PDEATHSIG = 1
LONGEST_REQUEST = 1 << 17


def warm_up() -> None:
    """Do everything once that costs time at its first use, and leave no thread behind."""
    import papsms_async

    for module in pkgutil.walk_packages(papsms_async.__path__, "papsms_async."):
        # A module may need an extra that is not installed, and the other is a program.
        if not module.name.endswith(".__main__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)
    for name in (
        "aiosqlite",
        "dotenv",
        "platformdirs.unix",
        "rich.progress",
        "rich.table",
        "sqlalchemy.dialects.postgresql.asyncpg",
        "sqlalchemy.dialects.sqlite.aiosqlite",
    ):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_rehearse(f"{directory}/ledger.db"))


async def _rehearse(database: str) -> None:
    from papsms_async import ActivationManager, RateLimit
    from papsms_async.testing.memory_transport import MemoryService

    service = MemoryService()
    async with (
        service.client(rate_limit=RateLimit(60_000, per=60.0)) as client,
        ActivationManager(client, database=database, sms_timeout=0.4) as manager,
    ):
        for name in ("test-instant", "test-race"):
            await manager.verify(name)
        await manager.recover()


class _Server:
    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._pid = os.getpid()
        self._alive: dict[int, socket.socket] = {}
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Ctrl-C in the terminal of the tests is theirs to handle.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._selector = selectors.DefaultSelector()
        self._selector.register(channel, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)

    def serve(self) -> Callable[[], Any] | None:
        """Fork until nobody asks any more; in a child, return what it is to call."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._channel:
                    text, descriptors, _, _ = socket.recv_fds(self._channel, LONGEST_REQUEST, 4)
                    if not text:
                        self._end()
                        return None
                    if call := self._fork(json.loads(text), descriptors):
                        return call
                elif key.fd == self._woken:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._woken, 4096)
                else:
                    self._let_go(key.data, key.fileobj)
            self._look()

    def _fork(self, request: dict[str, Any], descriptors: list[int]) -> Callable[[], Any] | None:
        pid = os.fork()
        if not pid:
            return self._become(request, descriptors)
        control = socket.socket(fileno=descriptors[0])
        for descriptor in descriptors[1:]:
            os.close(descriptor)
        self._alive[pid] = control
        self._selector.register(control, selectors.EVENT_READ, pid)
        _say(control, pid)
        return None

    def _become(self, request: dict[str, Any], descriptors: list[int]) -> Callable[[], Any]:
        """Be in a child what an interpreter is at its start."""
        # No child survives the one who watches it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self._pid:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._selector.close()  # and with it, as nothing holds them, the sockets of the ended
        for control in self._alive.values():
            control.close()
        self._channel.close()
        for descriptor in (self._woken, self._wake, descriptors[0]):
            os.close(descriptor)
        for target, descriptor in enumerate(descriptors[1:]):
            os.dup2(descriptor, target)
            os.close(descriptor)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        _open_streams()
        for place, value in request["settings"].items():
            setattr(_module_of(place), place.rpartition(":")[2], value)
        function = getattr(_module_of(request["call"]), request["call"].rpartition(":")[2])
        return lambda: function(*request["arguments"])

    def _look(self) -> None:
        """Tell who has ended."""
        for pid, control in list(self._alive.items()):
            found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is not None:
                del self._alive[pid]
                exited = found.si_code == os.CLD_EXITED
                _say(control, found.si_status if exited else -found.si_status)

    def _let_go(self, pid: int, control: Any) -> None:
        if self._alive.pop(pid, None) is not None:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self._selector.unregister(control)
        control.close()

    def _end(self) -> None:
        for pid in self._alive:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _module_of(place: str) -> Any:
    return importlib.import_module(place.partition(":")[0])


def _say(control: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):
        control.send(b"%d\n" % number)


def _open_streams() -> None:
    """Open the standard streams as an interpreter does."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        old = getattr(sys, f"__{name}__")
        stream = open(  # noqa: SIM115 - as long as the process
            descriptor, mode, encoding=old.encoding, errors=old.errors, closefd=False
        )
        if mode == "w":
            stream.reconfigure(line_buffering=name == "stderr" or stream.isatty())
        setattr(sys, f"__{name}__", stream)
        setattr(sys, name, stream)


def main() -> Callable[[], Any] | None:
    """Serve the socket whose descriptor is the program's argument, prepared as it is told."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    preparation = json.loads(sys.argv[2])
    sys.path[:0] = preparation["path"]
    warm_up()
    for name in preparation["modules"]:
        importlib.import_module(name)
    assert threading.active_count() == 1, "a fork would lose the other threads"
    gc.collect()
    gc.freeze()
    os.set_inheritable(channel.fileno(), False)
    return _Server(channel).serve()


if __name__ == "__main__":
    # A child calls it out here, so that it ends as every program does.
    if (call := main()) is not None:
        call()
