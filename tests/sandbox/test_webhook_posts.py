"""Posts: their bodies, and signatures that a library of somebody else verifies."""

from __future__ import annotations

import base64
import json
import re
import time
from random import Random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from papsms_async.sandbox import PostKind, WebhookShape, webhook_posts
from papsms_async.sandbox.webhook_posts import WebhookEvent

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
EVENT = WebhookEvent("msg_1", "12345678", "847291", "Your WhatsApp code: 847291", 1_776_607_200.0)


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        (
            WebhookShape.FLAT,
            {
                "activation_id": "12345678",
                "code": "847291",
                "full_text": "Your WhatsApp code: 847291",
            },
        ),
        (
            WebhookShape.NESTED,
            {
                "id": "12345678",
                "sms": {
                    "code": "847291",
                    "full_text": "Your WhatsApp code: 847291",
                    "received_at": "2026-04-19T14:00:00Z",
                },
            },
        ),
        (
            WebhookShape.CAMEL,
            {
                "activationId": "12345678",
                "code": "847291",
                "text": "Your WhatsApp code: 847291",
            },
        ),
    ],
)
def test_shapes(shape: WebhookShape, body: object) -> None:
    """Each shape is JSON of the documented or the likely kind."""
    assert json.loads(EVENT.body(shape)) == body


def test_without_a_secret_nothing_is_signed() -> None:
    """The service documents no signature, so by default there is none."""
    headers = webhook_posts.headers(EVENT, b"{}", None, 0.0)
    assert set(headers) == {"Content-Type", "User-Agent"}


@given(st.binary(min_size=24, max_size=64), st.text(max_size=50))
def test_the_public_library_verifies(key: bytes, text: str) -> None:
    """A signed post is one by the Standard Webhooks specification; a changed one is not."""
    secret = "whsec_" + base64.b64encode(key).decode()
    event = attrs.evolve(EVENT, full_text=text)
    body = event.body(WebhookShape.FLAT)
    headers = webhook_posts.headers(event, body, secret, time.time())
    assert Webhook(secret).verify(body, headers)["full_text"] == text
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers | {"webhook-id": "msg_2"})


def test_the_example_of_the_specification() -> None:
    """The signature that the specification's own example gives."""
    signature = webhook_posts.sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.integers(0, 999_999), st.integers())
def test_a_forger_hits_neither_code_nor_id(code: int, seed: int) -> None:
    """A forged code is never the true one, a forged id none that the service gives."""
    true = f"{code:06d}"
    for kind in PostKind:
        if not kind.forged:
            continue
        event = webhook_posts.forged_event(
            kind, activation_id="12345678", code=true, at=0.0, rng=Random(seed)
        )
        assert event.code != true
        assert event.code is not None
        assert event.code in event.full_text
        assert (event.activation_id == "12345678") == (kind is not PostKind.FORGED_ID)
        assert kind is not PostKind.FORGED_ID or len(event.activation_id) == 10


@given(st.integers())
def test_a_forger_has_no_secret(seed: int) -> None:
    """A forger signs with a key of his own or not at all, and not where nobody signs."""
    assert webhook_posts.forged_secret(SECRET, Random(seed)) != SECRET
    assert webhook_posts.forged_secret(None, Random(seed)) is None


@pytest.mark.parametrize(
    ("url", "pattern"),
    [
        ("http://h:1/hook/abc", r"http://h:1/hook/\w{3}"),
        ("http://h/abc?x=/y", r"http://h/\w{3}\?x=/y"),
        ("http://h/hook/", r"http://h/hook/\w{22}"),
        ("http://h", r"http://h/\w{22}"),
        ("http://h/", r"http://h/\w{22}"),
        ("http://h/a", r"http://h/[^a]"),
    ],
)
def test_a_guessed_path_is_wrong(url: str, pattern: str) -> None:
    """A guess has the secret's place and length and is never the secret."""
    for seed in range(200):
        guessed = webhook_posts.guessed_url(url, Random(seed))
        assert guessed != url
        assert re.fullmatch(pattern, guessed)
