"""What stands before every endpoint: the key, its limit, and the addresses it may come from."""

from __future__ import annotations

import math

from . import answers
from .answers import Refusal
from .config import RetryAfterStyle, SandboxConfig
from .endpoints import Call
from .limits import Limiter, LimitSpec


class Gate:
    """Lets requests in.

    Args:
        limit: The limit of keys without one of their own.
    """

    def __init__(self, limit: LimitSpec) -> None:
        self._limit = limit
        self._limiters: dict[str, Limiter] = {}

    @property
    def limit(self) -> LimitSpec:
        """The limit of keys without one of their own."""
        return self._limit

    def set_limit(self, limit: LimitSpec) -> None:
        """Replace the limit; every key starts anew."""
        self._limit = limit
        self._limiters.clear()

    def check(self, call: Call, config: SandboxConfig) -> None:
        """Count a request for its key.

        Args:
            call: The request.
            config: Keys, their limits, addresses, and how a 429 says when to come back.

        Raises:
            Refusal: It is not let in.
        """
        header = (call.request.header("Authorization") or "").strip()
        scheme, _, key = header.partition(" ")
        key = key.strip()
        if not header:
            raise Refusal(401, "NO_KEY", "API key is missing", literal=True)
        if scheme.lower() != "bearer" or key not in config.api_keys:
            raise Refusal(401, "BAD_KEY", "API key is invalid", literal=True)
        limiter = self._limiters.get(key)
        if limiter is None:
            limiter = config.key_limits.get(key, self._limit).limiter()
            self._limiters[key] = limiter
        allowed, wait = limiter.admit(call.now)
        if not allowed:
            headers = _retry_after(config.retry_after, wait, call.now)
            raise Refusal(429, "RATE_LIMITED", "Too many requests", headers=headers, literal=True)
        allowed_ips = config.allowed_ips
        if allowed_ips is not None and call.request.peer not in allowed_ips:
            raise Refusal(403, "IP_NOT_ALLOWED", "IP address is not allowed", literal=True)


def _retry_after(style: RetryAfterStyle, wait: float, now: float) -> dict[str, str]:
    match style:
        case RetryAfterStyle.NONE:
            return {}
        case RetryAfterStyle.SECONDS:
            return {"Retry-After": str(max(1, math.ceil(wait)))}
        case RetryAfterStyle.DATE:
            return {"Retry-After": answers.http_date(math.ceil(now + wait))}
