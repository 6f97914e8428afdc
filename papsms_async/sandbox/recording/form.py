"""The form of a recording: JSON Lines, a head and then one line for each thing that happened.

The head tells the form's version, the package's version, the instant from which times are counted,
the seed and the configuration. Then come, in order:

- ``{"at", "request", "answer"}``: a request to the service or to the control API;
- ``{"at", "post"}``: a webhook that was handed out to be posted;
- ``{"at", "settled"}``: how such a post ended;
- ``{"connection"}``: whether a connection was refused on arrival (where a fault may do that).

``at`` is in seconds since ``start``, a whole POSIX second; since such a difference is exact in
floating point, so is a replay. Bodies are text, base64 where they are no text, and a digest where
they are long answers.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import attrs

from papsms_async._version import __version__

from ..config import SandboxConfig
from ..messages import SandboxReply, SandboxRequest
from ..webhook_posts import NoAnswer, WebhookPost
from .settings import Json, read_config, write_config

FORM = 1
"""Version of the form; a reader understands this one and those before it."""

_NAME = "papsms_recording"
_LONG = 32 * 1024
"""Bytes above which an answer's body is recorded as a digest."""


class RecordingError(ValueError):
    """A recording cannot be read; the message says why, and what to do."""


@attrs.frozen
class Head:
    """What a recording begins with.

    Attributes:
        start: POSIX second from which times are counted.
        seed: The engine's seed.
        config: The engine's configuration, without secrets.
    """

    start: int
    seed: int
    config: SandboxConfig

    def write(self) -> str:
        """Write the first line.

        Raises:
            ValueError: Something in the configuration has no form in a recording.
        """
        return _line(
            {
                _NAME: FORM,
                "version": __version__,
                "started": datetime.fromtimestamp(self.start, UTC).isoformat(),
                "start": self.start,
                "seed": self.seed,
                "config": write_config(self.config),
            }
        )

    @classmethod
    def read(cls, line: str) -> Head:
        """Read the first line.

        Raises:
            RecordingError: It is none, or of a newer form.
        """
        try:
            head = json.loads(line)
        except (ValueError, RecursionError):
            head = None
        if head is None and line.startswith(f'{{"{_NAME}"') and not line.endswith("\n"):
            raise RecordingError("line 1 is cut off, so nothing can be replayed: record it anew")
        if not isinstance(head, dict) or not isinstance(head.get(_NAME), int):
            raise RecordingError(
                "this is no recording: the first line of one begins with"
                f' {{"{_NAME}"; make one with papsms sandbox --record FILE'
            )
        if head[_NAME] > FORM:
            raise RecordingError(
                f"it was recorded by a newer version, {head.get('version')}: upgrade papsms-async"
                f" (this is {__version__}) to replay it"
            )
        try:
            start, seed = head["start"], head["seed"]
            if not isinstance(start, int) or not isinstance(seed, int):
                raise ValueError("start and seed are whole numbers")
            return cls(start, seed, read_config(head["config"]))
        except (KeyError, ValueError, TypeError) as error:
            raise RecordingError(f"line 1 is damaged: {error}; record the session anew") from error


@attrs.frozen
class Exchange:
    """A request and its answer, as they are recorded.

    Attributes:
        at: Seconds since the start.
        request: The request.
        answer: The answer, in the form in which it is written and compared.
    """

    at: float
    request: SandboxRequest
    answer: Json

    def write(self) -> str:
        """Write its line."""
        asked: Json = {
            "method": self.request.method,
            "path": self.request.path,
            "headers": dict(self.request.headers),
            **_body(self.request.body),
        }
        if self.request.peer:
            asked["peer"] = self.request.peer
        return _line({"at": self.at, "request": asked, "answer": self.answer})


@attrs.frozen
class Connection:
    """A connection that a fault may have refused on arrival.

    Attributes:
        refused: Whether it did.
    """

    refused: bool

    def write(self) -> str:
        """Write its line."""
        return _line({"connection": "refused" if self.refused else "accepted"})


@attrs.frozen
class Post:
    """A webhook that was handed out.

    Attributes:
        at: Seconds since the start.
        post: What it was, in the form in which it is written and compared.
    """

    at: float
    post: Json

    def write(self) -> str:
        """Write its line."""
        return _line({"at": self.at, "post": self.post})


@attrs.frozen
class Settled:
    """How a post ended.

    Attributes:
        at: Seconds since the start.
        number: The post's number.
        status: Status of the answer, ``None`` if there was none.
        error: Why there was none, if that is known.
    """

    at: float
    number: int
    status: int | None
    error: NoAnswer | None = None

    def write(self) -> str:
        """Write its line."""
        ended: Json = {"number": self.number, "status": self.status}
        if self.error is not None:
            ended["error"] = self.error
        return _line({"at": self.at, "settled": ended})


Entry = Exchange | Post | Settled | Connection


def read_entry(line: str) -> Entry:
    """Read a line that is not the first.

    Raises:
        RecordingError: It is no such line.
    """
    try:
        entry = json.loads(line)
        if "connection" in entry:
            return Connection(entry["connection"] == "refused")
        at = entry["at"]
        if not isinstance(at, float | int) or not math.isfinite(at):
            raise TypeError("at")
        if "settled" in entry:
            ended, error = entry["settled"], entry["settled"].get("error")
            why = None if error is None else NoAnswer(error)
            return Settled(at, int(ended["number"]), ended["status"], why)
        if "post" in entry:
            return Post(at, _object(entry, "post"))
        return Exchange(at, _read_request(entry["request"]), _object(entry, "answer"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RecordingError("it is no line of a recording") from error


def write_post(post: WebhookPost) -> Json:
    """Return the form in which a post is written and compared: without URL and signature."""
    return {
        "number": post.number,
        "kind": str(post.kind),
        "activation_id": post.activation_id,
        "attempt": post.attempt,
        **_body(post.body),
    }


def write_answer(reply: SandboxReply) -> Json:
    """Return the form in which an answer is written and compared."""
    return {
        "status": reply.status,
        "headers": dict(reply.headers),
        **(_digest(reply.body) if len(reply.body) > _LONG else _body(reply.body)),
        "delivery": str(reply.delivery),
        "delay": reply.delay,
    }


def _line(value: Json) -> str:
    return json.dumps(value) + "\n"


def _body(data: bytes) -> Json:
    try:
        return {"body": data.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(data).decode()}


def _digest(data: bytes) -> Json:
    return {"body_sha256": hashlib.sha256(data).hexdigest(), "body_bytes": len(data)}


def _read_body(asked: Mapping[str, Any]) -> bytes:
    if "body_base64" in asked:
        return base64.b64decode(_text(asked, "body_base64"), validate=True)
    return _text(asked, "body").encode()


def _read_request(asked: Mapping[str, Any]) -> SandboxRequest:
    return SandboxRequest(
        _text(asked, "method"),
        _text(asked, "path"),
        {name: _text(asked["headers"], name) for name in asked["headers"]},
        _read_body(asked),
        asked.get("peer", ""),
    )


def _object(holder: Mapping[str, Any], name: str) -> Json:
    if not isinstance(holder[name], dict):
        raise TypeError(name)
    return cast(Json, holder[name])


def _text(holder: Mapping[str, Any], name: str) -> str:
    if not isinstance(holder[name], str):
        raise TypeError(name)
    return cast(str, holder[name])
