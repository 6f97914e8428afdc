"""Who is polled when: the watches, the alarm of each, and the poll that is under way for it.

Until its poll is due a watch occupies nothing but a timer. Then the poll is launched as a task; one
that still waits for its permit is taken back when the plans change and it is not due any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine

from papsms_async.poll_times import PollTimes
from papsms_async.tasks import OwnedTasks
from papsms_async.tracking import Tracked
from papsms_async.watch import EPSILON, Net, Watch


class Agenda:
    """The agenda of a poller.

    Args:
        tasks: Owns the tasks that polls run in.
        times: Knows the ages of polls.
        poll: Makes one poll of a watch, given the loop time at which it was due.

    Attributes:
        net: Whoever else tells of SMS, if anybody does.
    """

    def __init__(
        self,
        tasks: OwnedTasks,
        times: PollTimes,
        poll: Callable[[Watch, float], Coroutine[None, None, None]],
    ) -> None:
        self.net: Net | None = None
        self._tasks = tasks
        self._times = times
        self._poll = poll
        self._watches: dict[Tracked, Watch] = {}
        self._in_line: set[asyncio.Task[None] | None] = set()

    @property
    def in_line(self) -> int:
        """How many polls wait for a permit."""
        return len(self._in_line)

    @property
    def watches(self) -> Collection[Watch]:
        """Everything that is watched, oldest watch first."""
        return self._watches.values()

    @property
    def is_sparse(self) -> bool:
        """Whether polls are few, because somebody else tells of SMS."""
        return self.net is not None and self.net.trusting

    def get(self, tracked: Tracked) -> Watch | None:
        """Return the watch of a purchase, if there is one."""
        return self._watches.get(tracked)

    def add(self, watch: Watch) -> None:
        """Keep a new watch; `schedule` begins its polls."""
        self._watches[watch.tracked] = watch

    def drop(self, watch: Watch) -> None:
        """End a watch; a poll of it that waits for its permit, or for its answer, is withdrawn."""
        watch.over = True
        watch.stop_alarm()
        if watch.task is not None and watch.task is not asyncio.current_task():
            watch.task.cancel()
        if self._watches.get(watch.tracked) is watch:
            del self._watches[watch.tracked]

    def schedule(self, watch: Watch, *, not_before: float = 0.0) -> None:
        """Have it polled when that is due, unless a poll is under way.

        Args:
            watch: The watch.
            not_before: Age, in seconds, before which it is not polled.
        """
        if watch.over or watch.task is not None:
            return
        watch.stop_alarm()
        age = max(self._due(watch), min(not_before, watch.timeout + watch.grace))
        watch.alarm = asyncio.get_running_loop().call_at(
            watch.start + age, self._launch, watch, watch.start + age
        )

    def replan(self) -> None:
        """Plan every poll anew."""
        for watch in tuple(self._watches.values()):
            if watch.failures == 0:
                self._recall(watch)
                self.schedule(watch)

    def poll_now(self, watch: Watch) -> None:
        """Poll although it is not due; where a poll is under way, that one is it."""
        watch.stop_alarm()
        self._launch(watch, asyncio.get_running_loop().time())

    def permitted(self) -> None:
        """The poll of the present task has its permit."""
        self._in_line.discard(asyncio.current_task())

    def last_age(self, watch: Watch) -> float:
        """Return the age at which a poll without SMS is the last."""
        return self._times.last_age(watch.tracked, watch.timeout)

    def _due(self, watch: Watch) -> float:
        """Return the age at which its next poll is due."""
        timeout, last = self.last_age(watch), watch.last
        if self.net is not None and self.net.trusting:
            due = self.net.next_look(self._times.law(watch.tracked), timeout=timeout, last=last)
        else:
            due = self._times.next_age(watch.tracked, last=last, timeout=timeout)
        return min([due, timeout, *watch.looks])

    def _recall(self, watch: Watch) -> None:
        """Take a poll back that still waits for its permit and is not due any more."""
        task = watch.task
        if task is not None and task in self._in_line and watch.age() < self._due(watch) - EPSILON:
            task.cancel()
            watch.task = None

    def _launch(self, watch: Watch, due: float) -> None:
        watch.alarm = None
        if watch.over or watch.task is not None:
            return
        watch.task = task = self._tasks.spawn(self._poll(watch, due), name="papsms poll")
        # By the task and not inside it: one that is cancelled before its first step never runs.
        self._in_line.add(task)
        task.add_done_callback(self._in_line.discard)
