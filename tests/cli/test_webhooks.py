"""Webhooks on the command line: taken by a run, or by a process for others; kept and shown."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from papsms_async.ledger import LedgerEntry, open_ledger
from papsms_async.lifecycle import State
from papsms_async.models import Sms, WebhookEvent
from papsms_async.sandbox.webhook_config import WebhookConfig

Run = Callable[..., Awaitable[Any]]

SECRET = "a-secret-that-is-long-enough_1"
LEDGER = ("--database", "sqlite:///ledger.db")
NOW = datetime.now(UTC)


@pytest.fixture
def jobs(tmp_path: Path) -> str:
    """A file of ten rows."""
    rows = "".join(f"whatsapp,us,r{number}\n" for number in range(10))
    (tmp_path / "jobs.csv").write_text(f"service,country,reference\n{rows}")
    return "jobs.csv"


@pytest.fixture
def port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def post_to(engine: Any, port: int, **options: Any) -> None:
    """Let the service post its webhooks there, until somebody takes them."""
    url = f"http://127.0.0.1:{port}/{SECRET}"
    engine.set_webhook(WebhookConfig(url=url, backoff=0.2, attempts=9, **options))


@pytest.mark.parametrize(("trust", "statuses"), [("confirm", 10), ("payload", 0)])
async def test_run_takes_webhooks(serve, run, environment, jobs, port, trust, statuses) -> None:
    """Every SMS is heard of, no more is asked for than the trust needs, no secret is shown."""
    service = await serve(sms_delay="fixed:0.3")
    environment["PAPSMS_WEBHOOK_SECRET"] = SECRET
    post_to(service, port)
    ended = await run(
        "run", jobs, "--webhook-listen", f"127.0.0.1:{port}", "--webhook-trust", trust, "--events"
    )
    assert ended.code == 0
    kinds = [record["event"] for record in ended.records]
    assert kinds.count("announced") == kinds.count("sms_received") == 10
    routes = [logged.route for logged in service.request_log]
    assert routes.count("status") == statuses
    assert f"papsms: webhooks are taken at http://127.0.0.1:{port}/..." in ended.sentences
    assert SECRET not in ended.out + ended.err


async def test_url_is_made_and_printed_where_no_secret_is_set(serve, start, port) -> None:
    """A first try needs nothing but what is printed; two starts print two secrets."""
    service = await serve(sms_delay="fixed:0.3")
    secrets = set()
    for _ in range(2):
        process = await start("run", "-", "--webhook-listen", str(port), "--stream")
        line = await process.line(err=True)
        match = re.fullmatch(
            rf"papsms: webhooks are taken at (http://127\.0\.0\.1:{port}/([\w-]+))\n", line
        )
        assert match
        secrets.add(match[2])
        assert "PAPSMS_WEBHOOK_SECRET" in await process.line(err=True)
        service.set_webhook(WebhookConfig(url=match[1]))
        ended = await process.end(b'{"service": "whatsapp"}\n')
        assert ended.records[0]["outcome"] == "completed"
    assert len(secrets) == 2
    assert [post.status for post in service.webhooks.log] == [200, 200]


async def test_serve_takes_webhooks_for_others(serve, start, run, environment, jobs, port) -> None:
    """A process takes them into the ledger, another one on it is woken; SIGTERM ends the first."""
    service = await serve(sms_delay="fixed:0.3")
    environment["PAPSMS_WEBHOOK_SECRET"] = f"{SECRET[::-1]}, {SECRET}"
    post_to(service, port)
    taking = await start("webhook", "serve", "--listen", f"127.0.0.1:{port}", *LEDGER)
    assert "webhooks are taken at" in await taking.line(err=True)
    ended = await run("run", jobs, "--webhook-inbox", "--webhook-trust", "payload", *LEDGER)
    assert ended.code == 0
    assert [record["outcome"] for record in ended.records] == ["completed"] * 10
    assert [logged.route for logged in service.request_log].count("status") <= 1
    taking.signal(signal.SIGTERM)
    served = await taking.end()
    assert served.code == 0
    assert served.sentences == ["papsms: 10 taken (0 copies), 0 refused, 0 put off"]
    listed = await run("webhook", "list", "--json", *LEDGER)
    records = json.loads(listed.out)
    assert len(records) == 10
    assert all("code" not in record for record in records)
    shown = await run("webhook", "list", "--json", "--show-secrets", *LEDGER)
    assert all(re.fullmatch(r"\d{6}", record["code"]) for record in json.loads(shown.out))
    orphans = await run("webhook", "list", "--orphans", *LEDGER)
    assert orphans.out == "no webhooks\n"


@pytest.mark.usefixtures("service")
async def test_silence_is_said(start, environment, tmp_path, port) -> None:
    """When no webhook comes the user is told so, once, and gets the SMS by polls."""
    environment["PAPSMS_WEBHOOK_SECRET"] = SECRET
    (tmp_path / "jobs.csv").write_text("service,sms_timeout\n" + "test-delay-1,3\n" * 6)
    process = await start("run", "jobs.csv", "--webhook-listen", str(port), "--max-in-flight", "2")
    ended = await process.end()
    assert ended.code == 0
    said = [line for line in ended.err.splitlines() if "webhooks don't come" in line]
    assert said == ["papsms: webhooks don't come: SMS are polled for from now on"]


def fill(tmp_path: Path) -> None:
    """Write a ledger with an unknown purchase, and webhooks that may be about it."""

    async def write() -> None:
        ledger = open_ledger(str(tmp_path / "ledger.db"))
        await ledger.open()
        for number, state in enumerate((State.UNKNOWN, State.REFUSED)):
            await ledger.add(
                LedgerEntry(
                    intent_id=f"intent-{number}",
                    state=state,
                    service="whatsapp",
                    country="us",
                    created_at=NOW - timedelta(minutes=10),
                    updated_at=NOW,
                )
            )
        sms = Sms(code="847291", full_text="Your code: 847291")
        for activation_id, service in (("42", None), ("43", "whatsapp"), ("44", "telegram")):
            event = WebhookEvent(activation_id=activation_id, sms=sms, service=service)
            await ledger.inbox.put(event, at=NOW - timedelta(minutes=9))
        await ledger.aclose()

    asyncio.run(write())


def test_orphans_are_shown_with_the_purchases_they_may_belong_to(command, tmp_path) -> None:
    """By list, show and recover, for people and for programs; never a code unless asked for."""
    fill(tmp_path)
    listed = command("ledger", "list", *LEDGER)
    assert "3 webhooks about numbers that were not bought here" in listed.out
    shown = command("ledger", "show", "intent-0", *LEDGER)
    lines = [line for line in shown.out.splitlines() if line.startswith("may be")]
    assert [re.findall(r"activation (\d+)", line) for line in lines] == [["43"], ["42"]]
    assert "about whatsapp came at" in lines[0]
    assert "may be" not in command("ledger", "show", "intent-1", *LEDGER).out
    recovered = command("recover", "--dry-run", *LEDGER)
    assert "may be activation 43" in recovered.out
    records = {
        record["intent_id"]: record
        for record in json.loads(command("ledger", "list", "--json", *LEDGER).out)
    }
    found = [one["activation_id"] for one in records["intent-0"]["candidates"]]
    assert found == ["43", "42"]
    assert "candidates" not in records["intent-1"]
    plan = json.loads(command("recover", "--dry-run", "--json", *LEDGER).out)
    assert [one["activation_id"] for one in plan["unknown"][0]["candidates"]] == ["43", "42"]
    orphans = command("webhook", "list", "--orphans", *LEDGER)
    assert [line for line in orphans.out.splitlines() if line.startswith("20")] != []
    assert "3 webhooks" in orphans.out
    for ended in (listed, shown, recovered, orphans):
        assert "847291" not in ended.out
    assert "847291" in command("webhook", "list", "--show-secrets", *LEDGER).out


def test_orphan_that_was_settled_is_none_any_more(command, tmp_path) -> None:
    """After a look at the account it belongs to its purchase."""
    fill(tmp_path)
    assert command("ledger", "resolve", "intent-0", "--bought", "43", *LEDGER).code == 0
    orphans = command("webhook", "list", "--orphans", "--json", *LEDGER)
    assert [one["activation_id"] for one in json.loads(orphans.out)] == ["42", "44"]


def test_webhooks_are_purged_with_the_rest(command, tmp_path) -> None:
    """Retention concerns them as well."""
    fill(tmp_path)
    command("ledger", "purge", "--older-than", "1h", *LEDGER)
    assert "3 webhooks" in command("webhook", "list", *LEDGER).out
    command("ledger", "purge", "--older-than", "0h", *LEDGER)
    assert command("webhook", "list", *LEDGER).out == "no webhooks\n"


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("--webhook-listen", "nonsense"), "--webhook-listen takes HOST:PORT"),
        (("--webhook-listen", "127.0.0.1:99999"), "--webhook-listen takes HOST:PORT"),
        (("--webhook-listen", "1:2:3"), "--webhook-listen takes HOST:PORT"),
        (("--webhook-trust", "payload"), "need --webhook-listen or --webhook-inbox"),
        (("--webhook-allow", "10.0.0.1"), "need --webhook-listen or --webhook-inbox"),
        (("--webhook-listen", "80", "--webhook-inbox"), "leave --webhook-inbox out"),
        (("--webhook-inbox", "--webhook-allow", "10.0.0.1"), "the process that listens"),
        (("--webhook-listen", "80", "--webhook-allow", "x"), "neither an IP address nor"),
        (
            ("--webhook-listen", "80", "--webhook-proxy", "10.0.0.1"),
            "together with --webhook-allow",
        ),
        (("--webhook-inbox", "--database", "none"), "needs a ledger"),
    ],
)
def test_options_that_can_not_be_used_are_one_sentence(command, jobs, args, sentence) -> None:
    """And nothing is bought."""
    ended = command("run", jobs, *args)
    assert ended.code == 2
    (said,) = ended.sentences
    assert sentence in said


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PAPSMS_WEBHOOK_SECRET", "short"),
        ("PAPSMS_WEBHOOK_SECRET", f"{SECRET},{SECRET[1:]},{SECRET[2:]}"),
        ("PAPSMS_WEBHOOK_SIGNING_SECRET", "nonsense!"),
    ],
)
def test_secrets_that_can_not_be_used_are_one_sentence(
    command, jobs, monkeypatch, variable, value
) -> None:
    """Without the secret in it."""
    monkeypatch.setenv(variable, value)
    ended = command("run", jobs, "--webhook-listen", "0")
    assert ended.code == 2
    (said,) = ended.sentences
    assert value not in said


async def test_port_that_is_taken_is_one_sentence(service, run, jobs, environment) -> None:
    """Nothing is bought, and the exit status says so."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for args in (
            ("run", jobs, "--webhook-listen", address),
            ("webhook", "serve", "--listen", address),
        ):
            ended = await run(*args)
            assert ended.code == 2
            assert f"papsms: can't listen on {address}: the port is in use" in ended.sentences
    assert service.charge_log == []


def test_dry_run_tells_of_webhooks(command, jobs) -> None:
    """Where they come, how they are taken, and how many requests that makes."""
    ended = command("run", jobs, "--dry-run", "--webhook-listen", "8086")
    assert "webhooks    at 127.0.0.1:8086, each confirmed" in ended.out
    assert "30 requests" in ended.out
    args = ("--webhook-inbox", "--webhook-trust", "payload", *LEDGER)
    ended = command("run", jobs, "--dry-run", *args)
    assert "webhooks    from the ledger's inbox, taken at their word" in ended.out
    assert "20 requests" in ended.out


def test_serve_needs_a_ledger(command) -> None:
    """In memory webhooks would be for nobody."""
    ended = command("webhook", "serve", "--database", "none")
    assert ended.code == 2
    assert ended.sentences == ["papsms: webhooks are kept in a ledger; name one with --database"]
