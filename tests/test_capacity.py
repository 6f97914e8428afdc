"""What a limit gives, worked out beforehand, is what theory and the frontier say."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from papsms_async import RateLimit
from papsms_async.capacity import capacities
from papsms_async.cli.app import papsms
from papsms_async.delays import DelayLaw

FIRST = DelayLaw.lognormal(12.0, 0.8, 0.08)


def test_ceiling_by_webhook() -> None:
    """Two requests each and one last look for what never comes: 25 of 57 a minute complete."""
    trusted = capacities(RateLimit(60, 60), FIRST, timeout=120.0)[-1]
    comes = 1 - FIRST.survival(120.0)
    assert trusted.per_minute == pytest.approx(60 * 58 / 61 * comes / (3 - comes))
    assert trusted.delay == 0.0


def test_polling_is_on_the_frontier() -> None:
    """Each objective's point lies on the frontier that dynamic programming gives."""
    latency, balanced, throughput = capacities(RateLimit(60, 60), FIRST, timeout=120.0)[:3]
    assert latency.per_minute == pytest.approx(11.4, abs=0.3)
    assert latency.delay == pytest.approx(4.9, abs=0.3)
    assert balanced.per_minute == pytest.approx(15.5, abs=0.2)
    assert balanced.delay == pytest.approx(14.8, abs=1.0)
    assert throughput.per_minute > 16.4


def test_the_limit_is_all_that_counts() -> None:
    """Twice the limit gives about twice as many, each seen as late as before."""
    one, two = (capacities(RateLimit(n, 60), FIRST, timeout=120.0) for n in (60, 120))
    for before, after in zip(one, two, strict=True):
        assert after.per_minute == pytest.approx(2 * before.per_minute, rel=0.02)
        assert after.delay == before.delay
        assert after.in_flight == pytest.approx(2 * before.in_flight, rel=0.02)


def test_command_prints_a_row_a_way() -> None:
    """``papsms plan`` shows each way of working, as a table or as JSON Lines."""
    table = CliRunner().invoke(papsms, ["plan", "--limit", "120/60s"])
    assert table.exit_code == 0
    assert "webhook, trusted" in table.output
    assert max(map(len, table.output.splitlines())) <= 80
    lines = CliRunner().invoke(papsms, ["plan", "--json"]).output.splitlines()
    assert json.loads(lines[0])["way"] == "polling, latency"
    assert len(lines) == 5


def test_command_refuses_a_wrong_limit() -> None:
    """One sentence says how a limit is written."""
    ended = CliRunner().invoke(papsms, ["plan", "--limit", "many"])
    assert ended.exit_code != 0
