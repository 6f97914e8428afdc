"""Where the service is and what every request carries: base URL, proxy, headers, key."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from yarl import URL

from papsms_async._version import __version__
from papsms_async.errors import ConfigurationError
from papsms_async.wire import WireRequest

USER_AGENT = f"papsms-async/{__version__}"
COMMON_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": USER_AGENT,
}
"""What every request carries, whatever it asks for."""


class Secret(str):
    """A text whose ``repr`` hides it, so that locals in a traceback don't show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('***')"


def check_base_url(base_url: str) -> str:
    """Return ``base_url`` with a slash at its end.

    Raises:
        ConfigurationError: It is no HTTP URL, has user name, query or fragment, or is unencrypted
            and not loopback.
    """
    problem = None
    try:
        url = URL(base_url.strip())
    except (ValueError, TypeError, AttributeError):
        problem = "can't be read as a URL"
    else:
        if url.scheme not in ("http", "https") or not url.host:
            problem = "must begin with https:// and a host"
        elif url.user is not None or url.password is not None:
            problem = "must not hold a user name or password"
        elif "?" in base_url or "#" in base_url:
            problem = "must have neither query nor fragment"
        elif url.scheme == "http" and not is_loopback(url.host):
            problem = "must be https: the API key would be sent unencrypted"
        else:
            return f"{str(url).rstrip('/')}/"
    # The URL itself is not shown: it may hold a password.
    raise ConfigurationError(f"The base URL {problem}.")


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine: ``localhost``, ``127.0.0.0/8`` or ``::1``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_key(key: str) -> None:
    """Return if ``key`` can be sent in a header.

    Raises:
        ConfigurationError: It is empty, or has a space, line break or other character that it
            can't have. The message does not show it.
    """
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError("The API key has a character that no key can have, or is empty.")


def headers_for(request: WireRequest, key: str, common: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of ``request``. They hold the key: keep them out of locals."""
    headers = {"Authorization": f"Bearer {key}", **common}
    if request.body is not None:
        headers["Content-Type"] = "application/json"
    return headers


def proxy_for(base_url: str) -> URL | None:
    """Return the proxy that the environment names for ``base_url``; none for loopback.

    Raises:
        ConfigurationError: It is no HTTP proxy. The message does not show it: it may hold a
            password.
    """
    from urllib.request import getproxies, proxy_bypass  # slow to import, and seldom needed

    url = URL(base_url)
    host = url.host or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    proxy = getproxies().get(url.scheme)
    if not proxy:
        return None
    try:
        found = URL(proxy if "://" in proxy else f"http://{proxy}")
    except ValueError:
        found = None
    if found is None or found.scheme not in ("http", "https") or not found.host:
        raise ConfigurationError(f"The {url.scheme} proxy of the environment is no HTTP proxy.")
    return found
