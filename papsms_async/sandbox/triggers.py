"""How often a fault strikes: its notation, and the counting and drawing behind it.

Notation, appended to a fault::

    @PROBABILITY | #CALL | #FIRST-LAST | #FIRST-

Without it a fault strikes always.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from random import Random

import attrs

_NOTATION = re.compile(r"(?:@(?P<share>[0-9.]+)|#(?P<first>[0-9]+)(?P<to>-(?P<last>[0-9]*))?)")


@attrs.frozen
class Trigger:
    """Which calls are struck.

    Attributes:
        probability: Share of the calls in ``first`` to ``last``, 0 to 1.
        first: First call, counted from 1 since the fault was set.
        last: Last such call, ``None`` for no end.
    """

    probability: float = 1.0
    first: int = 1
    last: int | None = None

    @staticmethod
    def split(text: str) -> tuple[str, str]:
        """Cut a fault in what it does and how often, the second in the module's notation."""
        cut = min((i for i in (text.find("@"), text.find("#")) if i >= 0), default=len(text))
        return text[:cut], text[cut:]

    @classmethod
    def parse(cls, text: str) -> Trigger:
        """Read the module's notation.

        Raises:
            ValueError: It is not of that form; the message says what is wrong.
        """
        if not text:
            return cls()
        match = _NOTATION.fullmatch(text)
        if match is None:
            raise ValueError("how often is '@' and a probability, or '#' and the number of a call")
        if match["share"] is not None:
            share = float(match["share"])
            if not 0.0 <= share <= 1.0:
                raise ValueError("a probability is between 0 and 1")
            return cls(share)
        first = int(match["first"])
        last = first if match["to"] is None else int(match["last"]) if match["last"] else None
        if first < 1 or (last is not None and last < first):
            raise ValueError("calls are counted from 1, and the last is not before the first")
        return cls(1.0, first, last)

    def strikes(self, call: int, draw: float) -> bool:
        """Whether the ``call``-th call (from 1) is struck, given a draw from [0, 1)."""
        inside = call >= self.first and (self.last is None or call <= self.last)
        return inside and draw < self.probability


class Tally:
    """What a row of triggers has counted and drawn so far.

    Args:
        triggers: The triggers.
        seed: Seeds the draws; equal calls after equal seeds are struck equally.
    """

    def __init__(self, triggers: Iterable[Trigger], *, seed: int | str) -> None:
        self._triggers: list[Trigger] = []
        self._calls: list[int] = []
        self._struck: list[int] = []
        self._rng = Random(seed)  # noqa: S311 - a simulation
        self.add(triggers)

    def add(self, triggers: Iterable[Trigger]) -> None:
        """Put more triggers behind the others, which go on as they are."""
        for trigger in triggers:
            self._triggers.append(trigger)
            self._calls.append(0)
            self._struck.append(0)

    def remove(self, index: int) -> None:
        """Take the trigger of that index out; those behind it move up."""
        for column in (self._triggers, self._calls, self._struck):
            del column[index]

    def counts(self, index: int) -> tuple[int, int]:
        """Return how many calls a trigger has counted, and how many of them it struck."""
        return self._calls[index], self._struck[index]

    def strikes(self, index: int) -> bool:
        """Count one call for the trigger of that index, and say whether it is struck."""
        self._calls[index] += 1
        # Drawn whether needed or not, so that one fault's calls leave the others' draws alone.
        struck = self._triggers[index].strikes(self._calls[index], self._rng.random())
        self._struck[index] += struck
        return struck
