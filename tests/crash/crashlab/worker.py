"""A process that verifies numbers and dies, or stops, exactly where it is told to.

``python -m crashlab.worker JOB`` runs one job given as JSON; the zygote runs it in a fork instead.
Every write of the ledger that has returned is acknowledged by a line in the job's ``acks`` file,
written before anything else happens, so that a judge knows what must have survived.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs

from papsms_async import ActivationManager, LedgerError, PapSMSClient, PapSMSError, RateLimit
from papsms_async.ledger import Ledger, LedgerEntry, PassingLedger, open_ledger
from papsms_async.ledger.sql import SqlLedger
from papsms_async.ledger.sqlite import SqliteStore
from papsms_async.lifecycle import OPEN, State
from papsms_async.transport import AiohttpTransport
from papsms_async.wire import WireAnswer, WireRequest

MAGIC = (
    "test-race",
    "test-finish-lost",
    "test-finish-error",
    "test-missing-fields",
    "test-no-numbers",
    "test-status-error",
    "test-cancelled",
)
"""Services that go wrong by themselves, yet never leave in doubt whether they were bought."""


SILENCE = 0.3
"""Seconds after which a worker in a transaction that holds others up counts as stopped."""


@attrs.frozen(kw_only=True)
class Job:
    """What a worker does.

    Attributes:
        name: Of this worker; also its API key, so that the service knows who asked.
        base_url: Of the sandbox.
        database: Of the ledger.
        seed: Of everything that is drawn.
        lease: Seconds.
        at_once: Verifications at the same time.
        limit: How many it begins; ``None`` for no end.
        quota: Requests a minute. More of them would mostly be polls.
        work: If not, it only recovers until nothing is open, and exits.
        recovers: Whether it recovers while it works.
        acks: File for acknowledgements.
        crash: ``POINT:before|after:N:kill|stop``, the N-th time that the ledger is asked to do
            what POINT says: ``add``, ``move``, ``move.EVENT``, ``claim``, ``renew``; or that a
            request leaves, ``send.purchase``, ``send.status``, ``send.finish``: right before or
            after the last look at its lease.
        pragmas: SQLite settings in place of the ledger's own, to show what they lose.
        wal: Whether SQLite keeps a write-ahead log; ``None`` as the ledger likes it.
        write_behind: Whether intents are written only after they were reported as written: a wrong
            ledger, to show that the judge finds it.
    """

    name: str
    base_url: str
    database: str
    seed: int = 0
    lease: float = 0.5
    at_once: int = 5
    limit: int | None = None
    quota: int = 9_000
    work: bool = True
    recovers: bool = True
    acks: str | None = None
    crash: str | None = None
    pragmas: tuple[str, ...] = ()
    wal: bool | None = None
    write_behind: bool = False


class Doom:
    """Kills or stops this process at one moment of its life.

    Args:
        crash: See `Job.crash`.
    """

    def __init__(self, crash: str | None) -> None:
        self._seen: Counter[tuple[str, str]] = Counter()
        self._crash: tuple[tuple[str, str], int, int] | None = None
        if crash is not None:
            point, when, number, action = crash.split(":")
            signum = signal.SIGKILL if action == "kill" else signal.SIGSTOP
            self._crash = (point, when), int(number), signum

    def strike(self, when: str, *points: str) -> None:
        """The process has come to these points."""
        if self._crash is None:
            return
        for point in points:
            self._seen[point, when] += 1
            where, number, signum = self._crash
            if where == (point, when) and self._seen[where] == number:
                os.kill(os.getpid(), signum)


class CrashingTransport(AiohttpTransport):
    """A way to the service on which the process may die in the moment of sending."""

    def __init__(self, base_url: str, doom: Doom) -> None:
        super().__init__(base_url)
        self._doom = doom

    async def send(
        self,
        request: WireRequest,
        *,
        key: str,
        timeout: float,
        on_sent: Callable[[], None] | None = None,
    ) -> WireAnswer:
        """See `Transport.send`."""
        point = f"send.{request.operation.value}"

        def leaving() -> None:
            self._doom.strike("before", point)
            if on_sent is not None:
                on_sent()
            self._doom.strike("after", point)

        return await super().send(request, key=key, timeout=timeout, on_sent=leaving)


class CrashingLedger(PassingLedger):
    """A ledger whose process dies, or stops, at one of its calls.

    Args:
        inner: The real ledger.
        doom: What it dies of.
        acks: Descriptor for acknowledgements.
    """

    def __init__(self, inner: Ledger, doom: Doom, acks: int | None) -> None:
        super().__init__(inner)
        self._acks = acks
        self._strike = doom.strike

    def _ack(self, intent_id: str, event: str) -> None:
        if self._acks is not None:
            os.write(self._acks, f"{intent_id} {event}\n".encode())

    async def add(self, entry: LedgerEntry, **options: Any) -> None:
        """See `Ledger.add`."""
        self._strike("before", "add")
        await self._inner.add(entry, **options)
        self._ack(entry.intent_id, "intent")
        self._strike("after", "add")

    async def move(
        self, intent_id: str, expected: State, state: State, *, event: str, **options: Any
    ) -> LedgerEntry:
        """See `Ledger.move`."""
        self._strike("before", "move", f"move.{event}")
        entry = await self._inner.move(intent_id, expected, state, event=event, **options)
        self._ack(intent_id, event)
        self._strike("after", "move", f"move.{event}")
        return entry

    async def claim(self, owner: str, **options: Any) -> tuple[LedgerEntry, ...]:
        """See `Ledger.claim`; only claims that found something count as calls made."""
        claimed = await self._inner.claim(owner, **options)
        if claimed:
            self._strike("after", "claim")
        return claimed

    async def renew(self, owner: str, **options: Any) -> tuple[str, ...]:
        """See `Ledger.renew`."""
        self._strike("before", "renew")
        held = await self._inner.renew(owner, **options)
        self._strike("after", "renew")
        return held


class _WriteBehind(CrashingLedger):
    """A ledger that says that it wrote an intent, and writes it a little later."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._behind: dict[str, asyncio.Task[None]] = {}

    async def add(self, entry: LedgerEntry, **options: Any) -> None:
        """See `Ledger.add`."""

        async def write() -> None:
            await asyncio.sleep(0.02)
            await super(_WriteBehind, self).add(entry, **options)

        self._behind[entry.intent_id] = asyncio.create_task(write())

    async def move(self, intent_id: str, *args: Any, **options: Any) -> LedgerEntry:
        """See `Ledger.move`."""
        if intent_id in self._behind:
            await self._behind.pop(intent_id)
        return await super().move(intent_id, *args, **options)


class _Weakened(SqliteStore):
    """An SQLite file with settings that the ledger would never choose."""

    pragmas: tuple[str, ...] = ()

    def _on_connect(self, connection: Any, record: Any) -> None:
        super()._on_connect(connection, record)
        for pragma in self.pragmas:
            connection.execute(f"PRAGMA {pragma}")


def ledger_of(job: Job) -> Ledger:
    """Return the real ledger of a job."""
    if job.database.startswith("postgresql:"):
        from papsms_async.ledger.postgresql import PostgresStore

        return SqlLedger(PostgresStore(job.database, lock_timeout=1.0, silence=SILENCE))
    if not job.pragmas and job.wal is None:
        return open_ledger(job.database)
    store = _Weakened(job.database.removeprefix("sqlite:///"), wal=job.wal)
    store.pragmas = job.pragmas
    return SqlLedger(store)


async def run(job: Job) -> None:
    """Do the job."""
    acks = None
    if job.acks is not None:
        acks = os.open(job.acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    kind = _WriteBehind if job.write_behind else CrashingLedger
    doom = Doom(job.crash)
    ledger = kind(ledger_of(job), doom, acks)
    rng = random.Random(job.seed)
    await _open(ledger)
    async with (
        PapSMSClient(
            job.name,
            transport=CrashingTransport(job.base_url, doom),
            rate_limit=RateLimit(job.quota, per=60.0),
            timeout=20.0,
        ) as client,
        ActivationManager(
            client,
            database=ledger,
            lease=job.lease,
            sms_timeout=0.4,
            max_in_flight=job.at_once,
            drain_timeout=20.0,
        ) as manager,
    ):
        if not job.work:
            await _recover_all(manager, job.lease)
            return
        recovering = asyncio.create_task(
            _recover_for_ever(manager, job.lease) if job.recovers else asyncio.sleep(0)
        )
        numbers = iter(range(sys.maxsize if job.limit is None else job.limit))

        async def line() -> None:
            for number in numbers:
                await _verify(manager, rng, f"{job.name}-{number}")

        await asyncio.gather(*(line() for _ in range(job.at_once)))
        recovering.cancel()


async def _open(ledger: Ledger) -> None:
    """Open the ledger; on a busy machine another process may keep it locked for some time."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await ledger.open()
            except LedgerError as error:
                if not error.retryable:
                    raise
            await asyncio.sleep(0.1)


async def _recover_all(manager: ActivationManager, lease: float) -> None:
    """Recover until nothing is open; leases of the dead must end first."""
    async with asyncio.timeout(60):
        while True:
            await manager.recover()
            if not await manager.ledger.entries(OPEN):
                return
            await asyncio.sleep(lease / 10)


async def _recover_for_ever(manager: ActivationManager, lease: float) -> None:
    while True:
        try:
            await manager.recover(wait=False)
        except PapSMSError as error:
            logging.getLogger(__name__).warning("recovery failed: %s", error)
        await asyncio.sleep(lease / 3)


async def _verify(manager: ActivationManager, rng: random.Random, name: str) -> None:
    """Run one verification of a kind that is drawn; each has a service name of its own."""
    service = rng.choice(MAGIC) if rng.random() < 0.15 else name
    country, fallbacks = ("us", ()) if rng.random() < 0.9 else ("zz", ("de",))
    patience = rng.uniform(0.0, 0.3)

    async def raising(activation: Any) -> None:
        await asyncio.sleep(patience / 10)
        raise RuntimeError("the flow failed")

    async def cancelling(activation: Any) -> None:
        activation.mark_requested()
        await asyncio.sleep(patience)
        await activation.cancel()

    flow = rng.choice((None, None, None, raising, cancelling))
    limit = patience if rng.random() < 0.2 else None
    try:
        async with asyncio.timeout(limit):
            await manager.verify(service, country, flow=flow, fallbacks=fallbacks)
    except TimeoutError:
        pass


def main(fields: dict[str, Any]) -> None:
    """Run a job in this process."""
    logging.getLogger("papsms_async").setLevel(logging.ERROR)
    asyncio.run(run(Job(**fields | {"pragmas": tuple(fields.get("pragmas", ()))})))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
