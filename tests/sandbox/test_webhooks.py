"""Planning of webhooks: which posts are due when, at a time that only the test moves."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable
from math import inf
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async.sandbox import (
    PostKind,
    SandboxConfig,
    SandboxEngine,
    SandboxRequest,
    WebhookConfig,
    WebhookFaultKind,
    WebhookPost,
    parse_webhook_faults,
)

URL = "http://127.0.0.1:8000/hook/s3cret"
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
START = 1_776_607_200.0

Make = Callable[..., Any]
Answer = Callable[[WebhookPost, float], int | None]


@attrs.define
class Posted:
    """A post with the time at which it left."""

    at: float
    post: WebhookPost

    @property
    def body(self) -> dict[str, Any]:
        """Its body, decoded."""
        decoded = json.loads(self.post.body)
        assert isinstance(decoded, dict)
        return decoded


def hooked(make: Make, *, seed: int = 0, sms_delay: str = "fixed:5", **webhook: Any) -> Any:
    """Return a caller to an engine with a webhook."""
    return make(seed=seed, sms_delay=sms_delay, webhook=WebhookConfig(url=URL, **webhook))


def drain(
    caller: Any, *, until: float = inf, answer: Answer = lambda post, at: 200
) -> list[Posted]:
    """Let time pass from one due thing to the next, and answer each post at once."""
    engine: SandboxEngine = caller.engine
    posted: list[Posted] = []
    while (due := engine.next_change_at()) <= until and due < inf:
        caller.now = max(caller.now, due)
        engine.advance(caller.now)
        for post in engine.webhooks.take_due(caller.now):
            posted.append(Posted(caller.now, post))
            engine.webhooks.settle(post.number, status=answer(post, caller.now), now=caller.now)
    return posted


def test_an_sms_is_told_of_once(make: Make) -> None:
    """One SMS gives one post, when it arrives, with what the service documents."""
    caller = hooked(make)
    activation_id = caller.buy()
    [posted] = drain(caller)
    sms = caller.engine.activations[activation_id]
    assert posted.at == START + 5
    assert posted.body == {
        "activation_id": activation_id,
        "code": sms.sms_code,
        "full_text": sms.sms_text,
    }
    assert (posted.post.kind, posted.post.attempt, posted.post.url) == (PostKind.SMS, 1, URL)


def test_without_a_webhook_nothing_is_planned(make: Make) -> None:
    """Without a URL there are no posts, and no log."""
    caller = make(sms_delay="fixed:5")
    caller.buy()
    assert drain(caller) == []
    assert list(caller.engine.webhooks.log) == []


@pytest.mark.parametrize("word", ["completed", "cancelled"])
def test_no_sms_no_post(make: Make, word: str) -> None:
    """A number that is finished before its SMS gets none, and one without SMS neither."""
    caller = hooked(make)
    activation_id = caller.buy()
    caller.buy("test-never")
    caller.finish(activation_id, word)
    assert drain(caller) == []


def test_an_sms_after_expiry_is_none(make: Make) -> None:
    """An SMS that would come at or after the number's expiry does not come."""
    caller = hooked(make, sms_delay="fixed:1200")
    caller.buy()
    assert drain(caller) == []


def test_a_magic_sms_is_told_of_too(make: Make) -> None:
    """SMS at once, without code, and just before a cancel are told of as others are."""
    caller = hooked(make)
    ids = {name: caller.buy(name) for name in ("test-instant", "test-null-code", "test-race")}
    assert caller.error(caller.finish(ids["test-race"], "cancelled"))[1] == "CANNOT_CANCEL"
    posted = {p.body["activation_id"]: p.body for p in drain(caller, until=START)}
    assert set(posted) == set(ids.values())
    assert posted[ids["test-null-code"]]["code"] is None
    assert posted[ids["test-null-code"]]["full_text"]


def test_each_sms_to_a_number_is_told_of(make: Make) -> None:
    """A second SMS to the same number is another event; one that replaces a future one is one."""
    caller = hooked(make)
    activation_id = caller.buy()
    caller.engine.deliver(START + 1, activation_id=activation_id, code="1111")
    caller.engine.deliver(START + 1, activation_id=activation_id, code="2222")
    assert [p.body["code"] for p in drain(caller)] == ["1111", "2222"]


def test_attempts_until_one_succeeds(make: Make) -> None:
    """A refused or unanswered post is tried again, each time after a longer pause."""
    caller = hooked(make, backoff=2.0)
    activation_id = caller.buy()
    statuses = iter([500, None, 404, 204])
    posted = drain(caller, answer=lambda post, at: next(statuses))
    assert [p.post.attempt for p in posted] == [1, 2, 3, 4]
    pauses = [b.at - a.at for a, b in itertools.pairwise(posted)]
    for pause, planned in zip(pauses, [2.0, 6.0, 18.0], strict=True):
        assert 0.8 * planned <= pause <= 1.2 * planned
    assert len({p.post.body for p in posted}) == 1
    assert [(e.attempt, e.status) for e in caller.engine.webhooks.log] == [
        (1, 500),
        (2, None),
        (3, 404),
        (4, 204),
    ]
    assert {e.activation_id for e in caller.engine.webhooks.log} == {activation_id}


@pytest.mark.parametrize(("status", "attempts"), [(500, 3), (302, 3), (None, 3), (410, 1)])
def test_attempts_end(make: Make, status: int | None, attempts: int) -> None:
    """After the last attempt, or when the receiver says Gone, there is no other."""
    caller = hooked(make, attempts=3)
    caller.buy()
    assert len(drain(caller, answer=lambda post, at: status)) == attempts


def test_a_repeated_post_keeps_its_id_and_not_its_timestamp(make: Make) -> None:
    """As the specification has it: one id for an event, one timestamp for an attempt."""
    caller = hooked(make, secret=SECRET, backoff=10.0, attempts=2)
    caller.buy()
    first, second = drain(caller, answer=lambda post, at: 500)
    assert first.post.headers["webhook-id"] == second.post.headers["webhook-id"]
    for posted in (first, second):
        assert posted.post.headers["webhook-timestamp"] == str(int(posted.at))
    assert first.post.headers["webhook-signature"] != second.post.headers["webhook-signature"]


def test_loss(make: Make) -> None:
    """A lost post is made by nobody, and the log says so."""
    caller = hooked(make, faults="loss#1")
    lost, told = caller.buy(), caller.buy()
    assert [p.post.activation_id for p in drain(caller)] == [told]
    entries = {e.activation_id: e for e in caller.engine.webhooks.log}
    assert (entries[lost].kind, entries[lost].attempt, entries[lost].status) == ("lost", 0, None)


def test_late(make: Make) -> None:
    """A late post leaves late, also after the number was finished."""
    caller = hooked(make, faults="late=30-40")
    activation_id = caller.buy()
    caller.now += 6
    caller.finish(activation_id, "completed")
    [posted] = drain(caller)
    assert START + 35 <= posted.at <= START + 45


def test_duplicates(make: Make) -> None:
    """Duplicates are the same message again, soon, though the first was accepted."""
    caller = hooked(make, faults="duplicate=2", secret=SECRET)
    caller.buy()
    posted = drain(caller)
    assert Counter(p.post.kind for p in posted) == {PostKind.SMS: 1, PostKind.DUPLICATE: 2}
    assert len({(p.post.headers["webhook-id"], p.post.body) for p in posted}) == 1
    assert all(START + 5 <= p.at <= START + 7 for p in posted)


def test_a_refused_duplicate_is_not_tried_again(make: Make) -> None:
    """Only the post itself is tried again."""
    caller = hooked(make, faults="duplicate=3", attempts=2)
    caller.buy()
    posted = drain(caller, answer=lambda post, at: 500)
    assert Counter(p.post.kind for p in posted) == {PostKind.SMS: 2, PostKind.DUPLICATE: 3}


def test_reorder(make: Make) -> None:
    """A post that is held back leaves after the next SMS's, or alone when its time is up."""
    caller = hooked(make, faults="reorder#1", sms_delay="never")
    first, second = caller.buy(), caller.buy()
    caller.engine.deliver(START + 1, activation_id=first)
    caller.engine.deliver(START + 2, activation_id=second)
    posted = drain(caller)
    assert [p.post.activation_id for p in posted] == [second, first]
    assert posted[0].at == START + 2
    assert posted[1].at == pytest.approx(START + 2.05)

    caller = hooked(make, faults="reorder=7", sms_delay="never")
    caller.engine.deliver(START, activation_id=caller.buy())
    assert [p.at for p in drain(caller)] == [START + 7]


def test_a_late_post_is_not_hurried_by_a_reorder(make: Make) -> None:
    """A post that is held back and late leaves when it would have, at the earliest."""
    caller = hooked(make, faults="reorder=50#1,late=30#1", sms_delay="never")
    first, second = caller.buy(), caller.buy()
    caller.engine.deliver(START, activation_id=first)
    caller.engine.deliver(START + 1, activation_id=second)
    assert [(p.post.activation_id, p.at) for p in drain(caller)] == [
        (second, START + 1),
        (first, START + 30),
    ]


def test_replay(make: Make) -> None:
    """A replay is the first post byte for byte, its old timestamp included."""
    caller = hooked(make, faults="replay=400", secret=SECRET)
    caller.buy()
    first, replay = drain(caller, until=START + 1000)
    assert replay.at == first.at + 400
    assert replay.post.kind is PostKind.REPLAY
    assert (replay.post.headers, replay.post.body) == (first.post.headers, first.post.body)


@pytest.mark.parametrize("kind", ["forged_code", "forged_id", "forged_path"])
@pytest.mark.parametrize("secret", [None, SECRET])
def test_forgeries(make: Make, kind: str, secret: str | None) -> None:
    """A forgery comes after the purchase, SMS or not, and never has code and address right."""
    caller = hooked(make, faults=kind, secret=secret, sms_delay="never")
    ids = [caller.buy() for _ in range(40)]
    posted = drain(caller, until=START + 100)
    assert len(posted) == 40
    signed = 0
    for p in posted:
        assert START <= p.at <= START + 10
        assert p.post.kind == kind
        activation = caller.engine.activations.get(p.body["activation_id"])
        assert (activation is None) == (kind == "forged_id")
        assert activation is None or activation.sms_code != p.body["code"]
        assert (p.post.url == URL) == (kind != "forged_path")
        signed += "webhook-signature" in p.post.headers
    assert (0 < signed < 40) if secret else signed == 0
    assert kind == "forged_id" or {p.body["activation_id"] for p in posted} == set(ids)


def test_forgeries_are_counted_by_purchases(make: Make) -> None:
    """The number of an event counts purchases for forgeries, and SMS for what happens to them."""
    caller = hooked(make, faults="forged_code#2,duplicate#2", sms_delay="never")
    ids = [caller.buy() for _ in range(3)]
    for activation_id in reversed(ids):
        caller.engine.deliver(START, activation_id=activation_id)
    posted = drain(caller)
    forged = [p.post.activation_id for p in posted if p.post.kind is PostKind.FORGED_CODE]
    twice = [p.post.activation_id for p in posted if p.post.kind is PostKind.DUPLICATE]
    assert (forged, twice) == ([ids[1]], [ids[1]])


def test_equal_seeds_give_equal_posts(make: Make) -> None:
    """The same seed gives the same posts byte for byte, another seed others."""
    faults = "loss@0.1,late=0-30@0.5,duplicate@0.3,reorder@0.2,replay@0.1,forged_code@0.3"

    def trace(seed: int) -> list[tuple[object, ...]]:
        caller = hooked(make, seed=seed, faults=faults, secret=SECRET, sms_delay="uniform:1-60")
        for _ in range(100):
            caller.buy()
        posted = drain(caller, answer=lambda post, at: 500 if post.number % 3 == 0 else 200)
        return [(p.at, p.post.headers, p.post.body, p.post.url) for p in posted]

    assert trace(1) == trace(1)
    assert trace(1) != trace(2)


def test_answers_leave_the_other_events_alone(make: Make) -> None:
    """What a receiver answers, and when, changes nothing about what happens to other events."""
    faults = "loss@0.2,late=0-30@0.5,duplicate@0.3,forged_code@0.5"

    def firsts(status: int) -> list[tuple[object, ...]]:
        caller = hooked(make, seed=5, faults=faults, sms_delay="uniform:1-60")
        for _ in range(60):
            caller.buy()
        posted = drain(caller, answer=lambda post, at: status)
        return [(p.at, p.post.kind, p.post.body) for p in posted if p.post.attempt == 1]

    assert firsts(200) == firsts(500)


@given(
    seed=st.integers(0, 1000),
    faults=st.lists(
        st.tuples(st.sampled_from(list(WebhookFaultKind)), st.floats(0, 1)), max_size=5
    ),
    numbers=st.integers(1, 12),
    refuse=st.floats(0, 1),
)
def test_whatever_the_faults(
    seed: int, faults: list[tuple[WebhookFaultKind, float]], numbers: int, refuse: float
) -> None:
    """Each SMS is told of truly or logged as lost, no post leaves early, and all of it ends."""
    text = ",".join(f"{kind.value}@{share:.3f}" for kind, share in faults)
    config = SandboxConfig(
        limit="none", sms_delay="uniform:1-60", webhook=WebhookConfig(url=URL, faults=text)
    )
    engine = SandboxEngine(config, seed=seed)

    @attrs.define
    class Clock:
        engine: SandboxEngine
        now: float = START

    clock = Clock(engine)
    purchase = SandboxRequest(
        "POST",
        "/api/v1/numbers/purchase",
        {"Authorization": "Bearer sandbox"},
        b'{"country": "us", "service": "whatsapp"}',
    )
    for _ in range(numbers):
        engine.handle(purchase, START)
    posted = drain(clock, answer=lambda p, at: 500 if p.number % 100 < 100 * refuse else 200)
    lost = {e.activation_id for e in engine.webhooks.log if e.kind is PostKind.LOST}
    told = {p.post.activation_id for p in posted if p.post.kind is PostKind.SMS}
    assert lost | told == set(engine.activations)
    assert not lost & told
    for p in posted:
        activation = engine.activations.get(p.post.activation_id)
        if p.post.kind.forged:
            assert activation is None or p.body["code"] != activation.sms_code
            continue
        assert activation is not None
        assert activation.sms_at is not None
        assert p.at >= activation.sms_at
        assert p.body["code"] == activation.sms_code
    assert engine.webhooks.under_way == 0


def test_at_most_so_many_at_once(make: Make) -> None:
    """Who takes few at a time gets the earliest first, and each only once."""
    caller = hooked(make, sms_delay="uniform:1-60")
    for _ in range(10):
        caller.buy()
    caller.engine.advance(START + 100)
    taken: list[WebhookPost] = []
    while part := caller.engine.webhooks.take_due(START + 100, most=3):
        assert len(part) <= 3
        taken += part
    arrivals = [caller.engine.activations[p.activation_id].sms_at for p in taken]
    assert arrivals == sorted(arrivals)
    assert len(set(arrivals)) == 10


def test_a_reset_forgets(make: Make) -> None:
    """After a reset nothing of before is planned, logged or settled, and the webhook stands."""
    caller = hooked(make)
    caller.buy("test-instant")
    caller.buy()
    [old] = caller.engine.webhooks.take_due(START)
    caller.engine.set_webhook(None)
    caller.engine.reset()
    assert caller.engine.webhooks.config.url == URL
    caller.buy("test-instant")
    [new] = caller.engine.webhooks.take_due(START)
    caller.engine.webhooks.settle(old.number, status=500, now=START)
    assert list(caller.engine.webhooks.log) == []
    caller.engine.webhooks.settle(new.number, status=200, now=START)
    assert [e.activation_id for e in caller.engine.webhooks.log] == [new.activation_id]
    assert drain(caller) == []


def test_a_webhook_set_anew(make: Make) -> None:
    """With another URL what was planned is dropped, later SMS go there."""
    caller = hooked(make)
    caller.buy("test-instant")
    [under_way] = caller.engine.webhooks.take_due(START)
    caller.buy("test-instant")
    later = caller.buy()
    other = WebhookConfig(url="http://127.0.0.1:8001/other")
    caller.engine.set_webhook(other)
    caller.engine.webhooks.settle(under_way.number, status=500, now=START)
    assert [(p.post.activation_id, p.post.url) for p in drain(caller)] == [(later, other.url)]


def test_faults_are_switched_one_by_one(make: Make) -> None:
    """What is planned stays planned, and what others have counted stays counted."""
    caller = hooked(make, faults="loss#2", sms_delay="never")
    engine: SandboxEngine = caller.engine
    bought = caller.buy()

    def arrive() -> None:
        engine.deliver(caller.now, activation_id=bought)

    arrive()
    assert engine.webhooks.planned == 1
    duplicate, late = parse_webhook_faults("duplicate#1 late")
    assert engine.add_webhook_faults([duplicate, late])
    arrive()  # the second one, which is lost, and the first that the others see
    assert engine.webhooks.fault_counts() == [
        (engine.webhooks.config.faults[0], 2, 1),  # type: ignore[union-attr]
        (duplicate, 1, 1),
        (late, 1, 1),
    ]
    assert engine.webhooks.planned == 1
    assert engine.remove_webhook_fault(duplicate)
    assert not engine.remove_webhook_fault(duplicate)
    arrive()
    assert [(str(f), *n) for f, *n in engine.webhooks.fault_counts()] == [
        ("loss#2", 3, 1),
        ("late", 2, 2),
    ]
    assert [p.at - START for p in drain(caller)] == [0.0, 60.0]
    assert engine.webhooks.planned == engine.webhooks.under_way == 0


def test_watchers_are_told(make: Make) -> None:
    """Whoever watches an engine is told of requests and of what happens by itself."""
    caller = hooked(make)
    told: list[float] = []
    unwatch = caller.engine.watch(lambda: told.append(caller.engine.now))
    caller.buy()
    assert told == [START]
    caller.engine.advance(START + 1)
    assert told == [START]
    caller.engine.advance(START + 5)
    assert told == [START, START + 5]
    unwatch()
    caller.buy()
    assert len(told) == 2
