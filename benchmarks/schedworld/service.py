"""The service: a strict limit, a road of random length to it, and records of all that happened."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import random
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import attrs

from papsms_async.errors import AnswerLostError
from papsms_async.protocol import Operation, WireAnswer, WireRequest

from .laws import Chance, Law

EPOCH = 1_767_225_600.0
"""POSIX seconds at which the loop's clock reads zero."""
LIFETIME = 1200.0
"""Seconds after its purchase at which a number expires."""


class DroppedError(Exception):
    """The connection broke; no answer will come."""


@attrs.define(eq=False)
class Job:
    """One verification that is wanted, from its caller's side. Instants are loop time.

    Attributes:
        number: Its place among the wanted.
        chance: What was drawn for it.
        interactive: Whether somebody waits for it beside a bulk.
        asked_at: When its caller asked for it.
        triggered_at: When its caller triggered the SMS; the last time, if it took several numbers.
        sms_at: When its SMS came to the service, infinite if it never does.
        had_at: When its caller had the SMS.
        numbers: Ids of the numbers that were bought for it.
    """

    number: int
    chance: Chance
    interactive: bool = False
    asked_at: float = math.nan
    triggered_at: float = math.nan
    sms_at: float = math.inf
    had_at: float | None = None
    numbers: list[str] = attrs.field(factory=list)


@attrs.define(eq=False)
class Number:
    """One number that was bought, from the service's side."""

    bought_at: float
    sms_at: float = math.inf
    finished: str | None = None
    finished_at: float = math.nan


@attrs.frozen
class Reply:
    """An answer: HTTP status, and the members of its ``data``."""

    status: int
    data: dict[str, Any]


class Service:
    """Answers requests within a limit of any ``per`` seconds.

    Args:
        law: How SMS come.
        seed: Seeds the road's length and the failures.
        requests: The limit.
        per: Seconds of its window.
        webhooks_lost: Share of the webhooks that are lost; ``None`` to post none.

    Attributes:
        hook: Takes the webhooks: an activation's id and the loop's time at which its SMS came.
    """

    def __init__(
        self,
        law: Law,
        seed: int,
        *,
        requests: int = 60,
        per: float = 60.0,
        webhooks_lost: float | None = None,
    ) -> None:
        self.law = law
        self.requests, self.per = requests, per
        self.numbers: dict[str, Number] = {}
        self.arrivals: list[float] = []
        self.refused = 0
        self._recent: deque[float] = deque(maxlen=requests)
        self._rng = random.Random(f"road {seed}")
        self._ids = itertools.count(10_000_000)
        self.hook: Callable[[str, float], None] | None = None
        self._webhooks_lost = webhooks_lost
        self._hook_rng = random.Random(f"webhooks {seed}")

    def road(self, rng: random.Random | None = None) -> float:
        """Draw the seconds of one way: a round trip takes about 0.15 s, now and then much more."""
        rng = rng or self._rng
        way = 0.07 * math.exp(rng.gauss(0.0, 0.35))
        return way + rng.uniform(0.2, 1.5) if rng.random() < 0.005 else way

    async def exchange(self, what: str, activation_id: str = "", word: str = "") -> Reply:
        """Carry one request there and its answer back. What was sent arrives, whoever is cancelled.

        Raises:
            DroppedError: The answer was lost.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Reply] = loop.create_future()
        loop.call_later(self.road(), self._arrive, answer, what, activation_id, word)
        return await answer

    def _arrive(
        self, answer: asyncio.Future[Reply], what: str, activation_id: str, word: str
    ) -> None:
        loop = asyncio.get_running_loop()
        reply = self._handle(what, activation_id, word, loop.time())
        loop.call_later(self.road(), _deliver, answer, reply)

    def _handle(self, what: str, activation_id: str, word: str, now: float) -> Reply | None:
        self.arrivals.append(now)
        recent = self._recent
        admitted = len(recent) < self.requests or recent[0] <= now - self.per
        recent.append(now)
        if not admitted:
            self.refused += 1
            return Reply(429, {})
        outage = self.law.outage
        if outage is None or not outage[0] <= now < outage[1]:
            return self._carry_out(what, activation_id, word, now)
        match self._rng.randrange(3):
            case 0:
                return Reply(503, {})
            case 1:
                self._carry_out(what, activation_id, word, now)
        return None

    def _carry_out(self, what: str, activation_id: str, word: str, now: float) -> Reply:
        if what == "purchase":
            activation_id = str(next(self._ids))
            self.numbers[activation_id] = Number(now)
            return Reply(200, {"activation_id": activation_id, "expires": now + LIFETIME})
        number = self.numbers[activation_id]
        if what == "status":
            if number.sms_at <= now:
                return Reply(200, {"sms_at": number.sms_at})
            return Reply(200, {"sms_at": None})
        if number.finished is None:
            if word == "cancelled" and number.sms_at <= now:
                # It was paid for when the SMS came.
                return Reply(409, {})
            number.finished, number.finished_at = word, now
        return Reply(200, {})

    def trigger(self, job: Job, activation_id: str) -> None:
        """The caller lets an SMS be sent to the number, now."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        job.numbers.append(activation_id)
        job.triggered_at = now
        job.sms_at = now + self.law.delay(job.chance, now)
        self.numbers[activation_id].sms_at = job.sms_at
        if self._webhooks_lost is not None and job.sms_at < math.inf:
            loop.call_at(job.sms_at, self._announce, activation_id, job.sms_at)

    def _announce(self, activation_id: str, sms_at: float) -> None:
        assert self._webhooks_lost is not None
        if self._hook_rng.random() >= self._webhooks_lost and self.hook is not None:
            way = self.road(self._hook_rng)
            asyncio.get_running_loop().call_later(way, self.hook, activation_id, sms_at)

    def had(self, job: Job) -> None:
        """The caller has its SMS, now."""
        if job.had_at is None:
            job.had_at = asyncio.get_running_loop().time()

    def busiest(self) -> int:
        """Return the most arrivals in any window."""
        most = first = 0
        for index, at in enumerate(self.arrivals):
            while self.arrivals[first] <= at - self.per:
                first += 1
            most = max(most, index - first + 1)
        return most


def _deliver(answer: asyncio.Future[Reply], reply: Reply | None) -> None:
    if answer.done():
        return
    if reply is None:
        answer.set_exception(DroppedError())
    else:
        answer.set_result(reply)


class WireTransport:
    """The service as a `papsms_async.transport.Transport`, with answers as the guide shows them."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def send(
        self,
        request: WireRequest,
        *,
        key: str,
        timeout: float,
        on_sent: Callable[[], None] | None = None,
    ) -> WireAnswer:
        """See `papsms_async.transport.Transport.send`."""
        # A real transport gives way before it writes, and a caller may be cancelled there.
        await asyncio.sleep(0)
        if on_sent is not None:
            on_sent()
        wanted = json.loads(request.body) if request.body else {}
        activation_id = request.path.rpartition("/")[2]
        try:
            async with asyncio.timeout(timeout):
                reply = await self._service.exchange(
                    request.operation.value, activation_id, wanted.get("status", "")
                )
        except (DroppedError, TimeoutError):
            raise AnswerLostError("The connection broke.") from None
        if reply.status != 200:
            body: dict[str, Any] = {"success": False, "error": {"code": _CODES[reply.status]}}
        elif request.operation is Operation.PURCHASE:
            body = {"success": True, "data": _bought(reply.data, wanted)}
        elif request.operation is Operation.STATUS:
            body = {"success": True, "data": _status(reply.data["sms_at"])}
        else:
            body = {"success": True}
        return WireAnswer(reply.status, {}, json.dumps(body).encode())

    async def aclose(self) -> None:
        """Nothing to close."""


_CODES = {429: "RATE_LIMITED", 503: "UNAVAILABLE", 409: "CANNOT_CANCEL"}


def instant(at: float) -> datetime:
    """Return the instant of a loop's time."""
    return datetime.fromtimestamp(EPOCH + at, UTC)


def _text(at: float) -> str:
    # Whole seconds, as the guide shows them.
    return f"{instant(at):%Y-%m-%dT%H:%M:%SZ}"


def _bought(data: dict[str, Any], wanted: dict[str, str]) -> dict[str, Any]:
    activation_id = data["activation_id"]
    return {
        "activation_id": activation_id,
        "phone_number": f"+1415{activation_id}",
        "country": wanted["country"],
        "service": wanted["service"],
        "expires_at": _text(data["expires"]),
        "cost": 0.80,
    }


def _status(sms_at: float | None) -> dict[str, Any]:
    if sms_at is None:
        return {"status": "waiting", "sms": None}
    return {"status": "received", "sms": sms_of(sms_at)}


def sms_of(sms_at: float) -> dict[str, str]:
    """Return an SMS that came at a loop's time, as the service tells of it."""
    return {"code": "847291", "full_text": "Your code: 847291", "received_at": _text(sms_at)}
