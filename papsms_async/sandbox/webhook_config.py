"""Where the sandbox posts its webhooks, and how: the URL, the signature, the retries, the faults.

By default posts go to this machine alone: somebody who reaches the control API could otherwise
make the sandbox post into networks that only its host can reach.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import attrs

from .webhook_faults import WebhookFault, parse_webhook_faults

SECRET_PREFIX = "whsec_"  # noqa: S105 - what every such secret begins with
_MOST_ATTEMPTS = 20
_LONGEST_TIMEOUT = 60.0
_LONGEST_BACKOFF = 3600.0
_LONGEST_URL = 2048


class WebhookShape(StrEnum):
    """Shapes of the body; which one PapSMS uses is not documented."""

    FLAT = "flat"
    """``{"activation_id", "code", "full_text"}``"""
    NESTED = "nested"
    """``{"id", "sms": {"code", "full_text", "received_at"}}``"""
    CAMEL = "camel"
    """``{"activationId", "code", "text"}``"""


def check_webhook_url(url: str) -> str:
    """Return a URL that can be posted to.

    Raises:
        ValueError: It is none; the message says why, without the URL, whose path is a secret.
    """
    if len(url) > _LONGEST_URL or not re.fullmatch(r"[!-~]+", url):
        raise ValueError(f"a webhook URL is plain ASCII, at most {_LONGEST_URL} characters")
    try:
        parts = urlsplit(url)
        whole = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        parts, whole = urlsplit(""), False
    if not whole:
        raise ValueError("a webhook URL looks like http://127.0.0.1:8000/hook/SECRET")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError(
            "a webhook URL has no user, password or fragment; put a secret in its path"
        )
    return url


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this machine, told without asking the DNS."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def signing_key(secret: str) -> bytes:
    """Return the key in ``whsec_BASE64``, whose padding may be missing.

    Raises:
        ValueError: It is not base64.
    """
    encoded = secret.removeprefix(SECRET_PREFIX)
    return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)


def _check_url(_: object, __: object, value: str) -> None:
    check_webhook_url(value)


def _check_secret(_: object, __: object, value: str | None) -> None:
    if value is None:
        return
    try:
        fits = value.startswith(SECRET_PREFIX) and 24 <= len(signing_key(value)) <= 64
    except ValueError:
        fits = False
    if not fits:
        raise ValueError("a webhook secret is whsec_ and 24 to 64 bytes in base64")


def _within(low: float, high: float) -> Callable[[object, attrs.Attribute[Any], float], None]:
    def check(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
        if not (low <= value <= high and math.isfinite(value)):
            raise ValueError(f"{attribute.name} of a webhook is between {low:g} and {high:g}")

    return check


def _faults(value: str | Iterable[WebhookFault]) -> tuple[WebhookFault, ...]:
    return parse_webhook_faults(value) if isinstance(value, str) else tuple(value)


@attrs.frozen(kw_only=True)
class WebhookConfig:
    """Where and how webhooks are posted.

    Attributes:
        url: Receives the posts. Not in the repr: its path holds the receiver's secret.
        secret: ``whsec_...``: posts are signed as Standard Webhooks has it; ``None``: they are
            not, and carry no headers of it, as the service documents none. Not in the repr.
        faults: What goes wrong, also as text; see `papsms_async.sandbox.webhook_faults`.
        attempts: Most posts for one SMS until one is answered 2xx.
        backoff: Seconds before the second attempt; before each later one three times as many,
            give or take a fifth.
        timeout: Seconds until a post without an answer has failed.
        shape: Shape of the body.

    Raises:
        ValueError: A value is out of its range or not of its form.
    """

    url: str = attrs.field(repr=False, validator=_check_url)
    secret: str | None = attrs.field(default=None, repr=False, validator=_check_secret)
    faults: tuple[WebhookFault, ...] = attrs.field(default=(), converter=_faults)
    attempts: int = attrs.field(default=5, validator=_within(1, _MOST_ATTEMPTS))
    backoff: float = attrs.field(default=1.0, validator=_within(0.01, _LONGEST_BACKOFF))
    timeout: float = attrs.field(default=10.0, validator=_within(0.05, _LONGEST_TIMEOUT))
    shape: WebhookShape = attrs.field(default=WebhookShape.FLAT, converter=WebhookShape)

    @property
    def stays_here(self) -> bool:
        """Whether the URL's host is this machine."""
        return is_loopback(urlsplit(self.url).hostname or "")

    @property
    def shown_url(self) -> str:
        """The URL without its path, which is a secret: ``http://127.0.0.1:8000/...``."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}/..."
