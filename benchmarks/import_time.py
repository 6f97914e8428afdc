"""What importing the package costs beside aiohttp, and how soon a sandbox answers.

    python benchmarks/import_time.py

Fresh interpreters, interleaved; the median time above an empty interpreter, and the ratio of it to
``import aiohttp`` in the same run. Then ten sandboxes, one after the other: the time from the start
of ``papsms sandbox`` until its first answer is there, and that of the processor in it, which tells
more on a machine that does other things too.
"""

from __future__ import annotations

import os
import platform
import socket
import statistics
import subprocess
import sys
import time
from importlib.metadata import version

ROUNDS = 25
SANDBOXES = 10
PROGRAMS = {
    "nothing": "pass",
    "import aiohttp": "import aiohttp",
    "import papsms_async": "import papsms_async",
    "from papsms_async import PapSMSClient": "from papsms_async import PapSMSClient",
    "from papsms_async import ActivationManager": "from papsms_async import ActivationManager",
}


def seconds(program: str) -> float:
    """Return how long a fresh interpreter takes for ``program``."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - start


def first_answer() -> tuple[float, float]:
    """Return the seconds until a fresh sandbox has answered, and those of the processor in them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    command = [sys.executable, "-m", "papsms_async.cli", "sandbox", "--port", str(address[1])]
    before, start = os.times(), time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while True:
            try:
                connection = socket.create_connection(address)
                break
            except ConnectionRefusedError:
                time.sleep(0.002)
        with connection:
            connection.sendall(b"GET /_sandbox/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        took = time.perf_counter() - start
        process.terminate()
    after = os.times()
    used = after.children_user + after.children_system
    return took, used - before.children_user - before.children_system


def main() -> None:
    """Measure and print."""
    for program in PROGRAMS.values():
        seconds(program)  # warm: compiled files and disk cache
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(ROUNDS):
        for name, program in PROGRAMS.items():
            times[name].append(seconds(program))
    empty = statistics.median(times["nothing"])
    base = statistics.median(times["import aiohttp"]) - empty
    print(
        f"{platform.platform()}, Python {platform.python_version()}, aiohttp {version('aiohttp')}"
    )
    for name, measured in times.items():
        cost = statistics.median(measured) - empty
        print(f"{name:45} {cost * 1000:7.1f} ms   {cost / base:5.2f} x aiohttp")
    first_answer()  # warm
    starts = [first_answer() for _ in range(SANDBOXES)]
    walls, used = ([start[n] for start in starts] for n in (0, 1))
    print(
        f"papsms sandbox until its first answer: {statistics.median(walls) * 1000:.0f} ms"
        f" ({min(walls) * 1000:.0f} to {max(walls) * 1000:.0f}),"
        f" of the processor {statistics.median(used) * 1000:.0f} ms"
    )


if __name__ == "__main__":
    main()
