"""The way to the service and back, as an adversary would lay it, with a record of every attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import attrs

from papsms_async.errors import AnswerLostError, ConnectError
from papsms_async.protocol import Operation, WireAnswer, WireRequest
from papsms_async.sandbox import (
    Delivery,
    FaultSet,
    SandboxConfig,
    SandboxEngine,
    SandboxReply,
    SandboxRequest,
    parse_faults,
)

from .plan import Plan
from .trace import Trace
from .webhooks import webhook_config


@attrs.define(kw_only=True)
class Wire:
    """One attempt on the wire, as the service and the client saw it.

    Attributes:
        operation: What was asked for.
        activation_id: Whose status or finish, or ``None``.
        word: What it is finished as, or ``None``.
        task: Name of the task that sent it, told apart by `intent_id` for purchases.
        sent: When it left.
        arrived: When the service got it.
        bought: Id of the activation that it charged for.
        answered: When the client had the answer.
        fate: ``answer``, ``refused`` (no connection), ``lost``, ``timeout``, ``cancelled``, or
            nothing while it is under way.
        status: HTTP status of the answer.
        body: The answer.
    """

    operation: Operation
    activation_id: str | None
    word: str | None
    intent_id: str | None
    sent: float
    arrived: float | None = None
    bought: str | None = None
    answered: float | None = None
    fate: str = ""
    status: int = 0
    body: bytes = b""


class Road:
    """A `papsms_async.transport.Transport` to a sandbox engine.

    What was sent arrives, also when the sender was cancelled or lost patience meanwhile: that is
    what a network does, and what a limiter has to reckon with.
    """

    def __init__(self, plan: Plan, engine: SandboxEngine, trace: Trace, rng: Random) -> None:
        self.wires: list[Wire] = []
        self.unsent: list[tuple[float, str]] = []
        """Attempts for which there was no way: their begins and ends, with the end of the path."""
        self.on_road = 0
        self.intent_of: dict[asyncio.Task[object], str] = {}
        self._plan = plan
        self._engine = engine
        self._trace = trace
        self._rng = rng

    async def send(
        self,
        request: WireRequest,
        *,
        key: str,
        timeout: float,
        on_sent: Callable[[], None] | None = None,
    ) -> WireAnswer:
        """See `papsms_async.transport.Transport.send`."""
        await asyncio.sleep(0)
        if self._plan.unsent and self._rng.random() < self._plan.unsent:
            loop, end = asyncio.get_running_loop(), request.path.rpartition("/")[2]
            self.unsent.append((loop.time(), end))
            try:
                await asyncio.sleep(self._plan.up.draw(self._rng))
            finally:
                self.unsent.append((loop.time(), end))
            raise ConnectError("There is no way to the service.")
        loop = asyncio.get_running_loop()
        if on_sent is not None:
            on_sent()
        task = asyncio.current_task()
        assert task is not None
        buys = request.operation is Operation.PURCHASE
        wire = Wire(
            operation=request.operation,
            activation_id=None if buys else request.path.rpartition("/")[2],
            word=_word(request) if request.operation is Operation.FINISH else None,
            intent_id=self.intent_of.get(task) if buys else None,
            sent=loop.time(),
        )
        self.wires.append(wire)
        self._trace.note("send", request.operation.value, wire.activation_id or "", wire.word or "")
        answer: asyncio.Future[WireAnswer] = loop.create_future()
        self.on_road += 1
        loop.call_later(self._plan.up.draw(self._rng), self._arrive, wire, request, key, answer)
        try:
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            wire.fate = "timeout"
            raise AnswerLostError(f"No answer came within {timeout:g} s.") from None
        except asyncio.CancelledError:
            wire.fate = "cancelled"
            raise
        except ConnectError:
            wire.fate = "refused"
            raise
        except AnswerLostError:
            wire.fate = "lost"
            raise
        finally:
            wire.answered = loop.time()
            self._trace.note(
                "end", request.operation.value, wire.activation_id or "", wire.fate, wire.status
            )

    def _arrive(
        self, wire: Wire, request: WireRequest, key: str, answer: asyncio.Future[WireAnswer]
    ) -> None:
        loop = asyncio.get_running_loop()
        headers = {"Authorization": f"Bearer {key}"}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        wire.arrived = loop.time()
        before = len(self._engine.activations)
        reply = self._engine.handle(
            SandboxRequest(
                method=request.method,
                path="/api/v1/" + request.path,
                headers=headers,
                body=request.body or b"",
            ),
            instant(wire.arrived),
        )
        if len(self._engine.activations) > before:
            wire.bought = next(reversed(self._engine.activations))
        self._trace.note("arrive", wire.operation.value, reply.status, reply.delivery.value)
        if reply.delivery is Delivery.HANG:
            self.on_road -= 1
            return
        way = 0.0 if reply.delivery is Delivery.REFUSE else self._plan.down.draw(self._rng)
        loop.call_later(reply.delay + way, self._deliver, wire, reply, answer)

    def _deliver(self, wire: Wire, reply: SandboxReply, answer: asyncio.Future[WireAnswer]) -> None:
        self.on_road -= 1
        if answer.done():
            return
        match reply.delivery:
            case Delivery.ANSWER:
                wire.fate, wire.status, wire.body = "answer", reply.status, reply.body
                answer.set_result(
                    WireAnswer(status=reply.status, headers=reply.headers, body=reply.body)
                )
            case Delivery.REFUSE:
                answer.set_exception(ConnectError("The service refused the connection."))
            case _:
                answer.set_exception(AnswerLostError("The connection broke."))

    async def aclose(self) -> None:
        """Nothing to close."""


def instant(at: float) -> float:
    """Return the POSIX seconds of an instant of the loop."""
    return 1_767_225_600.0 + at


def _word(request: WireRequest) -> str:
    return "completed" if b"completed" in (request.body or b"") else "cancelled"


class Keys:
    """The key's source: it learns of a rotation late, and may fail in between."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    async def __call__(self) -> str:
        """Return the key that is known at the moment."""
        await asyncio.sleep(0.01)
        now = asyncio.get_running_loop().time()
        known = "key-0"
        for at, keys in self._plan.keys:
            if keys and at + self._plan.key_lag <= now:
                known = keys.rpartition("+")[2]
        return known


def make_engine(plan: Plan) -> SandboxEngine:
    """Return the plan's service, before its weather begins."""
    webhook = webhook_config(plan)
    return SandboxEngine(SandboxConfig(**plan.sandbox, webhook=webhook), seed=plan.seed)


def make_weather(plan: Plan, engine: SandboxEngine, trace: Trace) -> list[asyncio.TimerHandle]:
    """Set the timers that change faults and keys."""
    loop = asyncio.get_running_loop()

    def change(number: int, text: str) -> None:
        trace.note("weather", text)
        engine.set_faults(FaultSet(parse_faults(text), seed=plan.seed + number))

    def rotate(text: str) -> None:
        trace.note("keys", text)
        engine.config = attrs.evolve(engine.config, api_keys=text.split("+") if text else ())

    timers = [
        loop.call_at(at, change, number, text) for number, (at, text) in enumerate(plan.weather)
    ]
    return timers + [loop.call_at(at, rotate, text) for at, text in plan.keys]
