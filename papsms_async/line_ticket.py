"""One ticket in the quota's queue for a whole line: who uses the permit is decided when it comes.

A line whose members each waited for a permit of their own would have decided who is next when they
came. So the line waits as one, with the priority of what is most urgent in it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attrs

from papsms_async.quota import Permit, Quota, Ticket
from papsms_async.quota.base import Priority
from papsms_async.tasks import OwnedTasks


@attrs.frozen
class Asking:
    """A line that waits for a permit, as things are now.

    Attributes:
        at: The priority that it waits with.
        what: For what it would use the permit, such as ``poll``.
        since: Loop time from which on that has waited.
    """

    at: Priority
    what: str
    since: float


class LineTicket:
    """The ticket of one line; it is drawn anew as often as the line asks.

    Args:
        quota: Gives the permits.
        tasks: Owns the task that waits for one.
        name: Name of that task.
        granted: Takes the permit, and is told with which priority the ticket had waited.
        refused: Told why there is none.
        over: Called after either, and after a ticket that was withdrawn: ask again, if need be.

    Attributes:
        at: The priority that it waits with, ``None`` while it does not wait.
    """

    def __init__(
        self,
        quota: Quota,
        tasks: OwnedTasks,
        *,
        name: str,
        granted: Callable[[Permit, Priority], None],
        refused: Callable[[Exception], None],
        over: Callable[[], None],
    ) -> None:
        self._quota = quota
        self._tasks = tasks
        self._name = name
        self._granted = granted
        self._refused = refused
        self._over = over
        self._ticket: Ticket | None = None
        self.at: Priority | None = None

    def ask(self, at: Priority) -> None:
        """Wait with a priority, from now on if it waits already."""
        if self._ticket is None:
            self._ticket = ticket = self._quota.enqueue(at)
            self.at = at
            task = self._tasks.spawn(self._wait(ticket), name=self._name)
            # By the task and not inside it: one that is cancelled before its first step never runs.
            task.add_done_callback(lambda _: self._ended(ticket))
        elif at != self.at:
            self.at = at
            self._ticket.reprioritise(at)

    def withdraw(self) -> None:
        """Wait no longer; a permit that was granted and not taken yet goes back."""
        if self._ticket is not None:
            self._ticket.withdraw()

    async def _wait(self, ticket: Ticket) -> None:
        try:
            permit = await ticket
        except Exception as error:
            # Whatever it is: told to nobody, it would be asked for again at once and for ever.
            told: Callable[[], None] = partial(self._refused, error)
        else:
            told = partial(self._granted, permit, self.at or ())
        self._ticket = self.at = None
        try:
            told()
        finally:
            self._over()

    def _ended(self, ticket: Ticket) -> None:
        if self._ticket is ticket:
            ticket.withdraw()
            self._ticket = self.at = None
            self._over()
