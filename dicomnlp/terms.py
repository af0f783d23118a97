"""The closed lists of the vocabulary: what a finding, a section, an object's state can be. Used through `model`."""

import enum
from typing import Final

HL7_MESSAGE_STORAGE: Final = "2.25.145223144321017829489339634063198094512"
"""Private SOP class of an HL7 message that is kept as an encapsulated document, under a header made of it."""


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

        (arrival) -> PENDING -> ANALYSED | NO_TEXT | NEEDS_OCR | OWN | FAILED
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
    OWN = "own"
    """Written by dicomnlp itself, and come back: kept, and not analysed."""
    FAILED = "failed"
    QUARANTINED = "quarantined"


class Door(enum.StrEnum):
    """How an object came in."""

    C_STORE = "c_store"
    IMPORT = "import"
    WATCHED_FOLDER = "watched_folder"
    STOW = "stow"
    """DICOMweb's Store transaction (PS3.18 10.5)."""
    HL7 = "hl7"
    """An ORU^R01 message over MLLP."""
    RETRIEVED = "retrieved"
    """Fetched from an archive by C-GET or WADO-RS; what it sends after a C-MOVE comes by C-STORE."""


class Outcome(enum.StrEnum):
    """What intake did with an arrival."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    """The same bytes under the same SOP Instance UID again: nothing changes."""
    NEW_VERSION = "new_version"
    """Other bytes under a known SOP Instance UID: both are kept, the newest is current."""
    INDEXED = "indexed"
    """The header of an image is kept, and its pixel data is not."""
    QUARANTINED = "quarantined"
    """Kept, but not linkable to a study; answered with a failure so that the sender knows."""
    REFUSED = "refused"


class RecommendationKind(enum.StrEnum):
    """How firmly a recommendation is put."""

    RECOMMENDED = "recommended"
    HEDGED = "hedged"
    """Could be considered, may be helpful."""
    OPTIONAL = "optional"
    GUIDELINE = "guideline"
    """What a society recommends, quoted; the radiologist doesn't say that it is meant for this patient."""
