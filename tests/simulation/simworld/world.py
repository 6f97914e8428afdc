"""Acts a plan out on virtual time, and hands everything that was seen to the judge."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from unittest.mock import patch

import attrs

from papsms_async import ActivationManager, Budget, PapSMSClient, RateLimit, poll_times
from papsms_async.events import EventKind, VerificationEvent
from papsms_async.ledger import LedgerEntry, MemoryLedger
from papsms_async.pricing import Quote, Reason
from papsms_async.sandbox import SandboxEngine
from papsms_async.statistics import ManagerStatistics
from papsms_async.testing import VirtualTimeLoop

from .callers import Crowd, Diary
from .plan import Plan, draw
from .service import Keys, Road, Wire, instant, make_engine, make_weather
from .trace import Trace
from .webhooks import make_receiver, post_webhooks

PATIENCE = 40 * 3600.0
"""Virtual seconds after which a caller that still waits hangs."""
SILENCE = 120.0
"""Virtual seconds after the end in which the last answers that nobody awaits come in."""


@attrs.frozen(kw_only=True)
class Told:
    """An event, with the loop's time and how many were in flight then."""

    at: float
    event: VerificationEvent
    in_flight: int


@attrs.define(kw_only=True, repr=False)
class Seen:
    """Everything that was seen of a world."""

    plan: Plan
    trace: Trace
    engine: SandboxEngine
    wires: list[Wire]
    unsent: list[tuple[float, str]]
    diary: Diary
    told: list[Told] = attrs.field(factory=list)
    read: list[VerificationEvent] = attrs.field(factory=list)
    entries: tuple[LedgerEntry, ...] = ()
    committed: Decimal = Decimal(0)
    owed: tuple[LedgerEntry, ...] = ()
    statistics: ManagerStatistics | None = None
    max_in_flight: int = 0
    free_places: int = 0
    hung: int = 0
    closing_took: float = 0.0
    leftovers: list[str] = attrs.field(factory=list)
    crashes: list[str] = attrs.field(factory=list)
    virtual: float = 0.0

    @property
    def lifecycles(self) -> int:
        """How many purchases were begun, each to its end."""
        return len(self.entries)


def run_world(plan: Plan) -> Seen:
    """Act ``plan`` out."""
    loop = VirtualTimeLoop(patience=0.0)
    trace = Trace()
    crashes: list[str] = []

    def on_crash(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        crashes.append(f"{context.get('message')}: {context.get('exception')!r}")

    loop.set_exception_handler(on_crash)
    with quiet(), odd_plans(plan), asyncio.Runner(loop_factory=lambda: loop) as runner:
        seen = runner.run(_world(plan, trace))
    seen.crashes.extend(crashes)
    return seen


def run_seed(seed: int, *, size: int | None = None) -> Seen:
    """Act out the world of ``seed``."""
    return run_world(draw(seed, size=size))


@attrs.frozen
class OddPlan:
    """Polls at ages that are multiples of ``step`` and a bit."""

    step: float

    def next_poll(self, age: float) -> float:
        """Return the age of the next poll; what is past the timeout is cut to it."""
        return (age // self.step + 1) * self.step + 0.1 * (age % 1.0)

    def delay_cost(self, last: float, age: float, wait: float) -> float:
        """Return what waiting costs: for some ages less than anything else that waits, or more."""
        return 0.3 * ((age - last) % 1.0) ** 2


class OddPrices:
    """Changes the price now and then, so that everything is planned anew."""

    def __init__(self) -> None:
        self._looks = 0

    def quote(self, *groups: object, **numbers: object) -> Quote:
        """Return some price."""
        self._looks += 1
        return Quote(float(self._looks // 3), Reason.BALANCE)


@contextmanager
def odd_plans(plan: Plan) -> Iterator[None]:
    """Let the poller poll at odd ages, where the plan wants it."""
    if plan.rough is None:
        yield
        return
    odd = OddPlan(plan.rough)
    with patch.object(poll_times, "poll_plan", lambda law, price, timeout: odd):
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the library's log lines from the screen, and the collector from the hot path."""
    names = ("papsms_async", "papsms_async.quota", "papsms_async.webhook")
    loggers = [logging.getLogger(name) for name in names]
    before, collects = loggers[0].disabled, gc.isenabled()
    for logger in loggers:
        logger.disabled = True
    gc.disable()
    try:
        yield
    finally:
        for logger in loggers:
            logger.disabled = before
        if collects:
            gc.enable()


async def _world(plan: Plan, trace: Trace) -> Seen:
    loop = asyncio.get_running_loop()
    rng = Random(f"chance {plan.seed}")
    engine = make_engine(plan)
    road = Road(plan, engine, trace, Random(f"road {plan.seed}"))
    requests, per, profile = plan.limit
    diary = Diary()
    seen = Seen(
        plan=plan,
        trace=trace,
        engine=engine,
        wires=road.wires,
        unsent=road.unsent,
        diary=diary,
    )
    weather = make_weather(plan, engine, trace)
    client = PapSMSClient(
        Keys(plan),
        rate_limit=RateLimit(requests, per, profile=profile),
        timeout=plan.client_timeout,
        transport=road,
        rng=rng,
    )
    ledger = MemoryLedger(keep=1_000_000)
    receiver = make_receiver(plan)
    posting = None if receiver is None else post_webhooks(plan, engine, receiver, trace)
    manager = ActivationManager(
        client,
        max_in_flight=plan.max_in_flight,
        sms_timeout=plan.sms_timeout,
        database=ledger,
        budget=None if plan.budget is None else Budget(plan.budget),
        tenant_weights=plan.weights,
        drain_timeout=plan.drain,
        clock=lambda: datetime.fromtimestamp(instant(loop.time()), UTC),
        rng=rng,
        webhook=receiver,
    )
    seen.max_in_flight = manager.max_in_flight
    if plan.rough is not None:
        manager._parts.market._controller = OddPrices()  # type: ignore[assignment]
        manager._parts.repricing.interval = plan.look_every
    _listen(manager, seen, road)
    ended = asyncio.Event()
    reader = _reader(manager, seen, ended)
    async with client, manager:
        crowd = Crowd(manager, plan.wanted, diary, trace)
        callers = [asyncio.create_task(crowd.act(caller)) for caller in plan.callers]
        if plan.stop_buying_at is not None:
            weather.append(loop.call_at(plan.stop_buying_at, manager.stop_buying))
        if plan.close_at is not None:
            await asyncio.wait(callers, timeout=plan.close_at)
        else:
            await asyncio.wait(callers, timeout=PATIENCE)
            # Nothing that is owed can be paid before the sky is clear again.
            await asyncio.sleep(max(0.0, plan.calm - loop.time()))
        trace.note("close", plan.drain)
        began = loop.time()
        await manager.aclose()
        seen.closing_took = loop.time() - began
    # Flows that hold on to a number after the close end by themselves, but for hung ones.
    await asyncio.wait(callers, timeout=PATIENCE)
    seen.hung = sum(not task.done() for task in callers)
    for task in callers:
        task.cancel()
    for outcome in await asyncio.gather(*callers, return_exceptions=True):
        if isinstance(outcome, Exception):
            seen.crashes.append(f"a caller: {outcome!r}")
    ended.set()
    if reader is not None:
        await reader
    await asyncio.sleep(SILENCE)
    for timer in weather:
        timer.cancel()
    if posting is not None:
        posting.cancel()
        await asyncio.wait({posting})
    seen.entries = await ledger.entries()
    seen.committed = await ledger.committed()
    seen.owed = manager.owed
    seen.statistics = manager.statistics()
    seen.free_places = manager._parts.purchasing.places.free_places
    seen.virtual = loop.time()
    _look_for_leftovers(loop, road, seen)
    return seen


def _listen(manager: ActivationManager, seen: Seen, road: Road) -> None:
    loop = asyncio.get_running_loop()

    def listen(event: VerificationEvent) -> None:
        if event.kind is EventKind.PURCHASING:
            task = asyncio.current_task()
            assert task is not None
            assert event.intent_id is not None
            road.intent_of[task] = event.intent_id
        seen.told.append(Told(at=loop.time(), event=event, in_flight=len(manager._parts.live)))
        seen.trace.note(
            "event",
            event.kind.value,
            event.request.reference,
            event.intent_id or "",
            event.detail or "",
        )

    manager.subscribe(listen)
    if seen.plan.bad_listener:

        def raise_now(event: VerificationEvent) -> None:
            raise RuntimeError("a listener that fails")

        manager.subscribe(raise_now)


def _reader(
    manager: ActivationManager, seen: Seen, ended: asyncio.Event
) -> asyncio.Task[None] | None:
    pause = seen.plan.slow_reader
    if pause is None:
        return None
    stream = manager.events()

    async def read() -> None:
        async for event in stream:
            seen.read.append(event)
            # Slower and slower would never end: it takes at most 50 pauses.
            if len(seen.read) < 50:
                await asyncio.sleep(pause)

    async def read_until_closed() -> None:
        task = asyncio.create_task(read())
        await ended.wait()
        stream.close()
        await task

    return asyncio.create_task(read_until_closed())


def _look_for_leftovers(loop: asyncio.AbstractEventLoop, road: Road, seen: Seen) -> None:
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            seen.leftovers.append(f"task {task.get_name()}")
    for handle in loop._scheduled:  # type: ignore[attr-defined]
        if not handle.cancelled():
            seen.leftovers.append(f"timer {handle!r}")
    if road.on_road:
        seen.leftovers.append(f"{road.on_road} requests on the road")
