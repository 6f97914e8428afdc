"""Power cuts on SQLite: what was acknowledged is there afterwards, and the file is intact."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from crashlab.disk import ForgetfulDisk
from crashlab.filetrace import Create, Sync, Truncate, Unlink, Write
from crashlab.powercut import Cuts, cut_everywhere, traced_run


@pytest.fixture
def strace() -> None:
    """The test needs strace; where ``PAPSMS_REQUIRE_STRACE`` is 1 it must be there."""
    if shutil.which("strace") is None and os.environ.get("PAPSMS_REQUIRE_STRACE") != "1":
        pytest.skip("strace is not installed: power cuts can't be simulated")


async def _cut(disk: Path, left: Path, seed: int, *, lives: int, cuts: int, **options: Any) -> Cuts:
    steps = await traced_run(disk, lives=lives, seed=seed, **options)
    found = cut_everywhere(steps, left, seed=seed, cuts=cuts)
    print(found.cuts, found.acknowledged, len(found.lost), found.kinds)  # noqa: T201
    assert found.cuts >= cuts
    assert found.acknowledged >= 2.5 * lives
    return found


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("wal", [None, False, True])
async def test_a_power_cut_loses_nothing_acknowledged(
    disk: Path, tmp_path: Path, seed: int, wal: bool | None
) -> None:
    """With the ledger's settings every write that returned survives, and the file is intact."""
    found = await _cut(disk, tmp_path, seed, lives=40, cuts=400, wal=wal)
    assert not found.lost, f"PAPSMS_CRASH_SEED={seed}"
    assert not found.damaged, f"PAPSMS_CRASH_SEED={seed}"


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize(
    ("wal", "pragma"),
    [
        (True, "synchronous=NORMAL"),
        (False, "synchronous=FULL"),
        (False, "synchronous=OFF"),
    ],
)
async def test_weaker_settings_are_found_out(
    disk: Path, tmp_path: Path, seed: int, wal: bool, pragma: str
) -> None:
    """Each weaker setting loses acknowledged writes, so the test above can fail."""
    found = await _cut(disk, tmp_path, seed, lives=12, cuts=120, wal=wal, pragmas=(pragma,))
    assert any("intent of" in lost for lost in found.lost), f"PAPSMS_CRASH_SEED={seed}"


@pytest.mark.usefixtures("strace")
async def test_everything_that_is_written_is_traced(disk: Path) -> None:
    """The files that the model ends with are those on the disk, byte for byte."""
    import random

    steps = await traced_run(disk, lives=10, seed=1, wal=False)
    model = ForgetfulDisk()
    for step in steps:
        model.apply(step)
    model.apply(Sync(""))
    model.apply(Sync("ledger.db"))
    left = model.cut(random.Random(0), survival=0.0)
    assert left == {path.name: path.read_bytes() for path in (disk / "data").iterdir()}


class TestForgetfulDisk:
    """The model of the disk, where the outcome is certain."""

    @staticmethod
    def left(*steps: Any, survival: float = 0.0) -> dict[str, bytes]:
        """Return what is left after steps and a cut."""
        import random

        disk = ForgetfulDisk()
        for step in steps:
            disk.apply(step)
        return disk.cut(random.Random(0), survival=survival)

    def test_a_name_is_lost_without_a_sync_of_its_directory(self) -> None:
        """Syncing the file alone does not keep it."""
        steps = Create("a"), Write("a", 0, b"x"), Sync("a")
        assert self.left(*steps) == {}
        assert self.left(*steps, Sync("")) == {"a": b"x"}

    def test_what_was_not_synced_is_lost(self) -> None:
        """Only writes before the last sync survive, at their places."""
        steps = Create("a"), Sync(""), Write("a", 2, b"xy"), Sync("a"), Write("a", 3, b"z")
        assert self.left(*steps) == {"a": b"\0\0xy"}

    def test_a_deleted_file_comes_back_without_a_sync_of_its_directory(self) -> None:
        """That is how a journal that was deleted undoes a commit."""
        steps = Create("a"), Write("a", 0, b"x"), Sync("a"), Sync(""), Unlink("a")
        assert self.left(*steps) == {"a": b"x"}
        assert self.left(*steps, Sync("")) == {}

    def test_a_file_can_be_cut_off_and_made_anew(self) -> None:
        """A new file of an old name is another file."""
        steps = (Create("a"), Sync(""), Write("a", 0, b"abc"), Truncate("a", 1), Sync("a"))
        assert self.left(*steps) == {"a": b"a"}
        again = (Unlink("a"), Create("a"), Write("a", 0, b"new"), Sync("a"))
        assert self.left(*steps, *again) == {"a": b"a"}
        assert self.left(*steps, *again, Sync("")) == {"a": b"new"}

    def test_unsynced_writes_may_survive(self) -> None:
        """Then all of them can be there."""
        steps = Create("a"), Sync(""), Write("a", 0, b"x")
        assert self.left(*steps, survival=1.0)["a"] in (b"x", b"")
