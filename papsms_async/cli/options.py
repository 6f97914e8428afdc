"""Options that several commands share; they may stand before or after the command's name."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from papsms_async.cli.settings import Connection

F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.Path(dir_okay=False, path_type=Path)


@attrs.frozen(kw_only=True)
class Common:
    """What the shared options say.

    Attributes:
        connection: How to reach the service.
        verbose: Whether the library's log goes to standard error.
        no_color: Whether colours are unwanted.
    """

    connection: Connection
    verbose: bool = False
    no_color: bool = False


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--base-url", metavar="URL", help="Where the API is [env: PAPSMS_BASE_URL]."),
    click.option(
        "--api-key-file",
        type=_FILE,
        help="File that holds the API key. The key itself is no option, because command lines"
        " can be read by others: use this, PAPSMS_API_KEY, or .env.",
    ),
    click.option("--env-file", type=_FILE, help="Read this file in place of the nearest .env."),
    click.option("--no-env-file", is_flag=True, default=None, help="Read no .env file."),
    click.option("--verbose", is_flag=True, default=None, help="Log to standard error."),
    click.option("--no-color", is_flag=True, default=None, help="No colours [env: NO_COLOR]."),
)
_NAMES = ("base_url", "api_key_file", "env_file", "no_env_file", "verbose", "no_color")


def common_options(function: F) -> F:
    """Add the shared options; the command gets them as ``common``."""

    @functools.wraps(function)
    def command(*args: Any, **kwargs: Any) -> Any:
        context = click.get_current_context()
        given = {name: kwargs.pop(name) for name in _NAMES}
        outer = context.obj or {}
        values = {k: outer.get(k) if v is None else v for k, v in given.items()}
        if context.parent is None:
            context.obj = values
            return function(*args, **kwargs)
        return function(*args, common=_common(values), **kwargs)

    for option in reversed(_OPTIONS):
        command = option(command)
    return command  # type: ignore[return-value]  # the same call, with the options taken out


def _common(values: dict[str, Any]) -> Common:
    common = Common(
        connection=Connection(
            base_url=values["base_url"],
            api_key_file=values["api_key_file"],
            env_file=values["env_file"],
            no_env_file=bool(values["no_env_file"]),
        ),
        verbose=bool(values["verbose"]),
        no_color=bool(values["no_color"]),
    )
    set_up_logging(verbose=common.verbose)
    common.connection.load_env_file()
    return common


def set_up_logging(*, verbose: bool) -> None:
    """Send the library's log to standard error, or nowhere: the user gets sentences instead."""
    logger = logging.getLogger("papsms_async")
    for handler in tuple(logger.handlers):
        logger.removeHandler(handler)
    logger.propagate = False
    if verbose:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    else:
        logger.addHandler(logging.NullHandler())
    # asyncio's own complaints are for developers.
    logging.getLogger("asyncio").setLevel(logging.DEBUG if verbose else logging.CRITICAL)
