"""Recorded sessions: what is written, what is left out, and that a replay is the same again."""

from __future__ import annotations

import ast
import asyncio
import base64
import contextlib
import json
import math
import os
import sys
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import papsms_async.sandbox
from papsms_async.sandbox import (
    FaultSet,
    LimitKind,
    LimitSpec,
    SandboxConfig,
    SandboxEngine,
    SandboxReply,
    SandboxRequest,
    WebhookConfig,
    WebhookPost,
)
from papsms_async.sandbox.delays import Fixed, Lognormal, Mixture, Never, Uniform
from papsms_async.sandbox.front import front_of
from papsms_async.sandbox.recording import (
    Recorder,
    RecordingError,
    RecordingFile,
    replay_file,
    replay_lines,
)
from papsms_async.sandbox.recording.form import FORM, Head
from papsms_async.sandbox.recording.masking import KEPT_HEADERS
from papsms_async.sandbox.recording.settings import read_config, write_config
from papsms_async.sandbox.routing import Routes
from papsms_async.sandbox.server import SandboxServer
from papsms_async.testing import MemoryService, MemoryWebhooks, replay, virtual_time
from papsms_async.testing.memory_transport import EPOCH

NOW = 1_776_607_200.0
KEY = "sk_live_f00dfacecafe0123"
OTHER = "sk_live_ffffeeeeddddcccc"
HOOK = "hook/s3cr3t-path"
SIGNED = "whsec_" + "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
SLASHED = "whsec_" + "c2Vj/mV0c2Vj+mV0c2Vj/mV0c2Vj+mV0c2VjcmV0c2U="
SOURCES = Path(papsms_async.sandbox.__file__).parent


@attrs.define
class Session:
    """A recorded session in memory, at a time that only the test moves."""

    config: SandboxConfig = attrs.field(factory=SandboxConfig)
    seed: int = 0
    now: float = NOW
    lines: list[str] = attrs.field(factory=list)
    recorder: Recorder = attrs.field(init=False)
    front: Routes = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin."""
        engine = SandboxEngine(self.config, seed=self.seed)
        self.recorder = Recorder(engine, self.lines.append, start=self.now)
        self.front = front_of(engine, record=self.recorder.record)

    def send(
        self, method: str, path: str, body: object = None, *, key: str | None = "sandbox"
    ) -> SandboxReply:
        """Send one request."""
        if not isinstance(body, bytes):
            body = b"" if body is None else json.dumps(body).encode()
        headers = {"User-Agent": "x"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        return self.front.handle(SandboxRequest(method, path, headers, body, "::1"), self.now)

    def buy(self, service: str = "whatsapp") -> str:
        """Buy a number and return the activation's id."""
        body = {"country": "us", "service": service}
        reply = self.send("POST", "/api/v1/numbers/purchase", body)
        return str(json.loads(reply.body)["data"]["activation_id"])

    @property
    def text(self) -> str:
        """What was written."""
        return "".join(self.lines)


def sign_up() -> Session:
    """Record a small session of several kinds of requests."""
    session = Session(SandboxConfig(sms_delay="fixed:3", latency_jitter=0.1), seed=5)
    first = session.buy()
    session.now += 3.25
    session.send("GET", f"/api/v1/numbers/status/{first}")
    session.send("POST", "/_sandbox/deliver", {"activation_id": first, "code": "4711"})
    session.send("GET", f"/api/v1/numbers/status/{first}")
    session.send("POST", f"/api/v1/numbers/finish/{first}", {"status": "completed"})
    session.send("GET", "/_sandbox/stats?window=10", key=None)
    session.send("GET", "/api/v1/countries", b"\xff\xfe")
    huge = {"country": "us", "service": "test-huge"}
    session.send("POST", "/api/v1/numbers/purchase", huge)
    return session


# ---- the same again ----

TIMES = st.floats(0.0, 400.0)
SERVICES = st.sampled_from(
    ["whatsapp", "test-instant", "test-race", "test-drop-after", "test-slow", "test-unicode"]
)
FAULTS = st.sampled_from(
    ["any:slow=1@0.5", "purchase:drop_after@0.5,status:server_error@0.3", "status:truncated#2-"]
)
STEPS = st.one_of(
    st.tuples(st.just("wait"), TIMES),
    st.tuples(st.just("buy"), SERVICES),
    st.tuples(st.just("status"), st.integers(0, 3)),
    st.tuples(st.just("finish"), st.sampled_from(["completed", "cancelled", "x"])),
    st.tuples(st.just("deliver"), st.text(max_size=20)),
    st.tuples(st.just("drop"), st.none()),
    st.tuples(st.just("end"), st.sampled_from(["cancelled", "expired"])),
    st.tuples(st.just("faults"), FAULTS),
    st.tuples(st.just("reset"), st.integers(0, 9)),
    st.tuples(st.just("look"), st.sampled_from(["stats", "activations?open=1", "charge-log"])),
    st.tuples(st.just("connect"), st.none()),
    st.tuples(st.just("pass"), TIMES),
    st.tuples(st.just("post"), st.sampled_from([200, 500, 410, None])),
    st.tuples(st.just("junk"), st.binary(max_size=30)),
)


def play(steps: Iterable[tuple[str, Any]], *, seed: int, start: float) -> Session:
    """Record a session of those steps."""
    config = SandboxConfig(
        limit="20/60s",
        latency_jitter=0.5,
        faults="connect:refuse@0.4,status:server_error@0.1",
        webhook=WebhookConfig(
            url=f"http://127.0.0.1:9000/{HOOK}",
            secret=SIGNED,
            faults="duplicate@0.3,forged_path@0.3,replay=3@0.3,reorder@0.3,loss@0.1",
        ),
    )
    session = Session(config, seed=seed, now=start)
    bought = ["1"]
    for kind, value in steps:
        match kind:
            case "wait":
                session.now += value
            case "pass":  # as watchers let time pass, unrecorded
                session.now += value
                session.recorder._engine.advance(session.now)
            case "drop":
                session.send("POST", "/_sandbox/drop", {"activation_id": bought[-1]})
            case "end":
                body = {"activation_id": bought[-1], "state": value}
                session.send("POST", "/_sandbox/end", body)
            case "buy":
                body = {"country": "us", "service": value}
                reply = session.send("POST", "/api/v1/numbers/purchase", body)
                if b'"activation_id"' in reply.body:
                    bought.append(json.loads(reply.body)["data"]["activation_id"])
            case "status":
                session.send("GET", f"/api/v1/numbers/status/{bought[value % len(bought)]}")
            case "finish":
                session.send("POST", f"/api/v1/numbers/finish/{bought[-1]}", {"status": value})
            case "deliver":
                body = {"activation_id": bought[-1], "text": value, "delay": 9 * (len(value) % 3)}
                session.send("POST", "/_sandbox/deliver", body)
            case "faults":
                session.send("PUT", "/_sandbox/faults", {"faults": value})
            case "reset":
                session.send("POST", "/_sandbox/reset", {"seed": value})
            case "look":
                session.send("GET", f"/_sandbox/{value}")
            case "connect":
                session.recorder.refuses_connection()
            case "post":
                for post in session.recorder.take_due(session.now, most=2):
                    session.recorder.settle(post.number, status=value, now=session.now + 0.25)
            case _:
                session.send("POST", "/api/v1/numbers/purchase", value)
    return session


@settings(deadline=None)
@given(st.lists(STEPS, max_size=30), st.integers(0, 5), st.floats(0.0, 4e9))
def test_the_same_seed_gives_the_same_recording(
    steps: list[tuple[str, Any]], seed: int, start: float
) -> None:
    """Two runs of any session are recorded byte for byte alike, and replay without a difference."""
    first, second = (play(steps, seed=seed, start=start) for _ in range(2))
    assert first.text == second.text
    assert HOOK not in first.text
    assert SIGNED not in first.text
    replayed = replay_lines(first.lines)
    assert replayed.difference is None
    assert replayed.compared == sum('"settled": {' not in line for line in first.lines[1:])


def test_another_seed_gives_another_recording() -> None:
    """The comparison above can fail: what is drawn depends on the seed."""
    steps = [("buy", "whatsapp"), ("wait", 5.0), ("status", 1)]
    texts = {play(steps, seed=seed, start=NOW).text.partition("\n")[2] for seed in range(3)}
    assert len(texts) == 3


PROGRAM = """
import sys
from papsms_async.sandbox import SandboxConfig, SandboxEngine, SandboxRequest
from papsms_async.sandbox.front import front_of
from papsms_async.sandbox.recording import Recorder
config = SandboxConfig(
    api_keys=["a", "b", "c"], allowed_ips=["::1", "192.0.2.1", "192.0.2.2"],
    key_limits={"c": "5/1s", "a": "7/1s"}, faults="any:slow@0.5,purchase:drop_after@0.2",
)
engine = SandboxEngine(config, seed=4)
recorder = Recorder(engine, sys.stdout.write, start=1776607200.25)
handle = front_of(engine, record=recorder.record).handle
for n in range(20):
    handle(
        SandboxRequest(
            "POST", "/api/v1/numbers/purchase", {"authorization": f"bearer {'abc'[n % 3]}"},
            b'{"country": "gb", "service": "telegram"}', "::1",
        ),
        1776607200.25 + n / 7,
    )
handle(SandboxRequest("GET", "/_sandbox/stats", {}), 1776607300.0)
"""


async def test_another_process_records_the_same() -> None:
    """Another process with another order of sets records the same bytes."""

    async def output(hash_seed: str) -> bytes:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            PROGRAM,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=asyncio.subprocess.PIPE,
        )
        return (await process.communicate())[0]

    first, second = await asyncio.gather(output("1"), output("2"))
    assert first == second
    assert first.count(b"\n") == 22
    assert replay_lines(first.decode().splitlines(keepends=True)).difference is None


@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(0.0, 1e6))
def test_times_are_exact(start: int, later: float) -> None:
    """A time counted from a whole second gives the very same instant back."""
    now = start + later
    assert start + (now - start) == now
    assert math.floor(now) + (now - math.floor(now)) == now


def manage(lines: list[str]) -> None:
    """Record what the real client asks in memory, and what it is told, in virtual time."""
    webhook = WebhookConfig(url="http://127.0.0.1:1/x", faults="duplicate,late=0-9,forged_code@0.5")
    config = SandboxConfig(faults="any:server_error@0.1", webhook=webhook)

    async def receive(post: WebhookPost) -> int:
        await asyncio.sleep(0.1)
        return 503 if post.number % 2 else 200

    @virtual_time
    async def verifications() -> None:
        engine = SandboxEngine(config, seed=11)
        recorder = Recorder(engine, lines.append, start=EPOCH.timestamp())
        service = MemoryService(engine, recorder=recorder)

        async def flow(activation: Any) -> None:
            await activation.wait_for_sms()

        async with (
            MemoryWebhooks(engine, receive, recorder=recorder),
            service.client() as client,
            service.manager(client) as manager,
        ):
            for name in ("whatsapp", "test-instant", "test-null-code"):
                await manager.verify(name, "us", flow=flow)

    verifications()


def test_a_session_of_the_client_is_replayed() -> None:
    """What the real client asks in virtual time is the same each time, and replays."""
    first: list[str] = []
    second: list[str] = []
    manage(first)
    manage(second)
    assert first == second
    replayed = replay_lines(first)
    assert replayed.difference is None
    assert sum('"post"' in line for line in first) > 3
    assert sum('"settled"' in line and "503" in line for line in first) > 1
    assert replayed.compared > 12


@pytest.mark.parametrize("accounts", [None, {"ACme": "s3cret-token-of-an-account"}])
def test_messages_of_applications_are_replayed(accounts: dict[str, str] | None) -> None:
    """What an application sends by Twilio's API is replayed, its account's token left out."""
    session = Session(SandboxConfig(sms_delay="never", twilio_accounts=accounts))
    session.buy()
    body = b"To=%2B12015550100&From=Acme&Body=Your+code+is+4711"
    statuses = []
    for credentials in ("ACme:s3cret-token-of-an-account", "ACme:s3cret-of-others", "ACme:", "x"):
        encoded = base64.b64encode(credentials.encode()).decode()
        request = SandboxRequest(
            "POST",
            "/2010-04-01/Accounts/ACme/Messages.json",
            {"Authorization": f"Basic {encoded}"},
            body,
        )
        statuses.append(session.front.handle(request, session.now).status)
        assert encoded not in session.text
    session.send("POST", "/sandbox/sms", {"to": "+12015550100", "text": "Code 4712"}, key=None)
    session.send("GET", "/_sandbox/messages")
    assert statuses == [201, 201 if accounts is None else 401, 401, 401]
    assert "s3cret" not in session.text
    assert replay_lines(session.lines).difference is None


# ---- what is written ----


def test_a_refused_message_is_replayed() -> None:
    """Also as the first of all, and when nothing else has told the engine the time."""
    session = Session()
    for _ in range(2):
        assert session.send("POST", "/sandbox/sms", {"to": "x"}).status == 400
        session.now += 100.5
    assert [json.loads(line)["at"] for line in session.lines[1:]] == [0.0, 100.5]
    assert replay_lines(session.lines).difference is None


def test_a_clock_that_is_set_back_is_replayed() -> None:
    """Time never goes back in a session, so that a replay gives the same dates."""
    session = Session()
    session.buy()
    session.now -= 3600
    for path in ("/api/v1/countries", "/_sandbox/stats", "/sandbox/sms"):
        session.send("GET", path)
    assert {json.loads(line)["at"] for line in session.lines[1:]} == {0.0}
    assert replay_lines(session.lines).difference is None


def test_what_a_line_holds() -> None:
    """A line tells when, what was asked and what was answered, in full."""
    session = sign_up()
    head, purchase, status, deliver, *_ = map(json.loads, session.lines)
    assert (head["papsms_recording"], head["seed"], head["start"]) == (FORM, 5, int(NOW))
    assert purchase["at"] == 0.0
    assert purchase["request"] == {
        "method": "POST",
        "path": "/api/v1/numbers/purchase",
        "headers": {"Authorization": "Bearer key-1"},
        "body": '{"country": "us", "service": "whatsapp"}',
        "peer": "::1",
    }
    assert purchase["answer"]["status"] == 200
    assert purchase["answer"]["delivery"] == "answer"
    assert 0.0 < purchase["answer"]["delay"] < 0.1
    assert purchase["answer"]["headers"]["Content-Type"] == "application/json"
    assert json.loads(purchase["answer"]["body"])["data"]["service"] == "whatsapp"
    assert status["at"] == 3.25
    assert deliver["request"]["path"] == "/_sandbox/deliver"


def test_bodies_of_all_kinds_are_replayed() -> None:
    """A body that is no text is written in base64, a long answer as a digest."""
    session = sign_up()
    assert '"body_base64": "//4="' in session.text
    assert '"body_sha256": "' in session.text
    assert max(map(len, session.lines)) < 40_000
    assert replay_lines(session.lines) == replay_lines(iter(session.lines))
    assert replay_lines(session.lines).difference is None


def test_pages_are_not_recorded() -> None:
    """What has nothing to do with the session, such as its documentation, is not in it."""
    session = Session()
    for path in ("/_sandbox/docs", "/openapi.json", "/_sandbox/openapi.json?x"):
        assert session.send("GET", path).status == 200
    assert len(session.lines) == 1


def test_every_header_that_is_read_is_recorded() -> None:
    """Each header of a request that the engine and the control API look at is kept."""
    outside = {"guard.py", "page.py", "serving.py"}  # before the recorder, or static
    read = {
        ast.literal_eval(node.args[0])
        for source in SOURCES.rglob("*.py")
        if source.name not in outside
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "header"
        and isinstance(node.args[0], ast.Constant)
    }
    assert read
    assert read <= set(KEPT_HEADERS)


def test_only_faults_on_connections_record_connections() -> None:
    """Connections are written down where a fault may refuse one, and replayed in their place."""
    session = Session(SandboxConfig(faults="connect:refuse#2"))
    assert [session.recorder.refuses_connection() for _ in range(3)] == [False, True, False]
    assert session.text.count('{"connection": "refused"}') == 1
    session.send("DELETE", "/_sandbox/faults")
    assert not session.recorder.refuses_connection()
    assert len(session.lines) == 5
    assert replay_lines(session.lines).difference is None
    session.lines[1], session.lines[2] = session.lines[2], session.lines[1]
    difference = replay_lines(session.lines).difference
    assert difference is not None
    assert (difference.line, difference.what) == (2, "a connection")


# ---- what is left out ----


@pytest.mark.parametrize(
    "value",
    [
        f"Bearer {KEY}",
        f"bearer   {KEY} ",
        f"Bearer {OTHER}",
        KEY,
        OTHER,
        f"Basic {OTHER}",
        f"{OTHER} Bearer",
        "",
    ],
)
def test_keys_are_never_recorded(value: str) -> None:
    """No key gets into a recording, accepted or not, wherever it is put; the replay is the same."""
    config = SandboxConfig(api_keys=[KEY, "short"], key_limits={KEY: "2/60s"})
    session = Session(config)
    for _ in range(3):
        for path in ("/api/v1/countries", f"/api/v1/countries?key={KEY}&other={value.split()}"):
            body = f'{{"service": "{KEY}", "country": "us"}}'.encode()
            request = SandboxRequest("POST", path, {"authorization": value, "X-Key": KEY}, body)
            session.front.handle(request, session.now)
            purchase = attrs.evolve(request, path="/api/v1/numbers/purchase")
            session.front.handle(purchase, session.now)
    assert KEY not in session.text
    assert OTHER not in session.text
    assert replay_lines(session.lines).difference is None


def test_a_key_is_told_from_another() -> None:
    """Each accepted key has a stand-in of its own, so that its limit is replayed."""
    session = Session(SandboxConfig(api_keys=["b", "a"], key_limits={"b": "1/60s"}))
    statuses = [session.send("GET", "/api/v1/countries", key=key).status for key in "abbax"]
    assert statuses == [200, 200, 429, 200, 401]
    keys = [json.loads(line)["request"]["headers"]["Authorization"] for line in session.lines[1:]]
    assert keys == [
        "Bearer key-1",
        "Bearer key-2",
        "Bearer key-2",
        "Bearer key-1",
        "Bearer unknown",
    ]
    assert replay_lines(session.lines).difference is None


@pytest.mark.parametrize(
    "settings",
    [
        {"url": f"http://127.0.0.1:9000/{HOOK}?x={OTHER}", "secret": SIGNED, "attempts": 2},
        {"url": f"http://localhost/{HOOK}", "faults": ["late=1-2"], "shape": "camel"},
        {"url": f"http://elsewhere.test/{HOOK}"},
        {"url": f"http://127.0.0.1/{HOOK}", "secret": HOOK},
        {"url": f"http://127.0.0.1/{HOOK}", "shape": "round"},
        {"url": f"ftp://127.0.0.1/{HOOK}"},
        {"url": f"http://me:{OTHER}@127.0.0.1/{HOOK}"},
        {"url": f"http://127.0.0.1/{HOOK}/\u00e9"},
        {"url": 7},
        {"uri": HOOK},
        {"secret": SIGNED},
        [SIGNED],
        f'{{"secret": "{SIGNED}"'.encode(),
    ],
    ids=range(13),
)
def test_secrets_of_webhooks_are_never_recorded(settings: Any) -> None:
    """Neither path nor secret of a webhook is recorded, right or wrong, and the answer replays."""
    session = Session(SandboxConfig(sms_delay="fixed:1"))
    for _ in range(2):
        session.send("PUT", "//_sandbox/webhook/?x", settings)
        session.buy()
        session.now += 2
        for post in session.recorder.take_due(session.now):
            session.send("PUT", "/_sandbox/webhook", {"url": f"http://127.0.0.1:9000/{HOOK}/new"})
            session.recorder.settle(post.number, status=500, now=session.now + 1)
        session.send("GET", "/_sandbox/webhook")
        session.now += 60
        session.recorder.take_due(session.now)
        session.send("GET", "/_sandbox/webhooks")
    for secret in (HOOK, SIGNED, OTHER):
        assert secret not in session.text
    assert replay_lines(session.lines).difference is None


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/_sandbox//webhook", 200),
        ("/_sandbox/webhook//", 200),
        ("/_sandbox/webhooks", 405),
        ("/_sandbox/webhook/secret", 404),
    ],
)
def test_secrets_of_webhooks_are_not_recorded_however_the_path_is_written(
    path: str, status: int
) -> None:
    """What the control API takes for the webhook's settings is masked, and what looks like it."""
    session = Session()
    settings = {"url": f"http://127.0.0.1:9000/{HOOK}", "secret": SIGNED}
    assert session.send("PUT", path, settings).status == status
    assert HOOK not in session.text
    assert SIGNED not in session.text
    assert replay_lines(session.lines).difference is None


def settings_in(form: str) -> bytes:
    """Return a webhook's settings with its secrets, in a form in which somebody may send them."""
    settings = {"url": f"http://127.0.0.1:9000/{HOOK}", "secret": SLASHED}
    match form:
        case "json":
            return json.dumps(settings, indent=1).encode()
        case "escaped":
            return json.dumps(settings).replace("/", "\\/").encode()
        case "utf-16":
            return json.dumps(settings).encode("utf-16")
        case "form":
            return urlencode(settings).encode()
        case "plain":
            return f"url=http://127.0.0.1:9000/{HOOK}&secret=abc".encode()
        case "underscore":
            return SLASHED.replace("_", "%5F").encode()
        case "nested":
            return json.dumps({"webhook": [{"hook": SLASHED}, {"x": settings}]}).encode()
        case "cut":
            return b'\xff{"secret": "' + SLASHED.encode()
        case _:
            raise AssertionError(form)


@pytest.mark.parametrize(
    "form", ["json", "escaped", "utf-16", "form", "plain", "underscore", "nested", "cut"]
)
@pytest.mark.parametrize(
    "path",
    [
        "/_sandbox/hook",
        "/_sandbox/deliver",
        "/_sandbox/",
        "/webhook",
        "/sandbox/sms",
        "/api/v1/webhook",
        "/api/v1/numbers/purchase",
        "/2010-04-01/Accounts/AC1/Messages.json",
        f"/_sandbox/webhook?secret={quote(SLASHED)}",
        f"/_sandbox/webhook?url=http://127.0.0.1:9/{HOOK}",
        f"/_sandbox/hook?x=1&url={quote(f'http://127.0.0.1:9/{HOOK}', safe='')}",
        f"/_sandbox/{SLASHED}",
    ],
)
def test_secrets_sent_to_a_wrong_path_are_not_recorded(path: str, form: str) -> None:
    """Whoever mistypes the path has sent the secret all the same; the replay is the same."""
    session = Session()
    for method in ("PUT", "POST"):
        session.send(method, path, settings_in(form))
    for secret in (SLASHED, SLASHED.replace("/", "\\/"), quote(SLASHED, safe=""), HOOK):
        for part in (secret, secret.removeprefix("whsec_")):
            assert part not in session.text
            assert json.dumps(part)[1:-1] not in session.text
    for line in session.lines[1:]:
        recorded = json.loads(line)["request"]
        body = base64.b64decode(recorded.get("body_base64", ""))
        assert SLASHED.encode() not in body
        assert SLASHED.encode("utf-16-le") not in body
    assert replay_lines(session.lines).difference is None


def test_a_secret_in_a_header_or_an_answer_is_not_recorded() -> None:
    """Also where the sandbox repeats what it was sent."""
    session = Session()
    headers = {"Content-Type": f"application/json; {SIGNED}", "Authorization": SIGNED}
    session.front.handle(SandboxRequest("POST", "/_sandbox/reset", headers), NOW)
    reply = session.send("PUT", "/_sandbox/faults", {"faults": SIGNED})
    assert SIGNED.lower().encode() in reply.body.lower()
    session.send("POST", "/sandbox/sms", {"to": "+14155550123", "text": f"{SIGNED} code 4711"})
    assert SIGNED not in session.text
    assert "4711" in session.text
    assert replay_lines(session.lines).difference is None


def test_a_webhook_that_is_another_one_is_a_difference() -> None:
    """A webhook that was posted then and not now is told, and one that says something else."""
    webhook = WebhookConfig(url="http://127.0.0.1/x")
    session = Session(SandboxConfig(sms_delay="fixed:1", webhook=webhook))
    session.buy()
    session.now += 1
    (post,) = session.recorder.take_due(session.now)
    code = json.loads(post.body)["code"]
    for changed_line, part, recorded, now in (
        (session.lines[-1].replace(code, "0000"), "body", "0000", code),
        (session.lines[-1].replace('"at": 1.0', '"at": 0.5'), "fate", "posted", "none was due"),
    ):
        difference = replay_lines([*session.lines[:-1], changed_line]).difference
        assert difference is not None
        assert (difference.what, difference.part) == (f"webhook {post.number}", part)
        assert recorded in difference.recorded
        assert now in difference.replayed


# ---- differences ----


def changed(line: str, **changes: Any) -> str:
    """Return a line whose answer is another one."""
    entry = json.loads(line)
    entry["answer"] |= changes
    return json.dumps(entry) + "\n"


@pytest.mark.parametrize(
    ("changes", "part", "recorded"),
    [
        ({"status": 201}, "status", "201"),
        ({"delivery": "drop"}, "delivery", "drop"),
        ({"delay": 0.5}, "delay", "0.5"),
        ({"headers": {"Date": "x"}}, "header Date", "x"),
        ({"headers": {}}, "header Date", "none"),
        ({"body": "{}"}, "body", "{}"),
    ],
)
def test_the_first_difference_is_told(changes: dict[str, Any], part: str, recorded: str) -> None:
    """Whatever of an answer is not as recorded is found, and told with its line."""
    lines = sign_up().lines
    lines[2] = changed(lines[2], **changes)
    lines[3] = changed(lines[3], status=500)
    difference = replay_lines(lines).difference
    assert difference is not None
    assert (difference.line, difference.at, difference.part) == (3, 3.25, part)
    assert difference.recorded == recorded
    assert f"line 3, 3.250 s after the start: {difference.what}: another {part}" in str(difference)


def test_a_long_body_is_shown_where_it_differs() -> None:
    """Of two bodies the part is shown in which they begin to differ."""
    lines = sign_up().lines
    lines[1] = lines[1].replace('\\"cost\\": 0.80', '\\"cost\\": 0.90')
    difference = replay_lines(lines).difference
    assert difference is not None
    assert difference.recorded.endswith('"cost": 0.90}}')
    assert difference.replayed.endswith('"cost": 0.80}}')
    assert difference.recorded.startswith("...")
    assert len(difference.recorded) < 90


def test_another_digest_is_a_difference() -> None:
    """An answer of which only the digest is recorded is compared by it."""
    lines = sign_up().lines
    lines[-1] = changed(lines[-1], body_sha256="00")
    difference = replay_lines(lines).difference
    assert difference is not None
    assert difference.part == "body sha256"


# ---- files that are none ----


def damaged_head(**changes: Any) -> list[str]:
    """Return a recording whose first line is changed."""
    lines = sign_up().lines
    return [json.dumps(json.loads(lines[0]) | changes) + "\n", *lines[1:]]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "it is empty"),
        (["\n"], "it is empty"),
        (["hello\n"], "this is no recording"),
        (["{}\n"], "this is no recording"),
        (['{"reference": 1}\n'], "this is no recording"),
        (["[" * 100_000], "this is no recording"),
        (damaged_head(papsms_recording=99, version="9.0"), "a newer version, 9.0: upgrade"),
        (damaged_head(seed="x"), "line 1 is damaged"),
        (damaged_head(config={"nothing": 1}), "line 1 is damaged"),
        (damaged_head(config={"limit": {"requests": 0, "per": 1, "kind": "gcra"}}), "line 1"),
        (damaged_head(config={"balance": "x"}), "line 1 is damaged"),
        ([sign_up().lines[0][:100]], "line 1 is cut off"),
        ([*sign_up().lines[:3], sign_up().lines[3][:50]], "line 4 is cut off"),
        ([*sign_up().lines[:3], "{}\n"], "line 4: it is no line of a recording"),
        ([*sign_up().lines[:3], "17\n"], "line 4: it is no line of a recording"),
        ([sign_up().lines[0], sign_up().lines[1].replace('"at": 0.0', '"at": NaN')], "line 2"),
    ],
    ids=range(16),
)
def test_a_bad_file_is_told(lines: list[str], said: str) -> None:
    """What is no recording, of a newer form, cut off or damaged is told in one sentence."""
    with pytest.raises(RecordingError) as raised:
        replay_lines(lines)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_any_damage_is_an_error_or_a_difference(data: st.DataObject) -> None:
    """A recording with a byte too many or too few never fails in another way."""
    text = sign_up().text
    at = data.draw(st.integers(0, len(text) - 1))
    hurt = text[:at] + data.draw(st.sampled_from(["", "x", "{", '"', "0"])) + text[at + 1 :]
    with contextlib.suppress(RecordingError):
        replay_lines(hurt.splitlines(keepends=True))


# ---- configurations ----


@pytest.mark.parametrize(
    "options",
    [
        {"allowed_ips": ["::1", "127.0.0.1"]},
        {"balance": Decimal("0.10")},
        {"limit": LimitSpec(61, 61.123456789012345, LimitKind.GCRA)},
        {"limit": "none"},
        {"api_keys": ["b", "a"], "key_limits": {"a": "1/1s"}},
        {"retry_after": "date", "error_shape": "message", "countries_shape": "mapping"},
        {"sms_delay": Mixture(Lognormal(1 / 3, 1e-300), never=0.1)},
        {"sms_delay": Uniform(1e-7, 2 / 3)},
        {"sms_delay": Fixed(1 / 7)},
        {"sms_delay": Never()},
        {"lifetime": 0.1, "min_cancel_age": 1e-9, "max_open": 3, "errors_with_200": True},
        {"latency": 0.1 + 0.2, "latency_jitter": 1e10},
        {"webhook": WebhookConfig(url="http://[::1]:9/x", secret=SIGNED, backoff=1 / 3)},
        {
            "webhook": WebhookConfig(url="https://a.test/", faults="loss@0.1,late=1-2#3"),
            "webhook_remote": True,
        },
        {"faults": "purchase:drop_after@0.05,finish:server_error=503/html/after#1-2,any:slow"},
    ],
    ids=str,
)
def test_a_configuration_is_recorded_exactly(options: dict[str, Any]) -> None:
    """Every option comes back as it was, to the last digit."""
    config = SandboxConfig(**options)
    assert read_config(json.loads(json.dumps(write_config(config)))) == config


def test_a_law_of_ones_own_is_not_recorded() -> None:
    """What no recording can say is refused before anything is served."""

    class Mine:
        def sample(self, rng: object) -> float:
            return 1.0

    with pytest.raises(ValueError, match="one's own"):
        Session(SandboxConfig(sms_delay=Mine()))


def test_a_used_engine_is_not_recorded() -> None:
    """A recording begins with a fresh engine: what was before could not be replayed."""
    used = SandboxEngine()
    used.advance(NOW)
    struck = SandboxEngine()
    struck.set_faults(FaultSet(SandboxConfig.parse_faults("any:hang")))
    for engine in (used, struck):
        with pytest.raises(ValueError, match="fresh engine"):
            Recorder(engine, print, start=NOW)


def test_a_head_is_read_back() -> None:
    """The first line says with what a replay begins."""
    head = Head.read(sign_up().lines[0])
    assert (head.start, head.seed, head.config.latency_jitter) == (int(NOW), 5, 0.1)


# ---- files and sockets ----


async def test_a_server_records_what_it_serves(tmp_path: Path) -> None:
    """What goes over sockets is in the file before the answer has arrived, and replays."""
    path = tmp_path / "session.jsonl"
    file = RecordingFile(os.open(path, os.O_CREAT | os.O_WRONLY))
    engine = SandboxEngine(SandboxConfig(faults="connect:refuse#2", latency_jitter=0.01), seed=2)
    recorder = Recorder(engine, file.write, start=NOW)
    async with asyncio.timeout(15), SandboxServer(engine, recorder=recorder) as server:
        for refused in (False, True, False):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /api/v1/countries HTTP/1.0\r\nAuthorization: Bearer sandbox\r\n\r\n")
            with contextlib.ExitStack() as stack:
                stack.callback(writer.close)
                if refused:
                    stack.enter_context(pytest.raises(ConnectionResetError))
                assert (await reader.read(12)) == b"HTTP/1.0 200"
            assert replay_file(path).difference is None
    file.close()
    assert replay(path) == 5


def test_the_helper_is_a_test_in_one_line(tmp_path: Path) -> None:
    """The helper for tests passes a session that is the same, and fails one that is not."""
    path = tmp_path / "session.jsonl"
    lines = sign_up().lines
    path.write_text("".join(lines))
    assert replay(path) == len(lines) - 1
    path.write_text("".join(lines[:-1]) + changed(lines[-1], status=404))
    with pytest.raises(
        AssertionError, match=r"session\.jsonl: line \d+, 3\.250 s .* another status"
    ):
        replay(str(path))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(RecordingError, match="not text"):
        replay(path)


def test_a_write_that_fails_is_not_hidden() -> None:
    """What cannot be written is an error of the request, and nobody takes the session for whole."""
    written: list[str] = []

    def full(line: str) -> None:
        if written:
            raise OSError(28, "no space left on device")
        written.append(line)

    engine = SandboxEngine()
    handle = Recorder(engine, full, start=NOW).record(engine.handle)
    with pytest.raises(OSError, match="no space"):
        handle(SandboxRequest("GET", "/api/v1/countries"), NOW)
