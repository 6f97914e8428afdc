"""What this process has bought and not finished, told by the events: what is owed if it leaves."""

from __future__ import annotations

from papsms_async.events import EventKind, VerificationEvent

_OVER = frozenset({EventKind.COMPLETED, EventKind.CANCELLED, EventKind.EXPIRED})
_ANSWERED = frozenset(
    {EventKind.PURCHASED, EventKind.NOT_PURCHASED, EventKind.PURCHASE_UNKNOWN, EventKind.CANCELLING}
)


class Holdings:
    """Listens to a manager's events."""

    def __init__(self) -> None:
        self._numbers: dict[str, str | None] = {}
        self._asked: set[str] = set()
        self.released = 0
        self.unknown = 0
        self.bought = 0

    def hear(self, event: VerificationEvent) -> None:
        """Take note of one event."""
        intent = event.intent_id
        if intent is None:
            return
        if event.kind is EventKind.PURCHASING:
            self._asked.add(intent)
        elif event.kind in _ANSWERED:
            if intent in self._asked:
                self.unknown += event.kind is EventKind.PURCHASE_UNKNOWN
            self._asked.discard(intent)
        if event.kind in (EventKind.PURCHASED, EventKind.CANCELLING):
            self.bought += event.kind is EventKind.PURCHASED
            known = None if event.activation is None else event.activation.activation_id
            self._numbers[intent] = known or self._numbers.get(intent)
        if event.kind in _OVER and self._numbers.pop(intent, "") != "":
            self.released += event.kind is not EventKind.COMPLETED

    @property
    def open(self) -> tuple[str, ...]:
        """Ids of the activations that are not finished."""
        return tuple(number or "(id unknown)" for number in self._numbers.values())

    @property
    def asked(self) -> int:
        """How many purchases are out whose answer is not there."""
        return len(self._asked)

    def owed_words(self) -> str | None:
        """Return what is still owed in one sentence, or ``None`` if nothing is."""
        parts = []
        if self._numbers:
            ids = self.open
            noun = "activation" if len(ids) == 1 else "activations"
            parts.append(f"{len(ids)} {noun} not finished: {', '.join(ids)}")
        if self._asked:
            noun = "purchase" if len(self._asked) == 1 else "purchases"
            parts.append(f"{len(self._asked)} {noun} sent and not answered, maybe charged")
        return "; ".join(parts) or None
