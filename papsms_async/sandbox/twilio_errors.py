"""How Twilio says no, and the phone numbers that make it do so.

The numbers are those of Twilio's test credentials: an application that is tested with them there
meets the same refusals here.

Source: Twilio's error and warning dictionary, and its page on test credentials.
"""

from __future__ import annotations


class TwilioRefusal(Exception):
    """A request is refused.

    Args:
        status: HTTP status.
        code: Twilio's code.
        message: A sentence.
    """

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def body(self) -> dict[str, object]:
        """Return it as Twilio writes it."""
        return {
            "code": self.code,
            "message": self.message,
            "more_info": f"https://www.twilio.com/docs/errors/{self.code}",
            "status": self.status,
        }


MAGIC_RECEIVERS = {
    "+15005550001": (21211, "The 'To' number {number} is not a valid phone number."),
    "+15005550002": (21612, "The 'To' phone number {number} can't be reached from this sender."),
    "+15005550003": (21408, "Permission to send an SMS to the region of {number} isn't enabled."),
    "+15005550004": (21610, "The receiver {number} has opted out: unsubscribed recipient."),
    "+15005550009": (21614, "The 'To' number {number} is not a mobile number."),
}
"""Receivers to which sending is refused: code and sentence."""

MAGIC_SENDERS = {
    "+15005550001": (21212, "The 'From' number {number} is not a valid phone number."),
    "+15005550007": (21606, "The 'From' number {number} is not one of the account's."),
    "+15005550008": (21611, "The queue of the 'From' number {number} is full."),
}
"""Senders with which sending is refused: code and sentence."""


def refuse_magic(numbers: dict[str, tuple[int, str]], number: str) -> None:
    """Refuse a number if it is one of those.

    Raises:
        TwilioRefusal: It is.
    """
    if number in numbers:
        code, sentence = numbers[number]
        raise TwilioRefusal(400, code, sentence.format(number=number))
