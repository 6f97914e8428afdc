"""From an error to the one sentence and the exit status that a user gets."""

from __future__ import annotations

from papsms_async.cli.exit_codes import ExitCode
from papsms_async.errors import (
    AccountBlockedError,
    AccountError,
    ActivationError,
    AddressNotAllowedError,
    AuthenticationError,
    ConfigurationError,
    InsufficientBalanceError,
    InvalidRequestError,
    LedgerError,
    MalformedAnswerError,
    PapSMSError,
    RateLimitedError,
    ServiceError,
    TransportError,
    UnavailableError,
)


class CommandError(Exception):
    """Ends a command with one sentence on stderr and an exit status.

    Args:
        message: The sentence, without secrets.
        code: The exit status.
        details: Further lines, printed below it as they are.
    """

    def __init__(
        self, message: str, code: ExitCode = ExitCode.USAGE, *, details: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.details = details


_CODES: tuple[tuple[type[PapSMSError], ExitCode], ...] = (
    (AuthenticationError, ExitCode.KEY),
    (AccountError, ExitCode.ACCOUNT),
    (TransportError, ExitCode.UNREACHABLE),
    (LedgerError, ExitCode.NOT_WRITABLE),
    (ConfigurationError, ExitCode.USAGE),
    (RateLimitedError, ExitCode.ACCOUNT),
    (ServiceError, ExitCode.ACCOUNT),
    (MalformedAnswerError, ExitCode.ACCOUNT),
    (UnavailableError, ExitCode.NOT_ALL_COMPLETED),
    (ActivationError, ExitCode.NOT_ALL_COMPLETED),
    (InvalidRequestError, ExitCode.NOT_ALL_COMPLETED),
)

_ADVICE: tuple[tuple[type[PapSMSError], str], ...] = (
    (
        AuthenticationError,
        "the service refused the API key; check PAPSMS_API_KEY (keys are rotated every 90 days)",
    ),
    (
        AddressNotAllowedError,
        "the API key is tied to other IP addresses than this machine's; add it in the account",
    ),
    (AccountBlockedError, "the account is blocked; ask the service's support"),
    (InsufficientBalanceError, "the account's balance does not cover the price; top it up"),
)


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the exit status that ``error`` ends a command with."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return ExitCode.NOT_ALL_COMPLETED if isinstance(error, PapSMSError) else ExitCode.DEFECT


def sentence_of(error: BaseException) -> str:
    """Return what happened in one sentence, without a full stop and without secrets."""
    for kind, advice in _ADVICE:
        if isinstance(error, kind):
            return advice + (f" [{error.code}]" if error.code else "")
    if isinstance(error, PapSMSError):
        return as_clause(error.message)
    # The text of a foreign error may hold what it was raised over.
    return f"unexpected error ({type(error).__name__})"


def stops_buying(error: BaseException | None) -> bool:
    """Whether every further purchase would fail in the same way."""
    if isinstance(error, RateLimitedError):
        # The client itself waits for ordinary ones; this one is longer than it waits.
        return error.retry_after is not None and error.retry_after > 600
    return isinstance(error, AccountError | ConfigurationError | LedgerError) and not (
        isinstance(error, PapSMSError) and error.retryable
    )


def as_clause(message: str) -> str:
    """Return a sentence of the library so that it can follow ``papsms:``."""
    text = " ".join(message.split()).rstrip(".")
    begins_a_word = text[:1].isupper() and (text[1:2].islower() or text[1:2] == " ")
    return text[:1].lower() + text[1:] if begins_a_word else text
