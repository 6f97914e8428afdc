"""What the word ``database`` in a setting may be."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from papsms_async.errors import ConfigurationError
from papsms_async.ledger import MemoryLedger, open_ledger


def test_without_a_database_it_is_kept_in_memory(caplog: pytest.LogCaptureFixture) -> None:
    """None is the ledger that does not survive, and the log says so once."""
    with caplog.at_level(logging.INFO):
        assert isinstance(open_ledger(None), MemoryLedger)
    assert len(caplog.records) == 1
    assert "nothing of it survives" in caplog.text


@pytest.mark.parametrize(
    ("database", "path"),
    [
        ("sqlite:///papsms.db", "papsms.db"),
        ("sqlite:///sub/papsms.db", "sub/papsms.db"),
        ("sqlite:////var/lib/papsms.db", "/var/lib/papsms.db"),
        ("sqlite+aiosqlite:////var/lib/papsms.db", "/var/lib/papsms.db"),
        ("papsms.db", "papsms.db"),
        ("./my ledger%20.db", "my ledger%20.db"),
        ("/var/lib/papsms.db", "/var/lib/papsms.db"),
        (Path("papsms.db"), "papsms.db"),
        ("~/papsms.db", os.path.expanduser("~/papsms.db")),
    ],
)
def test_files_are_named_by_path_or_url(database: str | Path, path: str) -> None:
    """Both forms name the same file; a later change of directory changes nothing."""
    assert repr(open_ledger(database)) == f"<SqlLedger {os.path.abspath(path)}>"


@pytest.mark.parametrize(
    "database",
    [
        "postgresql://ann:secret@db.example:5433/shop",
        "postgresql+asyncpg://ann:secret@db.example:5433/shop",
        "postgres://ann:secret@db.example:5433/shop?sslmode=require",
    ],
)
def test_servers_are_named_by_url(database: str) -> None:
    """The usual schemes name a server; neither user nor password is shown."""
    pytest.importorskip("asyncpg", reason="asyncpg is not installed")
    assert repr(open_ledger(database)) == "<SqlLedger on PostgreSQL at db.example:5433/shop>"


@pytest.mark.parametrize(
    "database",
    [
        "",
        " ",
        ":memory:",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:papsms.db",
        "file:papsms.db",
        "sqlite:///papsms.db?mode=ro",
        "mysql://ann:secret@host/db",
        "postgresql+psycopg2://ann:secret@host/db",
        "http://ann:secret@host",
        "postgresql://",
        "postgresql://ann:secret@host:port/db",
        "postgresql://ann:secret@[::1/db",
        "a\0b",
    ],
)
def test_anything_else_is_one_sentence(database: str) -> None:
    """A setting that can't be meant is refused before anything is touched, without its secrets."""
    with pytest.raises(ConfigurationError) as caught:
        open_ledger(database)
    assert str(caught.value).startswith("A database is ")
    assert str(caught.value).count("\n") == 0
    assert "secret" not in str(caught.value)


def test_a_missing_driver_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has no asyncpg learns how to get it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"papsms-async\[postgres\]"):
        open_ledger("postgresql://host/db")


def test_importing_the_ledger_loads_no_database() -> None:
    """The import of the package stays quick: SQLAlchemy and drivers come with the first ledger."""
    code = (
        "import sys, papsms_async.ledger;"
        "print([name for name in ('sqlalchemy', 'aiosqlite', 'asyncpg', 'sqlite3')"
        " if name in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert output.stdout.strip() == "[]"
