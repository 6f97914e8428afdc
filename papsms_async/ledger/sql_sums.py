"""What purchases hold of a budget and of a tenant's limits, summed in the database.

What a budget holds is summed from groups of equal (state, price, cost), which is exact on every
database and reads one index only. Purged entries leave their sum in ``papsms_meta``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import ColumnElement, Connection, func, select

from papsms_async.ledger import schema
from papsms_async.ledger.base import TenantUsage, held
from papsms_async.ledger.schema import ENTRIES
from papsms_async.lifecycle import OPEN, State
from papsms_async.limits import TenantLimits

_CARRIED = "carried"
"""Key of the sum that purged entries hold of a budget."""


def committed(connection: Connection) -> Decimal:
    """Return what all entries hold together, purged ones included; see `Ledger.committed`."""
    return _carried(connection) + _sum(connection)


def carry(connection: Connection, *old: ColumnElement[bool]) -> None:
    """Keep what the entries hold that are about to be purged."""
    carried = _carried(connection) + _sum(connection, *old)
    schema.write_meta(connection, _CARRIED, str(carried))


def usage(connection: Connection, tenant: str, at: datetime, limits: TenantLimits) -> TenantUsage:
    """Return what the tenant has used of those limits that it has; each costs a query."""
    mine = ENTRIES.c.tenant == tenant
    begun = select(func.count()).where(
        mine,
        ENTRIES.c.created_at > at - timedelta(hours=1),
        ENTRIES.c.state != State.REFUSED.value,
    )
    running = select(func.count()).where(mine, ENTRIES.c.state.in_([state.value for state in OPEN]))
    return TenantUsage(
        last_hour=0 if limits.per_hour is None else connection.scalar(begun) or 0,
        in_flight=0 if limits.in_flight is None else connection.scalar(running) or 0,
        committed=Decimal(0) if limits.spend is None else _sum(connection, mine),
    )


def _carried(connection: Connection) -> Decimal:
    return Decimal(schema.read_meta(connection, _CARRIED) or 0)


def _sum(connection: Connection, *which: ColumnElement[bool]) -> Decimal:
    """Return what the entries hold; NULL costs and exact digits leave no simpler SUM."""
    columns = (ENTRIES.c.state, ENTRIES.c.worst_price, ENTRIES.c.cost)
    groups = connection.execute(select(*columns, func.count()).where(*which).group_by(*columns))
    return sum(
        (held(State(state), worst, cost) * count for state, worst, cost, count in groups),
        Decimal(0),
    )
