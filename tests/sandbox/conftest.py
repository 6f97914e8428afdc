"""A hand on the sandbox's engine: requests without sockets, time without waiting."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import attrs
import pytest

from papsms_async.sandbox import (
    SandboxConfig,
    SandboxControl,
    SandboxEngine,
    SandboxReply,
    SandboxRequest,
)

START = 1_776_607_200.0  # 2026-04-19T14:00:00Z
AUTH = {"Authorization": "Bearer sandbox", "Content-Type": "application/json"}


@attrs.define
class Caller:
    """Sends requests to an engine at a time that only the test moves."""

    engine: SandboxEngine
    now: float = START

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] = AUTH,
        peer: str = "127.0.0.1",
    ) -> SandboxReply:
        """Send one request; a body that is not bytes is sent as JSON."""
        if not isinstance(body, bytes):
            body = b"" if body is None else json.dumps(body).encode()
        return self.engine.handle(SandboxRequest(method, path, headers, body, peer), self.now)

    def purchase(self, service: str = "whatsapp", country: str = "us") -> SandboxReply:
        """Buy a number."""
        body = {"country": country, "service": service}
        return self.send("POST", "/api/v1/numbers/purchase", body)

    def status(self, activation_id: str) -> SandboxReply:
        """Ask for an activation's status."""
        return self.send("GET", f"/api/v1/numbers/status/{activation_id}")

    def finish(self, activation_id: str, word: str) -> SandboxReply:
        """Finish an activation."""
        return self.send("POST", f"/api/v1/numbers/finish/{activation_id}", {"status": word})

    def countries(self) -> SandboxReply:
        """Ask for the countries."""
        return self.send("GET", "/api/v1/countries")

    def buy(self, service: str = "whatsapp", country: str = "us") -> str:
        """Buy a number and return the activation's id."""
        activation_id = self.data(self.purchase(service, country))["activation_id"]
        assert isinstance(activation_id, str)
        return activation_id

    @staticmethod
    def json(reply: SandboxReply) -> Any:
        """Decode a reply."""
        return json.loads(reply.body, parse_float=Decimal)

    @classmethod
    def data(cls, reply: SandboxReply) -> dict[str, Any]:
        """Decode a success and return its data."""
        assert reply.status == 200, reply.body
        decoded = cls.json(reply)
        assert decoded["success"] is True
        data = decoded["data"]
        assert isinstance(data, dict)
        return data

    @classmethod
    def error(cls, reply: SandboxReply) -> tuple[int, str]:
        """Decode an error in its default shape and return status and code."""
        decoded = cls.json(reply)
        assert decoded["success"] is False
        return reply.status, decoded["error"]["code"]


@pytest.fixture
def make() -> Callable[..., Caller]:
    """Return a maker of callers; its options are the configuration's, but without a limit."""

    def maker(*, seed: int = 0, **options: Any) -> Caller:
        return Caller(SandboxEngine(SandboxConfig(**{"limit": "none", **options}), seed=seed))

    return maker


@pytest.fixture
def caller(make: Callable[..., Caller]) -> Caller:
    """Return a caller to an engine without a limit."""
    return make()


@pytest.fixture
def ask(caller: Any) -> Callable[..., tuple[int, Any]]:
    """Return a function that sends a control request and decodes the answer."""
    api = SandboxControl(caller.engine)

    def asked(method: str, name: str, body: object = None) -> tuple[int, Any]:
        raw = b"" if body is None else json.dumps(body).encode()
        reply = api.handle(SandboxRequest(method, f"/_sandbox/{name}", {}, raw), caller.now)
        return reply.status, json.loads(reply.body)

    return asked
