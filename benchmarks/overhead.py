"""What the client costs beside bare aiohttp and httpx: ``python benchmarks/overhead.py``.

The same requests, as many at once, with an unlimited quota, against a server on loopback, in a
process of its own, that answers from memory, so that the client is what is measured. Rounds are
interleaved after a warm-up, and medians count, of time on the wall and of processor time.

*status* is status calls that find no SMS yet, as most do, over kept-alive connections. *lifecycle*
is a purchase, a status call that finds the SMS, and a finish. This package gives every purchase a
connection of its own, for a kept-alive one that the service closes leaves it unknown whether a
number was bought; so bare aiohttp is measured in both ways, and the ratio is to the one that does
likewise.

Exits with status 1 if the ratio to bare aiohttp is below the bound.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from bare import UNLIMITED, Calls, bare, code_in, lifecycle, open_session, repeat
from environment import machine, server

from papsms_async import PapSMSClient
from papsms_async.endpoint import COMMON_HEADERS

BOUND = 0.8
"""Requests a second, as a share of those of bare aiohttp, that the client makes at least."""
KEY = "key"
HEADERS = {**COMMON_HEADERS, "Authorization": f"Bearer {KEY}"}
BOUGHT = {"country": "us", "service": "whatsapp"}
ANSWERS = {
    b"pu": b'{"success": true, "data": {"activation_id": "12345678", "phone_number":'
    b' "+14155550123", "country": "us", "service": "whatsapp", "expires_at":'
    b' "2036-04-19T15:30:00Z", "cost": 0.80}}',
    b"st": b'{"success": true, "data": {"status": "received", "sms": {"code": "847291",'
    b' "full_text": "Your WhatsApp code: 847291", "received_at": "2026-04-19T14:35:22Z"}}}',
    b"fi": b'{"success": true}',
}
"""Bodies by the two letters that follow ``/api/v1/numbers/``."""
WAITING = b'{"success": true, "data": {"status": "waiting", "sms": null}}'
BOUGHT_IDS = itertools.count(10_000_000)
WAITING_IDS = itertools.count(90_000_000)
"""Every activation has an id of its own, and so every request an address of its own."""


class Server(asyncio.Protocol):
    """Answers each request from memory; knows no more of HTTP than that takes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            _, _, length = head.partition(b"content-length:")
            whole = end + 4 + (int(length.split(b"\r\n")[0]) if length else 0)
            if len(self.buffer) < whole:
                return
            self.buffer = self.buffer[whole:]
            path = head.split(b" ", 2)[1]
            body = ANSWERS[path[len(b"/api/v1/numbers/") :][:2]]
            if b"12345678" in body:
                body = body.replace(b"12345678", b"%d" % next(BOUGHT_IDS))
            elif b"/status/9" in path:
                body = WAITING
            assert isinstance(self.transport, asyncio.Transport)
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nDate: Sun, 19 Apr 2026 14:35:22 GMT\r\nServer: bench\r\n"
                b"Content-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s"
                % (len(body), body)
            )


async def serve() -> None:
    """Be the server until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v1/", flush=True)
    await server.serve_forever()


def ours(client: PapSMSClient) -> Calls:
    """Return the requests of this package's client."""

    async def purchase() -> str:
        return (await client.purchase("whatsapp", "us")).activation_id

    async def status(activation_id: str) -> str | None:
        sms = (await client.status(activation_id)).sms
        return None if sms is None else sms.code

    return Calls(purchase, status, client.complete)


async def open_httpx(base_url: str, stack: AsyncExitStack) -> Calls | None:
    """Return the requests of httpx, ``None`` where it is not installed."""
    try:
        import httpx
    except ImportError:
        print("without httpx: pip install '.[bench]'", file=sys.stderr)
        return None
    client = await stack.enter_async_context(
        httpx.AsyncClient(
            base_url=base_url,
            headers=HEADERS,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
        )
    )

    async def purchase() -> str:
        bought: str = (await client.post("numbers/purchase", json=BOUGHT)).json()["data"][
            "activation_id"
        ]
        return bought

    async def status(activation_id: str) -> str | None:
        answer = await client.get(f"numbers/status/{activation_id}")
        return code_in(answer.json()["data"])

    async def finish(activation_id: str) -> None:
        answer = await client.post(f"numbers/finish/{activation_id}", json={"status": "completed"})
        assert answer.json()["success"]

    return Calls(purchase, status, finish)


async def polling(calls: Calls) -> None:
    """Make three status calls."""
    for _ in range(3):
        assert await calls.status(str(next(WAITING_IDS))) is None


KINDS = {"status": polling, "lifecycle": lifecycle}
"""What is measured; each makes three requests."""


async def run_round(
    calls: Calls, kind: Callable[[Calls], Awaitable[None]], requests: int, at_once: int
) -> tuple[float, float]:
    """Return the microseconds on the wall and of the processor that a request took."""
    gc.collect()
    began, used = time.perf_counter(), time.process_time()
    await repeat(lambda: kind(calls), requests // 3, at_once=at_once)
    wall, processor = time.perf_counter() - began, time.process_time() - used
    return wall / requests * 1e6, processor / requests * 1e6


async def compare(rounds: int, requests: int, at_once: int) -> dict[str, float]:
    """Measure everyone in turns, print the table, and return the ratios of this package."""
    ratios = {}
    async with AsyncExitStack() as stack:
        base_url = await stack.enter_async_context(server(__file__, "--serve"))
        pooled = await stack.enter_async_context(open_session(KEY))
        fresh = await stack.enter_async_context(open_session(KEY, force_close=True))
        client = await stack.enter_async_context(
            PapSMSClient(KEY, base_url=base_url, rate_limit=UNLIMITED)
        )
        likewise = "bare aiohttp"
        found = {
            likewise: bare(base_url, pooled, fresh),
            "bare aiohttp, purchases pooled": bare(base_url, pooled, pooled),
            "httpx, purchases pooled": await open_httpx(base_url, stack),
            "papsms-async": ours(client),
        }
        everyone = {name: calls for name, calls in found.items() if calls is not None}
        for kind, act in KINDS.items():
            taken: dict[str, list[tuple[float, float]]] = {name: [] for name in everyone}
            print(
                f"\n{kind}, {at_once} at once, {rounds} rounds of {requests} requests", flush=True
            )
            for number in range(rounds + 1):
                for name, calls in everyone.items():
                    took = await run_round(calls, act, requests, at_once)
                    if number:  # the first is the warm-up
                        taken[name].append(took)
            print(f"{'':<32}{'requests/s':>12}{'ratio':>8}{'processor':>15}{'ratio':>8}")
            base = taken[likewise]
            for name, rows in taken.items():
                wall, processor = (statistics.median(column) for column in zip(*rows, strict=True))
                # Of each round by itself: what else the machine does strikes neighbours alike.
                pairs = list(zip(base, rows, strict=True))
                ratio = statistics.median(b[0] / r[0] for b, r in pairs)
                spent = statistics.median(b[1] / r[1] for b, r in pairs)
                print(
                    f"{name:<32}{1e6 / wall:12.0f}{ratio:8.2f}{processor:12.0f} us{spent:8.2f}",
                    flush=True,
                )
            ratios[f"{kind}, {at_once} at once"] = ratio
    return ratios


async def run(options: argparse.Namespace) -> bool:
    """Measure each number at once; return whether the bound is kept."""
    ratios = {}
    for at_once in options.at_once:
        ratios |= await compare(options.rounds, options.requests, at_once)
    return all(ratio >= BOUND for ratio in ratios.values())


def main() -> int:
    """Print the tables; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=1500, help="requests a round")
    parser.add_argument("--at-once", type=int, nargs="*", default=[1, 32])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return 0
    print(machine("aiohttp", "httpx"))
    kept = asyncio.run(run(options))
    print(f"\nat least {BOUND:g} of bare aiohttp: {'yes' if kept else 'NO'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
