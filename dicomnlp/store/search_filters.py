"""What can be asked of findings over all studies, and how it is written: in a query, on a command line, in a cohort."""

import datetime as dt
import enum
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from dicomnlp.errors import UsageError
from dicomnlp.model import Assertion, Change, Laterality, SectionName, Severity
from dicomnlp.store.words import phrases_of

STATED = (Assertion.PRESENT, Assertion.POSSIBLE, Assertion.HISTORICAL)
"""What `Filters.without` excludes: a patient of whom any report says that it is, may be or was there."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What a finding must be; of several fields all must fit, of a field with several values one."""

    concepts: tuple[str, ...] = ()
    """Concept ids, see `expanded`."""
    assertions: tuple[Assertion, ...] = ()
    laterality: Laterality | None = None
    anatomy: tuple[str, ...] = ()
    """Ids of sites, see `expanded`."""
    minimum_size: float | None = None
    """Millimetres: the greatest length that is stated of it now."""
    maximum_size: float | None = None
    severity: Severity | None = None
    change: Change | None = None
    section: SectionName | None = None
    critical: bool | None = None
    language: str | None = None
    modality: str | None = None
    """DICOM modality of the study: of images of it that were seen, else of the report's header or words."""
    body_part: str | None = None
    """BodyPartExamined (0018,0015) of the report or of an image of its study, without case."""
    patient_sex: str | None = None
    """Patient's Sex (0010,0040): M, F or O."""
    minimum_age: int | None = None
    """Whole years at the date of the study; reports without a date of birth fit no range."""
    maximum_age: int | None = None
    station: str | None = None
    institution: str | None = None
    calling_ae_title: str | None = None
    date_from: dt.date | None = None
    """Of the study; both ends belong to the range."""
    date_to: dt.date | None = None
    text: str = ""
    """Words and quoted phrases that the report's narrative must have, see `words.phrases_of`."""
    patient_id: str | None = None
    """Under this identifier, or one that it was merged with."""
    study_instance_uid: str | None = None
    """Reports that belong to this study, see `queries.findings_of_study`."""
    without: tuple[str, ...] = ()
    """Concept ids: patients of whom no prevailing report states any of these, see `STATED`."""
    pipeline: str | None = None
    """What this pipeline says rather than what counts, see `pipelines.analyses_by`."""

    def __post_init__(self) -> None:
        """Refuse what could fit nothing by mistake.

        Raises
        ------
        UsageError
            Words without a letter or digit, a range whose end lies before its start, or a null character, which
            PostgreSQL takes in no text.
        """
        if any(isinstance(value, str) and "\0" in value for value in (getattr(self, f.name) for f in fields(self))):
            raise UsageError("a null character is in no text")
        if self.text and not phrases_of(self.text):
            raise UsageError("there is no word in the text that is looked for")
        for low, high, name in (
            (self.minimum_size, self.maximum_size, "sizes"),
            (self.minimum_age, self.maximum_age, "ages"),
            (self.date_from, self.date_to, "dates"),
        ):
            if low is not None and high is not None and low > high:  # type: ignore[operator]
                raise UsageError(f"the range of {name} ends before it starts")

    def expanded(
        self, expand_concept: Callable[[str], tuple[str, ...]], expand_site: Callable[[str], tuple[str, ...]]
    ) -> "Filters":
        """The same with the descendants of its concepts and the parts of its sites, as searches take it.

        Parameters
        ----------
        expand_concept, expand_site
            Those of `dicomnlp.analyse`, which raise UsageError for an id that isn't known.
        """
        return replace(
            self,
            concepts=_union(self.concepts, expand_concept),
            without=_union(self.without, expand_concept),
            anatomy=_union(self.anatomy, expand_site),
        )

    def to_json(self) -> dict[str, Any]:
        """What is asked for, by public names; what isn't is left out."""
        named = {PUBLIC_NAMES[f.name]: getattr(self, f.name) for f in fields(self)}
        return {name: _plain(value) for name, value in named.items() if value not in (None, (), "")}


PUBLIC_NAMES = {
    "concepts": "concept",
    "assertions": "assertion",
    "minimum_size": "min_size",
    "maximum_size": "max_size",
    "patient_sex": "sex",
    "minimum_age": "min_age",
    "maximum_age": "max_age",
    "date_from": "from",
    "date_to": "to",
    **{
        name: name
        for name in (
            "laterality", "anatomy", "severity", "change", "section", "critical", "language", "modality", "body_part",
            "station", "institution", "calling_ae_title", "text", "patient_id", "study_instance_uid", "without",
            "pipeline",
        )
    },
}  # fmt: skip
"""Field of `Filters` -> name in queries and cohorts; options of the command line have hyphens for underscores."""


def filters_from_json(values: dict[str, Any]) -> Filters:
    """The filters that `Filters.to_json` wrote, or that somebody else did by the same names.

    Raises
    ------
    UsageError
        A name or value isn't known, or they could fit nothing by mistake.
    """
    fields_of = {public: name for name, public in PUBLIC_NAMES.items()}
    try:
        given = {fields_of[name]: _read(name, value) for name, value in values.items()}
    except (KeyError, ValueError, TypeError):
        raise UsageError("these filters are none that this version of the program knows") from None
    return Filters(**given)


def _read(name: str, value: Any) -> Any:
    reader: Callable[[Any], Any] = _READERS.get(name, _text)
    return reader(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError
    return tuple(_text(value) for value in values)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError
    return value


def _years(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _OLDEST:
        raise TypeError
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


_OLDEST = 200
_READERS: dict[str, Callable[[Any], Any]] = {
    "concept": _texts,
    "anatomy": _texts,
    "without": _texts,
    "assertion": lambda values: tuple(Assertion(v) for v in _texts(values)),
    "laterality": Laterality,
    "severity": Severity,
    "change": Change,
    "section": SectionName,
    "critical": _flag,
    "min_size": _number,
    "max_size": _number,
    "min_age": _years,
    "max_age": _years,
    "from": lambda value: dt.date.fromisoformat(_text(value)),
    "to": lambda value: dt.date.fromisoformat(_text(value)),
}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, enum.Enum):
        return value.value
    return value.isoformat() if isinstance(value, dt.date) else value


def _union(identifiers: tuple[str, ...], expand: Callable[[str], tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({found for identifier in identifiers for found in expand(identifier)}))
