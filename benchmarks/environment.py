"""What the benchmarks have around them: the machine, PostgreSQL, and servers of their own."""

from __future__ import annotations

import asyncio
import os
import platform
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

POSTGRES = os.environ.get("PAPSMS_TEST_POSTGRES")
"""URL of the PostgreSQL server to measure with, ``None`` to do without."""


def machine(*packages: str) -> str:
    """Return one line: processor, system, and versions of Python, SQLite and packages."""
    parts = [
        platform.machine(),
        f"{os.cpu_count()} cores",
        f"{platform.system()} {platform.release()}",
        f"Python {platform.python_version()}",
        f"SQLite {sqlite3.sqlite_version}",
    ]
    for package in ("papsms-async", *packages):
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            parts.append(f"no {package}")
    return ", ".join(parts)


@asynccontextmanager
async def postgres_schema(address: str) -> AsyncIterator[str]:
    """Give the URL of a schema of its own, which is dropped afterwards."""
    import asyncpg

    address = address.replace("postgresql+asyncpg://", "postgresql://")
    schema = f"papsms_benchmark_{uuid.uuid4().hex[:8]}"
    connection = await asyncpg.connect(address)
    await connection.execute(f"CREATE SCHEMA {schema}")
    try:
        yield f"{address}{'&' if '?' in address else '?'}search_path={schema}"
    finally:
        await connection.execute(f"DROP SCHEMA {schema} CASCADE")
        await connection.close()


@asynccontextmanager
async def server(script: str, option: str) -> AsyncIterator[str]:
    """Give the first line that a script prints, which is its address; end it afterwards.

    Args:
        script: A Python file.
        option: What makes it serve.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, option, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()
