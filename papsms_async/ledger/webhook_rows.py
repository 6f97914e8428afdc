"""Writes webhooks into the inbox's table: all that wait by one statement, made once.

A sender waits for each trip to the server. So on PostgreSQL the statement also tells other
processes of the rows, and takes one array a column: its text is the same for any number of rows,
and the server has it prepared.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Text,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from papsms_async.ledger.schema import WEBHOOKS

_COLUMNS = tuple(found for found in WEBHOOKS.c if found.name != "seq")
_RETURNED = ("seq", "copies", "activation_id", "digest")
_AUTHOR = "told_by"

MOST_TOLD = 200
"""Rows that are written together at most: the message about them may have 8,000 bytes, and their
numbers up to 19 digits each."""

CHANNEL = "'papsms_' || md5(coalesce(current_schema(), ''))"
"""Where processes tell each other of rows, in SQL; a database may hold several ledgers."""


def write_webhooks(
    connection: Connection, rows: Sequence[dict[str, Any]], author: str
) -> Sequence[Row[Any]]:
    """Insert webhooks; of one that is there, the copies are added instead.

    Args:
        connection: In a transaction.
        rows: Their columns but for ``seq``; at most one for an activation and digest, and at most
            `MOST_TOLD` of them.
        author: A name without blanks by which other processes tell who wrote them.

    Returns:
        ``seq``, ``copies``, ``activation_id`` and ``digest`` of each, in no order.
    """
    if connection.dialect.name != "postgresql":
        return connection.execute(_for_sqlite(), list(rows)).all()
    arrays: dict[str, Any] = {c.name: [row[c.name] for row in rows] for c in _COLUMNS}
    return connection.execute(_for_postgresql(), arrays | {_AUTHOR: author}).all()


@cache
def _for_sqlite() -> Any:
    return _counted(sqlite_insert(WEBHOOKS)).returning(*(WEBHOOKS.c[name] for name in _RETURNED))


@cache
def _for_postgresql() -> Any:
    given = func.unnest(*(bindparam(c.name, type_=ARRAY(c.type)) for c in _COLUMNS)).table_valued(
        *(column(c.name, c.type) for c in _COLUMNS), name="given"
    )
    source = select(*given.render_derived().c)
    new = postgresql_insert(WEBHOOKS).from_select([c.name for c in _COLUMNS], source)
    written = _counted(new).returning(*(WEBHOOKS.c[name] for name in _RETURNED)).cte("written")
    numbers = select(func.string_agg(cast(written.c.seq, Text), ",").label("of")).subquery()
    told = bindparam(_AUTHOR, type_=Text) + " " + numbers.c.of
    rung = select(func.pg_notify(literal_column(CHANNEL), told)).scalar_subquery()
    return select(*written.c, rung.label("rung"))


def _counted(new: Any) -> Any:
    return new.on_conflict_do_update(
        index_elements=["activation_id", "digest"],
        set_={
            "copies": WEBHOOKS.c.copies + new.excluded.copies,
            "signed": or_(WEBHOOKS.c.signed, new.excluded.signed),
        },
    )
