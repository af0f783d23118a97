"""What is owed to patients, and the course of their lesions, as pages.

Researchers see what reports recommend, without whose it is: when something is due, and what answers it, is of one
patient's course and not for them.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Form, Request, Response
from fastapi.responses import RedirectResponse

from dicomnlp.analyse.names import find_sites
from dicomnlp.errors import UsageError
from dicomnlp.model import RecommendationKind
from dicomnlp.review.follow_up_rules import follow_up_rules
from dicomnlp.review.timeline import Lesion, lesions_of
from dicomnlp.serve.access import Principal, Role, audited, require
from dicomnlp.serve.access_identities import IDENTITIES, Shown
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.filters import expanded
from dicomnlp.serve.follow_up import MAXIMUM_NOTE, ItemId, checked_note, checked_reason, today
from dicomnlp.serve.interface_language import Catalogue
from dicomnlp.serve.naming import Names
from dicomnlp.serve.page_parameters import Values, a_day, asked, one_of, told
from dicomnlp.serve.pages_worklist import MODALITIES
from dicomnlp.serve.parameters import StudyInstanceUID
from dicomnlp.serve.problems import ProblemError
from dicomnlp.serve.rendering import render, words_of
from dicomnlp.store import follow_up
from dicomnlp.store.courses import course_of_study
from dicomnlp.store.database import Database
from dicomnlp.store.follow_up_decisions import dismiss_item, reopen_item
from dicomnlp.store.follow_up_items import STATES, ItemFilters, count_items, list_items, read_item
from dicomnlp.store.follow_up_pending import any_marked
from dicomnlp.store.search import Filters
from dicomnlp.store.worklist import reports_by_uid

_PAGE = 50
_ALL = "all"
_WAITING = ("open", "due", "overdue")
_RECOMMENDED = ("modality", "anatomy", "kind", "conditional", "due_from", "due_to", "from", "to", "patient_id", "after")
_OWED = ("state", "category", *_RECOMMENDED)
_CATEGORIES = ("imaging", "tissue", "visit")

Reader = Annotated[Principal, Depends(require(Role.READER))]
Anyone = Annotated[Principal, Depends(require(Role.READER, Role.RESEARCHER))]


def register(app: FastAPI, connection: Connection, shown: Shown) -> None:
    """Add the routes of this module to `app`; what is `shown` depends on who asks."""

    @app.get("/follow-up", include_in_schema=False)
    def owed(request: Request, who: Anyone) -> Response:
        """What is owed, what is overdue longest first; to a researcher what reports recommend."""
        database = connection.within(who.scope)
        if not who.sees_identities:
            return _recommendations(request, who, database, shown)
        return _items(request, who, database)

    @app.get("/follow-up/{item_id}", include_in_schema=False)
    def item(request: Request, who: Reader, item_id: ItemId) -> Response:
        """One item explained, with the forms by which it is dismissed and opened again."""
        asked(request, ())
        database = connection.within(who.scope)
        found = read_item(database, item_id, today=today())
        audited(request, study_instance_uid=found.study_instance_uid)
        return render(
            request,
            "follow_up_item.html",
            principal=who,
            names=Names(words_of(request)),
            item=found,
            header=reports_by_uid(database, [found.sop_instance_uid]).get(found.sop_instance_uid),
            reasons=follow_up_rules().reasons,
            maximum_note=MAXIMUM_NOTE,
        )

    @app.post("/follow-up/{item_id}/dismiss", include_in_schema=False)
    def dismiss(
        request: Request,
        who: Reader,
        item_id: ItemId,
        reason: Annotated[str, Form()],
        note: Annotated[str, Form()] = "",
    ) -> Response:
        """Close the item by hand."""
        database = connection.within(who.scope)
        why = told(lambda: checked_reason(reason))
        told(lambda: dismiss_item(database, item_id, reason=why, note=checked_note(note), by=who.name))
        study = read_item(database, item_id, today=today()).study_instance_uid
        audited(request, study_instance_uid=study, query=[("reason", why)], count=1)
        return RedirectResponse(f"/follow-up/{item_id}", status_code=303)

    @app.post("/follow-up/{item_id}/reopen", include_in_schema=False)
    def reopen(request: Request, who: Reader, item_id: ItemId) -> Response:
        """Undo a dismissal."""
        database = connection.within(who.scope)
        told(lambda: reopen_item(database, item_id, by=who.name))
        study = read_item(database, item_id, today=today()).study_instance_uid
        audited(request, study_instance_uid=study, count=1)
        return RedirectResponse(f"/follow-up/{item_id}", status_code=303)

    @app.get("/studies/{study_instance_uid}/timeline", include_in_schema=False)
    def timeline(request: Request, study_instance_uid: StudyInstanceUID, who: Reader) -> Response:
        """The lesions of a study's patient over all studies, their sizes plotted."""
        asked(request, ())
        lesions = lesions_of(course_of_study(connection.within(who.scope), study_instance_uid))
        audited(request, count=len(lesions))
        return render(
            request,
            "timeline.html",
            principal=who,
            names=Names(words_of(request)),
            study_instance_uid=study_instance_uid,
            lesions=[PlottedLesion(lesion) for lesion in lesions],
        )


@dataclass(frozen=True, slots=True)
class PlottedLesion:
    """A lesion with what a plot of it takes."""

    lesion: Lesion

    @property
    def sized(self) -> list[tuple[float, float]]:
        """(seconds since 1970 of the study's day, millimetres) of each study that tells both."""
        return [
            (moment.timestamp(), point.size_mm)
            for point in self.lesion.points
            if point.size_mm is not None and (moment := _moment(point.study_date)) is not None
        ]

    @property
    def change(self) -> tuple[float, float] | None:
        """(millimetres, per cent) between the first size and the last; None without two."""
        sizes = [p.size_mm for p in self.lesion.points if p.size_mm is not None]
        if len(sizes) < 2 or sizes[0] == 0:
            return None
        return round(sizes[-1] - sizes[0], 3), round(100 * (sizes[-1] - sizes[0]) / sizes[0], 1)


def _moment(date: str) -> dt.datetime | None:
    try:
        return dt.datetime.strptime(date, "%Y%m%d").replace(tzinfo=dt.UTC)
    except ValueError:
        return None


def _sites(values: dict[str, str], words: Catalogue) -> tuple[str, ...]:
    """The sites that are asked for by id or words, with their parts."""
    given = values.get("anatomy", "").strip()
    if not given:
        return ()
    fitting = find_sites(given, words.language, 1)
    if not fitting:
        raise UsageError(words("search.no_concept", field=words("filter.anatomy")))
    return expanded(Filters(anatomy=(fitting[0].id,))).anatomy


def _common(values: dict[str, str], words: Catalogue) -> dict[str, Any]:
    """The filters that items and recommendations have both."""
    return {
        "modality": values.get("modality"),
        "anatomy": _sites(values, words),
        "kind": one_of(RecommendationKind, values, "kind"),
        "conditional": _yes_or_no(values, "conditional"),
        "due_from": a_day(values, "due_from"),
        "due_to": a_day(values, "due_to"),
        "date_from": a_day(values, "from"),
        "date_to": a_day(values, "to"),
        "patient_id": values.get("patient_id"),
    }


def _yes_or_no(values: dict[str, str], name: str) -> bool | None:
    try:
        return {"": None, "true": True, "false": False}[values.get(name, "")]
    except KeyError:
        raise ProblemError("invalid_parameter", f"{name} is true or false.") from None


def _states(values: dict[str, str]) -> tuple[str, ...]:
    """Those that are shown: what waits, unless others are asked for."""
    state = values.get("state")
    if state is None:
        return _WAITING
    if state != _ALL and state not in STATES:
        raise ProblemError("invalid_parameter", f"state is {', '.join((*STATES, _ALL))}.")
    return () if state == _ALL else (state,)


def _items(request: Request, who: Principal, database: Database) -> Response:
    values, words = asked(request, _OWED), words_of(request)
    if "category" in values and values["category"] not in _CATEGORIES:
        raise ProblemError("invalid_parameter", f"category is {', '.join(_CATEGORIES)}.")
    page, wrong, day = None, None, today()
    try:
        filters = ItemFilters(states=_states(values), category=values.get("category"), **_common(values, words))
        page = list_items(database, filters, today=day, after=values.get("after"), limit=_PAGE)
    except UsageError as error:
        wrong = str(error)
    found = page.items if page else []
    audited(request, count=len(found))
    return render(
        request,
        "follow_up.html",
        status_code=422 if wrong else 200,
        principal=who,
        names=Names(words),
        values=values,
        filtered=bool(values.keys() - {"state", "after"}),
        wrong=wrong,
        page=page,
        found=found,
        counts=count_items(database, today=day),
        states=STATES,
        is_complete=not any_marked(database),
        reports=reports_by_uid(database, [item.sop_instance_uid for item in found]),
        kinds=list(RecommendationKind),
        categories=_CATEGORIES,
        modalities=MODALITIES,
    )


def _recommendations(request: Request, who: Principal, database: Database, shown: Shown) -> Response:
    values: Values = asked(request, tuple(name for name in _RECOMMENDED if name not in IDENTITIES))
    words, wrong, page = words_of(request), None, None
    try:
        filters = follow_up.FollowUpFilters(**_common(values, words))
        page = follow_up.follow_up(database, filters, after=values.get("after"), limit=_PAGE)
    except UsageError as error:
        wrong = str(error)
    found = shown.of_recommendations(who, page.recommendations) if page else []
    audited(request, count=len(found))
    return render(
        request,
        "recommendations.html",
        status_code=422 if wrong else 200,
        principal=who,
        names=Names(words),
        values=values,
        wrong=wrong,
        page=page,
        found=found,
        reports=reports_by_uid(database, [r.sop_instance_uid for r in found]),
        kinds=list(RecommendationKind),
        modalities=MODALITIES,
        # shifted dates tell nothing of what is overdue
        today="",
    )
