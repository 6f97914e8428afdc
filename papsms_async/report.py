"""The money report: what was bought, what became of it, what it cost, and how quickly codes came.

`money_report` is a pure function of ledger entries. Every entry is counted in exactly one group and
in exactly one of the counts *bought*, *refused*, *unknown* and *sending*; its money in exactly one
of the sums `Figures.spend`, `Figures.refunds_expected`, `Figures.unknown_cost` and
`Figures.reserved` (or in `Figures.refunded`, which holds nothing of a budget any more). So

    spend + refunds_expected + unknown_cost + reserved == what the ledger's budget counts

for the entries that are in it. Purged entries are in no report; `Ledger.committed` still counts
what they cost.

Two definitions that figures of this kind often leave open:

* *Delivery rate*: of the bought numbers that have ended (completed, cancelled or expired), the
  share that an SMS came for. Numbers that a caller gave back early count as not delivered.
* *Time to code*: seconds from the purchase to ``received_at`` of the SMS, as the service tells it.
  The purchase is the instant when its answer was written down (`purchase_instants`); where that is
  not given, the instant of the intent, which also holds the wait for a permit. Clocks that disagree
  would make it negative: it is 0 then. An SMS without ``received_at`` has no time to code.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from statistics import median
from typing import Any

import attrs

from papsms_async.errors import ConfigurationError
from papsms_async.ledger import Ledger, LedgerEntry
from papsms_async.lifecycle import OPEN, TERMINAL, Event, State

NOT_BOUGHT = frozenset({State.SENDING, State.UNKNOWN, State.REFUSED})
"""States of purchases that are not certain to have been made."""


class Dimension(StrEnum):
    """What purchases can be grouped by."""

    DAY = "day"
    """The day (UTC) on which the intent was written, such as ``2026-04-19``."""
    SERVICE = "service"
    COUNTRY = "country"
    TENANT = "tenant"
    """On whose behalf; ``None`` where nobody was named."""


@attrs.frozen(kw_only=True)
class Figures:
    """The figures of one group. Money is in US dollars, times are in seconds.

    Attributes:
        purchases: Purchases that were tried: bought + refused + unknown + sending.
        bought: Numbers that were certainly bought.
        completed: Of those, finished and charged.
        cancelled: Of those, finished and refunded.
        expired: Of those, taken back by the service.
        open: Of those, not at their end yet.
        refused: Purchases that were certainly not made.
        unknown: Purchases whose answer was lost.
        sending: Purchases whose answer is not there yet.
        spend: Charged for completed and open numbers, net of refunds that are made or expected.
            A price that is not known counts as the worst price.
        refunds_expected: Charged for numbers whose cancellation is owed.
        refunded: Charged for numbers that were cancelled or expired, and given back, as far as
            the price was known.
        unknown_cost: What unknown purchases may have cost at most.
        reserved: What purchases whose answer is not there yet may cost at most.
        delivered: Numbers among the ended ones for which an SMS came.
        ended: Bought numbers that have ended.
        delays: Times to code, shortest first.
    """

    purchases: int = 0
    bought: int = 0
    completed: int = 0
    cancelled: int = 0
    expired: int = 0
    open: int = 0
    refused: int = 0
    unknown: int = 0
    sending: int = 0
    spend: Decimal = Decimal(0)
    refunds_expected: Decimal = Decimal(0)
    refunded: Decimal = Decimal(0)
    unknown_cost: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)
    delivered: int = 0
    ended: int = 0
    delays: tuple[float, ...] = attrs.field(default=(), repr=False)

    @property
    def cost_per_completed(self) -> Decimal | None:
        """US dollars spent for each completed verification; ``None`` before the first."""
        return self.spend / self.completed if self.completed else None

    @property
    def delivery_rate(self) -> float | None:
        """Share of the ended numbers that an SMS came for; ``None`` before the first."""
        return self.delivered / self.ended if self.ended else None

    @property
    def median_delay(self) -> float | None:
        """Time to code that half of the SMS beat."""
        return median(self.delays) if self.delays else None

    @property
    def p90_delay(self) -> float | None:
        """Time to code that nine of ten SMS did not exceed (nearest rank)."""
        if not self.delays:
            return None
        return self.delays[math.ceil(0.9 * len(self.delays)) - 1]


@attrs.frozen(kw_only=True)
class Group:
    """The figures of the purchases that agree in every dimension.

    Attributes:
        key: One value for each dimension, in the order of `MoneyReport.by`.
        figures: The figures.
    """

    key: tuple[str | None, ...]
    figures: Figures


@attrs.frozen(kw_only=True)
class MoneyReport:
    """A report: groups in the order of their keys, and their total.

    Attributes:
        by: What it is grouped by.
        since: Purchases from this instant on; ``None`` for the first one.
        until: Purchases before this instant; ``None`` for the last one.
        groups: The groups; none of them is empty.
        total: The figures of all of them together.
    """

    by: tuple[Dimension, ...]
    since: datetime | None
    until: datetime | None
    groups: tuple[Group, ...]
    total: Figures


def money_report(
    entries: Iterable[LedgerEntry],
    *,
    by: Sequence[Dimension] = (Dimension.DAY,),
    since: datetime | None = None,
    until: datetime | None = None,
    bought_at: Mapping[str, datetime] | None = None,
) -> MoneyReport:
    """Return the figures of ledger entries.

    Args:
        entries: The entries, in any order, such as those of `Ledger.entries`.
        by: What to group by, each dimension once; none gives one group.
        since: Only purchases whose intent was written then or later (aware).
        until: Only purchases whose intent was written before (aware).
        bought_at: When each purchase was answered, by intent id, as `purchase_instants` tells;
            where one is missing the intent's instant is taken.

    Raises:
        ConfigurationError: A dimension is named twice, or an instant has no time zone.
    """
    by = tuple(Dimension(one) for one in by)
    if len(set(by)) != len(by):
        raise ConfigurationError("A report can't be grouped by the same thing twice.")
    for instant in (since, until):
        if instant is not None and instant.tzinfo is None:
            raise ConfigurationError("The bounds of a report need a time zone.")
    known = bought_at or {}
    groups: dict[tuple[str | None, ...], list[LedgerEntry]] = defaultdict(list)
    for entry in entries:
        if since is not None and entry.created_at < since:
            continue
        if until is not None and entry.created_at >= until:
            continue
        groups[tuple(_value(entry, one) for one in by)].append(entry)
    # What has no tenant comes last.
    ordered = sorted(groups, key=lambda key: [(word is None, word or "") for word in key])
    return MoneyReport(
        by=by,
        since=since,
        until=until,
        groups=tuple(Group(key=key, figures=_figures(groups[key], known)) for key in ordered),
        total=_figures([entry for group in groups.values() for entry in group], known),
    )


async def purchase_instants(
    ledger: Ledger, entries: Iterable[LedgerEntry]
) -> Mapping[str, datetime]:
    """Return when the answer to each purchase was written down, by intent id.

    Only for entries that have a time to code; the ledger is asked once, however many they are.

    Raises:
        LedgerError: The ledger can't be read.
    """
    wanted = {
        entry.intent_id
        for entry in entries
        if entry.sms is not None and entry.sms.received_at is not None
    }
    if not wanted:
        return {}
    instants = await ledger.instants(Event.BOUGHT.value)
    return {intent_id: at for intent_id, at in instants.items() if intent_id in wanted}


def report_record(report: MoneyReport) -> dict[str, Any]:
    """Return a report as plain values for JSON; money is text, digit for digit."""
    return {
        "by": [one.value for one in report.by],
        "since": None if report.since is None else report.since.isoformat(),
        "until": None if report.until is None else report.until.isoformat(),
        "groups": [
            dict(zip((one.value for one in report.by), group.key, strict=True))
            | figures_record(group.figures)
            for group in report.groups
        ],
        "total": figures_record(report.total),
    }


def figures_record(figures: Figures) -> dict[str, Any]:
    """Return figures as plain values for JSON."""
    record = {
        field.name: str(value) if isinstance(value, Decimal) else value
        for field in attrs.fields(Figures)
        if field.name != "delays"
        for value in (getattr(figures, field.name),)
    }
    per_code = figures.cost_per_completed
    rate = figures.delivery_rate
    record["cost_per_completed"] = None if per_code is None else str(round(per_code, 4))
    record["delivery_rate"] = None if rate is None else round(rate, 4)
    record["time_to_code"] = {
        "count": len(figures.delays),
        "median": _rounded(figures.median_delay),
        "p90": _rounded(figures.p90_delay),
    }
    return record


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _value(entry: LedgerEntry, dimension: Dimension) -> str | None:
    match dimension:
        case Dimension.DAY:
            return entry.created_at.astimezone(UTC).date().isoformat()
        case Dimension.SERVICE:
            return entry.service
        case Dimension.COUNTRY:
            return entry.country
        case Dimension.TENANT:
            return entry.tenant


def _figures(entries: Sequence[LedgerEntry], bought_at: Mapping[str, datetime]) -> Figures:
    counts: dict[str, int] = defaultdict(int)
    money: dict[str, Decimal] = defaultdict(Decimal)
    delays: list[float] = []
    for entry in entries:
        bought = entry.state not in NOT_BOUGHT
        counts["purchases"] += 1
        counts["bought"] += bought
        if bought and entry.state in OPEN:
            counts["open"] += 1
        else:
            counts[entry.state.value] += 1
        if bought and entry.state in TERMINAL:
            counts["ended"] += 1
            counts["delivered"] += entry.sms is not None
        match entry.state:
            case State.REFUSED:
                pass
            case State.SENDING:
                money["reserved"] += entry.committed
            case State.UNKNOWN:
                money["unknown_cost"] += entry.committed
            case State.CANCELLING:
                money["refunds_expected"] += entry.committed
            case State.CANCELLED | State.EXPIRED:
                # A price that never was known can't be told here either.
                money["refunded"] += entry.cost or 0
            case _:
                money["spend"] += entry.committed
        if entry.sms is not None and entry.sms.received_at is not None:
            began = bought_at.get(entry.intent_id, entry.created_at)
            delays.append(max(0.0, (entry.sms.received_at - began).total_seconds()))
    figures: dict[str, Any] = {**counts, **money}
    return Figures(**figures, delays=tuple(sorted(delays)))
