"""Pages: templates filled in, in the reader's language and theme.

Everything is escaped by the template engine; a value that a template lacks is an error, not an empty place. There is no
script and no style within a page, because the content policy (`gate.SECURITY_HEADERS`) forbids both.
"""

import datetime as dt
import hashlib
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from dicomnlp import __version__
from dicomnlp.serve.access import Principal, csrf_token
from dicomnlp.serve.interface_language import HTML_LANGUAGES, LANGUAGES, Catalogue, catalogue, choose
from dicomnlp.serve.problems import ProblemError

PREFERENCES = {"lang": tuple(LANGUAGES), "theme": ("light", "dark")}
"""Query parameters that every page takes, with their values: they are kept in cookies of these names."""
_PREFERENCE_SECONDS = 365 * 86400
_MEDIA_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "txt": "text/plain"}
_STATIC = files("dicomnlp.serve").joinpath("static")


def render(
    request: Request,
    template: str,
    *,
    status_code: int = 200,
    headers: dict[str, str] | None = None,
    principal: Principal | None = None,
    **context: Any,
) -> HTMLResponse:
    """The page that `template` makes of `context`.

    Parameters
    ----------
    template
        Name of a file in ``templates/``. Templates also know ``t`` (the catalogue), ``theme``, ``here`` (the address
        of this page with other query parameters), ``static`` (the address of a file) and ``csrf_token``, which gives
        what a form has to carry.
    principal
        Who reads it, where that is known.

    Raises
    ------
    ProblemError
        invalid_parameter: ``?lang=`` or ``?theme=`` is none of those there are.
    """
    if status_code < HTTPStatus.BAD_REQUEST:
        _check_preferences(request)
    words = words_of(request)
    theme = _preference(request, "theme") or ""
    page = (
        _environment()
        .get_template(template)
        .render(
            t=words,
            language=words.language,
            html_language=HTML_LANGUAGES[words.language],
            languages=LANGUAGES,
            theme=theme,
            path=request.url.path,
            here=lambda **changes: here(request, **changes),
            principal=principal,
            csrf_token=lambda: csrf_token(request),
            version=__version__,
            **context,
        )
    )
    response = HTMLResponse(page, status_code=status_code, headers=headers)
    response.headers["Vary"] = "Cookie, Accept-Language"
    for name, known in PREFERENCES.items():
        if request.query_params.get(name) in known:
            response.set_cookie(
                name,
                request.query_params[name],
                max_age=_PREFERENCE_SECONDS,
                httponly=True,
                samesite="strict",
                secure=request.url.scheme == "https",
            )
    return response


def words_of(request: Request) -> Catalogue:
    """The catalogue of the reader's language: as asked for, as asked for before, else as the browser prefers."""
    asked = _preference(request, "lang")
    return catalogue(asked or choose(request.headers.get("accept-language", "")))


def _check_preferences(request: Request) -> None:
    for name, known in PREFERENCES.items():
        if request.query_params.get(name, known[0]) not in known:
            raise ProblemError("invalid_parameter", f"{name} is one of {', '.join(known)}.")


def _preference(request: Request, name: str) -> str | None:
    """As asked for now, else as kept; None where neither is one of those there are."""
    given = (request.query_params.get(name), request.cookies.get(name))
    return next((value for value in given if value in PREFERENCES[name]), None)


def here(request: Request, **changes: str | int | None) -> str:
    """The address of this page with query parameters added, replaced, or (None) taken away; never another host's."""
    values: dict[str, str | int | None] = {**request.query_params, **changes}
    query = urlencode({name: value for name, value in values.items() if value not in (None, "")})
    return request.url.path + (f"?{query}" if query else "")


def wants_page(request: Request) -> bool:
    """Whether who asks is a browser that shows what it gets, rather than a program."""
    return "text/html" in request.headers.get("accept", "")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("dicomnlp.serve"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static"] = static_address
    environment.filters["moment"] = moment
    environment.filters["day"] = day
    environment.filters["size"] = byte_size
    environment.filters["number"] = lambda value: f"{value:g}"
    return environment


def moment(value: dt.datetime | None) -> str:
    """Date and time to the minute, in UTC as everything here."""
    return f"{value.astimezone(dt.UTC):%Y-%m-%d %H:%M}" if value else ""


def day(value: str | None) -> str:
    """A DICOM date (YYYYMMDD) as people write it; another text as it is."""
    return f"{value[:4]}-{value[4:6]}-{value[6:]}" if value and len(value) == 8 and value.isdigit() else value or ""


def byte_size(value: float) -> str:
    """Bytes in the unit that suits them."""
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def static_address(name: str) -> str:
    """The address of a file in ``static/``; another content has another address, so that browsers may keep it."""
    return f"/static/{name}?v={_static_files()[name][1]}"


@cache
def _static_files() -> dict[str, tuple[bytes, str, str]]:
    """Name -> content, digest, media type of every file there is: nothing else can be asked for."""
    found = {}
    for folder, prefix in ((_STATIC, ""), (_STATIC.joinpath("vendor"), "vendor/")):
        for file in folder.iterdir():
            if file.is_file():
                data = file.read_bytes()
                media_type = _MEDIA_TYPES[file.name.rpartition(".")[2]]
                found[prefix + file.name] = (data, hashlib.sha256(data).hexdigest()[:12], media_type)
    return found


def register_static(app: FastAPI) -> None:
    """Add the route of style sheets and scripts to `app`; anybody may have them."""

    @app.get("/static/{name:path}", include_in_schema=False)
    async def static(request: Request, name: str) -> Response:
        """A file of the pages."""
        if name not in _static_files():
            raise ProblemError("no_such_path")
        data, digest, media_type = _static_files()[name]
        kept = "public, max-age=31536000, immutable" if request.query_params.get("v") == digest else "no-cache"
        return Response(data, media_type=media_type, headers={"Cache-Control": kept})
