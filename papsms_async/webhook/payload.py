"""What a webhook's body says, in any of the forms that are usual.

Its form is not documented beyond an activation id, a code and a text. Names and nesting are read
tolerantly, as everything that the service says (`papsms_async.leniency`); values strictly. A code
that is there and can't be read makes the SMS unknown rather than one without a code: then the
webhook only tells that one came, and the status has it.

Source: PapSMS API guide, "What is not documented".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import attrs

from papsms_async.converter import (
    ValueRefusedError,
    identifier,
    instant,
    phone_number,
    read_strict_json,
)
from papsms_async.leniency import first, read_sms
from papsms_async.models import Sms, WebhookEvent

T = TypeVar("T")

_WRAPPERS = ("data", "payload", "activation")
_ID_NAMES = ("activation_id", "activationId")
_NUMBER_NAMES = ("phone_number", "phoneNumber", "phone", "number")
_CODE_NAMES = ("code", "sms_code")

_Layers = tuple[Mapping[str, Any], ...]


def read_webhook(body: bytes) -> WebhookEvent:
    """Return what ``body`` says.

    Raises:
        ValueRefusedError: It is not JSON, or names no activation, or two.
    """
    value = read_strict_json(body)
    if not isinstance(value, Mapping):
        raise ValueRefusedError("not an object")
    layers = tuple(_layers(value))
    return WebhookEvent(
        activation_id=_activation_id(layers),
        sms=_sms(layers),
        phone_number=_optional(phone_number, layers, *_NUMBER_NAMES),
        service=_optional(identifier, layers, "service"),
        country=_optional(lambda word: identifier(word).lower(), layers, "country"),
    )


def _layers(value: Mapping[str, Any], depth: int = 2) -> Iterator[Mapping[str, Any]]:
    """Give an object and those that it wraps, outermost first."""
    yield value
    for name in _WRAPPERS:
        inner = value.get(name)
        if depth and isinstance(inner, Mapping):
            yield from _layers(inner, depth - 1)


def _activation_id(layers: _Layers) -> str:
    found = [layer[name] for layer in layers for name in _ID_NAMES if layer.get(name) is not None]
    if not found:
        # The innermost, because an outer one may be the id of the event or of its delivery.
        found = [layer["id"] for layer in layers if layer.get("id") is not None][-1:]
    ids = {identifier(value) for value in found}
    if len(ids) != 1:
        raise ValueRefusedError("missing or unusable: activation_id")
    return ids.pop()


def _sms(layers: _Layers) -> Sms | None:
    told = [layer["sms"] for layer in layers if layer.get("sms") is not None] or [*layers]
    for value in reversed(told):
        if isinstance(value, list) and value:
            value = value[-1]
        sms = read_sms(value)
        if sms is None:
            continue
        if (
            isinstance(value, Mapping)
            and sms.code is None
            and first(value, *_CODE_NAMES) not in (None, "")
        ):
            return None
        if sms.received_at is None:
            at = _optional(instant, layers, "received_at", "receivedAt")
            sms = attrs.evolve(sms, received_at=at)
        return sms
    return None


def _optional(read: Callable[[Any], T], layers: _Layers, *names: str) -> T | None:
    for layer in layers:
        with suppress(ValueRefusedError):
            return read(first(layer, *names))
    return None
