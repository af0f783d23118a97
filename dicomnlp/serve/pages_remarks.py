"""What a second reader would remark, as pages: contradictions, guidance of guidelines, measures of quality."""

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response

from dicomnlp.errors import UsageError
from dicomnlp.remarks import DiscrepancyKind, GuidanceOutcome
from dicomnlp.review.guidance_rules import guidance_rules
from dicomnlp.serve.access import Principal, Role, audited, require
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.interface_language import Catalogue
from dicomnlp.serve.naming import Names
from dicomnlp.serve.page_parameters import a_day, asked, one_of
from dicomnlp.serve.problems import ProblemError
from dicomnlp.serve.remarks import checked_guideline, measures_of
from dicomnlp.serve.rendering import render, words_of
from dicomnlp.store.remarks import RemarkFilters, list_discrepancies, list_guidance
from dicomnlp.store.worklist import reports_by_uid

_PAGE = 50
_COMMON = ("from", "to", "patient_id", "after")
_CONFIDENCES = ("0.9", "0.8")
"""Least confidences that the page offers."""

Reader = Annotated[Principal, Depends(require(Role.READER))]


class RuleNames:
    """What guidelines, answers and measures are called in a language."""

    def __init__(self, words: Catalogue) -> None:
        self._is_chinese = words.language == "zh"

    def title(self, identifier: str) -> str:
        """Of a guideline or measure."""
        rules = guidance_rules()
        titles = {g.id: (g.title, g.title_zh) for g in rules.guidelines} | {
            m.id: (m.title, m.title_zh) for m in rules.measures
        }
        return titles[identifier][self._is_chinese] if identifier in titles else identifier

    def advice(self, guideline: str, advice: list[dict[str, Any]]) -> list[str]:
        """Of answers, each wording once; one that the rules no longer have is told as it was kept."""
        known = {
            given.name: given.text_zh if self._is_chinese else given.text
            for entry in guidance_rules().guidelines
            for given in (entry.answers if entry.id == guideline else ())
        }
        return list(dict.fromkeys(known.get(given["rule"], given["text"]) for given in advice))


def register(app: FastAPI, connection: Connection) -> None:
    """Add the routes of this module to `app`."""

    @app.get("/second-look", include_in_schema=False)
    def contradictions(request: Request, who: Reader) -> Response:
        """Contradictions, the newest study first, each with both places."""
        values = asked(request, ("kind", "min_confidence", *_COMMON))
        database, words, wrong, page = connection.within(who.scope), words_of(request), None, None
        try:
            filters = RemarkFilters(
                kind=one_of(DiscrepancyKind, values, "kind"),
                minimum_confidence=_confidence(values.get("min_confidence")),
                date_from=a_day(values, "from"),
                date_to=a_day(values, "to"),
                patient_id=values.get("patient_id"),
            )
            page = list_discrepancies(database, filters, after=values.get("after"), limit=_PAGE)
        except UsageError as error:
            wrong = str(error)
        found = page.remarks if page else []
        audited(request, count=len(found))
        return render(
            request,
            "second_look.html",
            status_code=422 if wrong else 200,
            principal=who,
            names=Names(words),
            values=values,
            filtered=bool(values.keys() - {"after"}),
            wrong=wrong,
            page=page,
            found=found,
            reports=reports_by_uid(database, [r.sop_instance_uid for r in found]),
            kinds=list(DiscrepancyKind),
            confidences=_CONFIDENCES,
        )

    @app.get("/second-look/guidance", include_in_schema=False)
    def guidance(request: Request, who: Reader) -> Response:
        """Guidelines next to what reports recommend, the newest study first."""
        values = asked(request, ("guideline", "outcome", *_COMMON))
        database, words, wrong, page = connection.within(who.scope), words_of(request), None, None
        try:
            filters = RemarkFilters(
                guideline=checked_guideline(values.get("guideline")),
                outcome=one_of(GuidanceOutcome, values, "outcome"),
                date_from=a_day(values, "from"),
                date_to=a_day(values, "to"),
                patient_id=values.get("patient_id"),
            )
            page = list_guidance(database, filters, after=values.get("after"), limit=_PAGE)
        except UsageError as error:
            wrong = str(error)
        found = page.remarks if page else []
        audited(request, count=len(found))
        return render(
            request,
            "guidance.html",
            status_code=422 if wrong else 200,
            principal=who,
            names=Names(words),
            rules=RuleNames(words),
            values=values,
            filtered=bool(values.keys() - {"after"}),
            wrong=wrong,
            page=page,
            found=found,
            reports=reports_by_uid(database, [r.sop_instance_uid for r in found]),
            guidelines=[g.id for g in guidance_rules().guidelines],
            outcomes=list(GuidanceOutcome),
        )

    @app.get("/second-look/quality", include_in_schema=False)
    def quality(request: Request, who: Reader) -> Response:
        """Measures of quality with their counts."""
        values = asked(request, ("from", "to"))
        filters = RemarkFilters(date_from=a_day(values, "from"), date_to=a_day(values, "to"))
        measures = measures_of(connection.within(who.scope), filters)
        audited(request, count=len(measures))
        words = words_of(request)
        return render(
            request,
            "quality.html",
            principal=who,
            names=Names(words),
            rules=RuleNames(words),
            values=values,
            measures=measures,
        )


def _confidence(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ProblemError("invalid_parameter", "min_confidence is a number from 0 to 1.")
    return value
