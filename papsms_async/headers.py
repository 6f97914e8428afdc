"""What the headers of an answer say about the limit: how long to wait, how much is left."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from papsms_async.wire import WireAnswer

_NUMBER = re.compile(r"\s*(-?)(\d{1,15}(?:\.\d{1,9})?)\s*", re.ASCII)
_EPOCH = 1e9
"""A "number of seconds" from here on is an instant; as a duration it would be 31 years."""
_EPOCH_MS = 1e12


def server_date(answer: WireAnswer) -> datetime | None:
    """Return the answer's ``Date`` (UTC), or ``None`` if it has none that can be read."""
    return _instant(answer.header("date"))


def retry_after(answer: WireAnswer, now: datetime | None) -> float | None:
    """Return the seconds that ``Retry-After`` asks to wait, 0 or more, or ``None``.

    Args:
        answer: The answer. A ``Retry-After`` that is a date counts from its ``Date`` header, which
            is the same clock.
        now: The present (UTC), for answers without ``Date``; ``None`` if it is not known.

    Source: RFC 9110, section 10.2.3.
    """
    value = answer.header("retry-after")
    if value is None:
        return None
    since = server_date(answer) or now
    seconds = _seconds(value.split(",")[0], since)
    if seconds is not None:
        return seconds
    until = _instant(value)
    if until is None or since is None:
        return None
    return max(0.0, (until - _aware(since)).total_seconds())


def quota_hint(answer: WireAnswer) -> tuple[int | None, float | None] | None:
    """Return what the rate limit headers say: requests left, seconds until there are more.

    Read are ``RateLimit: "name";r=5;t=30`` (several policies: the tightest), its older form
    ``RateLimit: limit=60, remaining=5, reset=30``, and the headers ``RateLimit-Remaining`` and
    ``-Reset``, also with ``X-RateLimit-`` and ``X-Rate-Limit-``. A reset that is an instant counts
    from the answer's ``Date``.

    Returns:
        Two values, each ``None`` where it is not said; ``None`` if nothing is said.

    Source: draft-ietf-httpapi-ratelimit-headers, versions 02 to 10.
    """
    # As a rule nothing is said, and then the date need not be read.
    names = "\n".join(answer.headers).lower()
    if "ratelimit" not in names and "rate-limit" not in names:
        return None
    since = server_date(answer)
    combined = answer.header("ratelimit")
    if combined is not None:
        hint = _combined(combined, since)
        if hint is not None:
            return hint
    for prefix in ("ratelimit-", "x-ratelimit-", "x-rate-limit-"):
        remaining = _count(answer.header(prefix + "remaining"))
        reset = _seconds(answer.header(prefix + "reset"), since)
        if remaining is not None or reset is not None:
            return remaining, reset
    return None


def _combined(value: str, since: datetime | None) -> tuple[int | None, float | None] | None:
    # The older form is one policy whose members are separated by commas.
    policies = [value] if "remaining" in value.lower() else value.split(",")
    hints: list[tuple[int | None, float | None]] = []
    for policy in policies:
        members = dict(re.findall(r"\b([a-z]{1,20})\s{0,5}=\s{0,5}\"?(\d{1,15})\b", policy.lower()))
        remaining = _count(members.get("r", members.get("remaining")))
        reset = _seconds(members.get("t", members.get("reset")), since)
        if remaining is not None or reset is not None:
            hints.append((remaining, reset))
    if not hints:
        return None
    # The tightest policy: fewest left, and of those the one that waits longest.
    return min(
        hints,
        key=lambda hint: (float("inf") if hint[0] is None else hint[0], -(hint[1] or 0.0)),
    )


def _count(value: str | None) -> int | None:
    match = None if value is None else _NUMBER.fullmatch(value)
    if match is None:
        return None
    return 0 if match[1] else int(float(match[2]))


def _seconds(value: str | None, since: datetime | None) -> float | None:
    match = None if value is None else _NUMBER.fullmatch(value)
    if match is None:
        return None
    if match[1]:
        return 0.0
    seconds = float(match[2])
    if seconds < _EPOCH:
        return seconds
    if since is None:
        return None
    if seconds >= _EPOCH_MS:
        seconds /= 1000
    return max(0.0, seconds - _aware(since).timestamp())


def _instant(value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        return _aware(parsedate_to_datetime(value)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError, AttributeError):
        return None


def _aware(instant: datetime) -> datetime:
    # HTTP dates are always GMT, also those that don't say so.
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
