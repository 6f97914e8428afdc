"""``papsms sandbox``: the service on loopback, to try everything without key or network."""

from __future__ import annotations

import asyncio
import errno
import json
import shlex
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import click

from papsms_async.cli.exit_codes import ExitCode
from papsms_async.cli.failures import CommandError
from papsms_async.cli.settings import LOOPBACK, reason

if TYPE_CHECKING:
    from papsms_async.sandbox import SandboxConfig
    from papsms_async.sandbox.recording import Recorder

T = TypeVar("T")


@click.command("sandbox")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8085,
    show_default=True,
    help="Port to listen on; 0 for any that is free.",
)
@click.option(
    "--api-key",
    "api_keys",
    multiple=True,
    default=("sandbox",),
    show_default=True,
    metavar="KEY",
    help="Key that is accepted; may be given several times.",
)
@click.option(
    "--limit",
    default="60/60s",
    show_default=True,
    metavar="N/Ws[:KIND]",
    help="Limit of each key, such as 600/60s or 60/60s:token-bucket; or none.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all chance.")
@click.option("--balance", default="1000", show_default=True, metavar="USD", help="Money to spend.")
@click.option(
    "--delay",
    default="lognormal:12/0.8,never:0.08",
    show_default=True,
    metavar="LAW",
    help="When SMS arrive: fixed:5, uniform:2-10, lognormal:MEDIAN/SIGMA, never, ...,never:SHARE.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="SPEC",
    help="What goes wrong: ROUTE:KIND[=VALUE][@SHARE|#CALL], such as purchase:drop_after@0.05 or"
    " status:server_error#3; may be given several times.",
)
@click.option(
    "--lifetime",
    type=click.FloatRange(0),
    default=1200.0,
    show_default=True,
    metavar="S",
    help="Seconds after which a number expires.",
)
@click.option(
    "--min-cancel-age",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    metavar="S",
    help="Seconds before which a number can't be cancelled.",
)
@click.option(
    "--latency",
    type=click.FloatRange(0, 60),
    default=0.0,
    show_default=True,
    metavar="S",
    help="Seconds that each answer takes.",
)
@click.option("--max-open", type=click.IntRange(1), metavar="N", help="Numbers held at once.")
@click.option(
    "--twilio-account",
    "twilio_accounts",
    multiple=True,
    metavar="SID:TOKEN",
    help="Twilio account (or API key) that may send messages; any, if none is given.",
)
@click.option("--webhook-url", metavar="URL", help="Is told of each SMS by a POST.")
@click.option(
    "--webhook-secret",
    envvar="PAPSMS_SANDBOX_WEBHOOK_SECRET",
    metavar="whsec_...",
    help="Signs the posts as Standard Webhooks has it; also $PAPSMS_SANDBOX_WEBHOOK_SECRET.",
)
@click.option(
    "--webhook-fault",
    "webhook_faults",
    multiple=True,
    metavar="SPEC",
    help="What goes wrong with posts: KIND[=VALUE][@SHARE|#EVENT], such as loss@0.05, late=0-30,"
    " duplicate, reorder, replay, forged_code, forged_id or forged_path; may be given several"
    " times.",
)
@click.option(
    "--webhook-remote",
    is_flag=True,
    help="Let posts go to other machines than this one.",
)
@click.option(
    "--record",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Record what is asked and answered, for papsms replay; keys are left out.",
)
@click.option("--force", is_flag=True, help="Overwrite FILE if it exists.")
@click.option("--open", "opens", is_flag=True, help="Open the inbox in the browser.")
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    metavar="NAME",
    help="Name besides localhost under which browsers may use the inbox and the control API; may be"
    " given several times.",
)
@click.option("--openapi", is_flag=True, help="Print the API's OpenAPI document, and end.")
def sandbox_command(
    *,
    host: str,
    port: int,
    api_keys: tuple[str, ...],
    limit: str,
    seed: int,
    balance: str,
    delay: str,
    faults: tuple[str, ...],
    lifetime: float,
    min_cancel_age: float,
    latency: float,
    max_open: int | None,
    twilio_accounts: tuple[str, ...],
    webhook_url: str | None,
    webhook_secret: str | None,
    webhook_faults: tuple[str, ...],
    webhook_remote: bool,
    record: Path | None,
    force: bool,
    opens: bool,
    names: tuple[str, ...],
    openapi: bool,
) -> ExitCode:
    """Serve an offline stand-in of PapSMS on loopback.

    It charges, refunds, limits, delays and fails as the service does. Magic services provoke one
    outcome each: test-never, test-late, test-null-code, test-no-numbers, test-drop-after and many
    more; the countries zz and xx are always out of stock.

    In a browser its address is an inbox: numbers and messages live, an SMS sent by hand, faults
    and limits switched while it runs. Programs do the same under /_sandbox/; /_sandbox/docs tells
    all of it.
    """
    from papsms_async.sandbox import SandboxConfig, SandboxEngine, WebhookConfig
    from papsms_async.sandbox.server import serve

    webhook: WebhookConfig | None = None
    if webhook_url is not None:
        url, faults_text = webhook_url, " ".join(webhook_faults)
        webhook = _parsed(
            lambda: WebhookConfig(url=url, secret=webhook_secret, faults=faults_text), "webhook"
        )
    elif webhook_faults:
        raise CommandError("--webhook-fault needs --webhook-url")
    elif webhook_secret is not None and _was_written("webhook_secret"):
        raise CommandError("--webhook-secret needs --webhook-url")
    config = _parsed(
        lambda: SandboxConfig(
            api_keys=api_keys,
            balance=balance,
            limit=_parsed(lambda: SandboxConfig.parse_limit(limit), "--limit"),
            sms_delay=_parsed(lambda: SandboxConfig.parse_delay(delay), "--delay"),
            faults=_parsed(lambda: SandboxConfig.parse_faults(" ".join(faults)), "--fault"),
            lifetime=lifetime,
            min_cancel_age=min_cancel_age,
            latency=latency,
            max_open=max_open,
            twilio_accounts=_parsed(
                lambda: SandboxConfig.parse_accounts(twilio_accounts), "--twilio-account"
            ),
            webhook=webhook,
            webhook_remote=webhook_remote,
        ),
        "sandbox",
    )
    if openapi:
        return _print_document(config)
    if host not in LOOPBACK:
        click.echo(f"papsms: everybody who reaches {host} can use this sandbox", err=True)

    def ready(base_url: str) -> None:
        key = shlex.quote(api_keys[0])
        inbox = _inbox(base_url)
        click.echo(f"PapSMS sandbox on {base_url} (Ctrl-C stops it)")
        click.echo(f"  inbox in the browser: {inbox}")
        click.echo(f"  PAPSMS_BASE_URL={base_url} PAPSMS_API_KEY={key} papsms verify whatsapp us")
        sys.stdout.flush()
        if opens:
            import webbrowser

            # In a thread of its own: a browser without windows would run in the foreground.
            threading.Thread(target=webbrowser.open, args=(inbox,), daemon=True).start()

    engine = SandboxEngine(config, seed=seed)

    def served(recorder: Recorder | None = None) -> Coroutine[None, None, None]:
        return serve(engine, host, port, ready=ready, recorder=recorder, names=names)

    try:
        if record is None:
            asyncio.run(served())
        else:
            from papsms_async.cli.session_recording import record_session

            asyncio.run(record_session(engine, record, force=force, serve=served))
    except BrokenPipeError as error:
        raise CommandError("standard output is closed", ExitCode.NOT_WRITABLE) from error
    except OSError as error:
        why = (
            "the port is in use, try --port 0" if error.errno == errno.EADDRINUSE else reason(error)
        )
        raise CommandError(f"can't listen on {host} port {port}: {why}") from error
    return ExitCode.OK


def _was_written(option: str) -> bool:
    """Return whether an option stands on the command line, and not only in the environment."""
    source = click.get_current_context().get_parameter_source(option)
    return source is click.core.ParameterSource.COMMANDLINE


def _inbox(base_url: str) -> str:
    """Return where a browser on this machine finds the page of a sandbox."""
    url = urlsplit(base_url)
    here = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - what to open in their place
    host = here.get(url.hostname or "")
    return f"{url.scheme}://{f'{host}:{url.port}' if host else url.netloc}/"


def _print_document(config: SandboxConfig) -> ExitCode:
    from papsms_async.sandbox import answers
    from papsms_async.sandbox.openapi.document import openapi_document

    click.echo(json.dumps(json.loads(answers.dump(openapi_document(config))), indent=2))
    return ExitCode.OK


def _parsed(make: Callable[[], T], option: str) -> T:
    try:
        return make()
    except (ValueError, ArithmeticError) as error:
        raise CommandError(f"{option}: {error}") from error
