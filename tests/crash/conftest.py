"""Fixtures of the crash tests: the tools of `crashlab`, workers, and databases."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

# Tools of several modules, in processes of their own too: a package beside the tests.
sys.path.insert(0, str(Path(__file__).parent))

from crashlab.campaign import Databases, postgres_schemas, sqlite_file
from crashlab.crew import Crew
from zygote import Zygote


@pytest.fixture
async def crew(zygote: Zygote, tmp_path: Path) -> AsyncIterator[Crew]:
    """What starts workers; what they complain of is shown on failure."""
    errors = tmp_path / "errors"
    async with Crew(zygote, errors) as starting:
        yield starting
    print(errors.read_text()[-4000:])  # noqa: T201 - pytest shows it where a test failed


@pytest.fixture
def postgresql() -> Databases:
    """Schemas of their own on the PostgreSQL server."""
    server = os.environ.get("PAPSMS_TEST_POSTGRES")
    if not server:
        pytest.skip("PAPSMS_TEST_POSTGRES is unset: no PostgreSQL server to test against")
    return postgres_schemas(server)


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest) -> Databases:
    """Fresh databases, of every durable kind."""
    if request.param == "sqlite":
        return sqlite_file
    return request.getfixturevalue("postgresql")


@pytest.fixture
def seed() -> int:
    """The seed of everything that is drawn: a new one each run, ``PAPSMS_CRASH_SEED`` for an old.

    It is part of every message of a failure.
    """
    return int(os.environ.get("PAPSMS_CRASH_SEED") or random.SystemRandom().randrange(10**6))
