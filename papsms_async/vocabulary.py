"""The service's words for its errors, and the class that each of them is raised as.

The service documents none of them; these are the words of its field. They are matched tolerantly:
in any case, with dashes, spaces or in camelCase, with prefixes such as ``ERROR_``, and as prose
("No numbers available") where no code is sent. What is not known is judged by its HTTP status.

Source: PapSMS API guide, "What is not documented", error codes.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TypeAlias

from papsms_async.errors import (
    AccountBlockedError,
    AccountError,
    ActivationError,
    ActivationNotFoundError,
    AddressNotAllowedError,
    AlreadyFinishedError,
    AuthenticationError,
    CannotCancelError,
    EarlyCancelError,
    InsufficientBalanceError,
    InvalidCountryError,
    InvalidRequestError,
    InvalidServiceError,
    NoNumbersError,
    PapSMSError,
    RateLimitedError,
    ServiceError,
    TooManyActivationsError,
    UnavailableError,
)
from papsms_async.wire import Operation

ErrorClass: TypeAlias = type[PapSMSError]

WORDS: dict[str, ErrorClass] = {
    word: error
    for error, words in {
        AuthenticationError: """BAD_KEY NO_KEY WRONG_KEY INVALID_KEY INVALID_API_KEY BAD_API_KEY
            NO_API_KEY WRONG_API_KEY MISSING_API_KEY API_KEY_INVALID API_KEY_MISSING
            API_KEY_REQUIRED API_KEY_EXPIRED API_KEY_REVOKED EXPIRED_KEY REVOKED_KEY KEY_EXPIRED
            KEY_REVOKED INVALID_TOKEN BAD_TOKEN TOKEN_EXPIRED UNAUTHORIZED UNAUTHORISED
            UNAUTHENTICATED NOT_AUTHENTICATED AUTHENTICATION_FAILED AUTH_FAILED AUTH_REQUIRED
            AUTHENTICATION_REQUIRED""",
        AddressNotAllowedError: """IP_NOT_ALLOWED IP_NOT_WHITELISTED IP_FORBIDDEN IP_DENIED
            IP_RESTRICTED NOT_ALLOWED_IP WRONG_IP BAD_IP ADDRESS_NOT_ALLOWED FORBIDDEN_IP""",
        AccountBlockedError: """BANNED BAN TEMP_BANNED TEMPORARILY_BANNED ACCOUNT_BLOCKED
            ACCOUNT_BANNED ACCOUNT_SUSPENDED ACCOUNT_DISABLED ACCOUNT_LOCKED USER_BANNED
            USER_BLOCKED BLOCKED SUSPENDED IP_BANNED""",
        InsufficientBalanceError: """NO_BALANCE INSUFFICIENT_BALANCE LOW_BALANCE NO_MONEY NO_FUNDS
            INSUFFICIENT_FUNDS INSUFFICIENT_CREDIT INSUFFICIENT_CREDITS NOT_ENOUGH_BALANCE
            NOT_ENOUGH_FUNDS NOT_ENOUGH_MONEY NOT_ENOUGH_CREDIT NOT_ENOUGH_CREDITS
            PAYMENT_REQUIRED BALANCE_TOO_LOW""",
        NoNumbersError: """NO_NUMBERS NO_NUMBER NO_FREE_PHONES NO_PHONES NO_FREE_NUMBERS
            NUMBERS_NOT_FOUND NO_NUMBERS_AVAILABLE NO_NUMBER_AVAILABLE NUMBER_NOT_AVAILABLE
            NUMBERS_UNAVAILABLE OUT_OF_STOCK NO_STOCK SOLD_OUT NOT_AVAILABLE NO_AVAILABLE_NUMBERS
            NO_ACTIVATIONS_AVAILABLE""",
        InvalidServiceError: """BAD_SERVICE INVALID_SERVICE WRONG_SERVICE UNKNOWN_SERVICE
            SERVICE_NOT_FOUND SERVICE_INVALID SERVICE_UNKNOWN SERVICE_NOT_SUPPORTED NO_SERVICE
            UNSUPPORTED_SERVICE MISSING_SERVICE SERVICE_REQUIRED SERVICE_NOT_OFFERED""",
        InvalidCountryError: """BAD_COUNTRY INVALID_COUNTRY WRONG_COUNTRY UNKNOWN_COUNTRY
            COUNTRY_NOT_FOUND COUNTRY_INVALID COUNTRY_UNKNOWN COUNTRY_NOT_SUPPORTED NO_COUNTRY
            UNSUPPORTED_COUNTRY MISSING_COUNTRY COUNTRY_REQUIRED INVALID_COUNTRY_CODE""",
        InvalidRequestError: """BAD_REQUEST INVALID_REQUEST VALIDATION VALIDATION_FAILED BAD_ACTION
            INVALID_PARAMETER INVALID_PARAMETERS INVALID_PARAMS MISSING_PARAMETER BAD_STATUS
            INVALID_STATUS WRONG_STATUS METHOD_NOT_ALLOWED UNPROCESSABLE_ENTITY""",
        TooManyActivationsError: """TOO_MANY_ACTIVATIONS TOO_MANY_ACTIVE_ACTIVATIONS
            TOO_MANY_UNFINISHED_ACTIVATIONS TOO_MANY_ACTIVE TOO_MANY_ORDERS TOO_MANY_OPEN
            ACTIVATION_LIMIT ACTIVATIONS_LIMIT ACTIVATION_LIMIT_REACHED MAX_ACTIVATIONS
            ACTIVE_ACTIVATIONS_LIMIT ORDER_LIMIT CHANNELS_LIMIT""",
        ActivationNotFoundError: """ACTIVATION_NOT_FOUND NO_ACTIVATION WRONG_ACTIVATION_ID
            BAD_ACTIVATION_ID INVALID_ACTIVATION_ID INVALID_ACTIVATION UNKNOWN_ACTIVATION BAD_ID
            ORDER_NOT_FOUND WRONG_ID INVALID_ID ID_NOT_FOUND""",
        EarlyCancelError: """EARLY_CANCEL_DENIED EARLY_CANCEL CANCEL_TOO_EARLY TOO_EARLY
            TOO_EARLY_TO_CANCEL CANCELLATION_TOO_EARLY""",
        AlreadyFinishedError: """ALREADY_FINISHED ALREADY_CANCELLED ALREADY_CANCELED
            ALREADY_CANCEL ALREADY_COMPLETED ALREADY_CLOSED ALREADY_REFUNDED ALREADY_EXPIRED
            ACTIVATION_FINISHED ACTIVATION_COMPLETED ACTIVATION_CANCELLED ACTIVATION_CANCELED
            ACTIVATION_EXPIRED ACTIVATION_CLOSED""",
        CannotCancelError: """CANNOT_CANCEL CANT_CANCEL CANCEL_DENIED CANCEL_NOT_ALLOWED
            CANCELLATION_NOT_ALLOWED CANCEL_IMPOSSIBLE NOT_CANCELLABLE SMS_RECEIVED
            SMS_ALREADY_RECEIVED ALREADY_RECEIVED""",
        RateLimitedError: """RATE_LIMITED RATE_LIMIT RATE_LIMIT_EXCEEDED TOO_MANY_REQUESTS
            THROTTLED REQUEST_LIMIT REQUEST_LIMIT_EXCEEDED SLOW_DOWN""",
        ServiceError: """INTERNAL INTERNAL_SERVER INTERNAL_SERVER_ERROR SERVER SERVER_ERROR
            INTERNAL_ERROR SQL SQL_ERROR ERROR_SQL MAINTENANCE SERVICE_UNAVAILABLE UNAVAILABLE
            TEMPORARILY_UNAVAILABLE TIMEOUT GATEWAY_TIMEOUT BAD_GATEWAY""",
    }.items()
    for word in words.split()
}
"""Error words in capitals with underscores, and the class that each is raised as."""

SENTENCES: dict[ErrorClass, str] = {
    AuthenticationError: "The service does not accept the API key",
    AddressNotAllowedError: "The service does not accept requests from this IP address",
    AccountBlockedError: "The service has blocked the account",
    InsufficientBalanceError: "The deposit does not cover the price",
    UnavailableError: "The service has no such number on offer",
    NoNumbersError: "The country has no number left for the service",
    InvalidServiceError: "The service's name is not known, or not offered in this country",
    InvalidCountryError: "The country's code is not known",
    InvalidRequestError: "The service refused the request",
    TooManyActivationsError: "The account has too many unfinished activations",
    ActivationNotFoundError: "The service knows no such activation",
    EarlyCancelError: "It is too early to cancel the activation",
    AlreadyFinishedError: "The activation was finished before",
    CannotCancelError: "The activation can't be cancelled",
    RateLimitedError: "The service turned the request away: too many requests",
    ServiceError: "The service failed or gave no reason that is known",
}
"""What each class says of itself; the service's own words are never repeated."""

_PREFIX = re.compile(r"(?:ERROR|ERR|E|API|PAPSMS)_(?=.)")
_SUFFIX = re.compile(r"_(?:ERROR|ERR|EXCEPTION)$")

# In this order: "already cancelled" before "cancel", "too many activations" before "too many".
_PHRASES: tuple[tuple[str, ErrorClass], ...] = (
    (
        r"too many (?:\w+ ){0,3}(?:activations?|orders?|numbers)|"
        r"(?:activations?|orders?) limit|max(?:imum)? (?:\w+ ){0,3}(?:activations|orders)",
        TooManyActivationsError,
    ),
    (
        r"too early|early cancel|wait (?:\w+ ){0,5}before cancel\w*|"
        r"(?:can ?not|can t|unable to) (?:be )?cancel\w* "
        r"(?:\w+ ){0,4}(?:yet|before|until|so soon)|"
        r"cancel\w* (?:\w+ ){0,4}(?:only after|not yet|available after|possible after)",
        EarlyCancelError,
    ),
    (
        r"already (?:been )?(?:finish|complet|cancel|clos|refund|expir|releas)\w*",
        AlreadyFinishedError,
    ),
    (
        r"(?:can ?not|can t|could not|unable to) (?:be )?cancel\w*|"
        r"cancel\w* (?:\w+ ){0,2}(?:not allowed|denied|not possible|impossible|forbidden)|"
        r"sms (?:\w+ ){0,3}(?:received|arrived)",
        CannotCancelError,
    ),
    (
        r"(?:activation|order) (?:\w+ ){0,2}(?:finished|completed|cancell?ed|expired|closed)",
        AlreadyFinishedError,
    ),
    (
        r"ip (?:\w+ ){0,8}(?:not (?:\w+ )?(?:allowed|whitelisted|permitted|authori[sz]ed)|"
        r"forbidden|denied|restricted)|not allowed (?:\w+ ){0,3}ip",
        AddressNotAllowedError,
    ),
    (
        r"(?:account|user|key|ip|you|is|are|been|was|temporarily|permanently|temp) "
        r"(?:\w+ ){0,3}(?:banned|blocked|suspended|locked)|account (?:\w+ ){0,3}disabled|"
        r"(?:banned|blocked|suspended) (?:account|user)",
        AccountBlockedError,
    ),
    (
        r"(?:insufficient|not enough|no|low|out of|too little|lack of) (?:\w+ )?"
        r"(?:balance|funds?|money|credits?|deposit)|payment required|top up|"
        r"balance (?:\w+ ){0,4}(?:low|insufficient|empty|not enough|exhausted)",
        InsufficientBalanceError,
    ),
    (
        r"(?:invalid|bad|wrong|missing|unknown|expired|revoked|incorrect|no) (?:\w+ )?"
        r"(?:api key|key|token|credentials|authentication|authori[sz]ation)|unauthori[sz]ed|"
        r"(?:key|token) (?:\w+ ){0,4}(?:invalid|expired|revoked|required|missing|incorrect|"
        r"disabled|not found|not valid|wrong)|not authenticated|authentication failed",
        AuthenticationError,
    ),
    (
        r"rate limit\w*|too many (?:\w+ )?requests?|throttl\w+|slow down|"
        r"requests? limit|limit of requests|request rate",
        RateLimitedError,
    ),
    (
        r"no (?:\w+ ){0,3}(?:numbers?|phones?|stock)|(?:out of|not in) stock|sold out|"
        r"(?:numbers?|phones?) (?:\w+ ){0,4}(?:not available|unavailable|not found|ended)",
        NoNumbersError,
    ),
    (
        r"no (?:such )?(?:activation|order)|(?:activation|order)(?: id)? (?:\w+ ){0,3}"
        r"(?:not found|not exist|unknown|invalid|missing)|"
        r"(?:invalid|bad|wrong|unknown) (?:activation|order)(?: id)?",
        ActivationNotFoundError,
    ),
    (
        r"(?:invalid|bad|unknown|wrong|unsupported|missing|no such) country|"
        r"country (?:\w+ ){0,4}(?:not found|not supported|not available|not exist|invalid|"
        r"unknown|required|missing|unsupported|unavailable)",
        InvalidCountryError,
    ),
    (
        r"(?:invalid|bad|unknown|wrong|unsupported|missing|no such) service|"
        r"service (?:\w+ ){0,4}(?:not found|not supported|not exist|invalid|unknown|required|"
        r"missing|unsupported|not offered|not available (?:in|for))",
        InvalidServiceError,
    ),
    (
        r"internal (?:server )?error|maintenance|temporarily unavailable|"
        r"service (?:is )?(?:currently )?unavailable|something went wrong",
        ServiceError,
    ),
)


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], ErrorClass], ...]:
    return tuple((re.compile(rf"\b(?:{phrase})\b"), error) for phrase, error in _PHRASES)


_MAX_PROSE = 300
"""Characters of a message that are looked at: the reason stands at its begin."""

_BY_STATUS: dict[int, ErrorClass] = {
    401: AuthenticationError,
    402: InsufficientBalanceError,
    403: AddressNotAllowedError,
    429: RateLimitedError,
}
_BY_STATUS_AND_OPERATION: dict[tuple[int, Operation], ErrorClass] = {
    (404, Operation.PURCHASE): UnavailableError,
    (409, Operation.PURCHASE): UnavailableError,
    (404, Operation.STATUS): ActivationNotFoundError,
    (410, Operation.STATUS): ActivationNotFoundError,
    (404, Operation.FINISH): ActivationNotFoundError,
    (409, Operation.FINISH): AlreadyFinishedError,
    (410, Operation.FINISH): AlreadyFinishedError,
}

# "Number not found" is about the activation when its status was asked for.
_OUT_OF_PLACE: dict[Operation, tuple[ErrorClass, ...]] = {
    Operation.PURCHASE: (ActivationError,),
    Operation.STATUS: (UnavailableError,),
    Operation.FINISH: (UnavailableError,),
    Operation.COUNTRIES: (ActivationError, UnavailableError),
}

UNDECIDED_STATUSES = frozenset({408, 425, 444, 460, 499})
"""4xx statuses that don't say whether the request was carried out: time-outs and hang-ups on the
way, reported by a proxy. They count as 5xx do."""


def normalise(word: str) -> str:
    """Return ``word`` in capitals with underscores: ``noNumbers`` gives ``NO_NUMBERS``."""
    word = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", word[:_MAX_PROSE])
    return re.sub(r"[^A-Z0-9]+", "_", word.upper()).strip("_")


def by_word(word: str) -> ErrorClass | None:
    """Return the class for the error code ``word`` if it is one that is known."""
    plain = normalise(word)
    while plain:
        for candidate in (plain, _SUFFIX.sub("", plain)):
            if candidate in WORDS:
                return WORDS[candidate]
        prefix = _PREFIX.match(plain)
        plain = plain[prefix.end() :] if prefix else ""
    return None


def by_prose(message: str) -> ErrorClass | None:
    """Return the class for an error that is told in words, or in a code that is not in `WORDS`."""
    plain = normalise(message).replace("_", " ").lower()
    return next((error for pattern, error in _patterns() if pattern.search(plain)), None)


def by_words(code: str | None, message: str | None) -> ErrorClass | None:
    """Return the class that code and message tell; an exact word goes before a phrase."""
    texts = [text for text in (code, message) if text]
    for look_up in (by_word, by_prose):
        for text in texts:
            found = look_up(text)
            if found is not None:
                return found
    return None


def by_status(status: int, operation: Operation) -> ErrorClass:
    """Return the class for an error about which nothing but its HTTP status is known."""
    if status in UNDECIDED_STATUSES or not 400 <= status < 500:
        return ServiceError
    return _BY_STATUS_AND_OPERATION.get(
        (status, operation), _BY_STATUS.get(status, InvalidRequestError)
    )


def classify(
    status: int, operation: Operation, code: str | None, message: str | None
) -> ErrorClass:
    """Return the class of a well-formed error, by its code, else its message, else its status.

    Words that can't be meant are passed over: a status call does not fail for want of numbers.
    A 429 stays a rate limit unless its words speak of the account (a ban, an empty deposit) or of
    too many activations: waiting would not help then.
    """
    told = by_words(code, message)
    if told is not None and issubclass(told, _OUT_OF_PLACE[operation]):
        told = None
    if status == 429 and (
        told is None or not issubclass(told, AccountError | TooManyActivationsError)
    ):
        return RateLimitedError
    return by_status(status, operation) if told is None else told
