"""Fixtures of the manager's tests: a service in memory, and the judgement of its charge log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import pytest

from papsms_async import ActivationManager, PapSMSClient, RateLimit
from papsms_async.sandbox import SandboxConfig, SandboxEngine
from papsms_async.testing.memory_transport import MemoryService


@attrs.frozen
class World:
    """A manager, its client, and the service that they talk to."""

    manager: ActivationManager
    client: PapSMSClient
    service: MemoryService

    @property
    def engine(self) -> SandboxEngine:
        """The service itself."""
        return self.service.engine

    def routes(self) -> list[str]:
        """Return the routes that were called, in order."""
        return [logged.route for logged in self.engine.request_log]


Worlds = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture
def world() -> Worlds:
    """Return a maker of worlds: options of the sandbox by name, the manager's in ``manager``."""

    @asynccontextmanager
    async def make(
        *,
        seed: int = 0,
        rate_limit: RateLimit | None = None,
        manager: dict[str, Any] | None = None,
        client: dict[str, Any] | None = None,
        **sandbox: Any,
    ) -> AsyncIterator[World]:
        sandbox.setdefault("limit", "6000/60s")
        sandbox.setdefault("sms_delay", "fixed:10")
        service = MemoryService(SandboxEngine(SandboxConfig(**sandbox), seed=seed))
        limit = rate_limit or RateLimit(6000, 60)
        async with (
            service.client(rate_limit=limit, **(client or {})) as api,
            service.manager(api, **(manager or {})) as manage,
        ):
            yield World(manage, api, service)

    return make


@pytest.fixture
def settled() -> Callable[[SandboxEngine], None]:
    """Return a check that nothing bought is left open and nothing is finished twice."""

    def check(engine: SandboxEngine) -> None:
        assert engine.open_activations() == []
        assert all(count <= 1 for count in engine.finish_counts().values())
        spent = sum(entry.amount for entry in engine.charge_log if entry.kind == "purchase")
        refunded = sum(
            entry.amount for entry in engine.charge_log if entry.kind in ("refund", "expire_refund")
        )
        assert 1000 - spent + refunded == engine.balance

    return check
