"""``papsms report`` on real ledger files: table, JSON and page."""

from __future__ import annotations

import asyncio
import json
import shutil
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from papsms_async.ledger import LedgerEntry, open_ledger
from papsms_async.lifecycle import State
from papsms_async.models import Sms

Command = Callable[..., Any]

START = datetime(2026, 4, 1, 12, tzinfo=UTC)
SERVICES = ("whatsapp", "telegram", "a-service-with-a-rather-long-name")


def entries() -> list[LedgerEntry]:
    """Return 60 purchases of three days, three services, two countries and two tenants."""
    states = [*[State.COMPLETED] * 5, State.CANCELLED, State.UNKNOWN, State.CANCELLING]
    made = []
    for n in range(60):
        at, state = START + timedelta(days=n % 3), states[n % len(states)]
        bought = state is not State.UNKNOWN
        made.append(
            LedgerEntry(
                intent_id=f"intent-{n}",
                state=state,
                service=SERVICES[n % 3],
                country=("us", "gb")[n % 2],
                tenant=(None, "acme")[n % 2],
                activation_id=f"{n}" if bought else None,
                cost=Decimal(n) / 100 if bought else None,
                sms=Sms(code="1", full_text="t", received_at=at + timedelta(seconds=n))
                if state is State.COMPLETED
                else None,
                created_at=at,
                updated_at=at,
            )
        )
    return made


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[LedgerEntry]]:
    """Fill a ledger once, and return its file and what is in it."""
    path = tmp_path_factory.mktemp("filled") / "ledger.db"
    return path, fill(str(path))


@pytest.fixture
def ledger(filled: tuple[Path, list[LedgerEntry]], tmp_path: Path) -> list[LedgerEntry]:
    """Return what is in ``ledger.db``, the test's own."""
    shutil.copy2(filled[0], tmp_path / "ledger.db")
    return filled[1]


def fill(database: str) -> list[LedgerEntry]:
    """Write the purchases into a ledger, each SMS after its purchase was answered."""
    made = entries()

    async def write() -> None:
        opened = open_ledger(database)
        await opened.open()
        for entry in made:
            await opened.add(entry)
            if entry.sms is not None:
                at = entry.created_at - timedelta(seconds=1)
                await opened.move(entry.intent_id, entry.state, entry.state, event="bought", at=at)
        await opened.aclose()

    asyncio.run(write())
    return made


REPORT = ("report", "--database", "sqlite:///ledger.db")


@pytest.mark.parametrize(
    ("by", "groups"),
    [("day", 3), ("service,country", 6), ("tenant", 2), ("day,service,country,tenant", 6)],
)
def test_json_adds_up(command: Command, ledger: list[LedgerEntry], by: str, groups: int) -> None:
    """The groups of the JSON add up to its total, and that to what the ledger counts."""
    ended = command(*REPORT, "--json", "--by", by)
    assert (ended.code, ended.err) == (0, "")
    record = json.loads(ended.out)
    assert record["by"] == by.split(",")
    assert len(record["groups"]) == groups
    total = record["total"]
    for name in ("spend", "refunds_expected", "refunded", "unknown_cost", "reserved"):
        parts = sum(Decimal(group[name]) for group in record["groups"])
        assert parts == Decimal(total[name])
    held = sum(
        Decimal(total[name]) for name in ("spend", "refunds_expected", "unknown_cost", "reserved")
    )
    assert held == sum(entry.committed for entry in ledger)
    assert total["purchases"] == 60
    assert record["purged_spend"] == "0.00"


def test_postgresql_gives_the_same_report(
    postgres_url: str, command: Command, ledger: list[LedgerEntry], tmp_path: Path
) -> None:
    """The figures of a ledger on a server are those of the same ledger in a file."""
    fill(postgres_url)
    by = "day,service,country,tenant"
    reports = [
        command("report", "--database", database, "--json", "--by", by)
        for database in ("sqlite:///ledger.db", postgres_url)
    ]
    assert [(ended.code, ended.err) for ended in reports] == [(0, ""), (0, "")]
    assert json.loads(reports[0].out) == json.loads(reports[1].out)
    assert json.loads(reports[1].out)["total"]["time_to_code"]["median"] == 29.0
    page = tmp_path / "report.html"
    ended = command("report", "--database", postgres_url, "--html", str(page))
    assert ended.code == 0
    assert "<svg" in page.read_text()


@pytest.mark.parametrize("by", ["none", "day", "service", "day,service,country,tenant"])
def test_table_fits_and_keeps_its_figures(
    command: Command, ledger: list[LedgerEntry], by: str
) -> None:
    """The table is plain, fits into 80 columns, and has a line for each group and the sum."""
    ended = command(*REPORT, "--by", by)
    assert ended.code == 0
    assert "\x1b" not in ended.out
    lines = ended.out.splitlines()
    assert max(map(len, lines)) <= 80
    header = lines[0].split()
    assert {"bought", "compl.", "spend", "$/code", "SMS"} <= set(header)
    spend = sum(e.committed for e in ledger if e.state is State.COMPLETED)
    assert f"spend      ${spend:.2f} net" in ended.out
    assert any(f"${spend:.2f}" in line for line in lines[2:-3])
    assert "unknown    at most $21.00 for 7 lost answers" in ended.out


def test_bounds_are_whole_days(command: Command, ledger: list[LedgerEntry]) -> None:
    """--since and --until take days in UTC, both included."""

    def purchases(*args: str) -> int:
        return int(json.loads(command(*REPORT, "--json", *args).out)["total"]["purchases"])

    assert purchases("--since", "2026-04-02") == 40
    assert purchases("--until", "2026-04-01") == 20
    assert purchases("--since", "2026-04-02", "--until", "2026-04-02") == 20
    assert purchases("--since", "2026-05-01") == 0


@pytest.mark.parametrize(
    "args",
    [
        ("--by", "weather"),
        ("--by", ","),
        ("--by", "day,day"),
        ("--since", "yesterday"),
        ("--until", "9999-12-31"),
        ("--since", "2026-04-02", "--until", "2026-04-01"),
        ("--json", "--html", "x.html"),
    ],
)
def test_wrong_options_are_one_sentence(
    command: Command, ledger: list[LedgerEntry], args: tuple[str, ...]
) -> None:
    """What can't be understood is refused with one sentence and status 2."""
    ended = command(*REPORT, *args)
    assert ended.code == 2
    assert ended.out == ""
    assert len(ended.err.splitlines()) == 1


def test_page_is_private_and_is_not_overwritten(
    command: Command, ledger: list[LedgerEntry], tmp_path: Path
) -> None:
    """--html writes one page for its owner's eyes, and keeps a file that is there."""
    ended = command(*REPORT, "--html", "report.html", "--by", "service")
    assert (ended.code, ended.out) == (0, "wrote report.html\n")
    page = tmp_path / "report.html"
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert "All figures by service" in page.read_text()
    again = command(*REPORT, "--html", "report.html")
    assert again.code == 6
    assert "exists" in again.err
    assert command(*REPORT, "--html", "report.html", "--force").code == 0
    assert "All figures by day" in page.read_text()


async def _make_empty(path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{path}")
    await ledger.open()
    await ledger.aclose()


@pytest.mark.parametrize("narrowed", [False, True])
def test_nothing_is_said_to_be_nothing(
    command: Command, tmp_path: Path, ledger: list[LedgerEntry], narrowed: bool
) -> None:
    """No purchases give a sentence, zeroes in the JSON, and a page that says so."""
    asyncio.run(_make_empty(tmp_path / "empty.db"))
    where = (*REPORT, "--since", "2030-01-01") if narrowed else ("report", "--database", "empty.db")
    assert command(*where).out.startswith("no purchases")
    record = json.loads(command(*where, "--json").out)
    assert record["groups"] == []
    assert record["total"]["purchases"] == 0
    assert command(*where, "--html", "empty.html").code == 0
    assert "The ledger has no purchases" in (tmp_path / "empty.html").read_text()


def test_purged_purchases_are_told(command: Command, ledger: list[LedgerEntry]) -> None:
    """What forgotten purchases cost is told beside the report, which no longer has them."""
    spend = sum((e.committed for e in ledger if e.state is State.COMPLETED), Decimal(0))
    assert command("ledger", "purge", "--older-than", "0d", *REPORT[1:]).code == 0
    ended = command(*REPORT)
    assert f"purged     ${spend:.2f} was spent for purchases that are forgotten" in ended.out
    assert json.loads(command(*REPORT, "--json").out)["purged_spend"] == f"{spend:.2f}"
