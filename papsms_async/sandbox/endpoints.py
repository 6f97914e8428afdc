"""The documented endpoints: what each does for a request that has passed the gates."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import unquote

import attrs

from . import answers, spoiling
from .account import Account
from .activations import ActivationState
from .answers import Refusal
from .catalogue import find_country, find_service
from .config import SandboxConfig
from .faults import FaultRoute
from .magic import MISSING, RefusalRule, find_magic
from .messages import SandboxReply, SandboxRequest
from .routing import path_of

BASE_PATH = "/api/v1/"
MAX_BODY = 64 * 1024
"""Bytes above which a request body is refused with 413."""

FINISH_WORDS = ("completed", "cancelled")

_JSON = {"Content-Type": "application/json"}


@attrs.frozen
class Endpoint:
    """Where a documented endpoint is.

    Attributes:
        method: The one verb that it takes; HEAD too where that is GET.
        path: Below `BASE_PATH`; its last part may be an activation id.
    """

    method: str
    path: str

    @property
    def allow(self) -> str:
        """The verbs that it takes, as in an ``Allow`` header."""
        return "GET, HEAD" if self.method == "GET" else self.method


_ID = "{activation_id}"

ENDPOINTS: dict[FaultRoute, Endpoint] = {
    FaultRoute.PURCHASE: Endpoint("POST", "numbers/purchase"),
    FaultRoute.STATUS: Endpoint("GET", f"numbers/status/{_ID}"),
    FaultRoute.FINISH: Endpoint("POST", f"numbers/finish/{_ID}"),
    FaultRoute.COUNTRIES: Endpoint("GET", "countries"),
}

_ROUTES = {
    tuple((BASE_PATH + endpoint.path).strip("/").split("/")): route
    for route, endpoint in ENDPOINTS.items()
}


@attrs.frozen
class Call:
    """A request on its way through the service.

    Attributes:
        request: The request.
        method: Upper-case verb; GET for a HEAD.
        route: Its route, ``None`` for a path that is none of the service's.
        argument: The activation id in the path, or nothing.
        now: Arrival in POSIX seconds.
    """

    request: SandboxRequest
    method: str
    route: FaultRoute | None
    argument: str
    now: float


class Endpoints:
    """The endpoints of one account.

    Args:
        account: Where money and activations are kept.
        config: Shapes of answers.
    """

    def __init__(self, account: Account, config: SandboxConfig) -> None:
        self._account = account
        self._config = config
        self._executors: dict[FaultRoute, Callable[[Call], SandboxReply]] = {
            FaultRoute.PURCHASE: self._purchase,
            FaultRoute.STATUS: self._status,
            FaultRoute.FINISH: self._finish,
            FaultRoute.COUNTRIES: self._countries,
        }

    def execute(self, call: Call) -> SandboxReply:
        """Carry a request out.

        Raises:
            Refusal: The service says no.
        """
        endpoint = None if call.route is None else ENDPOINTS.get(call.route)
        if call.route is None or endpoint is None:
            raise Refusal(404, "NOT_FOUND", "No such endpoint")
        if call.method != endpoint.method:
            headers = {"Allow": endpoint.allow}
            raise Refusal(405, "METHOD_NOT_ALLOWED", "Method not allowed", headers=headers)
        return self._executors[call.route](call)

    def _purchase(self, call: Call) -> SandboxReply:
        body = _json_object(call.request)
        for key, code in (("country", "BAD_COUNTRY"), ("service", "BAD_SERVICE")):
            if not isinstance(body.get(key), str) or not body[key]:
                raise Refusal(400, code, f"{key} is missing or not a string")
        country, service = find_country(body["country"]), find_service(body["service"])
        if country is None:
            raise Refusal(422, "BAD_COUNTRY", "Unknown country")
        magic = None if service is None else find_magic(service)
        if service is None or magic is None:
            raise Refusal(422, "BAD_SERVICE", "Unknown service")
        rule = magic.refusal
        if rule is not None and rule.country in {None, country.code}:
            raise rule.refusal(_rule_headers(rule, call.now))
        effect = magic.purchase
        if effect is not None and not effect.executed:
            return spoiling.instead(effect, call.now)
        activation = self._account.purchase(service, country, magic, call.now)
        self._account.settle(call.now)  # magic: it may have expired at once
        data = answers.purchased(
            activation_id=activation.activation_id,
            phone_number=activation.phone_number,
            country=activation.country,
            service=activation.service,
            expires_at=activation.expires_at,
            cost=activation.cost,
        )
        for key, change in magic.changes.items():
            if change is MISSING:
                del data[key]
            else:
                data[key] = change(data[key]) if callable(change) else change
        reply = spoiling.answer(200, answers.success(data), _JSON, call.now)
        return reply if effect is None else spoiling.spoil(reply, effect, call.now)

    def _status(self, call: Call) -> SandboxReply:
        activation = self._account.find(call.argument)
        self._account.count_status(activation, call.now)
        magic = activation.magic
        if magic.first_status is not None and activation.status_calls == 1:
            return spoiling.instead(magic.first_status, call.now)
        if magic.gives_up:
            self._account.give_up(activation, call.now)
        state = activation.state(call.now)
        word = state.value
        if state is ActivationState.WAITING:
            word = magic.waiting_word or word
        elif state is ActivationState.COMPLETED:
            word = magic.completed_word or word
        seen_until = call.now if activation.ended_at is None else activation.ended_at
        received = activation.sms_at if activation.has_sms(seen_until) else None
        body = answers.status(
            word,
            code=activation.sms_code,
            full_text=activation.sms_text,
            received_at=received,
        )
        return spoiling.answer(200, body, _JSON, call.now)

    def _finish(self, call: Call) -> SandboxReply:
        activation = self._account.find(call.argument)
        wanted = _json_object(call.request).get("status")
        if not isinstance(wanted, str) or wanted not in FINISH_WORDS:
            raise Refusal(400, "BAD_STATUS", "status is 'completed' or 'cancelled'")
        activation.finish_calls += 1
        effect = activation.magic.first_finish if activation.finish_calls == 1 else None
        if effect is not None and not effect.executed:
            return spoiling.instead(effect, call.now)
        if wanted == "completed":
            self._account.complete(activation, call.now)
        else:
            self._account.cancel(activation, call.now)
        body = answers.finished(activation.activation_id, wanted)
        reply = spoiling.answer(200, body, _JSON, call.now)
        return reply if effect is None else spoiling.spoil(reply, effect, call.now)

    def _countries(self, call: Call) -> SandboxReply:
        body = answers.countries(self._config.countries_shape)
        return spoiling.answer(200, body, _JSON, call.now)


def find_route(path: str) -> tuple[FaultRoute | None, str]:
    """Return the route of a path and the id in it; forgiving about slashes, query and origin."""
    parts = tuple(unquote(part) for part in path_of(path).split("/") if part)
    for pattern in (parts, (*parts[:-1], _ID)):
        route = _ROUTES.get(pattern)
        if route is not None:
            return route, parts[-1] if pattern[-1] == _ID else ""
    return None, ""


def _json_object(request: SandboxRequest) -> dict[str, object]:
    if len(request.body) > MAX_BODY:
        raise Refusal(413, "PAYLOAD_TOO_LARGE", "Request body is too large")
    try:
        value = json.loads(request.body)
    except (ValueError, RecursionError):
        raise Refusal(400, "BAD_REQUEST", "Request body is not JSON") from None
    if not isinstance(value, dict):
        raise Refusal(400, "BAD_REQUEST", "Request body is not a JSON object")
    return value


def _rule_headers(rule: RefusalRule, now: float) -> dict[str, str]:
    if rule.retry_after is None:
        return {}
    return spoiling.retry_after(rule.retry_after, now, as_date=rule.as_date)
