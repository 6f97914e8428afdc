"""Whether webhooks still come, judged from what is seen.

Theory of operation
===================

Evidence are SMS: each one of ours either was announced by a webhook, or was found by a poll and no
webhook spoke of it within `GRACE` seconds. One that was missed says something of the present only
if no webhook came since that SMS did: those that were lost here and there while others came are
found late, by the last polls, and then all at once. A cumulative sum of log-likelihood ratios
weighs "most are lost" against "few are": it goes up with each miss, down with each webhook, and
stays between 0 and a ceiling. At `ALARM` webhooks count as silent, back at 0 they count as coming.
So three misses in a row suffice, one where no webhook ever came, and after an alarm about four
webhooks in a row take it back: both while the service loses one in three.

Polls are what finds misses, and while webhooks are trusted there are few. So what the law of the
delay lets expect counts as well: if SMS worth `Suspicion.bound` should have come since the last
webhook and none was announced, that is no evidence yet (the SMS may be late, or the law wrong), but
reason for a look at the activation that is most likely to have one.

Source: Page, "Continuous inspection schemes", 1954 (the cumulative sum).
"""

from __future__ import annotations

from enum import StrEnum
from math import log

import attrs

GRACE = 5.0
"""Seconds after an SMS came in which its webhook may still come."""
LEAST_GRACE = 1.5
"""Seconds after it was found that the webhook gets at least; clocks may disagree."""

_FEW, _MOST = 0.05, 0.9
"""Shares of lost webhooks that are told apart."""
MISS = log(_MOST / _FEW)
"""What the sum goes up by with a miss, 2.9."""
ANNOUNCED = log((1 - _FEW) / (1 - _MOST))
"""What it goes down by with a webhook, 2.25."""
ALARM = 7.0
_CEILING = ALARM + MISS
_UNPROVEN = ALARM - MISS + 0.5
"""What the sum begins with: nobody knows yet whether the URL is set in the account."""

_PRIOR_LOST, _PRIOR = 1.0, 20.0
"""What is believed of the loss at first: one in twenty, as firmly as after twenty SMS."""
HALF_LIFE = 3600.0
"""Seconds in which evidence of the loss fades to a half. By time and not by number: of many that
began together the announced ones are seen first, and the lost ones last."""


class Change(StrEnum):
    """What a piece of evidence changed."""

    SILENT = "silent"
    BACK = "back"


@attrs.define
class SilenceTest:
    """What is known of webhooks so far.

    Attributes:
        coming: Whether they are believed to come.
        proven: Whether one ever came.
        announced: SMS that a webhook announced.
        missed: SMS that a poll found and no webhook announced.
    """

    coming: bool = True
    proven: bool = False
    announced: int = 0
    missed: int = 0
    _sum: float = _UNPROVEN
    _lost: float = _PRIOR_LOST
    _weight: float = _PRIOR
    _at: float = 0.0

    @property
    def loss(self) -> float:
        """The share of webhooks that seem to be lost."""
        return self._lost / self._weight

    def note_announced(self, *, at: float) -> Change | None:
        """A webhook told of an SMS, truly.

        Args:
            at: Seconds on a monotonic clock.
        """
        self.proven = True
        self.announced += 1
        self._weigh(0.0, at)
        self._sum = max(0.0, self._sum - ANNOUNCED)
        if not self.coming and self._sum <= 0.0:
            self.coming = True
            return Change.BACK
        return None

    def note_missed(self, *, at: float, silent_since: bool) -> Change | None:
        """No webhook told of an SMS that is there.

        Args:
            at: Seconds on a monotonic clock.
            silent_since: Whether none came for any other SMS since this one came.
        """
        self.missed += 1
        self._weigh(1.0, at)
        if not silent_since:
            return None
        self._sum = min(_CEILING, self._sum + MISS)
        if self.coming and self._sum >= ALARM:
            self.coming = False
            return Change.SILENT
        return None

    def _weigh(self, lost: float, at: float) -> None:
        if not self.coming:
            return  # an outage says nothing of the loss before and after it
        # What is believed at first never fades.
        kept = 0.5 ** ((at - self._at) / HALF_LIFE)
        self._lost = _PRIOR_LOST + (self._lost - _PRIOR_LOST) * kept + lost
        self._weight = _PRIOR + (self._weight - _PRIOR) * kept + 1.0
        self._at = at


@attrs.define
class Suspicion:
    """Whether the silence of the moment calls for a look.

    Attributes:
        vain: Looks that found no SMS, less the webhooks since: then the law was wrong rather than
            the webhooks.
    """

    vain: int = 0

    def bound(self, waiting: int, *, proven: bool) -> float:
        """Return how many SMS have to be expected before a look is worth its request.

        Between two webhooks the SMS that can be expected are distributed exponentially with mean
        one if all is well. So a share of ``exp(-bound)`` of the SMS provokes a look in vain: one in
        three where a single activation waits and requests lie idle, one in three thousand where a
        thousand wait, which one look can speak for.

        Args:
            waiting: Activations that wait for their SMS.
            proven: Whether a webhook ever came; nothing is trusted that never showed itself.
        """
        least = 1.0 if proven else 0.6
        return (least + log(max(1, waiting))) * 1.3 ** min(self.vain, 30)
