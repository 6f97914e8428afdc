"""Signatures of webhooks, as Standard Webhooks has them.

The service documents none. Where it, or a proxy of yours in front, signs, a request carries an id,
the time of its sending and an HMAC of both and the body. What is older than the tolerance is
refused, so a captured request is of no use later; within the tolerance it is one more copy, which
changes nothing. The digest is the package's, the clock is the caller's.

Source: https://www.standardwebhooks.com, "Specification".
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from papsms_async.errors import ConfigurationError

if TYPE_CHECKING:
    from standardwebhooks import Webhook

TOLERANCE = 300.0
"""Seconds that the time of sending may be off, either way."""
LEAST_KEY = 16
"""Bytes that a secret has at least."""
_MOST_SIGNATURES = 10


class SignatureVerifier:
    """Verifies the signature of a request.

    Args:
        secrets: One or two secrets in base64, with or without ``whsec_``; each is tried.
        tolerance: Seconds that the time of sending may be off.

    Raises:
        ConfigurationError: A secret can't be used, or the package is missing.
    """

    HEADERS: ClassVar[tuple[str, ...]] = ("webhook-id", "webhook-timestamp", "webhook-signature")

    def __init__(self, secrets: Iterable[str], *, tolerance: float = TOLERANCE) -> None:
        self._keys = tuple(_key(secret) for secret in secrets)
        if not 1 <= len(self._keys) <= 2:
            raise ConfigurationError(
                "Webhooks are signed with one secret, or with two while they are rotated."
            )
        if not 0 < tolerance <= 86_400:
            raise ConfigurationError("The tolerance of signatures is above 0 and up to 86400 s.")
        self._tolerance = tolerance

    def __repr__(self) -> str:
        return f"<SignatureVerifier secrets={len(self._keys)}>"

    def accepts(self, headers: Mapping[str, str | None], body: bytes, *, now: float) -> bool:
        """Return whether a request is signed with one of the secrets, and lately.

        Args:
            headers: The values of `HEADERS`; ``None`` for one that is missing or repeated.
            body: The body, byte for byte.
            now: The present instant in POSIX seconds.
        """
        message_id, sent_at, signatures = (headers.get(name) or "" for name in self.HEADERS)
        if not 0 < len(message_id) <= 256 or not re.fullmatch(r"\d{1,12}", sent_at, re.ASCII):
            return False
        if abs(now - int(sent_at)) > self._tolerance:
            return False
        given = [_digest(word) for word in signatures.split(" ")[:_MOST_SIGNATURES]]
        try:
            text = body.decode("utf-8")
            instant = datetime.fromtimestamp(int(sent_at), UTC)
        except (ValueError, OverflowError, OSError):
            return False
        right = False
        for key in self._keys:
            expected = _digest(key.sign(message_id, instant, text))
            for digest in given:
                right |= digest != b"" and hmac.compare_digest(digest, expected)
        return right


def _digest(word: str) -> bytes:
    """Return the digest of ``v1,<base64>``; of any other version, or unreadable, an empty one."""
    version, _, text = word.partition(",")
    try:
        return base64.b64decode(text, validate=True) if version == "v1" else b""
    except (binascii.Error, ValueError):
        return b""


def _key(secret: str) -> Webhook:
    try:
        from standardwebhooks import Webhook
    except ImportError as error:
        raise ConfigurationError(
            "Signatures of webhooks need standardwebhooks: pip install 'papsms-async[webhook]'."
        ) from error
    # Whatever an error says, it may quote the secret: it is not chained.
    with suppress(ValueError):
        word = secret.strip().removeprefix("whsec_")
        key = base64.b64decode(word + "=" * (-len(word) % 4), validate=True)
        if len(key) >= LEAST_KEY:
            return Webhook(key)
    raise ConfigurationError(
        f"A secret of signatures is base64 of {LEAST_KEY} bytes or more, such as"
        " whsec_MfKQ9r8GKYqr..."
    )
