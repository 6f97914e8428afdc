"""Keeps web pages of other sites away from the parts of the sandbox that ask for no key.

Any page that is open in a browser can send requests to loopback. Two things tell it apart:

- *Another site's page* says so in ``Origin``, which browsers put on every request that could
  change something, or in ``Sec-Fetch-Site``.
- *A page that had its own name pointed at this address* (DNS rebinding) counts as the same site,
  but its name is in ``Host``. Nobody can do that with an IP address, a name without a dot, or a
  name below a top-level domain that public DNS does not have; all others the operator must give.

Programs send neither ``Origin`` nor ``Sec-Fetch-Site`` and reach the sandbox under the names above,
so they notice nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from . import answers, spoiling
from .messages import SandboxReply, SandboxRequest
from .routing import Handler

_JSON = {"Content-Type": "application/json"}
_PRIVATE = (".localhost", ".test", ".internal")
"""Ends of names that cannot be registered.

Source: RFC 6761, sections 6.2 and 6.3; ICANN's resolution of July 2024 on ``.internal``.
"""


class Guard:
    """Refuses requests that pages of other sites make a browser send.

    Args:
        names: Names under which the sandbox is reached besides those that are always safe.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(name.lower().rstrip(".") for name in names)

    def protect(self, handle: Handler) -> Handler:
        """Return a handler that answers 403 in place of ``handle`` to such requests."""

        def guarded(request: SandboxRequest, now: float) -> SandboxReply:
            why = self.objection(request)
            if why is None:
                return handle(request, now)
            return spoiling.answer(403, answers.dump({"error": why}), _JSON, now)

        return guarded

    def objection(self, request: SandboxRequest) -> str | None:
        """Return why a request is refused, or ``None`` for one that is not."""
        host = request.header("Host")
        if host is not None and not self._is_ours(host):
            return (
                "this address is not known to be the sandbox's: use its IP address or localhost,"
                " or start it with --allow-host and that name"
            )
        origin = request.header("Origin")
        if origin is not None and not _same(origin, host):
            return "pages of other sites may not use the sandbox"
        site = request.header("Sec-Fetch-Site") or "none"
        if site.lower() not in {"same-origin", "none"} and not _is_visit(request):
            return "pages of other sites may not use the sandbox"
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        if name is None:
            return False
        name = name.rstrip(".")
        if "." not in name or name.endswith(_PRIVATE) or name in self._names:
            return True
        return _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same(origin: str, host: str | None) -> bool:
    # Behind a proxy that ends TLS the page's own origin is https.
    return host is not None and origin.lower() in {
        f"http://{host}".lower(),
        f"https://{host}".lower(),
    }


def _is_visit(request: SandboxRequest) -> bool:
    """Whether somebody follows a link to here: what comes is shown, the other page sees nothing."""
    mode = (request.header("Sec-Fetch-Mode") or "").lower()
    return request.method.upper() in {"GET", "HEAD"} and mode == "navigate"
