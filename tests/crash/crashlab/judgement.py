"""Holds the ledger, the service's charge log and the acknowledgements side by side.

The charge log is the truth. Nearly every verification of a worker has a service name of its own, so
what was bought for which intent is known exactly, though purchases have no idempotency key.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from decimal import Decimal
from pathlib import Path

import attrs
from sqlalchemy import select

from crashlab.service import WatchedEngine
from papsms_async.ledger import LedgerEntry, LedgerEvent, open_ledger
from papsms_async.ledger.rows import event_from_row
from papsms_async.ledger.schema import EVENTS
from papsms_async.ledger.sql import SqlLedger
from papsms_async.lifecycle import OPEN, State
from papsms_async.sandbox.activations import ActivationState, Charge, ChargeKind

_ENDED_AS = {
    State.COMPLETED: ActivationState.COMPLETED,
    State.CANCELLED: ActivationState.CANCELLED,
    State.EXPIRED: ActivationState.EXPIRED,
}


@attrs.frozen(kw_only=True)
class Records:
    """All that a ledger holds.

    Attributes:
        entries: Oldest first.
        histories: Of each intent, oldest first.
        committed: US dollars that it holds of a budget.
    """

    entries: tuple[LedgerEntry, ...]
    histories: dict[str, tuple[LedgerEvent, ...]]
    committed: Decimal


@attrs.define(kw_only=True)
class Verdict:
    """What a judge found.

    Attributes:
        problems: Sentences; empty if all is well.
        intents: How many purchases were begun.
        bought: How many the service charged for.
        unknown: How many the ledger calls unknown.
        unnamed: How many were charged that the ledger knows only as unknown.
        completed: How many were completed.
        cancelled: How many were given back.
    """

    problems: list[str] = attrs.field(factory=list)
    intents: int = 0
    bought: int = 0
    unknown: int = 0
    unnamed: int = 0
    completed: int = 0
    cancelled: int = 0


async def read_records(database: str) -> Records:
    """Read a whole ledger."""
    ledger = open_ledger(database)
    assert isinstance(ledger, SqlLedger)
    await ledger.open()
    try:
        entries = await ledger.entries()
        # In one go: there are thousands.
        lines = await ledger._database.read(
            lambda connection: [
                event_from_row(row)
                for row in connection.execute(select(EVENTS).order_by(EVENTS.c.seq)).mappings()
            ]
        )
        histories: dict[str, list[LedgerEvent]] = {entry.intent_id: [] for entry in entries}
        for line in lines:
            histories[line.intent_id].append(line)
        return Records(
            entries=entries,
            histories={intent_id: tuple(told) for intent_id, told in histories.items()},
            committed=await ledger.committed(),
        )
    finally:
        await ledger.aclose()


def read_acks(files: Iterable[Path]) -> list[tuple[str, str]]:
    """Return (intent, event) of every write that a worker saw return."""
    acks: list[tuple[str, str]] = []
    for file in files:
        if file.exists():
            # The last line may be cut off by a kill; what is not whole was not acknowledged.
            lines = file.read_text().split("\n")[:-1]
            acks += [(intent, event) for intent, event in map(str.split, lines)]
    return acks


def judge(
    engine: WatchedEngine,
    records: Records,
    acks: Collection[tuple[str, str]],
    *,
    killed: Collection[int],
) -> Verdict:
    """Judge a ledger after its last recovery.

    Args:
        engine: The service with its charge log.
        records: The ledger.
        acks: What was acknowledged.
        killed: Process ids of the workers that were killed, or stopped past their lease.
    """
    verdict = Verdict(intents=len(records.entries))
    problem = verdict.problems.append
    entries = {entry.intent_id: entry for entry in records.entries}
    for intent, event in acks:
        if intent not in entries:
            problem(f"acknowledged intent {intent} is not in the ledger")
        elif event not in {line.event for line in records.histories[intent]}:
            problem(f"acknowledged {event} of {intent} is not in its history")
    _judge_purchases(engine, records, verdict)
    for entry in records.entries:
        if entry.state in OPEN:
            problem(f"{entry.intent_id} is still {entry.state.value} after recovery")
        elif entry.state is State.UNKNOWN:
            verdict.unknown += 1
            _judge_unknown(entry, records.histories[entry.intent_id], killed, verdict)
        elif entry.state is not State.REFUSED:
            verdict.completed += entry.state is State.COMPLETED
            verdict.cancelled += entry.state is State.CANCELLED
            _judge_end(engine, entry, verdict)
        _judge_drivers(entry, records.histories[entry.intent_id], verdict)
    _judge_finishes(engine, entries.values(), verdict)
    spent = sum((charge.amount for charge in _purchases(engine).values()), Decimal(0))
    refunded = sum(
        charge.amount
        for charge in engine.charge_log
        if charge.kind in (ChargeKind.REFUND, ChargeKind.EXPIRE_REFUND)
    )
    if spent - refunded > records.committed:
        problem(f"the account paid {spent - refunded}, the ledger counts {records.committed}")
    return verdict


def _purchases(engine: WatchedEngine) -> dict[str, Charge]:
    return {
        charge.activation_id: charge
        for charge in engine.charge_log
        if charge.kind is ChargeKind.PURCHASE
    }


def _judge_purchases(engine: WatchedEngine, records: Records, verdict: Verdict) -> None:
    problem = verdict.problems.append
    purchases = _purchases(engine)
    verdict.bought = len(purchases)
    named = Counter(
        entry.activation_id for entry in records.entries if entry.activation_id is not None
    )
    for activation_id, count in named.items():
        if count > 1:
            problem(f"activation {activation_id} is in the ledger {count} times")
        if activation_id not in purchases:
            problem(f"activation {activation_id} of the ledger was never bought")
    intents: dict[tuple[str, str], list[LedgerEntry]] = defaultdict(list)
    for entry in records.entries:
        intents[entry.service, entry.country].append(entry)
    bought: Counter[tuple[str, str]] = Counter()
    unnamed: Counter[tuple[str, str]] = Counter()
    for activation_id, charge in purchases.items():
        bought[charge.service, charge.country] += 1
        unnamed[charge.service, charge.country] += activation_id not in named
    verdict.unnamed = unnamed.total()
    for what, count in bought.items():
        chances = [entry for entry in intents[what] if entry.state is not State.REFUSED]
        if count > len(chances):
            problem(f"{what} was bought {count} times for {len(chances)} intents")
    for what, count in unnamed.items():
        unknown = sum(entry.state is State.UNKNOWN for entry in intents[what])
        if count > unknown:
            problem(f"{count} of {what} were charged unnamed, {unknown} are unknown: lost")


def _judge_unknown(
    entry: LedgerEntry,
    history: tuple[LedgerEvent, ...],
    killed: Collection[int],
    verdict: Verdict,
) -> None:
    """Unknown is only what a killed process left in SENDING."""
    events = [line.event for line in history]
    buyer = _pid(history[0].actor)
    if (
        events[0] != "intent"
        or set(events[1:-1]) != {"claimed"}
        or events[-1] != "answer_lost"
        or buyer not in killed
        or entry.activation_id is not None
    ):
        verdict.problems.append(
            f"{entry.intent_id} is unknown for no reason: {events} by process {buyer},"
            f" {history[-1].reason} by {history[-1].actor}"
        )


def _judge_end(engine: WatchedEngine, entry: LedgerEntry, verdict: Verdict) -> None:
    problem = verdict.problems.append
    activation = engine.activations.get(entry.activation_id or "")
    if activation is None:
        problem(f"{entry.intent_id} is {entry.state.value} without an activation")
        return
    name = f"activation {activation.activation_id} ({activation.service})"
    if activation.ended is not _ENDED_AS[entry.state]:
        problem(f"{name} is {activation.ended} at the service, {entry.state.value} in the ledger")
    # The magic service ends its numbers by itself if nobody does before.
    least = 0 if activation.service == "test-cancelled" else 1
    if not least <= activation.finishes <= 1:
        problem(f"{name} was finished {activation.finishes} times")
    if entry.cost is not None and entry.cost != activation.cost:
        problem(f"{name} cost {activation.cost}, the ledger says {entry.cost}")
    kinds = Counter(
        charge.kind
        for charge in engine.charge_log
        if charge.activation_id == activation.activation_id
    )
    if kinds[ChargeKind.REFUND] != (entry.state is State.CANCELLED):
        problem(f"{name} is {entry.state.value} with {kinds[ChargeKind.REFUND]} refunds")


def _judge_drivers(entry: LedgerEntry, history: tuple[LedgerEvent, ...], verdict: Verdict) -> None:
    """Whoever writes must be whoever bought it or claimed it last."""
    driver = history[0].actor
    for line in history[1:]:
        if line.event == "claimed":
            driver = line.actor
        elif line.actor != driver:
            verdict.problems.append(
                f"{line.event} of {entry.intent_id} was written by {line.actor},"
                f" but {driver} drives it"
            )


def _judge_finishes(
    engine: WatchedEngine, entries: Iterable[LedgerEntry], verdict: Verdict
) -> None:
    """Nothing is finished that the ledger does not know, nor completed before its SMS."""
    known = {entry.activation_id for entry in entries}
    for finish in engine.finishes:
        activation = engine.activations[finish.activation_id]
        if finish.activation_id not in known:
            verdict.problems.append(
                f"{finish.worker} finished {finish.activation_id}, which the ledger does not know"
            )
        early = activation.sms_at is None or activation.sms_at > finish.at
        if finish.status == "completed" and early:
            verdict.problems.append(
                f"{finish.worker} completed {finish.activation_id} without an SMS"
            )


def _pid(actor: str | None) -> int:
    return int((actor or ":0:").split(":")[1])
