"""Asyncio client for the PapSMS SMS-verification API.

Many verifications at once, under the rate limit, and nothing that was paid for is lost. Start with
`ActivationManager`; `PapSMSClient` is the bare API.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from papsms_async._version import __version__

if TYPE_CHECKING:
    from papsms_async.activation import LiveActivation
    from papsms_async.client import PapSMSClient
    from papsms_async.decisions import Decision, DecisionKind
    from papsms_async.errors import (
        AccountBlockedError,
        AccountError,
        ActivationEndedError,
        ActivationError,
        ActivationNotFoundError,
        AddressNotAllowedError,
        AlreadyFinishedError,
        AnswerLostError,
        AuthenticationError,
        BudgetExceededError,
        CannotCancelError,
        ConfigurationError,
        ConnectError,
        EarlyCancelError,
        Execution,
        InsufficientBalanceError,
        InvalidCountryError,
        InvalidRequestError,
        InvalidServiceError,
        LedgerError,
        MalformedAnswerError,
        ManagerClosedError,
        Money,
        NoNumbersError,
        PapSMSError,
        PurchaseUnknownError,
        RateLimitedError,
        RedirectRefusedError,
        ServiceError,
        SmsTimeoutError,
        TenantLimitError,
        TooManyActivationsError,
        TransportError,
        UnavailableError,
    )
    from papsms_async.events import EventKind, EventStream, VerificationEvent
    from papsms_async.hearing import WebhookStatistics
    from papsms_async.lifecycle import State
    from papsms_async.limits import Budget, QuotaProfile, RateLimit, TenantLimits
    from papsms_async.manager import ActivationManager
    from papsms_async.models import (
        Activation,
        ActivationStatus,
        Country,
        FinishStatus,
        Sms,
        Status,
        WebhookEvent,
    )
    from papsms_async.signals import stop_on_signals
    from papsms_async.statistics import ManagerStatistics
    from papsms_async.verification import Outcome, Priority, VerificationRequest, VerificationResult
    from papsms_async.webhook.aiohttp_app import webhook_app
    from papsms_async.webhook.asgi import webhook_asgi
    from papsms_async.webhook.listener import WebhookListener
    from papsms_async.webhook.receiver import WebhookReceiver, new_webhook_secret

__all__ = [
    "AccountBlockedError",
    "AccountError",
    "Activation",
    "ActivationEndedError",
    "ActivationError",
    "ActivationManager",
    "ActivationNotFoundError",
    "ActivationStatus",
    "AddressNotAllowedError",
    "AlreadyFinishedError",
    "AnswerLostError",
    "AuthenticationError",
    "Budget",
    "BudgetExceededError",
    "CannotCancelError",
    "ConfigurationError",
    "ConnectError",
    "Country",
    "Decision",
    "DecisionKind",
    "EarlyCancelError",
    "EventKind",
    "EventStream",
    "Execution",
    "FinishStatus",
    "InsufficientBalanceError",
    "InvalidCountryError",
    "InvalidRequestError",
    "InvalidServiceError",
    "LedgerError",
    "LiveActivation",
    "MalformedAnswerError",
    "ManagerClosedError",
    "ManagerStatistics",
    "Money",
    "NoNumbersError",
    "Outcome",
    "PapSMSClient",
    "PapSMSError",
    "Priority",
    "PurchaseUnknownError",
    "QuotaProfile",
    "RateLimit",
    "RateLimitedError",
    "RedirectRefusedError",
    "ServiceError",
    "Sms",
    "SmsTimeoutError",
    "State",
    "Status",
    "TenantLimitError",
    "TenantLimits",
    "TooManyActivationsError",
    "TransportError",
    "UnavailableError",
    "VerificationEvent",
    "VerificationRequest",
    "VerificationResult",
    "WebhookEvent",
    "WebhookListener",
    "WebhookReceiver",
    "WebhookStatistics",
    "__version__",
    "new_webhook_secret",
    "stop_on_signals",
    "webhook_app",
    "webhook_asgi",
]

_HOME = {
    name: module
    for module, names in {
        "activation": ("LiveActivation",),
        "client": ("PapSMSClient",),
        "decisions": ("Decision", "DecisionKind"),
        "errors": (
            "AccountBlockedError",
            "AccountError",
            "ActivationEndedError",
            "ActivationError",
            "ActivationNotFoundError",
            "AddressNotAllowedError",
            "AlreadyFinishedError",
            "AnswerLostError",
            "AuthenticationError",
            "BudgetExceededError",
            "CannotCancelError",
            "ConfigurationError",
            "ConnectError",
            "EarlyCancelError",
            "Execution",
            "InsufficientBalanceError",
            "InvalidCountryError",
            "InvalidRequestError",
            "InvalidServiceError",
            "LedgerError",
            "MalformedAnswerError",
            "ManagerClosedError",
            "Money",
            "NoNumbersError",
            "PapSMSError",
            "PurchaseUnknownError",
            "RateLimitedError",
            "RedirectRefusedError",
            "ServiceError",
            "SmsTimeoutError",
            "TenantLimitError",
            "TooManyActivationsError",
            "TransportError",
            "UnavailableError",
        ),
        "events": (
            "EventKind",
            "EventStream",
            "VerificationEvent",
        ),
        "hearing": ("WebhookStatistics",),
        "lifecycle": ("State",),
        "limits": (
            "Budget",
            "QuotaProfile",
            "RateLimit",
            "TenantLimits",
        ),
        "manager": ("ActivationManager",),
        "models": (
            "Activation",
            "ActivationStatus",
            "Country",
            "FinishStatus",
            "Sms",
            "Status",
            "WebhookEvent",
        ),
        "signals": ("stop_on_signals",),
        "statistics": ("ManagerStatistics",),
        "verification": (
            "Outcome",
            "Priority",
            "VerificationRequest",
            "VerificationResult",
        ),
        "webhook.aiohttp_app": ("webhook_app",),
        "webhook.asgi": ("webhook_asgi",),
        "webhook.listener": ("WebhookListener",),
        "webhook.receiver": ("WebhookReceiver", "new_webhook_secret"),
    }.items()
    for name in names
}


def __getattr__(name: str) -> Any:
    # A program that only mentions the package, or uses one part of it, loads no more than that:
    # names are looked up in their modules when they are first asked for.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
