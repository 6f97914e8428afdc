"""Four processes on one PostgreSQL ledger, killed and stopped while the others go on."""

from __future__ import annotations

from functools import partial

import pytest
from crashlab.campaign import Databases, end_transactions
from crashlab.fleet import fleet, stop_past_lease
from crashlab.zygote import Zygote

INTENTS = 2000


async def test_a_fleet_that_is_killed_and_stopped_loses_nothing(
    zygote: Zygote, postgresql: Databases, seed: int
) -> None:
    """Thousands of intents of four harassed processes end once, and as the ledger says."""
    async with postgresql() as database:
        verdict, causes = await fleet(zygote, database, seed=seed, intents=INTENTS)
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
        (None, "purchase"),
        (None, "status"),
        (None, "finish"),
    ],
)
async def test_a_process_that_wakes_up_after_its_lease_changes_nothing(
    zygote: Zygote, postgresql: Databases, crash: str | None, route: str | None, seed: int
) -> None:
    """What others settled while it slept stays, and it finishes nothing otherwise than they did."""
    async with postgresql() as database:
        awakening = await stop_past_lease(
            zygote,
            database,
            crash=crash,
            route=route,
            seed=seed,
            unlock=partial(end_transactions, database),
        )
    assert awakening.before.entries
    assert not awakening.changed(), f"PAPSMS_CRASH_SEED={seed}"
    assert not awakening.contradicted(), f"PAPSMS_CRASH_SEED={seed}"
    if crash is not None and crash.startswith(("move.keep:after", "move.release:after")):
        # Its debt was durable, its payment not begun: it must look at its lease before it pays.
        assert awakening.struck_on is not None
        assert not awakening.late(), f"PAPSMS_CRASH_SEED={seed}"
    assert not awakening.problems, f"PAPSMS_CRASH_SEED={seed}"
