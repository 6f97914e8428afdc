"""Which webhook is due when: decided from purchases, SMS, answers, time and a seed alone.

An SMS that arrives plans a post, and with it whatever the faults add; an answer that is not 2xx,
or none, plans the next attempt. Whoever carries posts out asks for those that are due and tells
how each ended. What the faults do to an event is drawn when the event happens, so neither the
receiver nor its speed changes what happens to the events after it.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable
from math import inf
from random import Random

import attrs

from .activations import SandboxActivation
from .triggers import Tally
from .webhook_config import WebhookConfig
from .webhook_faults import WebhookFault, WebhookFaultKind
from .webhook_log import LoggedPost, WebhookLog
from .webhook_posts import (
    NoAnswer,
    PostKind,
    WebhookEvent,
    WebhookPost,
    forged_event,
    forged_secret,
    guessed_url,
    headers,
    message_id,
)

_GONE = 410
"""The status with which a receiver says that it wants no further attempt."""
_DUPLICATE_WITHIN = 2.0
_OVERTAKEN_AFTER = 0.05
"""Seconds by which a post that was held back leaves later than the one that overtakes it."""


@attrs.define(eq=False)
class _Planned:
    """A post that will be due."""

    kind: PostKind
    event: WebhookEvent
    url: str = attrs.field(repr=False)
    secret: str | None = attrs.field(repr=False)
    serial: int
    due: float = inf
    not_before: float = -inf
    attempt: int = 1
    replay_after: float | None = None
    bytes_of: WebhookPost | None = None
    sent_at: float = 0.0


class WebhookOutbox:
    """The posts of one sandbox.

    Args:
        config: Where and how; ``None`` for no webhooks.
        seed: Seeds all that is drawn.
        changed: Called when a post has left or ended.

    Attributes:
        log: The posts that have ended, and those that a fault lost.
    """

    def __init__(
        self, config: WebhookConfig | None, *, seed: int, changed: Callable[[], None]
    ) -> None:
        self._changed = changed
        self._config: WebhookConfig | None = None
        self.log = WebhookLog()
        # Never begun anew: a post of before a reset is not taken for one of after it.
        self._numbers = itertools.count(1)
        self._due: list[tuple[float, int, _Planned]] = []
        self._held: list[_Planned] = []
        self._waiting: set[_Planned] = set()
        self._under_way: dict[int, _Planned] = {}
        self.configure(config, seed=seed)

    @property
    def config(self) -> WebhookConfig | None:
        """Where and how webhooks are posted, ``None`` for none."""
        return self._config

    @property
    def under_way(self) -> int:
        """How many posts were handed out and have not ended."""
        return len(self._under_way)

    @property
    def planned(self) -> int:
        """How many posts are planned and not due yet, or not handed out."""
        return len(self._waiting)

    def fault_counts(self) -> list[tuple[WebhookFault, int, int]]:
        """Return each fault with the events it has counted and how many of them it struck."""
        return [(fault, *self._tally.counts(index)) for index, fault in enumerate(self._faults)]

    def add_faults(self, faults: Iterable[WebhookFault]) -> bool:
        """Put more faults behind those in force; counts and planned posts go on.

        Returns:
            Whether there are webhooks for which to do so.
        """
        if self._config is None:
            return False
        added = tuple(faults)
        self._set_faults(self._config, (*self._faults, *added))
        self._tally.add(fault.trigger for fault in added)
        return True

    def remove_fault(self, fault: WebhookFault) -> bool:
        """Take a fault out of those in force; counts and planned posts go on.

        Returns:
            Whether it was there.
        """
        if self._config is None or fault not in self._faults:
            return False
        index = self._faults.index(fault)
        self._set_faults(self._config, self._faults[:index] + self._faults[index + 1 :])
        self._tally.remove(index)
        return True

    def _set_faults(self, config: WebhookConfig, faults: tuple[WebhookFault, ...]) -> None:
        self._config = attrs.evolve(config, faults=faults)
        self._faults = faults

    def configure(self, config: WebhookConfig | None, *, seed: int) -> None:
        """Replace where and how; what was planned is dropped, draws and counts start anew."""
        self._config = config
        self._seed = seed
        self._events = itertools.count(1)
        self._faults = () if config is None else config.faults
        self._tally = Tally((fault.trigger for fault in self._faults), seed=f"webhook {seed}")
        self._due.clear()
        self._held.clear()
        self._waiting.clear()

    def reset(self, config: WebhookConfig | None, *, seed: int) -> None:
        """Begin again as after the start; how posts under way end is of no interest any more."""
        self.configure(config, seed=seed)
        self.log.clear()
        self._under_way.clear()

    def next_due(self) -> float:
        """Return when the next post is due, infinity for never."""
        while self._due and self._due[0][0] != self._due[0][2].due:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else inf

    # ---- what happens; see `papsms_async.sandbox.account.Witness` ----

    def bought(self, activation: SandboxActivation) -> None:
        """Plan the forgeries that a purchase provokes."""
        if self._config is None:
            return
        struck = self._strike(forged=True)
        if not struck:
            return
        rng, serial = self._next_event()
        for fault in struck:
            kind = PostKind(fault.kind.value)
            at = activation.bought_at + rng.uniform(fault.low, fault.high)
            event = forged_event(
                kind,
                activation_id=activation.activation_id,
                code=activation.sms_code,
                at=at,
                rng=rng,
            )
            url = self._config.url
            if kind is PostKind.FORGED_PATH:
                url = guessed_url(url, rng)
            secret = forged_secret(self._config.secret, rng)
            self._plan(_Planned(kind, event, url, secret, serial), at)

    def arrived(self, activation: SandboxActivation) -> None:
        """Plan the posts that tell of an SMS."""
        config, at = self._config, activation.sms_at
        if config is None or at is None:
            return
        struck = {fault.kind: fault for fault in reversed(self._strike(forged=False))}
        rng, serial = self._next_event()
        event = WebhookEvent(
            message_id(rng),
            activation.activation_id,
            activation.sms_code,
            activation.sms_text,
            at,
        )
        late = struck.get(WebhookFaultKind.LATE)
        due = at + (rng.uniform(late.low, late.high) if late is not None else 0.0)
        post = _Planned(PostKind.SMS, event, config.url, config.secret, serial)
        duplicate = struck.get(WebhookFaultKind.DUPLICATE)
        copies = 0 if duplicate is None else int(duplicate.low)
        copies_due = [due + rng.uniform(0.0, _DUPLICATE_WITHIN) for _ in range(copies)]
        if WebhookFaultKind.LOSS in struck:
            self.log.record(LoggedPost(at, PostKind.LOST, event.activation_id, 0, None, 0.0))
            return
        replay = struck.get(WebhookFaultKind.REPLAY)
        post.replay_after = None if replay is None else replay.low
        for copy_due in copies_due:
            copy = attrs.evolve(post, kind=PostKind.DUPLICATE, replay_after=None)
            self._plan(copy, copy_due)
        held = struck.get(WebhookFaultKind.REORDER)
        if held is not None:
            post.not_before = due
            self._plan(post, due + held.low)
            self._held.append(post)
            return
        self._plan(post, due)
        for overtaken in self._held:
            behind = max(overtaken.not_before, due + _OVERTAKEN_AFTER)
            self._plan(overtaken, min(overtaken.due, behind))
        self._held.clear()

    # ---- what is carried out ----

    def take_due(self, now: float, *, most: int | None = None) -> list[WebhookPost]:
        """Hand out the posts that are due, earliest first, each once.

        Args:
            now: POSIX seconds.
            most: How many at most, ``None`` for all of them.
        """
        taken: list[WebhookPost] = []
        while self.next_due() <= now and (most is None or len(taken) < most):
            planned = heapq.heappop(self._due)[2]
            planned.due = inf
            self._waiting.discard(planned)
            taken.append(self._hand_out(planned, now))
        if taken:
            self._changed()
        return taken

    def settle(
        self, number: int, *, status: int | None, now: float, error: NoAnswer | None = None
    ) -> None:
        """Note how a post ended and plan the next attempt if need be.

        Args:
            number: Number of the post.
            status: Status of the answer, ``None`` if there was none.
            now: POSIX seconds.
            error: Why there was none, if that is known.
        """
        planned = self._under_way.pop(number, None)
        if planned is None:  # of before a reset
            return
        activation_id, at = planned.event.activation_id, planned.sent_at
        self.log.record(
            LoggedPost(at, planned.kind, activation_id, planned.attempt, status, now - at, error)
        )
        self._plan_retry(planned, status, now)
        self._changed()

    def _plan_retry(self, planned: _Planned, status: int | None, now: float) -> None:
        config = self._config
        if config is None or planned.kind is not PostKind.SMS or planned.url != config.url:
            return
        answered = status is not None and (200 <= status < 300 or status == _GONE)
        if answered or planned.attempt >= config.attempts:
            return
        rng = Random(f"retry {self._seed} {planned.serial} {planned.attempt}")  # noqa: S311
        pause = config.backoff * 3.0 ** (planned.attempt - 1) * rng.uniform(0.8, 1.2)
        planned.attempt += 1
        self._plan(planned, now + pause)

    def _hand_out(self, planned: _Planned, now: float) -> WebhookPost:
        if planned in self._held:
            self._held.remove(planned)
        number = next(self._numbers)
        planned.sent_at = now
        self._under_way[number] = planned
        if planned.bytes_of is not None:
            return attrs.evolve(planned.bytes_of, number=number, kind=planned.kind, attempt=1)
        config = self._config
        assert config is not None  # noqa: S101 - what was planned is dropped with it
        body = planned.event.body(config.shape)
        post = WebhookPost(
            number,
            planned.kind,
            planned.event.activation_id,
            planned.attempt,
            planned.url,
            headers(planned.event, body, planned.secret, now),
            body,
            config.timeout,
        )
        if planned.replay_after is not None:
            replay = attrs.evolve(planned, kind=PostKind.REPLAY, replay_after=None, bytes_of=post)
            self._plan(replay, now + planned.replay_after)
            planned.replay_after = None
        return post

    def _plan(self, planned: _Planned, due: float) -> None:
        planned.due = due
        self._waiting.add(planned)
        heapq.heappush(self._due, (due, next(self._numbers), planned))

    def _strike(self, *, forged: bool) -> list[WebhookFault]:
        return [
            fault
            for index, fault in enumerate(self._faults)
            if fault.kind.forged is forged and self._tally.strikes(index)
        ]

    def _next_event(self) -> tuple[Random, int]:
        serial = next(self._events)
        return Random(f"webhook {self._seed} {serial}"), serial  # noqa: S311 - a simulation
