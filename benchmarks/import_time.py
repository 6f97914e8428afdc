"""What importing the package costs beside aiohttp, which it stands on.

    python benchmarks/import_time.py

Fresh interpreters, interleaved; the median time above an empty interpreter, and the ratio of it to
``import aiohttp`` in the same run.
"""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version

ROUNDS = 25
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


if __name__ == "__main__":
    main()
