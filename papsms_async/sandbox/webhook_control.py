"""Control of the sandbox's webhooks; the calls are listed in `papsms_async.sandbox.control`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from .engine import SandboxEngine
from .fields import (
    ControlCalls,
    ControlError,
    check_known,
    integer_of,
    last_of,
    notation_of,
    number_of,
    text_of,
)
from .views import webhook_setting
from .webhook_config import WebhookConfig
from .webhook_faults import parse_webhook_faults
from .webhook_log import shown

_NOT_SET = "no webhook is set: PUT /_sandbox/webhook with a url first"
_FIELDS = ("url", "secret", "faults", "seed", "attempts", "backoff", "timeout", "shape")


class WebhookControl:
    """The calls about webhooks.

    Args:
        engine: The engine that is controlled.
    """

    def __init__(self, engine: SandboxEngine) -> None:
        self._engine = engine
        self.endpoints: ControlCalls = {
            ("GET", "webhook"): self._get,
            ("PUT", "webhook"): self._put,
            ("DELETE", "webhook"): self._delete,
            ("POST", "webhook-faults"): self._add_faults,
            ("DELETE", "webhook-faults"): self._remove_faults,
            ("GET", "webhooks"): self._log,
        }

    def _get(self, body: Mapping[str, object], query: Mapping[str, str]) -> object:
        return {"webhook": webhook_setting(self._engine.webhooks.config)}

    def _put(self, body: Mapping[str, object], query: Mapping[str, str]) -> object:
        check_known(body, _FIELDS)
        url, secret = text_of(body, "url"), text_of(body, "secret")
        if url is None:
            if "secret" in body:
                raise ValueError("a secret comes together with its url")
            current = self._engine.webhooks.config
            if current is None:
                raise ControlError(409, "url is missing: no webhook is set")
            url, secret = current.url, current.secret
        options: dict[str, object] = {
            "attempts": integer_of(body, "attempts"),
            "backoff": number_of(body, "backoff"),
            "timeout": number_of(body, "timeout"),
            "shape": text_of(body, "shape"),
            "faults": notation_of(body, "faults") if "faults" in body else None,
        }
        given = {key: value for key, value in options.items() if value is not None}
        config = WebhookConfig(url=url, secret=secret, **given)  # type: ignore[arg-type]
        self._engine.set_webhook(config, seed=integer_of(body, "seed"))
        return self._get(body, query)

    def _delete(self, body: Mapping[str, object], query: Mapping[str, str]) -> object:
        self._engine.set_webhook(None)
        return self._get(body, query)

    def _add_faults(self, body: Mapping[str, object], query: Mapping[str, str]) -> object:
        check_known(body, ("faults",))
        if not self._engine.add_webhook_faults(parse_webhook_faults(notation_of(body, "faults"))):
            raise ControlError(409, _NOT_SET)
        return self._get(body, query)

    def _remove_faults(self, body: Mapping[str, object], query: Mapping[str, str]) -> object:
        check_known(body, ("faults",))
        webhooks = self._engine.webhooks
        if webhooks.config is None:
            raise ControlError(409, _NOT_SET)
        given = "faults" in body
        gone = (
            parse_webhook_faults(notation_of(body, "faults")) if given else webhooks.config.faults
        )
        # All of them or none.
        for fault, count in Counter(gone).items():
            if webhooks.config.faults.count(fault) < count:
                raise ControlError(404, f"not in force: {fault}")
        for fault in tuple(gone):
            self._engine.remove_webhook_fault(fault)
        return self._get(body, query)

    def _log(self, body: Mapping[str, object], query: Mapping[str, str]) -> object:
        latest = self._engine.webhooks.log.latest(most=last_of(query))
        return {"webhooks": [dict(shown(entry)) for entry in latest]}
