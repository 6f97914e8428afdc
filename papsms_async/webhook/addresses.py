"""Which addresses may send webhooks, also where proxies stand in front.

Whoever connects can write any ``X-Forwarded-For`` they like; each proxy appends the address that it
saw. So the header is read from the right, and only as far as known proxies wrote it: the first
address that is not one of them is the sender. A header from anybody else is not looked at.

Source: MDN, "X-Forwarded-For": "Selecting an IP address".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from papsms_async.errors import ConfigurationError

Address = IPv4Address | IPv6Address

_WITH_PORT = re.compile(
    r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9]{1,3}(?:\.[0-9]{1,3}){3}):[0-9]{1,5}"
)

UNIX = "unix"
"""Among the proxies: whoever connects through a Unix socket, which has no address."""


class AddressRules:
    """An allow-list, and the proxies whose word on addresses counts.

    Args:
        allowed: Addresses and networks that may send, such as ``203.0.113.7`` or
            ``203.0.113.0/24``.
        proxies: Addresses and networks of the proxies in front; ``unix`` for one that connects
            through a Unix socket.

    Raises:
        ConfigurationError: One of them can't be read, or nobody is allowed.
    """

    def __init__(self, allowed: Iterable[str], proxies: Iterable[str] = ()) -> None:
        words = [word.strip() for word in proxies]
        self._unix = UNIX in words
        self._allowed = [_network(word) for word in allowed]
        self._proxies = [_network(word) for word in words if word != UNIX]
        if not self._allowed:
            raise ConfigurationError("The list of addresses that may send webhooks is empty.")

    def __repr__(self) -> str:
        return f"<AddressRules allowed={len(self._allowed)} proxies={len(self._proxies)}>"

    def allows(self, peer: str | None, forwarded: Sequence[str] = ()) -> bool:
        """Return whether a request may come in.

        Args:
            peer: Address of whoever connected; ``None`` for a Unix socket.
            forwarded: The lines of ``X-Forwarded-For``, first to last.
        """
        sender = self.sender(peer, forwarded)
        return sender is not None and any(sender in network for network in self._allowed)

    def sender(self, peer: str | None, forwarded: Sequence[str] = ()) -> Address | None:
        """Return the address of the sender, or ``None`` where nobody can be sure of it."""
        sender = None if peer is None else _address(peer)
        if not self._is_proxy(peer, sender):
            return sender
        hops = [hop for line in forwarded for hop in line.split(",")]
        for hop in reversed(hops):
            sender = _address(hop)
            if sender is None or not self._is_proxy(hop, sender):
                return sender
        return sender

    def _is_proxy(self, word: str | None, address: Address | None) -> bool:
        if address is None:
            return word is None and self._unix
        return any(address in network for network in self._proxies)


def _network(word: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(word.strip(), strict=False)
    except ValueError:
        pass
    raise ConfigurationError(
        f"{word!r} is neither an IP address nor a network such as 203.0.113.0/24."
    )


def _address(word: str) -> Address | None:
    """Read an address, with or without a port; an IPv4 address in IPv6 form is one of IPv4."""
    word = word.strip()
    match = _WITH_PORT.fullmatch(word)
    if match is not None:
        word = match[1] or match[2]
    try:
        address = ip_address(word)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
