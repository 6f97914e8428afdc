"""The command line keeps a ledger of its own unless it is told otherwise."""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from papsms_async.cli.run_budget import RunLedger
from papsms_async.errors import BudgetExceededError
from papsms_async.ledger import LedgerConflictError, LedgerEntry, MemoryLedger, open_ledger
from papsms_async.lifecycle import State
from papsms_async.sandbox import SandboxEngine

pytest.importorskip("fcntl", reason="the place of the file is told by XDG_DATA_HOME")

Run = Callable[..., Awaitable[Any]]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOON = ("--timeout", "3")
"""The shorter the wait, the sooner the first look for an SMS."""
OWN = Path("data") / "papsms-async" / "papsms.db"


async def states(path: Path) -> list[State]:
    """Return the states of all purchases in a ledger file."""
    ledger = open_ledger(str(path))
    await ledger.open()
    entries = await ledger.entries()
    await ledger.aclose()
    return [entry.state for entry in entries]


@pytest.mark.parametrize("command", ["verify", "run"])
async def test_ledger_is_kept_in_a_file_of_the_users(
    run: Run, service: SandboxEngine, tmp_path: Path, command: str
) -> None:
    """Without --database the purchase is in a private file of the data directory."""
    (tmp_path / "jobs.csv").write_text("service\ntest-instant\n")
    assert (
        await run(command, "test-instant" if command == "verify" else "jobs.csv", *SOON)
    ).code == 0
    assert await states(tmp_path / OWN) == [State.COMPLETED]
    assert stat.S_IMODE((tmp_path / OWN).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / OWN).parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("way", ["option", "environment"])
async def test_none_keeps_it_in_memory(
    run: Run, service: SandboxEngine, environment: dict[str, str], tmp_path: Path, way: str
) -> None:
    """The word none leaves no file, as an option and in the environment."""
    if way == "environment":
        environment["PAPSMS_DATABASE"] = "none"
    given = ("--database", "none") if way == "option" else ()
    assert (await run("verify", "test-instant", *SOON, *given)).code == 0
    assert os.listdir(tmp_path) == []


async def test_option_wins_over_the_environment(
    run: Run, service: SandboxEngine, environment: dict[str, str], tmp_path: Path
) -> None:
    """A ledger that is named is used in place of the own one, the option's first."""
    environment["PAPSMS_DATABASE"] = "sqlite:///other.db"
    assert (await run("verify", "test-instant", *SOON)).code == 0
    assert await states(tmp_path / "other.db") == [State.COMPLETED]
    assert (await run("verify", "test-instant", *SOON, "--database", "named.db")).code == 0
    assert await states(tmp_path / "named.db") == [State.COMPLETED]
    assert not (tmp_path / "data").exists()


async def test_dry_run_makes_no_file(run: Run, tmp_path: Path) -> None:
    """A run that only shows its plan leaves nothing behind."""
    (tmp_path / "jobs.csv").write_text("service\ntest-instant\n")
    assert (await run("run", "jobs.csv", "--dry-run")).code == 0
    assert not (tmp_path / "data").exists()


async def test_no_place_for_it_is_one_sentence(
    run: Run, service: SandboxEngine, tmp_path: Path
) -> None:
    """A data directory that can't be made ends it before anything is bought, with a way out."""
    (tmp_path / "data").write_text("")
    ended = await run("verify", "test-instant")
    assert ended.code == 6
    [sentence] = ended.sentences
    assert sentence.startswith("papsms: can't make ")
    assert sentence.endswith("--database, or none to keep it in memory")
    assert service.charge_log == []


async def test_max_spend_bounds_the_run_on_the_own_ledger(
    run: Run, service: SandboxEngine, tmp_path: Path
) -> None:
    """What earlier runs spent counts against a later one's --max-spend in a named ledger only."""
    (tmp_path / "jobs.csv").write_text("service\ntest-instant\n")
    bound = ("--max-spend", "3", "--worst-price", "3")
    for _ in range(2):
        ended = await run("run", "jobs.csv", *SOON, *bound)
        assert ended.code == 0, ended.err
    assert len(service.activations) == 2
    outcomes = []
    for _ in range(2):
        ended = await run("run", "jobs.csv", *SOON, *bound, "--database", "named.db")
        outcomes += [record["outcome"] for record in ended.records]
    assert outcomes == ["completed", "over_budget"]
    assert len(service.activations) == 3


def intent(name: str) -> LedgerEntry:
    """Return an intent that may cost $3."""
    return LedgerEntry(
        intent_id=name,
        state=State.SENDING,
        service="s",
        country="us",
        created_at=NOW,
        updated_at=NOW,
    )


async def test_run_counts_what_it_holds() -> None:
    """A run's bound counts reservations, prices and refunds of the run, and of nothing else."""
    inner = MemoryLedger()
    await inner.add(intent("earlier"))
    ledger = RunLedger(inner)
    limit = Decimal("6.50")
    await ledger.add(intent("a"), limit=limit)
    await ledger.add(intent("b"), limit=limit)
    with pytest.raises(BudgetExceededError, match=r"budget of \$6.50: \$6 is spent or reserved"):
        await ledger.add(intent("c"), limit=limit)
    assert await inner.get("c") is None
    await ledger.move("earlier", State.SENDING, State.REFUSED, event="refused", at=NOW)
    assert await ledger.committed() == 6
    await ledger.move(
        "a", State.SENDING, State.WAITING, event="bought", at=NOW, cost=Decimal("0.30")
    )
    assert await ledger.committed() == Decimal("3.30")
    await ledger.add(intent("c"), limit=limit)
    await ledger.move("b", State.SENDING, State.REFUSED, event="refused", at=NOW)
    assert await ledger.committed() == Decimal("3.30")


async def test_purchase_that_was_not_written_holds_nothing() -> None:
    """An intent that the ledger refused is not counted."""
    ledger = RunLedger(MemoryLedger())
    await ledger.add(intent("a"))
    with pytest.raises(LedgerConflictError):
        await ledger.add(intent("a"), limit=Decimal(9))
    await ledger.add(intent("b"), limit=Decimal(6))
    assert await ledger.committed() == 6
