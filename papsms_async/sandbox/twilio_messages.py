"""A message as Twilio writes it, and the number of segments that it takes.

Source: Twilio's Message resource; 3GPP TS 23.038 for the characters of an SMS, of which one has
160, or 153 where there are several, and 70 or 67 where a character is not among those of GSM-7.
"""

from __future__ import annotations

from email.utils import formatdate

from .mailbox import MessageStatus, ReceivedMessage

MESSAGES = "Messages"

_UNKNOWN_HANDSET = 30005
_SENDER_OF_SERVICES = "+15005550006"
"""The valid sender of Twilio's test credentials."""
_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_EXTENDED = frozenset("\f^{}\\[~]|€")


def segments(text: str) -> int:
    """Return how many segments a text takes, at least 1."""
    if all(character in _GSM or character in _GSM_EXTENDED for character in text):
        length, single, several = sum(1 + (c in _GSM_EXTENDED) for c in text), 160, 153
    else:
        length, single, several = len(text.encode("utf-16-le", "surrogatepass")) // 2, 70, 67
    return 1 if length <= single else -(-length // several)


def as_created(message: ReceivedMessage) -> dict[str, object]:
    """Return a message as in the answer to its sender: it has been taken, and no more."""
    unassigned = message.sender is None
    return _fields(message) | {
        "status": "queued" if message.service is None else "accepted",
        "num_segments": "0" if unassigned else str(segments(message.text)),
        "from": message.sender,
        "date_sent": None,
        "error_code": None,
        "error_message": None,
    }


def as_kept(message: ReceivedMessage) -> dict[str, object]:
    """Return a message as it is told of later: with what has become of it."""
    lost = message.status is MessageStatus.UNDELIVERED
    return _fields(message) | {
        "status": message.status.value,
        "num_segments": str(segments(message.text)),
        "from": message.sender or _SENDER_OF_SERVICES,
        "date_sent": _date(message.at),
        "error_code": _UNKNOWN_HANDSET if lost else None,
        "error_message": "Unknown destination handset" if lost else None,
    }


def _fields(message: ReceivedMessage) -> dict[str, object]:
    uri = f"/2010-04-01/Accounts/{message.account}/{MESSAGES}/{message.sid}"
    return {
        "sid": message.sid,
        "account_sid": message.account,
        "messaging_service_sid": message.service,
        "api_version": "2010-04-01",
        "body": message.text,
        "to": message.to,
        "direction": "outbound-api",
        "num_media": "0",
        "price": None,
        "price_unit": "USD",
        "date_created": _date(message.at),
        "date_updated": _date(message.at),
        "uri": uri + ".json",
        "subresource_uris": {"media": uri + "/Media.json"},
    }


def _date(at: float) -> str:
    """Write POSIX seconds as RFC 2822 has it: ``Sun, 19 Apr 2026 14:00:00 +0000``."""
    return formatdate(int(at))[:-5] + "+0000"
