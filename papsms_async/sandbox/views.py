"""What the sandbox holds, as JSON values for whoever looks: the control API and the page."""

from __future__ import annotations

import math

from .activations import ActivationState, SandboxActivation
from .engine import SandboxEngine
from .limits import LimitKind
from .mailbox import ReceivedMessage
from .traffic import LoggedRequest
from .webhook_config import WebhookConfig

_BARS = 30
_WINDOW_WITHOUT_LIMIT = 60.0


def activation_row(activation: SandboxActivation, now: float) -> dict[str, object]:
    """Return an activation as it stands at that time."""
    until = now if activation.ended_at is None else activation.ended_at
    return {
        "activation_id": activation.activation_id,
        "phone_number": activation.phone_number,
        "country": activation.country,
        "service": activation.service,
        "cost": activation.cost,
        "state": activation.state(now),
        "bought_at": activation.bought_at,
        "expires_at": activation.expires_at,
        "sms_at": activation.sms_at,
        "sms_code": activation.sms_code,
        "sms_text": activation.sms_text,
        "ended_at": activation.ended_at,
        "finishes": activation.finishes,
        "status_calls": activation.status_calls,
        "messages": [
            {
                "at": sms.at,
                "code": sms.code,
                "text": sms.text,
                "arrived": sms.at <= until and sms.at < activation.expires_at,
            }
            for sms in activation.messages()
        ],
    }


def request_row(entry: LoggedRequest) -> dict[str, object]:
    """Return an entry of the request log."""
    return {
        "at": entry.at,
        "method": entry.method,
        "route": entry.route,
        "status": entry.status,
        "counted": entry.counted,
        "delivery": entry.delivery,
    }


def message_row(message: ReceivedMessage) -> dict[str, object]:
    """Return a message that an application sent."""
    return {
        "sid": message.sid,
        "at": message.at,
        "via": message.via,
        "from": message.sender or message.service,
        "to": message.to,
        "text": message.text,
        "code": message.code,
        "status": message.status,
        "activation_id": message.activation_id,
    }


def webhook_setting(config: WebhookConfig | None) -> dict[str, object] | None:
    """Return where and how webhooks are posted, without what is secret in it."""
    if config is None:
        return None
    return {
        "url": config.shown_url,
        "signed": config.secret is not None,
        "faults": [str(fault) for fault in config.faults],
        "attempts": config.attempts,
        "backoff": config.backoff,
        "timeout": config.timeout,
        "shape": config.shape,
    }


def _webhooks(engine: SandboxEngine) -> dict[str, object]:
    webhooks = engine.webhooks
    due = webhooks.next_due()
    return {
        "setting": webhook_setting(webhooks.config),
        "faults": [
            {"fault": str(fault), "calls": events, "struck": struck}
            for fault, events, struck in webhooks.fault_counts()
        ],
        "posted": webhooks.log.logged,
        "under_way": webhooks.under_way,
        "planned": webhooks.planned,
        "next_at": None if due == math.inf else due,
    }


def summary(engine: SandboxEngine) -> dict[str, object]:
    """Return how account, limit, faults and webhooks stand now; O(1) in what was bought.

    The key is told only where it is the one that everybody knows.
    """
    limit, now = engine.limit, engine.now
    unlimited = limit.kind is LimitKind.NONE
    window = _WINDOW_WITHOUT_LIMIT if unlimited else limit.per
    used, refused = engine.traffic.within(window, now)
    counts = engine.journal.counts
    return {
        "seed": engine.seed,
        "key": "sandbox" if "sandbox" in engine.config.api_keys else None,
        "balance": engine.balance,
        "spent": engine.config.balance - engine.balance,
        "states": {state.value: counts[state] for state in ActivationState},
        "limit": str(limit),
        "traffic": {
            "window": window,
            "limit": None if unlimited else limit.requests,
            "used": used,
            "refused": refused,
            "bars": engine.traffic.bars(window, now, number=_BARS),
        },
        "requests": engine.counted_requests,
        "undelivered": {
            "count": engine.mailbox.undelivered,
            "latest": [message_row(message) for message in engine.mailbox.latest_undelivered],
        },
        "faults": [
            {"fault": str(fault), "calls": calls, "struck": struck}
            for fault, calls, struck in engine.faults.counts()
        ],
        "webhooks": _webhooks(engine),
    }
