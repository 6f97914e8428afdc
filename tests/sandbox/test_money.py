"""Money: whatever is called in whatever order, nothing is created, lost, or given back twice."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from papsms_async.sandbox import (
    ActivationState,
    ChargeKind,
    SandboxConfig,
    SandboxEngine,
    SandboxReply,
    SandboxRequest,
    parse_faults,
)
from papsms_async.sandbox.faults import FaultSet

START = Decimal(20)
SERVICES = ["whatsapp", "unlisted", "test-never", "test-instant", "test-expired", "test-cancelled"]
SERVICES += ["test-race", "test-early-cancel-30", "test-finish-error", "test-finish-lost"]
SERVICES += ["test-drop-after", "test-drop-before", "test-malformed", "test-error"]
GIVEN_BACK = {ChargeKind.REFUND, ChargeKind.EXPIRE_REFUND}
AUTH = {"Authorization": "Bearer sandbox"}


class Money(RuleBasedStateMachine):
    """Buys, asks, finishes and waits at random, faults included."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        config = SandboxConfig(
            limit="none", balance=START, lifetime=60, max_open=12, sms_delay="uniform:0-90"
        )
        self.engine = SandboxEngine(config)
        self.now = 1_776_607_200.0
        self.executed: Counter[str] = Counter()

    def send(self, method: str, path: str, body: object = None) -> SandboxReply:
        raw = json.dumps(body).encode()
        return self.engine.handle(SandboxRequest(method, path, AUTH, raw), self.now)

    @rule(
        target=ids, service=st.sampled_from(SERVICES), country=st.sampled_from(["us", "in", "zz"])
    )
    def purchase(self, service: str, country: str) -> str:
        known = len(self.engine.activations)
        self.send("POST", "/api/v1/numbers/purchase", {"country": country, "service": service})
        return list(self.engine.activations)[-1] if len(self.engine.activations) > known else "none"

    @rule(activation_id=ids)
    def status(self, activation_id: str) -> None:
        self.send("GET", f"/api/v1/numbers/status/{activation_id}")

    @rule(activation_id=ids, word=st.sampled_from(["completed", "cancelled"]))
    def finish(self, activation_id: str, word: str) -> None:
        before = self.engine.activations.get(activation_id)
        ended = before is None or before.ended is not None
        reply = self.send("POST", f"/api/v1/numbers/finish/{activation_id}", {"status": word})
        if reply.status == 200 and reply.body.startswith(b'{"success": true'):
            self.executed[activation_id] += 1
            assert not ended

    @rule(seconds=st.sampled_from([0.0, 0.5, 10.0, 30.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(activation_id=ids)
    def deliver(self, activation_id: str) -> None:
        found = self.engine.deliver(self.now, activation_id=activation_id)
        assert found is None or found.state(self.now) is ActivationState.RECEIVED

    @rule(text=st.sampled_from(["", "any:drop_after@0.3", "finish:hang=after#1", "any:refuse@0.5"]))
    def faults(self, text: str) -> None:
        self.engine.set_faults(FaultSet(parse_faults(text)))

    @invariant()
    def money_is_conserved(self) -> None:
        """The balance is what was there, less the charges, plus what was given back."""
        log = self.engine.charge_log
        charged = sum((c.amount for c in log if c.kind is ChargeKind.PURCHASE), Decimal(0))
        returned = sum((c.amount for c in log if c.kind in GIVEN_BACK), Decimal(0))
        assert self.engine.balance == START - charged + returned
        assert self.engine.balance >= 0
        assert all(c.amount >= 0 for c in log)

    @invariant()
    def each_end_comes_once(self) -> None:
        """Each activation is charged once, finished and refunded at most once, never both ways."""
        kinds: dict[str, Counter[ChargeKind]] = {}
        for charge in self.engine.charge_log:
            kinds.setdefault(charge.activation_id, Counter())[charge.kind] += 1
        assert set(kinds) == set(self.engine.activations)
        finishes = self.engine.finish_counts()
        for key, seen in kinds.items():
            assert seen[ChargeKind.PURCHASE] == 1
            assert seen[ChargeKind.REFUND] + seen[ChargeKind.EXPIRE_REFUND] <= 1
            assert seen[ChargeKind.COMPLETE] + seen[ChargeKind.CANCEL] == finishes[key] <= 1
            assert seen[ChargeKind.CANCEL] <= seen[ChargeKind.REFUND]
            assert not (seen[ChargeKind.COMPLETE] and seen[ChargeKind.REFUND])
            assert not (seen[ChargeKind.COMPLETE] and seen[ChargeKind.EXPIRE_REFUND])
            assert self.executed[key] <= finishes[key]

    @invariant()
    def ends_agree_with_the_log(self) -> None:
        """An activation's state is the one that its entries in the log lead to."""
        ends = {
            ChargeKind.COMPLETE: ActivationState.COMPLETED,
            ChargeKind.REFUND: ActivationState.CANCELLED,
            ChargeKind.EXPIRE_REFUND: ActivationState.EXPIRED,
        }
        logged = {c.activation_id: ends[c.kind] for c in self.engine.charge_log if c.kind in ends}
        assert logged == {
            key: a.ended for key, a in self.engine.activations.items() if a.ended is not None
        }
        assert {a.activation_id for a in self.engine.open_activations()} == (
            set(self.engine.activations) - set(logged)
        )

    @invariant()
    def held_numbers_are_distinct_and_bounded(self) -> None:
        """No two held numbers are equal, and no more are held than the configuration allows."""
        held = [a.phone_number for a in self.engine.activations.values() if a.holds_number]
        assert len(set(held)) == len(held) <= 12


TestMoney = Money.TestCase
TestMoney.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
