"""The filters of searches as options: the same for `search`, `cohort save` and every command that takes a selection."""

import datetime as dt
import enum
import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any

import typer

from dicomnlp.errors import UsageError
from dicomnlp.model import Assertion, Change, Laterality, SectionName, Severity
from dicomnlp.store.search_filters import Filters


def day(text: str) -> dt.date:
    """A date as people write it: 2026-11-22 or 20261122."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("not a date: write 2026-11-22") from None


def _option(kind: Any, help_text: str, *names: str, **more: Any) -> Any:
    return Annotated[kind, typer.Option(*names, help=help_text, **more)]


def _any_of(kind: type[enum.Enum]) -> str:
    return ", ".join(member.value for member in kind)


def _called(kind: str, text: str) -> str:
    """The id that `text` is or is called by, in any language; `text` itself where nothing is called so."""
    from dicomnlp.analyse.names import find_concepts, find_sites

    wanted = " ".join(text.casefold().replace("_", " ").split())
    found = (find_sites if kind == "site" else find_concepts)(text, "en", _MOST_CALLED_SO)
    called = [named.id for named in found if wanted in named.words]
    if text in called or not called:
        return text
    if len(called) > 1:
        raise typer.BadParameter(f"several are called so: write {', '.join(called[:-1])} or {called[-1]}")
    return called[0]


_MOST_CALLED_SO = 50
_CONCEPT = {"parser": functools.partial(_called, "concept"), "metavar": "CONCEPT"}
_SITE = {"parser": functools.partial(_called, "site"), "metavar": "SITE"}
_DAY = {"parser": day, "metavar": "DATE"}
_OPTIONS: dict[str, Any] = {
    "concepts": _option(
        list[str] | None,
        "Findings of this concept, by its id or what it is called in any language, or of one that descends from it; "
        "may be repeated.",
        "--concept",
        **_CONCEPT,
    ),
    "assertions": _option(
        list[Assertion] | None,
        _any_of(Assertion) + "; may be repeated.",
        "--assertion",
        metavar="ASSERTION",
    ),
    "laterality": _option(Laterality | None, "On this side."),
    "anatomy": _option(list[str] | None, "At this site or a part of it; may be repeated.", "--anatomy", **_SITE),
    "minimum_size": _option(float | None, "At least so many millimetres long.", "--min-size", metavar="MM", min=0),
    "maximum_size": _option(float | None, "At most so many millimetres long.", "--max-size", metavar="MM", min=0),
    "severity": _option(Severity | None, f"Of this degree: {_any_of(Severity)}.", metavar="DEGREE"),
    "change": _option(Change | None, f"Of this course: {_any_of(Change)}.", metavar="COURSE"),
    "section": _option(SectionName | None, f"Said in this section: {_any_of(SectionName)}.", metavar="SECTION"),
    "critical": _option(
        bool | None, "Of concepts that are to be told at once, or of others.", "--critical/--uncritical"
    ),
    "language": _option(str | None, "Said in this language (code of a pack).", metavar="CODE"),
    "modality": _option(str | None, "Of studies of this DICOM modality: CT, MR, DX.", metavar="MODALITY"),
    "body_part": _option(str | None, "Of studies of this BodyPartExamined.", metavar="TEXT"),
    "patient_sex": _option(str | None, "Of patients of this sex: M, F, O.", "--sex", metavar="SEX"),
    "minimum_age": _option(int | None, "Patients who were at least so old.", "--min-age", metavar="YEARS", min=0),
    "maximum_age": _option(int | None, "Patients who were at most so old.", "--max-age", metavar="YEARS", min=0),
    "station": _option(str | None, "StationName of the report.", metavar="TEXT"),
    "institution": _option(str | None, "InstitutionName of the report.", metavar="TEXT"),
    "calling_ae_title": _option(str | None, "Who sent the report.", "--calling-ae-title", metavar="AET"),
    "date_from": _option(dt.date | None, "Studies from this date on.", "--from", **_DAY),
    "date_to": _option(dt.date | None, "Studies to this date, included.", "--to", **_DAY),
    "text": _option(str, 'Reports with all these words and "quoted phrases".', metavar="WORDS"),
    "patient_id": _option(str | None, "Of this patient, or one merged with it.", "--patient-id", metavar="TEXT"),
    "study_instance_uid": _option(str | None, "Of reports of this study.", "--study-instance-uid", metavar="UID"),
    "without": _option(
        list[str] | None, "Patients of whom no report states this; may be repeated.", "--without", **_CONCEPT
    ),
    "pipeline": _option(
        str | None, "What this pipeline says (pipelines list), whether or not it counts.", metavar="NAME"
    ),
}
_LISTS = ("concepts", "assertions", "anatomy", "without")


def takes_filters(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command`, which has a parameter `filters`, an option for each filter in its place.

    The filters are as given: `expanded` adds descendants.
    """
    signature = inspect.signature(command)

    @functools.wraps(command)
    def wrapped(*arguments: Any, **given: Any) -> None:
        values = {name: given.pop(name) for name in _OPTIONS}
        values |= {name: tuple(values[name] or ()) for name in _LISTS}
        command(*arguments, filters=Filters(**values), **given)

    options = [
        inspect.Parameter(
            f.name,
            inspect.Parameter.KEYWORD_ONLY,
            default="" if f.name == "text" else None,
            annotation=_OPTIONS[f.name],
        )
        for f in fields(Filters)
    ]
    own = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY) if p.default is not inspect.Parameter.empty else p
        for p in signature.parameters.values()
        if p.name != "filters"
    ]
    positional = [p for p in own if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    rest = [p for p in own if p.kind is inspect.Parameter.KEYWORD_ONLY]
    wrapped.__signature__ = signature.replace(parameters=[*positional, *options, *rest])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in [*positional, *options, *rest]}
    return wrapped


def expanded(filters: Filters) -> Filters:
    """`filters` with descendants of concepts and parts of sites, as searches take them.

    Raises
    ------
    UsageError
        An id isn't known to any language pack.
    """
    if not (filters.concepts or filters.anatomy or filters.without):
        return filters
    from dicomnlp.analyse import expand_concept, expand_site

    return filters.expanded(expand_concept, expand_site)


def require_some(filters: Filters) -> None:
    """Refuse a selection without any filter.

    Raises
    ------
    UsageError
        There is none.
    """
    if not filters.to_json():
        raise UsageError("name at least one filter")
