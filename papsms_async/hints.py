"""What webhooks told of SMS that are not there yet, and the polls that this calls for.

A webhook that is not to be taken at its word is a hint: a poll asks for the status now, and, where
the status is known to lag behind, once more a little later. Nothing of the webhook itself is
believed. Further hints for the same activation are heard ever less often, so that forged ones cost
a bounded number of polls.
"""

from __future__ import annotations

import asyncio

import attrs

from papsms_async.poller import Poller
from papsms_async.tracking import Tracked

AGAIN = 3.0
"""Seconds from a hint to the second look, where the first did not find the SMS."""
DEAF = 4.0
"""Seconds for which an activation's further hints are not heard; doubled with each that was."""
WORTH = 0.2
"""Share of second looks that must find the SMS for them to go on."""
_FADES = 0.98


@attrs.define
class _Told:
    """What webhooks told of one activation."""

    hints: int = 0
    deaf_until: float = 0.0
    answers: int = 0


class Hints:
    """The hints of one manager.

    Args:
        poller: Asks for the status.

    Attributes:
        asked: How often a poll was asked for.
    """

    def __init__(self, poller: Poller) -> None:
        self.asked = 0
        self._poller = poller
        self._told: dict[Tracked, _Told] = {}
        self._found_later = self._found_nothing = 0.0

    def told(self, tracked: Tracked) -> bool:
        """A webhook told of its SMS; return whether it is the first that did."""
        if tracked in self._told:
            return False
        self._told[tracked] = _Told()
        return True

    def forget(self, tracked: Tracked) -> bool:
        """Its SMS is there, or nobody waits for it any more; return whether it was told of."""
        return self._told.pop(tracked, None) is not None

    def hint(self, tracked: Tracked) -> None:
        """Ask for its status, unless that was done just now; it was told of before."""
        told = self._told[tracked]
        now = asyncio.get_running_loop().time()
        if now < told.deaf_until:
            return
        told.deaf_until = now + DEAF * 2.0 ** min(told.hints, 20)
        told.hints += 1
        self._ask(tracked)

    def watched(self, tracked: Tracked) -> None:
        """A wait for its SMS began, or began anew: what was told before calls for a look."""
        if tracked in self._told:
            self._ask(tracked)

    def answered(self, tracked: Tracked, *, found: bool) -> bool:
        """A poll was answered; return whether its SMS was told of.

        Args:
            tracked: Whose status was asked for.
            found: Whether the SMS is there.
        """
        told = self._told.get(tracked)
        if told is None:
            return False
        if found:
            self._found_later += told.answers == 1
            del self._told[tracked]
        else:
            told.answers += 1
            self._found_nothing += told.answers == 2
        return True

    def _ask(self, tracked: Tracked) -> None:
        self.asked += 1
        self._poller.look(tracked)
        found, nothing = self._found_later, self._found_nothing
        self._found_later, self._found_nothing = found * _FADES, nothing * _FADES
        if (found + 1) / (found + nothing + 2) >= WORTH:
            self._poller.look(tracked, after=AGAIN)
