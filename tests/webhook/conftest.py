"""What the tests of webhooks share: secrets, requests, and a body as the service sends it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from papsms_async.webhook.core import WebhookRequest

SECRET = "a-secret-that-is-long-enough_1"
OTHER = "b-secret-that-is-long-enough_2"


@pytest.fixture
def secret() -> str:
    """The secret in the path."""
    return SECRET


@pytest.fixture
def other_secret() -> str:
    """The secret that is rotated to."""
    return OTHER


@pytest.fixture
def make_body() -> Callable[..., bytes]:
    """Makes a body as the service sends it; any field can be given, ``None`` leaves it out."""

    def make(**fields: Any) -> bytes:
        values = {
            "activation_id": "12345678",
            "code": "847291",
            "full_text": "Your WhatsApp code: 847291",
            **fields,
        }
        return json.dumps({k: v for k, v in values.items() if v is not None}).encode()

    return make


@pytest.fixture
def make_request() -> Callable[..., WebhookRequest]:
    """Makes the head of a right request; headers by name with ``_`` for ``-``."""

    def make(
        path: str = f"/{SECRET}",
        method: str = "POST",
        peer: str | None = "203.0.113.7",
        more: tuple[tuple[str, str], ...] = (),
        **headers: str | None,
    ) -> WebhookRequest:
        named = {"Content-Type": "application/json"} | {
            name.replace("_", "-").title(): value for name, value in headers.items()
        }
        lines = tuple((name, value) for name, value in named.items() if value is not None)
        return WebhookRequest(method=method, path=path, headers=(*lines, *more), peer=peer)

    return make
