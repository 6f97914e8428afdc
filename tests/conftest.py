"""Fixtures for more than one module of tests."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aioresponses import aioresponses
from hypothesis import settings

DISK = tempfile.gettempdir()
MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux has one
ROOM = 1 << 30

# Thousands of ledgers are made, each for a moment: where there is a file system in memory they are
# put there, for on a disk the tests would mostly wait for it. What is tested of power cuts is not.
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
    tempfile.tempdir = str(MEMORY)

# Tools of several modules of tests, in processes of their own too: packages beside the tests.
sys.path.insert(0, str(Path(__file__).parent / "tools"))

from zygote import Zygote  # noqa: E402 - found there

# How long an example takes says more of the machine than of the code.
settings.register_profile("papsms", deadline=None)
settings.load_profile("papsms")

# Started in the background, as by `pytest &` in a script, a process ignores SIGINT, and so would
# every process that it starts: the tests of Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


MOST_WORKERS = 4
"""More of them would use up the connections of a PostgreSQL server as it comes."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Spread the whole suite over the processors; a few tests that are picked start sooner here."""
    option = config.option
    picked = config.args_source is pytest.Config.ArgsSource.ARGS
    if picked or option.keyword or option.markexpr or getattr(option, "lf", False):
        return 0
    processors = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    # One more than there are: many tests wait for other processes.
    return min(processors + 1, MOST_WORKERS) if processors > 1 else 0


def pytest_collection_finish() -> None:
    """Let no garbage collection walk through thousands of tests and all that they import."""
    gc.collect()
    gc.freeze()


class MockedResponse(aiohttp.ClientResponse):
    """What aioresponses 0.7 must build since aiohttp 3.14 wants a ``stream_writer``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "stream_writer" in inspect.signature(aiohttp.ClientResponse).parameters:
            kwargs.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*args, **kwargs)


class Mocked(aioresponses):  # type: ignore[misc]
    """aioresponses that builds responses which the installed aiohttp accepts."""

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Add an answer; see `aioresponses.aioresponses.add`."""
        kwargs.setdefault("response_class", MockedResponse)
        super().add(*args, **kwargs)


@pytest.fixture
def mocked_aiohttp() -> Iterator[aioresponses]:
    """Answer aiohttp's requests without a server."""
    with Mocked() as mocked:
        yield mocked


@pytest.fixture
def disk() -> Iterator[Path]:
    """An empty directory that is not in memory."""
    with tempfile.TemporaryDirectory(dir=DISK) as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """What starts Python processes in milliseconds."""
    if sys.platform != "linux":
        pytest.skip("processes are forked as only Linux can")
    with Zygote([Path(__file__).parent / "crash"], ["crashlab.worker"]) as running:
        yield running


def _execute(address: str, statement: str) -> None:
    """Run one statement, wherever the caller is: its thread may have a running loop."""
    import asyncpg

    async def run() -> None:
        connection = await asyncpg.connect(address)
        await connection.execute(statement)
        await connection.close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, run()).result()


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """The address of an empty schema of its own, dropped after the test."""
    address = os.environ.get("PAPSMS_TEST_POSTGRES")
    if not address:
        pytest.skip("PAPSMS_TEST_POSTGRES is unset: no PostgreSQL server to test against")
    address = address.replace("postgresql+asyncpg://", "postgresql://")
    schema = f"papsms_test_{uuid.uuid4().hex[:12]}"
    _execute(address, f"CREATE SCHEMA {schema}")
    yield f"{address}{'&' if '?' in address else '?'}search_path={schema}"
    _execute(address, f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The address of an SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """The address of an empty database, for every durable kind."""
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
