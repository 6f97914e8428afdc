"""Stopping a service in order: a real process, a real signal."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

SERVICE = """
import asyncio, sys
from papsms_async import ActivationManager, PapSMSClient, RateLimit, stop_on_signals
from papsms_async.sandbox import SandboxConfig, SandboxEngine
from papsms_async.sandbox.server import SandboxServer

async def main():
    engine = SandboxEngine(SandboxConfig(limit="none"))
    async with (
        SandboxServer(engine) as server,
        PapSMSClient(
            "sandbox", base_url=server.base_url, rate_limit=RateLimit(60_000, 60)
        ) as client,
        ActivationManager(client, max_in_flight=3) as manager,
    ):
        bought = []
        def listen(event):
            if event.kind == "waiting_for_sms":
                bought.append(event)
                if len(bought) == 3:
                    print("ready", flush=True)
        manager.subscribe(listen)
        with stop_on_signals(manager, drain=float(sys.argv[1])):
            async for result in manager.run(["test-never"] * 50):
                print(result.outcome, flush=True)
    print("open", len(engine.open_activations()), "bought", len(engine.activations), flush=True)

asyncio.run(main())
"""


@pytest.fixture
def service():
    """Return a starter of the service above; ended with the test."""
    started = []

    def start(drain):
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SERVICE, str(drain)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_releases_every_number(service, number):
    """Buying stops, the flows end, every number is given back, and the program goes on."""
    process = service(0)
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    lines = out.splitlines()
    assert lines[-1] == "open 0 bought 3"
    assert set(lines[:-1]) == {"cancelled"}
    assert process.returncode == 0


def test_second_signal_leaves_at_once_and_names_what_is_owed(service):
    """The process ends although its flows have minutes left, and says which numbers are owed."""
    process = service(600)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    owed = err.rpartition("still owed: ")[2].strip().split(", ")
    assert len(owed) == 3
    assert all(activation_id.isdigit() for activation_id in owed)
