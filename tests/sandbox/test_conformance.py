"""The sandbox against its own document, asked by programs that nobody here wrote.

Schemathesis sends what the document admits and what it does not, along the links from purchase to
status and finish, and checks each answer against it. What is checked is stricter than the document
in two ways: answers have no field and no status that it does not name. A campaign by hand::

    export PAPSMS_CONFORMANCE_EXAMPLES=2000 PAPSMS_CONFORMANCE_SEED=7
    pytest tests/sandbox/test_conformance.py
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from papsms_async.sandbox import (
    ChargeKind,
    FaultKind,
    SandboxConfig,
    SandboxEngine,
    WebhookConfig,
    answers,
)
from papsms_async.sandbox.catalogue import COUNTRIES
from papsms_async.sandbox.mailbox import Via
from papsms_async.sandbox.openapi.document import openapi_document
from papsms_async.sandbox.server import SandboxServer

Json = dict[str, Any]

EXAMPLES = os.environ.get("PAPSMS_CONFORMANCE_EXAMPLES")
SEED = os.environ.get("PAPSMS_CONFORMANCE_SEED", "1")

SWITCHES = "^/_sandbox/(faults|limit|reset|webhook)$"
"""Endpoints that change how the service answers: they are asked apart from it."""

CONFIG = """
seed = {seed}
[generation]
deterministic = {deterministic}
max-examples = {examples}
database = "none"
[auth.openapi.apiKey]
bearer = "sandbox"
[auth.openapi.twilio]
username = "SK0123456789abcdef0123456789abcdef"
password = "token"
"""


@pytest.fixture
def needs() -> None:
    """The test needs Schemathesis; with ``PAPSMS_REQUIRE_SCHEMATHESIS`` it must be there."""
    missing = find_spec("schemathesis") is None or find_spec("openapi_spec_validator") is None
    if missing and os.environ.get("PAPSMS_REQUIRE_SCHEMATHESIS") != "1":
        pytest.skip("needs pip install 'papsms-async[conformance]'")


def document() -> Json:
    """Return the document as programs get it."""
    read: Json = json.loads(answers.dump(openapi_document()))
    return read


def strict() -> Json:
    """Return the document without what only faults bring, its answers closed, its requests apt.

    Requests that are of their form can still ask for what there is not (a country that is not on
    offer is a 422, as the service's own codes have it); those are narrowed to what there is.
    """
    found = document()
    shapes = found["components"]["schemas"]
    taken: set[str] = set()
    for item in found["paths"].values():
        for operation in item.values():
            for status in [s for s in operation["responses"] if s.endswith("XX")]:
                del operation["responses"][status]
            taken |= set(re.findall(r"schemas/(\w+)", json.dumps(operation.get("requestBody"))))
    for name in set(shapes) - taken:
        close(shapes[name])
    shapes["Purchase"]["properties"]["country"] = {"enum": [*COUNTRIES, "zz", "xx"]}
    some = [f"purchase:{kind}" for kind in FaultKind] + ["any:slow=1@0.5", "status:hang#2-3"]
    for name in ("NewFaults", "MoreFaults", "GoneFaults"):
        shapes[name]["properties"]["faults"] = fault_notation(some)
    some = ["loss", "late=0-30", "duplicate=2#3", "forged_code@0.5"]
    for name in ("NewWebhook", "MoreWebhookFaults", "GoneWebhookFaults"):
        shapes[name]["properties"]["faults"] = fault_notation(some)
    shapes["NewWebhook"]["properties"]["url"] = {"enum": ["http://127.0.0.1:9/x", "http://[::1]/"]}
    message = shapes["TwilioNewMessage"]
    del message["properties"]["MessagingServiceSid"]  # without it somebody must be the sender
    message["properties"]["From"]["pattern"] = "^[A-Z][A-Za-z0-9]{0,10}$"
    message["required"].append("From")
    return found


def fault_notation(some: list[str]) -> Json:
    """Return a shape that admits these faults."""
    return {"anyOf": [{"enum": [*some, ""]}, {"type": "array", "items": {"enum": some}}]}


def close(shape: Any) -> None:
    """Let the objects of a shape have no other properties than those it names."""
    if isinstance(shape, dict):
        if "properties" in shape:
            shape.setdefault("additionalProperties", False)
        for part in shape.values():
            close(part)
    elif isinstance(shape, list):
        for part in shape:
            close(part)


async def campaign(path: Path, *options: str, examples: int) -> tuple[SandboxEngine, str]:
    """Let Schemathesis ask a sandbox whose clock moves a little with each look.

    Returns:
        The sandbox's engine, and what Schemathesis said.
    """
    (path / "openapi.json").write_text(json.dumps(strict()))
    config = CONFIG.format(
        seed=SEED,
        deterministic="false" if EXAMPLES else "true",
        examples=EXAMPLES or examples,
    )
    (path / "schemathesis.toml").write_text(config)
    ticks = itertools.count()
    engine = SandboxEngine(
        SandboxConfig(
            limit="none",
            balance=10**9,
            sms_delay="uniform:0-3",
            webhook=WebhookConfig(url="http://127.0.0.1:9/x", attempts=1),
        ),
        seed=1,
    )
    command = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    assert command is not None
    async with SandboxServer(engine, clock=lambda: 1_776_607_200.0 + next(ticks) / 16) as server:
        process = await asyncio.create_subprocess_exec(
            command,
            "run",
            "openapi.json",
            "--url",
            server.url,
            "--checks",
            "all",
            "--warnings",
            "off",
            "--no-color",
            "--exclude-operation-id",
            "getEvents",  # a stream without end; test_live.py reads it
            *options,
            cwd=path,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    said = output.decode()
    assert process.returncode == 0, said
    return engine, said


def generated(said: str) -> int:
    """Return how many requests Schemathesis made up."""
    found = re.search(r"(\d+) generated", said)
    assert found is not None, said
    return int(found[1])


@pytest.mark.usefixtures("needs")
def test_the_document_is_valid() -> None:
    """The document is OpenAPI 3.1, as a validator that is not ours sees it."""
    from openapi_spec_validator import OpenAPIV31SpecValidator, validate

    validate(document(), cls=OpenAPIV31SpecValidator)
    validate(strict(), cls=OpenAPIV31SpecValidator)


@pytest.mark.usefixtures("needs")
def test_every_example_is_of_its_shape() -> None:
    """Each example in the document is what the shape beside it describes, and no more."""
    from jsonschema import Draft202012Validator

    found = strict()
    shapes = document()["components"]["schemas"]
    closed = found["components"]["schemas"]
    places = [*found["paths"].values(), *found["webhooks"].values()]
    checked = 0
    for operation in (one for item in places for one in item.values()):
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        for body in [*bodies, *operation["responses"].values()]:
            for content in body.get("content", {}).values():
                use = shapes if body in bodies else closed
                schema = {**content["schema"], "components": {"schemas": use}}
                for example in content.get("examples", {}).values():
                    Draft202012Validator(schema).validate(example["value"])
                    checked += 1
    assert checked > 60
    for shape in shapes.values():
        for name, part in shape.get("properties", {}).items():
            for example in part.get("examples", ()):
                schema = {**part, "components": {"schemas": shapes}}
                Draft202012Validator(schema).validate(example), name


@pytest.mark.usefixtures("needs")
async def test_the_service_is_as_described(tmp_path: Path) -> None:
    """Purchase, status, finish and countries, and what only looks at them, keep to the document."""
    engine, said = await campaign(tmp_path, "--exclude-path-regex", SWITCHES, examples=8)
    assert generated(said) > 300
    assert {message.via for message in engine.mailbox} == set(Via)
    kinds = {charge.kind for charge in engine.charge_log}
    assert kinds >= {ChargeKind.PURCHASE, ChargeKind.COMPLETE, ChargeKind.CANCEL}
    seen = {(entry.route, entry.status) for entry in engine.request_log}
    assert seen >= {
        ("purchase", 200),
        ("purchase", 400),
        ("purchase", 401),
        ("purchase", 405),
        ("purchase", 422),
        ("status", 200),
        ("status", 404),
        ("finish", 200),
        ("finish", 400),
        ("finish", 409),
        ("countries", 200),
    }


@pytest.mark.usefixtures("needs")
async def test_the_control_api_is_as_described(tmp_path: Path) -> None:
    """Every control, faults and resets included, keeps to the document."""
    _, said = await campaign(
        tmp_path,
        "--include-path-regex",
        "^/_sandbox/",
        "--phases",
        "examples,coverage,fuzzing",  # no links among controls
        examples=8,
    )
    assert generated(said) > 200
