"""The sandbox with ears: it notes who asked to finish what, and can have the asker killed."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs

from papsms_async.sandbox import SandboxConfig, SandboxEngine, SandboxReply, SandboxRequest

_FINISH = re.compile(r"/numbers/finish/([^/?]+)")


@attrs.frozen
class Finish:
    """One request to finish an activation, as it reached the service."""

    at: float
    worker: str
    activation_id: str
    status: str


class WatchedEngine(SandboxEngine):
    """A sandbox engine that tells what it executed before anybody hears the answer.

    Attributes:
        finishes: Every finish that was asked for, oldest first.
        struck: Called with (worker, route, how often this worker has called it) after execution.
    """

    def __init__(self, workers: int, *, seed: int) -> None:
        config = SandboxConfig(
            api_keys=[worker_name(number) for number in range(workers)],
            balance="1000000",
            limit="60000/60s",
            sms_delay="uniform:0-0.25,never:0.2",
            min_cancel_age=0.03,
        )
        super().__init__(config, seed=seed)
        self.finishes: list[Finish] = []
        self.struck: Callable[[str, str, int], Any] = lambda worker, route, count: None
        self._calls: Counter[tuple[str, str]] = Counter()

    @property
    def purchases_asked(self) -> int:
        """How many purchases were asked for, refused ones included."""
        return sum(count for (_, route), count in self._calls.items() if route == "purchase")

    def purchases_asked_by(self, worker: str) -> int:
        """Return how many purchases that worker asked for, refused ones included."""
        return self._calls[worker, "purchase"]

    def handle(self, request: SandboxRequest, now: float) -> SandboxReply:
        """Answer one request; see `SandboxEngine.handle`."""
        reply = super().handle(request, now)
        worker = (request.header("Authorization") or "").removeprefix("Bearer ")
        route = self.request_log[-1].route
        if found := _FINISH.search(request.path):
            status = json.loads(request.body)["status"]
            self.finishes.append(Finish(self.now, worker, found[1], status))
        self._calls[worker, route] += 1
        self.struck(worker, route, self._calls[worker, route])
        return reply


def worker_name(number: int) -> str:
    """Return the name, and API key, of a worker."""
    return f"w{number}"
