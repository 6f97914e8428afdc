"""Which activations changed, so that a watcher can ask what is new since it last looked.

The journal keeps no events: it knows for each activation the version at which it last changed, and
a watcher who has seen version v is told how those with a greater one stand *now*. However long a
watcher was away, and however often something changed meanwhile, it is told each activation once;
so nothing queues up for a slow one.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from itertools import takewhile

from .activations import ActivationState


class Journal:
    """Versions of activations, and how many there are in each state."""

    def __init__(self) -> None:
        self.version = 0
        self._noted: OrderedDict[str, tuple[int, ActivationState]] = OrderedDict()
        self._counts: Counter[ActivationState] = Counter()

    @property
    def counts(self) -> Mapping[ActivationState, int]:
        """How many activations are in a state; 0 for a state that none is in."""
        return self._counts

    def note(self, activation_id: str, state: ActivationState) -> None:
        """Note that an activation has changed, and its state; O(1)."""
        before = self._noted.get(activation_id)
        if before is not None:
            self._counts[before[1]] -= 1
        self._counts[state] += 1
        self.version += 1
        self._noted[activation_id] = (self.version, state)
        self._noted.move_to_end(activation_id)

    def since(self, version: int) -> list[str]:
        """Return the activations that changed after a version, latest change first.

        O(n) in what is returned.
        """
        changed = takewhile(lambda noted: noted[1][0] > version, reversed(self._noted.items()))
        return [activation_id for activation_id, _ in changed]
