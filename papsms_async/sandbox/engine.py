"""The service itself: one request in, one reply out, time and chance given from outside.

What happens to a request, in this order:

1. faults that refuse the connection: nothing is counted, logged as not counted;
2. the key (401, 403), then the key's limit (429); every request up to here is counted;
3. faults that keep the request from being executed;
4. the endpoint, with the magic of its service or country;
5. faults that spoil the answer.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from random import Random

import attrs

from . import answers, spoiling
from .account import Account, Charge, SandboxActivation
from .answers import Refusal
from .config import RetryAfterStyle, SandboxConfig
from .endpoints import Call, Endpoints, find_route
from .faults import Effect, FaultKind, FaultRoute, FaultSet
from .limits import Limiter, LimitSpec
from .messages import Delivery, SandboxReply, SandboxRequest
from .webhook_config import WebhookConfig
from .webhooks import WebhookOutbox

REQUEST_LOG_LENGTH = 200_000
"""Entries that `SandboxEngine.request_log` keeps."""

_JSON = {"Content-Type": "application/json"}


@attrs.frozen
class LoggedRequest:
    """One entry of the request log.

    Attributes:
        at: Arrival in POSIX seconds.
        method: Upper-case verb, at most 16 characters.
        route: ``purchase``, ``status``, ``finish``, ``countries`` or ``unknown``.
        status: Status of the answer; 0 where the client got none.
        counted: Whether it reached the service and so the limit.
        delivery: The way the answer travelled.
    """

    at: float
    method: str
    route: str
    status: int
    counted: bool
    delivery: Delivery


class SandboxEngine:
    """The stand-in of the service.

    Args:
        config: How it is set up.
        seed: Seeds everything that is drawn; equal seeds and equal calls give equal answers.
    """

    def __init__(self, config: SandboxConfig | None = None, *, seed: int = 0) -> None:
        self.config = config or SandboxConfig()
        self.now = -math.inf
        self.request_log: deque[LoggedRequest] = deque(maxlen=REQUEST_LOG_LENGTH)
        self._watchers: list[Callable[[], None]] = []
        self.webhooks = WebhookOutbox(self.config.webhook, seed=seed, changed=self._changed)
        self._start(seed)

    def _start(self, seed: int) -> None:
        self.seed = seed
        self.webhooks.reset(self.config.webhook, seed=seed)
        self._account = Account(self.config, seed=seed, witness=self.webhooks)
        self._endpoints = Endpoints(self._account, self.config)
        self._faults = FaultSet(self.config.faults, seed=seed)
        self._latency_rng = Random(f"latency {seed}")  # noqa: S311 - a simulation
        self._arrivals = array("d")
        self._limiters: dict[str, Limiter] = {}
        self._limit = self.config.limit
        self.request_log.clear()

    # ---- what a judge reads ----

    @property
    def balance(self) -> Decimal:
        """Money left, in US dollars."""
        return self._account.balance

    @property
    def charge_log(self) -> list[Charge]:
        """All that happened to money and activations, oldest first."""
        return self._account.charge_log

    @property
    def activations(self) -> dict[str, SandboxActivation]:
        """All activations by id, oldest first."""
        return self._account.activations

    @property
    def limit(self) -> LimitSpec:
        """The limit in force for keys without one of their own."""
        return self._limit

    @property
    def faults(self) -> FaultSet:
        """The faults in force."""
        return self._faults

    def open_activations(self) -> list[SandboxActivation]:
        """Return the activations that nobody has finished and that have not expired.

        One with an SMS stays open past its expiry until it is finished: it was paid for.
        """
        return [a for a in self._account.activations.values() if a.ended is None]

    def finish_counts(self) -> dict[str, int]:
        """Return for each activation id how many finish requests were executed."""
        return {key: a.finishes for key, a in self._account.activations.items()}

    def busiest_window(self, seconds: float) -> int:
        """Return the largest number of counted requests, of all keys, in any ``[t, t + seconds)``.

        O(n) in the requests since the start or the last reset.
        """
        arrivals = self._arrivals
        most = first = 0
        for index, at in enumerate(arrivals):
            while at - arrivals[first] >= seconds:
                first += 1
            most = max(most, index - first + 1)
        return most

    @property
    def counted_requests(self) -> int:
        """How many requests reached the service since the start or the last reset."""
        return len(self._arrivals)

    # ---- what a test or the control API sets ----

    def advance(self, now: float) -> None:
        """Let time pass without a request, so that expiries are settled."""
        self.now = max(self.now, now)
        if self._account.next_change_at() <= self.now:
            self._account.settle(self.now)
            self._changed()

    def next_change_at(self) -> float:
        """Return when something is due by itself at the earliest, infinity for never.

        An SMS, an expiry or a webhook: `advance` settles the first two, whoever carries out
        `webhooks` the third.
        """
        return min(self._account.next_change_at(), self.webhooks.next_due())

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Have a function called after each change, and each request.

        Args:
            changed: Called without arguments; it must neither raise nor call the engine's
                `handle` or setters, so it best wakes somebody who looks.

        Returns:
            A function that ends it.
        """
        self._watchers.append(changed)
        return lambda: self._watchers.remove(changed)

    def _changed(self) -> None:
        for changed in tuple(self._watchers):
            changed()

    def set_faults(self, faults: FaultSet) -> None:
        """Replace the faults in force."""
        self._faults = faults
        self._changed()

    def set_webhook(self, webhook: WebhookConfig | None, *, seed: int | None = None) -> None:
        """Replace where webhooks are posted and how; posts that were planned are dropped.

        Args:
            webhook: Where and how, ``None`` for no webhooks.
            seed: Seeds the draws of its faults, ``None`` for the engine's seed.

        Raises:
            ValueError: They may not be posted there.
        """
        self.config.check_webhook(webhook)
        self.webhooks.configure(webhook, seed=self.seed if seed is None else seed)
        self._changed()

    def set_limit(self, limit: LimitSpec) -> None:
        """Replace the limit; every key starts anew."""
        self._limit = limit
        self._limiters.clear()
        self._changed()

    def reset(self, *, seed: int | None = None) -> None:
        """Begin again as after the start: balance, limit and faults as configured, nothing bought.

        Args:
            seed: New seed, ``None`` for the one before.
        """
        self._start(self.seed if seed is None else seed)
        self._changed()

    def deliver(
        self,
        now: float,
        *,
        activation_id: str | None = None,
        phone_number: str | None = None,
        code: str | None = None,
        text: str | None = None,
    ) -> SandboxActivation | None:
        """Let an SMS arrive now, for an activation id or for a phone number that is held.

        Returns:
            The activation, or ``None`` if there is none that can still receive it.
        """
        self.advance(now)
        found: SandboxActivation | None = None
        if activation_id is not None:
            found = self._account.activations.get(activation_id)
        elif phone_number is not None:
            found = self._account.find_number(phone_number)
        if found is None or not self._account.deliver(found, self.now, code=code, text=text):
            return None
        self._changed()
        return found

    # ---- the service ----

    def refuses_connection(self) -> bool:
        """Whether a new connection is to be closed before anything is read (route ``connect``)."""
        return self._faults.strike(FaultRoute.CONNECT)[0] is not None

    def handle(self, request: SandboxRequest, now: float) -> SandboxReply:
        """Answer one request.

        Args:
            request: The request as it reached the service.
            now: POSIX seconds; a time before an earlier one counts as that one.
        """
        self.advance(now)
        route, argument = find_route(request.path)
        method = request.method.upper()
        call = Call(request, "GET" if method == "HEAD" else method, route, argument, self.now)
        effect, late = self._faults.strike(route)
        counted = effect is None or effect.kind is not FaultKind.REFUSE
        if counted:
            self._arrivals.append(self.now)
        reply = self._reply(call, effect)
        reply = attrs.evolve(reply, delay=reply.delay + late + self._latency())
        answered = reply.delivery in {Delivery.ANSWER, Delivery.TRUNCATE}
        self.request_log.append(
            LoggedRequest(
                at=self.now,
                method=method[:16],
                route=route.value if route else "unknown",
                status=reply.status if answered else 0,
                counted=counted,
                delivery=reply.delivery,
            )
        )
        self._changed()
        return reply

    def _reply(self, call: Call, effect: Effect | None) -> SandboxReply:
        if effect is not None and effect.kind is FaultKind.REFUSE:
            return spoiling.instead(effect, call.now)
        try:
            self._check_key(call)
        except Refusal as refusal:
            return self._refused(refusal, call.now)
        if effect is not None and not effect.executed:
            return spoiling.instead(effect, call.now)
        try:
            reply = self._endpoints.execute(call)
        except Refusal as refusal:
            reply = self._refused(refusal, call.now)
        return reply if effect is None else spoiling.spoil(reply, effect, call.now)

    def _check_key(self, call: Call) -> None:
        header = (call.request.header("Authorization") or "").strip()
        scheme, _, key = header.partition(" ")
        key = key.strip()
        if not header:
            raise Refusal(401, "NO_KEY", "API key is missing", literal=True)
        if scheme.lower() != "bearer" or key not in self.config.api_keys:
            raise Refusal(401, "BAD_KEY", "API key is invalid", literal=True)
        limiter = self._limiters.get(key)
        if limiter is None:
            limiter = self.config.key_limits.get(key, self._limit).limiter()
            self._limiters[key] = limiter
        allowed, wait = limiter.admit(call.now)
        if not allowed:
            headers = self._retry_after(wait, call.now)
            raise Refusal(429, "RATE_LIMITED", "Too many requests", headers=headers, literal=True)
        allowed_ips = self.config.allowed_ips
        if allowed_ips is not None and call.request.peer not in allowed_ips:
            raise Refusal(403, "IP_NOT_ALLOWED", "IP address is not allowed", literal=True)

    def _retry_after(self, wait: float, now: float) -> dict[str, str]:
        match self.config.retry_after:
            case RetryAfterStyle.NONE:
                return {}
            case RetryAfterStyle.SECONDS:
                return {"Retry-After": str(max(1, math.ceil(wait)))}
            case RetryAfterStyle.DATE:
                return {"Retry-After": answers.http_date(math.ceil(now + wait))}

    def _refused(self, refusal: Refusal, now: float) -> SandboxReply:
        shape = refusal.shape or self.config.error_shape
        status = refusal.status
        if self.config.errors_with_200 and not refusal.literal:
            status = 200
        body = answers.refused(shape, refusal.code, refusal.message)
        return spoiling.answer(status, body, _JSON | refusal.headers, now)

    def _latency(self) -> float:
        jitter = self.config.latency_jitter
        return self.config.latency + (self._latency_rng.uniform(0.0, jitter) if jitter else 0.0)
