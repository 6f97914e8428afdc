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
from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from random import Random

import attrs

from . import answers, spoiling
from .account import Account
from .activations import ActivationState, Charge, SandboxActivation
from .answers import Refusal
from .config import SandboxConfig
from .endpoints import Call, Endpoints, find_route
from .faults import Effect, Fault, FaultKind, FaultRoute, FaultSet
from .gate import Gate
from .journal import Journal
from .limits import LimitSpec
from .mailbox import Mailbox
from .messages import Delivery, SandboxReply, SandboxRequest
from .traffic import LoggedRequest, Traffic
from .webhook_config import WebhookConfig
from .webhook_faults import WebhookFault
from .webhooks import WebhookOutbox

_JSON = {"Content-Type": "application/json"}


class SandboxEngine:
    """The stand-in of the service.

    Args:
        config: How it is set up.
        seed: Seeds everything that is drawn; equal seeds and equal calls give equal answers.

    Attributes:
        config: How it is set up.
        seed: The seed of this run.
        now: The latest time that it was told, in POSIX seconds.
        run: How often it was started: 1, and one more after each reset.
        traffic: The requests of this run.
        mailbox: The messages that applications sent to numbers.
        webhooks: The webhooks of this run.
    """

    def __init__(self, config: SandboxConfig | None = None, *, seed: int = 0) -> None:
        self.config = config or SandboxConfig()
        self.now = -math.inf
        self.run = 0
        self.traffic = Traffic()
        self._watchers: list[Callable[[], None]] = []
        self.webhooks = WebhookOutbox(self.config.webhook, seed=seed, changed=self._changed)
        self._start(seed)

    def _start(self, seed: int) -> None:
        self.seed = seed
        self.run += 1
        self.webhooks.reset(self.config.webhook, seed=seed)
        self._account = Account(self.config, seed=seed, witness=self.webhooks)
        self.mailbox = Mailbox(self.deliver, seed=seed, changed=self._changed)
        self._endpoints = Endpoints(self._account, self.config)
        self._faults = FaultSet(self.config.faults, seed=seed)
        self._latency_rng = Random(f"latency {seed}")  # noqa: S311 - a simulation
        self._gate = Gate(self.config.limit)
        self.traffic.clear()

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
        return self._gate.limit

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
        return self.traffic.busiest_window(seconds)

    @property
    def counted_requests(self) -> int:
        """How many requests reached the service since the start or the last reset."""
        return self.traffic.counted

    @property
    def request_log(self) -> deque[LoggedRequest]:
        """The latest requests, oldest first."""
        return self.traffic.log

    @property
    def journal(self) -> Journal:
        """Which activations changed since when, and how many there are in each state."""
        return self._account.journal

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

    def add_faults(self, faults: Iterable[Fault]) -> None:
        """Put more faults behind those in force, whose counts go on."""
        self._faults.add(faults)
        self._changed()

    def remove_fault(self, fault: Fault) -> bool:
        """Take one fault out of those in force; whether it was in force."""
        removed = self._faults.remove(fault)
        self._changed()
        return removed

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

    def add_webhook_faults(self, faults: Iterable[WebhookFault]) -> bool:
        """Put more faults behind those of webhooks, whose counts go on; see `WebhookOutbox`."""
        added = self.webhooks.add_faults(faults)
        self._changed()
        return added

    def remove_webhook_fault(self, fault: WebhookFault) -> bool:
        """Take one fault of webhooks out; whether it was in force."""
        removed = self.webhooks.remove_fault(fault)
        self._changed()
        return removed

    def set_limit(self, limit: LimitSpec) -> None:
        """Replace the limit; every key starts anew."""
        self._gate.set_limit(limit)
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
        delay: float = 0.0,
    ) -> SandboxActivation | None:
        """Let an SMS arrive, for an activation id or for a phone number that is held.

        Args:
            now: POSIX seconds.
            activation_id: Id of the receiver, or
            phone_number: its phone number.
            code: The code; ``None`` for the one in the text, or for a drawn one.
            text: The text; ``None`` for an ordinary one with the code.
            delay: Seconds until it arrives.

        Returns:
            The activation, or ``None`` if there is none that can still receive it by then.
        """
        self.advance(now)
        found = self.find(activation_id=activation_id, phone_number=phone_number)
        if found is None or not self._account.deliver(
            found, self.now, code=code, text=text, delay=delay
        ):
            return None
        self._changed()
        return found

    def drop(self, now: float, activation: SandboxActivation) -> int:
        """Let the SMS that are on their way to an activation never arrive.

        Returns:
            How many were.
        """
        self.advance(now)
        dropped = self._account.drop(activation, self.now)
        self._changed()
        return dropped

    def end(self, now: float, activation: SandboxActivation, state: ActivationState) -> bool:
        """Let the service end an activation by itself, with a refund.

        Args:
            now: POSIX seconds.
            activation: The activation.
            state: ``CANCELLED`` or ``EXPIRED``.

        Returns:
            Whether it was waiting; one that has ended or has its SMS stays as it is.
        """
        self.advance(now)
        if activation.state(self.now) is not ActivationState.WAITING:
            return False
        if state is ActivationState.EXPIRED:
            self._account.expire(activation, self.now)
        else:
            self._account.give_up(activation, self.now)
        self._changed()
        return True

    def find(
        self, *, activation_id: str | None = None, phone_number: str | None = None
    ) -> SandboxActivation | None:
        """Return the activation of that id, or the one that holds that phone number now."""
        if activation_id is not None:
            return self._account.activations.get(activation_id)
        return None if phone_number is None else self._account.find_number(phone_number)

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
        reply = self._reply(call, effect)
        reply = attrs.evolve(reply, delay=reply.delay + late + self._latency())
        answered = reply.delivery in {Delivery.ANSWER, Delivery.TRUNCATE}
        self.traffic.record(
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
            self._gate.check(call, self.config)
        except Refusal as refusal:
            return self._refused(refusal, call.now)
        if effect is not None and not effect.executed:
            return spoiling.instead(effect, call.now)
        try:
            reply = self._endpoints.execute(call)
        except Refusal as refusal:
            reply = self._refused(refusal, call.now)
        return reply if effect is None else spoiling.spoil(reply, effect, call.now)

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
