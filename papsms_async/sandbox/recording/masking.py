"""Takes out of a session what a recording must not hold: keys, and the secrets of webhooks.

Where a key is expected (``Authorization``) a stand-in takes its place, whatever was there; of a
Twilio account the token is replaced. A key that somebody put where it does not belong (a query, a
body) is overwritten by as many other characters, so that lengths stay as they were; that goes for
keys of sixteen characters and more: shorter ones may be ordinary words, and are no real keys. Of a
webhook's URL the path is a secret. Settings of a webhook may be sent to a wrong path: ``url`` and
``secret`` of any JSON object, query or form are masked, and ``whsec_...`` wherever it stands.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_plus, urlsplit

import attrs

from ..config import SandboxConfig
from ..control import control_of
from ..messages import SandboxReply, SandboxRequest
from ..twilio_api import basic_credentials
from ..webhook_config import SECRET_PREFIX, WebhookConfig, check_webhook_url

KEPT_HEADERS = ("Authorization", "Content-Type")
"""The headers of a request that its answer depends on."""

_UNKNOWN = "unknown"
_TOKEN = "token"  # noqa: S105 - stands for one
_SHORTEST = 16
_WEBHOOK = "webhook"
"""Begins the names of the controls that are told secrets, or are taken for the one that is."""
_SECRET = SECRET_PREFIX + "A" * 32
_SIGNING_SECRET = re.compile(
    r"whsec(?:_|%5f|\\u005f)(?:[a-z0-9+/=_-]|%[0-9a-f]{2}|\\/|\\u00[0-9a-f]{2})+", re.IGNORECASE
)
"""A signing secret as it is, percent-encoded, or escaped in JSON."""
_REFUSED_URLS = ("\u00e9", "http:", "http://user@host/")
"""Of each way in which a webhook's URL can be wrong one example."""
_SECRET_FIELDS = {"url", "secret"}
_FIELD = re.compile(r"(?:(?<=[?&])|^)(url|secret)=([^&\s]*)")
"""One of them in a query or a form."""
_TOLD = {"faults", "shape", "seed", "attempts", "backoff", "timeout"}
"""Fields of a webhook that are no secrets."""


class Masks:
    """What stands for what in one recording.

    Args:
        config: The sandbox's configuration, with its keys.
    """

    def __init__(self, config: SandboxConfig) -> None:
        self._names = {key: f"key-{n}" for n, key in enumerate(sorted(config.api_keys), 1)}
        self._paths: dict[str, str] = {}
        webhook = config.webhook
        if webhook is not None:
            secret = None if webhook.secret is None else _SECRET
            webhook = attrs.evolve(webhook, url=self._url(webhook.url), secret=secret)
        limits = {self._names[k]: v for k, v in config.key_limits.items() if k in self._names}
        self._accounts = config.twilio_accounts
        self.config: SandboxConfig = attrs.evolve(
            config,
            api_keys=self._names.values(),
            key_limits=limits,
            twilio_accounts=None
            if self._accounts is None
            else dict.fromkeys(self._accounts, _TOKEN),
            webhook=webhook,
        )

    def mask(
        self, request: SandboxRequest, reply: SandboxReply
    ) -> tuple[SandboxRequest, SandboxReply]:
        """Return a request and its answer as they may be recorded."""
        given = (request.header("Authorization") or "").strip()
        words = {*self._names, *given.split(), *(basic_credentials(given) or ())[1:]}
        secrets = sorted((w for w in words if len(w) >= _SHORTEST), key=len, reverse=True)
        headers = {
            name: _overwritten(value, secrets)
            for name in KEPT_HEADERS
            if (value := request.header(name)) is not None
        }
        if "Authorization" in headers:
            headers["Authorization"] = self._authorization(given)
        body = request.body
        if (control_of(request.path) or "").startswith(_WEBHOOK) and body.strip():
            body = self._webhook(body)
        else:
            body = self._misdirected(body)
        path, mark, query = request.path.partition("?")
        target = path + mark + self._fields(query)
        return (
            attrs.evolve(
                request,
                path=_overwritten(target, secrets),
                headers=headers,
                body=_overwritten_bytes(body, secrets),
            ),
            attrs.evolve(reply, body=_overwritten_bytes(reply.body, secrets)),
        )

    def _authorization(self, given: str) -> str:
        if not given:
            return ""
        scheme, _, key = given.partition(" ")
        if scheme.lower() == "basic":
            return self._basic(given)
        name = self._names.get(key.strip(), _UNKNOWN) if scheme.lower() == "bearer" else _UNKNOWN
        return f"Bearer {name}"

    def _basic(self, given: str) -> str:
        """Return credentials of the Twilio API with a stand-in for the token."""
        credentials = basic_credentials(given)
        if credentials is None:
            return f"Basic {_UNKNOWN}"
        user, token = credentials
        fits = self._accounts is None or self._accounts.get(user) == token
        shown = f"{user}:{_TOKEN if fits else _UNKNOWN}"
        return f"Basic {base64.b64encode(shown.encode()).decode()}"

    def _webhook(self, body: bytes) -> bytes:
        """Return a webhook's settings without secrets; wrong ones stay wrong in the same way."""
        try:
            given = json.loads(body)
        except (ValueError, RecursionError):
            return b"{"
        if not isinstance(given, dict):
            return b"[]"
        for name, value in given.items():
            if name in _TOLD:
                continue
            if not isinstance(value, str):
                given[name] = self._values(value)
            elif name == "url":
                given[name] = self._url(value)
            elif name == "secret" and _is_secret(value):
                given[name] = _SECRET
            else:
                given[name] = "x"
        return json.dumps(given).encode()

    def _misdirected(self, body: bytes) -> bytes:
        """Return a body of no webhook's control, without what may be meant for one."""
        letters = body.replace(b"\0", b"")  # JSON may be UTF-16 or UTF-32
        if b"url" not in letters and b"secret" not in letters:  # spares most of them the reading
            return body
        try:
            given = json.loads(body)
        except (ValueError, RecursionError):
            return self._fields(body.decode("latin-1")).encode("latin-1")
        masked = self._values(given)
        return body if masked == given else json.dumps(masked).encode()

    def _values(self, given: Any) -> Any:
        # No other control or endpoint reads these fields, so whatever stands there replays.
        if isinstance(given, list):
            return [self._values(value) for value in given]
        if isinstance(given, dict):
            return {
                name: self._masked(name, value)
                if name in _SECRET_FIELDS and isinstance(value, str)
                else self._values(value)
                for name, value in given.items()
            }
        return given

    def _fields(self, text: str) -> str:
        """Mask the fields of a query or a form."""
        return _FIELD.sub(lambda found: f"{found[1]}={self._masked(found[1], found[2])}", text)

    def _masked(self, name: str, value: str) -> str:
        return self._url(unquote_plus(value)) if name == "url" else _SECRET

    def _url(self, url: str) -> str:
        why = _objection(url)
        if why is not None:
            return next((wrong for wrong in _REFUSED_URLS if _objection(wrong) == why), "")
        parts = urlsplit(url)
        # Two URLs stay two: of a post to one of before nothing more is tried.
        path = self._paths.setdefault(url, f"/recorded-{len(self._paths) + 1}")
        return f"{parts.scheme}://{parts.netloc}{path}"


def _objection(url: str) -> str | None:
    try:
        check_webhook_url(url)
    except ValueError as error:
        return str(error)
    return None


def _is_secret(value: str) -> bool:
    try:
        WebhookConfig(url="http://localhost/", secret=value)
    except ValueError:
        return False
    return True


def _overwritten(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "x" * len(secret))
    return _SIGNING_SECRET.sub(_crossed_out, text)


def _crossed_out(found: re.Match[str]) -> str:
    return found[0] if found[0] == _SECRET else "x" * len(found[0])


def _overwritten_bytes(data: bytes, secrets: Iterable[str]) -> bytes:
    # Latin-1 has a character for each byte, so bytes that are no text stay as they are.
    words = [word.encode("utf-8", errors="surrogateescape").decode("latin-1") for word in secrets]
    return _overwritten(data.decode("latin-1"), words).encode("latin-1")
