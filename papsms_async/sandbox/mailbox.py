"""Messages that an application under test sends to virtual numbers, through the sandbox.

A message to a number that is held arrives there at once, whatever SMS the sandbox itself has in
store for it; of several the latest counts. One to any other number is kept as undelivered.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from enum import StrEnum
from random import Random
from typing import Protocol

import attrs

from .activations import SandboxActivation
from .code_extraction import LONGEST_TEXT, find_code

MAILBOX_LENGTH = 10_000
"""Messages that a mailbox keeps; older ones are forgotten."""

LATEST = 20
"""Undelivered messages that `Mailbox.latest_undelivered` holds."""

MOST_CHARACTERS = LONGEST_TEXT
"""Characters that a message has at most, as with Twilio."""

_FORMATTING = re.compile(r"[\s().\-\u00a0\u2010-\u2015/]+")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)


class Via(StrEnum):
    """Where a message came in."""

    TWILIO = "twilio"
    PLAIN = "plain"


class MessageStatus(StrEnum):
    """What became of a message."""

    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"


@attrs.frozen
class ReceivedMessage:
    """One message. Who sent it to whom and its text stay out of the repr.

    Attributes:
        sid: ``SM`` and 32 hexadecimal digits.
        at: When it came, in POSIX seconds.
        via: Where it came in.
        account: The sender's account there, where there is such a thing.
        sender: Who sent it, as given; ``None`` where that was left out.
        service: Sid of the messaging service that was to choose a sender, if one was.
        to: The receiver in E.164 form.
        text: Its text.
        code: The code in it, ``None`` where none was recognised.
        status: What became of it.
        activation_id: The activation that received it, ``None`` for an undelivered one.
    """

    sid: str
    at: float
    via: Via
    account: str | None
    sender: str | None = attrs.field(repr=False)
    service: str | None
    to: str = attrs.field(repr=False)
    text: str = attrs.field(repr=False)
    code: str | None = attrs.field(repr=False)
    status: MessageStatus
    activation_id: str | None


class Deliver(Protocol):
    """Lets an SMS arrive; see `papsms_async.sandbox.engine.SandboxEngine.deliver`."""

    def __call__(
        self, now: float, *, phone_number: str, code: str | None, text: str
    ) -> SandboxActivation | None:
        """Return the activation that received it, if any."""
        ...


class Mailbox:
    """The messages of one sandbox.

    Args:
        deliver: Lets an SMS arrive at a number.
        seed: Seeds the messages' sids.
        changed: Called when a message has come.

    Attributes:
        undelivered: How many messages went to numbers that nobody held.
        latest_undelivered: The latest of these, oldest first.
    """

    def __init__(self, deliver: Deliver, *, seed: int, changed: Callable[[], None]) -> None:
        self.undelivered = 0
        self.latest_undelivered: deque[ReceivedMessage] = deque(maxlen=LATEST)
        self._changed = changed
        self._deliver = deliver
        self._rng = Random(f"messages {seed}")  # noqa: S311 - a simulation
        self._messages: dict[str, ReceivedMessage] = {}

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[ReceivedMessage]:
        """All messages that are kept, oldest first."""
        return iter(self._messages.values())

    def find(self, sid: str) -> ReceivedMessage | None:
        """Return the message of that sid, if it is kept."""
        return self._messages.get(sid)

    def receive(
        self,
        now: float,
        *,
        to: str,
        text: str,
        via: Via,
        sender: str | None = None,
        service: str | None = None,
        account: str | None = None,
    ) -> ReceivedMessage:
        """Take a message and deliver it, now.

        Args:
            now: POSIX seconds.
            to: A phone number, formatted in whatever way.
            text: The text.
            via: Where it came in.
            sender: Who sent it.
            service: The messaging service that is to choose a sender.
            account: The sender's account.

        Raises:
            ValueError: ``to`` is no phone number.
        """
        code, found = find_code(text), None
        numbers = phone_numbers(to)
        for number in numbers:
            found = self._deliver(now, phone_number=number, code=code, text=text)
            if found is not None:
                break
        message = ReceivedMessage(
            sid=f"SM{self._rng.getrandbits(128):032x}",
            at=now,
            via=via,
            account=account,
            sender=sender,
            service=service,
            to=numbers[0] if found is None else found.phone_number,
            text=text,
            code=code,
            status=MessageStatus.UNDELIVERED if found is None else MessageStatus.DELIVERED,
            activation_id=None if found is None else found.activation_id,
        )
        if len(self._messages) >= MAILBOX_LENGTH:
            del self._messages[next(iter(self._messages))]
        self._messages[message.sid] = message
        if found is None:
            self.undelivered += 1
            self.latest_undelivered.append(message)
        self._changed()
        return message


def phone_numbers(text: str) -> list[str]:
    """Return what a phone number may mean in E.164 form, likeliest first.

    Blanks, dashes, dots and brackets do not matter, ``00`` stands for ``+``, and so does nothing;
    ten digits without any of these may be a number of North America without its 1.

    Raises:
        ValueError: It is none.
    """
    bare = _FORMATTING.sub("", text[:64])
    if bare.startswith("+"):
        written = [bare]
    elif bare.startswith("00"):
        written = ["+" + bare[2:]]
    else:
        written = ["+" + bare]
        if len(bare) == 10:
            written.append("+1" + bare)
    found = [number for number in written if _E164.fullmatch(number)]
    if not found:
        raise ValueError("not a phone number; write it like +14155550123")
    return found
