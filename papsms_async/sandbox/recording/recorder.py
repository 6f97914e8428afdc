"""Records what is asked of a sandbox and what it answers, so that it can be replayed."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..engine import SandboxEngine
from ..messages import SandboxReply, SandboxRequest
from ..routing import Handler
from ..webhook_posts import NoAnswer, WebhookPost
from .form import Connection, Exchange, Head, Post, Settled, write_answer, write_post
from .masking import Masks


class Recorder:
    """Writes down what is asked of a sandbox, what it answers, and the webhooks that it posts.

    What a program does to the engine itself (`SandboxEngine.deliver`, `set_faults`, ...) is not
    seen here: a session that is recorded uses the control API for it. Keys are not recorded,
    nor what a webhook is signed with and where it goes.

    Args:
        engine: The engine; nothing has been asked of it yet.
        write: Takes one line, with its end; what it raises goes to whoever carries the request.
        start: The present in POSIX seconds.

    Raises:
        ValueError: The engine is not as after its start, or its configuration has no form in a
            recording.
    """

    def __init__(
        self, engine: SandboxEngine, write: Callable[[str], object], *, start: float
    ) -> None:
        if engine.now != -math.inf or engine.faults.faults != engine.config.faults:
            raise ValueError("a recording begins with a fresh engine: this one has been used")
        self._engine = engine
        self._masks = Masks(engine.config)
        self._write = write
        self._start = math.floor(start)
        write(Head(self._start, engine.seed, self._masks.config).write())

    def record(self, handle: Handler) -> Handler:
        """Return a handler that answers as another one and writes down both sides.

        The line is written before the answer leaves: what a client has seen is recorded.
        """

        def recorded(request: SandboxRequest, now: float) -> SandboxReply:
            # As the engine's time, it never goes back: a replay gives all that answer the same one.
            now = max(now, self._engine.now)
            reply = handle(request, now)
            at = now - self._start
            asked, answered = self._masks.mask(request, reply)
            self._write(Exchange(at, asked, write_answer(answered)).write())
            return reply

        return recorded

    def refuses_connection(self) -> bool:
        """Decide on a connection and write it down, if a fault may refuse any."""
        refused = self._engine.refuses_connection()
        if self._engine.faults.may_refuse_connections:
            self._write(Connection(refused).write())
        return refused

    def take_due(self, now: float, *, most: int | None = None) -> list[WebhookPost]:
        """Hand out the webhooks that are due and write them down; see `WebhookOutbox.take_due`."""
        self._engine.advance(now)  # as a replay does: what has arrived by now is told of
        posts = self._engine.webhooks.take_due(now, most=most)
        for post in posts:
            self._write(Post(now - self._start, write_post(post)).write())
        return posts

    def settle(
        self, number: int, *, status: int | None, now: float, error: NoAnswer | None = None
    ) -> None:
        """Note how a post ended and write it down; see `WebhookOutbox.settle`."""
        self._engine.webhooks.settle(number, status=status, now=now, error=error)
        self._write(Settled(now - self._start, number, status, error).write())
