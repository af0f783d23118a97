"""The vocabulary: frozen records and enumerations that every step speaks about.

A report's way through them::

    Arrival --intake--> Receipt            what came in, and what was answered
    StoredObject --extract--> Report       the original bytes, and what they say (text, items, identity)
    Report.narrative --analyse--> Analysis what the text means (sections, findings, measurements, labels)
    Processed                              the outcome of one object's way through extract and analyse

All offsets are half-open character offsets into ``Narrative.text``. Lengths in findings are millimetres; other
quantities keep their UCUM unit. Field names are DICOM keywords in snake_case where the standard has one.
"""

import datetime as dt
import functools
import re
from dataclasses import dataclass
from typing import Any

from dicomnlp.plain_values import to_json as to_json
from dicomnlp.plain_values import utc_text as utc_text
from dicomnlp.remarks import Remarks as Remarks
from dicomnlp.statements import (
    PIPELINE_SEPARATOR as PIPELINE_SEPARATOR,
)
from dicomnlp.statements import (
    Analysis as Analysis,
)
from dicomnlp.statements import (
    Communication as Communication,
)
from dicomnlp.statements import (
    Concept as Concept,
)
from dicomnlp.statements import (
    Cue as Cue,
)
from dicomnlp.statements import (
    Finding as Finding,
)
from dicomnlp.statements import (
    Measurement as Measurement,
)
from dicomnlp.statements import (
    PatientStatement as PatientStatement,
)
from dicomnlp.statements import (
    Recommendation as Recommendation,
)
from dicomnlp.statements import (
    Score as Score,
)
from dicomnlp.statements import (
    Section as Section,
)
from dicomnlp.terms import (
    Acuity as Acuity,
)
from dicomnlp.terms import (
    Assertion as Assertion,
)
from dicomnlp.terms import (
    Change as Change,
)
from dicomnlp.terms import (
    Door as Door,
)
from dicomnlp.terms import (
    Laterality as Laterality,
)
from dicomnlp.terms import (
    Outcome as Outcome,
)
from dicomnlp.terms import (
    RecommendationKind as RecommendationKind,
)
from dicomnlp.terms import (
    SectionName as SectionName,
)
from dicomnlp.terms import (
    Severity as Severity,
)
from dicomnlp.terms import (
    State as State,
)
from dicomnlp.terms import (
    Temporality as Temporality,
)

UID_PATTERN = re.compile(r"(?=.{1,64}\Z)[0-2](?:\.(?:0|[1-9][0-9]*))+\Z")
"""A unique identifier by PS3.5 9.1: at most 64 characters, no leading zeros, nothing else; match with ``.match``."""


def is_uid(text: str | None) -> bool:
    """Whether `text` is a well-formed DICOM UID (PS3.5 9.1), the only kind that may reach a log, a URL or a file."""
    # each is asked about several times while its object passes by; what may be kept is short
    return text is not None and len(text) <= 64 and _is_uid(text)


@functools.lru_cache(4096)
def _is_uid(text: str) -> bool:
    return UID_PATTERN.match(text) is not None


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
class ImageHeader:
    """What is kept of an image: what its header says of study, series, place and side. Never logged, UIDs excepted."""

    identity: Identity
    sha256: str
    """Of the whole data set, pixel data included, hexadecimal."""
    size: int
    """Of the whole data set, in bytes."""
    laterality: str = ""
    """(0020,0060): of the series; "L", "R" ..."""
    image_laterality: str = ""
    """(0020,0062): of this image."""
    series_number: str = ""
    instance_number: str = ""
    number_of_frames: str = ""
    series_date: str = ""
    series_time: str = ""
    acquisition_date: str = ""
    acquisition_time: str = ""
    protocol_name: str = ""


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
    image: ImageHeader | None = None
    """Of an image, whose header is kept in place of its bytes."""


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
    character_set_override: str = ""
    """The character set that an administrator states for it, "" when its own is to be believed."""
    is_own: bool = False
    """Under its SOP Instance UID this installation has written a document."""


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
    subject: str = ""
    """Whom it was measured on (PS3.16 TID 1006) when that isn't the patient: "fetus 2", "specimen A"."""
    observer: str = ""
    """Who says so (TID 1001), when the report tells: "person", "device"; names stay in the items."""
    temporality: Temporality = Temporality.CURRENT
    """PRIOR below previous findings and below a procedure that is quoted (TID 1000, TID 1005)."""


@dataclass(frozen=True, slots=True)
class CodedFinding:
    """A CODE content item that states something of the subject, rather than its context or what qualifies it."""

    path: str
    concept: Code | None
    value: Code
    modifiers: tuple[tuple[Code, Code], ...] = ()
    subject: str = ""
    observer: str = ""
    temporality: Temporality = Temporality.CURRENT
    """These three as in `CodedMeasurement`."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Characters [start, end) of the narrative came from the content item at `path` (or "page 3" of a PDF)."""

    start: int
    end: int
    path: str
    subject: str = ""
    observer: str = ""
    """Both as in `CodedMeasurement`."""
    language: str = ""
    """Declared for this item or what it stands in, where that differs from the report's."""


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
    coded_findings: tuple[CodedFinding, ...] = ()
    identical_documents: tuple[str, ...] = ()
    """SOP Instance UIDs of (0040,A525): copies of this report in other studies."""
    accession_numbers: tuple[str, ...] = ()
    """Its own and those of the requests that it answers (0040,A370), each once."""
    verification_date_time: str = ""
    """DT, the latest of the verifying observers' (0040,A073), "" when nobody verified it."""
    warnings: tuple[str, ...] = ()
    """Stable codes with places, e.g. "truncated_element at 0040A730"; never values."""


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
    character_set_override: str = ""
    """As of the `StoredObject` that was read: a result by another than is stated now is out of date."""
    modalities: tuple[str, ...] = ()
    """DICOM modalities by which the study was made, as far as the object tells; a report's own is "SR"."""
    remarks: Remarks | None = None
    """What a second reader would remark on it; None when nobody looked."""
    generation: int | None = None
    """Number of the promotion by which its pipeline counted when it was read: of an earlier one it is out of date."""
