"""`papsms sandbox --record`, `papsms replay`, `papsms sandbox --openapi`, as a user runs them."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio.to_thread
import pytest

from papsms_async.testing import replay

resource = pytest.importorskip("resource", reason="needs POSIX limits")


def get(url: str, key: str = "sandbox") -> int:
    """Ask for an address and return the answer's status."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.netloc, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", where.path, headers={"Authorization": f"Bearer {key}"})
        return connection.getresponse().status


async def base_url(process: Any) -> str:
    """Return the address that a sandbox says it listens on."""
    return str((await process.line()).split(" on ")[1].split(" ")[0])


async def test_a_killed_session_replays(start: Any, run: Any, tmp_path: Path) -> None:
    """A session is recorded whole up to a kill -9, for its owner alone, and replays."""
    process = await start("sandbox", "--port", "0", "--record", "a.jsonl", "--limit", "2/60s")
    url = await base_url(process)
    for status in (200, 404, 429):
        where = f"{url}numbers/status/1" if status == 404 else f"{url}countries"
        assert await anyio.to_thread.run_sync(get, where) == status
    process.signal(signal.SIGKILL)
    assert (await process.process.wait()) == -signal.SIGKILL
    recording = tmp_path / "a.jsonl"
    assert recording.stat().st_mode & 0o777 == 0o600
    assert replay(recording) == 3
    ended = await run("replay", "a.jsonl", "a.jsonl")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "a.jsonl: 3 answers, each as recorded\n" * 2
    recording.write_text(recording.read_text().replace("Too many", "So many"))
    ended = await run("replay", "a.jsonl")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("papsms: a.jsonl: line 4, ")
    assert "GET /api/v1/countries: another body\n  recorded: " in ended.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "can't read x.jsonl: no such file"),
        (b"", "x.jsonl: it is empty; make a recording with"),
        (b"hello\n", "x.jsonl: this is no recording"),
        (b"\xff\xff\n", "x.jsonl: this is no recording: it is not text"),
    ],
)
def test_what_cannot_be_replayed(
    command: Any, tmp_path: Path, content: bytes | None, said: str
) -> None:
    """A file that is missing or no recording is told in one sentence."""
    if content is not None:
        (tmp_path / "x.jsonl").write_bytes(content)
    ended = command("replay", "x.jsonl")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"papsms: {said}")
    assert ended.err.count("\n") == 1


def test_a_recording_is_not_overwritten(command: Any, tmp_path: Path) -> None:
    """A file that exists is left alone without --force, and no file is left of a false start."""
    (tmp_path / "old.jsonl").write_text("old")
    ended = command("sandbox", "--port", "0", "--record", "old.jsonl")
    assert ended.code == 6
    assert "--force" in ended.err
    assert (tmp_path / "old.jsonl").read_text() == "old"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = command("sandbox", "--port", port, "--record", "new.jsonl")
    assert "the port is in use" in ended.err
    assert not (tmp_path / "new.jsonl").exists()
    ended = command("sandbox", "--port", "0", "--record", "-")
    assert (ended.code, "--record needs a file" in ended.err) == (2, True)


async def test_a_full_disk_ends_the_session(start: Any, tmp_path: Path) -> None:
    """A recording that cannot go on ends the sandbox, and what is in the file replays."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    record = ("--port", "0", "--record", "a.jsonl")
    process = await start("sandbox", *record, new=True, preexec_fn=limit)
    url = await base_url(process)
    answered = 0
    with contextlib.suppress(OSError, http.client.HTTPException):
        for _ in range(10):
            assert await anyio.to_thread.run_sync(get, f"{url}countries") == 200
            answered += 1
    ended = await process.end()
    assert ended.code == 6
    assert ended.err == "papsms: can't write a.jsonl: file too large\n"
    whole = (tmp_path / "a.jsonl").read_text().splitlines(keepends=True)[:-1]
    (tmp_path / "b.jsonl").write_text("".join(whole))
    assert replay(tmp_path / "b.jsonl") >= answered - 1 >= 0


def test_the_document_is_printed(command: Any) -> None:
    """--openapi prints the document and serves nothing."""
    ended = command("sandbox", "--openapi")
    assert (ended.code, ended.err) == (0, "")
    document = json.loads(ended.out)
    assert document["openapi"] == "3.1.0"
    assert "/api/v1/numbers/purchase" in document["paths"]
