"""The service's words become the right class, however they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async import errors
from papsms_async.errors import AccountError, PapSMSError, ServiceError
from papsms_async.vocabulary import (
    SENTENCES,
    UNDECIDED_STATUSES,
    WORDS,
    by_prose,
    by_status,
    by_word,
    classify,
    normalise,
)
from papsms_async.wire import Operation


@pytest.mark.parametrize("word", sorted(WORDS))
def test_words_are_found_however_they_are_written(word: str) -> None:
    """Case, dashes, spaces, camelCase, prefixes and suffixes don't matter."""
    camel = "".join(part.title() for part in word.split("_"))
    for spelling in (
        word, word.lower(), word.replace("_", "-"), word.replace("_", " "), camel,
        f"ERROR_{word}", f"error.{word.lower()}", f"{word}_ERROR", f" {word} ",
    ):  # fmt: skip
        assert by_word(spelling) is WORDS[word], spelling


def test_normalise() -> None:
    """Words are compared in capitals with underscores."""
    assert normalise("noNumbers") == "NO_NUMBERS"
    assert normalise("IPNotAllowed") == "IP_NOT_ALLOWED"
    assert normalise("") == normalise("…") == ""
    assert by_word("") is None


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("No numbers available", "NoNumbersError"),
        ("There are no free numbers for this service right now", "NoNumbersError"),
        ("Out of stock, please try again later", "NoNumbersError"),
        ("Numbers are currently unavailable", "NoNumbersError"),
        ("You don't have enough: insufficient funds", "InsufficientBalanceError"),
        ("Not enough balance on your account", "InsufficientBalanceError"),
        ("Your balance is too low", "InsufficientBalanceError"),
        ("Invalid API key", "AuthenticationError"),
        ("The API key you provided is not valid", "AuthenticationError"),
        ("API key has expired", "AuthenticationError"),
        ("Your IP address 192.0.2.1 is not whitelisted", "AddressNotAllowedError"),
        ("Requests from this IP are forbidden", "AddressNotAllowedError"),
        ("Your account has been suspended", "AccountBlockedError"),
        ("You are temporarily banned", "AccountBlockedError"),
        ("Too many requests, slow down", "RateLimitedError"),
        ("Rate limit of 60 per minute exceeded", "RateLimitedError"),
        ("You have too many unfinished activations", "TooManyActivationsError"),
        ("Maximum number of active activations reached", "TooManyActivationsError"),
        ("Activation not found", "ActivationNotFoundError"),
        ("No such activation", "ActivationNotFoundError"),
        ("Invalid activation id", "ActivationNotFoundError"),
        ("It is too early to cancel", "EarlyCancelError"),
        ("Activation cannot be cancelled yet", "EarlyCancelError"),
        ("Wait 120 seconds before cancelling", "EarlyCancelError"),
        ("Activation is already completed", "AlreadyFinishedError"),
        ("Cannot cancel: already cancelled", "AlreadyFinishedError"),
        ("This activation has expired", "AlreadyFinishedError"),
        ("Activation cannot be cancelled", "CannotCancelError"),
        ("Unable to cancel, SMS has already been received", "CannotCancelError"),
        ("Unknown country", "InvalidCountryError"),
        ("Country xx is not supported", "InvalidCountryError"),
        ("Service foo not found", "InvalidServiceError"),
        ("Service not available for this country", "InvalidServiceError"),
        ("Service temporarily unavailable", "ServiceError"),
        ("Internal server error", "ServiceError"),
        ("Bloop", None),
    ],
)
def test_prose(message: str, expected: str | None) -> None:
    """A reason told in words only is understood."""
    found = by_prose(message)
    assert found is (None if expected is None else getattr(errors, expected))


def test_every_class_has_its_sentence() -> None:
    """Whatever is found can be said."""
    reachable = set(WORDS.values()) | {
        by_status(status, operation) for status in range(600) for operation in Operation
    }
    assert reachable <= set(SENTENCES)


@given(st.integers(), st.sampled_from(Operation), st.text() | st.none(), st.text() | st.none())
def test_everything_has_a_class(
    status: int, operation: Operation, code: str | None, message: str | None
) -> None:
    """Whatever is said, there is a class with a sentence for it."""
    found = classify(status, operation, code, message)
    assert issubclass(found, PapSMSError)
    assert found in SENTENCES


def test_code_goes_before_message_goes_before_status() -> None:
    """A known code wins over the message, the message over the status."""
    classes = [
        classify(402, Operation.PURCHASE, "NO_NUMBERS", "Invalid API key"),
        classify(402, Operation.PURCHASE, "E1", "Invalid API key"),
        classify(402, Operation.PURCHASE, "E1", "?"),
        classify(400, Operation.PURCHASE, None, None),
    ]
    assert [cls.__name__ for cls in classes] == [
        "NoNumbersError", "AuthenticationError", "InsufficientBalanceError", "InvalidRequestError"
    ]  # fmt: skip


@pytest.mark.parametrize("word", sorted(WORDS))
def test_a_429_is_a_rate_limit_unless_waiting_would_not_help(word: str) -> None:
    """With 429 only words about the account or too many activations change the class."""
    found = classify(429, Operation.PURCHASE, word, None)
    kept = issubclass(WORDS[word], AccountError | errors.TooManyActivationsError)
    assert found is (WORDS[word] if kept else errors.RateLimitedError)


@pytest.mark.parametrize("status", sorted(UNDECIDED_STATUSES))
def test_time_outs_on_the_way_decide_nothing(status: int) -> None:
    """A 408 and its like don't say whether the request was carried out."""
    assert by_status(status, Operation.PURCHASE) is ServiceError
