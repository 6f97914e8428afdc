"""Webhooks over real sockets: how soon they are answered, and a thousand verifications by them.

Run ``python benchmarks/webhooks.py``. First, a sender in a process of its own posts to the listener
at a steady rate and then in a burst, and each answer is timed; webhooks are durable before they are
answered, so beside it stands what one durable write takes alone, in the same run and on the same
disk, and the processor's time that the receiver needs for a webhook. Memory, SQLite and (where
``PAPSMS_TEST_POSTGRES`` or ``--postgres`` names a server) PostgreSQL take turns after a warm-up;
the median of the rounds counts. In the last round the rate is raised for as long as 99 of 100 are
answered within 50 ms, in two of three tries at each rate.

Then a sandbox in a process of its own posts webhooks to a manager that runs a thousand
verifications at once, with webhooks lost, copied, held back and forged, by either trust. The
sandbox's charge log says how many requests that took, and whether each code was the right one.
``--skip-thousand`` and ``--skip-answers`` leave one of the two out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import math
import multiprocessing
import signal
import statistics
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
from environment import POSTGRES, machine, postgres_schema

from papsms_async import (
    ActivationManager,
    PapSMSClient,
    RateLimit,
    WebhookEvent,
    WebhookListener,
    WebhookReceiver,
    new_webhook_secret,
)
from papsms_async.ledger import Ledger, MemoryLedger, open_ledger
from papsms_async.models import Sms

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FAULTS = "loss@0.05 duplicate=2@0.1 reorder@0.1 forged_code@0.05 forged_id@0.05 forged_path@0.05"
COUNT = 1000
BOUND = 50.0
"""Milliseconds in which 99 of 100 webhooks are to be answered."""
RATES = (50.0, 100.0, 200.0, 400.0, 800.0, 1600.0)
"""Webhooks a second that are tried."""


# How soon they are answered ----------------------------------------------------------------------


async def post_all(
    port: int, path: str, count: int, rate: float | None
) -> tuple[list[float], float]:
    """Post ``count`` webhooks at ``rate`` a second by fives, or all at once.

    Returns:
        The milliseconds of each answer, infinity for one that was not taken, and how many a second
        were posted.
    """
    idle: asyncio.LifoQueue[Any] = asyncio.LifoQueue()
    taken: list[float] = []

    async def post() -> None:
        body = json.dumps(
            {"activation_id": uuid.uuid4().hex, "code": "847291", "full_text": "Your code: 847291"}
        ).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        start = time.perf_counter()
        try:
            if idle.empty():
                connection = await asyncio.open_connection("127.0.0.1", port)
            else:
                connection = idle.get_nowait()
            reader, writer = connection
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            size = int(answer.lower().split(b"content-length: ")[1].split(b"\r")[0])
            await reader.readexactly(size)
        except (OSError, EOFError):
            answer = b"turned away: it has more connections than it takes"
        else:
            idle.put_nowait(connection)
        took = (time.perf_counter() - start) * 1000
        taken.append(took if b" 200 " in answer[:20] else math.inf)

    tasks = []
    begun = time.perf_counter()
    for number in range(count):
        tasks.append(asyncio.create_task(post()))
        if rate is not None and number % 5 == 4:
            # By the clock: one that comes late does not make the next ones late, too.
            await asyncio.sleep(begun + (number + 1) / rate - time.perf_counter())
    posted = count / (time.perf_counter() - begun)
    await asyncio.gather(*tasks)
    while not idle.empty():
        idle.get_nowait()[1].close()
    return taken, posted


def sender(pipe: Connection) -> None:
    """Be the process that posts what it is told to."""
    while (work := pipe.recv()) is not None:
        pipe.send(asyncio.run(post_all(*work)))


async def times(pipe: Connection, *work: Any) -> tuple[list[float], float]:
    """Let the sender post; see `post_all`."""
    pipe.send(work)
    found: tuple[list[float], float] = await asyncio.to_thread(pipe.recv)
    return found


async def most_within(pipe: Connection, port: int, path: str) -> float:
    """Return the greatest of `RATES` whose p99 is within `BOUND`, in two of three tries."""
    most = 0.0
    for rate in RATES:
        held = tries = 0
        while held < 2 and tries - held < 2:
            taken, posted = await times(pipe, port, path, int(max(300, 3 * rate)), rate)
            tries += 1
            held += percentile(taken, 0.99) <= BOUND and posted > 0.9 * rate
        if held < 2:
            break
        most = rate
    return most


async def alone(ledger: Ledger) -> float:
    """Return the median milliseconds of one durable write of a webhook, with nothing beside it."""
    taken = []
    for _ in range(20):
        sms = Sms(code="847291", full_text="Your code: 847291")
        event = WebhookEvent(activation_id=uuid.uuid4().hex, sms=sms)
        start = time.perf_counter()
        await ledger.inbox.put(event, at=datetime.now(UTC))
        taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which a share lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def answers(databases: dict[str, str | None], rounds: int, rate: float) -> None:
    """Measure all kinds in turns and print one line each."""
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=sender, args=(there,))
    process.start()
    found: dict[tuple[str, str], list[float]] = {}
    for turn in range(rounds + 1):
        for name, database in databases.items():
            ledger = MemoryLedger() if database is None else open_ledger(database)
            await ledger.open()
            receiver = WebhookReceiver(new_webhook_secret())
            receiver.attach(ledger.inbox)
            single = await alone(ledger)
            async with WebhookListener(receiver) as listener:
                work = listener.port, receiver.path
                await times(here, *work, 50, 100.0)
                used = time.process_time()
                steady, _ = await times(here, *work, int(5 * rate), rate)
                used = 1000 * (time.process_time() - used) / len(steady)
                burst, _ = await times(here, *work, 200, None)
                most = await most_within(here, *work) if turn == rounds else None
            await receiver.detach()
            await ledger.aclose()
            if turn == 0:
                continue  # the warm-up
            for kind, value in (
                ("alone", single),
                ("p50", percentile(steady, 0.5)),
                ("p99", percentile(steady, 0.99)),
                ("burst", percentile(burst, 0.99)),
                ("used", used),
                ("most", most),
            ):
                if value is not None:
                    found.setdefault((name, kind), []).append(value)
            print(
                f"round {turn}, {name}: one write {single:.1f} ms,"
                f" {rate:g}/s p99 {percentile(steady, 0.99):.1f} ms, {used:.2f} ms of processor",
                flush=True,
            )
    here.send(None)
    process.join()
    print()
    print(
        f"{'ledger':<12}{'one write':>11}{f'{rate:g}/s p50':>12}{f'{rate:g}/s p99':>12}"
        f"{'p99/write':>11}{'processor':>11}{'200 at once p99':>17}"
        f"{f'p99 < {BOUND:g} ms up to':>20}"
    )
    for name in databases:
        one, p50, p99, burst_p99, used, most = (
            statistics.median(found[name, kind])
            for kind in ("alone", "p50", "p99", "burst", "used", "most")
        )
        print(
            f"{name:<12}{one:>8.1f} ms{p50:>9.1f} ms{p99:>9.1f} ms"
            + (f"{p99 / one:>11.1f}" if name != "memory" else f"{'-':>11}")
            + f"{used:>8.2f} ms{burst_p99:>14.1f} ms"
            + (f"{most:>18g}/s" if most else f"{'not even 50/s':>20}")
        )


# A thousand verifications ------------------------------------------------------------------------


@asynccontextmanager
async def sandbox() -> AsyncIterator[str]:
    """Give the root URL of a sandbox in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "papsms_async.cli", "sandbox", "--port", "0", "--seed", "7"),
        *("--limit", "none", "--balance", "100000", "--delay", "lognormal:12/0.8,never:0.08"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        yield line.split(" on ")[1].split("/api/")[0]
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def thousand(trust: Any, database: str | None) -> None:
    """Run a thousand verifications, and print what came of them."""
    secret = new_webhook_secret()
    signed = trust == "payload"
    async with sandbox() as root, aiohttp.ClientSession(root) as control:
        receiver = WebhookReceiver(secret, trust=trust, signing_secrets=KEY if signed else ())
        async with (
            PapSMSClient(
                "sandbox", base_url=f"{root}/api/v1/", rate_limit=RateLimit(100_000, 60)
            ) as client,
            ActivationManager(
                client, database=database, webhook=receiver, max_in_flight=COUNT
            ) as manager,
            WebhookListener(receiver) as listener,
        ):
            hook = {"url": listener.url, "faults": FAULTS, "secret": KEY if signed else None}
            hook = {name: value for name, value in hook.items() if value is not None}
            async with control.put("/_sandbox/webhook", json=hook) as answer:
                assert answer.status == 200, await answer.text()
            started = time.perf_counter()
            results = [result async for result in manager.run(["whatsapp"] * COUNT)]
            took = time.perf_counter() - started
            webhooks = manager.statistics().webhooks
        assert webhooks is not None

        async def read(path: str) -> Any:
            async with control.get(path) as answer:
                return await answer.json()

        activations = (await read("/_sandbox/activations"))["activations"]
        stats = await read("/_sandbox/stats")
        posts = (await read("/_sandbox/webhooks?last=100000"))["webhooks"]
    truth = {one["activation_id"]: one["sms_code"] for one in activations}
    wrong = sum(
        result.sms.code != truth[result.activation.activation_id]
        for result in results
        if result.sms is not None and result.activation is not None
    )
    outcomes = Counter(result.outcome.value for result in results)
    kinds = Counter(post["kind"] for post in posts)
    answered = [1000 * post["took"] for post in posts if post["status"] == 200]
    requests = stats["requests"]
    print(
        f"{trust:<9}{requests / COUNT:>10.3f}{wrong:>8}{outcomes['completed']:>11}"
        f"{outcomes['timed_out']:>11}{percentile(answered, 0.5):>10.1f} ms"
        f"{percentile(answered, 0.99):>9.1f} ms{took:>8.0f} s",
        flush=True,
    )
    print(
        f"         posts: {', '.join(f'{kind} {count}' for kind, count in sorted(kinds.items()))}"
    )


# The command -------------------------------------------------------------------------------------


async def run(options: argparse.Namespace, directory: Path) -> None:
    """Do what the options say."""
    databases: dict[str, str | None] = {"memory": None, "sqlite": str(directory / "ledger.db")}
    if not options.skip_answers:
        if options.postgres:
            async with postgres_schema(options.postgres) as address:
                await answers(databases | {"postgresql": address}, options.rounds, options.rate)
        else:
            print("PostgreSQL is not measured: PAPSMS_TEST_POSTGRES is unset")
            await answers(databases, options.rounds, options.rate)
    if not options.skip_thousand:
        print(f"\n{COUNT} verifications at once: {FAULTS}")
        print(
            f"{'trust':<9}{'requests':>10}{'wrong':>8}{'completed':>11}{'timed out':>11}"
            f"{'p50':>13}{'p99':>12}{'took':>10}"
        )
        for trust in ("payload", "confirm"):
            await thousand(trust, str(directory / f"{trust}.db"))


def main() -> None:
    """Run the benchmark and print machine, versions and figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, help="where the SQLite files are put")
    parser.add_argument("--postgres", default=POSTGRES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=100.0, help="webhooks a second")
    parser.add_argument("--skip-answers", action="store_true")
    parser.add_argument("--skip-thousand", action="store_true")
    options = parser.parse_args()
    logging.getLogger("papsms_async").addHandler(logging.NullHandler())
    print(machine("aiohttp", "sqlalchemy", "aiosqlite", "asyncpg"))
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        asyncio.run(run(options, Path(directory)))


if __name__ == "__main__":
    main()
