"""Control of the sandbox's mailbox; the call is listed in `papsms_async.sandbox.control`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from .engine import SandboxEngine
from .fields import ControlCalls, last_of
from .views import message_row


class MailboxControl:
    """The call about messages.

    Args:
        engine: The engine that is controlled.
    """

    def __init__(self, engine: SandboxEngine) -> None:
        self._engine = engine
        self.endpoints: ControlCalls = {("GET", "messages"): self._messages}

    def _messages(self, body: Mapping[str, object], query: Mapping[str, str]) -> object:
        mailbox = self._engine.mailbox
        skipped = max(0, len(mailbox) - last_of(query))
        return {"messages": [message_row(message) for message in islice(mailbox, skipped, None)]}
