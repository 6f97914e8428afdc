"""The customer's account: balance, charges, activations and their ends.

Nothing here waits: an SMS has a time of arrival from the purchase on, and whether it has arrived
follows from ``now``. Arrival and expiry are settled, each once, when time is seen to have passed
them; what has to know of them is told then.
"""

from __future__ import annotations

import heapq
import itertools
import math
from bisect import insort
from decimal import Decimal
from math import inf
from random import Random
from typing import Protocol

from .activations import ActivationState, Charge, ChargeKind, SandboxActivation, Sms
from .answers import Refusal
from .catalogue import OUT_OF_STOCK, CountryOnOffer, price
from .code_extraction import find_code
from .config import SandboxConfig
from .journal import Journal
from .magic import Magic
from .phone_numbers import NumberPool
from .texts import ordinary_text


class Witness(Protocol):
    """Is told what happens to activations, each thing once."""

    def bought(self, activation: SandboxActivation) -> None:
        """A number was bought."""

    def arrived(self, activation: SandboxActivation) -> None:
        """An SMS has arrived, at the activation's ``sms_at``; a later one replaces it."""


class Account:
    """One account with its money and its activations.

    Args:
        config: Prices' start balance, lifetimes and bounds.
        seed: Seeds codes, delays and the order of phone numbers.
        witness: Is told of purchases and of SMS.
    """

    def __init__(self, config: SandboxConfig, *, seed: int, witness: Witness) -> None:
        self._config = config
        self._seed = seed
        self._witness = witness
        self._rng = Random(f"sms {seed}")  # noqa: S311 - a simulation
        self._pool = NumberPool(seed)
        self._next_id: int | None = None
        self._entries = itertools.count()
        self._arrivals: list[tuple[float, int, SandboxActivation]] = []
        self._expiries: list[tuple[float, int, SandboxActivation]] = []
        self._by_number: dict[str, SandboxActivation] = {}
        self._holding = 0
        self.balance = config.balance
        self.charge_log: list[Charge] = []
        self.journal = Journal()
        self.activations: dict[str, SandboxActivation] = {}

    def next_change_at(self) -> float:
        """Return when the next SMS or expiry may be due by itself, infinity for never."""
        return min((heap[0][0] for heap in (self._arrivals, self._expiries) if heap), default=inf)

    def settle(self, now: float) -> None:
        """Let arrive and expire what has to by now; amortised O(log n) an activation."""
        while self._arrivals and self._arrivals[0][0] <= now:
            at, entry, activation = heapq.heappop(self._arrivals)
            # An SMS that was replaced, or that comes too late, has an entry here all the same.
            if activation.ended is None and activation.next_arrives(entry, at):
                self._note(activation, at)
                self._witness.arrived(activation)
        while self._expiries and self._expiries[0][0] <= now:
            at, _, activation = heapq.heappop(self._expiries)
            if activation.ended is None and not activation.has_sms(now):
                self._end(activation, ActivationState.EXPIRED, at, ChargeKind.EXPIRE_REFUND)
            self._let_go(activation)

    def purchase(
        self, service: str, country: CountryOnOffer, magic: Magic, now: float
    ) -> SandboxActivation:
        """Buy a number.

        Raises:
            Refusal: No number, too many open, or not enough money; nothing was charged.
        """
        if country is OUT_OF_STOCK:
            raise Refusal(404, "NO_NUMBERS", "No numbers available for this country and service")
        limit = self._config.max_open
        if limit is not None and self._holding >= limit:
            raise Refusal(409, "TOO_MANY_ACTIVATIONS", "Too many unfinished activations")
        cost = price(service, country)
        if cost > self.balance:
            raise Refusal(402, "NO_BALANCE", "Insufficient balance")
        serial = self._serial(now)
        code = f"{self._rng.randrange(1_000_000):06d}"
        seconds = (magic.delay or self._config.sms_delay).sample(self._rng)
        lifetime = self._config.lifetime if magic.lifetime is None else magic.lifetime
        activation = SandboxActivation(
            activation_id=str(serial),
            phone_number=self._pool.take(country),
            country=country.code,
            service=service,
            cost=cost,
            bought_at=now,
            expires_at=now + lifetime,
            magic=magic,
            sms_code=None if magic.null_code else code,
            sms_text=magic.text.format(code=code) if magic.text else ordinary_text(service, code),
        )
        self.activations[activation.activation_id] = activation
        self._by_number[activation.phone_number] = activation
        self._holding += 1
        heapq.heappush(self._expiries, (activation.expires_at, serial, activation))
        self.balance -= cost
        self._log(activation, ChargeKind.PURCHASE, now, cost)
        self._witness.bought(activation)
        if seconds is not None:
            activation.sms_at = now + seconds
            activation.sms_entry = self._await_arrival(activation, activation.sms_at)
        self._note(activation, now)
        return activation

    def find(self, activation_id: str) -> SandboxActivation:
        """Return an activation.

        Raises:
            Refusal: There is none of that id.
        """
        activation = self.activations.get(activation_id)
        if activation is None:
            raise Refusal(404, "ACTIVATION_NOT_FOUND", "Activation not found")
        return activation

    def find_number(self, phone_number: str) -> SandboxActivation | None:
        """Return the activation that holds a phone number now, or ``None``."""
        return self._by_number.get(phone_number)

    def give_up(self, activation: SandboxActivation, now: float) -> None:
        """Let the service cancel an activation by itself, with a refund."""
        if activation.ended is None:
            self._end(activation, ActivationState.CANCELLED, now, ChargeKind.REFUND)

    def complete(self, activation: SandboxActivation, now: float) -> None:
        """Finish an activation as used.

        Raises:
            Refusal: It has ended already.
        """
        self._check_unended(activation)
        activation.finishes += 1
        self._log(activation, ChargeKind.COMPLETE, now, Decimal(0))
        self._end(activation, ActivationState.COMPLETED, now, None)

    def cancel(self, activation: SandboxActivation, now: float) -> None:
        """Finish an activation as unused, with a full refund.

        Raises:
            Refusal: It has ended already, it is too early, or an SMS has arrived.
        """
        self._check_unended(activation)
        magic = activation.magic
        if magic.races and activation.sms_at is None:
            activation.sms_at = now
            activation.sms_entry = self._await_arrival(activation, now)
            self.settle(now)
        if activation.has_sms(now):
            raise Refusal(409, "CANNOT_CANCEL", "Cannot cancel: an SMS was received")
        age = self._config.min_cancel_age if magic.cancel_age is None else magic.cancel_age
        if now - activation.bought_at < age:
            raise Refusal(409, "EARLY_CANCEL_DENIED", "Too early to cancel this activation")
        activation.finishes += 1
        self._log(activation, ChargeKind.CANCEL, now, Decimal(0))
        self._end(activation, ActivationState.CANCELLED, now, ChargeKind.REFUND)

    def deliver(
        self,
        activation: SandboxActivation,
        now: float,
        *,
        code: str | None = None,
        text: str | None = None,
        delay: float = 0.0,
    ) -> bool:
        """Let an SMS arrive; it replaces the one of the purchase if that has not arrived.

        Args:
            activation: The receiver.
            now: POSIX seconds.
            code: The code; ``None`` for the one in the text, if one is recognised there.
            text: The text, ``None`` for an ordinary one with the code, drawn if need be.
            delay: Seconds until it arrives.

        Returns:
            Whether it arrives; to an activation that has ended or expired by then nothing does.
        """
        if activation.ended is not None or now + delay >= activation.expires_at:
            return False
        if text is None:
            code = code or f"{self._rng.randrange(1_000_000):06d}"
            text = ordinary_text(activation.service, code)
        elif code is None:
            code = find_code(text)
        if not activation.has_sms(now):
            activation.sms_at = None
        at = now + delay
        entry = self._await_arrival(activation, at)
        insort(activation.later, Sms(at, code, text, entry), key=lambda sms: (sms.at, sms.entry))
        self._note(activation, now)
        self.settle(now)
        return True

    def drop(self, activation: SandboxActivation, now: float) -> int:
        """Let no SMS arrive that has not yet, until a new one is sent.

        Returns:
            How many were on their way.
        """
        if activation.ended is not None:
            return 0
        dropped = len(activation.later)
        activation.later.clear()
        if activation.sms_at is not None and not activation.has_sms(now):
            activation.sms_at = None
            dropped += 1
        if dropped:
            self._note(activation, now)
        return dropped

    def expire(self, activation: SandboxActivation, now: float) -> None:
        """Let an activation expire before its time, with a refund."""
        if activation.ended is None:
            self._end(activation, ActivationState.EXPIRED, now, ChargeKind.EXPIRE_REFUND)

    def count_status(self, activation: SandboxActivation, now: float) -> None:
        """Note that the status of an activation was asked for."""
        activation.status_calls += 1
        self._note(activation, now)

    def _await_arrival(self, activation: SandboxActivation, at: float) -> int:
        """Have `settle` see to an SMS at that time; return the SMS's entry."""
        entry = next(self._entries)
        heapq.heappush(self._arrivals, (at, entry, activation))
        return entry

    def _note(self, activation: SandboxActivation, now: float) -> None:
        self.journal.note(activation.activation_id, activation.state(now))

    def _check_unended(self, activation: SandboxActivation) -> None:
        match activation.ended:
            case ActivationState.CANCELLED:
                raise Refusal(409, "ALREADY_CANCELLED", "Activation is already cancelled")
            case ActivationState.COMPLETED:
                raise Refusal(409, "ALREADY_FINISHED", "Activation is already finished")
            case ActivationState.EXPIRED:
                raise Refusal(409, "ALREADY_FINISHED", "Activation has expired and was refunded")
            case _:
                return

    def _end(
        self,
        activation: SandboxActivation,
        state: ActivationState,
        at: float,
        refund: ChargeKind | None,
    ) -> None:
        activation.ended, activation.ended_at = state, at
        activation.later.clear()
        if refund is not None:
            self.balance += activation.cost
            self._log(activation, refund, at, activation.cost)
        self._let_go(activation)
        self._note(activation, at)

    def _let_go(self, activation: SandboxActivation) -> None:
        if not activation.holds_number:
            return
        activation.holds_number = False
        self._holding -= 1
        if self._by_number.get(activation.phone_number) is activation:
            del self._by_number[activation.phone_number]
        self._pool.give_back(activation.country, activation.phone_number)

    def _log(
        self, activation: SandboxActivation, kind: ChargeKind, at: float, amount: Decimal
    ) -> None:
        self.charge_log.append(
            Charge(
                at, kind, activation.activation_id, amount, activation.service, activation.country
            )
        )

    def _serial(self, now: float) -> int:
        if self._next_id is None:
            # Ids depend on the time of the first purchase too: a client's database from an
            # earlier run of the sandbox then does not meet its own ids again.
            self._next_id = 10_000_000 + (math.floor(now) * 97 + self._seed * 7_919) % 80_000_000
        serial = self._next_id
        self._next_id += 1
        return serial
