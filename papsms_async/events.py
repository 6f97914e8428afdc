"""What happens while verifications run, told step by step.

The command line's progress display and ``--events`` are built on this; anything else may be too.
Events carry values whose ``repr`` hides numbers and codes; whoever prints the values themselves
decides where they go.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Self

import attrs

from papsms_async.decisions import Decision
from papsms_async.models import Activation, Sms
from papsms_async.verification import VerificationRequest, VerificationResult

_log = logging.getLogger("papsms_async")


class EventKind(StrEnum):
    """What happened."""

    QUEUED = "queued"
    """A purchase waits for its permit."""
    DECIDED = "decided"
    """A permit goes to one request, with the reasons; only where explanations are asked for."""
    PURCHASING = "purchasing"
    """The intent is durable and the purchase goes out."""
    PURCHASED = "purchased"
    """The number is there."""
    NOT_PURCHASED = "not_purchased"
    """This purchase failed; a fallback may follow."""
    PURCHASE_UNKNOWN = "purchase_unknown"
    """The answer was lost; it may have been charged."""
    WAITING_FOR_SMS = "waiting_for_sms"
    """The wait for the SMS began."""
    POLLED = "polled"
    """The status was asked for and there was no SMS yet."""
    ANNOUNCED = "announced"
    """A webhook says that the SMS is there; unless it is trusted, a poll asks for it now."""
    SMS_RECEIVED = "sms_received"
    """The SMS is there."""
    TIMED_OUT = "timed_out"
    """No SMS came in time."""
    COMPLETING = "completing"
    """A finish as completed is owed."""
    CANCELLING = "cancelling"
    """A finish as cancelled is owed."""
    FINISH_DELAYED = "finish_delayed"
    """The finish has to be tried again later."""
    COMPLETED = "completed"
    """Finished and charged."""
    CANCELLED = "cancelled"
    """Finished and refunded."""
    EXPIRED = "expired"
    """The service took the number back."""
    WEBHOOKS_SILENT = "webhooks_silent"
    """The SMS of this verification came without a webhook, as others before it: all are polled for
    from now on."""
    WEBHOOKS_BACK = "webhooks_back"
    """The SMS of this verification was announced by a webhook, as others before it: polls are
    sparse from now on."""
    RESULT = "result"
    """The verification is over; `VerificationEvent.result` holds what became of it."""


@attrs.frozen(kw_only=True)
class VerificationEvent:
    """One step of one verification.

    Attributes:
        kind: What happened.
        at: When (UTC).
        request: The verification's request.
        intent_id: The ledger's id of the purchase, or ``None`` before there is one.
        activation: The number, once bought.
        sms: The SMS, with `EventKind.SMS_RECEIVED`.
        result: The result, with `EventKind.RESULT`.
        decision: The reasons, with `EventKind.DECIDED`.
        detail: Why, in a few words without secrets, or ``None``.
    """

    kind: EventKind
    at: datetime
    request: VerificationRequest
    intent_id: str | None = None
    activation: Activation | None = None
    sms: Sms | None = None
    result: VerificationResult | None = None
    decision: Decision | None = None
    detail: str | None = None


Listener = Callable[[VerificationEvent], None]


class EventHub:
    """Hands events to everyone who listens."""

    def __init__(self) -> None:
        self._listeners: dict[object, Listener] = {}

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with every event from now on; call the returned function to stop."""
        token = object()
        self._listeners[token] = listener
        return lambda: self._listeners.pop(token, None) and None

    def publish(self, event: VerificationEvent) -> None:
        """Tell everyone. A listener that raises is logged and does no harm to the verification."""
        for listener in tuple(self._listeners.values()):
            try:
                listener(event)
            except Exception as error:
                # Only the type: the text of a foreign error may hold what the event held.
                _log.error("a listener of events failed with %s", type(error).__name__)

    def stream(self) -> EventStream:
        """Return an async iterator over the events from now on."""
        return EventStream(self)


class EventStream:
    """Events as an async iterator; nothing is dropped, so read it or close it.

    It listens from the moment it is made. Leaving its ``async with`` block, or `close`, ends it.
    """

    def __init__(self, hub: EventHub) -> None:
        self._events: deque[VerificationEvent] = deque()
        self._news = asyncio.Event()
        self._closed = False
        self._unsubscribe = hub.subscribe(self._put)

    def _put(self, event: VerificationEvent) -> None:
        self._events.append(event)
        self._news.set()

    def close(self) -> None:
        """Stop listening; what came before can still be read."""
        self._unsubscribe()
        self._closed = True
        self._news.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> VerificationEvent:
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._events.popleft()
