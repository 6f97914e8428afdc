"""The options about webhooks, and the secrets that go with them.

The secrets are no options: what stands on a command line can be read by everybody on the machine.
They come from the environment or the ``.env`` file; where there is none, a new one is made and its
URL printed, for a first try.
"""

from __future__ import annotations

import errno
import functools
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from papsms_async.cli.failures import CommandError, as_clause
from papsms_async.cli.progress import say
from papsms_async.cli.settings import LOOPBACK, SIGNING_SECRETS, WEBHOOK_SECRETS, reason
from papsms_async.errors import ConfigurationError

if TYPE_CHECKING:
    from papsms_async.webhook.listener import WebhookListener
    from papsms_async.webhook.receiver import WebhookReceiver

F = TypeVar("F", bound=Callable[..., Any])


@attrs.frozen(kw_only=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str, option: str) -> Address:
    """Read ``HOST:PORT``, ``[HOST]:PORT``, or a port alone, which is one on loopback.

    Raises:
        CommandError: It has another form.
    """
    match = re.fullmatch(
        r"(?:(?:\[([0-9A-Fa-f:.%]+)\]|([^\s:\[\]/]*)):)?([0-9]{1,5})", text.strip()
    )
    if match is None or int(match[3]) > 65_535:
        raise CommandError(f"{option} takes HOST:PORT, such as 127.0.0.1:8086")
    return Address(host=match[1] or match[2] or "127.0.0.1", port=int(match[3]))


def sender_options(function: Any) -> Any:
    """Add the options that say who may send webhooks."""
    for option in (
        click.option(
            "--webhook-proxy",
            "proxies",
            multiple=True,
            metavar="NET",
            help="Proxy in front whose X-Forwarded-For counts; may be given several times.",
        ),
        click.option(
            "--webhook-allow",
            "allowed",
            multiple=True,
            metavar="NET",
            help="Address or network that may send webhooks [all]; may be given several times.",
        ),
    ):
        function = option(function)
    return function


def webhook_options(function: F) -> F:
    """Add the options of a command that verifies; it gets what they come to as ``webhooks``.

    Below `common_options`, because the secrets may be in the ``.env`` file.
    """

    @functools.wraps(function)
    def command(
        *args: Any,
        webhook_listen: str | None,
        webhook_inbox: bool,
        webhook_trust: str | None,
        allowed: tuple[str, ...],
        proxies: tuple[str, ...],
        **kwargs: Any,
    ) -> Any:
        webhooks = make_webhooks(
            listen=webhook_listen,
            inbox=webhook_inbox,
            trust=webhook_trust,
            allowed=allowed,
            proxies=proxies,
        )
        return function(*args, webhooks=webhooks, **kwargs)

    command = sender_options(command)
    for option in (
        click.option(
            "--webhook-trust",
            type=click.Choice(["confirm", "payload"]),
            help="confirm asks for the status after each webhook; payload takes the SMS in it at"
            " its word, which saves that request [confirm].",
        ),
        click.option(
            "--webhook-inbox",
            is_flag=True,
            help="Hear of webhooks that another process (papsms webhook serve) takes on the same"
            " ledger.",
        ),
        click.option(
            "--webhook-listen",
            metavar="HOST:PORT",
            help="Take webhooks there, so that SMS need not be polled for.",
        ),
    ):
        command = option(command)
    return command  # type: ignore[return-value]  # the same call, with the options taken out


@attrs.frozen(kw_only=True)
class Webhooks:
    """How a command gets webhooks.

    Attributes:
        receiver: Takes or hears them.
        listen: Where it takes them; ``None`` where another process does.
        generated: Whether the secret was made here, so that somebody has to be told.
    """

    receiver: WebhookReceiver
    listen: Address | None = None
    generated: bool = False

    def words(self) -> str:
        """Return where they come and how they are taken, in a few words."""
        where = "from the ledger's inbox" if self.listen is None else f"at {self.listen}"
        taken = "taken at their word" if self.receiver.trust == "payload" else "each confirmed"
        return f"{where}, {taken}"

    async def open_listener(self) -> WebhookListener | None:
        """Listen, where that is wanted, and say where; it is closed with the receiver.

        Raises:
            CommandError: The address can't be listened on.
        """
        if self.listen is None:
            return None
        from papsms_async.webhook.listener import WebhookListener

        listener = WebhookListener(self.receiver, self.listen.host, self.listen.port)
        try:
            await listener.start()
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = "the port is in use" if taken else reason(error)
            raise CommandError(f"can't listen on {self.listen}: {why}") from error
        shown = listener.url if self.generated else listener.url.rpartition("/")[0] + "/..."
        say(f"papsms: webhooks are taken at {shown}")
        if self.generated:
            say(
                "papsms: the secret in that URL is new; to keep it, put its last part into"
                f" {WEBHOOK_SECRETS}"
            )
        if self.listen.host not in LOOPBACK:
            say("papsms: without TLS others can read the secret in the URL: put a proxy in front")
        return listener


def make_webhooks(
    *,
    listen: str | None,
    inbox: bool,
    trust: str | None,
    allowed: tuple[str, ...],
    proxies: tuple[str, ...],
    option: str = "--webhook-listen",
) -> Webhooks | None:
    """Return what the options ask for, ``None`` for no webhooks.

    Args:
        listen: Where to listen.
        inbox: Whether to hear what other processes on the ledger take.
        trust: ``confirm`` or ``payload``.
        allowed: Who may send.
        proxies: Whose word on addresses counts.
        option: The name of the option that gave ``listen``.

    Raises:
        CommandError: They can't be used, or not together.
    """
    from papsms_async.webhook.receiver import WebhookReceiver, new_webhook_secret

    if listen is None and not inbox:
        if trust or allowed or proxies:
            raise CommandError(
                "the options about webhooks need --webhook-listen or --webhook-inbox"
            )
        return None
    if listen is not None and inbox:
        raise CommandError(
            "--webhook-listen hears what other processes take as well: leave --webhook-inbox out"
        )
    if listen is None and (allowed or proxies):
        raise CommandError("who may send is said to the process that listens")
    if proxies and not allowed:
        raise CommandError("--webhook-proxy only has a meaning together with --webhook-allow")
    secrets = _words(WEBHOOK_SECRETS)
    try:
        return Webhooks(
            receiver=WebhookReceiver(
                None if listen is None else secrets or new_webhook_secret(),
                trust="payload" if trust == "payload" else "confirm",
                signing_secrets=_words(SIGNING_SECRETS),
                allowed=allowed or None,
                proxies=proxies,
            ),
            listen=None if listen is None else parse_address(listen, option),
            generated=not secrets,
        )
    except ConfigurationError as error:
        raise CommandError(as_clause(error.message)) from error


def _words(variable: str) -> tuple[str, ...]:
    """Return the secrets in an environment variable: one, or two with a comma between."""
    return tuple(filter(None, re.split(r"[\s,]+", os.environ.get(variable, ""))))
