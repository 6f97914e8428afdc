"""Control of a running sandbox over HTTP: no API key, JSON, not counted by the limit.

==================================== ============================================================
request                              what it does
==================================== ============================================================
``GET /_sandbox/health``             ``{"ok": true, ...}`` once the sandbox answers
``GET /_sandbox/faults``             the faults in force, in their notation
``PUT /_sandbox/faults``             replaces them: ``{"faults": ["purchase:drop_after@0.05"]}``,
                                     also one string; ``"seed"`` seeds their draws anew
``POST /_sandbox/faults``            adds such faults; the counts of the others go on
``DELETE /_sandbox/faults``          removes them all, or those in ``{"faults": [...]}``
``GET /_sandbox/limit``              the limit in force
``PUT /_sandbox/limit``              replaces it: ``{"limit": "60/60s:token-bucket"}``
``POST /_sandbox/deliver``           an SMS arrives: ``{"phone_number" or "activation_id",
                                     "code": "123456", "text": "...", "delay": 5}``; code and text
                                     may be left out, without ``delay`` (seconds) it is there at
                                     once; 404 if nobody can receive it by then
``POST /_sandbox/drop``              the SMS on their way to a number never come:
                                     ``{"phone_number" or "activation_id"}``; 409 if there are none
``POST /_sandbox/end``               the service ends a waiting number by itself, with a refund:
                                     ``{"phone_number" or "activation_id", "state": "cancelled" or
                                     "expired"}``; 409 if it is not waiting
``GET /_sandbox/messages``           the latest messages that applications sent to numbers (through
                                     ``/sandbox/sms`` or the Twilio API), undelivered ones as well,
                                     oldest first; ``?last=1000``
``GET /_sandbox/webhook``            ``{"webhook": ...}``: where webhooks are posted and how, null
                                     for nowhere; the URL without its path
``PUT /_sandbox/webhook``            replaces it: ``{"url": "http://127.0.0.1:8000/hook/SECRET",
                                     "secret": "whsec_...", "faults": ["loss@0.05"], "seed": 7,
                                     "attempts": 5, "backoff": 1.0, "timeout": 10.0,
                                     "shape": "flat"}``; without ``url`` URL and secret stay, and
                                     what else is left out is as by default
``DELETE /_sandbox/webhook``         posts no webhooks any more
``POST /_sandbox/webhook-faults``    adds faults of webhooks, ``{"faults": ["loss@0.05"]}``;
                                     counts and planned posts go on; 409 if no webhook is set
``DELETE /_sandbox/webhook-faults``  removes them all, or those in ``{"faults": [...]}``
``GET /_sandbox/webhooks``           the latest posts, oldest first; ``?last=1000``
``POST /_sandbox/reset``             all as after the start; ``{"seed": 7}`` for a new seed
``GET /_sandbox/charge-log``         every charge, refund and finish, oldest first
``GET /_sandbox/activations``        every activation; ``?open=1`` only those not ended
``GET /_sandbox/requests``           the latest requests, oldest first; ``?last=1000``
``GET /_sandbox/stats``              counts, balance, busiest window; ``?window=60`` seconds
``GET /_sandbox/events``             all of this live, as server-sent events: see
                                     `papsms_async.sandbox.feed`
==================================== ============================================================

An error answers ``{"error": "..."}`` with 400, 404, 405 or 409, and with 403 what a page of another
site makes a browser send (`papsms_async.sandbox.guard`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import islice
from urllib.parse import parse_qs

from . import answers, spoiling
from .activations import ActivationState, ChargeKind
from .engine import SandboxEngine
from .faults import FaultSet, parse_faults
from .fields import (
    ControlCall,
    ControlCalls,
    ControlError,
    flag_of,
    integer_of,
    json_object,
    last_of,
    notation_of,
    seconds_of,
    text_of,
)
from .limits import LimitSpec
from .mailbox_control import MailboxControl
from .messages import SandboxReply, SandboxRequest
from .number_control import NumberControl
from .routing import path_of
from .views import activation_row, request_row
from .webhook_control import WebhookControl

CONTROL_PATH = "/_sandbox/"

_JSON = {"Content-Type": "application/json"}


def control_of(target: str) -> str | None:
    """Return the name of the control that a request target means, ``None`` for no control."""
    path = path_of(target)
    return path.removeprefix(CONTROL_PATH).strip("/") if path.startswith(CONTROL_PATH) else None


class SandboxControl:
    """The control API of one engine; as pure as the engine itself.

    Args:
        engine: The engine that is controlled.
    """

    def __init__(self, engine: SandboxEngine) -> None:
        self._engine = engine
        self._endpoints: ControlCalls = {
            ("GET", "health"): self._health,
            ("GET", "faults"): self._get_faults,
            ("PUT", "faults"): self._put_faults,
            ("POST", "faults"): self._post_faults,
            ("DELETE", "faults"): self._delete_faults,
            ("GET", "limit"): self._get_limit,
            ("PUT", "limit"): self._put_limit,
            ("POST", "reset"): self._reset,
            **NumberControl(engine).endpoints,
            **MailboxControl(engine).endpoints,
            **WebhookControl(engine).endpoints,
            ("GET", "charge-log"): self._charge_log,
            ("GET", "activations"): self._activations,
            ("GET", "requests"): self._requests,
            ("GET", "stats"): self._stats,
        }

    def handle(self, request: SandboxRequest, now: float) -> SandboxReply:
        """Answer one control request at that time (POSIX seconds)."""
        self._engine.advance(now)
        query_text = request.path.partition("?")[2]
        query = {k: v[-1] for k, v in parse_qs(query_text, keep_blank_values=True).items()}
        name = control_of(request.path) or ""
        method = request.method.upper().replace("HEAD", "GET")
        try:
            body = answers.dump(self._find(method, name)(json_object(request), query))
            return spoiling.answer(200, body, _JSON, now)
        except ControlError as exc:
            status, message = exc.status, str(exc)
        except ValueError as exc:
            status, message = 400, str(exc)
        headers = _JSON | ({"Allow": ", ".join(self._verbs(name))} if status == 405 else {})
        return spoiling.answer(status, answers.dump({"error": message}), headers, now)

    def _verbs(self, name: str) -> list[str]:
        """Return the verbs that a control takes; where it takes GET it takes HEAD too."""
        verbs = [verb for verb, known in self._endpoints if known == name]
        return [*verbs, "HEAD"] if "GET" in verbs else verbs

    def _find(self, method: str, name: str) -> ControlCall:
        endpoint = self._endpoints.get((method, name))
        if endpoint is not None:
            return endpoint
        allowed = self._verbs(name)
        if allowed:
            raise ControlError(405, f"{name} takes {', '.join(allowed)}")
        known = sorted({known for _, known in self._endpoints})
        raise ControlError(404, f"no such control; there are {', '.join(known)}")

    def _health(self, body: Mapping[str, object], query: Mapping[str, str]) -> object:
        return {"ok": True, "requests": self._engine.counted_requests}

    def _get_faults(self, body: Mapping[str, object], query: Mapping[str, str]) -> object:
        return {"faults": [str(fault) for fault in self._engine.faults.faults]}

    def _put_faults(self, body: Mapping[str, object], query: Mapping[str, str]) -> object:
        faults = parse_faults(notation_of(body, "faults"))
        seed = integer_of(body, "seed")
        self._engine.set_faults(FaultSet(faults, seed=self._engine.seed if seed is None else seed))
        return self._get_faults(body, query)

    def _post_faults(self, body: Mapping[str, object], query: Mapping[str, str]) -> object:
        self._engine.add_faults(parse_faults(notation_of(body, "faults")))
        return self._get_faults(body, query)

    def _delete_faults(self, body: Mapping[str, object], query: Mapping[str, str]) -> object:
        if "faults" not in body:
            self._engine.set_faults(FaultSet())
            return self._get_faults(body, query)
        for fault in parse_faults(notation_of(body, "faults")):
            if not self._engine.remove_fault(fault):
                raise ControlError(404, f"not in force: {fault}")
        return self._get_faults(body, query)

    def _get_limit(self, body: Mapping[str, object], query: Mapping[str, str]) -> object:
        return {"limit": str(self._engine.limit)}

    def _put_limit(self, body: Mapping[str, object], query: Mapping[str, str]) -> object:
        self._engine.set_limit(LimitSpec.parse(text_of(body, "limit") or ""))
        return self._get_limit(body, query)

    def _reset(self, body: Mapping[str, object], query: Mapping[str, str]) -> object:
        self._engine.reset(seed=integer_of(body, "seed"))
        return {"ok": True, "seed": self._engine.seed}

    def _charge_log(self, body: Mapping[str, object], query: Mapping[str, str]) -> object:
        return {
            "charges": [
                {
                    "at": charge.at,
                    "kind": charge.kind,
                    "activation_id": charge.activation_id,
                    "amount": charge.amount,
                    "service": charge.service,
                    "country": charge.country,
                }
                for charge in self._engine.charge_log
            ]
        }

    def _activations(self, body: Mapping[str, object], query: Mapping[str, str]) -> object:
        only_open = flag_of(query, "open")
        found = self._engine.open_activations() if only_open else self._engine.activations.values()
        return {
            "activations": [activation_row(activation, self._engine.now) for activation in found]
        }

    def _requests(self, body: Mapping[str, object], query: Mapping[str, str]) -> object:
        log = self._engine.request_log
        last = last_of(query)
        return {
            "requests": [request_row(entry) for entry in islice(log, max(0, len(log) - last), None)]
        }

    def _stats(self, body: Mapping[str, object], query: Mapping[str, str]) -> object:
        engine = self._engine
        window = seconds_of(query, "window", default=60.0)
        states = Counter(a.state(engine.now) for a in engine.activations.values())
        kinds = Counter(charge.kind for charge in engine.charge_log)
        return {
            "seed": engine.seed,
            "balance": engine.balance,
            "limit": str(engine.limit),
            "requests": engine.counted_requests,
            "window": window,
            "busiest_window": engine.busiest_window(window),
            "activations": {state.value: states[state] for state in ActivationState},
            "charges": {kind.value: kinds[kind] for kind in ChargeKind},
            "finished_more_than_once": sum(n > 1 for n in engine.finish_counts().values()),
            "statuses": {
                str(status): n
                for status, n in sorted(Counter(e.status for e in engine.request_log).items())
            },
        }
