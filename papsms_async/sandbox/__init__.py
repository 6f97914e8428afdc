"""An offline stand-in of the service: same endpoints, money, limits and failures, no network.

`SandboxEngine` is the service as a pure function of requests, time and a seed;
`papsms_async.sandbox.server` puts it on a loopback socket (imported apart: it needs aiohttp).
Magic services and countries are listed in `papsms_async.sandbox.magic`, faults in
`papsms_async.sandbox.faults`, the control API in `papsms_async.sandbox.control`.

There are no webhooks: clients poll, or a test delivers to them what it wants.
"""

from __future__ import annotations

from .account import ActivationState, Charge, ChargeKind, SandboxActivation
from .answers import CountriesShape, ErrorShape
from .config import RetryAfterStyle, SandboxConfig
from .control import SandboxControl
from .endpoints import BASE_PATH
from .engine import LoggedRequest, SandboxEngine
from .faults import Effect, Fault, FaultKind, FaultRoute, FaultSet, parse_faults
from .limits import Limiter, LimitKind, LimitSpec
from .messages import Delivery, SandboxReply, SandboxRequest
from .triggers import Trigger

__all__ = [
    "BASE_PATH",
    "ActivationState",
    "Charge",
    "ChargeKind",
    "CountriesShape",
    "Delivery",
    "Effect",
    "ErrorShape",
    "Fault",
    "FaultKind",
    "FaultRoute",
    "FaultSet",
    "LimitKind",
    "LimitSpec",
    "Limiter",
    "LoggedRequest",
    "RetryAfterStyle",
    "SandboxActivation",
    "SandboxConfig",
    "SandboxControl",
    "SandboxEngine",
    "SandboxReply",
    "SandboxRequest",
    "Trigger",
    "parse_faults",
]
