"""What the ledger costs: milliseconds per lifecycle of five durable writes.

Run ``python benchmarks/ledger.py``. SQLite is measured in a temporary directory (``--directory``
chooses the disk), PostgreSQL where ``PAPSMS_TEST_POSTGRES`` or ``--postgres`` names a server, in a
schema of its own that is dropped afterwards. Memory is the baseline of the same run; the rounds of
all kinds are interleaved after a warm-up, and the median counts. Beside SQLite stands what the disk
alone takes for five synced writes of a page.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from bare import repeat
from environment import POSTGRES, machine, postgres_schema

from papsms_async.ledger import Ledger, LedgerEntry, MemoryLedger, open_ledger
from papsms_async.lifecycle import State
from papsms_async.models import Sms

WRITES = 5


async def lifecycle(ledger: Ledger) -> None:
    """Write one purchase from its intent to its end, as the manager does."""
    now = datetime.now(UTC)
    intent_id = uuid.uuid4().hex
    entry = LedgerEntry(
        intent_id=intent_id,
        state=State.SENDING,
        service="whatsapp",
        country="us",
        created_at=now,
        updated_at=now,
    )
    sms = Sms(code="847291", full_text="Your WhatsApp code: 847291", received_at=now)
    await ledger.add(entry)
    await ledger.move(
        intent_id,
        State.SENDING,
        State.WAITING,
        event="bought",
        at=now,
        activation_id=intent_id[:8],
        phone_number="+14155550123",
        expires_at=now,
        cost=Decimal("0.80"),
    )
    await ledger.move(intent_id, State.WAITING, State.RECEIVED, event="sms", at=now, sms=sms)
    await ledger.move(intent_id, State.RECEIVED, State.COMPLETING, event="keep", at=now)
    await ledger.move(intent_id, State.COMPLETING, State.COMPLETED, event="finished", at=now)


async def measure(ledger: Ledger, lives: int, at_once: int) -> float:
    """Return milliseconds per lifecycle with ``at_once`` of them under way."""
    start = time.perf_counter()
    await repeat(lambda: lifecycle(ledger), lives, at_once=at_once)
    return (time.perf_counter() - start) / lives * 1000


def measure_disk(directory: Path) -> float:
    """Return milliseconds for five synced writes of 4 KiB, the least that durable writes cost."""
    path = directory / "disk"
    with path.open("wb", buffering=0) as file:
        start = time.perf_counter()
        for _ in range(50 * WRITES):
            file.seek(0)
            file.write(b"\0" * 4096)
            os.fdatasync(file.fileno())
        return (time.perf_counter() - start) / 50 * 1000


async def compare(databases: dict[str, str], rounds: int) -> None:
    """Measure all kinds in turns and print one line each."""
    ledgers: dict[str, Ledger] = {"memory": MemoryLedger()}
    ledgers |= {name: open_ledger(database) for name, database in databases.items()}
    found: dict[tuple[str, int], list[float]] = {}
    for ledger in ledgers.values():
        await ledger.open()
        await measure(ledger, 20, 4)
    for _ in range(rounds):
        for name, ledger in ledgers.items():
            for at_once, lives in ((1, 40), (100, 400)):
                taken = await measure(ledger, lives, at_once)
                found.setdefault((name, at_once), []).append(taken)
    for ledger in ledgers.values():
        await ledger.aclose()
    print(
        f"{'ledger':<12}{'one by one':>14}{'100 at once':>14}{'lifecycles/s':>14}{'x memory':>10}"
    )
    for name in ledgers:
        alone, crowd = (statistics.median(found[name, n]) for n in (1, 100))
        base = statistics.median(found["memory", 100])
        row = f"{name:<12}{alone:>11.2f} ms{crowd:>11.2f} ms{1000 / crowd:>14.0f}"
        print(f"{row}{crowd / base:>10.0f}")


def main() -> None:
    """Run the benchmark and print machine, versions and figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, help="where the SQLite file is put")
    parser.add_argument("--postgres", default=POSTGRES)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(machine("sqlalchemy", "aiosqlite", "asyncpg"))
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        print(f"five synced writes on this disk: {measure_disk(Path(directory)):.2f} ms")
        asyncio.run(run(Path(directory), options.postgres, options.rounds))


async def run(directory: Path, postgres: str | None, rounds: int) -> None:
    """Measure with PostgreSQL where there is one."""
    databases: dict[str, str] = {"sqlite": str(directory / "ledger.db")}
    if not postgres:
        print("PostgreSQL is not measured: PAPSMS_TEST_POSTGRES is unset")
        return await compare(databases, rounds)
    async with postgres_schema(postgres) as address:
        await compare(databases | {"postgresql": address}, rounds)


if __name__ == "__main__":
    main()
