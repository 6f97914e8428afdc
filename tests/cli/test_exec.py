"""``--exec``: a command drives the verification, and its exit status decides."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from papsms_async.cli.exec_flow import split_command
from papsms_async.cli.failures import CommandError
from papsms_async.sandbox import SandboxEngine

Run = Callable[..., Awaitable[Any]]

CHILD = """
import json, os, sys
told = [json.loads(line) for line in sys.stdin]
environment = {k: v for k, v in os.environ.items() if k.startswith("PAPSMS_")}
with open(os.environ["PAPSMS_REFERENCE"] + ".told", "w") as file:
    json.dump([told, environment], file)
print("a word of the child")
sys.exit(int(sys.argv[1]))
"""


GRACE = 0.5
"""Seconds that a command has after a timeout; in earnest they are more."""


@pytest.fixture
def verify(run: Run, tmp_path: Path) -> Run:
    """Return what runs one job with a command; the arguments are those of `papsms run`."""
    (tmp_path / "child.py").write_text(CHILD)

    async def one(service: str, *args: str) -> Any:
        (tmp_path / "jobs.csv").write_text(f"service,reference,sms_timeout\n{service},ref,1\n")
        settings = {"papsms_async.cli.exec_flow:TIMEOUT_GRACE": GRACE}
        return await run(
            "run", "jobs.csv", "--no-progress", "--timeout", "1", *args, settings=settings
        )

    return one


async def test_command_is_told_number_and_sms(
    verify: Run, service: SandboxEngine, environment: dict[str, str], tmp_path: Path
) -> None:
    """It gets both on its input, the number in its environment, and never a secret."""
    environment["PAPSMS_DATABASE"] = "ledger.db"
    ended = await verify("test-instant", "--exec", "python3 child.py 0")
    assert ended.code == 0
    [record] = ended.records
    assert (record["outcome"], record["exec_status"]) == ("completed", 0)
    assert ended.err == "a word of the child\n"
    told, inside = json.loads((tmp_path / "ref.told").read_text())
    [activation] = service.activations.values()
    assert [line["event"] for line in told] == ["number", "sms"]
    assert told[0]["phone_number"] == activation.phone_number
    assert (told[1]["code"], told[1]["full_text"]) == (activation.sms_code, activation.sms_text)
    assert inside["PAPSMS_PHONE_NUMBER"] == activation.phone_number
    assert inside["PAPSMS_ACTIVATION_ID"] == activation.activation_id
    assert inside["PAPSMS_SERVICE"] == "test-instant"
    assert inside["PAPSMS_COUNTRY"] == "us"
    assert "PAPSMS_API_KEY" not in inside
    assert "PAPSMS_DATABASE" not in inside


@pytest.mark.parametrize(
    ("service_name", "command", "outcome", "status", "left"),
    [
        ("test-instant", "python3 child.py 3", "cancelled", 3, "completed"),
        ("test-never", "true", "cancelled", 0, "cancelled"),
        ("test-never", "sh -c 'exit 4'", "cancelled", 4, "cancelled"),
        ("test-never", "python3 child.py 0", "timed_out", None, "cancelled"),
        ("test-instant", f"sh -c 'exec 0<&-; sleep {2 * GRACE}'", "completed", 0, "completed"),
    ],
)
async def test_exit_status_decides(
    verify: Run,
    service: SandboxEngine,
    service_name: str,
    command: str,
    outcome: str,
    status: int | None,
    left: str,
) -> None:
    """Only an SMS and exit status 0 make it completed; else the number is given back."""
    ended = await verify(service_name, "--exec", command)
    [record] = ended.records
    assert (record["outcome"], record.get("exec_status")) == (outcome, status)
    assert ended.code == (0 if outcome == "completed" else 1)
    [activation] = service.activations.values()
    # With an SMS the service charges, whatever was wanted; it is finished all the same.
    assert activation.ended == left
    assert activation.finishes == 1


async def test_timeout_is_told(verify: Run, service: SandboxEngine, tmp_path: Path) -> None:
    """A command learns that no SMS came."""
    await verify("test-never", "--exec", "python3 child.py 0")
    told, _ = json.loads((tmp_path / "ref.told").read_text())
    assert [line["event"] for line in told] == ["number", "timeout"]


@pytest.mark.parametrize(("status", "outcome"), [(0, "completed"), (5, "cancelled")])
async def test_command_after_the_sms(
    verify: Run, service: SandboxEngine, tmp_path: Path, status: int, outcome: str
) -> None:
    """A second command has the code in its environment, and decides after the first."""
    second = f"python3 child.py {status}"
    ended = await verify("test-delay-0.3", "--exec", "true", "--exec-after-sms", second)
    [record] = ended.records
    assert (record["outcome"], record["exec_status"]) == (outcome, status)
    [activation] = service.activations.values()
    _, inside = json.loads((tmp_path / "ref.told").read_text())
    assert inside["PAPSMS_CODE"] == activation.sms_code
    assert inside["PAPSMS_SMS_TEXT"] == activation.sms_text


async def test_command_that_never_ends_is_ended(verify: Run, service: SandboxEngine) -> None:
    """After its time a command is terminated and the verification is not completed."""
    ended = await verify("test-instant", "--exec", "sleep 1000", "--exec-timeout", "0.2")
    [record] = ended.records
    assert (record["outcome"], record["exec_status"]) == ("cancelled", None)
    assert service.open_activations() == []


@pytest.mark.parametrize("text", ["", "''", "'", "no-such-command-here x", "a\0b"])
def test_command_that_cannot_start_is_found_before(text: str) -> None:
    """What can't be started is told before anything is bought."""
    with pytest.raises(CommandError, match="--exec"):
        split_command("--exec", text)
