"""A sandbox's configuration as a recording has it, exact to the last digit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, cast

import attrs

from ..config import SandboxConfig
from ..delays import Fixed, Lognormal, Mixture, Never, SmsDelay, Uniform
from ..faults import Fault
from ..limits import LimitKind, LimitSpec
from ..webhook_config import WebhookConfig
from ..webhook_faults import WebhookFault

Json = dict[str, Any]

_LAWS: dict[str, Any] = {
    "fixed": Fixed,
    "uniform": Uniform,
    "lognormal": Lognormal,
    "never": Never,
    "mixture": Mixture,
}


def write_config(config: SandboxConfig) -> Json:
    """Write a configuration, with everything that is in it.

    Raises:
        ValueError: Something in it has no form in a recording.
    """
    written = _write(config, _WRITERS)
    if read_config(written) != config:
        raise ValueError("this configuration has something that no recording can say exactly")
    return written


def read_config(written: Mapping[str, Any]) -> SandboxConfig:
    """Read a configuration back.

    Raises:
        ValueError: It is not of that form.
    """
    try:
        return SandboxConfig(**_read(written, _READERS))
    except (TypeError, KeyError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"its configuration is not understood: {error}") from error


def _write(config: Any, writers: Mapping[str, Callable[[Any], object]]) -> Json:
    fields = attrs.fields(type(config))
    return {
        field.name: writers.get(field.name, _plain)(getattr(config, field.name)) for field in fields
    }


def _read(written: Mapping[str, Any], readers: Mapping[str, Callable[[Any], Any]]) -> Json:
    return {
        name: readers[name](value) if name in readers else value for name, value in written.items()
    }


def _plain(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    return str(value) if isinstance(value, Decimal | str) else value


def _write_limit(limit: LimitSpec) -> Json:
    return {"requests": limit.requests, "per": limit.per, "kind": str(limit.kind)}


def _read_limit(written: Json) -> LimitSpec:
    return LimitSpec(written["requests"], written["per"], LimitKind(written["kind"]))


def _write_law(law: Any) -> Json:
    for name, kind in _LAWS.items():
        if type(law) is kind:
            return {name: _write(law, {"law": _write_law})}
    raise ValueError("a law of SMS delays of one's own cannot be recorded")


def _read_law(written: Json) -> SmsDelay:
    ((name, fields),) = written.items()
    return cast(SmsDelay, _LAWS[name](**_read(fields, {"law": _read_law})))


def _write_webhook(config: WebhookConfig | None) -> Json | None:
    return None if config is None else _write(config, {"faults": _texts})


def _read_webhook(written: Json | None) -> WebhookConfig | None:
    if written is None:
        return None
    faults = {"faults": lambda texts: tuple(WebhookFault.parse(text) for text in texts)}
    return WebhookConfig(**_read(written, faults))


def _texts(faults: tuple[object, ...]) -> list[str]:
    return [str(fault) for fault in faults]


_WRITERS: dict[str, Callable[[Any], object]] = {
    "limit": _write_limit,
    "key_limits": lambda limits: {key: _write_limit(limits[key]) for key in sorted(limits)},
    "sms_delay": _write_law,
    "faults": _texts,
    "webhook": _write_webhook,
}
_READERS: dict[str, Callable[[Any], Any]] = {
    "limit": _read_limit,
    "key_limits": lambda limits: {key: _read_limit(limit) for key, limit in limits.items()},
    "sms_delay": _read_law,
    "faults": lambda texts: tuple(Fault.parse(text) for text in texts),
    "webhook": _read_webhook,
}
