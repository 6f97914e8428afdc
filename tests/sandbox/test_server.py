"""The server on real sockets, with clients that know nothing of this project."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sys
import zlib
from collections.abc import AsyncIterator

import pytest

from papsms_async.sandbox import FaultSet, SandboxConfig, SandboxEngine, parse_faults
from papsms_async.sandbox.server import SandboxServer, serve

NOW = 1_776_607_200.0
DATE = "Sun, 19 Apr 2026 14:00:00 GMT"
PURCHASE = b'{"country": "us", "service": "test-instant"}'


@pytest.fixture
async def server() -> AsyncIterator[SandboxServer]:
    """Serve an engine without a limit whose clock stands still."""
    engine = SandboxEngine(SandboxConfig(limit="none"))
    async with asyncio.timeout(15), SandboxServer(engine, clock=lambda: NOW) as running:
        yield running


async def exchange(server: SandboxServer, *parts: bytes, half_close: bool = False) -> bytes:
    """Send bytes over a connection of their own and return all that comes until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if half_close:
            writer.write_eof()
        return await reader.read()
    finally:
        writer.close()


def head(line: str, *headers: str, key: bool = True) -> bytes:
    """Write a request head that asks for the connection to be closed."""
    lines = [line, "Host: sandbox", "Connection: close", *headers]
    if key:
        lines.append("Authorization: Bearer sandbox")
    return "\r\n".join([*lines, "", ""]).encode()


def purchase_head(*headers: str) -> bytes:
    """Write the head of a purchase whose body is PURCHASE."""
    return head(
        "POST /api/v1/numbers/purchase HTTP/1.1", f"Content-Length: {len(PURCHASE)}", *headers
    )


def parse(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    """Split an answer into status, headers (names in lower case) and body."""
    top, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = top.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(first.split()[1]), {name.lower(): value for name, value in headers.items()}, body


async def run(*command: str) -> tuple[int, str]:
    """Run a program and return its exit status and output."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_it_listens_on_loopback(server: SandboxServer) -> None:
    """Unless told otherwise it listens on loopback, on a free port, and says where."""
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/api/v1/", server.base_url)


async def test_a_purchase_over_a_socket(server: SandboxServer) -> None:
    """A purchase is answered as documented, with the injected clock's Date."""
    status, headers, body = parse(await exchange(server, purchase_head(), PURCHASE))
    assert (status, headers["date"]) == (200, DATE)
    assert headers["content-type"] == "application/json"
    assert int(headers["content-length"]) == len(body)
    assert json.loads(body)["data"]["activation_id"] in server.engine.activations
    assert body.endswith(b'"cost": 0.50}}')


async def test_http_1_0_without_keep_alive(server: SandboxServer) -> None:
    """A client of HTTP/1.0 without Host is served, and its connection closed."""
    request = b"GET /api/v1/countries HTTP/1.0\r\nAuthorization: Bearer sandbox\r\n\r\n"
    status, _, body = parse(await exchange(server, request))
    assert status == 200
    assert json.loads(body)["success"] is True


@pytest.mark.parametrize("latency", [0.0, 0.1])
async def test_a_client_that_closes_its_side(latency: float) -> None:
    """A client that closes its sending side after the request still gets the answer."""
    engine = SandboxEngine(SandboxConfig(latency=latency))
    async with asyncio.timeout(15), SandboxServer(engine) as server:
        answer = await exchange(server, purchase_head(), PURCHASE, half_close=True)
        assert parse(answer)[0] == 200


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_keep_alive_and_pipelining(server: SandboxServer, version: str) -> None:
    """Several requests over one connection are answered in order."""
    request = (
        f"GET /api/v1/numbers/status/{{}} HTTP/{version}\r\nHost: x\r\n"
        "Authorization: Bearer sandbox\r\nConnection: {}\r\n\r\n"
    )
    sent = [request.format(1, "keep-alive"), request.format(2, "keep-alive")]
    answer = await exchange(server, *(s.encode() for s in [*sent, request.format(3, "close")]))
    assert answer.count(b"ACTIVATION_NOT_FOUND") == 3


async def test_chunked_body_without_content_type(server: SandboxServer) -> None:
    """A chunked body of no declared type, to a path with a slash too many, is understood."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (PURCHASE[:7], PURCHASE[7:]))
    request = head("POST /api/v1/numbers/purchase/ HTTP/1.1", "Transfer-Encoding: chunked")
    status, _, _ = parse(await exchange(server, request, chunks, b"0\r\n\r\n"))
    assert status == 200


async def test_expect_100_continue(server: SandboxServer) -> None:
    """A client that waits for 100 Continue gets it before it sends the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(purchase_head("Expect: 100-continue"))
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(PURCHASE)
    status, _, _ = parse(await reader.read())
    writer.close()
    assert status == 200


async def test_a_compressed_body(server: SandboxServer, caplog: pytest.LogCaptureFixture) -> None:
    """A deflated body is understood, and a broken one is a bad request, not a failure."""
    packed = zlib.compress(PURCHASE)
    line = "POST /api/v1/numbers/purchase HTTP/1.1"
    for body, expected in ((packed, 200), (b"not compressed", 400)):
        request = head(line, "Content-Encoding: deflate", f"Content-Length: {len(body)}")
        status, _, _ = parse(await exchange(server, request, body))
        assert status == expected
    assert caplog.records == []


async def test_head_has_no_body(server: SandboxServer) -> None:
    """HEAD answers the headers of GET and no body."""
    got = parse(await exchange(server, head("GET /api/v1/countries HTTP/1.1")))
    asked = parse(await exchange(server, head("HEAD /api/v1/countries HTTP/1.1")))
    assert asked == (200, got[1], b"")
    assert int(asked[1]["content-length"]) == len(got[2])


async def test_a_body_too_large(server: SandboxServer) -> None:
    """A body above the bound is refused without being read to its end."""
    request = head("POST /api/v1/numbers/purchase HTTP/1.1", "Content-Length: 10000000")
    status, _, _ = parse(await exchange(server, request, b" " * 80_000))
    assert status == 413


@pytest.mark.parametrize(
    "junk",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9\r\n\r\n",
    ],
)
async def test_what_is_not_http(
    server: SandboxServer, junk: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Bytes that are no HTTP are answered 400 or dropped, unlogged; the next client is served."""
    answer = await exchange(server, junk, half_close=True)
    assert answer == b"" or parse(answer)[0] in {400, 505}
    assert server.engine.charge_log == []
    assert parse(await exchange(server, head("GET /api/v1/countries HTTP/1.1")))[0] == 200
    assert caplog.records == []


async def test_a_client_that_leaves_early(server: SandboxServer) -> None:
    """A client that closes before its body is complete has bought nothing."""
    answer = await exchange(server, purchase_head(), PURCHASE[:10], half_close=True)
    assert b'"success": true' not in answer
    assert server.engine.charge_log == []


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
async def test_drop_closes_without_an_answer(server: SandboxServer, kind: str) -> None:
    """A dropped answer is a closed connection and not one byte."""
    server.engine.set_faults(FaultSet(parse_faults(f"any:{kind}")))
    assert await exchange(server, purchase_head(), PURCHASE) == b""
    assert len(server.engine.charge_log) == int(kind == "drop_after")


async def test_truncate_promises_more_than_comes(server: SandboxServer) -> None:
    """A truncated answer ends before its Content-Length."""
    server.engine.set_faults(FaultSet(parse_faults("any:truncated")))
    status, headers, body = parse(await exchange(server, purchase_head(), PURCHASE))
    assert status == 200
    assert 0 < len(body) < int(headers["content-length"])
    assert parse(await exchange(server, head("HEAD /api/v1/countries HTTP/1.1")))[2] == b""


async def test_refuse_resets_the_connection(server: SandboxServer) -> None:
    """A refused request ends in a reset and executes nothing."""
    server.engine.set_faults(FaultSet(parse_faults("purchase:refuse")))
    with pytest.raises(ConnectionResetError):
        await exchange(server, purchase_head(), PURCHASE)
    assert server.engine.charge_log == []


async def test_connections_are_refused_on_arrival(server: SandboxServer) -> None:
    """A refused connection is reset before anything is read; the next one is served."""
    server.engine.set_faults(FaultSet(parse_faults("connect:refuse#1")))
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await exchange(server, head("GET /api/v1/countries HTTP/1.1"))
    assert len(server.engine.request_log) == 0
    assert parse(await exchange(server, head("GET /api/v1/countries HTTP/1.1")))[0] == 200


async def test_hang_holds_until_the_server_closes() -> None:
    """A hanging request gets no answer, executes if it should, and ends with the server."""
    engine = SandboxEngine(SandboxConfig(faults="any:hang=after"))
    async with asyncio.timeout(10):
        async with SandboxServer(engine) as server:
            waiting = asyncio.create_task(exchange(server, purchase_head(), PURCHASE))
            while not engine.charge_log:
                await asyncio.sleep(0)
            assert not waiting.done()
        assert await waiting == b""


async def test_hang_ends_when_the_client_leaves(server: SandboxServer) -> None:
    """A client that gives up on a hanging request leaves nothing behind."""
    server.engine.set_faults(FaultSet(parse_faults("any:hang")))
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(head("GET /api/v1/countries HTTP/1.1"))
    while not server.engine.request_log:
        await asyncio.sleep(0)
    before = len(asyncio.all_tasks())
    writer.close()
    while len(asyncio.all_tasks()) >= before:
        await asyncio.sleep(0)


async def test_slow_answers_late(server: SandboxServer) -> None:
    """A slow answer arrives whole, after its delay."""
    server.engine.set_faults(FaultSet(parse_faults("any:slow=0.05")))
    loop = asyncio.get_running_loop()
    start = loop.time()
    assert parse(await exchange(server, purchase_head(), PURCHASE))[0] == 200
    assert loop.time() - start >= 0.05


async def test_the_control_api_is_served(server: SandboxServer) -> None:
    """The control API is on the same port, needs no key and is not counted."""
    line = "GET /_sandbox/health HTTP/1.1"
    status, headers, body = parse(await exchange(server, head(line, key=False)))
    assert (status, headers["date"]) == (200, DATE)
    assert json.loads(body) == {"ok": True, "requests": 0}


async def test_addresses_are_the_peers(server: SandboxServer) -> None:
    """A key that is tied to other addresses answers 403 over a socket."""
    server.engine.config = SandboxConfig(allowed_ips=["203.0.113.9"])
    assert parse(await exchange(server, head("GET /api/v1/countries HTTP/1.1")))[0] == 403


async def test_many_at_once(server: SandboxServer) -> None:
    """Many concurrent connections are all served."""
    answers = await asyncio.gather(
        *(exchange(server, purchase_head(), PURCHASE) for _ in range(100))
    )
    assert {parse(answer)[0] for answer in answers} == {200}
    assert len(server.engine.activations) == 100


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_curl_runs_a_whole_verification(server: SandboxServer) -> None:
    """curl, told nothing but the documentation, buys, reads the code and completes."""
    key = ["-H", "Authorization: Bearer sandbox"]
    url = server.base_url + "numbers/"
    status, output = await run("curl", "-sf", *key, "-d", PURCHASE.decode(), url + "purchase")
    activation_id = json.loads(output)["data"]["activation_id"]
    assert status == 0
    _, output = await run("curl", "-sf", *key, url + f"status/{activation_id}")
    assert re.fullmatch(r"\d{6}", json.loads(output)["data"]["sms"]["code"])
    body = '{"status": "completed"}'
    status, _ = await run("curl", "-sf", *key, "-d", body, url + f"finish/{activation_id}")
    assert status == 0
    assert server.engine.finish_counts() == {activation_id: 1}


NODE = """
const [url] = process.argv.slice(1);
const call = async (method, path, body) => {
  const answer = await fetch(url + path, {
    method, headers: {Authorization: 'Bearer sandbox'}, body: body && JSON.stringify(body)});
  return (await answer.json()).data;
};
(async () => {
  const bought = await call('POST', 'numbers/purchase', {country: 'us', service: 'test-instant'});
  const {sms} = await call('GET', 'numbers/status/' + bought.activation_id);
  await call('POST', 'numbers/finish/' + bought.activation_id, {status: 'completed'});
  console.log(JSON.stringify({cost: bought.cost, code: sms.code}));
})();
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
async def test_node_runs_a_whole_verification(server: SandboxServer) -> None:
    """So does a program in JavaScript."""
    status, output = await run("node", "-e", NODE, server.base_url)
    assert status == 0, output
    assert json.loads(output)["cost"] == 0.5
    assert list(server.engine.finish_counts().values()) == [1]


async def test_a_port_in_use_is_an_os_error(server: SandboxServer) -> None:
    """A second server on the same port fails at once."""
    with pytest.raises(OSError, match="address"):
        await SandboxServer(SandboxEngine(), port=server.port).start()


async def test_serve_ends_when_cancelled() -> None:
    """Serving says its base URL once it listens and ends with a cancel, releasing the port."""
    urls: list[str] = []
    task = asyncio.create_task(serve(SandboxEngine(), "127.0.0.1", 0, ready=urls.append))
    while not urls:
        await asyncio.sleep(0)
    port = int(urls[0].split(":")[2].split("/")[0])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


PROGRAM = """
import asyncio
from papsms_async.sandbox import SandboxEngine
from papsms_async.sandbox.server import serve
asyncio.run(serve(SandboxEngine(), "127.0.0.1", 0, ready=lambda url: print(url, flush=True)))
print("ended", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
async def test_signals_end_it_cleanly(name: str) -> None:
    """The first SIGINT or SIGTERM ends the server with status 0, hanging clients or not."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(15):
        url = (await process.stdout.readline()).decode()
        port = int(url.split(":")[2].split("/")[0])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        process.send_signal(getattr(signal, name))
        assert await process.stdout.read() == b"ended\n"
        assert await process.wait() == 0
        writer.close()


async def test_dropped_connections_leave_no_noise(
    server: SandboxServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Faults that close connections log nothing: they are what was asked for."""
    server.engine.set_faults(
        FaultSet(parse_faults("purchase:drop_after#1,purchase:truncated#2,purchase:refuse#3"))
    )
    for _ in range(2):
        await exchange(server, purchase_head(), PURCHASE)
    with pytest.raises(ConnectionResetError):
        await exchange(server, purchase_head(), PURCHASE)
    assert caplog.records == []
