"""What a watcher is told: all of what is new, once, and nothing else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papsms_async.sandbox import (
    ActivationState,
    NoAnswer,
    SandboxConfig,
    SandboxEngine,
    SandboxRequest,
    WebhookConfig,
    answers,
    feed,
    parse_faults,
)
from papsms_async.sandbox.feed import Watcher
from papsms_async.sandbox.views import activation_row, summary

Make = Callable[..., Any]


def decode(events: list[bytes]) -> list[tuple[str | None, dict[str, Any]]]:
    """Return id and data of each event, read as a browser reads them."""
    found = []
    for event in events:
        text = event.decode()
        assert text.endswith("\n\n")
        assert text.count("\n\n") == 1
        fields = dict(line.split(": ", 1) for line in text.strip().split("\n"))
        assert fields["event"] == "news"
        found.append((fields.get("id"), json.loads(fields["data"])))
    return found


class Told:
    """What somebody knows who listens to a watcher; begins with a fresh one."""

    def __init__(self, engine: SandboxEngine, instance: str = "here") -> None:
        self.engine, self.instance = engine, instance
        self.id: str | None = None
        self.rows: dict[str, Any] = {}
        self.summary: Any = None
        self.requests: list[Any] = []
        self.posts: list[Any] = []
        self.connect()

    def connect(self) -> None:
        """Connect anew, going on where it was."""
        self.watcher = Watcher(self.engine, self.instance, self.id)

    def listen(self, now: float) -> int:
        """Take in what is new; return how many events that were."""
        events = decode(self.watcher.news(now))
        for mark, data in events:
            self.id = mark or self.id
            if data.get("fresh"):
                self.rows, self.requests, self.posts = {}, [], []
            self.summary = data.get("summary", self.summary)
            self.rows |= {row["activation_id"]: row for row in data.get("activations", ())}
            self.requests += data.get("requests", ())
            self.posts += data.get("posts", ())
        return len(events)


def shown(value: object) -> Any:
    """Return a value as it is after JSON."""
    return json.loads(answers.dump(value))


def check(told: Told) -> None:
    """See that what somebody was told is what is, but for the counts of status requests."""
    engine = told.engine
    assert told.rows == {
        key: shown(activation_row(activation, engine.now))
        for key, activation in engine.activations.items()
    }
    assert told.summary == shown(summary(engine))
    assert len(told.requests) == engine.traffic.logged


def test_a_fresh_watcher_is_told_everything_once(caller: Any) -> None:
    """First all there is, then nothing until something happens."""
    told = Told(caller.engine)
    assert told.listen(caller.now) == 1
    check(told)
    assert told.listen(caller.now) == 0
    caller.buy()
    assert told.listen(caller.now) == 1
    check(told)
    assert told.listen(caller.now) == 0


def test_what_time_alone_changes_is_told(make: Make) -> None:
    """SMS arrive, numbers expire and windows pass without a request."""
    caller = make(sms_delay="fixed:5", lifetime=20, limit="10/30s")
    told = Told(caller.engine)
    bought = caller.buy()
    caller.buy("test-never")
    states = []
    for later in (0, 6, 15, 15):
        caller.now += later
        told.listen(caller.now)
        check(told)
        states.append((told.rows[bought]["state"], told.summary["traffic"]["used"]))
    assert states == [("waiting", 2), ("received", 2), ("received", 2), ("received", 0)]
    assert told.summary["states"]["expired"] == 1


def test_controls_are_told(caller: Any) -> None:
    """So are faults, the limit and a reset, after which everything is fresh."""
    told = Told(caller.engine)
    caller.buy()
    told.listen(caller.now)
    caller.engine.add_faults(parse_faults("any:slow=0,status:hang@0.5"))
    assert told.listen(caller.now) == 1
    assert [fault["fault"] for fault in told.summary["faults"]] == ["any:slow=0", "status:hang@0.5"]
    caller.countries()
    told.listen(caller.now)
    assert [fault["calls"] for fault in told.summary["faults"]] == [1, 0]
    caller.engine.reset(seed=5)
    told.listen(caller.now)
    check(told)
    assert (told.rows, told.summary["seed"]) == ({}, 5)


def post_all(caller: Any, status: int | None = 204, error: NoAnswer | None = None) -> None:
    """Hand out every webhook that is due, and answer it at once."""
    for post in caller.engine.webhooks.take_due(caller.now):
        caller.engine.webhooks.settle(post.number, status=status, now=caller.now, error=error)


def test_webhooks_are_told(make: Make) -> None:
    """Where they go, what goes wrong, and each post once it has ended; nothing that is secret."""
    secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    url = "http://127.0.0.1:9000/hook/s3cret"
    caller = make(sms_delay="fixed:5")
    told = Told(caller.engine)
    told.listen(caller.now)
    assert told.summary["webhooks"]["setting"] is None
    faults = "loss#2,duplicate"
    caller.engine.set_webhook(WebhookConfig(url=url, secret=secret, faults=faults, attempts=2))
    bought = caller.buy()
    raw = b"".join(told.watcher.news(caller.now))
    assert b"s3cret" not in raw
    assert b"whsec" not in raw
    webhooks = decode([raw])[0][1]["summary"]["webhooks"]
    assert webhooks == {
        "setting": {
            "url": "http://127.0.0.1:9000/...",
            "signed": True,
            "faults": ["loss#2", "duplicate"],
            "attempts": 2,
            "backoff": 1.0,
            "timeout": 10.0,
            "shape": "flat",
        },
        "faults": [
            {"fault": "loss#2", "calls": 0, "struck": 0},
            {"fault": "duplicate", "calls": 0, "struck": 0},
        ],
        "posted": 0,
        "under_way": 0,
        "planned": 0,
        "next_at": None,
    }
    caller.now += 5
    told.listen(caller.now)
    webhooks = told.summary["webhooks"]
    assert [fault["struck"] for fault in webhooks["faults"]] == [0, 1]
    assert (webhooks["planned"], webhooks["next_at"]) == (2, caller.now)
    assert told.posts == []
    post_all(caller, None, NoAnswer.REFUSED)
    told.listen(caller.now)
    first = {"kind": "sms", "activation_id": bought, "attempt": 1, "status": None}
    assert [row | first for row in told.posts] == told.posts
    assert told.posts[0]["error"] == "refused"
    caller.now += 3
    post_all(caller)
    told.connect()
    told.listen(caller.now)
    assert sorted((r["kind"], r["attempt"], r["status"], r["duplicate"]) for r in told.posts) == [
        ("duplicate", 1, 204, True),
        ("sms", 1, None, False),
        ("sms", 2, 204, False),
    ]
    assert told.summary["webhooks"]["posted"] == 3
    caller.engine.reset()
    told.listen(caller.now)
    assert (told.posts, told.summary["webhooks"]["posted"]) == ([], 0)


def test_one_that_was_away_goes_on_where_it_was(caller: Any) -> None:
    """It is told what it missed and no more."""
    told = Told(caller.engine)
    first, second = caller.buy(), caller.buy()
    told.listen(caller.now)
    caller.finish(first, "cancelled")
    caller.engine.deliver(caller.now, activation_id=first)
    third = caller.buy()
    told.connect()
    ((_, data),) = decode(told.watcher.news(caller.now))
    assert "fresh" not in data
    assert {row["activation_id"] for row in data["activations"]} == {first, third}
    assert [row["route"] for row in data["requests"]] == ["finish", "purchase"]
    assert second not in {row["activation_id"] for row in data["activations"]}


@pytest.mark.parametrize(
    "since",
    [
        "",
        "here",
        "here.1.2.3",
        "here.1.x.3.0",
        "here.1.-1.3.0",
        "here.1.1e3.3.0",
        "there.1.1.1.0",
        "here.2.0.0.0",
        "here.1.99.0.0",
        "here.1.0.0.0.0",
        f"here.{'9' * 5000}.0.0.0",
        "здесь.1.0.0.0",
        "here.².0.0.0",
    ],
)
def test_an_id_of_elsewhere_begins_anew(caller: Any, since: str) -> None:
    """An id of another start, of another run, or no id at all."""
    caller.buy()
    ((_, data),) = decode(Watcher(caller.engine, "here", since).news(caller.now))
    assert data["fresh"] is True
    assert len(data["activations"]) == 1


def test_many_changes_come_together(caller: Any) -> None:
    """A thousand numbers that change ten times each are told once each, in few events."""
    told = Told(caller.engine)
    told.listen(caller.now)
    bought = [caller.buy() for _ in range(1000)]
    for _ in range(10):
        for activation_id in bought:
            caller.engine.deliver(caller.now, activation_id=activation_id)
    events = decode(told.watcher.news(caller.now))
    counts = Counter(row["activation_id"] for _, data in events for row in data["activations"])
    assert counts == Counter(dict.fromkeys(bought, 1))
    assert len(events) == 5
    assert [mark is not None for mark, _ in events] == [False] * 4 + [True]


def test_a_break_within_a_batch_begins_it_again(caller: Any) -> None:
    """Who saw only the first events of a batch is told all of it once more."""
    told = Told(caller.engine)
    told.listen(caller.now)
    for _ in range(450):
        caller.buy()
    before = told.id
    cut = decode(told.watcher.news(caller.now))[:2]
    assert [mark for mark, _ in cut] == [None, None]
    told.id = before
    told.connect()
    told.listen(caller.now)
    assert len(told.rows) == 450


def test_only_the_latest_are_told(caller: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more than a page can take, the oldest are left out and counted."""
    monkeypatch.setattr(feed, "MOST_ACTIVATIONS", 3)
    bought = [caller.buy() for _ in range(5)]
    ((_, data),) = decode(Watcher(caller.engine, "here", None).news(caller.now))
    assert {row["activation_id"] for row in data["activations"]} == set(bought[2:])
    assert data["left_out"] == 2


def test_texts_cannot_break_out_of_an_event(caller: Any) -> None:
    """Line ends of an SMS do not end a field."""
    bought = caller.buy()
    text = "a\n\nevent: evil\r\ndata: {}\u2028\0</script>"
    caller.engine.deliver(caller.now, activation_id=bought, text=text)
    ((_, data),) = decode(Watcher(caller.engine, "here", None).news(caller.now))
    assert data["activations"][0]["sms_text"] == text


def test_the_key_is_told_only_where_everybody_knows_it() -> None:
    """A key that somebody chose does not reach the page."""
    for keys, key in ((["sandbox", "mine"], "sandbox"), (["mine"], None)):
        engine = SandboxEngine(SandboxConfig(api_keys=keys))
        (event,) = Watcher(engine, "here", None).news(0.0)
        assert b"mine" not in event
        assert decode([event])[0][1]["summary"]["key"] == key


STEP = st.sampled_from(
    ["buy", "status", "complete", "cancel", "deliver", "delay", "drop", "end", "wait", "reset"]
)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(STEP, st.integers(0, 3), st.booleans(), st.booleans()), max_size=30),
    st.sampled_from(["fixed:4", "never"]),
)
def test_whatever_happens_a_listener_knows_all(steps: Any, law: str) -> None:
    """However seldom it listens and however often it is cut off."""
    engine = SandboxEngine(SandboxConfig(limit="5/10s", sms_delay=law, lifetime=15))
    now = 1_776_607_200.0
    told = Told(engine)

    def call(method: str, path: str, body: str = "") -> None:
        headers = {"Authorization": "Bearer sandbox"}
        engine.handle(SandboxRequest(method, f"/api/v1/{path}", headers, body.encode()), now)

    for step, which, listens, breaks in steps:
        ids = list(engine.activations)
        one = engine.activations[ids[which % len(ids)]] if ids else None
        match step:
            case "buy":
                call("POST", "numbers/purchase", '{"country": "us", "service": "x"}')
            case "wait":
                now += 1.5
            case "reset":
                engine.reset()
            case "status" if one:
                call("GET", f"numbers/status/{one.activation_id}")
            case "complete" | "cancel" as word if one:
                status = {"complete": "completed", "cancel": "cancelled"}[word]
                call("POST", f"numbers/finish/{one.activation_id}", f'{{"status": "{status}"}}')
            case "deliver" | "delay" as word if one:
                wait = 2.0 * (word == "delay")
                engine.deliver(now, activation_id=one.activation_id, delay=wait)
            case "drop" if one:
                engine.drop(now, one)
            case "end" if one:
                engine.end(now, one, ActivationState.EXPIRED)
        if listens:
            told.listen(now)
            check(told)
        if breaks:
            told.connect()
    told.listen(now)
    check(told)
