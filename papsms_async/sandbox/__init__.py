"""An offline stand-in of the service: same endpoints, money, limits and failures, no network.

`SandboxEngine` is the service as a pure function of requests, time and a seed;
`papsms_async.sandbox.server` puts it on a loopback socket (imported apart: it needs aiohttp).
Magic services and countries are listed in `papsms_async.sandbox.magic`, faults in
`papsms_async.sandbox.faults`, the control API in `papsms_async.sandbox.control`.
Webhooks are planned by the engine too (`papsms_async.sandbox.webhooks`), and posted by the server
or by whatever a test hands them to.
"""

from __future__ import annotations

from .activations import ActivationState, Charge, ChargeKind, SandboxActivation, Sms
from .answers import CountriesShape, ErrorShape
from .config import RetryAfterStyle, SandboxConfig
from .control import SandboxControl
from .endpoints import BASE_PATH
from .engine import SandboxEngine
from .faults import Effect, Fault, FaultKind, FaultRoute, FaultSet, parse_faults
from .limits import Limiter, LimitKind, LimitSpec
from .messages import Delivery, SandboxReply, SandboxRequest
from .traffic import LoggedRequest
from .triggers import Trigger
from .webhook_config import WebhookConfig, WebhookShape
from .webhook_faults import WebhookFault, WebhookFaultKind, parse_webhook_faults
from .webhook_log import LoggedPost
from .webhook_posts import NoAnswer, PostKind, WebhookPost
from .webhooks import WebhookOutbox

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
    "LoggedPost",
    "LoggedRequest",
    "NoAnswer",
    "PostKind",
    "RetryAfterStyle",
    "SandboxActivation",
    "SandboxConfig",
    "SandboxControl",
    "SandboxEngine",
    "SandboxReply",
    "SandboxRequest",
    "Sms",
    "Trigger",
    "WebhookConfig",
    "WebhookFault",
    "WebhookFaultKind",
    "WebhookOutbox",
    "WebhookPost",
    "WebhookShape",
    "parse_faults",
    "parse_webhook_faults",
]
