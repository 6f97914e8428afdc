"""Server-sent events over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import attrs
import pytest

from papsms_async.sandbox import SandboxConfig, SandboxEngine, live
from papsms_async.sandbox.server import SandboxServer

NOW = 1_776_607_200.0
EVENTS = "/_sandbox/events"

Watch = Callable[..., Awaitable["Browser"]]


@attrs.define
class Browser:
    """Reads events as a browser does; it knows nothing of this project."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    id: str = ""
    comments: int = 0
    retry: int | None = None

    @classmethod
    async def open(cls, server: SandboxServer, *headers: str, query: str = "") -> Browser:
        """Ask for events and read the answer's head."""
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 20)
        head = [f"GET {EVENTS}{query} HTTP/1.0", f"Host: 127.0.0.1:{server.port}", *headers]
        writer.write("\r\n".join([*head, "", ""]).encode())
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert " 200 " in answer.split("\r\n")[0], answer
        assert "content-type: text/event-stream" in answer.lower()
        assert "cache-control: no-store" in answer.lower()
        return cls(reader, writer)

    async def next(self) -> dict[str, Any]:
        """Return the data of the next event."""
        data = ""
        while line := await self.reader.readline():
            name, _, value = line.decode().rstrip("\n").partition(":")
            value = value.removeprefix(" ")
            if line == b"\n" and data:
                return json.loads(data)  # type: ignore[no-any-return]
            match name:
                case "data":
                    data += value
                case "id":
                    self.id = value
                case "retry":
                    self.retry = int(value)
                case "" if line.startswith(b":"):
                    self.comments += 1
        raise EOFError

    async def until(self, key: str) -> Any:
        """Return that part of the first event that has it."""
        while True:
            data = await self.next()
            if key in data:
                return data[key]


@pytest.fixture
async def server() -> AsyncIterator[SandboxServer]:
    """Serve an engine without a limit whose SMS never come by themselves."""
    engine = SandboxEngine(SandboxConfig(limit="none", sms_delay="never"))
    async with asyncio.timeout(15), SandboxServer(engine, clock=lambda: NOW) as running:
        yield running


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    """Return `Browser.open`; what it opens is closed at the end."""
    opened: list[Browser] = []

    async def opening(*args: Any, **options: Any) -> Browser:
        opened.append(await Browser.open(*args, **options))
        return opened[-1]

    yield opening
    for browser in opened:
        browser.writer.close()


async def buy(server: SandboxServer) -> str:
    """Buy a number as a client does."""
    async with aiohttp.ClientSession() as session:
        body = {"country": "us", "service": "whatsapp"}
        headers = {"Authorization": "Bearer sandbox"}
        url = server.base_url + "numbers/purchase"
        async with session.post(url, json=body, headers=headers) as answer:
            data = (await answer.json())["data"]
            return str(data["activation_id"])


async def test_what_happens_is_told_at_once(server: SandboxServer, watch: Watch) -> None:
    """First all there is, then each purchase and each SMS as it comes."""
    browser = await watch(server)
    first = await browser.next()
    assert (first["fresh"], browser.retry) == (True, 1000)
    bought = await buy(server)
    (row,) = await browser.until("activations")
    assert (row["activation_id"], row["state"]) == (bought, "waiting")
    server.engine.deliver(NOW, activation_id=bought, text="hello")
    (row,) = await browser.until("activations")
    assert (row["state"], row["messages"][0]["text"]) == ("received", "hello")


@pytest.mark.parametrize("by", ["header", "query", "both"])
async def test_it_goes_on_after_a_break(server: SandboxServer, watch: Watch, by: str) -> None:
    """With the id of the last event that was seen, only what is new since is told."""
    seen = await buy(server)
    first = await watch(server)
    await first.next()
    first.writer.close()
    missed = await buy(server)
    headers = [f"Last-Event-ID: {first.id}"] if by != "query" else []
    query = f"?since={first.id if by == 'query' else 'older'}" if by != "header" else ""
    again = await watch(server, *headers, query=query)
    data = await again.next()
    assert "fresh" not in data
    assert [row["activation_id"] for row in data["activations"]] == [missed]
    assert seen != missed


async def test_another_start_begins_anew(server: SandboxServer, watch: Watch) -> None:
    """An id of another server says nothing, though the numbers in it are alike."""
    browser = await watch(server)
    await browser.next()
    async with SandboxServer(SandboxEngine()) as other:
        assert (await (await watch(other, f"Last-Event-ID: {browser.id}")).next())["fresh"]


async def test_several_watch_and_one_leaves(server: SandboxServer, watch: Watch) -> None:
    """Each is told; who has left is forgotten, whether it closes or only ends its own side."""
    browsers = [await watch(server) for _ in range(3)]
    for browser in browsers:
        await browser.next()
    watchers = server.engine._watchers
    before = len(watchers)
    browsers[0].writer.close()
    browsers[1].writer.write_eof()
    while len(watchers) > before - 2:
        await asyncio.sleep(0)
    bought = await buy(server)
    (row,) = await browsers[2].until("activations")
    assert row["activation_id"] == bought


async def test_quiet_connections_are_kept_alive(
    server: SandboxServer, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nothing happens comments come."""
    monkeypatch.setattr(live, "_HEARTBEAT", 0.0)
    monkeypatch.setattr(live, "_TICK", 0.0)
    monkeypatch.setattr(live, "_PACE", 0.0)
    browser = await watch(server)
    await browser.next()
    news = asyncio.create_task(browser.next())
    while browser.comments < 3:
        await asyncio.sleep(0)
    await buy(server)
    assert (await news)["summary"]["requests"] == 1


async def test_the_server_closes_with_watchers(server: SandboxServer, watch: Watch) -> None:
    """Nobody has to leave first."""
    browser = await watch(server)
    await browser.next()
    await server.close()
    with pytest.raises(EOFError):
        await browser.next()


async def test_a_slow_watcher_costs_nothing(
    server: SandboxServer, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who does not read is told less often, not later: nothing queues up for it."""
    monkeypatch.setattr(live, "_PACE", 0.0)
    engine = server.engine
    numbers = [await buy(server)]
    slow = await watch(server)
    quick = await watch(server)
    text = "x" * 30_000
    rounds = 600
    for number in range(rounds):
        engine.deliver(NOW, activation_id=numbers[0], text=f"{number} {text}", code="0")
        engine.activations[numbers[0]].earlier.clear()
        while True:
            (row,) = await quick.until("activations")
            if row["sms_text"].startswith(f"{number} "):
                break
    told = 0
    while True:
        (row,) = await slow.until("activations")
        told += 1
        if row["sms_text"].startswith(f"{rounds - 1} "):
            break
    assert told < rounds / 2


async def test_one_that_never_reads_is_given_up(
    server: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while it counts as gone."""
    monkeypatch.setattr(live, "_PATIENCE", 0.0)
    monkeypatch.setattr(live, "_PACE", 0.0)
    bought = await buy(server)
    before = len(server.engine._watchers)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"GET {EVENTS} HTTP/1.1\r\nHost: sandbox\r\n\r\n".encode())
    while len(server.engine._watchers) == before:
        await asyncio.sleep(0)
    while len(server.engine._watchers) > before:
        server.engine.deliver(NOW, activation_id=bought, text="x" * 60_000)
        await asyncio.sleep(0)
    writer.close()


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD"])
async def test_events_can_only_be_read(server: SandboxServer, method: str) -> None:
    """Other verbs are refused."""
    async with aiohttp.ClientSession() as session:
        async with session.request(method, server.url + EVENTS) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "GET")


async def test_pages_of_other_sites_hear_nothing(server: SandboxServer) -> None:
    """Neither another origin nor another name for this address gets events."""
    async with aiohttp.ClientSession() as session:
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
            async with session.get(server.url + EVENTS, headers=headers) as answer:
                assert answer.status == 403


async def test_names_are_given_to_the_server() -> None:
    """A name given at the start is the sandbox's own."""
    async with SandboxServer(SandboxEngine(), names=["sandbox.example.com"]) as server:
        async with aiohttp.ClientSession() as session:
            for host, status in (("sandbox.example.com", 200), ("evil.example", 403)):
                async with session.get(server.url, headers={"Host": host}) as answer:
                    assert answer.status == status
