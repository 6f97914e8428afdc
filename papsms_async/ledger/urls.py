"""From the word ``database`` in a setting to a ledger."""

from __future__ import annotations

import importlib.util
import logging
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from papsms_async.errors import ConfigurationError
from papsms_async.ledger.base import Ledger
from papsms_async.ledger.memory import MemoryLedger

if TYPE_CHECKING:
    from papsms_async.ledger.store import Store

_log = logging.getLogger("papsms_async.ledger")

_SQLITE = ("sqlite:///", "sqlite+aiosqlite:///")
_POSTGRES = ("postgresql", "postgres", "postgresql+asyncpg")

_FORMS = (
    "A database is a file's path, sqlite:///file.db, sqlite:////absolute/file.db or"
    " postgresql://user@host/name"
)


def open_ledger(
    database: str | os.PathLike[str] | None,
    *,
    store_codes: bool = True,
    lock_timeout: float = 5.0,
    create: bool = True,
) -> Ledger:
    """Return the ledger for ``database``; nothing is touched before its `Ledger.open`.

    Args:
        database: ``None`` for one in memory; a path, ``sqlite:///relative.db`` or
            ``sqlite:////absolute.db`` for an SQLite file, created if there is none;
            ``postgresql://user@host/name`` (also ``postgresql+asyncpg://``) for PostgreSQL.
        store_codes: Whether codes and texts of SMS are stored. If not, an entry that is read has an
            SMS without code and with an empty text. In memory they are kept for the life of the
            process.
        lock_timeout: Seconds to wait for another process's write.
        create: Whether a new ledger is made where there is none; if not, `Ledger.open` says so.

    Raises:
        ConfigurationError: ``database`` has another form, or what it needs is not installed.
    """
    if database is None:
        _log.warning(
            "the ledger is kept in memory only: nothing of it survives this process;"
            " give a database to be able to recover"
        )
        return MemoryLedger()
    store = _store(os.fspath(database), lock_timeout, create)
    # Not before here: `import papsms_async` must stay quick, and SQLAlchemy is not.
    from papsms_async.ledger.sql import SqlLedger

    return SqlLedger(store, store_codes=store_codes)


def _store(database: str, lock_timeout: float, create: bool) -> Store:
    # The text itself is in no message: it may hold a password.
    scheme, separator, _ = database.partition("://")
    if separator and scheme.lower() in _POSTGRES:
        return _postgres("postgresql" + database[len(scheme) :], lock_timeout, create)
    path = database
    for prefix in _SQLITE:
        if database.startswith(prefix):
            path = database.removeprefix(prefix)
            if "?" in path:
                raise ConfigurationError(f"{_FORMS}, without parameters after the file's name.")
            break
    if (
        not path.strip()
        or "\0" in path
        or "://" in path
        or path.startswith((":", "file:", "sqlite:"))
    ):
        raise ConfigurationError(f"{_FORMS}; without a database the ledger is kept in memory.")
    from papsms_async.ledger.sqlite import SqliteStore

    return SqliteStore(os.path.expanduser(path), lock_timeout=lock_timeout, create=create)


def _postgres(address: str, lock_timeout: float, create: bool) -> Store:
    try:
        parts = urlsplit(address)
        usable = not parts.fragment and bool(parts.netloc or parts.query)
        # Several hosts are asyncpg's to read; a single one's port is checked here.
        if "," not in parts.netloc:
            usable = usable and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(f"{_FORMS}; the address of the server can't be read.")
    if importlib.util.find_spec("asyncpg") is None:
        raise ConfigurationError(
            "A ledger on PostgreSQL needs asyncpg: pip install 'papsms-async[postgres]'."
        )
    from papsms_async.ledger.postgresql import PostgresStore

    return PostgresStore(address, lock_timeout=lock_timeout, create=create)
