"""What was seen of SMS delays, as a value that can be kept, merged with other such, and taken up.

Evidence fades: it is halved with every `HALF_LIFE_OBSERVATIONS` that come after it, and with every
`HALF_LIFE_SECONDS`. So what several processes saw can be added up: the older fades by what the
newer brings, which comes to what one process that saw all of it would have, but for the order of
what was seen in the same minutes. And what is new since an earlier moment is the difference.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias

import attrs

__all__ = ["HALF_LIFE_OBSERVATIONS", "HALF_LIFE_SECONDS", "Evidence", "Key", "merged", "news"]

HALF_LIFE_OBSERVATIONS = 300.0
HALF_LIFE_SECONDS = 4 * 3600.0

FORGOTTEN_AFTER = 14 * HALF_LIFE_SECONDS
"""Seconds after which evidence is not worth keeping: less than 1 in 10,000 of it is left."""

VERSION = 1
"""Of the text; what another version wrote is not read."""

_DIGITS = 6
"""Decimal places that are kept: a millionth of an activation is nothing."""

Key: TypeAlias = tuple[str, ...]
"""What evidence is about: ``(service, country)``, ``(service,)``, or ``()`` for everything."""


@attrs.frozen(kw_only=True)
class Evidence:
    """What was seen, on the bins of `papsms_async.delays.EDGES`.

    Attributes:
        events: SMS that came, per bin.
        exposure: Seconds that activations spent waiting, per bin.
        weight: Activations that it stands for, after fading.
        seen: Activations that it was made of.
        age: Seconds since the last of them; a little below zero where clocks disagree.
    """

    events: tuple[float, ...] = attrs.field(repr=False)
    exposure: tuple[float, ...] = attrs.field(repr=False)
    weight: float
    seen: float
    age: float = 0.0

    @property
    def is_forgotten(self) -> bool:
        """Whether nothing worth a number is left of it."""
        return self.age >= FORGOTTEN_AFTER

    def as_of(self, age: float, *, seen: float = 0.0) -> Evidence:
        """Return what is left of it at another age, after so many more activations were seen.

        Args:
            age: Seconds before the present, no more than its own; 0 is the present.
            seen: Activations that were seen since.
        """
        half_lives = seen / HALF_LIFE_OBSERVATIONS + (self.age - age) / HALF_LIFE_SECONDS
        left = 2.0 ** -min(max(0.0, half_lives), 1000.0)
        return attrs.evolve(
            self,
            events=tuple(value * left for value in self.events),
            exposure=tuple(value * left for value in self.exposure),
            weight=self.weight * left,
            age=age,
        )

    def to_text(self, edges: Sequence[float]) -> str:
        """Return it as text, without its age.

        Args:
            edges: The lower edges of the bins, in seconds.
        """
        return json.dumps(
            {
                "version": VERSION,
                "edges": _signature(edges),
                "weight": round(self.weight, _DIGITS),
                "seen": round(self.seen, _DIGITS),
                "events": [round(value, _DIGITS) for value in self.events],
                "exposure": [round(value, _DIGITS) for value in self.exposure],
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_text(cls, text: str, edges: Sequence[float], *, age: float = 0.0) -> Evidence:
        """Read what `to_text` wrote.

        Args:
            text: The text.
            edges: The lower edges of the bins, in seconds.
            age: Seconds since the last observation.

        Raises:
            ValueError: It is something else, or of other bins, or can't have been seen.
        """
        try:
            value = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise ValueError("the evidence is not JSON") from error
        if not isinstance(value, dict) or set(value) != _FIELDS:
            raise ValueError("the evidence has other fields")
        if value["version"] != VERSION or value["edges"] != _signature(edges):
            raise ValueError("the evidence is of another version, or of other bins")
        weight, seen = _number(value["weight"]), _number(value["seen"])
        events, exposure = (
            tuple(_number(one) for one in _list(value[name], len(edges)))
            for name in ("events", "exposure")
        )
        # More SMS than activations would bend the law as nothing that was seen can.
        if sum(events) > 1.001 * weight + 0.001 or weight > 1.001 * seen + 0.001:
            raise ValueError("the evidence contradicts itself")
        return cls(events=events, exposure=exposure, weight=weight, seen=seen, age=age)


_FIELDS = {"version", "edges", "weight", "seen", "events", "exposure"}


def merged(old: Evidence, new: Evidence) -> Evidence:
    """Return both together; ``old`` fades by what ``new`` brings.

    Their ages count from the same present, and either may have the more recent last observation.
    """
    age = min(old.age, new.age)
    old, new = old.as_of(age, seen=new.seen), new.as_of(age)
    return Evidence(
        events=tuple(a + b for a, b in zip(old.events, new.events, strict=True)),
        exposure=tuple(a + b for a, b in zip(old.exposure, new.exposure, strict=True)),
        weight=old.weight + new.weight,
        seen=old.seen + new.seen,
        age=age,
    )


def news(whole: Evidence, before: Evidence) -> Evidence:
    """Return what has to be merged into ``before`` to make ``whole``, whose beginning it is.

    Their ages count from the same present.
    """
    rest = before.as_of(min(before.age, whole.age), seen=whole.seen - before.seen)
    return Evidence(
        events=tuple(max(0.0, a - b) for a, b in zip(whole.events, rest.events, strict=True)),
        exposure=tuple(max(0.0, a - b) for a, b in zip(whole.exposure, rest.exposure, strict=True)),
        weight=max(0.0, whole.weight - rest.weight),
        seen=max(0.0, whole.seen - before.seen),
        age=whole.age,
    )


def _signature(edges: Sequence[float]) -> list[float]:
    """Return what tells bins from others, in a few numbers."""
    return [len(edges), *(round(edges[k], 9) for k in (1, len(edges) // 2, -1))]


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _list(value: Any, length: int) -> list[Any]:
    if not isinstance(value, list) or len(value) != length:
        raise ValueError("the evidence has another number of bins")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError("the evidence holds what is no number")
    # Compared before it is converted: an integer may be too long for a float.
    if not 0 <= value <= 1e12:
        raise ValueError("the evidence holds an impossible number")
    return float(value)
