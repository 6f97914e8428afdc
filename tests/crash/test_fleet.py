"""Four processes on one PostgreSQL ledger, killed and stopped while the others go on."""

from __future__ import annotations

import pytest
from crashlab.campaign import Databases
from crashlab.crew import Crew
from crashlab.fleet import Awakening, fleet, stop_past_lease

INTENTS = 2000


async def test_a_fleet_that_is_killed_and_stopped_loses_nothing(
    crew: Crew, postgresql: Databases, seed: int
) -> None:
    """Thousands of intents of four harassed processes end once, and as the ledger says."""
    async with postgresql() as database:
        verdict, causes = await fleet(crew, database, seed=seed, intents=INTENTS)
    print(verdict, dict(causes))  # noqa: T201 - shown by pytest -s, and where it failed
    assert not verdict.problems, f"PAPSMS_CRASH_SEED={seed}"
    assert verdict.intents >= INTENTS
    assert min(causes["killed"], causes["stopped"]) >= 5


@pytest.mark.parametrize(
    ("crash", "route"),
    [
        ("add:after:4:stop", None),
        ("move.bought:before:3:stop", None),
        ("move.sms:before:1:stop", None),
        ("move.keep:after:1:stop", None),
        ("move.release:after:1:stop", None),
        ("move.finished:before:1:stop", None),
        ("send.purchase:before:4:stop", None),
        ("send.finish:before:1:stop", None),
        ("send.finish:before:9:stop", None),
        (None, "purchase"),
        (None, "status"),
        (None, "finish"),
    ],
)
async def test_a_process_that_wakes_up_after_its_lease_changes_nothing(
    crew: Crew, postgresql: Databases, crash: str | None, route: str | None, seed: int
) -> None:
    """What others settled while it slept stays; it finishes and buys nothing of what it lost."""
    awakening = await _awakening(crew, postgresql, crash, route, seed)
    assert not awakening.meddled(), f"PAPSMS_CRASH_SEED={seed}"
    assert awakening.bought_in_vain() <= 0, f"PAPSMS_CRASH_SEED={seed}"


@pytest.mark.parametrize("route", ["purchase", "finish"])
async def test_a_stop_between_the_last_look_and_the_system_call_does_no_harm(
    crew: Crew, postgresql: Databases, route: str, seed: int
) -> None:
    """The one request that was past its last check leaves, and contradicts nobody."""
    awakening = await _awakening(crew, postgresql, f"send.{route}:after:4:stop", None, seed)
    late = len(awakening.meddled()), awakening.bought_in_vain()
    assert late == ((0, 1) if route == "purchase" else (1, 0)), f"PAPSMS_CRASH_SEED={seed}"


async def _awakening(
    crew: Crew, postgresql: Databases, crash: str | None, route: str | None, seed: int
) -> Awakening:
    async with postgresql() as database:
        awakening = await stop_past_lease(crew, database, crash=crash, route=route, seed=seed)
    assert awakening.before.entries
    assert not awakening.changed(), f"PAPSMS_CRASH_SEED={seed}"
    assert not awakening.problems, f"PAPSMS_CRASH_SEED={seed}"
    return awakening
