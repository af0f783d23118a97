"""The vocabulary: frozen records and enumerations that every step speaks about.

A report's way through them::

    Arrival --intake--> Receipt            what came in, and what was answered
    StoredObject --extract--> Report       the original bytes, and what they say (text, items, identity)
    Report.narrative --analyse--> Analysis what the text means (sections, findings, measurements, labels)
    Processed                              the outcome of one object's way through extract and analyse

All offsets are half-open character offsets into ``Narrative.text``. Lengths in findings are millimetres; other
quantities keep their UCUM unit. Field names are DICOM keywords in snake_case where the standard has one.
"""

import dataclasses
import datetime as dt
import enum
import re
from dataclasses import dataclass, field
from typing import Any

UID_PATTERN = re.compile(r"(?=.{1,64}\Z)[0-2](?:\.(?:0|[1-9][0-9]*))+\Z")
"""A unique identifier by PS3.5 9.1: at most 64 characters, no leading zeros, nothing else; match with ``.match``."""


def is_uid(text: str | None) -> bool:
    """Whether `text` is a well-formed DICOM UID (PS3.5 9.1), the only kind that may reach a log, a URL or a file."""
    return bool(text) and UID_PATTERN.match(text or "") is not None


class Assertion(enum.StrEnum):
    """What a report says of a finding: the one label that a reader would give."""

    PRESENT = "present"
    ABSENT = "absent"
    POSSIBLE = "possible"
    HYPOTHETICAL = "hypothetical"
    """Asked for, to be ruled out, or conditional."""
    HISTORICAL = "historical"
    """In the past and no longer said to be there."""
    FAMILY = "family"


class SectionName(enum.StrEnum):
    """The part of a report that a passage belongs to."""

    EXAM = "exam"
    INDICATION = "indication"
    HISTORY = "history"
    TECHNIQUE = "technique"
    COMPARISON = "comparison"
    CONTRAST = "contrast"
    FINDINGS = "findings"
    IMPRESSION = "impression"
    RECOMMENDATION = "recommendation"
    ADDENDUM = "addendum"
    COMMUNICATION = "communication"
    OTHER = "other"


class Laterality(enum.StrEnum):
    """Side of the body (CID 244, with midline)."""

    LEFT = "left"
    RIGHT = "right"
    BILATERAL = "bilateral"
    MIDLINE = "midline"


class Severity(enum.StrEnum):
    """Degree; small, trace, large and the like are mapped onto these."""

    MINIMAL = "minimal"
    MILD = "mild"
    MODERATE = "moderate"
    SEVERE = "severe"


class Change(enum.StrEnum):
    """Course since an earlier study (CID 6134)."""

    NEW = "new"
    INCREASED = "increased"
    DECREASED = "decreased"
    STABLE = "stable"
    RESOLVED = "resolved"


class Acuity(enum.StrEnum):
    """How long a finding has been there, by its look."""

    ACUTE = "acute"
    SUBACUTE = "subacute"
    CHRONIC = "chronic"
    ACUTE_ON_CHRONIC = "acute_on_chronic"


class Temporality(enum.StrEnum):
    """Whether a measurement is of this study or of an earlier one."""

    CURRENT = "current"
    PRIOR = "prior"


class State(enum.StrEnum):
    """Where a stored object stands.

    ::

        (arrival) -> PENDING -> ANALYSED | NO_TEXT | NEEDS_OCR | FAILED
        (arrival without a usable StudyInstanceUID) -> QUARANTINED
        any but QUARANTINED -> PENDING   by reprocess or failures --retry

    There is no "in progress": what is in flight is known only to the one dispatcher, so nothing can be left in it.
    """

    PENDING = "pending"
    ANALYSED = "analysed"
    NO_TEXT = "no_text"
    """Read well, but holds no narrative: a dose report, a key object selection without description."""
    NEEDS_OCR = "needs_ocr"
    """A PDF of images without a text layer."""
    FAILED = "failed"
    QUARANTINED = "quarantined"


class Door(enum.StrEnum):
    """How an object came in."""

    C_STORE = "c_store"
    IMPORT = "import"


class Outcome(enum.StrEnum):
    """What intake did with an arrival."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    """The same bytes under the same SOP Instance UID again: nothing changes."""
    NEW_VERSION = "new_version"
    """Other bytes under a known SOP Instance UID: both are kept, the newest is current."""
    QUARANTINED = "quarantined"
    """Kept, but not linkable to a study; answered with a failure so that the sender knows."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Code:
    """A coded entry (PS3.3 8.8): value, coding scheme designator, meaning."""

    value: str
    scheme: str
    meaning: str


# --- arrival -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Arrival:
    """An object as a door hands it to intake: raw data set and what was said about it on the way."""

    data: bytes
    """The encoded data set, without preamble and file meta information."""
    transfer_syntax_uid: str
    sop_class_uid: str
    """As announced: Affected SOP Class UID of the command, or Media Storage SOP Class UID of the file ("" if none)."""
    sop_instance_uid: str
    """As announced, likewise."""
    door: Door
    calling_ae_title: str = ""
    called_ae_title: str = ""
    peer_address: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """What an object's header says of itself; "" where it says nothing. Never logged, UIDs excepted."""

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    patient_id: str = ""
    issuer_of_patient_id: str = ""
    patient_birth_date: str = ""
    patient_sex: str = ""
    accession_number: str = ""
    modality: str = ""
    study_date: str = ""
    """DA, YYYYMMDD."""
    study_time: str = ""
    content_date: str = ""
    content_time: str = ""
    study_description: str = ""
    series_description: str = ""
    institution_name: str = ""
    station_name: str = ""
    manufacturer: str = ""
    body_part_examined: str = ""


@dataclass(frozen=True, slots=True)
class IntakeRecord:
    """An arrival after intake's checks: what the ledger and, unless refused, the object table will hold."""

    arrival: Arrival
    identity: Identity
    sha256: str
    """Of `arrival.data`, hexadecimal."""
    received_at: dt.datetime
    status: int
    """The DIMSE status that will be answered if the commit succeeds."""
    reason_code: str | None = None
    """Why it is refused or quarantined; None when it is taken."""
    keep: bool = True
    """Whether the bytes are kept (refused objects leave a ledger row only)."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was decided about an arrival; returned only when the decision is durable."""

    outcome: Outcome
    status: int
    reason_code: str | None
    sop_instance_uid: str
    study_instance_uid: str
    object_id: int | None
    """Row of the stored object, None when refused."""


# --- extract -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An original as it is held: what a worker needs to read it, nothing more."""

    object_id: int
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    data: bytes
    attempts: int = 0
    calling_ae_title: str = ""


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """How the object's text was decoded (PS3.5 6.1)."""

    declared: tuple[str, ...]
    """Values of (0008,0005) as found."""
    used: str
    """The Python codec name, or "iso2022" with the terms joined by backslash."""
    confidence: float
    """1.0: declared and valid; lower: guessed; 0.0: replacement characters were needed."""


@dataclass(frozen=True, slots=True)
class ContentItem:
    """One content item of an SR tree (PS3.3 C.17.3), in tree order."""

    path: str
    """Position as DCMTK prints it: "1" is the root, "1.2.3" the third child of its second child."""
    relationship: str
    """CONTAINS, HAS OBS CONTEXT ...; "" at the root."""
    value_type: str
    """As declared, else inferred from what the item holds, else ""."""
    concept: Code | None
    value: str | dict[str, Any] | list[str] | None
    """TEXT, DATE, PNAME ...: the text; CODE: {"code", "scheme", "meaning"}; NUM: the number(s) as text;
    IMAGE and COMPOSITE: {"sop_class_uid", "sop_instance_uid"}; CONTAINER: None."""
    unit: Code | None = None
    """UCUM unit of NUM."""


@dataclass(frozen=True, slots=True)
class CodedMeasurement:
    """A NUM content item: no language processing is between the object and these values."""

    path: str
    concept: Code | None
    values: tuple[float, ...]
    unit: Code | None
    qualifier: Code | None = None
    """Numeric value qualifier (CID 42) when there is no value or beside it."""
    modifiers: tuple[tuple[Code, Code], ...] = ()
    """(name, value) of children that qualify it: finding site, laterality, derivation."""


@dataclass(frozen=True, slots=True)
class Section:
    """A named stretch of the narrative, heading included."""

    name: SectionName
    title: str | None
    """The heading's words as written, None when the section has no heading."""
    start: int
    """Where the heading starts (or the body, when there is none)."""
    end: int
    body_start: int
    """Where the text after the heading starts."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Characters [start, end) of the narrative came from the content item at `path` (or "page 3" of a PDF)."""

    start: int
    end: int
    path: str


@dataclass(frozen=True, slots=True)
class Narrative:
    """The prose of a report."""

    text: str
    sections: tuple[Section, ...] = ()
    """From coded headings of the tree: hints that the text's own headings refine."""
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """A composite object that the report refers to (PS3.3 C.17.2.3)."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    kind: str
    """"current" (0040,A375), "pertinent" (0040,A385: comparison only), or "request" (0040,A370)."""


@dataclass(frozen=True, slots=True)
class Report:
    """All that an object says: the result of extract."""

    identity: Identity
    narrative: Narrative
    state: State
    """ANALYSED is not known here: PENDING when there is text to analyse, else NO_TEXT or NEEDS_OCR."""
    title: str = ""
    document_code: Code | None = None
    completion_flag: str = ""
    verification_flag: str = ""
    preliminary_flag: str = ""
    language: str = ""
    """Declared language (RFC 5646, from TID 1204), "" when none is declared."""
    character_set: CharacterSet = CharacterSet((), "ascii", 1.0)
    items: tuple[ContentItem, ...] = ()
    measurements: tuple[CodedMeasurement, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    predecessors: tuple[str, ...] = ()
    """SOP Instance UIDs of (0040,A360)."""
    warnings: tuple[str, ...] = ()
    """Stable codes with places, e.g. "truncated_element at 0040A730"; never values."""


# --- analyse -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Concept:
    """An entry of a language pack's lexicon or anatomy; the id is shared by all languages."""

    id: str
    code: str | None
    """None where no code is certain: codes are never invented."""
    scheme: str | None
    meaning: str


@dataclass(frozen=True, slots=True)
class Cue:
    """The words that decided an assertion, and their ConText category."""

    text: str
    start: int
    end: int
    category: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """A quantity stated in the text."""

    values: tuple[float, ...]
    """One to three numbers; millimetres when `unit` is "mm"."""
    unit: str
    """UCUM; lengths are always "mm"."""
    kind: str
    """"size", "distance", "volume", "density" (HU), "uptake" (SUV), "ratio" ..."""
    temporality: Temporality
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One mention of a concept, judged."""

    concept: Concept
    text: str
    start: int
    end: int
    sentence: str
    section: SectionName
    assertion: Assertion
    is_negated: bool = False
    is_uncertain: bool = False
    is_historical: bool = False
    is_hypothetical: bool = False
    is_family: bool = False
    """The five flags are ConText's own answer; `assertion` also weighs the section."""
    cues: tuple[Cue, ...] = ()
    anatomy: Concept | None = None
    laterality: Laterality | None = None
    severity: Severity | None = None
    change: Change | None = None
    measurements: tuple[Measurement, ...] = ()
    critical: bool = False
    item_path: str | None = None
    """Content item that the mention stands in."""
    acuity: Acuity | None = None
    count: str | None = None
    """How many: "2", or "multiple" where no number is told."""
    levels: tuple[str, ...] = ()
    """Levels and other numbered places in the report's words: "L4-L5", "segment VII", "10 o'clock"."""
    image_references: tuple[str, ...] = ()
    """In the report's words: "series 3, image 47"."""


class RecommendationKind(enum.StrEnum):
    """How firmly a recommendation is put."""

    RECOMMENDED = "recommended"
    HEDGED = "hedged"
    """Could be considered, may be helpful."""
    OPTIONAL = "optional"
    GUIDELINE = "guideline"
    """What a society recommends, quoted; the radiologist doesn't say that it is meant for this patient."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What the report asks to be done next."""

    text: str
    """The clause that asks."""
    start: int
    end: int
    procedure: str | None
    """What, in the report's words; None where it isn't named ("recommend action")."""
    modality: str | None
    """DICOM modality (CT, MR, US, MG, PT, NM, DX, RF, BMD, ES, XA ...); None for what is no imaging."""
    anatomy: Concept | None
    """Where."""
    interval_days_min: int | None
    """When, counted from this study: the earliest time named. "Within 3 months" names one time: both are 90."""
    interval_days_max: int | None
    """The latest time named. A month has 30 days, twelve months 365."""
    conditional: bool
    """Only if something holds: "if symptoms persist", "as clinically indicated"."""
    kind: RecommendationKind = RecommendationKind.RECOMMENDED
    guideline: str | None = None
    """The guideline that is named for it."""


@dataclass(frozen=True, slots=True)
class Score:
    """A category of a reporting system, or a graded scale: BI-RADS 4A, Fazekas 2, T-score -2.7."""

    system: str
    category: str
    """As the system writes it; modifiers follow after a space ("3 S")."""
    text: str
    start: int
    end: int
    scope: str
    """"exam", "lesion", or "prior" for one that is of an earlier study."""
    version: str | None = None
    """Of the system, where the text names it: "2.1", "2019"."""
    temporality: Temporality = Temporality.CURRENT


@dataclass(frozen=True, slots=True)
class Communication:
    """That a result was, or was tried to be, told to somebody."""

    text: str
    start: int
    end: int
    recipient: str | None
    """Whom, in the report's words."""
    time: str | None
    """When, in the report's words."""
    method: str | None
    """How: "by telephone"."""
    acknowledged: bool
    """Read back, understood, or receipt confirmed."""
    completed: bool
    """False where it was only tried or is still to be done."""


@dataclass(frozen=True, slots=True)
class PatientStatement:
    """Age or sex of the patient as the text states it."""

    age_years: float | None
    sex: str | None
    """DICOM: "F", "M"."""
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the pipeline makes of a narrative."""

    language: str
    pipeline: str
    """Pack, version and digest of everything that can change the answer: "en-2026.1+3f9c0d21a4b7"."""
    sections: tuple[Section, ...] = ()
    findings: tuple[Finding, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    labels: dict[str, dict[str, str | None]] = field(default_factory=dict)
    """Label set -> label -> present, absent, possible or None."""
    recommendations: tuple[Recommendation, ...] = ()
    scores: tuple[Score, ...] = ()
    communications: tuple[Communication, ...] = ()
    demographics: tuple[PatientStatement, ...] = ()
    warnings: tuple[str, ...] = ()


# --- work and store ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Processed:
    """The outcome of one object's way through extract and analyse."""

    object_id: int
    state: State
    pipeline: str
    report: Report | None = None
    analysis: Analysis | None = None
    reason_code: str | None = None
    """Why it failed; None otherwise."""


def utc_text(moment: dt.datetime) -> str:
    """`moment` (aware) in UTC as RFC 3339 with seconds: "2026-11-22T06:00:00Z"."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_NAMES: dict[type, tuple[str, ...] | None] = {}
"""Field names of each class seen by `to_json`, None for one that is no dataclass: looked up many times a report."""


def _names(kind: type) -> tuple[str, ...] | None:
    if kind not in _NAMES:
        _NAMES[kind] = tuple(f.name for f in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None
    return _NAMES[kind]


_PLAIN = frozenset({str, int, float, bool, type(None)})


def to_json(record: Any) -> Any:
    """A record of this module as plain JSON values: dataclasses become objects, tuples arrays, enums their text."""
    kind = type(record)
    if kind in _PLAIN:
        return record
    names = _names(kind)
    if names is not None:
        return {n: v if type(v := getattr(record, n)) in _PLAIN else to_json(v) for n in names}
    if isinstance(record, tuple | list):
        return [to_json(v) for v in record]
    if isinstance(record, enum.Enum):
        return record.value
    if isinstance(record, dict):
        return {str(k): to_json(v) for k, v in record.items()}
    if isinstance(record, dt.datetime):
        return utc_text(record)
    return record
