"""What descriptions of endpoints are made of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .. import answers
from ..answers import ErrorShape
from .schemas import Json, ref

JSON_TYPE = "application/json"

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
    return {**found, **more, "responses": {str(key): value for key, value in responses.items()}}


def answered(description: str, schema: str, examples: Mapping[str, object], **more: Any) -> Json:
    """Describe a JSON answer with examples, by what each of them shows."""
    return {
        "description": description,
        "content": {JSON_TYPE: {"schema": ref(schema), "examples": named(examples)}},
        **more,
    }


def taken(schema: str, examples: Mapping[str, object], *, required: bool = True) -> Json:
    """Describe a JSON body that an endpoint takes."""
    return {
        "required": required,
        "content": {JSON_TYPE: {"schema": ref(schema), "examples": named(examples)}},
    }


def refused(
    shape: ErrorShape, description: str, codes: Iterable[tuple[str, str]], **more: Any
) -> Json:
    """Describe a refusal of the service by its codes and what each says."""
    examples = {code: json.loads(answers.refused(shape, code, said)) for code, said in codes}
    return answered(description, "Error", examples, **more)


def query(name: str, schema: Json, description: str) -> Json:
    """Describe a parameter that may stand in the query."""
    return {"name": name, "in": "query", "schema": schema, "description": description}


def named(examples: Mapping[str, object]) -> Json:
    """Return examples as OpenAPI has them."""
    return {name: {"value": value} for name, value in examples.items()}
