"""What was learned of SMS delays, in every ledger: kept, and merged between processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from papsms_async.delays import EDGES
from papsms_async.evidence import FORGOTTEN_AFTER, Evidence, merged
from papsms_async.learning import DelayModel
from papsms_async.ledger import Ledger
from papsms_async.ledger.schema import DELAYS

Opened = Callable[..., Any]


def learned(count: int, service: str = "whatsapp", country: str = "us", *, age: float = 6.0) -> Any:
    """Return what ``count`` SMS of one age teach."""
    model = DelayModel()
    for _ in range(count):
        model.observe(service, country, age=age, arrived=True, at=0.0)
    return model.snapshot(0.0)


def near(one: Evidence, other: Evidence) -> bool:
    """Whether two are the same to the digits that are kept."""
    return all(
        mine == pytest.approx(others, rel=1e-6, abs=2e-6)
        for mine, others in zip(
            (*one.events, *one.exposure, one.weight, one.seen, one.age),
            (*other.events, *other.exposure, other.weight, other.seen, other.age),
            strict=True,
        )
    )


async def test_what_was_added_is_there(ledger: Ledger, now) -> None:
    """All keys come back with their evidence, aged by the time that passed."""
    assert await ledger.delays.load(now=now) == {}
    await ledger.delays.add({}, now=now)
    news = learned(20)
    await ledger.delays.add(news, now=now)
    later = now + timedelta(hours=1)
    found = await ledger.delays.load(now=later)
    assert set(found) == {("whatsapp", "us"), ("whatsapp",), ()}
    for key, one in found.items():
        assert one.age == pytest.approx(3600.0)
        assert one.weight == pytest.approx(news[key].weight, rel=1e-6)
    model = DelayModel()
    model.restore(found, 0.0)
    assert model.law("whatsapp", "us").survival(7.0) < 0.5


async def test_additions_are_merged(ledger: Ledger, now) -> None:
    """The second addition does not put itself in the place of the first, whichever is newer."""
    first, second = learned(20), learned(5, "telegram")
    await ledger.delays.add(first, now=now)
    later = now + timedelta(seconds=100)
    await ledger.delays.add(second, now=later)
    found = await ledger.delays.load(now=later)
    assert set(found) == {*first, *second}
    old = first[()]
    expected = merged(
        Evidence(
            events=old.events, exposure=old.exposure, weight=old.weight, seen=old.seen, age=100.0
        ),
        second[()],
    )
    assert near(found[()], expected)
    # One whose clock is behind, or who was late to save.
    await ledger.delays.add(learned(3, "telegram"), now=now)
    again = await ledger.delays.load(now=later)
    assert again["telegram", "us"].seen == 8.0
    assert again["telegram", "us"].age == 0.0
    early = await ledger.delays.load(now=now)
    assert early["telegram", "us"].age == -100.0
    model = DelayModel()
    model.restore(early, 0.0)
    assert model.snapshot(0.0)["telegram", "us"].weight > 7.9


async def test_what_has_faded_is_forgotten(ledger: Ledger, now) -> None:
    """After days nothing of it is told, and with the next addition nothing of it is kept."""
    await ledger.delays.add(learned(20), now=now)
    later = now + timedelta(seconds=FORGOTTEN_AFTER + 1)
    assert await ledger.delays.load(now=later) == {}
    await ledger.delays.add(learned(1, "telegram"), now=later)
    assert set(await ledger.delays.load(now=now)) == {("telegram", "us"), ("telegram",), ()}


@pytest.mark.parametrize("service", ["O'Hara; --", "naïve \U0001f600", "a\0b", "\ud800", "x" * 100])
async def test_services_may_have_any_name(ledger: Ledger, now, service: str) -> None:
    """Whatever the service is called, it is kept, or begins cold; nothing fails."""
    await ledger.delays.add(learned(3, service), now=now)
    await ledger.delays.add(learned(4, service), now=now)
    found = await ledger.delays.load(now=now)
    assert found[()].seen == 7.0
    assert len(found) == 3


async def test_two_processes_add_up(database: str, opened: Opened, now) -> None:
    """Many additions at the same time, from two connections, are all in the sum."""
    ledgers = [await opened(database) for _ in range(2)]
    await asyncio.gather(
        *(
            ledgers[n % 2].delays.add(learned(1, "whatsapp", f"c{n % 5}"), now=now)
            for n in range(40)
        )
    )
    found = await ledgers[0].delays.load(now=now)
    assert found[()].seen == 40.0
    assert found["whatsapp",].seen == 40.0
    assert sum(found["whatsapp", f"c{n}"].seen for n in range(5)) == 40.0
    assert found[()].weight == pytest.approx(learned(40)[()].weight, rel=1e-4)


@pytest.mark.parametrize("text", ["", "rubbish", "{}", '{"version": 99}', "null"])
async def test_damaged_laws_are_ignored_and_learned_anew(
    database: str, opened: Opened, now, caplog, text: str
) -> None:
    """One line in the log tells of it; the rest is read, and the next save mends it."""
    ledger = await opened(database)
    await ledger.delays.add(learned(3), now=now)
    await ledger.delays.add(learned(3, "telegram"), now=now)
    rows = [{"service": "whatsapp", "country": "de", "at": now, "evidence": text}]
    await ledger._database.write(lambda batch: batch.connection.execute(insert(DELAYS), rows) and 0)
    found = await ledger.delays.load(now=now)
    assert len(found) == 5
    (record,) = caplog.records
    assert "1 SMS delays can't be read" in record.message
    await ledger.delays.add(learned(2, "whatsapp", "de"), now=now)
    assert (await ledger.delays.load(now=now))["whatsapp", "de"].seen == 2.0
    assert len(caplog.records) == 1


async def test_rows_hold_no_more_than_they_say(database: str, opened: Opened, now) -> None:
    """One row a key, named by service and country; numbers and nothing else in it."""
    ledger = await opened(database)
    await ledger.delays.add(learned(3), now=now)
    rows = await ledger._database.read(
        lambda connection: connection.execute(select(DELAYS).order_by(DELAYS.c.service)).all()
    )
    assert {(row.service, row.country) for row in rows} == {
        ("", ""),
        ("whatsapp", ""),
        ("whatsapp", "us"),
    }
    for row in rows:
        assert len(row.evidence) < 2000
        assert Evidence.from_text(row.evidence, EDGES).seen == 3.0
