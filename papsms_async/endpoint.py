"""Where the service is and what every request carries: base URL, proxy, headers, key."""

from __future__ import annotations

import ipaddress
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from papsms_async.errors import ConfigurationError
from papsms_async.wire import WireRequest


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
        parts = urlsplit(base_url.strip())
        host = parts.hostname or ""
        _ = parts.port
        url = str(URL(base_url.strip()))
    except (ValueError, TypeError, AttributeError):
        problem = "can't be read as a URL"
    else:
        if parts.scheme not in ("http", "https") or not host:
            problem = "must begin with https:// and a host"
        elif parts.username is not None or parts.password is not None:
            problem = "must not hold a user name or password"
        elif parts.query or parts.fragment or "?" in base_url or "#" in base_url:
            problem = "must have neither query nor fragment"
        elif parts.scheme == "http" and not is_loopback(host):
            problem = "must be https: the API key would be sent unencrypted"
        else:
            return url if url.endswith("/") else f"{url}/"
    # The URL itself is not shown: it may hold a password.
    raise ConfigurationError(f"The base URL {problem}.")


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine: ``localhost``, ``127.0.0.0/8`` or ``::1``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_key(key: str) -> Secret:
    """Return ``key`` if it can be sent in a header.

    Raises:
        ConfigurationError: It is empty, or has a space, line break or other character that it
            can't have. The message does not show it.
    """
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError("The API key has a character that no key can have, or is empty.")
    return Secret(key)


def headers_for(request: WireRequest, key: str) -> dict[str, str]:
    headers = {
        "Authorization": f"Bearer {key}",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": USER_AGENT,
    }
    if request.body is not None:
        headers["Content-Type"] = "application/json"
    return headers


def _user_agent() -> str:
    try:
        return f"papsms-async/{version('papsms-async')}"
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "papsms-async"


USER_AGENT = _user_agent()


def proxy_for(base_url: str) -> URL | None:
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    proxy = getproxies().get(parts.scheme)
    try:
        return URL(proxy) if proxy else None
    except ValueError:
        problem = f"The proxy for {parts.scheme} in the environment can't be read as a URL."
    raise ConfigurationError(problem)
