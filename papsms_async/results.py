"""Makes a `VerificationResult` of what happened: its outcome, and what it cost."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from papsms_async.errors import (
    ActivationEndedError,
    BudgetExceededError,
    Execution,
    InsufficientBalanceError,
    ManagerClosedError,
    Money,
    NoNumbersError,
    PapSMSError,
    PurchaseUnknownError,
    SmsTimeoutError,
    TenantLimitError,
    UnavailableError,
)
from papsms_async.lifecycle import State
from papsms_async.tracking import Tracked
from papsms_async.verification import Outcome, VerificationRequest, VerificationResult


def result_of(
    request: VerificationRequest,
    tracked: Tracked | None,
    *,
    value: Any,
    failure: BaseException | None,
    attempts: int,
    worst_price: Decimal,
    started_at: datetime,
    ended_at: datetime,
) -> VerificationResult:
    """Return the result of a verification whose flow is over.

    Args:
        request: What was asked for.
        tracked: The purchase, or ``None`` if there was no usable one.
        value: What the flow returned.
        failure: What ended it, or ``None``.
        attempts: How many purchases were tried.
        worst_price: What a purchase with a lost answer may have cost, in US dollars.
        started_at: When it was begun.
        ended_at: When its flow was over.
    """
    cost, uncertain = _cost(tracked, failure, worst_price)
    return VerificationResult(
        request=request,
        outcome=_outcome(tracked, failure),
        activation=None if tracked is None else tracked.activation,
        sms=None if tracked is None else tracked.sms,
        value=value,
        error=failure,
        attempts=attempts,
        cost=cost,
        cost_uncertain=uncertain,
        started_at=started_at,
        purchased_at=None if tracked is None else tracked.purchased_at,
        sms_at=None if tracked is None else tracked.sms_at,
        ended_at=ended_at,
    )


def _cost(
    tracked: Tracked | None, failure: BaseException | None, worst_price: Decimal
) -> tuple[Decimal, Decimal]:
    """Return what it cost, and what it may have cost beyond that."""
    nothing = Decimal(0)
    if tracked is None:
        # Lost, or bought but unusable and being released at a price that nobody could read.
        charged = isinstance(failure, PapSMSError) and failure.money is not Money.NOT_CHARGED
        return nothing, worst_price if charged else nothing
    price = tracked.activation.cost
    if tracked.state in (State.CANCELLED, State.EXPIRED):
        return nothing, nothing
    if tracked.sms is None or tracked.state is State.CANCELLING:
        return nothing, price
    return price, nothing


def _outcome(tracked: Tracked | None, failure: BaseException | None) -> Outcome:
    match failure:
        case None if tracked is not None and tracked.sms is not None:
            given_back = tracked.state in (State.CANCELLING, State.CANCELLED)
            return Outcome.CANCELLED if given_back else Outcome.COMPLETED
        case None:
            # The flow caught the timeout itself, or never waited.
            timed_out = tracked is not None and isinstance(tracked.wait_error, SmsTimeoutError)
            return Outcome.TIMED_OUT if timed_out else Outcome.CANCELLED
        case SmsTimeoutError():
            return Outcome.TIMED_OUT
        case PurchaseUnknownError():
            return Outcome.UNKNOWN
        case _ if tracked is not None:
            ended = isinstance(failure, ActivationEndedError | ManagerClosedError)
            return Outcome.CANCELLED if ended else Outcome.FAILED
        case NoNumbersError():
            return Outcome.NO_NUMBERS
        case InsufficientBalanceError():
            return Outcome.NO_BALANCE
        case BudgetExceededError():
            return Outcome.OVER_BUDGET
        case TenantLimitError():
            return Outcome.OVER_LIMIT
        case ManagerClosedError():
            return Outcome.CANCELLED
        case UnavailableError():
            return Outcome.REJECTED
        case PapSMSError(execution=Execution.REFUSED) if not failure.retryable:
            return Outcome.REJECTED
        case _:
            return Outcome.FAILED
