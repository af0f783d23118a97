"""Search over all studies and kept searches, as pages."""

import re
from dataclasses import fields
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

from fastapi import Depends, FastAPI, Form, Request, Response
from fastapi.responses import RedirectResponse

from dicomnlp.analyse.names import find_concepts, find_sites
from dicomnlp.errors import UsageError
from dicomnlp.model import Assertion, Change, Laterality, SectionName, Severity
from dicomnlp.serve import search
from dicomnlp.serve.access import Principal, Role, audited, require
from dicomnlp.serve.access_identities import IDENTITIES, Shown, may_use
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.filters import expanded
from dicomnlp.serve.interface_language import Catalogue
from dicomnlp.serve.kept_facets import kept_of
from dicomnlp.serve.naming import Names
from dicomnlp.serve.page_parameters import Values, asked, told
from dicomnlp.serve.pages_worklist import MODALITIES
from dicomnlp.serve.problems import ProblemError
from dicomnlp.serve.rendering import render, words_of
from dicomnlp.store import cohorts
from dicomnlp.store.search import Filters, count_findings, filters_from_json, search_findings
from dicomnlp.store.search_filters import PUBLIC_NAMES
from dicomnlp.store.worklist import reports_by_uid

_SEVERAL = ("assertion", "concept", "anatomy", "without")
_FILTERS = tuple(PUBLIC_NAMES[f.name] for f in fields(Filters))
_FLOATS, _INTEGERS = ("min_size", "max_size"), ("min_age", "max_age")
_PAGE = 50
_LONGEST = 8000
"""Characters of a kept search as a query."""
_SUGGESTIONS = 15
_ID = re.compile(r"[a-z0-9_]{1,64}")

Reader = Annotated[Principal, Depends(require(Role.READER, Role.RESEARCHER))]


def register(app: FastAPI, connection: Connection, shown: Shown) -> None:
    """Add the routes of this module to `app`; what is `shown` depends on who asks."""
    _register_search(app, connection, shown)
    _register_cohorts(app, connection)


def page_filters(values: dict[str, str], words: Catalogue) -> Filters:
    """The filters that a form's values mean; concepts and sites may be ids or words.

    Raises
    ------
    UsageError
        A value is none of its kind, or no concept is called so; the message is in the reader's language.
    """
    given: dict[str, Any] = {}
    for name, value in values.items():
        if name in _SEVERAL:
            given[name] = [_identified(name, one, words) for one in value.split(",") if one.strip()]
        elif name in _FLOATS or name in _INTEGERS:
            try:
                given[name] = float(value) if name in _FLOATS else int(value)
            except ValueError:
                raise UsageError(words("search.no_number", field=words(f"filter.{name}"))) from None
        else:
            given[name] = value == "true" if name == "critical" else value
    return filters_from_json(given)


def _identified(name: str, value: str, words: Catalogue) -> str:
    """The id that `value` is or is called by."""
    value = value.strip()
    if name == "assertion":
        return value
    find = find_sites if name == "anatomy" else find_concepts
    fitting = find(value, words.language, 1)
    if _ID.fullmatch(value) and fitting and fitting[0].id == value:
        return value
    if not fitting:
        raise UsageError(words("search.no_concept", field=words(f"filter.{name}")))
    return fitting[0].id


def _allowed(who: Principal) -> tuple[str, ...]:
    return _FILTERS if who.sees_identities else tuple(name for name in _FILTERS if name not in IDENTITIES)


def _query(filters: Filters) -> dict[str, str]:
    """`filters` as the values of a form."""
    given = filters.to_json()
    return {
        name: ",".join(value)
        if isinstance(value, list)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
        for name, value in given.items()
    }


def _register_search(app: FastAPI, connection: Connection, shown: Shown) -> None:
    @app.get("/search", include_in_schema=False)
    def search(request: Request, who: Reader) -> Response:
        """Findings that fit, and the form that asks for them."""
        values = asked(request, (*_allowed(who), "after"), several=_SEVERAL)
        words = words_of(request)
        after = values.pop("after", None)
        filters, wrong, page = Filters(), None, None
        database = connection.within(who.scope)
        if values:
            try:
                filters = page_filters(values, words)
                wanted = expanded(filters)
                page = search_findings(database, wanted, after=after, limit=_PAGE)
            except UsageError as error:
                wrong = str(error)
            except ProblemError as error:
                wrong = error.detail
        found = shown.of_findings(who, page.findings) if page else []
        audited(request, count=len(found))
        return render(
            request,
            "search.html",
            status_code=422 if wrong else 200,
            principal=who,
            names=Names(words),
            values=Values(values | (_query(filters) if page else {})),
            query=urlencode(_query(filters)),
            wrong=wrong,
            page=page,
            found=found,
            after=after,
            reports=reports_by_uid(database, [f.sop_instance_uid for f in found]),
            snippet=snippet,
            cohorts=[c for c in cohorts.cohorts(database) if may_use(who, c.filters)],
            vocabulary=_VOCABULARY,
            modalities=MODALITIES,
        )

    @app.get("/search/counts", include_in_schema=False)
    def counts(request: Request, who: Reader) -> Response:
        """How many findings fit and what they are; asked for by itself, because counting costs what there is."""
        values = asked(request, _allowed(who), several=_SEVERAL)
        words = words_of(request)
        filters = told(lambda: page_filters(values, words))
        wanted, database = expanded(filters), connection.within(who.scope)
        names = _FACETS if who.sees_identities else tuple(n for n in _FACETS if n not in IDENTITIES)
        kept = kept_of(database).read(database, wanted, names, limit=_SUGGESTIONS)
        return render(
            request,
            "counts.html" if "hx-request" in request.headers else "counts_page.html",
            principal=who,
            names=Names(words),
            values=_query(filters),
            counts=count_findings(database, wanted),
            facets=kept.values,
            counted_at=kept.at,
            link=lambda name, value: _toggled(_query(filters), name, value),
        )

    @app.get("/search/words", include_in_schema=False)
    def suggestions(
        request: Request,
        who: Annotated[Principal, Depends(require(Role.READER, Role.RESEARCHER, is_audited=False))],  # noqa: ARG001
    ) -> Response:
        """Options for a field in which a concept or site is being typed."""
        values = asked(request, ("concept", "without", "anatomy"))
        language = words_of(request).language
        found = []
        for name, value in values.items():
            find = find_sites if name == "anatomy" else find_concepts
            found += find(value.rpartition(",")[2], language, _SUGGESTIONS)
        return render(request, "options.html", options=found)


_FACETS = (
    "assertion", "concept", "anatomy", "laterality", "severity", "change", "section", "language",
    "modality", "body_part", "sex", "station", "institution", "calling_ae_title",
)  # fmt: skip
_VOCABULARY = {
    "assertion": list(Assertion),
    "laterality": list(Laterality),
    "severity": list(Severity),
    "change": list(Change),
    "section": list(SectionName),
    "sex": ["F", "M", "O"],
    "language": ["en", "zh", "de"],
}


def _toggled(values: dict[str, str], name: str, value: str) -> str:
    """The search with `value` as the filter `name`; without it where it is that already."""
    others = {n: v for n, v in values.items() if n != name}
    if values.get(name) != value:
        others[name] = value
    return f"/search?{urlencode(others)}" if others else "/search"


def snippet(sentence: str, words: str) -> tuple[str, str, str]:
    """(before, words, after) of a sentence; the words are "" where they don't stand in it as they are."""
    at = sentence.find(words)
    return (sentence[:at], words, sentence[at + len(words) :]) if at >= 0 and words else (sentence, "", "")


def _register_cohorts(app: FastAPI, connection: Connection) -> None:
    @app.post("/search/cohorts", include_in_schema=False)
    def keep(
        request: Request, who: Reader, name: Annotated[str, Form()], query: Annotated[str, Form()] = ""
    ) -> Response:
        """Keep a search under a name, or replace that of the name."""
        words = words_of(request)
        values = {n: v for n, v in parse_qsl(query[:_LONGEST]) if n in _allowed(who)}
        filters = told(lambda: page_filters(values, words))
        if not filters.to_json():
            raise ProblemError("bad_request", "Name at least one filter.")
        database = connection.within(who.scope)
        told(lambda: search.keep(database, who, name.strip(), filters))
        return RedirectResponse(f"/search?{urlencode(_query(filters))}", status_code=303)

    @app.post("/search/cohorts/forget", include_in_schema=False)
    def forget(who: Annotated[Principal, Depends(require(Role.READER))], name: Annotated[str, Form()]) -> Response:
        """Delete a kept search."""
        told(lambda: search.forget(connection.within(who.scope), who, name))
        return RedirectResponse("/search", status_code=303)
