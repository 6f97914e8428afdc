"""``papsms demo``: forty verifications at once against the sandbox in this process.

Everything is real but the service: sockets, limit, schedule, money. The account has a higher limit
than usual, counted in short windows, so that the limit is felt within a few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import attrs
import click

from papsms_async.cli.exit_codes import ExitCode
from papsms_async.cli.jobs import Job
from papsms_async.cli.options import Common, common_options
from papsms_async.cli.progress import Tally, make_progress, say
from papsms_async.cli.session import Session, Sink
from papsms_async.limits import RateLimit
from papsms_async.verification import VerificationResult

if TYPE_CHECKING:
    from papsms_async.sandbox import SandboxEngine
    from papsms_async.statistics import ManagerStatistics

LIMIT = RateLimit(150, 10.0)
"""The account's limit: 150 requests in any 10 s."""
DELAY = "lognormal:2/0.5"
"""When SMS arrive: half of them within 2 s."""
LATENCY = 0.03
"""Seconds that each answer takes."""
TIMEOUT = 6.0
"""Seconds to wait for an SMS."""

_ORDINARY = (
    ("whatsapp", "us"),
    ("telegram", "gb"),
    ("google", "de"),
    ("instagram", "br"),
    ("discord", "pl"),
    ("github", "in"),
    ("tinder", "fr"),
    ("steam", "ua"),
)


@attrs.frozen(kw_only=True)
class DemoReport:
    """What there is to tell afterwards.

    Attributes:
        results: One of each verification, in order of their ends.
        numbers: The manager's numbers.
        engine: The service, which knows the truth.
        seconds: How long it took.
    """

    results: tuple[VerificationResult, ...]
    numbers: ManagerStatistics
    engine: SandboxEngine
    seconds: float


class _Keeping(Sink):
    def __init__(self) -> None:
        self.results: list[VerificationResult] = []

    def result(self, result: VerificationResult) -> None:
        """See `Sink.result`."""
        self.results.append(result)


def demo_jobs(count: int = 40) -> list[Job]:
    """Return the verifications of the demo: ordinary ones, and some of each usual trouble."""
    special = [
        Job("test-never", "us", sms_timeout=4.0),
        Job("test-never", "gb", sms_timeout=4.0),
        Job("whatsapp", "zz", fallbacks=("us",)),
        Job("telegram", "xx", fallbacks=("zz", "gb")),
        Job("google", "zz"),
        Job("test-null-code", "us"),
        Job("test-null-code", "de"),
    ]
    jobs = [Job(*_ORDINARY[n % len(_ORDINARY)]) for n in range(max(0, count - len(special)))]
    # Spread, so that trouble does not come all at once.
    for position, job in enumerate(special):
        jobs.insert(min(len(jobs), 2 + position * 5), job)
    return [attrs.evolve(job, line=n) for n, job in enumerate(jobs[:count], 1)]


@click.command("demo")
@click.option("--seed", type=int, default=2026, show_default=True, help="Seed of all chance.")
@click.option("--explain", is_flag=True, help="Say of each permit why it went where it went.")
@common_options
def demo_command(*, common: Common, seed: int, explain: bool) -> ExitCode:
    """Run 40 verifications at once against the built-in sandbox.

    It needs neither key nor network, and takes less than 20 seconds.
    """
    return asyncio.run(demonstrate(seed=seed, no_color=common.no_color, explain=explain))


async def demonstrate(*, seed: int, no_color: bool, explain: bool = False) -> ExitCode:
    """Run the demo and print its report."""
    from papsms_async.cli.demo_report import print_report
    from papsms_async.client import PapSMSClient
    from papsms_async.manager import ActivationManager
    from papsms_async.sandbox import SandboxConfig, SandboxEngine
    from papsms_async.sandbox.server import SandboxServer

    jobs = demo_jobs()
    engine = SandboxEngine(
        SandboxConfig(limit=f"{LIMIT.requests}/{LIMIT.per:g}s", sms_delay=DELAY, latency=LATENCY),
        seed=seed,
    )
    say(
        f"papsms: {len(jobs)} verifications at once against the sandbox in this process"
        f" (nothing is bought),\npapsms: with an account that may send {LIMIT.requests} requests"
        f" in any {LIMIT.per:g} s"
    )
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(SandboxServer(engine))
        client = await stack.enter_async_context(
            PapSMSClient("sandbox", base_url=server.base_url, rate_limit=LIMIT)
        )
        manager = ActivationManager(
            client, max_in_flight=len(jobs), sms_timeout=TIMEOUT, explain=explain
        )
        tally, sink = Tally(total=len(jobs)), _Keeping()
        progress = make_progress(manager.statistics, tally, show=True, no_color=no_color, live=True)
        began = time.monotonic()
        session = Session(
            manager=manager,
            sink=sink,
            tally=tally,
            progress=progress,
            drain=2.0,
            say_decisions=explain,
        )
        code = await session.run(jobs)
        report = DemoReport(
            results=tuple(sink.results),
            numbers=manager.statistics(),
            engine=engine,
            seconds=time.monotonic() - began,
        )
    print_report(report, no_color=no_color)
    # That some verifications fail is the point of it.
    return ExitCode.OK if code is ExitCode.NOT_ALL_COMPLETED else code
