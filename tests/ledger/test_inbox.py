"""The inbox of every ledger: webhooks are durable, copies are counted, other processes hear."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from papsms_async.ledger import InboxEntry, Ledger, sql_inbox, sqlite
from papsms_async.ledger.schema import WEBHOOKS
from papsms_async.models import Sms, WebhookEvent

Opened = Callable[..., Any]

SMS = Sms(code="847291", full_text="Your code: 847291")
CODES = ("847291", "Your code")


def event(activation_id: str = "a1", **fields: Any) -> WebhookEvent:
    """Return a webhook with an SMS; any field can be given."""
    return WebhookEvent(**{"activation_id": activation_id, "sms": SMS} | fields)


async def test_what_was_put_is_there(ledger: Ledger, now) -> None:
    """All that a webhook said comes back, in the order in which they came."""
    full = event(
        "a2",
        sms=Sms(code=None, full_text="naïve \U0001f600 text", received_at=now),
        phone_number="+14155550123",
        service="whatsapp",
        country="us",
        signed=True,
    )
    first = await ledger.inbox.put(event(), at=now)
    await ledger.inbox.put(full, at=now + timedelta(seconds=1))
    entries = await ledger.inbox.entries()
    assert entries[0] == first
    assert [entry.event for entry in entries] == [event(), full]
    assert [entry.received_at for entry in entries] == [now, now + timedelta(seconds=1)]
    assert entries[0].seq < entries[1].seq
    assert await ledger.inbox.about("a2") == entries[1:]
    assert await ledger.inbox.about("a3") == ()


async def test_copies_are_counted(ledger: Ledger, now) -> None:
    """The same SMS of the same activation is one webhook; a signature on one copy counts."""
    first = await ledger.inbox.put(event(), at=now)
    later = now + timedelta(minutes=1)
    again = await ledger.inbox.put(event(signed=True), at=later)
    assert (first.seq, first.copies) == (again.seq, 1)
    assert again.copies == 2
    (kept,) = await ledger.inbox.entries()
    assert kept.copies == 2
    assert kept.event.signed
    assert kept.received_at == now


async def test_other_sms_and_other_activations_are_other_webhooks(ledger: Ledger, now) -> None:
    """Code, text and activation tell webhooks apart."""
    different = [
        event(),
        event("a2"),
        event(sms=Sms(code="1", full_text=SMS.full_text)),
        event(sms=Sms(code=SMS.code, full_text="another")),
        event(sms=Sms(code=None, full_text=SMS.full_text)),
        event(sms=None),
    ]
    for one in different:
        await ledger.inbox.put(one, at=now)
    assert [entry.event for entry in await ledger.inbox.entries()] == different


async def test_many_at_once(ledger: Ledger, now) -> None:
    """A burst with copies in it: each is answered with its own number and its own count."""
    events = [event(f"a{n % 150}") for n in range(450)]
    put = await asyncio.gather(*(ledger.inbox.put(one, at=now) for one in events))
    assert [entry.event.activation_id for entry in put] == [one.activation_id for one in events]
    entries = await ledger.inbox.entries()
    assert len(entries) == 150
    assert {entry.copies for entry in entries} == {3}
    assert {entry.seq for entry in put} == {entry.seq for entry in entries}


async def test_webhooks_do_not_wait_behind_purchases(
    database: str, opened: Opened, now, make_entry
) -> None:
    """A sender waits for its answer; the line of what this process writes may be long."""
    ledger = await opened(database)
    ended: list[str] = []

    async def add(number: int) -> None:
        await ledger.add(make_entry(f"{number:04d}"))
        ended.append("purchase")

    async def put() -> None:
        await ledger.inbox.put(event(), at=now)
        ended.append("webhook")

    await asyncio.gather(*(add(number) for number in range(600)), put())
    # Behind the transaction that was under way, and at most one more.
    assert ended.index("webhook") <= 401


async def test_orphans_are_those_of_no_purchase(ledger: Ledger, now, make_entry) -> None:
    """A webhook about an activation that was bought here is no orphan."""
    await ledger.add(make_entry("1", activation_id="a1"))
    await ledger.inbox.put(event("a1"), at=now)
    await ledger.inbox.put(event("a2"), at=now)
    assert [entry.event.activation_id for entry in await ledger.inbox.orphans()] == ["a2"]


async def test_purged_with_the_rest(ledger: Ledger, now) -> None:
    """Retention concerns webhooks as well."""
    await ledger.inbox.put(event("old"), at=now - timedelta(days=40))
    await ledger.inbox.put(event("new"), at=now)
    assert await ledger.purge(now - timedelta(days=30)) == 0
    assert [entry.event.activation_id for entry in await ledger.inbox.entries()] == ["new"]


async def test_strange_text_is_kept(ledger: Ledger, now) -> None:
    """What a database can't store is replaced, so that no webhook is lost for it."""
    strange = event(sms=Sms(code=None, full_text="a\0b\ud800c" + "x" * 16_000))
    await asyncio.gather(ledger.inbox.put(strange, at=now), ledger.inbox.put(event("a2"), at=now))
    assert len(await ledger.inbox.entries()) == 2


async def test_codes_that_must_not_be_stored_are_not(
    database: str, opened: Opened, now, tmp_path: Path
) -> None:
    """Without codes the database knows that an SMS came, and nothing to guess it from."""
    ledger = await opened(database, store_codes=False)
    put = await ledger.inbox.put(event(), at=now)
    assert put.event.sms == SMS
    await ledger.inbox.put(event(sms=Sms(code="111111", full_text="another")), at=now)
    (kept,) = await ledger.inbox.entries()
    assert kept.event.sms is None
    assert kept.copies == 2
    digest = await ledger._database.read(lambda c: c.execute(WEBHOOKS.select()).one().digest)
    assert digest == ""
    await ledger.aclose()
    assert not any(code.encode() in _all_bytes(tmp_path) for code in CODES)


def _all_bytes(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir())


async def test_repr_hides_codes(ledger: Ledger, now) -> None:
    """What a log may show of a webhook has neither number nor code."""
    entry = await ledger.inbox.put(event(phone_number="+14155550123"), at=now)
    for secret in (*CODES, "4155550123"):
        assert secret not in f"{entry!r} {ledger.inbox!r}"


async def test_memory_is_bounded(opened: Opened, now) -> None:
    """An endless run in memory forgets the oldest."""
    ledger = await opened(None)
    ledger.inbox._keep = 10
    for number in range(30):
        await ledger.inbox.put(event(f"a{number}"), at=now)
    assert len(await ledger.inbox.entries()) == 10


# Other processes ---------------------------------------------------------------------------------


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look into the file more often than in earnest."""
    monkeypatch.setattr(sqlite, "NEWS_PAUSE", 0.02)


@asynccontextmanager
async def listening(ledger: Ledger) -> AsyncIterator[asyncio.Queue[InboxEntry]]:
    """Give what a ledger's inbox hears, from when it can miss nothing."""
    heard: asyncio.Queue[InboxEntry] = asyncio.Queue()
    begun = asyncio.Event()
    known = ledger.inbox._known  # type: ignore[attr-defined]
    original = known.begin

    def begin(last: int) -> None:
        original(last)
        begun.set()

    known.begin = begin
    task = asyncio.create_task(ledger.inbox.listen(heard.put_nowait))
    try:
        await asyncio.wait_for(begun.wait(), 10)
        yield heard
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.mark.usefixtures("quick_looks")
async def test_others_hear_what_is_written(database: str, opened: Opened, now) -> None:
    """Another process hears each webhook, whole; the writer itself does not."""
    writer, reader = await opened(database), await opened(database)
    await writer.inbox.put(event("before"), at=now)
    async with listening(reader) as heard, listening(writer) as own:
        await asyncio.gather(*(writer.inbox.put(event(f"a{n}"), at=now) for n in range(50)))
        got = [await asyncio.wait_for(heard.get(), 10) for _ in range(50)]
        assert sorted(got, key=lambda e: e.seq) == [*(await writer.inbox.entries())[1:]]
        await reader.inbox.put(event("back"), at=now)
        assert (await asyncio.wait_for(own.get(), 10)).event == event("back")
        assert own.empty()
        assert heard.empty()


async def test_memory_has_no_others(opened: Opened) -> None:
    """Nothing is to be heard of where nobody else can write."""
    await (await opened(None)).inbox.listen(lambda entry: None)


async def test_copies_are_told_on_postgresql(postgres_url: str, opened: Opened, now) -> None:
    """A copy may be the word that an activation still waits for."""
    writer, reader = await opened(postgres_url), await opened(postgres_url)
    async with listening(reader) as heard:
        for copies in (1, 2):
            await writer.inbox.put(event(), at=now)
            assert (await asyncio.wait_for(heard.get(), 10)).copies == copies


async def test_ledgers_in_one_postgresql_do_not_hear_each_other(
    postgres_url: str, opened: Opened, now
) -> None:
    """Each schema has a channel of its own."""
    writer, reader = await opened(postgres_url), await opened(postgres_url)

    def tell_another(batch: Any) -> None:
        batch.connection.exec_driver_sql("SELECT pg_notify('papsms_' || md5('x'), 'somebody 1')")

    async with listening(reader) as heard:
        await writer.inbox.put(event("a1"), at=now)
        await asyncio.wait_for(heard.get(), 10)
        told = [news async for news in _first(reader._database.store.news(), writer, tell_another)]
    # First the call to look, then what was put; nothing of the other channel in between.
    assert told == [("", ()), (writer.inbox._name, (2,))]


async def _first(news: Any, writer: Any, tell: Callable[[Any], None]) -> AsyncIterator[Any]:
    """Give the first two of ``news``, while something is told on two channels."""
    async with aclosing(news):
        yield await anext(news)
        await writer._database.write(tell)
        await writer.inbox.put(event("a2"), at=datetime.now(UTC))
        yield await asyncio.wait_for(anext(news), 10)


async def test_broken_connection_misses_nothing(
    postgres_url: str, opened: Opened, now, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written while nobody listens is found when the connection is back."""
    bell = pytest.importorskip("papsms_async.ledger.bell")
    writer, reader = await opened(postgres_url), await opened(postgres_url)
    made: list[Any] = []
    connect = reader._database.store._connection
    closed, go = asyncio.Event(), asyncio.Event()

    async def connect_again() -> Any:
        if made:
            closed.set()
            await go.wait()
        made.append(await connect())
        return made[-1]

    monkeypatch.setattr(reader._database.store, "_connection", connect_again)
    monkeypatch.setattr(bell, "FIRST_PAUSE", 0.01)
    async with listening(reader) as heard:
        await writer.inbox.put(event("a1"), at=now)
        assert (await asyncio.wait_for(heard.get(), 10)).event.activation_id == "a1"
        made[0].terminate()
        await asyncio.wait_for(closed.wait(), 10)
        await writer.inbox.put(event("a2"), at=now)
        go.set()
        assert (await asyncio.wait_for(heard.get(), 10)).event.activation_id == "a2"
        await writer.inbox.put(event("a3"), at=now)
        assert (await asyncio.wait_for(heard.get(), 10)).event.activation_id == "a3"


@pytest.mark.parametrize("word", ["", "x", "x ", "x 1;2", "x -1", "x " + "9" * 40, "\u0661 \u0661"])
def test_what_anybody_tells_is_a_call_to_look(word: str) -> None:
    """Others may use the channel: what they say is not believed."""
    bell = pytest.importorskip("papsms_async.ledger.bell")
    assert bell._read(word) == ("", ())
    assert bell._read("x 1,22") == ("x", (1, 22))


def test_numbers_passed_over_are_looked_for_a_while() -> None:
    """A transaction may commit after one with a higher number; some never do."""
    known = sql_inbox._Known()
    known.begin(10)
    known.add([15, 12], 0.0)
    known.add([11], 0.0)
    assert sorted(known._passed) == [13, 14]
    assert known._last == 15
    assert "IN" in str(known.unknown(1.0))
    assert "IN" not in str(known.unknown(sql_inbox.MISSED_FOR + 1.0))
    known.add([10**9], 100.0)
    assert len(known._passed) <= sql_inbox._MOST_MISSED
