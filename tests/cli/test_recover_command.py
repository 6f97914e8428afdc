"""``papsms recover`` against a sandbox on a socket, on ledgers as crashed processes leave them."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from papsms_async import PapSMSClient
from papsms_async.ledger import LedgerEntry, open_ledger
from papsms_async.lifecycle import State
from papsms_async.limits import RateLimit
from papsms_async.sandbox import SandboxEngine

Run = Callable[..., Awaitable[Any]]
Serve = Callable[..., Awaitable[SandboxEngine]]
Leave = Callable[..., Awaitable[LedgerEntry]]

LEDGER = ("--database", "sqlite:///ledger.db")


@pytest.fixture
def leave(environment: dict[str, str], tmp_path: Path) -> Leave:
    """Return what leaves a purchase behind as a process that died in a state would."""

    async def begin(state: State, service: str = "test-never", **fields: Any) -> LedgerEntry:
        now = datetime.now(UTC)
        known: dict[str, Any] = {}
        if state not in (State.SENDING, State.UNKNOWN):
            async with PapSMSClient(
                "sandbox",
                base_url=environment["PAPSMS_BASE_URL"],
                rate_limit=RateLimit(60_000, 60),
            ) as client:
                bought = await client.purchase(service)
            known = {
                "activation_id": bought.activation_id,
                "phone_number": bought.phone_number,
                "expires_at": bought.expires_at,
                "cost": bought.cost,
            }
        entry = LedgerEntry(
            **{
                "intent_id": f"{state.value}-{service}-{now.timestamp()}",
                "state": state,
                "service": service,
                "country": "us",
                "created_at": now,
                "updated_at": now,
                "owner": "elsewhere:1:abc",
                "lease_until": now - timedelta(seconds=1),
                **known,
                **fields,
            }
        )
        ledger = open_ledger(str(tmp_path / "ledger.db"))
        await ledger.open()
        await ledger.add(entry)
        await ledger.aclose()
        return entry

    return begin


async def state_of(tmp_path: Path, entry: LedgerEntry) -> State:
    """Return the state that a purchase has in the ledger file."""
    ledger = open_ledger(str(tmp_path / "ledger.db"))
    await ledger.open()
    found = await ledger.get(entry.intent_id)
    await ledger.aclose()
    assert found is not None
    return found.state


async def test_nothing_to_do_is_one_line(
    run: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    """Without anything left behind it says so in one line, and needs no key."""
    del environment["PAPSMS_API_KEY"]
    ended = await run("recover")
    assert (ended.code, ended.out) == (0, "nothing to recover\n")
    assert ended.err.startswith("papsms: there is no ledger at ")
    assert not (tmp_path / "data").exists()


async def test_each_state_comes_to_its_end(
    run: Run, service: SandboxEngine, leave: Leave, tmp_path: Path
) -> None:
    """Numbers with an SMS are completed, others given back, unknown ones listed with their cost."""
    left = {
        await leave(State.SENDING): State.UNKNOWN,
        await leave(State.WAITING): State.CANCELLED,
        await leave(State.WAITING, "test-instant"): State.COMPLETED,
        await leave(State.RECEIVED, "test-instant"): State.COMPLETED,
        await leave(State.COMPLETING, "test-instant"): State.COMPLETED,
        await leave(State.CANCELLING): State.CANCELLED,
        await leave(State.UNKNOWN, worst_price=Decimal(2)): State.UNKNOWN,
    }
    ended = await run("recover", *LEDGER)
    assert ended.code == 0, ended.err
    for entry, end in left.items():
        assert await state_of(tmp_path, entry) is end
    assert service.open_activations() == []
    assert set(service.finish_counts().values()) == {1}
    assert "2 purchases unknown, at most $5.00 in all;" in ended.out
    assert sum(line.startswith("papsms: ") for line in ended.err.splitlines()) == 6
    assert "papsms: 6/6 " in ended.err
    again = await run("recover", *LEDGER)
    assert again.code == 0
    assert again.out.startswith("nothing to recover\n2 purchases unknown")


async def test_dry_run_changes_nothing_and_needs_no_key(
    run: Run,
    service: SandboxEngine,
    leave: Leave,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    """--dry-run shows each purchase with what would be done, and does none of it."""
    waiting, sending = await leave(State.WAITING), await leave(State.SENDING)
    del environment["PAPSMS_API_KEY"]
    before = len(service.request_log)
    ended = await run("recover", "--dry-run", *LEDGER)
    assert (ended.code, ended.err) == (0, "")
    [shown] = [line for line in ended.out.splitlines() if waiting.activation_id in line]
    assert "waiting" in shown
    assert "give back" in shown
    assert "mark as unknown" in ended.out
    assert f"{sending.intent_id}" in ended.out
    assert "at most $3.00" in ended.out
    assert await state_of(tmp_path, waiting) is State.WAITING
    assert await state_of(tmp_path, sending) is State.SENDING
    assert len(service.request_log) == before


async def test_key_is_needed_only_to_finish(
    run: Run,
    service: SandboxEngine,
    leave: Leave,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    """A purchase without an answer is marked without a key; a number to finish takes one."""
    del environment["PAPSMS_API_KEY"]
    sending = await leave(State.SENDING)
    ended = await run("recover", *LEDGER)
    assert ended.code == 0, ended.err
    assert await state_of(tmp_path, sending) is State.UNKNOWN
    waiting = await leave(State.WAITING)
    ended = await run("recover", *LEDGER)
    assert ended.code == 3
    assert "there is no API key" in ended.err
    assert await state_of(tmp_path, waiting) is State.WAITING


async def test_as_json(run: Run, service: SandboxEngine, leave: Leave) -> None:
    """--json gives one object with what was there, what was done, and what is unknown."""
    waiting, sending = await leave(State.WAITING), await leave(State.SENDING)
    planned = json.loads((await run("recover", "--dry-run", "--json", *LEDGER)).out)
    assert planned["dry_run"] is True
    assert {p["intent_id"]: p["action"] for p in planned["purchases"]} == {
        waiting.intent_id: "cancel",
        sending.intent_id: "mark_unknown",
    }
    done = json.loads((await run("recover", "--json", *LEDGER)).out)
    by_id = {purchase["intent_id"]: purchase for purchase in done["purchases"]}
    assert (
        by_id[waiting.intent_id]
        | {
            "action": "cancel",
            "state": "waiting",
            "end": "cancelled",
            "finished": True,
            "activation_id": waiting.activation_id,
            "cost": f"{waiting.cost:.2f}",
        }
        == by_id[waiting.intent_id]
    )
    assert waiting.phone_number not in json.dumps(done)
    assert [one["intent_id"] for one in done["unknown"]] == [sending.intent_id]
    assert done["unknown_cost"] == "3.00"


async def test_what_is_held_is_named_and_left(
    run: Run, service: SandboxEngine, leave: Leave, tmp_path: Path
) -> None:
    """A purchase under a living process's lease is left alone; holder and end are told."""
    until = datetime.now(UTC) + timedelta(hours=1)
    held = await leave(State.WAITING, owner="elsewhere:1:abc", lease_until=until)
    ended = await run("recover", *LEDGER)
    assert ended.code == 7
    assert f"held by elsewhere:1:abc until {until:%Y-%m-%d %H:%M:%S} UTC" in ended.out
    assert f"papsms: 1 not finished: {held.activation_id};" in ended.err
    assert await state_of(tmp_path, held) is State.WAITING
    assert len(service.open_activations()) == 1


async def test_what_was_let_go_of_is_left_to_whoever_goes_on(
    run: Run, service: SandboxEngine, leave: Leave, tmp_path: Path
) -> None:
    """A number that a process let go of on purpose is told of and left alone for a while."""
    detached = await leave(State.WAITING, owner=None, lease_until=None)
    ended = await run("recover", "--wait", *LEDGER)
    assert ended.code == 7
    assert "let go of for another process or a job engine" in ended.out
    assert await state_of(tmp_path, detached) is State.WAITING


async def test_wait_outlasts_a_lease(
    run: Run, service: SandboxEngine, leave: Leave, tmp_path: Path
) -> None:
    """--wait waits for the lease of a process that does not renew it, then finishes."""
    until = datetime.now(UTC) + timedelta(seconds=1.5)
    held = await leave(State.WAITING, owner="elsewhere:1:abc", lease_until=until)
    ended = await run("recover", "--wait", *LEDGER)
    assert ended.code == 0, ended.err
    assert await state_of(tmp_path, held) is State.CANCELLED
    assert service.open_activations() == []


async def test_killed_run_is_recovered_from_the_own_ledger(
    start: Any, run: Run, serve: Serve, tmp_path: Path
) -> None:
    """What a killed papsms run bought is in the default ledger, and said to be held at first."""
    engine = await serve(sms_delay="never")
    (tmp_path / "jobs.csv").write_text("service\n" + "whatsapp\n" * 3)
    process = await start("run", "jobs.csv", "--events")
    count = 3
    while count:
        count -= json.loads(await process.line())["event"] == "purchased"
    process.signal(signal.SIGKILL)
    await process.end()
    ended = await run("recover", "--dry-run")
    assert ended.code == 0
    for activation in engine.open_activations():
        assert activation.activation_id in ended.out
    assert "that process is gone, so --wait waits for it" in ended.out


async def test_interrupt_leaves_the_rest_owed(
    start: Any, serve: Serve, leave: Leave, tmp_path: Path
) -> None:
    """Ctrl-C while a finish hangs ends it within its grace, and names what stays owed."""
    await serve(faults="finish:hang")
    left = await leave(State.CANCELLING)
    process = await start(
        "recover", *LEDGER, settings={"papsms_async.cli.recover_command:GRACE": 0.5}
    )
    while "cancelling" not in await process.line():
        pass
    # The table is printed before the first finish; either moment leaves it owed.
    process.signal(signal.SIGINT)
    ended = await process.end()
    assert ended.code == 7
    assert "papsms: interrupted" in ended.err
    assert f"papsms: 1 not finished: {left.activation_id};" in ended.err
    assert await state_of(tmp_path, left) is State.CANCELLING


async def test_second_interrupt_leaves_at_once(
    start: Any, serve: Serve, leave: Leave, tmp_path: Path
) -> None:
    """The second Ctrl-C does not wait for the grace, and the number stays owed."""
    engine = await serve(faults="finish:hang")
    left = await leave(State.CANCELLING)
    process = await start("recover", *LEDGER)
    while "cancelling" not in await process.line():
        pass
    while not any(logged.route == "finish" for logged in engine.request_log):
        await asyncio.sleep(0)  # lets the service in this process work
    process.signal(signal.SIGINT)
    process.signal(signal.SIGTERM)
    ended = await process.end()
    assert ended.code == 7
    assert f"papsms: left at once; still owed: {left.activation_id}" in ended.err
    assert await state_of(tmp_path, left) is State.CANCELLING


async def test_refused_key_ends_it(
    run: Run, service: SandboxEngine, leave: Leave, environment: dict[str, str]
) -> None:
    """A key that the service refuses ends it at once, with one sentence and what stays owed."""
    left = await leave(State.CANCELLING)
    environment["PAPSMS_API_KEY"] = "another"
    ended = await run("recover", *LEDGER)
    assert ended.code == 7
    assert "papsms: the service refused the API key\n" in ended.err
    assert f"papsms: 1 not finished: {left.activation_id};" in ended.err


async def test_service_out_of_reach_ends_it(
    run: Run, service: SandboxEngine, leave: Leave, environment: dict[str, str], tmp_path: Path
) -> None:
    """Where no connection can be made it gives up within --timeout, and the number stays owed."""
    left = await leave(State.CANCELLING)
    environment["PAPSMS_BASE_URL"] = "http://127.0.0.1:9/api/v1/"
    ended = await run("recover", "--timeout", "0.5", *LEDGER)
    assert ended.code == 7
    assert "is tried again later (ConnectError)" in ended.err
    assert "papsms: not all was taken within 0.5 s" in ended.err
    assert await state_of(tmp_path, left) is State.CANCELLING


async def test_settled_purchase_is_given_back(
    run: Run, service: SandboxEngine, leave: Leave, environment: dict[str, str], tmp_path: Path
) -> None:
    """An unknown purchase that a person found in the account is finished by the next recover."""
    unknown = await leave(State.UNKNOWN)
    async with PapSMSClient(
        "sandbox", base_url=environment["PAPSMS_BASE_URL"], rate_limit=RateLimit(600, 60)
    ) as client:
        bought = await client.purchase("test-never")
    args = ("ledger", "resolve", unknown.intent_id, "--bought", bought.activation_id)
    assert (await run(*args, *LEDGER)).code == 0
    ended = await run("recover", *LEDGER)
    assert ended.code == 0, ended.err
    assert await state_of(tmp_path, unknown) is State.CANCELLED
    assert service.open_activations() == []
