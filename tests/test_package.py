"""What the package as a whole promises: its names, what importing it costs, and the README."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import papsms_async

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


def run_python(code, *arguments, cwd=None):
    """Run ``code`` in a fresh interpreter and return what it printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PAPSMS_")}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_public_name_can_be_imported():
    """`__all__` and what the package gives agree."""
    for name in papsms_async.__all__:
        assert getattr(papsms_async, name) is not None
    assert set(papsms_async.__all__) == set(dir(papsms_async))
    with pytest.raises(AttributeError):
        _ = papsms_async.no_such_name


def test_import_loads_neither_command_line_nor_database():
    """Whoever uses the library does not pay for what it does not use."""
    loaded = run_python(
        "import sys, papsms_async\n"
        "from papsms_async import *\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    ).split()
    heavy = {"sqlalchemy", "aiosqlite", "asyncpg", "click", "rich", "dotenv", "sqlite3"}
    assert heavy.isdisjoint(loaded)
    bare = run_python("import sys, papsms_async; print(*sys.modules)").split()
    assert "aiohttp" not in bare


def python_examples():
    """Return the README's Python blocks that are whole programs."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    return [block for block in blocks if "asyncio.run" in block]


@pytest.mark.skipif(not README.exists(), reason="the README is not beside the tests")
def test_readme_example_runs_as_it_stands(tmp_path):
    """Pasted into a file and run, the example ends with a completed verification."""
    (example,) = python_examples()
    out = run_python(example, cwd=tmp_path)
    assert re.search(r"^signing up with \+\d+$", out, re.MULTILINE)
    assert re.search(r"^completed \d{6} 0\.50$", out, re.MULTILINE)
    assert (tmp_path / "papsms.db").exists()


@pytest.mark.skipif(not README.exists(), reason="the README is not beside the tests")
def test_readme_names_files_that_exist():
    """Files and folders that the README points to, those of its table among them, are there."""
    text = README.read_text()
    table = re.search(r"^\| files in `papsms_async/` \|.*?\n\n", text, re.MULTILINE | re.DOTALL)
    assert table
    named = re.findall(r"^\| (`[^|]+`) \|", table[0], re.MULTILINE)
    files = [f"papsms_async/{name}" for cell in named for name in re.findall(r"`([^`]+)`", cell)]
    files += re.findall(r"`(papsms_async/[\w/]+\.py)`", text)
    assert len(files) > 40
    assert [name for name in files if not list(ROOT.glob(name))] == []
