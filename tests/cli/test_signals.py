"""Ctrl-C at any moment: one sentence, the right exit status, and no number left open."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from papsms_async.sandbox import SandboxEngine

Serve = Callable[..., Awaitable[SandboxEngine]]


@pytest.fixture
def jobs(tmp_path: Path) -> str:
    """Return the name of a file with 60 rows."""
    rows = "\n".join(f"whatsapp,us,{n}" for n in range(60))
    (tmp_path / "jobs.csv").write_text(f"service,country,reference\n{rows}\n")
    return "jobs.csv"


def runs(pid: str) -> bool:
    """Whether a process still runs; one that only waits to be reaped does not."""
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().split()[2] != "Z"


async def until_bought(process: Any, count: int) -> None:
    """Wait until ``count`` numbers were bought, told by the events."""
    while count:
        count -= json.loads(await process.line())["event"] == "purchased"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_first_signal_releases_all(start: Any, serve: Serve, jobs: str, number: int) -> None:
    """After the first signal nothing is bought, every number is released, and it says so."""
    engine = await serve(sms_delay="never")
    process = await start("run", jobs, "--events", "--drain", "0", "--max-in-flight", "20")
    await until_bought(process, 20)
    process.signal(number)
    ended = await process.end()
    assert ended.code == 130, ended.err
    assert "papsms: interrupted; 20 numbers released; 40 rows not begun" in ended.err
    assert engine.open_activations() == []
    assert len(engine.activations) == 20
    assert sum(record["event"] == "result" for record in ended.records) == 20


async def test_running_verifications_may_end(start: Any, serve: Serve, jobs: str) -> None:
    """What gets its SMS within the drain is completed, although it was interrupted."""
    engine = await serve(sms_delay="fixed:0.7")
    process = await start(
        "run", jobs, "--events", "--drain", "10", "--max-in-flight", "5", "--timeout", "5"
    )
    await until_bought(process, 5)
    process.signal(signal.SIGINT)
    ended = await process.end()
    assert ended.code == 130
    outcomes = [r["outcome"] for r in ended.records if r["event"] == "result"]
    assert set(outcomes) == {"completed"}
    assert engine.open_activations() == []
    assert len(engine.activations) < 60


async def test_second_signal_leaves_and_names_what_is_owed(
    start: Any, serve: Serve, jobs: str
) -> None:
    """The second signal leaves at once, and every number that is open is named."""
    engine = await serve(sms_delay="never")
    process = await start("run", jobs, "--events", "--drain", "3600", "--max-in-flight", "5")
    await until_bought(process, 5)
    process.signal(signal.SIGINT)
    assert "5 verifications have 3600 s to end" in await process.line(err=True)
    process.signal(signal.SIGINT)
    ended = await process.end()
    assert ended.code == 7
    assert ended.err.startswith("papsms: left at once; 5 activations not finished: ")
    for activation in engine.open_activations():
        assert activation.activation_id in ended.err


async def test_what_the_service_refuses_to_finish_is_owed(
    start: Any, serve: Serve, jobs: str
) -> None:
    """A finish that hangs keeps it waiting; a second signal ends that too, with the ids."""
    await serve(sms_delay="never", faults="finish:hang")
    process = await start("run", jobs, "--events", "--drain", "0", "--max-in-flight", "3")
    await until_bought(process, 3)
    process.signal(signal.SIGTERM)
    assert await process.line(err=True) == "papsms: finishing 3 numbers ...\n"
    process.signal(signal.SIGTERM)
    ended = await process.end()
    assert ended.code == 7
    assert "3 activations not finished" in ended.err


async def test_commands_are_ended_too(start: Any, serve: Serve, jobs: str, tmp_path: Path) -> None:
    """A command that drives a verification does not outlive it, nor does what it started."""
    engine = await serve(sms_delay="never")
    (tmp_path / "hang.sh").write_text('sleep 1000 &\necho "$! $$" >> pids\nwait\n')
    process = await start(
        "run", jobs, "--drain", "0", "--max-in-flight", "2", "--exec", "sh hang.sh", "--events"
    )
    await until_bought(process, 2)
    async with asyncio.timeout(10):
        while not (tmp_path / "pids").exists() or (tmp_path / "pids").read_text().count("\n") < 2:
            await asyncio.sleep(0.01)
    process.signal(signal.SIGINT)
    ended = await process.end()
    assert ended.code == 130
    assert engine.open_activations() == []
    assert [pid for pid in (tmp_path / "pids").read_text().split() if runs(pid)] == []


@pytest.mark.parametrize("seconds", [0.0, 0.03, 0.06, 0.1, 0.2, 0.4])
async def test_early_signal_shows_no_traceback(
    start: Any, serve: Serve, jobs: str, seconds: float
) -> None:
    """Ctrl-C while it starts ends it in order, whatever is loaded already."""
    engine = await serve(sms_delay="never")
    process = await start("run", jobs, "--drain", "0", new=True)
    # Any moment of the start will do; what matters is that there are several.
    await asyncio.sleep(seconds)
    process.signal(signal.SIGINT)
    _, err = await process.process.communicate()
    assert engine.open_activations() == []
    # Before the first line of ours has run, Python itself ends as it does for any program.
    ours = re.search(rb'papsms_async/cli/(entry|__init__)\.py", line \d+, in (run|main)\b', err)
    assert process.process.returncode == 130 or not ours


async def test_interrupted_while_it_reads(start: Any, service: SandboxEngine) -> None:
    """Ctrl-C while standard input is awaited is no traceback either."""
    process = await start("run", "-", "--stream", "--no-progress", "--timeout", "3")
    process.process.stdin.write(b"service\ntest-instant\n")
    assert json.loads(await process.line())["outcome"] == "completed"
    process.signal(signal.SIGINT)
    code = await process.process.wait()
    assert code == 130
    assert service.open_activations() == []
