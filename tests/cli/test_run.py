"""``papsms run`` end to end, in a process of its own, against a sandbox on a socket."""

from __future__ import annotations

import json
import random
import stat
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from papsms_async.sandbox import SandboxEngine

Run = Callable[..., Awaitable[Any]]
Serve = Callable[..., Awaitable[SandboxEngine]]


@pytest.fixture
def jobs(tmp_path: Path) -> Callable[..., str]:
    """Return what writes a CSV file and returns its name."""

    def write(*rows: str, header: str = "service,country,reference") -> str:
        (tmp_path / "jobs.csv").write_text("\n".join([header, *rows]) + "\n")
        return "jobs.csv"

    return write


async def test_200_rows_with_faults(
    run: Run, serve: Serve, jobs: Callable[..., str], tmp_path: Path
) -> None:
    """Each row has its result, and each number whose answer came is finished exactly once."""
    engine = await serve(
        seed=3,
        faults="purchase:drop_after@0.03 purchase:refuse@0.03 status:server_error@0.05"
        " status:truncated@0.03 finish:drop_after@0.05 finish:server_error@0.05"
        " any:slow=0.1@0.05 status:malformed@0.02",
    )
    rng = random.Random(5)
    services = ["whatsapp", "telegram", "google", "github", "test-null-code", "test-no-numbers"]
    rows = [
        f"{rng.choice(services)},{rng.choice(['us', 'gb', 'zz'])},{rng.choice(['', 'de|in'])},r{n}"
        for n in range(192)
    ]
    rows += [f"test-never,us,,never-{n}" for n in range(8)]
    name = jobs(*rows, header="service,country,fallbacks,reference")
    ended = await run("run", name, "--output", "out.jsonl", "--timeout", "2")
    assert ended.code == 1
    assert ended.out == ""
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert sorted(record["line"] for record in records) == list(range(2, 202))
    assert len({record["reference"] for record in records}) == 200
    outcomes = Counter(record["outcome"] for record in records)
    assert outcomes["completed"] > 100
    assert outcomes["timed_out"] >= 2
    assert outcomes["no_numbers"] > 10
    # What is left open is what the service charged for and never told of.
    told = {record["activation_id"] for record in records if record["activation_id"]}
    left = {activation.activation_id for activation in engine.open_activations()}
    assert len(left) <= outcomes["unknown"]
    assert not left & told
    counts = engine.finish_counts()
    assert all(counts[activation] == 1 for activation in told)
    spent = sum(Decimal(r["cost"]) for r in records if r["outcome"] == "completed")
    kept = sum(
        a.cost
        for a in engine.activations.values()
        if a.activation_id in told and a.ended == "completed"
    )
    assert spent == kept


async def test_output_is_private_and_is_not_overwritten(
    run: Run, service: SandboxEngine, jobs: Callable[..., str], tmp_path: Path
) -> None:
    """The output is readable for its owner alone, and kept unless --force says otherwise."""
    name = jobs("test-instant,us,a")
    assert (await run("run", name, "-o", "out.jsonl", "--timeout", "3")).code == 0
    output = tmp_path / "out.jsonl"
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    before = output.read_text()
    again = await run("run", name, "-o", "out.jsonl", "--timeout", "3")
    assert again.code == 6
    assert again.sentences == [
        "papsms: out.jsonl exists; name another file or pass --force to overwrite it"
    ]
    assert output.read_text() == before
    assert len(engine_purchases(service)) == 1
    assert (await run("run", name, "-o", "out.jsonl", "--force", "--timeout", "3")).code == 0
    assert output.read_text() != before
    assert len(output.read_text().splitlines()) == 1


def engine_purchases(engine: SandboxEngine) -> list[Any]:
    """Return what was bought."""
    return list(engine.activations)


async def test_result_has_all_fields(
    run: Run, service: SandboxEngine, jobs: Callable[..., str]
) -> None:
    """A result names the row, the number, the SMS, the money and the times."""
    ended = await run("run", jobs("test-instant,gb,r-1"), "--timeout", "3")
    assert ended.code == 0
    [record] = ended.records
    [activation] = service.activations.values()
    assert (
        record
        | {
            "line": 2,
            "reference": "r-1",
            "tenant": None,
            "service": "test-instant",
            "country": "gb",
            "outcome": "completed",
            "activation_id": activation.activation_id,
            "phone_number": activation.phone_number,
            "code": activation.sms_code,
            "full_text": activation.sms_text,
            "cost": f"{activation.cost:.2f}",
            "cost_uncertain": "0.00",
            "attempts": 1,
            "error": None,
            "public_message": None,
        }
        == record
    )
    assert record["started_at"] < record["purchased_at"] < record["sms_at"] <= record["ended_at"]
    assert record["ended_at"].endswith("Z")


async def test_malformed_rows_buy_nothing(
    run: Run, service: SandboxEngine, jobs: Callable[..., str]
) -> None:
    """All problems of a file are told with their places, and no request is made."""
    ended = await run("run", jobs("whatsapp,us,a", "whatsapp,u s,b", ",us,c", "x,us"))
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.splitlines() == [
        "papsms: jobs.csv has 3 problems; nothing was bought",
        "  line 3, column 2 (country): not the code of a country, such as us: 'u s'",
        "  line 4, column 1 (service): the service is missing",
        "  line 5, column 3: the row has 2 of the header's 3 columns",
    ]
    assert service.counted_requests == 0


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("run", "none.csv"), 2, "papsms: can't read none.csv: no such file or directory"),
        (("run", "jobs.csv", "-o", "no/such/file"), 6, "papsms: can't write no/such/file: no such"),
        (("run", "jobs.csv", "--exec", "no-such-command"), 2, "papsms: --exec: there is no comm"),
        (("run", "jobs.csv", "--exec", "'"), 2, "papsms: --exec: no closing quotation"),
        (("run", "jobs.csv", "--limit", "x"), 2, "papsms: a limit looks like 60/60s"),
        (("run", "jobs.csv", "--max-spend", "x"), 2, "papsms: a budget's amounts must be"),
        (("run", "jobs.csv", "--max-spend", "1", "--worst-price", "2"), 2, "papsms: --worst-price"),
        (("run", "jobs.csv", "--worst-price", "2"), 2, "papsms: --worst-price only has a meaning"),
        (("run", "jobs.csv", "--stream"), 2, "papsms: --stream needs - for JOBS"),
        (("run", "jobs.csv", "--nonsense"), 2, "papsms: no such option"),
        (("run", "jobs.csv", "--database", "sqlite:////no/such/dir/x.db"), 6, "papsms: the ledger"),
        (("run", "jobs.csv", "--base-url", "http://example.com"), 2, "papsms: the base URL must"),
        (("run", "jobs.csv", "--base-url", "http://127.0.0.1:1"), 4, "papsms: no connection to"),
        (("run", "jobs.csv", "--api-key-file", "none"), 3, "papsms: can't read the API key from"),
        (("run", "jobs.csv", "--env-file", "none"), 2, "papsms: can't read none: no such file"),
        (("nonsense",), 2, "papsms: no such command 'nonsense'"),
        (("status", "123"), 1, "papsms: the service knows no such activation"),
    ],
)
async def test_each_failure_is_one_sentence(
    run: Run,
    service: SandboxEngine,
    jobs: Callable[..., str],
    arguments: tuple[str, ...],
    code: int,
    sentence: str,
) -> None:
    """What can't be done is told in one sentence, with its exit status, and nothing is bought."""
    jobs(*(f"whatsapp,us,{n}" for n in range(200)))
    ended = await run(*arguments)
    assert ended.code == code, ended
    assert len(ended.err.splitlines()) == 1, ended.err
    assert ended.err.startswith(sentence), ended.err
    assert ended.out == ""
    assert engine_purchases(service) == []


@pytest.mark.parametrize(
    ("config", "key", "code", "sentence"),
    [
        ({}, "", 3, "papsms: there is no API key: set PAPSMS_API_KEY"),
        ({}, "wrong", 3, "papsms: the service refused the API key"),
        ({}, "two words", 3, "papsms: the API key has a character that no key can have"),
        ({"balance": 0}, "sandbox", 5, "papsms: the account's balance does not cover the price"),
        ({"allowed_ips": ["192.0.2.1"]}, "sandbox", 5, "papsms: the API key is tied to other IP"),
        ({"faults": "purchase:rate_limited=99999"}, "sandbox", 5, "papsms: the service turned"),
    ],
)
async def test_trouble_with_the_account_stops_at_once(
    run: Run,
    serve: Serve,
    environment: dict[str, str],
    jobs: Callable[..., str],
    tmp_path: Path,
    config: dict[str, Any],
    key: str,
    code: int,
    sentence: str,
) -> None:
    """A key or an account that can't buy is told once, not for each row, and leaves no output."""
    engine = await serve(**config)
    environment["PAPSMS_API_KEY"] = key
    ended = await run("run", jobs(*(f"whatsapp,us,{n}" for n in range(200))), "-o", "out.jsonl")
    assert ended.code == code, ended
    assert len(ended.err.splitlines()) == 1, ended.err
    assert ended.err.startswith(sentence)
    assert engine_purchases(engine) == []
    assert not (tmp_path / "out.jsonl").exists()


async def test_balance_that_runs_out(run: Run, serve: Serve, jobs: Callable[..., str]) -> None:
    """What was bought before the money ran out comes to its end, and the rest is not begun."""
    engine = await serve(balance=5)
    ended = await run("run", jobs(*(f"whatsapp,us,{n}" for n in range(100))), "--timeout", "3")
    assert ended.code == 5
    outcomes = Counter(record["outcome"] for record in ended.records)
    assert outcomes["completed"] == 6
    assert engine.open_activations() == []
    assert "rows not begun" in ended.err


async def test_max_spend_is_kept(
    run: Run, service: SandboxEngine, jobs: Callable[..., str]
) -> None:
    """No more is spent than --max-spend; the rows beyond it say so."""
    name = jobs(*(f"test-instant,us,{n}" for n in range(20)))
    ended = await run("run", name, "--max-spend", "3", "--worst-price", "0.60", "--timeout", "3")
    assert ended.code == 1
    outcomes = Counter(record["outcome"] for record in ended.records)
    assert outcomes["over_budget"] + outcomes["completed"] == 20
    assert outcomes["over_budget"] > 10
    assert sum(activation.cost for activation in service.activations.values()) <= 3


async def test_dry_run_needs_no_key_and_makes_no_request(
    run: Run, service: SandboxEngine, environment: dict[str, str], jobs: Callable[..., str]
) -> None:
    """A dry run shows the plan and touches neither account nor network."""
    del environment["PAPSMS_API_KEY"]
    name = jobs("whatsapp,us,a", "google,gb,b")
    ended = await run("run", name, "--dry-run", "--limit", "60/60s", "--max-spend", "5")
    assert ended.code == 0
    assert ended.out.splitlines() == [
        "rows        2",
        "services    2: google, whatsapp",
        "countries   2: gb, us",
        "worst cost  $5.00 at $3.00 each (bounded by --max-spend)",
        "least time  0 min 5 s for 6 requests at 60/60s (steady)",
        "nothing was bought and no request was made",
    ]
    assert service.counted_requests == 0


async def test_events_tell_each_step(
    run: Run, service: SandboxEngine, jobs: Callable[..., str]
) -> None:
    """With --events each step is a line, the result among them, in order."""
    ended = await run(
        "run", jobs("test-instant,us,a"), "--events", "--no-progress", "--timeout", "3"
    )
    assert ended.code == 0
    assert ended.err == ""
    steps = [record["event"] for record in ended.records if record["event"] != "polled"]
    assert steps == [
        "queued",
        "purchasing",
        "purchased",
        "waiting_for_sms",
        "sms_received",
        "result",
        "completing",
        "completed",
    ]
    by_event = {record["event"]: record for record in ended.records}
    [activation] = service.activations.values()
    assert by_event["purchased"]["phone_number"] == activation.phone_number
    assert by_event["sms_received"]["code"] == activation.sms_code
    assert by_event["result"]["outcome"] == "completed"
    assert {record["line"] for record in ended.records} == {2}


async def test_standard_input(run: Run, service: SandboxEngine) -> None:
    """JOBS may be standard input, in either format."""
    csv = await run("run", "-", "--timeout", "3", stdin=b"service\ntest-instant\n")
    lines = await run("run", "-", "--timeout", "3", stdin=b'{"service": "test-instant"}\n')
    assert (csv.code, lines.code) == (0, 0)
    bad = await run("run", "-", "--timeout", "3", stdin=b"service\ntest-instant\na,b\n")
    assert bad.code == 2
    assert bad.err.startswith("papsms: standard input has 1 problem; nothing was bought")
    assert len(engine_purchases(service)) == 2


async def test_stream_serves_rows_as_they_come(start: Any, service: SandboxEngine) -> None:
    """With --stream a row is verified before the next is there; a bad one is a result."""
    process = await start("run", "-", "--stream", "--no-progress", "--timeout", "3")
    stdin = process.process.stdin
    stdin.write(b"service,reference\ntest-instant,first\n")
    await stdin.drain()
    first = json.loads(await process.line())
    assert (first["reference"], first["outcome"]) == ("first", "completed")
    stdin.write(b"test-instant,too,many\n")
    await stdin.drain()
    bad = json.loads(await process.line())
    assert (bad["line"], bad["outcome"]) == (3, "invalid")
    stdin.write(b"test-instant,last\n")
    ended = await process.end()
    assert [record["reference"] for record in ended.records] == ["last"]
    assert ended.code == 1
    assert service.open_activations() == []


async def test_stream_without_service_column(run: Run, service: SandboxEngine) -> None:
    """A stream whose header can't be used ends at once."""
    ended = await run("run", "-", "--stream", stdin=b"servce\na\n")
    assert ended.code == 2
    assert "did you mean 'service'" in ended.err
    assert service.counted_requests == 0


async def test_reader_that_goes_away(start: Any, serve: Serve, jobs: Callable[..., str]) -> None:
    """``papsms run | head -1`` stops buying, releases what was bought, and says so."""
    engine = await serve(sms_delay="fixed:3600")
    name = jobs("zz-none,zz,a", *(f"whatsapp,us,{n}" for n in range(50)))
    process = await start("run", name, "--events", "--max-in-flight", "10")
    while "purchased" not in await process.line():
        pass
    process.process.close_stdout()
    ended = await process.end()
    assert ended.code == 6
    assert "papsms: nobody reads the results any more, so it stopped;" in ended.err
    assert engine.open_activations() == []


async def test_ledger_in_a_file(
    run: Run, service: SandboxEngine, jobs: Callable[..., str], tmp_path: Path
) -> None:
    """--database keeps the ledger in a file that only its owner can read."""
    ended = await run(
        "run", jobs("test-instant,us,a"), "--database", "sqlite:///ledger.db", "--timeout", "3"
    )
    assert ended.code == 0
    assert stat.S_IMODE((tmp_path / "ledger.db").stat().st_mode) == 0o600


async def test_key_from_files(
    run: Run, serve: Serve, environment: dict[str, str], jobs: Callable[..., str], tmp_path: Path
) -> None:
    """The key may stand in .env or in a file of its own; the environment wins over .env."""
    await serve(api_keys=["file-key"])
    name = jobs("test-instant,us,a")
    (tmp_path / ".env").write_text("PAPSMS_API_KEY=file-key\nPAPSMS_LIMIT=nonsense\nOTHER=1\n")
    assert (
        await run("run", name, "--timeout", "3")
    ).code == 3  # the environment's key, which is wrong
    del environment["PAPSMS_API_KEY"]
    assert (await run("run", name, "--timeout", "3")).code == 0
    assert (await run("run", name, "--timeout", "3", "--no-env-file")).code == 3
    (tmp_path / "key").write_text("file-key\n")
    assert (
        await run("run", name, "--timeout", "3", "--no-env-file", "--api-key-file", "key")
    ).code == 0
    assert (
        await run("--no-env-file", "--api-key-file", "key", "run", name, "--timeout", "3")
    ).code == 0


async def test_secrets_are_in_no_log(
    run: Run, serve: Serve, environment: dict[str, str], jobs: Callable[..., str]
) -> None:
    """--verbose logs to standard error, without key, number, code or text."""
    engine = await serve(
        api_keys=["canary-key"], faults="purchase:refuse#1 status:server_error@0.3"
    )
    environment["PAPSMS_API_KEY"] = "canary-key"
    ended = await run(
        "run", jobs(*(f"test-instant,us,{n}" for n in range(5))), "--verbose", "--timeout", "3"
    )
    assert " DEBUG papsms_async: papsms purchase ended with PurchaseUnknownError" in ended.err
    assert "canary-key" not in ended.err
    for activation in engine.activations.values():
        assert activation.phone_number not in ended.err
        assert activation.sms_text not in ended.err
        assert activation.sms_code is not None
        assert activation.sms_code not in ended.err


async def test_rows_have_priorities_and_tenants_have_weights(
    run: Run, service: SandboxEngine, tmp_path: Path
) -> None:
    """A column and an option say who goes first; a weight that is none buys nothing."""
    (tmp_path / "jobs.csv").write_text(
        "service,tenant,priority\ntest-instant,acme,\ntest-instant,other,interactive\n"
    )
    ended = await run("run", "jobs.csv", "--timeout", "3", "--tenant-weight", "acme=2.5")
    assert ended.code == 0
    assert {record["tenant"] for record in ended.records} == {"acme", "other"}
    bought = len(service.activations)
    for word in ("acme", "acme=", "=2", "acme=two", "acme=-1", "acme=nan"):
        refused = await run("run", "jobs.csv", "--tenant-weight", word)
        assert refused.code == 2
        assert "acme" in refused.sentences[0] or "=2" in refused.sentences[0]
    assert len(service.activations) == bought


async def test_explain_says_why_each_permit_went_where_it_went(
    run: Run, service: SandboxEngine, jobs: Callable[..., str]
) -> None:
    """A line a permit on standard error; with --events a step each, and no such line."""
    name = jobs("test-instant,us,a", "test-no-numbers,us,b")
    said = await run("run", name, "--explain", "--timeout", "3")
    lines = [line for line in said.err.splitlines() if "next:" in line]
    assert len(lines) == len(service.request_log)
    kinds = [line.split()[1] for line in lines]
    assert sorted(set(kinds)) == ["finish", "poll", "purchase"]
    assert all(line.startswith("papsms: ") and "price" in line for line in lines)
    assert {record["reference"] for record in said.records} == {"a", "b"}
    told = await run("run", name, "--explain", "--events", "--timeout", "3")
    assert "next:" not in told.err
    decisions = [record["decision"] for record in told.records if record["event"] == "decided"]
    assert sorted(one["kind"] for one in decisions) == sorted(kinds)
    for one in decisions:
        assert (one["index"] is None) == (one["kind"] != "poll")
        assert one["price"] > 0
    silent = await run("run", name, "--events", "--timeout", "3")
    assert "decided" not in {record["event"] for record in silent.records}
