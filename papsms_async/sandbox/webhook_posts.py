"""Posts to the receiver of webhooks, true and forged: bodies, headers, signatures.

Source: the Standard Webhooks specification for the signature: HMAC-SHA256 with the base64-decoded
secret over ``ID.TIMESTAMP.BODY``, written as ``v1,BASE64``; an id that stays the same when a post
is repeated, and a timestamp in whole seconds that does not.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from enum import StrEnum
from random import Random
from typing import assert_never

import attrs

from . import answers
from .webhook_config import SECRET_PREFIX, WebhookShape, signing_key

_WORDS = "0123456789abcdefghijklmnopqrstuvwxyz"


class PostKind(StrEnum):
    """Why a post is made."""

    SMS = "sms"
    """The service tells of an SMS; also when it tries again."""
    DUPLICATE = "duplicate"
    """The service tells once more of what it has told, or will tell."""
    REPLAY = "replay"
    """Somebody sends the bytes of an earlier post once more."""
    FORGED_CODE = "forged_code"
    FORGED_ID = "forged_id"
    FORGED_PATH = "forged_path"
    LOST = "lost"
    """No post: a fault lost it. Only in the log."""

    @property
    def forged(self) -> bool:
        """Whether what it says is not true."""
        return self in {PostKind.FORGED_CODE, PostKind.FORGED_ID, PostKind.FORGED_PATH}


class NoAnswer(StrEnum):
    """Why a post had no answer."""

    REFUSED = "refused"
    """Nobody listens there."""
    UNREACHABLE = "unreachable"
    """No way leads there: another machine, or a name that is not known."""
    TIMED_OUT = "timed_out"
    """The answer did not come in time."""
    BROKEN = "broken"
    """The connection ended before the answer, or what came was no HTTP."""


@attrs.frozen
class WebhookEvent:
    """What a webhook tells.

    Attributes:
        message_id: Names the event; the same in all posts that tell of it.
        activation_id: The activation.
        code: The code in the SMS, if one was recognised.
        full_text: The SMS's text.
        received_at: POSIX seconds.
    """

    message_id: str
    activation_id: str
    code: str | None = attrs.field(repr=False)
    full_text: str = attrs.field(repr=False)
    received_at: float

    def body(self, shape: WebhookShape) -> bytes:
        """Write it as JSON."""
        match shape:
            case WebhookShape.FLAT:
                return answers.dump(
                    {
                        "activation_id": self.activation_id,
                        "code": self.code,
                        "full_text": self.full_text,
                    }
                )
            case WebhookShape.NESTED:
                sms = {
                    "code": self.code,
                    "full_text": self.full_text,
                    "received_at": answers.instant(self.received_at),
                }
                return answers.dump({"id": self.activation_id, "sms": sms})
            case WebhookShape.CAMEL:
                return answers.dump(
                    {"activationId": self.activation_id, "code": self.code, "text": self.full_text}
                )
            case _:
                assert_never(shape)


@attrs.frozen
class WebhookPost:
    """One post, ready to be sent.

    Attributes:
        number: Names it to `papsms_async.sandbox.webhooks.WebhookOutbox.settle`.
        kind: Why it is made.
        activation_id: Of which activation it speaks.
        attempt: How often the service has tried, this time included; 1 unless ``kind`` is ``sms``.
        url: Where to. Not in the repr.
        headers: Headers.
        body: Body.
        timeout: Seconds to wait for the answer.
    """

    number: int
    kind: PostKind
    activation_id: str
    attempt: int
    url: str = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    timeout: float


def headers(event: WebhookEvent, body: bytes, secret: str | None, now: float) -> dict[str, str]:
    """Return the headers of a post that leaves now; with a secret they sign it."""
    plain = {"Content-Type": "application/json", "User-Agent": "papsms-sandbox"}
    if secret is None:
        return plain
    timestamp = str(int(now))
    return plain | {
        "webhook-id": event.message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": sign(secret, event.message_id, timestamp, body),
    }


def sign(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a post, for example ``v1,K5oZ...=``."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return (
        "v1," + base64.b64encode(hmac.digest(signing_key(secret), signed, hashlib.sha256)).decode()
    )


def message_id(rng: Random) -> str:
    """Draw the id of an event."""
    return f"msg_{rng.getrandbits(128):032x}"


def forged_event(
    kind: PostKind, *, activation_id: str, code: str | None, at: float, rng: Random
) -> WebhookEvent:
    """Draw what a forger tells.

    Args:
        kind: The kind of forgery.
        activation_id: A true id, which the forger has got hold of.
        code: The true code, which the forger does not hit.
        at: When, in POSIX seconds.
        rng: Chance.
    """
    wrong = f"{rng.randrange(1_000_000):06d}"
    if wrong == code:
        wrong = f"{(int(wrong) + 1) % 1_000_000:06d}"
    if kind is PostKind.FORGED_ID:
        # Ids that the service gives have eight digits.
        activation_id = str(rng.randrange(10**9, 10**10))
    return WebhookEvent(
        message_id(rng), activation_id, wrong, f"Your verification code: {wrong}", at
    )


def forged_secret(secret: str | None, rng: Random) -> str | None:
    """Draw what a forger signs with: nothing, or a key of his own where the service signs."""
    key = SECRET_PREFIX + base64.b64encode(rng.randbytes(24)).decode()
    signs = rng.random() < 0.5
    return key if secret is not None and signs else None


def guessed_url(url: str, rng: Random) -> str:
    """Return a URL with a wrong guess in place of its last path segment, of the same length."""
    base, query_mark, query = url.partition("?")
    head, _, secret = base.rpartition("/")
    origin_only = head.endswith("/") or not secret  # http://host, http://host/ or .../folder/
    length = 22 if origin_only else len(secret)
    guess = "".join(rng.choice(_WORDS) for _ in range(max(1, length)))
    if guess == secret:
        guess = guess[:-1] + _WORDS[(_WORDS.index(guess[-1]) + 1) % len(_WORDS)]
    kept = base.rstrip("/") if origin_only else head
    return f"{kept}/{guess}{query_mark}{query}"
