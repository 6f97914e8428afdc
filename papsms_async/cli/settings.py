"""Where the key, the address and the limit come from: options, environment, ``.env`` file.

An option wins over the environment, the environment over the file. Of a ``.env`` file only the
variables that begin with ``PAPSMS_`` are taken. The key itself is no option: what stands on a
command line can be read by everybody on the machine.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, MutableMapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from papsms_async.cli.exit_codes import ExitCode
from papsms_async.cli.failures import CommandError, as_clause
from papsms_async.errors import ConfigurationError
from papsms_async.limits import Budget, QuotaProfile, RateLimit

if TYPE_CHECKING:
    from papsms_async.client import PapSMSClient
    from papsms_async.ledger import Ledger

KEY = "PAPSMS_API_KEY"
BASE_URL = "PAPSMS_BASE_URL"
DATABASE = "PAPSMS_DATABASE"
LIMIT = "PAPSMS_LIMIT"
WEBHOOK_SECRETS = "PAPSMS_WEBHOOK_SECRET"
SIGNING_SECRETS = "PAPSMS_WEBHOOK_SIGNING_SECRET"
DEFAULT_WORST_PRICE = Decimal("3.00")
SECRET_VARIABLES = (KEY, DATABASE, WEBHOOK_SECRETS, SIGNING_SECRETS)
"""Never handed on to commands that are started."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@attrs.frozen(kw_only=True)
class Connection:
    """How to reach the service.

    Attributes:
        base_url: Where it is; ``None`` for the environment's, else the service itself.
        api_key_file: File that holds the key, read again when the key is refused.
        env_file: The ``.env`` file to read; ``None`` looks for one upwards.
        no_env_file: Read none.
        timeout: Seconds for one attempt of one request.
    """

    base_url: str | None = None
    api_key_file: Path | None = None
    env_file: Path | None = None
    no_env_file: bool = False
    timeout: float = 30.0

    def load_env_file(self, environ: MutableMapping[str, str] = os.environ) -> Path | None:
        """Add what the ``.env`` file says and the environment does not; return the file.

        Raises:
            CommandError: The file that was named can't be read.
        """
        if self.no_env_file:
            return None
        from dotenv import dotenv_values, find_dotenv

        path = self.env_file
        if path is None:
            found = find_dotenv(usecwd=True)
            if not found:
                return None
            path = Path(found)
        try:
            with path.open(encoding="utf-8") as stream:
                values = dotenv_values(stream=stream)
        except OSError as error:
            if self.env_file is None:
                return None  # found by chance, for instance in a directory of somebody else's
            raise CommandError(f"can't read {path}: {reason(error)}") from error
        except UnicodeDecodeError as error:
            raise CommandError(f"can't read {path}: it is not UTF-8 text") from error
        for name, value in values.items():
            if name.startswith("PAPSMS_") and value is not None:
                environ.setdefault(name, value)
        return path

    def key_source(self) -> str | Callable[[], str]:
        """Return the key, or what reads it.

        Raises:
            CommandError: There is none.
        """
        path = self.api_key_file
        if path is not None:
            _read_key(path)
            return lambda: _reread_key(path)
        key = os.environ.get(KEY, "").strip()
        if not key:
            raise CommandError(
                f"there is no API key: set {KEY} in the environment or in a .env file, or name a"
                " file with --api-key-file",
                ExitCode.KEY,
            )
        return key

    def open_client(self, rate_limit: RateLimit) -> PapSMSClient:
        """Return a client; it makes no request yet.

        Raises:
            CommandError: The key or the address can't be used.
        """
        from papsms_async.client import PapSMSClient
        from papsms_async.dispatcher import KeyRing

        source = self.key_source()
        try:
            KeyRing(source if isinstance(source, str) else source())
        except ConfigurationError as error:
            raise CommandError(as_clause(error.message), ExitCode.KEY) from error
        try:
            return PapSMSClient(
                source, base_url=self.base_url, rate_limit=rate_limit, timeout=self.timeout
            )
        except ConfigurationError as error:
            raise CommandError(as_clause(error.message)) from error


def rate_limit(text: str | None, profile: str | None = None) -> RateLimit:
    """Return the limit that an option or ``PAPSMS_LIMIT`` names, else the usual one.

    Raises:
        CommandError: It is not of its form.
    """
    try:
        limit = RateLimit.parse(text or os.environ.get(LIMIT) or "60/60s")
    except ConfigurationError as error:
        raise CommandError(as_clause(error.message)) from error
    if profile is None:
        return limit
    return attrs.evolve(limit, profile=QuotaProfile(profile))


def budget(max_spend: str | None, worst_price: str | None) -> Budget | None:
    """Return the budget that the options name, if any; the worst price never exceeds it.

    Raises:
        CommandError: An amount can't be used.
    """
    if max_spend is None:
        if worst_price is not None:
            raise CommandError("--worst-price only has a meaning together with --max-spend")
        return None
    try:
        limit = Budget(max_spend.lstrip("$")).limit
        if worst_price is None:
            return Budget(limit, min(DEFAULT_WORST_PRICE, limit))
        whole = Budget(limit, worst_price.lstrip("$"))
    except ConfigurationError as error:
        raise CommandError(as_clause(error.message)) from error
    if whole.worst_price > limit:
        raise CommandError("--worst-price is above --max-spend: nothing could be bought")
    return whole


def weights(words: Iterable[str]) -> dict[str, float] | None:
    """Return the weights of tenants that ``T=W`` name, if any.

    Raises:
        CommandError: One is not of its form.
    """
    found: dict[str, float] = {}
    for word in words:
        tenant, separator, weight = word.rpartition("=")
        try:
            found[tenant.strip()] = float(weight)
        except ValueError:
            separator = ""
        if not separator or not tenant.strip():
            raise CommandError(f"--tenant-weight looks like acme=2, not {word!r}")
    return found or None


def objective_named(word: str) -> str | float:
    """Return the objective that an option names: a word, or a price in seconds.

    Raises:
        CommandError: There is none.
    """
    from papsms_async.pricing import Objective

    wanted: str | float = word
    with contextlib.suppress(ValueError):
        wanted = float(word)
    try:
        Objective.of(wanted)
    except ValueError as error:
        raise CommandError(f"--objective: {error}") from None
    return wanted


def database(option: str | None) -> str | None:
    """Return the database of the ledger, ``None`` to keep it in memory.

    The option wins over the environment; without either it is `own_database`. The word ``none``
    stands for memory.
    """
    named = option or os.environ.get(DATABASE)
    if not named:
        return str(own_database())
    return None if named.strip().lower() == "none" else named


def own_database() -> Path:
    """Return the file of the command line's own ledger, whether it exists or not."""
    from platformdirs import user_data_path

    return user_data_path("papsms-async", appauthor=False) / "papsms.db"


def ledger_of(option: str | None) -> Ledger | None:
    """Return the ledger that is named, to be opened; made if it is not there yet.

    Returns:
        The ledger, or ``None`` where it was said to keep none.

    Raises:
        ConfigurationError: What names it can't be read.
        CommandError: There is no place for it.
    """
    from papsms_async.ledger import open_ledger

    named = database(option)
    if named == str(own_database()):
        _make_directory(own_database().parent)
    return None if named is None else open_ledger(named)


def open_manager(client: PapSMSClient, **options: Any) -> Any:
    """Return an `ActivationManager`.

    On the command line's own ledger a budget bounds this run; see
    `papsms_async.cli.run_budget`.

    Raises:
        CommandError: An option can't be used, or there is no place for the ledger.
    """
    from papsms_async.manager import ActivationManager

    try:
        if options.get("database") == str(own_database()):
            _make_directory(own_database().parent)
            if options.get("budget") is not None:
                from papsms_async.cli.run_budget import RunLedger
                from papsms_async.ledger import open_ledger

                options["database"] = RunLedger(open_ledger(options["database"]))
        return ActivationManager(client, **options)
    except ConfigurationError as error:
        raise CommandError(as_clause(error.message)) from error


def reason(error: OSError) -> str:
    """Return why an operation on a file failed, as the system words it."""
    return (error.strerror or type(error).__name__).lower()


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(
            f"can't make {path} for the ledger: {reason(error)}; name another place with"
            " --database, or none to keep it in memory",
            ExitCode.NOT_WRITABLE,
        ) from error


def _read_key(path: Path) -> str:
    try:
        key = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CommandError(
            f"can't read the API key from {path}: {reason(error)}", ExitCode.KEY
        ) from error
    except UnicodeDecodeError as error:
        raise CommandError(f"the API key in {path} is not text", ExitCode.KEY) from error
    if not key:
        raise CommandError(f"there is no API key in {path}: it is empty", ExitCode.KEY)
    return key


def _reread_key(path: Path) -> str:
    try:
        return _read_key(path)
    except CommandError as error:
        # Asked in the middle of a request, where only errors of the library are expected.
        raise ConfigurationError(f"The API key: {error.message}.") from error
