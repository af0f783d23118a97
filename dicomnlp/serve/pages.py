"""What a browser shows: an index and the description of this interface, made from the OpenAPI document itself.

No script and nothing from another host: hospitals' networks don't reach the internet, and the content policy forbids
both. Everything is escaped, though all of it is this program's own text.
"""

import json
from collections.abc import Iterable
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse

from dicomnlp import __version__
from dicomnlp.serve.problems import KINDS

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="stylesheet" href="/style.css"></head>
<body><main>
{body}
</main></body>
</html>
"""


def register(app: FastAPI) -> None:
    """Add the routes of this module to `app`; they are not in the OpenAPI document, which they show."""

    @app.get("/", include_in_schema=False)
    def index() -> HTMLResponse:
        """What this service answers."""
        return HTMLResponse(_page("dicomnlp", _index(app.openapi())))

    @app.get("/docs", include_in_schema=False)
    def documentation() -> HTMLResponse:
        """The interface in full."""
        return HTMLResponse(_documentation(app))

    @app.get("/openapi.json", include_in_schema=False)
    def openapi() -> Response:
        """The OpenAPI 3.1 document."""
        return Response(json.dumps(app.openapi(), ensure_ascii=False), media_type="application/json")

    @app.get("/style.css", include_in_schema=False)
    def style() -> Response:
        """The style sheet of the pages."""
        return Response(_style(), media_type="text/css", headers={"Cache-Control": "public, max-age=3600"})


@cache
def _style() -> str:
    return files("dicomnlp.serve").joinpath("style.css").read_text(encoding="utf-8")


def _page(title: str, parts: Iterable[str]) -> str:
    return _PAGE.format(title=escape(title), body="\n".join(parts))


def _operations(document: dict[str, Any]) -> Iterable[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _index(document: dict[str, Any]) -> Iterable[str]:
    yield "<h1>dicomnlp</h1>"
    yield f"<p>{escape(document['info']['description'])}</p>"
    yield f"<p>Version {escape(__version__)}. This service answers:</p><ul>"
    for method, path, operation in _operations(document):
        name = f"<code>{method} {escape(path)}</code>"
        shown = name if "{" in path or method != "GET" else f'<a href="{escape(path)}">{name}</a>'
        yield f"<li>{shown} {escape(operation['summary'])}</li>"
    yield '<li><a href="/docs"><code>GET /docs</code></a> All of it with parameters and examples</li>'
    yield '<li><a href="/openapi.json"><code>GET /openapi.json</code></a> The same for programs (OpenAPI)</li></ul>'


@cache
def _documentation(app: FastAPI) -> str:
    return _page("dicomnlp: HTTP interface", _description(app.openapi()))


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
            yield f"<p>Example (<code>{escape(media_type)}</code>):</p><pre>{escape(_pretty(content['example']))}</pre>"
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
