"""What ``papsms run`` writes: one JSON object a line, for each row and for each step."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from math import inf
from typing import Any

from papsms_async.cli.exec_flow import ExecReport
from papsms_async.cli.failures import sentence_of
from papsms_async.cli.jobs import Job, Problem
from papsms_async.decisions import Decision
from papsms_async.errors import PapSMSError
from papsms_async.events import EventKind, VerificationEvent
from papsms_async.models import Activation, Sms
from papsms_async.verification import VerificationRequest, VerificationResult


def dump(value: dict[str, Any]) -> str:
    """Return ``value`` as one line of JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "), allow_nan=False)


def result_record(result: VerificationResult) -> dict[str, Any]:
    """Return a result as it is written; see the ``--help`` of ``papsms run``."""
    activation, error = result.activation, result.error
    record: dict[str, Any] = {
        "line": _line(result.request),
        "reference": result.request.reference,
        "tenant": result.request.tenant,
        "service": result.request.service,
        "country": result.request.country if activation is None else activation.country,
        "outcome": result.outcome.value,
        "activation_id": None if activation is None else activation.activation_id,
        "phone_number": None if activation is None else activation.phone_number,
        "code": None if result.sms is None else result.sms.code,
        "full_text": None if result.sms is None else result.sms.full_text,
        "cost": amount(result.cost),
        "cost_uncertain": amount(result.cost_uncertain),
        "attempts": result.attempts,
        "error": None,
        "public_message": None,
        "started_at": instant(result.started_at),
        "purchased_at": instant(result.purchased_at),
        "sms_at": instant(result.sms_at),
        "ended_at": instant(result.ended_at),
        "seconds": round(result.duration, 3),
    }
    if error is not None:
        record["error"] = {"class": type(error).__name__, "message": sentence_of(error)}
        record["public_message"] = (
            error.public_message if isinstance(error, PapSMSError) else PapSMSError.public_message
        )
    if isinstance(result.value, ExecReport):
        record["exec_status"] = result.value.status
    return record


def problem_record(problem: Problem) -> dict[str, Any]:
    """Return a row that could not be used as a result; only ``--stream`` comes to that."""
    return {
        "line": problem.line,
        "outcome": "invalid",
        "cost": "0.00",
        "error": {"class": "Problem", "message": str(problem)},
        "public_message": PapSMSError.public_message,
    }


def event_record(event: VerificationEvent) -> dict[str, Any]:
    """Return a step as ``--events`` writes it; the result's holds the whole result."""
    record: dict[str, Any] = {"event": event.kind.value, "at": instant(event.at)}
    if event.kind is EventKind.RESULT and event.result is not None:
        return record | result_record(event.result)
    record |= {
        "line": _line(event.request),
        "reference": event.request.reference,
        "service": event.request.service,
        "country": event.request.country,
    }
    if event.activation is not None:
        record |= activation_fields(event.activation)
    if event.sms is not None and event.kind is EventKind.SMS_RECEIVED:
        record |= sms_fields(event.sms)
    if event.decision is not None:
        record["decision"] = decision_fields(event.decision)
    if event.detail is not None:
        record["detail"] = event.detail
    return record


def decision_fields(decision: Decision) -> dict[str, Any]:
    """Return why a permit went where it went; times in seconds."""
    law, next_one = decision.law, decision.runner_up
    return {
        "kind": decision.kind.value,
        "country": decision.country,
        "waited": _rounded(decision.waited),
        # To digits and not to places: with permits to spare it is far below a hundredth.
        "price": float(f"{decision.price:.3g}"),
        "price_reason": decision.price_reason,
        "index": _rounded(decision.index),
        # JSON has no infinity.
        "delay_cost": None if decision.delay_cost == inf else _rounded(decision.delay_cost),
        "age": _rounded(decision.age),
        "last_look": _rounded(decision.last_look),
        "due": _rounded(decision.due),
        "timeout": _rounded(decision.timeout),
        "law": None
        if law is None
        else {
            "median": _rounded(law.median),
            "never": _rounded(law.never),
            "evidence": _rounded(law.evidence),
            "source": None if law.source is None else list(law.source),
        },
        "purchases": decision.purchases,
        "polls": decision.polls,
        "finishes": decision.finishes,
        "runner_up": None
        if next_one is None
        else {"what": next_one.what, "waits": _rounded(next_one.waits)},
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def activation_fields(activation: Activation) -> dict[str, Any]:
    """Return what there is to say of a number."""
    return {
        "activation_id": activation.activation_id,
        "phone_number": activation.phone_number,
        "country": activation.country,
        "service": activation.service,
        "cost": amount(activation.cost),
        "expires_at": instant(activation.expires_at),
    }


def sms_fields(sms: Sms) -> dict[str, Any]:
    """Return what there is to say of an SMS."""
    return {
        "code": sms.code,
        "full_text": sms.full_text,
        "received_at": instant(sms.received_at),
    }


def amount(value: Decimal) -> str:
    """Return US dollars as text, with two digits or as many as there are."""
    exponent = value.as_tuple().exponent
    digits = max(2, -exponent) if isinstance(exponent, int) else 2
    return f"{value:.{digits}f}"


def instant(value: datetime | None) -> str | None:
    """Return an instant as text in UTC."""
    return None if value is None else value.isoformat().replace("+00:00", "Z")


def _line(request: VerificationRequest) -> int | None:
    return request.line if isinstance(request, Job) and request.line else None
