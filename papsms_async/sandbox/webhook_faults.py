"""What goes wrong with the webhooks that the sandbox posts: kinds, notation, how often.

Notation of one fault, several are separated by commas or blanks::

    KIND[=VALUE][@PROBABILITY | #EVENT | #FIRST-LAST | #FIRST-]

    loss@0.05              one SMS in twenty is never told of
    late=0-30              each post leaves up to 30 s late, drawn evenly
    duplicate=2#3          the third SMS is told of three times

Without a frequency a fault strikes always. Events are the SMS that arrive; for forgeries they are
the purchases, so that a forgery may come before the SMS, and for numbers that never get one.

`WEBHOOK_KINDS` tells what each kind does.

A forger never has the signing secret: forgeries are unsigned or signed with another key.
"""

from __future__ import annotations

import re
from enum import StrEnum

import attrs

from .triggers import Trigger


class WebhookFaultKind(StrEnum):
    """What goes wrong; see `WEBHOOK_KINDS`."""

    LOSS = "loss"
    LATE = "late"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    REPLAY = "replay"
    FORGED_CODE = "forged_code"
    FORGED_ID = "forged_id"
    FORGED_PATH = "forged_path"

    @property
    def forged(self) -> bool:
        """Whether it is a forgery, which strikes purchases and not SMS."""
        return self in _FORGERIES


WEBHOOK_KINDS: dict[WebhookFaultKind, tuple[str, str]] = {
    WebhookFaultKind.LOSS: ("SMS", "no post"),
    WebhookFaultKind.LATE: (
        "SMS",
        "the post leaves `60` seconds late, or as many as are drawn from `LOW-HIGH`",
    ),
    WebhookFaultKind.DUPLICATE: (
        "SMS",
        "the post is made `1` time more (up to 10), within 2 s, whatever the answer was",
    ),
    WebhookFaultKind.REORDER: (
        "SMS",
        "the post is held back until one for a later SMS was made, for `5` seconds at most",
    ),
    WebhookFaultKind.REPLAY: (
        "SMS",
        "`600` seconds after the post the same bytes come again, old timestamp included",
    ),
    WebhookFaultKind.FORGED_CODE: (
        "purchase",
        "somebody posts a wrong code for the number, within `10` seconds of the purchase",
    ),
    WebhookFaultKind.FORGED_ID: (
        "purchase",
        "somebody posts a code for an id that was never given, within `10` seconds",
    ),
    WebhookFaultKind.FORGED_PATH: (
        "purchase",
        "as `forged_code`, but with a wrong guess in place of the URL's last segment",
    ),
}
"""Of each kind, which events it strikes and what happens; default values in backticks."""

_FORGERIES = {
    WebhookFaultKind.FORGED_CODE,
    WebhookFaultKind.FORGED_ID,
    WebhookFaultKind.FORGED_PATH,
}
_DEFAULT = {
    WebhookFaultKind.LOSS: 0.0,
    WebhookFaultKind.LATE: 60.0,
    WebhookFaultKind.DUPLICATE: 1.0,
    WebhookFaultKind.REORDER: 5.0,
    WebhookFaultKind.REPLAY: 600.0,
}
_FORGERY_WINDOW = 10.0
_MOST_COPIES = 10
_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]+)?")


@attrs.frozen
class WebhookFault:
    """A fault: what, how much, how often.

    Attributes:
        kind: What goes wrong.
        low: Least value; see `WEBHOOK_KINDS` for what it counts.
        high: Greatest value; above ``low`` only where it is drawn evenly from between them.
        trigger: Which of its events it strikes.
        text: The notation it was read from.
    """

    kind: WebhookFaultKind
    low: float
    high: float
    trigger: Trigger = attrs.field(factory=Trigger)
    text: str = ""

    @classmethod
    def parse(cls, text: str) -> WebhookFault:
        """Read one fault in the module's notation.

        Raises:
            ValueError: It is not of that form; the message says what is wrong.
        """
        cleaned = text.strip().lower()
        what, how_often = Trigger.split(cleaned)
        name, equals, value = what.partition("=")
        try:
            if name not in list(WebhookFaultKind):
                known = ", ".join(member.value for member in WebhookFaultKind)
                raise ValueError(f"not a kind: {name!r}; known are {known}")
            kind = WebhookFaultKind(name)
            low, high = _values(kind, value) if equals else _defaults(kind)
            return cls(kind, low, high, Trigger.parse(how_often), cleaned)
        except ValueError as exc:
            raise ValueError(f"not a webhook fault: {text!r}: {exc}") from None

    def __str__(self) -> str:
        return self.text


def parse_webhook_faults(text: str) -> tuple[WebhookFault, ...]:
    """Read any number of faults, separated by commas or blanks.

    Raises:
        ValueError: One of them is not of the module's form.
    """
    return tuple(WebhookFault.parse(part) for part in re.split(r"[,\s]+", text) if part)


def _defaults(kind: WebhookFaultKind) -> tuple[float, float]:
    if kind.forged:
        return 0.0, _FORGERY_WINDOW
    return _DEFAULT[kind], _DEFAULT[kind]


def _values(kind: WebhookFaultKind, text: str) -> tuple[float, float]:
    numbers = text.split("-")
    if kind is WebhookFaultKind.LOSS:
        raise ValueError("loss takes no value")
    if kind is WebhookFaultKind.LATE and len(numbers) == 2:
        low, high = _seconds(numbers[0]), _seconds(numbers[1])
        if high < low:
            raise ValueError("late takes LOW-HIGH with LOW <= HIGH")
        return low, high
    if kind is WebhookFaultKind.DUPLICATE:
        if not (re.fullmatch(r"[0-9]{1,2}", text) and 1 <= int(text) <= _MOST_COPIES):
            raise ValueError(f"duplicate takes a whole number from 1 to {_MOST_COPIES}")
        return float(text), float(text)
    value = _seconds(text)
    return (0.0, value) if kind.forged else (value, value)


def _seconds(text: str) -> float:
    if not _SECONDS.fullmatch(text):
        raise ValueError(f"{text!r} is not a number of seconds")
    return float(text)
