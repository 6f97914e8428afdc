"""Says what was wrong in a world. The charge log of the service and the wire are the truth."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

from papsms_async import Outcome, RateLimit, State
from papsms_async.bucket import Pace
from papsms_async.events import EventKind
from papsms_async.ledger import LedgerEntry
from papsms_async.lifecycle import OWED
from papsms_async.protocol import Operation
from papsms_async.sandbox import ActivationState, ChargeKind, SandboxActivation

from .service import Wire, instant
from .world import Seen

_SLACK = 1e-5
"""Seconds within which two instants count as the same: POSIX seconds as floats have 2e-7."""
_ON_ITS_WAY = 0.05
"""Seconds that a request may take from its permit to the road: a new key takes 0.01."""
_REFUNDED = (ActivationState.CANCELLED, ActivationState.EXPIRED)


def judge(seen: Seen) -> list[str]:
    """Return one sentence for each promise that was broken."""
    return [
        f"{check.__name__.removeprefix('_check_')}: {wrong}"
        for check in CHECKS
        for wrong in check(seen)
    ]


def _check_nothing_crashed(seen: Seen) -> Iterator[str]:
    yield from seen.crashes
    yield from seen.diary.failures
    if seen.hung:
        yield f"{seen.hung} callers hang"


def _check_nothing_leaks(seen: Seen) -> Iterator[str]:
    yield from seen.leftovers
    statistics = seen.statistics
    assert statistics is not None
    quota = statistics.quota
    if quota.held or quota.waiting:
        yield f"{quota.held} permits are held and {quota.waiting} tickets wait"
    if seen.free_places != seen.max_in_flight:
        yield f"{seen.free_places} of {seen.max_in_flight} places are free"
    if statistics.in_flight or statistics.queued or statistics.waiting_for_sms:
        yield f"statistics still count {statistics!r}"


def _check_places(seen: Seen) -> Iterator[str]:
    most = max((told.in_flight for told in seen.told), default=0)
    if most > seen.max_in_flight:
        yield f"{most} in flight of {seen.max_in_flight}"
    bought: set[str] = set()
    for told in seen.told:
        # The place is taken before the purchase and given back when its caller is done.
        if told.event.kind is EventKind.PURCHASED and told.event.intent_id:
            bought.add(told.event.intent_id)
    for live in seen.diary.entered:
        if live not in bought:
            yield f"a flow got {live}, which was never bought"


def _check_limit(seen: Seen) -> Iterator[str]:
    """Count as the service does: by arrival, whatever the road did."""
    requests, per, _ = seen.plan.limit
    arrivals = sorted(
        wire.arrived for wire in seen.wires if wire.arrived is not None and wire.fate != "refused"
    )
    first = 0
    for number, at in enumerate(arrivals):
        while at - arrivals[first] > per:
            first += 1
        if number - first + 1 > requests:
            yield f"{number - first + 1} of {requests} requests in {per} s before {at}"
            return


def _check_permits(seen: Seen) -> Iterator[str]:
    statistics = seen.statistics
    assert statistics is not None
    paid = sum(wire.fate != "refused" for wire in seen.wires)
    if statistics.quota.granted != paid:
        yield f"{statistics.quota.granted} permits for {paid} requests"
    lost = sum(wire.fate in ("lost", "timeout", "cancelled") for wire in seen.wires)
    if statistics.quota.lost != lost:
        yield f"{statistics.quota.lost} permits of {lost} lost requests"


def _check_budget(seen: Seen) -> Iterator[str]:
    limit = seen.plan.budget
    spent = Decimal(0)
    for charge in seen.engine.charge_log:
        if charge.kind is ChargeKind.PURCHASE:
            spent += charge.amount
        else:
            spent -= charge.amount
        if limit is not None and spent > limit:
            yield f"${spent} of ${limit} spent at {charge.at}"
            return
    if seen.committed < spent:
        yield f"the ledger counts ${seen.committed}, the service ${spent}"


def _check_purchases(seen: Seen) -> Iterator[str]:
    """One POST for an intent, unless the one before certainly was not executed."""
    entries = {entry.intent_id: entry for entry in seen.entries}
    wires: defaultdict[str, list[Wire]] = defaultdict(list)
    for wire in seen.wires:
        if wire.operation is Operation.PURCHASE:
            if wire.intent_id is None or wire.intent_id not in entries:
                yield f"a purchase without intent left at {wire.sent}"
            else:
                wires[wire.intent_id].append(wire)
    for intent_id, entry in entries.items():
        sent = wires[intent_id]
        for wire in sent[:-1]:
            if not (wire.fate == "refused" or (wire.fate == "answer" and wire.status == 429)):
                yield f"{intent_id} was sent again after {wire.fate or 'no answer'} {wire.status}"
        charged = [wire.bought for wire in sent if wire.bought is not None]
        if len(charged) > 1:
            yield f"{intent_id} was charged {len(charged)} times"
        if charged and entry.activation_id not in (charged[0], None):
            yield f"{intent_id} is {entry.activation_id} in the ledger, {charged[0]} in truth"
        yield from _state_of_purchase(seen, entry, sent, bool(charged))


def _state_of_purchase(
    seen: Seen, entry: LedgerEntry, sent: list[Wire], charged: bool
) -> Iterator[str]:
    last = sent[-1] if sent else None
    cut = seen.closing_took >= seen.plan.drain - _SLACK
    where = f"{entry.intent_id} ({entry.service}, {entry.state.value})"
    match entry.state:
        case State.REFUSED:
            if charged:
                yield f"{where} was charged"
            if last is not None and not _is_refusal(last):
                yield f"{where}, but its answer was {last.fate} {last.status}"
        case State.UNKNOWN:
            if last is None or not _is_unclear(last):
                yield f"{where}, but its answer was no riddle: {last}"
        case State.SENDING:
            if not cut or (last is not None and last.fate != "cancelled"):
                yield f"{where} after a close that had time"
        case _:
            if not charged:
                yield f"{where} was never bought"


def _is_refusal(wire: Wire) -> bool:
    return wire.fate == "refused" or (wire.fate == "answer" and wire.bought is None)


def _is_unclear(wire: Wire) -> bool:
    if wire.fate in ("lost", "timeout", "cancelled"):
        return True
    if wire.fate != "answer":
        return False
    if wire.status >= 500 or 300 <= wire.status < 400:
        return True
    if 400 <= wire.status < 500:
        return False
    # An error without a code, with a status that says nothing either.
    answer = _read(wire)
    return not ("error" in answer and answer.get("success") is False)


def _check_ledger(seen: Seen) -> Iterator[str]:
    activations = seen.engine.activations
    named = Counter(entry.activation_id for entry in seen.entries if entry.activation_id)
    owed = {entry.intent_id for entry in seen.owed}
    cut = seen.closing_took >= seen.plan.drain - _SLACK
    for activation_id, count in named.items():
        if count > 1:
            yield f"{activation_id} is {count} times in the ledger"
    for entry in seen.entries:
        where = f"{entry.intent_id} ({entry.service}, {entry.activation_id})"
        if entry.is_owed:
            if not cut:
                yield f"{where} is owed after a close that had time"
            if entry.intent_id not in owed:
                yield f"{where} is {entry.state.value} in the ledger, and nobody owes it"
        elif entry.intent_id in owed:
            yield f"{where} is {entry.state.value} in the ledger, and owed"
        if entry.state in (State.WAITING, State.RECEIVED):
            yield f"{where} was left {entry.state.value}"
        if entry.activation_id is None:
            continue
        bought = activations.get(entry.activation_id)
        if bought is None:
            yield f"{where} is not known to the service"
            continue
        if entry.cost is not None and entry.cost != bought.cost:
            yield f"{where} costs {entry.cost} in the ledger, {bought.cost} in truth"
        if entry.state is State.COMPLETED and bought.ended is not ActivationState.COMPLETED:
            yield f"{where} is completed in the ledger, {bought.ended} in truth"
        if entry.state in (State.CANCELLED, State.EXPIRED) and bought.ended not in _REFUNDED:
            yield f"{where} is {entry.state.value} in the ledger, {bought.ended} in truth"
    unnamed = Counter(
        (one.service, one.country) for key, one in activations.items() if key not in named
    )
    unknown = Counter(
        (entry.service.lower(), entry.country)
        for entry in seen.entries
        if entry.state in (State.UNKNOWN, State.SENDING)
    )
    for kind, count in (unnamed - unknown).items():
        yield f"{count} purchases of {kind} are charged and not in the ledger, not even as unknown"


def _check_finishes(seen: Seen) -> Iterator[str]:
    """Nothing is finished again once it is known to be, nor by two at once, nor wrongly."""
    finishes: defaultdict[str, list[Wire]] = defaultdict(list)
    for wire in seen.wires:
        if wire.operation is Operation.FINISH and wire.activation_id is not None:
            finishes[wire.activation_id].append(wire)
    entries = {entry.activation_id: entry for entry in seen.entries}
    raced = _raced(seen)
    for activation_id, wires in finishes.items():
        bought = seen.engine.activations.get(activation_id)
        if bought is None or activation_id not in entries:
            yield f"{activation_id} was finished, which the ledger does not know"
            continue
        if bought.finishes > 1:
            yield f"{activation_id} was finished {bought.finishes} times"
        for one, other in pairwise(wires):
            if one.answered is None or one.answered > other.sent:
                yield f"{activation_id} was finished again before the first answer"
            elif one.fate == "answer" and one.status == 200 and _is_success(one):
                yield f"{activation_id} was finished again after it was finished"
        if not bought.has_sms(float("inf")) and bought.ended is ActivationState.COMPLETED:
            yield f"{activation_id} was completed without an SMS"
        if any(wire.word == "cancelled" for wire in wires):
            intent_id = entries[activation_id].intent_id
            if intent_id in seen.diary.kept and intent_id not in raced:
                yield f"{activation_id} was cancelled though its flow used the SMS"
    for intent_id in seen.diary.kept:
        entry = next(entry for entry in seen.entries if entry.intent_id == intent_id)
        if entry.state not in (State.COMPLETED, State.COMPLETING):
            yield f"{intent_id} was used and is {entry.state.value}"


def _raced(seen: Seen) -> set[str | None]:
    """Return the purchases of which an SMS was seen only after they had been given up."""
    cancelling: set[str | None] = set()
    raced: set[str | None] = set()
    for told in seen.told:
        if told.event.kind is EventKind.CANCELLING:
            cancelling.add(told.event.intent_id)
        elif told.event.kind is EventKind.COMPLETING and told.event.intent_id in cancelling:
            raced.add(told.event.intent_id)
    return raced


def _is_success(wire: Wire) -> bool:
    return _read(wire).get("success") is True


def _read(wire: Wire) -> dict[str, Any]:
    """Return the answer's object, or an empty one where there is none to be read."""
    try:
        value = json.loads(wire.body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _check_everything_ends(seen: Seen) -> Iterator[str]:
    known = {entry.activation_id: entry for entry in seen.entries if entry.activation_id}
    for activation in seen.engine.open_activations():
        entry = known.get(activation.activation_id)
        if entry is not None and entry.state not in OWED:
            yield f"{activation.activation_id} is open at the service, {entry.state.value} here"


def _check_sms(seen: Seen) -> Iterator[str]:
    """Who waited until the timeout got the SMS that came before it."""
    raced = _raced(seen)
    delivered = Counter(
        told.event.intent_id for told in seen.told if told.event.kind is EventKind.SMS_RECEIVED
    )
    for intent_id, count in delivered.items():
        if count > 1:
            yield f"the SMS of {intent_id} was delivered {count} times"
    polls: defaultdict[str, list[Wire]] = defaultdict(list)
    for wire in seen.wires:
        if wire.operation is Operation.STATUS and wire.activation_id is not None:
            polls[wire.activation_id].append(wire)
    unsent: defaultdict[str, list[float]] = defaultdict(list)
    for at, activation_id in seen.unsent:
        unsent[activation_id].append(at)
    lesser = [wire.sent for wire in seen.wires if wire.operation is Operation.PURCHASE]
    for wait in seen.diary.waits:
        bought = seen.engine.activations[wait.activation_id]
        if wait.ended is None:
            yield f"a wait for {wait.activation_id} never ended"
        if wait.sms is not None:
            if delivered[wait.intent_id] != 1 and wait.intent_id not in raced:
                yield f"{wait.activation_id} had an SMS that no event told of"
            if wait.sms.full_text != bought.sms_text or wait.sms.code != bought.sms_code:
                yield f"the SMS of {wait.activation_id} is another one"
    begun: dict[str, tuple[float, float]] = {}
    bought_at: dict[str, datetime] = {}
    for told in seen.told:
        event, intent_id = told.event, told.event.intent_id
        if intent_id is None:
            continue
        if event.kind is EventKind.WAITING_FOR_SMS:
            assert event.activation is not None
            timeout = event.request.sms_timeout or seen.plan.sms_timeout
            left = event.activation.expires_at.timestamp() - instant(told.at)
            # What is expired when it comes has come late, or one of the clocks is wrong.
            if event.activation.expires_at > bought_at[intent_id]:
                timeout = min(timeout, max(left, 0.0))
            begun[intent_id] = (told.at, told.at + timeout)
        elif event.kind is EventKind.PURCHASED:
            bought_at[intent_id] = event.at
        elif event.kind is EventKind.TIMED_OUT:
            assert event.activation is not None
            start, deadline = begun[intent_id]
            bought = seen.engine.activations[event.activation.activation_id]
            polled, tried = polls[bought.activation_id], unsent[bought.activation_id]
            requests, per, profile = seen.plan.limit
            limit = RateLimit(requests, per, profile=profile)
            in_line = min(deadline - start, 6 / Pace.of(limit).rate)
            yield from _missed(bought, polled, tried, lesser, start, deadline, told.at, in_line)


def _missed(
    bought: SandboxActivation,
    polls: list[Wire],
    unsent: list[float],
    lesser: list[float],
    start: float,
    deadline: float,
    ended: float,
    in_line: float,
) -> Iterator[str]:
    """Say why a wait that timed out should not have.

    The last poll may stand ``in_line`` for so many seconds.
    """
    grace = max(2.0, 0.1 * (deadline - start), in_line)
    if ended < deadline - _SLACK:
        yield f"{bought.activation_id} timed out {deadline - ended:.3f} s early"
    if ended > deadline + 2 * grace + _SLACK:
        yield f"{bought.activation_id} timed out {ended - deadline:.3f} s late"
    last = [poll for poll in polls if deadline - _SLACK <= poll.sent <= ended]
    if ended < deadline + grace - _SLACK and not any(_is_success(poll) for poll in last):
        yield f"{bought.activation_id} was given up without a last answer"
    # While an earlier poll is slow to be answered, the last one is not asked yet.
    slow = any(poll.answered and deadline <= poll.answered < ended - _SLACK for poll in polls)
    asked = bool(last) or slow
    # After a failure there is a pause, and in it others may take the permits.
    pause = 16 * min(1.0, (deadline - start) / 60) + 1.0
    failed = [poll.answered for poll in polls if poll.answered and not _is_success(poll)] + unsent
    asked = asked or any(deadline - pause <= at <= ended for at in failed)
    if not asked and any(deadline + _ON_ITS_WAY < at < ended - _SLACK for at in lesser):
        yield f"{bought.activation_id} was not asked for a last time, though permits were spent"
    if bought.sms_at is None or bought.sms_at >= bought.expires_at:
        return
    came = bought.sms_at - instant(0.0)
    for poll in polls:
        if (
            poll.fate == "answer"
            and poll.status == 200
            and poll.arrived is not None
            and came + _SLACK < poll.arrived
            and start <= poll.sent
            and poll.answered is not None
            and poll.answered <= ended
            and _read(poll).get("data", {}).get("sms")
        ):
            yield f"{bought.activation_id} timed out though a poll had told of its SMS"
            return


_ORDER: dict[EventKind | None, frozenset[EventKind]] = {
    None: frozenset({EventKind.PURCHASING}),
    EventKind.PURCHASING: frozenset(
        {
            EventKind.PURCHASED,
            EventKind.NOT_PURCHASED,
            EventKind.PURCHASE_UNKNOWN,
            EventKind.CANCELLING,
        }
    ),
    EventKind.PURCHASED: frozenset(
        {EventKind.WAITING_FOR_SMS, EventKind.CANCELLING, EventKind.RESULT}
    ),
    EventKind.WAITING_FOR_SMS: frozenset(
        {
            EventKind.WAITING_FOR_SMS,
            EventKind.POLLED,
            EventKind.SMS_RECEIVED,
            EventKind.TIMED_OUT,
            EventKind.CANCELLING,
            EventKind.CANCELLED,
            EventKind.EXPIRED,
            EventKind.COMPLETED,
            EventKind.RESULT,
        }
    ),
    EventKind.SMS_RECEIVED: frozenset(
        {EventKind.COMPLETING, EventKind.CANCELLING, EventKind.RESULT}
    ),
    EventKind.TIMED_OUT: frozenset({EventKind.CANCELLING, EventKind.RESULT}),
    EventKind.COMPLETING: frozenset({EventKind.FINISH_DELAYED, EventKind.COMPLETED}),
    EventKind.CANCELLING: frozenset(
        {
            EventKind.FINISH_DELAYED,
            EventKind.CANCELLED,
            EventKind.EXPIRED,
            EventKind.COMPLETING,
            EventKind.COMPLETED,
        }
    ),
    EventKind.NOT_PURCHASED: frozenset(),
    EventKind.PURCHASE_UNKNOWN: frozenset(),
    EventKind.COMPLETED: frozenset(),
    EventKind.CANCELLED: frozenset(),
    EventKind.EXPIRED: frozenset(),
}
"""Which event of one purchase may follow which; the result may come at any time once."""

_OF_WEBHOOKS = (EventKind.ANNOUNCED, EventKind.WEBHOOKS_SILENT, EventKind.WEBHOOKS_BACK)
_UNAWAITED = {
    (EventKind.PURCHASED, EventKind.SMS_RECEIVED),
    (EventKind.TIMED_OUT, EventKind.SMS_RECEIVED),
}
"""What a webhook brings before anybody waits for it, or to a flow that still holds its number after
it waited in vain."""


def _check_events(seen: Seen) -> Iterator[str]:
    last: dict[str, EventKind] = {}
    told_result: Counter[str] = Counter()
    queued: Counter[str] = Counter()
    for told in seen.told:
        event = told.event
        if abs(event.at.timestamp() - instant(told.at)) > _SLACK:
            yield f"{event.kind.value} says {event.at}, it was {told.at}"
        reference = str(event.request.reference)
        if event.kind is EventKind.QUEUED:
            queued[reference] += 1
        if event.kind is EventKind.RESULT:
            told_result[reference] += 1
            if not queued[reference]:
                yield f"{reference} had a result before it was queued"
        intent_id = event.intent_id
        if intent_id is None or event.kind in (EventKind.RESULT, *_OF_WEBHOOKS):
            continue
        before = last.get(intent_id)
        if seen.plan.hooks is not None and (before, event.kind) in _UNAWAITED:
            before = EventKind.WAITING_FOR_SMS
        # Between two polls nothing changes, and a delayed finish is still the same finish.
        if event.kind not in _ORDER[before]:
            yield f"{intent_id}: {event.kind.value} after {before.value if before else 'nothing'}"
        if event.kind not in (EventKind.POLLED, EventKind.FINISH_DELAYED):
            last[intent_id] = event.kind
    for reference, count in told_result.items():
        if count > 1:
            yield f"{reference} has {count} results"
    if len(queued) < len(told_result):
        yield "more results than requests"
    if seen.read and [told.event for told in seen.told][: len(seen.read)] != seen.read:
        yield "the stream of events is not what listeners were told"
    if seen.plan.slow_reader is not None and len(seen.read) != len(seen.told):
        yield f"the stream gave {len(seen.read)} of {len(seen.told)} events"


def _check_results(seen: Seen) -> Iterator[str]:
    results = Counter(str(result.request.reference) for result in seen.diary.results)
    for reference, count in results.items():
        if count > 1:
            yield f"{reference} has {count} results"
    for reference in seen.diary.expected:
        if not results[reference]:
            yield f"{reference} has no result"
    of_activation = {entry.activation_id: entry for entry in seen.entries}
    for result in seen.diary.results:
        where = f"the result of {result.request.reference} ({result.outcome.value})"
        activation = result.activation
        if result.ok != (result.outcome is Outcome.COMPLETED) or (result.ok and not result.sms):
            yield f"{where} is completed without an SMS"
        if result.outcome is Outcome.UNKNOWN and not result.cost_uncertain:
            yield f"{where} has no uncertain cost"
        if result.outcome in (Outcome.NO_NUMBERS, Outcome.NO_BALANCE, Outcome.OVER_BUDGET) and (
            result.cost or result.cost_uncertain
        ):
            yield f"{where} cost something"
        if activation is None:
            continue
        bought = seen.engine.activations[activation.activation_id]
        entry = of_activation[activation.activation_id]
        if result.cost + result.cost_uncertain > bought.cost:
            yield f"{where} cost more than was charged"
        refunded = bought.ended in _REFUNDED
        if not refunded and result.cost + result.cost_uncertain < bought.cost:
            yield f"{where} cost less than was charged"
        if refunded and result.cost and entry.state is not State.COMPLETED:
            yield f"{where} is charged, and refunded in truth"
        if result.ok and entry.state not in (State.COMPLETED, State.COMPLETING):
            yield f"{where} is {entry.state.value} in the ledger"


def _check_statistics(seen: Seen) -> Iterator[str]:
    statistics = seen.statistics
    assert statistics is not None
    outcomes = Counter(
        told.event.result.outcome
        for told in seen.told
        if told.event.kind is EventKind.RESULT and told.event.result is not None
    )
    if outcomes != Counter(statistics.outcomes):
        yield f"outcomes are {statistics.outcomes}, told {outcomes}"
    if len(seen.diary.results) > outcomes.total():
        yield "more results than the statistics count"
    price = {
        entry.intent_id: entry.worst_price if entry.cost is None else entry.cost
        for entry in seen.entries
    }
    bought = [entry for entry in seen.entries if entry.activation_id is not None]
    sums = {
        "charged": sum((price[entry.intent_id] for entry in bought), Decimal(0)),
        "refunded": _sum(price, bought, State.CANCELLED, State.EXPIRED),
        "refunds_expected": _sum(price, bought, State.CANCELLING),
        "unknown": sum(
            (entry.worst_price for entry in seen.entries if entry.state is State.UNKNOWN),
            Decimal(0),
        ),
    }
    for name, amount in sums.items():
        if getattr(statistics, name) != amount:
            yield f"{name} is {getattr(statistics, name)}, the ledger says {amount}"
    if seen.committed != sum((entry.committed for entry in seen.entries), Decimal(0)):
        yield f"the ledger's sum is {seen.committed}"
    if statistics.owed != len(seen.owed):
        yield f"{statistics.owed} owed in the statistics, {len(seen.owed)} in truth"


def _sum(price: dict[str, Decimal], entries: list[LedgerEntry], *states: State) -> Decimal:
    return sum((price[one.intent_id] for one in entries if one.state in states), Decimal(0))


CHECKS = (
    _check_nothing_crashed,
    _check_nothing_leaks,
    _check_places,
    _check_limit,
    _check_permits,
    _check_budget,
    _check_purchases,
    _check_ledger,
    _check_finishes,
    _check_everything_ends,
    _check_sms,
    _check_events,
    _check_results,
    _check_statistics,
)
