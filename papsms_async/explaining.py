"""Counts where permits go, and tells why, for those who want to know.

Whoever sends a request calls `Explainer.granted` with the permit in hand. That counts; only where
somebody asked for explanations is a `Decision` made, kept for a while, and told as an event.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable
from datetime import datetime

import attrs

from papsms_async.decisions import Contender, Decision, DecisionKind, LawSummary
from papsms_async.dispatcher import Rank
from papsms_async.events import EventHub, EventKind, VerificationEvent
from papsms_async.learning import DelayModel
from papsms_async.line_ticket import Asking
from papsms_async.polling import index
from papsms_async.quota import Quota
from papsms_async.verification import VerificationRequest

_log = logging.getLogger("papsms_async")

KEPT = 50
"""Decisions that are kept to be looked at."""


@attrs.frozen(kw_only=True)
class Look:
    """One look for an SMS that is about to be made.

    Attributes:
        price: Seconds of waiting that it had to save.
        age: Seconds since the SMS was requested.
        last: Age at the look before, 0 if there was none.
        due: Age at which it was due.
        timeout: Age at which the activation is given up.
        delay_cost: Seconds that it would lose by each second that it waited on.
    """

    price: float
    delay_cost: float
    age: float
    last: float
    due: float
    timeout: float


@attrs.frozen(kw_only=True)
class View:
    """What a decision is explained with.

    Attributes:
        hub: Takes the events.
        clock: Gives the present instant (UTC).
        delays: What is known of SMS delays.
        quota: Whose permits they are.
        price: Gives the price in seconds, and what set it in a word, if that is known.
        lines: Gives how many purchases are in line, polls wait for a permit, finishes are owed.
        asking: Gives the lines that wait for a permit, and what each would use it for.
        sms_timeout: Seconds to wait for an SMS where a request names none.
    """

    hub: EventHub
    clock: Callable[[], datetime]
    delays: DelayModel
    quota: Quota
    price: Callable[[], tuple[float, str | None]]
    lines: Callable[[], tuple[int, int, int]]
    asking: Callable[[], Iterable[Asking | None]]
    sms_timeout: float


class Explainer:
    """Counts the permits of one manager, and explains them if it has a view."""

    def __init__(self) -> None:
        self.permits: Counter[DecisionKind] = Counter()
        self.view: View | None = None
        self._recent: deque[Decision] = deque(maxlen=KEPT)

    @property
    def recent(self) -> tuple[Decision, ...]:
        """The last decisions that were explained, oldest first."""
        return tuple(self._recent)

    def granted(
        self,
        kind: DecisionKind,
        request: VerificationRequest,
        country: str,
        *,
        since: float | None = None,
        intent_id: str | None = None,
        look: Look | None = None,
    ) -> None:
        """A permit is there and is about to be used.

        Args:
            kind: For what.
            request: For which verification.
            country: Where.
            since: Loop time at which the request began to wait; ``None`` for now.
            intent_id: The ledger's id of the purchase.
            look: The look for an SMS, if it is one.
        """
        self.permits[kind] += 1
        if self.view is not None:
            try:
                decision = _decide(self.view, kind, request, country, since, intent_id, look)
            except Exception as error:
                # Of a quota of somebody else's, say: the permit is used all the same.
                _log.error("a permit can't be explained: %s", type(error).__name__)
                return
            self._recent.append(decision)
            self.view.hub.publish(
                VerificationEvent(
                    kind=EventKind.DECIDED,
                    at=decision.at,
                    request=request,
                    intent_id=intent_id,
                    decision=decision,
                )
            )


def _decide(
    view: View,
    kind: DecisionKind,
    request: VerificationRequest,
    country: str,
    since: float | None,
    intent_id: str | None,
    look: Look | None,
) -> Decision:
    now = asyncio.get_running_loop().time()
    price, reason = view.price()
    purchases, polls, finishes = view.lines()
    finishes -= kind is DecisionKind.FINISH
    timeout = (request.sms_timeout or view.sms_timeout) if look is None else look.timeout
    law = view.delays.law(request.service, country)
    source, evidence = view.delays.grounds(request.service, country)
    return Decision(
        kind=kind,
        at=view.clock(),
        request=request,
        country=country,
        intent_id=intent_id,
        waited=0.0 if since is None else max(0.0, now - since),
        price=price if look is None else look.price,
        price_reason=reason,
        index=None if look is None else index(law, look.last, max(look.age, look.last)),
        delay_cost=None if look is None else look.delay_cost,
        age=None if look is None else look.age,
        last_look=None if look is None else look.last,
        due=None if look is None else look.due,
        timeout=None if look is None else look.timeout,
        # A finish does not depend on it.
        law=None
        if kind is DecisionKind.FINISH
        else LawSummary.of(law, timeout=timeout, evidence=evidence, source=source),
        purchases=purchases,
        polls=polls,
        finishes=finishes,
        runner_up=_runner_up(view, now),
    )


def _runner_up(view: View, now: float) -> Contender | None:
    """Return who has the next permit, as things are now."""
    place = view.quota.next_in_line()
    if place is None:
        return None
    for line in view.asking():
        # A line waits as one, and what is most urgent in it need not be what has the permit.
        if line is not None and line.at == place:
            return Contender(line.what, max(0.0, now - line.since))
    rank, *due = place
    try:
        what = str(Rank(int(rank)))
    except (ValueError, OverflowError):
        # Of somebody else's on the same quota, by an order of its own.
        what = "another request"
    return Contender(what, max(0.0, now - due[0]) if due else None)
