"""A recorded tour of the service: what it answered once it answers in every later version.

Where an answer is changed on purpose, record it anew::

    PAPSMS_RECORD_TOUR=1 pytest tests/sandbox/test_tour.py
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from papsms_async.sandbox import SandboxConfig, SandboxEngine, SandboxRequest, magic
from papsms_async.sandbox.front import front_of
from papsms_async.sandbox.recording import Recorder
from papsms_async.testing import replay

TOUR = Path(__file__).parents[1] / "data" / "sessions" / "tour.jsonl"
START = 1_776_607_200.125


def record() -> None:
    """Take the tour: each magic service, ordinary ones, both ends, errors, the limit, faults."""
    lines: list[str] = []
    config = SandboxConfig(limit="150/60s", latency_jitter=0.01, faults="status:slow=1@0.1")
    engine = SandboxEngine(config, seed=2026)
    handle = front_of(engine, record=Recorder(engine, lines.append, start=START).record).handle
    now = START

    def ask(method: str, path: str, body: object = None) -> bytes:
        raw = b"" if body is None else json.dumps(body).encode()
        headers = {"Authorization": "Bearer sandbox"}
        return handle(SandboxRequest(method, f"/api/v1/{path}", headers, raw), now).body

    rows = [name for row in magic.OUTCOMES for name in row.split(", ")]
    services = [row.replace("SECONDS", "7").replace("STATUS", "418") for row in rows]
    services = [s.replace("COUNTRY", "gb").replace("[", "").replace("]", "") for s in services]
    for service in [*services, "whatsapp", "telegram", "never-heard-of"]:
        ask("POST", "numbers/purchase", {"country": "us", "service": service})
        now += 0.3725
    for n, activation in enumerate(list(engine.activations)):
        ask("GET", f"numbers/status/{activation}")
        word = "completed" if n % 2 else "cancelled"
        ask("POST", f"numbers/finish/{activation}", {"status": word})
        ask("GET", f"numbers/status/{activation}")
        now += 1.0 / 3.0
    now += 60.0
    ask("GET", "countries")
    ask("POST", "numbers/purchase", {"country": "qq", "service": "x"})
    ask("POST", "numbers/purchase", [])
    ask("PATCH", "countries")
    ask("GET", "nothing")
    now += 1_300.0
    for activation in list(engine.activations)[-5:]:
        ask("GET", f"numbers/status/{activation}")
    TOUR.parent.mkdir(parents=True, exist_ok=True)
    TOUR.write_text("".join(lines))


def test_the_tour_is_as_it_was() -> None:
    """Seed, requests and times being equal, every version answers what the first one did."""
    if os.environ.get("PAPSMS_RECORD_TOUR") == "1":
        record()
    assert replay(TOUR) > 150
