"""Errors say whether to try again and what happened to the money, and they can be pickled."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from papsms_async import errors
from papsms_async.errors import Execution, Money, PapSMSError

ALL = [
    error
    for _, error in inspect.getmembers(errors, inspect.isclass)
    if issubclass(error, PapSMSError)
]


@pytest.mark.parametrize("cls", ALL)
def test_every_error_answers_the_three_questions(cls: type[PapSMSError]) -> None:
    """Each class has its own description, and says retry, money and a sentence for end users."""
    error = cls("message")
    assert cls.__doc__
    assert isinstance(error.retryable, bool)
    assert isinstance(error.money, Money)
    assert isinstance(error.execution, Execution)
    assert error.public_message.endswith(".")
    assert not set("0123456789_") & set(error.public_message)


@pytest.mark.parametrize("cls", ALL)
def test_every_error_can_be_pickled_and_copied(cls: type[PapSMSError]) -> None:
    """All attributes survive the way to another process."""
    error = cls(
        "message",
        code="NO_NUMBERS",
        http_status=404,
        excerpt="...",
        retry_after=2.5,
        money=Money.CHARGED,
        execution=Execution.UNKNOWN,
        retryable=True,
        intent_id="i",
        activation_id="a",
        token="t",
    )
    error.add_note("seen twice")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own
        assert type(twin) is cls
        assert vars(twin) == vars(error)
        assert str(twin) == "message"
        assert (twin.money, twin.execution, twin.retryable) == ("charged", "unknown", True)


def test_instances_do_not_change_their_class() -> None:
    """What one error knows better is not said of the others."""
    errors.NoNumbersError("x", money=Money.UNKNOWN, retryable=False)
    assert errors.NoNumbersError("y").money is Money.NOT_CHARGED
    assert errors.NoNumbersError("y").retryable


def test_errors_are_what_callers_expect() -> None:
    """Bad settings are a `ValueError`, a missing SMS a `TimeoutError`."""
    assert issubclass(errors.ConfigurationError, ValueError)
    assert issubclass(errors.SmsTimeoutError, TimeoutError)
    assert errors.RateLimitedError.execution is Execution.NOT_EXECUTED
    assert errors.ConnectError.execution is Execution.NOT_EXECUTED
    assert errors.AnswerLostError.execution is Execution.UNKNOWN
    assert errors.PurchaseUnknownError.money is Money.UNKNOWN
