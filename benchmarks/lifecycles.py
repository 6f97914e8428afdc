"""Lifecycles a second against bare aiohttp, and memory of an activation in flight.

Run ``python benchmarks/lifecycles.py``; it takes less than two minutes. A lifecycle is a purchase,
one status call that finds the SMS, and a finish. The quota is unlimited and the sandbox, in a
process of its own on loopback, answers at once. The baseline is three requests of bare aiohttp with
the same bodies and headers, decoded by ``json``, as many at once; its rounds and those of the
manager, on each kind of ledger, are interleaved after a warm-up, and medians count. PostgreSQL is
measured where ``PAPSMS_TEST_POSTGRES`` or ``--postgres`` names a server, in a schema of its own.

Memory is measured in a fresh process each, in virtual time without sockets: what is allocated with
10,000 activations that all wait for their SMS, and how the resident size grew.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

import aiohttp
from bare import UNLIMITED, bare, lifecycle, open_session, repeat
from environment import POSTGRES, machine, postgres_schema, server

from papsms_async import ActivationManager, Outcome, PapSMSClient
from papsms_async.ledger import MemoryLedger
from papsms_async.sandbox import SandboxConfig, SandboxEngine
from papsms_async.sandbox.server import serve
from papsms_async.testing import run_virtual
from papsms_async.testing.memory_transport import MemoryService

SERVICE = "test-instant"
SMS_TIMEOUT = 1.0
"""Seconds; so short that the schedule polls at once, for what is measured is not the waiting."""

Round = Callable[[int], Awaitable[None]]
"""Runs so many lifecycles."""


def bare_rounds(session: aiohttp.ClientSession, base_url: str, at_once: int) -> Round:
    """Return rounds of bare requests."""
    calls = bare(base_url, session, session, service=SERVICE)

    async def run(lives: int) -> None:
        await repeat(lambda: lifecycle(calls), lives, at_once=at_once)

    return run


def managed(manager: ActivationManager) -> Round:
    """Return rounds of a manager's verifications; a round ends when every number is finished."""

    async def run(lives: int) -> None:
        async for result in manager.run(SERVICE for _ in range(lives)):
            assert result.outcome is Outcome.COMPLETED, result.outcome
        while manager.owed:  # noqa: ASYNC110 - a look costs less than events would
            await asyncio.sleep(0.001)

    return run


async def serve_sandbox() -> None:
    """Be the sandbox, until a signal ends this process."""
    config = SandboxConfig(limit="none", balance=10**9)
    ready = partial(print, flush=True)
    await serve(SandboxEngine(config), "127.0.0.1", 0, ready=ready)


async def compare(postgres: str | None, rounds: int, lives: int, at_once: int) -> None:
    """Measure all kinds in turns and print one line each."""
    taken: dict[str, list[float]] = {}
    processor: dict[str, list[float]] = {}
    async with AsyncExitStack() as stack:
        base_url = await stack.enter_async_context(server(__file__, "--sandbox"))
        session = await stack.enter_async_context(open_session("sandbox"))
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        databases = {"memory": None, "sqlite": f"sqlite:///{directory}/ledger.db"}
        if postgres:
            databases["postgresql"] = await stack.enter_async_context(postgres_schema(postgres))
        else:
            print("PostgreSQL is not measured: PAPSMS_TEST_POSTGRES is unset")
        runs = {"bare aiohttp": bare_rounds(session, base_url, at_once)}
        for name, database in databases.items():
            client = await stack.enter_async_context(
                PapSMSClient("sandbox", base_url=base_url, rate_limit=UNLIMITED)
            )
            runs[f"manager, {name}"] = managed(
                await stack.enter_async_context(
                    ActivationManager(
                        client,
                        database=database or MemoryLedger(),
                        max_in_flight=at_once,
                        sms_timeout=SMS_TIMEOUT,
                    )
                )
            )
        for run in runs.values():
            await run(at_once)
        for _ in range(rounds):
            for name, run in runs.items():
                gc.collect()
                start, used = time.perf_counter(), time.process_time()
                await run(lives)
                taken.setdefault(name, []).append((time.perf_counter() - start) / lives)
                processor.setdefault(name, []).append((time.process_time() - used) / lives)
    base = statistics.median(taken["bare aiohttp"])
    print(f"{at_once} at once, {rounds} rounds of {lives} lifecycles")
    print(f"{'':<22}{'lifecycles/s':>13}{'x bare':>9}{'processor a lifecycle':>24}")
    for name in runs:
        median = statistics.median(taken[name])
        busy = statistics.median(processor[name]) * 1000
        print(f"{name:<22}{1 / median:>13.0f}{median / base:>9.2f}{busy:>21.2f} ms")


async def hold(count: int) -> tuple[float, float]:
    """Return bytes allocated, and seconds of processor time, for ``count`` activations in flight.

    The sandbox's own objects are part of it; `measure_memory` takes them off.
    """
    service = MemoryService(
        SandboxEngine(SandboxConfig(limit="none", sms_delay="never", balance=10**9))
    )
    async with (
        service.client(rate_limit=UNLIMITED) as client,
        service.manager(
            client, database=MemoryLedger(), max_in_flight=count, sms_timeout=3600.0
        ) as manager,
    ):
        gc.collect()
        before, start = _allocated(), time.process_time()
        tasks = [asyncio.ensure_future(manager.verify("whatsapp")) for _ in range(count)]
        while manager.statistics().waiting_for_sms < count:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(1.0)
        used = time.process_time() - start
        gc.collect()
        allocated = _allocated() - before
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return allocated, used


async def buy_only(count: int) -> tuple[float, float]:
    """Return the same for the sandbox alone: as many purchases and nobody who keeps them."""
    service = MemoryService(
        SandboxEngine(SandboxConfig(limit="none", sms_delay="never", balance=10**9))
    )
    async with service.client(rate_limit=UNLIMITED) as client:
        gc.collect()
        before, start = _allocated(), time.process_time()
        for _ in range(count):
            await client.purchase("whatsapp")
        gc.collect()
        return _allocated() - before, time.process_time() - start


def _allocated() -> float:
    if tracemalloc.is_tracing():
        return tracemalloc.get_traced_memory()[0]
    # Not the peak: a child's begins with that of its parent.
    with open("/proc/self/statm") as file:
        return float(file.read().split()[1]) * resource.getpagesize()


def measure_memory(count: int) -> None:
    """Print what an activation in flight takes."""
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for what in ("hold", "buy_only"):
        for how in ("traced", "resident"):
            run = [sys.executable, __file__, "--memory", f"{what},{how},{count}"]
            found[what, how] = tuple(json.loads(subprocess.check_output(run)))
    print(f"{count} in flight, the sandbox's own share taken off:")
    for how, name in (("traced", "allocated (tracemalloc)"), ("resident", "resident size")):
        bytes_each = (found["hold", how][0] - found["buy_only", how][0]) / count
        print(f"  {name:<24}{bytes_each / 1024:>8.1f} KiB an activation")
    each = (found["hold", "resident"][1] - found["buy_only", "resident"][1]) / count * 1000
    print(f"  {'to get there':<24}{each:>8.2f} ms of processor an activation")


def main() -> None:
    """Run the benchmark and print machine, versions and figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgres", default=POSTGRES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lives", type=int, default=500, help="lifecycles a round")
    parser.add_argument("--at-once", type=int, default=100)
    parser.add_argument("--in-flight", type=int, default=10_000, help="for the memory")
    parser.add_argument("--sandbox", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sandbox:
        return asyncio.run(serve_sandbox())
    if options.memory:
        what, how, count = options.memory.split(",")
        if how == "traced":
            tracemalloc.start()
        measured = {"hold": hold, "buy_only": buy_only}[what]
        print(json.dumps(run_virtual(measured(int(count)))))
        return
    print(machine("aiohttp", "sqlalchemy", "aiosqlite", "asyncpg"))
    asyncio.run(compare(options.postgres, options.rounds, options.lives, options.at_once))
    measure_memory(options.in_flight)


if __name__ == "__main__":
    main()
