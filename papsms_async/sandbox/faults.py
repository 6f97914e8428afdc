"""Faults on demand: what goes wrong, on which route, how often.

Notation of one fault, several are separated by commas or blanks::

    ROUTE:KIND[=VALUE[/VALUE...]][@PROBABILITY | #CALL | #FIRST-LAST | #FIRST-]

    purchase:drop_after@0.05       one purchase in twenty is charged and its answer lost
    status:server_error#3          the third status call answers 500
    any:rate_limited=30            every call answers 429 with Retry-After: 30
    finish:server_error=503/html/after#1-2

Routes are purchase, status, finish, countries, any, and connect: a connection that is closed on
arrival, before anything is read (kind refuse alone). Without a frequency a fault strikes always.

`KINDS` tells what each kind does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum

import attrs

from .triggers import Tally, Trigger


class FaultRoute(StrEnum):
    """Where a fault strikes."""

    PURCHASE = "purchase"
    STATUS = "status"
    FINISH = "finish"
    COUNTRIES = "countries"
    ANY = "any"
    CONNECT = "connect"


class FaultKind(StrEnum):
    """What goes wrong; see `KINDS`."""

    REFUSE = "refuse"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    HANG = "hang"
    DROP_BEFORE = "drop_before"
    DROP_AFTER = "drop_after"
    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    SLOW = "slow"
    REDIRECT = "redirect"


KINDS: dict[FaultKind, tuple[str, str]] = {
    FaultKind.REFUSE: ("no", "connection refused or reset, not counted by the limit"),
    FaultKind.RATE_LIMITED: (
        "no",
        "429; `none`, seconds of Retry-After, `SECONDS/date` for an HTTP date",
    ),
    FaultKind.SERVER_ERROR: (
        "no",
        "`500` or another status; body `json`, `html` or `empty`; `after` executes first",
    ),
    FaultKind.HANG: ("no", "nothing, ever; `after` executes first"),
    FaultKind.DROP_BEFORE: ("no", "connection closed without an answer"),
    FaultKind.DROP_AFTER: ("yes", "connection closed without an answer"),
    FaultKind.TRUNCATED: ("yes", "half the body, then the connection closes"),
    FaultKind.MALFORMED: (
        "yes",
        "200 with `cut` JSON, `html`, `empty`, `null`, `list`, `deep` (nesting) or `huge` (2 MiB)",
    ),
    FaultKind.SLOW: ("yes", "the answer `2` seconds late; adds to other faults"),
    FaultKind.REDIRECT: ("no", "`307` or another 3xx to elsewhere on the same host"),
}
"""Of each kind, whether the request is executed and what the client sees; default values first."""

_EXECUTING = {
    FaultKind.DROP_AFTER,
    FaultKind.TRUNCATED,
    FaultKind.MALFORMED,
    FaultKind.SLOW,
}
_DEFAULT_STATUS = {FaultKind.SERVER_ERROR: 500, FaultKind.REDIRECT: 307}
_DEFAULT_BODY = {FaultKind.SERVER_ERROR: "json", FaultKind.MALFORMED: "cut"}
_BODIES = {
    FaultKind.SERVER_ERROR: ("json", "html", "empty"),
    FaultKind.MALFORMED: ("cut", "html", "empty", "null", "list", "deep", "huge"),
}


@attrs.frozen
class Effect:
    """What goes wrong with one request.

    Attributes:
        kind: The kind of fault.
        executed: Whether the request takes effect (and is charged) nevertheless.
        status: HTTP status of ``server_error`` and ``redirect``.
        body: The body's style, for ``server_error`` and ``malformed``.
        retry_after: Seconds of a 429's Retry-After, ``None`` for no such header.
        as_date: Whether Retry-After is an HTTP date.
        delay: Seconds by which ``slow`` delays the answer.
    """

    kind: FaultKind
    executed: bool = False
    status: int = 0
    body: str = ""
    retry_after: int | None = None
    as_date: bool = False
    delay: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Effect:
        """Read ``KIND[=VALUE[/VALUE...]]``.

        Raises:
            ValueError: The kind is unknown, or it does not take that value.
        """
        name, equals, value_text = text.partition("=")
        try:
            kind = FaultKind(name)
        except ValueError:
            known = ", ".join(member.value for member in FaultKind)
            raise ValueError(f"not a kind of fault: {name!r}; known are {known}") from None
        effect = cls(
            kind,
            executed=kind in _EXECUTING,
            status=_DEFAULT_STATUS.get(kind, 0),
            body=_DEFAULT_BODY.get(kind, ""),
            delay=2.0 if kind is FaultKind.SLOW else 0.0,
        )
        for value in value_text.split("/") if equals else ():
            effect = effect._with(value)
        return effect

    def _with(self, value: str) -> Effect:
        kind = self.kind
        if value == "after" and kind in {FaultKind.SERVER_ERROR, FaultKind.HANG}:
            return attrs.evolve(self, executed=True)
        if value in _BODIES.get(kind, ()):
            return attrs.evolve(self, body=value)
        if kind is FaultKind.RATE_LIMITED and value == "none":
            return attrs.evolve(self, retry_after=None)
        if kind is FaultKind.RATE_LIMITED and value == "date" and self.retry_after is not None:
            return attrs.evolve(self, as_date=True)
        if kind is FaultKind.RATE_LIMITED and re.fullmatch(r"[0-9]{1,9}", value):
            return attrs.evolve(self, retry_after=int(value))
        if kind is FaultKind.SERVER_ERROR and re.fullmatch(r"[45][0-9]{2}", value):
            return attrs.evolve(self, status=int(value))
        if kind is FaultKind.REDIRECT and value in {"301", "302", "303", "307", "308"}:
            return attrs.evolve(self, status=int(value))
        if kind is FaultKind.SLOW and re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", value):
            return attrs.evolve(self, delay=float(value))
        raise ValueError(f"a fault of kind {kind.value} does not take the value {value!r}")


@attrs.frozen
class Fault:
    """A fault: where, what, how often.

    Attributes:
        route: Where it strikes.
        effect: What goes wrong.
        trigger: Which of the calls to the route it strikes.
        text: The notation it was read from.
    """

    route: FaultRoute
    effect: Effect
    trigger: Trigger = attrs.field(factory=Trigger)
    text: str = ""

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read one fault in the module's notation.

        Raises:
            ValueError: It is not of that form; the message says what is wrong.
        """
        cleaned = text.strip().lower()
        route_text, colon, rest = cleaned.partition(":")
        effect_text, trigger_text = Trigger.split(rest)
        try:
            if not colon:
                raise ValueError("write it like 'purchase:drop_after@0.05' or 'status:hang#3'")
            if route_text not in list(FaultRoute):
                known = ", ".join(member.value for member in FaultRoute)
                raise ValueError(f"not a route: {route_text!r}; known are {known}")
            route, effect = FaultRoute(route_text), Effect.parse(effect_text)
            if route is FaultRoute.CONNECT and effect.kind is not FaultKind.REFUSE:
                raise ValueError("on the route connect there is only the kind refuse")
            return cls(route, effect, Trigger.parse(trigger_text), cleaned)
        except ValueError as exc:
            raise ValueError(f"not a fault: {text!r}: {exc}") from None

    def __str__(self) -> str:
        return self.text


def parse_faults(text: str) -> tuple[Fault, ...]:
    """Read any number of faults, separated by commas or blanks.

    Raises:
        ValueError: One of them is not of the module's form.
    """
    return tuple(Fault.parse(part) for part in re.split(r"[,\s]+", text) if part)


class FaultSet:
    """The faults in force, with what they have counted and drawn so far.

    Args:
        faults: The faults, in order: where several strike at once the first counts.
        seed: Seeds the draws; equal calls after equal seeds are struck equally.
    """

    def __init__(self, faults: Iterable[Fault] = (), *, seed: int = 0) -> None:
        self._faults = tuple(faults)
        self._tally = Tally((fault.trigger for fault in self._faults), seed=seed)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults in force."""
        return self._faults

    @property
    def may_refuse_connections(self) -> bool:
        """Whether one of them strikes connections before anything is read."""
        return any(fault.route is FaultRoute.CONNECT for fault in self._faults)

    def add(self, faults: Iterable[Fault]) -> None:
        """Put more faults behind the others, whose counts go on."""
        added = tuple(faults)
        self._faults += added
        self._tally.add(fault.trigger for fault in added)

    def remove(self, fault: Fault) -> bool:
        """Take a fault out; the others' counts go on.

        Returns:
            Whether it was there.
        """
        if fault not in self._faults:
            return False
        index = self._faults.index(fault)
        self._faults = self._faults[:index] + self._faults[index + 1 :]
        self._tally.remove(index)
        return True

    def counts(self) -> list[tuple[Fault, int, int]]:
        """Return each fault with the calls it has counted and how many of them it struck."""
        return [(fault, *self._tally.counts(index)) for index, fault in enumerate(self._faults)]

    def strike(self, route: FaultRoute | None) -> tuple[Effect | None, float]:
        """Count one call to a route.

        Args:
            route: The route; ``None`` for a path that is none of the service's.

        Returns:
            What goes wrong (``None``: nothing), and by how many seconds the answer is late.
        """
        struck: Effect | None = None
        late = 0.0
        for index, fault in enumerate(self._faults):
            if fault.route is FaultRoute.ANY:
                if route is FaultRoute.CONNECT:
                    continue
            elif fault.route is not route:
                continue
            if not self._tally.strikes(index):
                continue
            if fault.effect.kind is FaultKind.SLOW:
                late += fault.effect.delay
            elif struck is None:
                struck = fault.effect
        return struck, late
