"""What descriptions of endpoints are made of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .. import answers
from ..answers import ErrorShape
from ..fields import MOST
from .schemas import Json, ref

JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"
CONTROL_TAG = "Control"

_CONTROL_MEANINGS = {
    400: "The body or the query is not of its form.",
    403: "A page of another site asks, or the sandbox is not known under that address.",
    404: "There is no such thing.",
    409: "It is there and does not stand like that.",
}

_ALWAYS = {
    400: "the body is not JSON",
    403: "pages of other sites may not use the sandbox",
}

Responses = dict[int | str, Json]
"""Answers by status, or by a range such as ``"5XX"``."""


def described(
    operation_id: str,
    tag: str,
    summary: str,
    description: str = "",
    *,
    responses: Responses,
    **more: Any,
) -> Json:
    """Describe one endpoint.

    Args:
        operation_id: What generated clients call it.
        tag: The group that it belongs to.
        summary: What it does, in a line.
        description: The rest, as Markdown: paragraphs, lists, code.
        responses: The answers.
        more: Other fields of an OpenAPI operation.
    """
    found: Json = {"operationId": operation_id, "tags": [tag], "summary": summary}
    if description:
        found["description"] = description
    return {**found, **more, "responses": dict(sorted((str(k), v) for k, v in responses.items()))}


def answered(description: str, schema: str, examples: Mapping[str, object], **more: Any) -> Json:
    """Describe a JSON answer with examples, by what each of them shows."""
    return {
        "description": description,
        "content": {JSON_TYPE: {"schema": ref(schema), "examples": named(examples)}},
        **more,
    }


def taken(
    schema: str,
    examples: Mapping[str, object],
    *,
    required: bool = True,
    media_types: tuple[str, ...] = (JSON_TYPE,),
) -> Json:
    """Describe a body that an endpoint takes, as JSON or as it says."""
    content = {"schema": ref(schema), "examples": named(examples)}
    return {"required": required, "content": dict.fromkeys(media_types, content)}


def refused(
    shape: ErrorShape, description: str, codes: Iterable[tuple[str, str]], **more: Any
) -> Json:
    """Describe a refusal of the service by its codes and what each says."""
    examples = {code: json.loads(answers.refused(shape, code, said)) for code, said in codes}
    return answered(description, "Error", examples, **more)


def query(name: str, schema: Json, description: str) -> Json:
    """Describe a parameter that may stand in the query."""
    return {"name": name, "in": "query", "schema": schema, "description": description}


LAST = query(
    "last",
    {"type": "integer", "minimum": 0, "maximum": MOST, "default": 1000},
    "How many at most, the latest ones.",
)


def named(examples: Mapping[str, object]) -> Json:
    """Return examples as OpenAPI has them."""
    return {name: {"value": value} for name, value in examples.items()}


def _control_refused(status: int, said: str) -> Json:
    example = {"example": {"error": said}}
    return answered(_CONTROL_MEANINGS[status], "ControlError", example)


GUARDED: Responses = {403: _control_refused(403, _ALWAYS[403])}
"""What browsers are refused with on behalf of another site's page."""


def control(
    operation_id: str,
    summary: str,
    description: str,
    answer: tuple[str, object],
    *,
    fails: dict[int, str] | None = None,
    **more: Any,
) -> Json:
    """Describe one endpoint of the control API.

    Args:
        operation_id: What generated clients call it.
        summary: What it does, in a line.
        description: The rest.
        answer: The shape of the answer and an example.
        fails: Sentences with which it may be refused, by status.
        more: Other fields of an OpenAPI operation.
    """
    schema, example = answer
    responses: Responses = {200: answered("Done.", schema, {"example": example})}
    for status, said in sorted((_ALWAYS | (fails or {})).items()):
        responses[status] = _control_refused(status, said)
    return described(
        operation_id, CONTROL_TAG, summary, description, security=[], responses=responses, **more
    )
