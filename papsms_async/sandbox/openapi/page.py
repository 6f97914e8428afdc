"""The document as one readable page: static HTML, no script, nothing from anywhere else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

from .. import answers
from .markup import inline, markdown, safe, table
from .parts import JSON_TYPE
from .schemas import Json
from .style import PAGE, STYLE

_COMMON = re.compile(r"^/(api/v1/|_sandbox/|2010-04-01/Accounts/\{\w+\}/)")
_METHODS = ("get", "put", "post", "delete")

POLICY = (
    "default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of the page: its own style sheet and nothing else."""


def page(document: Json, *, origin: str) -> str:
    """Return the page.

    Args:
        document: An OpenAPI 3.1 document, as `openapi_document` makes it.
        origin: Where the sandbox is, for commands to copy: ``"http://127.0.0.1:8085"``.
    """
    info = document["info"]
    by_tag = {tag["name"]: _operations(document, tag["name"]) for tag in document["tags"]}
    body = [
        f"<header><h1>{safe(info['title'])} <small>{safe(info['version'])}</small></h1>",
        f'<p class="quiet">{inline(info["summary"])} <a href="/">To the inbox</a></p></header>',
        f'<div class="frame">{_contents(document, by_tag)}<main>',
        f"<section>{markdown(info['description'])}"
        '<p>The same for programs: <a href="/_sandbox/openapi.json">openapi.json</a> '
        f"(OpenAPI {safe(document['openapi'])}).</p></section>",
    ]
    for tag in document["tags"]:
        body.append(f'<section id="{_anchor(tag["name"])}"><h2>{safe(tag["name"])}</h2>')
        body.append(markdown(tag["description"]))
        for place, method, operation in by_tag[tag["name"]]:
            body.append(_operation(document, place, method, operation, origin))
        body.append("</section>")
    body.append('<section id="shapes"><h2>Shapes</h2>')
    for name, schema in document["components"]["schemas"].items():
        body.append(f'<article id="shape-{safe(name)}"><h3>{safe(name)}</h3>{_shape(schema)}')
        body.append("</article>")
    body.append("</section></main></div>")
    return PAGE.format(title=safe(info["title"]), style=STYLE, body="\n".join(body))


_Found = tuple[str, str, Json]


def _operations(document: Json, tag: str) -> list[_Found]:
    """Return path (or name of the webhook), method and operation of those of a tag."""
    places = [*document["paths"].items(), *document["webhooks"].items()]
    return [
        (place, method, item[method])
        for place, item in places
        for method in _METHODS
        if method in item and tag in item[method]["tags"]
    ]


def _contents(document: Json, by_tag: dict[str, list[_Found]]) -> str:
    items = []
    for tag, found in by_tag.items():
        links = "".join(
            f'<li><a href="#{safe(one["operationId"])}"><b class="{safe(method)}">'
            f"{safe(method.upper())}</b> {safe(_shown(place))}</a></li>"
            for place, method, one in found
        )
        inner = f"<ul>{links}</ul>" if links else ""
        items.append(f'<li><a href="#{_anchor(tag)}">{safe(tag)}</a>{inner}</li>')
    items.append('<li><a href="#shapes">Shapes</a></li>')
    return f'<nav aria-label="Contents"><ul>{"".join(items)}</ul></nav>'


def _operation(document: Json, place: str, method: str, operation: Json, origin: str) -> str:
    is_path = place.startswith("/")
    parts = [
        f'<article id="{safe(operation["operationId"])}"><h3><b class="{safe(method)}">'
        f"{safe(method.upper())}</b> <code>{safe(place) if is_path else 'your URL'}</code></h3>",
        f"<p><strong>{inline(operation['summary'])}</strong></p>",
    ]
    if "description" in operation:
        parts.append(markdown(operation["description"]))
    if operation.get("parameters"):
        rows = [
            [
                f"<code>{safe(one['name'])}</code>",
                safe(one["in"]),
                _type(one["schema"]),
                inline(one.get("description", "")),
            ]
            for one in operation["parameters"]
        ]
        parts.append("<h4>Parameters</h4>" + table(("Name", "In", "Type", "What it is"), rows))
    if "requestBody" in operation:
        parts.append("<h4>Body</h4>" + _content(operation["requestBody"]))
    if is_path:
        command = _command(document, place, method, operation, origin)
        parts.append(f"<pre><code>{safe(command)}</code></pre>")
    parts.append("<h4>Answers</h4>")
    for status, response in operation["responses"].items():
        parts.append(_answer(status, _resolved(document, response)))
    return "\n".join([*parts, "</article>"])


def _answer(status: str, response: Json) -> str:
    headers = "".join(
        f'<p class="quiet"><code>{safe(name)}</code>: {inline(header.get("description", ""))}</p>'
        for name, header in response.get("headers", {}).items()
    )
    good = status.startswith("2")
    kind = "good" if good else "bad"
    return (
        f'<div class="answer"><p><b class="{kind}">{safe(status)}</b> '
        f"{inline(response['description'])}</p>{headers}{_content(response, unfolded=good)}</div>"
    )


def _content(holder: Json, *, unfolded: bool = False) -> str:
    parts = []
    note = "" if holder.get("required", True) else ", may be left out"
    for media_type, content in holder.get("content", {}).items():
        parts.append(f'<p class="quiet">{safe(media_type)}: {_type(content["schema"])}{note}</p>')
        examples = content.get("examples", {})
        if examples:
            bodies = [safe(_pretty(example["value"])) for example in examples.values()]
            shown = "".join(f"<pre><code>{body}</code></pre>" for body in bodies)
            head = f"<details{' open' if unfolded else ''}><summary>{safe(', '.join(examples))}"
            parts.append(f"{head}</summary>{shown}</details>")
    return "".join(parts)


def _shape(schema: Json) -> str:
    head = f"<p>{inline(schema['description'])}</p>" if "description" in schema else ""
    if "properties" not in schema:
        return f"{head}<p>{_type(schema)}</p>"
    required = schema.get("required", ())
    rows = [
        [
            f"<code>{safe(name)}</code>" + ("" if name in required else " <small>optional</small>"),
            _type(one),
            _told(one),
        ]
        for name, one in schema["properties"].items()
    ]
    return head + table(("Name", "Type", "What it is"), rows)


def _told(schema: Json) -> str:
    told = [inline(schema["description"])] if "description" in schema else []
    if "enum" in schema:
        told.append(", ".join(f"<code>{safe(word)}</code>" for word in schema["enum"]) + ".")
    if "examples" in schema:
        example = answers.dump(schema["examples"][0]).decode().strip('"')
        told.append(f"For example <code>{safe(example)}</code>.")
    return " ".join(told)


def _type(schema: Json) -> str:
    """Say in a few words what a value is; a named shape is a link."""
    if "$ref" in schema:
        name = safe(schema["$ref"].rpartition("/")[2])
        return f'<a href="#shape-{name}">{name}</a>'
    if "const" in schema:
        return f"<code>{safe(json.dumps(schema['const']))}</code>"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    types = schema.get("type", "anything")
    if isinstance(types, list):
        return " or ".join(map(safe, types))
    if types == "array":
        return f"list of {_type(schema['items'])}"
    if types == "object" and "properties" in schema:
        inner = ", ".join(
            f"<code>{safe(name)}</code>: {_type(one)}" for name, one in schema["properties"].items()
        )
        return f"object ({inner})"
    if types == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return safe(types)


def _command(document: Json, path: str, method: str, operation: Json, origin: str) -> str:
    """Return a command line that asks for this."""
    words = ["curl", *(["-X", method.upper()] if method != "get" else [])]
    security = operation["security"] if "security" in operation else document["security"]
    if {"apiKey": []} in security:
        words += ["-H", "Authorization: Bearer sandbox"]
    elif security:
        words += ["-u", "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:token"]
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        example = next(iter(content["examples"].values()))["value"]
        if media_type == JSON_TYPE:
            words += ["--json", answers.dump(example).decode()]
            break
        for name, value in example.items():
            words += ["--data-urlencode", f"{name}={value}"]
    for one in operation.get("parameters", ()):
        if one["in"] == "path":
            path = path.replace("{" + one["name"] + "}", one["example"])
    return shlex.join([*words, origin + path])


def _resolved(document: Json, response: Json) -> Json:
    if "$ref" not in response:
        return response
    found: Any = document
    for part in _pointer(response["$ref"]):
        found = found[part]
    return dict(found)


def _pointer(reference: str) -> Iterator[str]:
    yield from reference.removeprefix("#/").split("/")


def _pretty(value: object) -> str:
    """Write JSON over several lines, numbers with the digits that they have."""
    if isinstance(value, dict) and value:
        inner = [f"{json.dumps(key)}: {_pretty(item)}" for key, item in value.items()]
        return "{\n" + _indented(",\n".join(inner)) + "\n}"
    if isinstance(value, list) and value:
        return "[\n" + _indented(",\n".join(map(_pretty, value))) + "\n]"
    return answers.dump(value).decode()


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _anchor(name: str) -> str:
    return safe(name.lower().replace(" ", "-"))


def _shown(place: str) -> str:
    """Return a path without what the paths of its kind have in common."""
    return _COMMON.sub("", place)
