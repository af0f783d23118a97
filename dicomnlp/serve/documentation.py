"""The description of this interface for people, made from the OpenAPI document itself, and that document for programs.

Nothing comes from another host: hospitals' networks don't reach the internet, and the content policy forbids it.
Everything is escaped, though all of it is this program's own text.
"""

import json
from collections.abc import Iterable
from functools import cache
from html import escape
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from markupsafe import Markup

from dicomnlp.serve.access import Role, require
from dicomnlp.serve.problems import KINDS
from dicomnlp.serve.rendering import render


def register(app: FastAPI) -> None:
    """Add the routes of this module to `app`; they are not in the OpenAPI document, which they show."""
    # whoever may ask anything may know what can be asked
    anybody = [Depends(require(Role.READER, Role.RESEARCHER, is_audited=False))]

    @app.get("/docs", include_in_schema=False, dependencies=anybody)
    def documentation(request: Request) -> Response:
        """The interface in full."""
        return render(request, "documentation.html", description=_documentation(app))

    @app.get("/openapi.json", include_in_schema=False, dependencies=anybody)
    def openapi() -> Response:
        """The OpenAPI 3.1 document."""
        return Response(json.dumps(app.openapi(), ensure_ascii=False), media_type="application/json")


def _operations(document: dict[str, Any]) -> Iterable[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


@cache
def _documentation(app: FastAPI) -> Markup:
    return Markup("\n".join(_description(app.openapi())))  # noqa: S704  `_description` escapes what it is made of


def _description(document: dict[str, Any]) -> Iterable[str]:
    yield "<h1>HTTP interface</h1>"
    yield f"<p>{escape(document['info']['description'])}</p>"
    yield '<p>For programs: <a href="/openapi.json">openapi.json</a>.</p>'
    for method, path, operation in _operations(document):
        yield f"<section><h2><code>{method} {escape(path)}</code></h2>"
        yield f"<p><strong>{escape(operation['summary'])}.</strong> {escape(operation.get('description', ''))}</p>"
        yield from _parameters(operation.get("parameters", []))
        yield "<table><caption>Answers</caption><tr><th>Status</th><th>Meaning</th></tr>"
        for status, response in sorted(operation["responses"].items()):
            yield f"<tr><td>{escape(str(status))}</td><td>{_meaning(response)}</td></tr>"
        yield "</table>"
        done = next(response for status, response in operation["responses"].items() if str(status).startswith("2"))
        for media_type, content in done.get("content", {}).items():
            shown = escape(_pretty(content["example"]))
            # what scrolls must be reachable by the keyboard
            yield f'<p>Example (<code>{escape(media_type)}</code>):</p><pre tabindex="0">{shown}</pre>'
        yield "</section>"
    yield "<section><h2>Problems</h2><table><tr><th>reason_code</th><th>Status</th><th>Title</th><th>Advice</th></tr>"
    for reason_code, kind in KINDS.items():
        yield (
            f'<tr id="{escape(reason_code)}"><td><code>{escape(reason_code)}</code></td><td>{kind.status.value}</td>'
            f"<td>{escape(kind.title)}</td><td>{escape(kind.advice)}</td></tr>"
        )
    yield "</table></section>"


def _parameters(parameters: list[dict[str, Any]]) -> Iterable[str]:
    if not parameters:
        return
    yield "<table><caption>Parameters</caption><tr><th>Name</th><th>In</th><th>Meaning</th><th>Example</th></tr>"
    for parameter in parameters:
        example = next(iter(parameter["schema"].get("examples", [])), "")
        yield (
            f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{escape(parameter['in'])}</td>"
            f"<td>{escape(parameter.get('description', ''))}</td><td><code>{escape(str(example))}</code></td></tr>"
        )
    yield "</table>"


def _meaning(response: dict[str, Any]) -> str:
    reasons = [
        f'<a href="#{escape(reason_code)}"><code>{escape(reason_code)}</code></a>'
        for content in response.get("content", {}).values()
        for reason_code in content.get("examples", {})
    ]
    return ", ".join(reasons) or escape(response["description"])


def _pretty(example: Any) -> str:
    return example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False)
