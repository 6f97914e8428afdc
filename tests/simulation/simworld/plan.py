"""Draws everything about a world from its seed, so that the same seed is the same world."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

import attrs

ORDINARY = ("whatsapp", "telegram", "github", "any", "binance", "tinder", "other")
_MAGIC_NAMES = (
    "instant late never null-code unicode unknown-status finished expired cancelled race"
    " status-error finish-error finish-lost too-many bad-service bad-country temp-banned"
    " rate-limited-bare rate-limited-date malformed html empty null list null-id missing-fields"
    " numeric-id string-cost hang hang-after drop-before drop-after truncated slow redirect"
    " delay-3 delay-30 early-cancel early-cancel-20 no-numbers no-numbers-us rate-limited-3"
    " object-error string-error message-error error error-html error-empty error-429"
)
MAGIC = tuple(f"test-{name}" for name in _MAGIC_NAMES.split())
BLOCKING = (
    "test-no-balance",
    "test-banned",
    "test-account-blocked",
    "test-bad-key",
    "test-ip",
)
"""Magic after which nothing is bought for a while: in few worlds, or there was nothing to do."""
COUNTRIES = ("us", "gb", "de", "in", "ua", "fr")
FLOWS = (
    "wait",
    "none",
    "mark",
    "use",
    "sync",
    "return_now",
    "fail_before",
    "fail_after",
    "cancel_early",
    "cancel_after_sms",
    "complete_early",
    "complete_wrongly",
    "own_timeout",
    "own_scope",
    "two_waiters",
    "wait_again",
    "hang_until_timeout",
)
LIMIT_KINDS = (
    "sliding-log",
    "fixed-window",
    "aligned-window",
    "sliding-counter",
    "whole-second",
    "token-bucket",
    "gcra",
    "leaky-bucket",
    "none",
)
TENANTS = ("ada", "bob", "cyd", "dee")
LONGEST_TRIP = 29.0
"""Seconds to the service at most: less than the quota's grace for lost requests."""


@attrs.frozen(kw_only=True)
class Killing:
    """When and how a caller is cancelled."""

    at: float
    how: str


@attrs.frozen(kw_only=True)
class Wanted:
    """One verification that somebody wants, and what its flow does."""

    reference: str
    service: str
    country: str
    fallbacks: tuple[str, ...]
    sms_timeout: float | None
    flow: str
    pause: float
    tenant: str | None = None
    priority: str | None = None


@attrs.frozen(kw_only=True)
class Caller:
    """Somebody who uses the manager.

    Attributes:
        kind: ``bulk``, ``verify`` or ``block``.
        start: When it begins.
        wanted: What it wants; one alone unless bulk.
        source: How a bulk caller gives its requests.
        pace: Seconds between requests of a slow source, or results that a slow consumer takes.
        stop_after: Results after which a bulk caller breaks out of its loop.
        killing: Its cancellation.
    """

    kind: str
    start: float
    wanted: tuple[Wanted, ...]
    source: str = "list"
    pace: float = 0.0
    stop_after: int | None = None
    killing: Killing | None = None


@attrs.frozen(kw_only=True)
class Trip:
    """A law of travelling times: uniform, and now and then much longer."""

    low: float
    high: float
    spike: float
    share: float

    def draw(self, rng: Random) -> float:
        """Return seconds."""
        if self.share and rng.random() < self.share:
            return rng.uniform(self.high, self.spike)
        return rng.uniform(self.low, self.high)


@attrs.frozen(kw_only=True)
class Hooks:
    """How webhooks come, and how far they are believed."""

    trust: str
    signed: bool
    faults: str


@attrs.frozen(kw_only=True)
class Plan:
    """A world before it begins."""

    seed: int
    limit: tuple[int, float, str]
    max_in_flight: int | None
    sms_timeout: float
    client_timeout: float
    budget: Decimal | None
    sandbox: dict[str, Any]
    up: Trip
    down: Trip
    unsent: float
    weather: tuple[tuple[float, str], ...]
    keys: tuple[tuple[float, str], ...]
    key_lag: float
    callers: tuple[Caller, ...]
    close_at: float | None
    stop_buying_at: float | None
    drain: float
    calm: float
    bad_listener: bool
    slow_reader: float | None
    rough: float | None
    look_every: float
    weights: dict[str, float]
    hooks: Hooks | None

    @property
    def wanted(self) -> dict[str, Wanted]:
        """Everything that is wanted, by its reference."""
        return {one.reference: one for caller in self.callers for one in caller.wanted}


def draw(seed: int, *, size: int | None = None) -> Plan:
    """Return the world of ``seed``; about ``size`` verifications in it, or some number."""
    rng = Random(f"world {seed}")
    count = size or rng.choice((1, 2, 4, 8, 16, 24, 32, 40, 48, 60, 80, 120))
    exact = rng.random() < 0.04
    if exact:
        count = min(count, 16)
    limit = _limit(rng, count)
    sms_timeout = rng.choice((3.0, 10.0, 30.0, 60.0, 60.0, 120.0, 120.0))
    # Long enough for what is wanted to go through, so that the weather meets all of it.
    busy = max(20.0, 4 * count * limit[1] / limit[0] + sms_timeout)
    weather = _weather(rng, busy)
    keys = _keys(rng, busy)
    magic = MAGIC + BLOCKING if rng.random() < 0.08 else MAGIC
    share = rng.choice((0.0, 0.0, 0.1, 0.1, 0.3, 0.8))
    callers = tuple(_callers(rng, count, busy, magic=magic, share=share))
    # Of another origin, so that whose a request is changes nothing else in its world.
    society = Random(f"tenants {seed}")
    tenants = TENANTS[: society.choice((0, 1, 2, 4))]
    callers = tuple(_owned(society, caller, tenants) for caller in callers)
    cut = rng.random() < 0.25
    slow = rng.random() < 0.25
    trip = rng.choice((0.02, 0.1, 0.5, 2.0))
    spike = min(LONGEST_TRIP, rng.choice((1.0, 8.0, LONGEST_TRIP)))
    spikes = rng.choice((0.0, 0.0, 0.01, 0.1))
    return Plan(
        seed=seed,
        limit=limit,
        max_in_flight=rng.choice((None, 1, 2, 3, 8, 20, 50, 100, 200)),
        sms_timeout=sms_timeout,
        client_timeout=rng.choice((2.0, 5.0, 10.0, 30.0)),
        budget=_budget(rng, count),
        sandbox=_sandbox(rng, limit),
        up=Trip(low=0.001, high=trip, spike=max(trip, spike), share=spikes),
        down=Trip(low=0.001, high=trip, spike=max(trip, spike), share=spikes),
        unsent=rng.choice((0.0, 0.0, 0.02, 0.2)),
        weather=weather,
        keys=keys,
        key_lag=rng.choice((0.0, 0.0, 1.0, 15.0)),
        callers=callers,
        close_at=rng.uniform(0.0, 1.5 * busy) if cut else None,
        stop_buying_at=rng.uniform(0.0, busy) if rng.random() < 0.05 else None,
        drain=rng.choice((0.0, 1.0, 10.0, 90.0)) if cut and rng.random() < 0.7 else 1e6,
        calm=max([at for at, _ in (*weather, *keys)], default=0.0),
        bad_listener=rng.random() < 0.2,
        slow_reader=rng.choice((0.0, 1.0, 30.0)) if slow else None,
        # Working out the best plans takes three quarters of the time, and nothing that is judged
        # depends on when exactly a poll is made: most worlds poll at any odd ages instead.
        rough=rng.choice((0.7, 2.0, 5.0, 13.0)) if not exact else None,
        look_every=rng.choice((1.0, 20.0, 60.0, 60.0)),
        weights={tenant: society.choice((0.1, 1.0, 3.0)) for tenant in tenants[1:]},
        hooks=_hooks(Random(f"hooks {seed}")),
    )


def _hooks(rng: Random) -> Hooks | None:
    """Return how webhooks come; in a third of the worlds they do."""
    if rng.random() < 0.67:
        return None
    faults = []
    for kind, value in (
        ("loss", ""),
        ("late", f"=0-{rng.choice((2, 30, 200))}"),
        ("duplicate", f"={rng.randint(1, 4)}"),
        ("reorder", ""),
        ("replay", f"={rng.choice((1, 60, 600))}"),
        ("forged_code", ""),
        ("forged_id", ""),
        ("forged_path", ""),
    ):
        share = rng.choice((0.0, 0.0, 0.1, 0.5, 1.0))
        if share:
            faults.append(f"{kind}{value}@{share}")
    signed = rng.random() < 0.6
    # Without signatures forgers who know the secret of the path are told apart by nothing.
    trusted = signed and rng.random() < 0.7
    return Hooks(trust="payload" if trusted else "confirm", signed=signed, faults=" ".join(faults))


def _owned(society: Random, caller: Caller, tenants: tuple[str, ...]) -> Caller:
    """Return the caller with requests that belong to tenants, and with priorities of their own."""
    wanted = tuple(
        attrs.evolve(
            one,
            tenant=society.choice((None, *tenants)),
            priority=society.choice((None, None, "interactive", "bulk")),
        )
        for one in caller.wanted
    )
    return attrs.evolve(caller, wanted=wanted)


def _limit(rng: Random, count: int) -> tuple[int, float, str]:
    requests, per = rng.choice(
        (
            (1, 0.5),
            (1, 5.0),
            (2, 1.0),
            (3, 10.0),
            (5, 1.0),
            (10, 10.0),
            (20, 60.0),
            (60, 60.0),
            (60, 60.0),
            (600, 60.0),
            (6000, 60.0),
            (100_000, 60.0),
        )
    )
    # Enough for all to go through in some hours.
    while 4 * count * per / requests > 3600:
        requests *= 4
    return requests, per, rng.choice(("steady", "steady", "steady", "fast", "serial"))


def _sandbox(rng: Random, limit: tuple[int, float, str]) -> dict[str, Any]:
    requests, per, _ = limit
    kind = rng.choice(LIMIT_KINDS)
    delay = rng.choice(
        (
            f"fixed:{rng.choice((0, 1, 10, 40))}",
            f"uniform:0-{rng.choice((5, 30, 150))}",
            f"lognormal:{rng.choice((3, 12, 40))}/{rng.choice((0.3, 0.8, 1.5))}",
            "lognormal:12/0.8",
        )
    )
    if rng.random() < 0.7:
        delay += f",never:{rng.choice((0.05, 0.08, 0.3, 0.9))}"
    return {
        "api_keys": ("key-0",),
        "balance": rng.choice(("100000",) * 12 + ("5.00", "0.50")),
        "limit": "none" if kind == "none" else f"{requests}/{per:g}s:{kind}",
        "retry_after": rng.choice(("seconds", "date", "none")),
        "sms_delay": delay,
        "lifetime": rng.choice((8.0, 45.0, 300.0, 1200.0, 1200.0)),
        "min_cancel_age": rng.choice((0.0, 0.0, 0.0, 5.0, 30.0, 120.0)),
        "max_open": rng.choice((None,) * 7 + (1, 5, 30)),
        "latency": rng.choice((0.0, 0.05)),
        "latency_jitter": rng.choice((0.0, 0.2)),
        "error_shape": rng.choice(("object", "object", "string", "message")),
        "errors_with_200": rng.random() < 0.15,
    }


_FAULTS = {
    "purchase": (
        "refuse",
        "rate_limited",
        "rate_limited=2",
        "rate_limited=4/date",
        "server_error",
        "server_error=502/html",
        "server_error=503/empty",
        "server_error=500/after",
        "hang",
        "hang=after",
        "drop_before",
        "drop_after",
        "truncated",
        "malformed",
        "malformed=html",
        "malformed=empty",
        "malformed=null",
        "malformed=list",
        "slow=1.5",
        "slow=12",
        "redirect",
    )
}
_FAULTS["status"] = _FAULTS["purchase"]
# An empty 200 to a finish is taken for success, because what the service answers is not documented;
# so a refusal that a proxy turns into one can't be told from it.
_FAULTS["finish"] = _FAULTS["any"] = tuple(
    fault for fault in _FAULTS["purchase"] if fault != "malformed=empty"
)
_OUTAGES = (
    "any:refuse",
    "any:hang",
    "any:drop_before",
    "any:drop_after",
    "any:server_error=503/html",
    "any:rate_limited=10",
    "any:malformed=html",
    "finish:server_error",
    "status:server_error=502/empty",
    "purchase:drop_after",
)


def _weather(rng: Random, busy: float) -> tuple[tuple[float, str], ...]:
    """Return instants and the faults in force from then on; the last clears the sky."""
    if rng.random() < 0.15:
        return ()
    changes: list[tuple[float, str]] = []
    at = 0.0
    roughness = rng.choice((0.02, 0.1, 0.3, 0.7))
    for _ in range(rng.randint(1, 6)):
        faults = []
        for _ in range(rng.randint(0, 4)):
            route = rng.choice(tuple(_FAULTS))
            share = min(1.0, rng.expovariate(1 / roughness))
            faults.append(f"{route}:{rng.choice(_FAULTS[route])}@{share:.3f}")
        if rng.random() < 0.25:
            faults.append(rng.choice(_OUTAGES))
        changes.append((at, " ".join(faults)))
        at += rng.uniform(0.0, 0.5 * busy)
    if rng.random() < 0.03:
        changes.append((at, f"any:rate_limited={rng.choice((400, 4000))}#1-2"))
        at += rng.uniform(1.0, 60.0)
    changes.append((at, ""))
    return tuple(changes)


def _keys(rng: Random, busy: float) -> tuple[tuple[float, str], ...]:
    """Return instants and the keys (joined by ``+``) that the service takes from then on."""
    if rng.random() < 0.75:
        return ()
    at, changes = 0.0, []
    for number in range(rng.randint(1, 3)):
        at += rng.uniform(0.0, 0.4 * busy)
        changes.append(
            (at, rng.choice(("", f"key-{number + 1}", f"key-{number}+key-{number + 1}")))
        )
    changes.append((at + rng.uniform(0.0, 30.0), "key-9"))
    return tuple(changes)


def _budget(rng: Random, count: int) -> Decimal | None:
    if rng.random() < 0.7:
        return None
    # From what one number may cost up to more than all of them will.
    return Decimal(3) + Decimal(rng.randint(0, 150 * count)) / 100


def _wanted(rng: Random, number: int, magic: tuple[str, ...], share: float) -> Wanted:
    country = rng.choice((*COUNTRIES, "us", "us", "zz" if rng.random() < 0.3 else "us"))
    fallbacks = tuple(rng.sample((*COUNTRIES, "xx", "qq"), rng.choice((0, 0, 1, 2))))
    return Wanted(
        reference=f"r{number}",
        service=rng.choice(magic if rng.random() < share else ORDINARY),
        country=country,
        fallbacks=fallbacks,
        sms_timeout=rng.choice((None, None, None, 2.0, 20.0, 60.0, 300.0)),
        flow=rng.choice((*FLOWS, "wait", "wait", "none", "use", "mark")),
        pause=rng.choice((0.0, rng.uniform(0.0, 3.0), rng.uniform(0.0, 60.0))),
    )


def _killing(rng: Random, busy: float, share: float) -> Killing | None:
    if rng.random() >= share:
        return None
    at = rng.choice((0.0, rng.uniform(0.0, 2.0), rng.uniform(0.0, 30.0), rng.uniform(0.0, busy)))
    return Killing(at=at, how=rng.choice(("native", "doubled", "timeout", "scope")))


def _callers(
    rng: Random, count: int, busy: float, *, magic: tuple[str, ...], share: float
) -> list[Caller]:
    callers = []
    number = 0
    while number < count:
        kind = rng.choice(("bulk", "bulk", "verify", "block"))
        take = rng.randint(1, count - number) if kind == "bulk" else 1
        wanted = tuple(_wanted(rng, number + n, magic, share) for n in range(take))
        number += take
        callers.append(
            Caller(
                kind=kind,
                start=rng.choice((0.0, 0.0, rng.uniform(0.0, 0.3 * busy))),
                wanted=wanted,
                source=rng.choice(("list", "list", "generator", "slow", "breaking")),
                pace=rng.choice((0.0, 0.0, rng.uniform(0.0, 3.0))),
                stop_after=rng.randint(0, take) if rng.random() < 0.1 else None,
                killing=_killing(rng, busy, 0.08 if kind == "bulk" else 0.35),
            )
        )
    return callers
