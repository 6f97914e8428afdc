"""Every error that this library raises: one root, a shallow tree.

Each error answers three questions a caller has after a failure:

* *May I try again?* ``retryable``: the same call may succeed later without anything being changed.
* *What happened to the money?* ``money``: what the failed request did to the balance.
* *What may an end user see?* ``public_message``: a generic sentence without any detail of the
  service, as the service's own guide asks for.

Nothing secret is kept on an error: no API key, phone number, code or message text. ``excerpt`` is
the beginning of the answer with everything that may be one of these blanked out.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, ClassVar


class Money(StrEnum):
    """What a failed request did to the balance of the account."""

    CHARGED = "charged"
    NOT_CHARGED = "not_charged"
    UNKNOWN = "unknown"


class Execution(StrEnum):
    """How far a failed request got at the service.

    It decides whether a request may be sent again: a purchase only after ``NOT_EXECUTED``, requests
    that may be repeated (status, finish, countries) also after ``UNKNOWN``.
    """

    NOT_EXECUTED = "not_executed"
    """The service certainly did not act on it: no connection, never sent, or turned away by 429."""
    REFUSED = "refused"
    """The service read it and said no in a well-formed answer."""
    UNKNOWN = "unknown"
    """The service may have acted on it: answer lost, unreadable, or a server error."""


class PapSMSError(Exception):
    """Root of all errors of this library.

    Attributes:
        retryable: Whether the same call may succeed later.
        money: What the failed request did to the balance.
        execution: How far the request got at the service.
        public_message: A sentence that is safe to show to an end user.
        code: The service's own error code, as it was sent, or ``None``.
        http_status: The HTTP status of the answer, or ``None`` where there was no answer.
        excerpt: The redacted beginning of an answer, for the log, or ``None``.
        retry_after: Seconds to wait before another try, where the service named them.
        intent_id: The ledger's id of the purchase that this error is about, if any.
        activation_id: The service's id of the activation that this error is about, if any.
        token: The token with which the activation can be resumed, if any.
    """

    retryable: bool = False
    money: Money = Money.NOT_CHARGED
    execution: Execution = Execution.REFUSED
    public_message: ClassVar[str] = "The verification could not be carried out. Please try again."

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        http_status: int | None = None,
        excerpt: str | None = None,
        retry_after: float | None = None,
        money: Money | None = None,
        execution: Execution | None = None,
        retryable: bool | None = None,
        intent_id: str | None = None,
        activation_id: str | None = None,
        token: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.http_status = http_status
        self.excerpt = excerpt
        self.retry_after = retry_after
        self.intent_id = intent_id
        self.activation_id = activation_id
        # The ledger's id of a number that was bought is what it takes to go on with it.
        self.token = intent_id if token is None and activation_id is not None else token
        # Instance values shadow the class's defaults only where the raiser knows better.
        if money is not None:
            self.money = money
        if execution is not None:
            self.execution = execution
        if retryable is not None:
            self.retryable = retryable

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Callable[..., PapSMSError], tuple[Any, ...]]:
        # Exceptions with keyword-only arguments don't pickle by themselves; results cross
        # process boundaries in test runners and job engines.
        return _rebuild, (type(self), self.message, dict(self.__dict__))


def _rebuild(cls: type[PapSMSError], message: str, state: dict[str, Any]) -> PapSMSError:
    error = cls(message)
    error.__dict__.update(state)
    return error


class ConfigurationError(PapSMSError, ValueError):
    """An argument or a setting can't be used: missing key, bad URL, bad value. Nothing was sent."""

    execution = Execution.NOT_EXECUTED


# The account -------------------------------------------------------------------------------------


class AccountError(PapSMSError):
    """The account can't buy now; every further purchase would fail in the same way."""

    public_message = "Verification is not available at the moment. Please try again later."


class AuthenticationError(AccountError):
    """The API key is missing, wrong, expired or revoked (401, BAD_KEY, NO_KEY)."""


class AddressNotAllowedError(AccountError):
    """The key is tied to a list of IP addresses that this one is not on (403)."""


class AccountBlockedError(AccountError):
    """The account is banned or blocked, for a time or for good (BANNED, ACCOUNT_BLOCKED, ...)."""


class InsufficientBalanceError(AccountError):
    """The deposit does not cover the price (402, NO_BALANCE)."""


# What was asked for ------------------------------------------------------------------------------


class UnavailableError(PapSMSError):
    """No number for this service in this country; another country may have one."""

    public_message = "No number is available at the moment. Please try again later."


class NoNumbersError(UnavailableError):
    """The country has no number left for the service (NO_NUMBERS, OUT_OF_STOCK)."""

    retryable = True


class InvalidServiceError(UnavailableError):
    """The service's name is not known, or it is not offered in this country (BAD_SERVICE)."""


class InvalidCountryError(UnavailableError):
    """The country's code is not known (BAD_COUNTRY)."""


class InvalidRequestError(PapSMSError):
    """The service refused the request as malformed, for a reason that has no class of its own."""


class TooManyActivationsError(PapSMSError):
    """The account has too many unfinished activations; finish some, then buy again."""

    retryable = True


# One activation ----------------------------------------------------------------------------------


class ActivationError(PapSMSError):
    """Something about one activation that was bought."""


class ActivationNotFoundError(ActivationError):
    """The service knows no activation of this id (404)."""


class EarlyCancelError(ActivationError):
    """It is too early to cancel this activation; the service wants it kept for a while."""

    retryable = True


class AlreadyFinishedError(ActivationError):
    """The activation was completed or cancelled before (409)."""


class CannotCancelError(ActivationError):
    """The activation can't be cancelled, usually because an SMS arrived first."""


class SmsTimeoutError(ActivationError, TimeoutError):
    """No SMS came in time. The number is released for a refund when the block is left."""

    retryable = True
    money = Money.CHARGED
    public_message = "No code arrived in time. Please request a new one."


class ActivationEndedError(ActivationError):
    """The activation ended at the service (cancelled, expired) while the SMS was awaited."""

    public_message = "No code arrived in time. Please request a new one."


# The way there and back --------------------------------------------------------------------------


class RateLimitedError(PapSMSError):
    """The service turned requests away (429); ``retry_after`` says for how long, if known."""

    retryable = True
    execution = Execution.NOT_EXECUTED
    public_message = "Too many verifications at the moment. Please try again later."


class ServiceError(PapSMSError):
    """The service failed (5xx) or said no without a reason that is known."""

    retryable = True
    execution = Execution.UNKNOWN


class MalformedAnswerError(PapSMSError):
    """An answer came that can't be understood: broken, too large, or without what it must have."""

    retryable = True
    execution = Execution.UNKNOWN


class TransportError(PapSMSError):
    """The request did not get through or its answer did not come back."""

    retryable = True
    execution = Execution.UNKNOWN
    public_message = "The verification service can't be reached. Please try again later."


class ConnectError(TransportError):
    """No connection was made: name not found, refused, TLS failure. Nothing was sent."""

    execution = Execution.NOT_EXECUTED


class AnswerLostError(TransportError):
    """The request may have reached the service, but no whole answer came back."""


class RedirectRefusedError(TransportError):
    """The service answered with a redirect, which is never followed: the key would go along."""

    retryable = False


# This library ------------------------------------------------------------------------------------


class PurchaseUnknownError(PapSMSError):
    """The answer to a purchase was lost: it may have been charged, and is never sent again."""

    money = Money.UNKNOWN
    execution = Execution.UNKNOWN


class BudgetExceededError(PapSMSError):
    """The purchase was not made, because it might have gone over the budget."""

    execution = Execution.NOT_EXECUTED
    public_message = "Verification is not available at the moment. Please try again later."


class TenantLimitError(PapSMSError):
    """The purchase was not made, because its tenant has used up one of its limits."""

    retryable = True
    execution = Execution.NOT_EXECUTED
    public_message = "Too many verifications at the moment. Please try again later."


class LedgerError(PapSMSError):
    """The ledger can't be read or written; nothing is bought without it."""

    execution = Execution.NOT_EXECUTED


class ManagerClosedError(PapSMSError):
    """The manager is closing or closed and takes no new work."""

    execution = Execution.NOT_EXECUTED
