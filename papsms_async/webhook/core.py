"""Webhooks without I/O: a request in, what it says or a refusal out.

Theory of operation
===================

Nothing but a secret in the path of the URL tells the service's webhooks from anybody's requests. So
whoever does not know it learns nothing: a wrong secret, an unknown path and an address that is not
on the list get the same answer, before anything of the body is read. Two secrets can be in force,
so that a new one is set in the account before the old one goes. They are compared as digests, all
of them each time, so that the time taken tells neither which one nor how much of it was right.

Who does know the secret is told what is wrong with a request, because that is the operator. What a
right one is told is always the same: known activations, unknown ones and copies are answered alike.

Source: PapSMS API guide, "What is not documented": the payload, its signature and its retries.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence

import attrs

from papsms_async.converter import ValueRefusedError
from papsms_async.errors import ConfigurationError
from papsms_async.models import WebhookEvent
from papsms_async.webhook.addresses import AddressRules
from papsms_async.webhook.payload import read_webhook
from papsms_async.webhook.signature import SignatureVerifier

MAX_BODY = 16 * 1024
"""Bytes that the body of a webhook has at most."""

_SECRET = re.compile(r"[A-Za-z0-9_-]{22,200}")
_ONCE = ("content-type", "content-length", "content-encoding", "host")
"""Headers whose repetition would let two readers read two things."""


@attrs.frozen(kw_only=True)
class WebhookRequest:
    """The head of a request to the receiver.

    Attributes:
        method: HTTP method, in upper case.
        path: Path below the receiver's, as it was sent: ``/`` and the secret.
        headers: Header lines; names in any case. Not shown, like the path: they may hold secrets.
        peer: Address of whoever connected; ``None`` where there is none, as on a Unix socket.
    """

    method: str
    path: str = attrs.field(repr=False)
    headers: Sequence[tuple[str, str]] = attrs.field(default=(), repr=False)
    peer: str | None = None

    def lines(self, name: str) -> list[str]:
        """Return the values of the header ``name`` (lower case), one a line."""
        return [value.strip() for key, value in self.headers if key.lower() == name]

    def header(self, name: str) -> str | None:
        """Return the value of the header ``name`` if it is there exactly once."""
        values = self.lines(name)
        return values[0] if len(values) == 1 else None


@attrs.frozen
class Refusal:
    """A request that is not taken.

    Attributes:
        status: HTTP status.
        text: Why, in words that may be sent: nothing of the request is in them.
    """

    status: int
    text: str


NOT_FOUND = Refusal(404, "not found")
WRONG_METHOD = Refusal(405, "only POST is taken")
TOO_SLOW = Refusal(408, "the body did not come in time")
TOO_LARGE = Refusal(413, f"the body has more than {MAX_BODY} bytes")
NOT_JSON = Refusal(415, "the body must be application/json, not compressed")
AMBIGUOUS = Refusal(400, "a header is repeated or can't be read")
NOT_SIGNED = Refusal(401, "the signature is missing, wrong or too old")
UNREADABLE = Refusal(400, "the body is no webhook that can be read")


class Gate:
    """Decides what is a webhook.

    Args:
        secrets: One or two texts that the path must be one of.
        signatures: Verifies signatures; ``None`` where none are asked for.
        addresses: Which addresses may send.

    Raises:
        ConfigurationError: A secret can't be used.
    """

    def __init__(
        self,
        secrets: Iterable[str],
        *,
        signatures: SignatureVerifier | None = None,
        addresses: AddressRules | None = None,
    ) -> None:
        words = tuple(secrets)
        if not 1 <= len(words) <= 2:
            raise ConfigurationError("A webhook has one secret, or two while they are rotated.")
        for word in words:
            # The secret itself is in no message.
            if not isinstance(word, str) or not _SECRET.fullmatch(word):
                raise ConfigurationError(
                    "A webhook's secret must be 22 to 200 letters, digits, - and _; make one with"
                    " papsms_async.new_webhook_secret()."
                )
        self._digests = tuple(hashlib.sha256(word.encode()).digest() for word in words)
        self._signatures = signatures
        self._addresses = addresses

    def __repr__(self) -> str:
        return f"<Gate secrets={len(self._digests)}>"

    def admit(self, request: WebhookRequest) -> Refusal | None:
        """Refuse a request by its head, before its body is read; ``None`` where that is fine."""
        given = hashlib.sha256(request.path.encode("utf-8", "surrogatepass")[1:]).digest()
        known = False
        for digest in self._digests:
            known |= hmac.compare_digest(given, digest)
        if self._addresses is not None:
            forwarded = request.lines("x-forwarded-for")
            known &= self._addresses.allows(request.peer, forwarded)
        if not known:
            return NOT_FOUND
        if request.method != "POST":
            return WRONG_METHOD
        if any(len(request.lines(name)) > 1 for name in _ONCE):
            return AMBIGUOUS
        length = request.header("content-length")
        if length is not None:
            if not (length.isascii() and length.isdecimal()):
                return AMBIGUOUS
            if len(length) > 9 or int(length) > MAX_BODY:
                return TOO_LARGE
        if request.header("content-encoding") not in (None, "", "identity"):
            return NOT_JSON
        return None if _is_json(request.header("content-type") or "") else NOT_JSON

    def read(self, request: WebhookRequest, body: bytes, *, now: float) -> WebhookEvent | Refusal:
        """Return what an admitted request says.

        Args:
            request: Its head.
            body: Its whole body.
            now: The present instant in POSIX seconds, for the age of a signature.
        """
        if len(body) > MAX_BODY:
            return TOO_LARGE
        signed = self._signatures is not None
        if self._signatures is not None and not self._signatures.accepts(
            {name: request.header(name) for name in self._signatures.HEADERS}, body, now=now
        ):
            return NOT_SIGNED
        try:
            event = read_webhook(body)
        except ValueRefusedError:
            return UNREADABLE
        return attrs.evolve(event, signed=signed)


def _is_json(content_type: str) -> bool:
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if not re.fullmatch(r"application/(json|[a-z0-9!#$&^_.+-]+\+json)", kind):
        return False
    # JSON is UTF-8; whoever names another charset would be misread.
    charsets = [word.partition("=")[2].strip('"') for word in parameters if "charset" in word]
    return all(charset in ("utf-8", "utf8") for charset in charsets)
