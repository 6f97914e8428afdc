"""The other commands, the help, and what loading them costs."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import click
import pytest
from click.testing import CliRunner

from papsms_async.cli.app import papsms
from papsms_async.cli.exit_codes import MEANINGS, PRECEDENCE, ExitCode, gravest
from papsms_async.sandbox import SandboxEngine

Run = Callable[..., Awaitable[Any]]
Serve = Callable[..., Awaitable[SandboxEngine]]


def test_help_names_every_exit_status() -> None:
    """The help documents each exit status, and each has its place in the precedence."""
    text = CliRunner().invoke(papsms, ["--help"]).output
    for code, meaning in MEANINGS.items():
        assert f"{code.value:>3}  {meaning}" in text
    assert set(MEANINGS) == set(PRECEDENCE) == set(ExitCode)
    assert max(map(len, text.splitlines())) <= 80


COMMANDS = papsms.list_commands(click.Context(papsms))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    """Each command explains itself, within 80 columns."""
    ended = CliRunner().invoke(papsms, [name, "--help"])
    assert ended.exit_code == 0
    assert len(ended.output.splitlines()) > 5
    assert max(map(len, ended.output.splitlines())) <= 80


def test_key_is_no_option() -> None:
    """No command that talks to the service takes the key on its command line."""
    for name in COMMANDS:
        command = papsms.get_command(click.Context(papsms), name)
        assert command is not None
        options = [option for parameter in command.params for option in parameter.opts]
        assert ("--api-key" in options) == (name == "sandbox")


def test_gravest_status_wins() -> None:
    """Where several statuses apply, what is owed comes first."""
    assert gravest() is ExitCode.OK
    assert gravest(ExitCode.OK, ExitCode.NOT_ALL_COMPLETED) is ExitCode.NOT_ALL_COMPLETED
    assert gravest(*ExitCode) is ExitCode.OWED
    assert gravest(ExitCode.INTERRUPTED, ExitCode.NOT_WRITABLE) is ExitCode.INTERRUPTED


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import papsms_async", {"click", "rich", "sqlalchemy", "dotenv"}),
        ("import papsms_async.cli", {"click", "rich", "sqlalchemy", "asyncio"}),
        ("import papsms_async.cli.app", {"rich", "sqlalchemy", "dotenv", "aiohttp"}),
        (
            "import papsms_async.cli.sandbox_command, papsms_async.sandbox.server",
            {
                "rich",
                "sqlalchemy",
                "papsms_async.client",
                "papsms_async.sandbox.openapi.document",
                "papsms_async.sandbox.recording",
            },
        ),
    ],
)
def test_nothing_is_loaded_in_vain(statement: str, absent: set[str]) -> None:
    """The library loads nothing of the command line, and that loads only what it needs."""
    code = f"{statement}; import sys; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    loaded = set(out.stdout.split())
    assert not absent & loaded


async def test_verify_by_hand(run: Run, service: SandboxEngine) -> None:
    """A person sees the number first, then the code."""
    ended = await run("verify", "test-instant", "gb", "--timeout", "3")
    assert ended.code == 0
    [activation] = service.activations.values()
    lines = ended.out.splitlines()
    assert lines[0].startswith(f"number   {activation.phone_number}  (test-instant, gb, $0.50, id ")
    assert lines[1] == "waiting  for the SMS, 3 s at most"
    assert lines[2] == f"code     {activation.sms_code}"
    assert lines[3] == f"text     {activation.sms_text}"
    assert lines[4].startswith("outcome  completed, $0.50, ")
    assert ended.err == ""


async def test_verify_by_a_program(run: Run, service: SandboxEngine) -> None:
    """With --json a program gets the number, the SMS and the result, line by line."""
    ended = await run(
        "verify", "test-instant", "zz", "--fallback", "us", "--timeout", "3", "--json"
    )
    assert ended.code == 0
    assert [r["event"] for r in ended.records] == ["purchased", "sms_received", "result"]
    assert {record["country"] for record in ended.records} == {"us"}


@pytest.mark.parametrize(
    ("arguments", "outcome", "sentence"),
    [
        (("test-never", "--timeout", "0.3"), "timed out", "no SMS came within 0.3 s"),
        (("whatsapp", "zz"), "no numbers", "the country has no number left"),
    ],
)
async def test_verify_that_fails(
    run: Run, service: SandboxEngine, arguments: tuple[str, ...], outcome: str, sentence: str
) -> None:
    """One that is not completed says why, and leaves no number open."""
    ended = await run("verify", *arguments)
    assert ended.code == 1
    assert f"outcome  {outcome}, $0.00" in ended.out
    assert ended.err.startswith(f"papsms: {sentence}")
    assert service.open_activations() == []


async def test_account_commands(run: Run, service: SandboxEngine) -> None:
    """Countries are listed; an activation is looked at, completed and cancelled by its id."""
    countries = await run("countries")
    assert "us  United States               from $0.15" in countries.out.splitlines()
    as_json = await run("countries", "--json")
    assert {"code": "us", "name": "United States"}.items() <= {
        r["code"]: r for r in as_json.records
    }["us"].items()
    assert (await run("status", "123")).code == 1
    assert (await run("cancel", "123")).code == 1


async def test_demo_ends_in_time_and_teaches(run: Run, environment: dict[str, str]) -> None:
    """The demo needs neither key nor network, ends within 20 s, and leaves no number open."""
    del environment["PAPSMS_API_KEY"]
    environment["PAPSMS_BASE_URL"] = "https://example.invalid/"
    async with asyncio.timeout(20):
        ended = await run("demo")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in ended.out + ended.err
    assert sum("test-n" in line or "completed" in line for line in lines[2:42]) >= 33
    for word in ("zz > us", "xx > gb", "no numbers", "timed out", "completed, no code"):
        assert any(word in line for line in lines), word
    text = ended.out
    assert "of 150 allowed; answers 429: 0" in text
    assert "numbers open  0: each one bought was finished exactly once" in text


async def test_sandbox_says_where_it_is(start: Any, run: Run, environment: dict[str, str]) -> None:
    """The sandbox prints its base URL once it listens, serves, and ends with a signal."""
    process = await start("sandbox", "--port", "0", "--api-key", "k1", "--api-key", "k2")
    first, inbox, second = [await process.line() for _ in range(3)]
    url = first.split()[3]
    assert first == f"PapSMS sandbox on {url} (Ctrl-C stops it)\n"
    assert inbox == f"  inbox in the browser: {url.removesuffix('api/v1/')}\n"
    assert second == f"  PAPSMS_BASE_URL={url} PAPSMS_API_KEY=k1 papsms verify whatsapp us\n"
    environment |= {"PAPSMS_BASE_URL": url, "PAPSMS_API_KEY": "k2"}
    assert (await run("countries")).code == 0
    environment["PAPSMS_API_KEY"] = "sandbox"
    assert (await run("countries")).code == 3
    taken = await run("sandbox", "--port", url.split(":")[2].split("/")[0])
    assert taken.code == 2
    assert taken.err.endswith(": the port is in use, try --port 0\n")
    process.signal(2)
    assert (await process.end()).code == 0


async def test_sandbox_opens_its_inbox(
    start: Any, environment: dict[str, str], tmp_path: Path
) -> None:
    """`--open` gives the page's address to the browser, `--allow-host` a name to the sandbox."""
    told = tmp_path / "told"
    os.mkfifo(told)
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {told}\n')
    browser.chmod(0o700)
    environment["BROWSER"] = f"{browser} %s"
    options = ("--host", "0.0.0.0", "--port", "0", "--open")  # noqa: S104 - all of this machine
    process = await start("sandbox", *options, "--allow-host", "papsms.example.com")
    port = (await process.line()).split(":")[2].split("/")[0]
    url = (await asyncio.to_thread(told.read_text)).strip()
    assert url == f"http://127.0.0.1:{port}/"
    async with aiohttp.ClientSession() as session:
        for name, status in (("papsms.example.com", 200), ("evil.example.com", 403)):
            async with session.get(url, headers={"Host": name}) as answer:
                assert answer.status == status
    process.signal(2)
    assert (await process.end()).code == 0


async def test_sandbox_posts_webhooks(start: Any) -> None:
    """With a URL the sandbox tells of each SMS by a POST."""
    received: asyncio.Queue[bytes] = asyncio.Queue()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.put_nowait(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(receive, "127.0.0.1", 0) as receiver:
        port = receiver.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}/hook/s3cret"
        faults = ("--webhook-fault", "loss#2-", "--webhook-fault", "late=0-0.1")
        process = await start("sandbox", "--port", "0", "--webhook-url", url, *faults)
        base_url = (await process.line()).split()[3]
        async with aiohttp.ClientSession(headers={"Authorization": "Bearer sandbox"}) as session:
            body = {"country": "us", "service": "test-instant"}
            for _ in range(2):
                async with session.post(base_url + "numbers/purchase", json=body) as answer:
                    assert answer.status == 200
            head = await asyncio.wait_for(received.get(), 10)
            async with session.get(base_url.removesuffix("api/v1/") + "_sandbox/webhooks") as log:
                kinds = [entry["kind"] for entry in (await log.json())["webhooks"]]
    assert head.startswith(b"POST /hook/s3cret HTTP/1.1\r\n")
    assert "lost" in kinds
    process.signal(2)
    assert (await process.end()).code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("--limit", "x"),
        ("--fault", "x"),
        ("--delay", "x"),
        ("--balance", "x"),
        ("--port", "99999"),
        ("--lifetime", "nan"),
        ("--webhook-url", "ftp://127.0.0.1/x"),
        ("--webhook-url", "http://192.0.2.1/x"),
        ("--webhook-url", "http://127.0.0.1/x", "--webhook-secret", "x"),
        ("--webhook-secret", "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"),
        ("--webhook-url", "http://127.0.0.1/x", "--webhook-fault", "lost"),
        ("--webhook-fault", "loss"),
        ("--twilio-account", "ACme"),
    ],
)
async def test_sandbox_with_bad_options(run: Run, arguments: tuple[str, ...]) -> None:
    """An option that can't be used is one sentence."""
    ended = await run("sandbox", "--port", "0", *arguments)
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1


async def test_live_progress_on_a_terminal(
    start: Any, service: SandboxEngine, tmp_path: Path
) -> None:
    """On a terminal a bar is painted on standard error, and results stay on standard output."""
    (tmp_path / "jobs.csv").write_text("service\n" + "test-instant\n" * 5)
    ours, theirs = pty.openpty()
    process = await start("run", "jobs.csv", "--timeout", "3", stderr=theirs)
    os.close(theirs)
    painted = bytearray()

    def read() -> None:
        try:
            while chunk := os.read(ours, 65_536):
                painted.extend(chunk)
        except OSError:  # how a terminal says that its other side is gone
            return

    reader = asyncio.create_task(asyncio.to_thread(read))
    ended = await process.end()
    await reader
    os.close(ours)
    assert ended.code == 0
    assert [json.loads(line)["outcome"] for line in ended.out.splitlines()] == ["completed"] * 5
    text = painted.decode()
    assert "━" in text
    assert "in flight" in text
    assert "quota" in text
    assert "papsms: completed 5 | spent $2.50" in text
