"""The tables of the ledger, how their values are stored, and the steps that bring them up to date.

A database knows its schema's version (`papsms_meta`, key ``schema``). `migrate` carries out the
missing `STEPS`, each in one transaction, under a lock that makes processes that open a fresh
database at the same time take turns. A step that was ever released never changes; a new one is
appended, and `ENTRIES`, `EVENTS`, `WEBHOOKS`, `DELAYS` and `META` describe the tables as they are
after the last one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Dialect,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    inspect,
    select,
    update,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

from papsms_async.errors import LedgerError


class Money(TypeDecorator[Decimal]):
    """US dollars, digit for digit: NUMERIC where there is one, else text.

    SQLite's NUMERIC is a binary float as soon as there is a fraction.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column's type."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(Numeric())
        return dialect.type_descriptor(Text())

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | str | None:
        """Write exact digits."""
        if value is None:
            return None
        # Far beyond any price, yet far within what both stores keep digit for digit.
        if (
            not value.is_finite()
            or abs(value.adjusted()) > 100
            or len(value.as_tuple().digits) > 200
        ):
            raise ValueError("an amount of money is out of range")
        return value if dialect.name == "postgresql" else str(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Read exact digits."""
        return None if value is None else Decimal(value)


class Instant(TypeDecorator[datetime]):
    """An aware instant: ``timestamptz`` where there is one, else UTC text of constant width.

    Of constant width, so that texts compare as the instants do.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column's type."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(DateTime(timezone=True))
        return dialect.type_descriptor(Text())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | str | None:
        """Write it in UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.isoformat(timespec="microseconds")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Read it in UTC."""
        if value is None:
            return None
        instant = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        return instant.astimezone(UTC)


class Words(TypeDecorator[str]):
    """Text of any origin.

    A message may hold what a database refuses (NUL, lone surrogates); it is replaced, so that a
    paid-for SMS is never lost for it.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Replace what can't be stored."""
        if value is None:
            return None
        return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


_METADATA = MetaData()
_SERIAL = BigInteger().with_variant(Integer(), "sqlite")

META = Table(
    "papsms_meta",
    _METADATA,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

ENTRIES = Table(
    "papsms_entries",
    _METADATA,
    Column("seq", _SERIAL, primary_key=True),
    Column("intent_id", Text, nullable=False, unique=True),
    Column("state", Text, nullable=False),
    Column("service", Words, nullable=False),
    Column("country", Words, nullable=False),
    Column("reference", Words),
    Column("tenant", Words),
    Column("worst_price", Money, nullable=False),
    Column("activation_id", Words),
    Column("phone_number", Words),
    Column("expires_at", Instant),
    Column("cost", Money),
    # Whether one came: its code and text may be withheld, its instant may be unknown.
    Column("sms_came", Boolean, nullable=False),
    Column("sms_code", Words),
    Column("sms_text", Words),
    Column("sms_at", Instant),
    Column("reason", Words),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("owner", Words),
    Column("fence", _SERIAL, nullable=False),
    Column("lease_until", Instant),
)
"""One row a purchase: its present state."""

EVENTS = Table(
    "papsms_events",
    _METADATA,
    Column("seq", _SERIAL, primary_key=True),
    Column("intent_id", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("event", Words, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Words),
    Column("actor", Words),
)
"""Append-only: who did what, when and why."""

WEBHOOKS = Table(
    "papsms_webhooks",
    _METADATA,
    Column("seq", _SERIAL, primary_key=True),
    Column("activation_id", Words, nullable=False),
    # Tells copies of one SMS of one activation apart from another SMS.
    Column("digest", Text, nullable=False),
    Column("sms_came", Boolean, nullable=False),
    Column("sms_code", Words),
    Column("sms_text", Words),
    Column("sms_at", Instant),
    Column("phone_number", Words),
    Column("service", Words),
    Column("country", Words),
    Column("signed", Boolean, nullable=False),
    Column("copies", _SERIAL, nullable=False),
    Column("received_at", Instant, nullable=False),
)
"""The inbox: one row a webhook that was accepted, its copies counted."""

DELAYS = Table(
    "papsms_delays",
    _METADATA,
    Column("service", Words, primary_key=True),
    Column("country", Words, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("evidence", Text, nullable=False),
)
"""What was learned of SMS delays: one row a (service, country), a service (no country), and all."""

STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE papsms_entries (
            seq {serial},
            intent_id TEXT NOT NULL UNIQUE,
            state TEXT NOT NULL,
            service TEXT NOT NULL,
            country TEXT NOT NULL,
            reference TEXT,
            tenant TEXT,
            worst_price {money} NOT NULL,
            activation_id TEXT,
            phone_number TEXT,
            expires_at {instant},
            cost {money},
            sms_came BOOLEAN NOT NULL,
            sms_code TEXT,
            sms_text TEXT,
            sms_at {instant},
            reason TEXT,
            created_at {instant} NOT NULL,
            updated_at {instant} NOT NULL,
            owner TEXT,
            fence BIGINT NOT NULL,
            lease_until {instant}
        )""",
        # Finds the open states, and alone suffices to sum what all entries hold of a budget.
        "CREATE INDEX papsms_entries_state ON papsms_entries (state, cost, worst_price)",
        "CREATE INDEX papsms_entries_owner ON papsms_entries (owner) WHERE owner IS NOT NULL",
        "CREATE INDEX papsms_entries_activation ON papsms_entries (activation_id)",
        """CREATE TABLE papsms_events (
            seq {serial},
            intent_id TEXT NOT NULL,
            at {instant} NOT NULL,
            event TEXT NOT NULL,
            state TEXT NOT NULL,
            reason TEXT,
            actor TEXT
        )""",
        "CREATE INDEX papsms_events_intent ON papsms_events (intent_id)",
    ),
    # Limits by tenant ask for a tenant's purchases of the last hour.
    (
        "CREATE INDEX papsms_entries_tenant ON papsms_entries (tenant, created_at)"
        " WHERE tenant IS NOT NULL",
    ),
    (
        """CREATE TABLE papsms_webhooks (
            seq {serial},
            activation_id TEXT NOT NULL,
            digest TEXT NOT NULL,
            sms_came BOOLEAN NOT NULL,
            sms_code TEXT,
            sms_text TEXT,
            sms_at {instant},
            phone_number TEXT,
            service TEXT,
            country TEXT,
            signed BOOLEAN NOT NULL,
            copies BIGINT NOT NULL,
            received_at {instant} NOT NULL,
            UNIQUE (activation_id, digest)
        )""",
        "CREATE INDEX papsms_webhooks_received ON papsms_webhooks (received_at)",
    ),
    (
        """CREATE TABLE papsms_delays (
            service TEXT NOT NULL,
            country TEXT NOT NULL,
            at {instant} NOT NULL,
            evidence TEXT NOT NULL,
            PRIMARY KEY (service, country)
        )""",
    ),
    # Finds a tenant's open purchases, and alone suffices to sum what it holds of its limit.
    (
        "CREATE INDEX papsms_entries_tenant_state"
        " ON papsms_entries (tenant, state, cost, worst_price) WHERE tenant IS NOT NULL",
    ),
)
"""Step n makes version n of the schema out of version n - 1."""

_TYPES = {
    "sqlite": {
        # Without AUTOINCREMENT the number of the newest row would be given again after a purge.
        "serial": "INTEGER PRIMARY KEY AUTOINCREMENT",
        "money": "TEXT",
        "instant": "TEXT",
    },
    "postgresql": {
        "serial": "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
        "money": "NUMERIC",
        "instant": "TIMESTAMPTZ",
    },
}


def version(connection: Connection, where: str) -> int:
    """Return the version of the schema in the database, 0 for none.

    Raises:
        LedgerError: It is newer than the steps that are known, or unreadable.
    """
    if not inspect(connection).has_table(META.name):
        return 0
    value = read_meta(connection, "schema")
    if value is None:
        return 0
    if not value.isdecimal():
        raise LedgerError(f"{where} does not say which version of the schema it has.")
    if int(value) > len(STEPS):
        raise LedgerError(
            f"{where} was written by a newer version of papsms-async (schema {value}; this one"
            f" knows up to {len(STEPS)}): upgrade papsms-async."
        )
    return int(value)


def migrate_once(connection: Connection, where: str) -> bool:
    """Carry out the next missing step, inside the caller's transaction and lock.

    Returns:
        Whether there may be another one.
    """
    found = version(connection, where)
    if found == len(STEPS):
        return False
    types = _TYPES[connection.dialect.name]
    if found == 0:
        connection.exec_driver_sql(
            "CREATE TABLE IF NOT EXISTS papsms_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)"
        )
    for statement in STEPS[found]:
        connection.exec_driver_sql(statement.format(**types))
    write_meta(connection, "schema", str(found + 1))
    return found + 1 < len(STEPS)


def read_meta(connection: Connection, key: str) -> str | None:
    """Return a value of the ledger as a whole."""
    return connection.scalar(select(META.c.value).where(META.c.key == key))


def write_meta(connection: Connection, key: str, value: str) -> None:
    """Set a value of the ledger as a whole. The caller holds the ledger's lock."""
    changed = connection.execute(update(META).where(META.c.key == key).values(value=value))
    if changed.rowcount == 0:
        connection.execute(META.insert().values(key=key, value=value))
