"""Radiology reports made from a grammar, with what they say.

Each sentence is put together from a finding, a place and a frame that asserts it in one of several ways, so what a
reader would make of the finding is known. Reports differ in modality, headings, layout (prose, numbers, dashes, organ
labels) and the order of their sentences.
"""

import random
from dataclasses import dataclass, replace

STUDIES: dict[str, dict[str, tuple[str, ...]]] = {
    "CT CHEST": {
        "lung": ("nodule", "consolidation", "bronchiectasis", "emphysema", "atelectasis"),
        "pleura": ("pleural effusion", "pneumothorax"),
        "heart": ("pericardial effusion", "cardiomegaly"),
    },
    "CT ABDOMEN AND PELVIS": {
        "liver": ("hepatic cyst", "hepatic steatosis", "hemangioma"),
        "kidney": ("renal cyst", "hydronephrosis", "nephrolithiasis"),
        "bowel": ("diverticulosis", "bowel obstruction", "appendicitis"),
        "peritoneum": ("ascites", "pneumoperitoneum"),
    },
    "MRI BRAIN": {
        "brain": ("meningioma", "hydrocephalus", "intracranial hemorrhage", "acute infarct"),
        "sinus": ("sinusitis", "mastoid effusion"),
    },
    "US ABDOMEN": {
        "gallbladder": ("cholelithiasis", "cholecystitis"),
        "kidney": ("renal cyst", "hydronephrosis"),
        "liver": ("hepatic steatosis", "ascites"),
    },
    "XR KNEE": {
        "bone": ("fracture", "dislocation", "osteoarthritis"),
        "joint": ("joint effusion", "chondrocalcinosis"),
    },
    "MRI LUMBAR SPINE": {
        "disc": ("disc bulge", "disc protrusion"),
        "canal": ("spinal stenosis", "foraminal stenosis", "spondylolisthesis"),
    },
    "PET/CT": {
        "neck": ("lymphadenopathy", "thyroid nodule"),
        "chest": ("lung mass", "pleural effusion"),
    },
    "DIAGNOSTIC MAMMOGRAM": {"breast": ("mass", "architectural distortion", "calcifications")},
}

FRAMES: dict[str, tuple[str, ...]] = {
    "present": (
        "There is {x}.",
        "{X} is present.",
        "{X} is again seen.",
        "Mild {x}, unchanged from the prior study.",
        "Interval increase in {x}.",
        "Findings are consistent with {x}.",
        "No significant change in {x}.",
        "Compared to the prior exam, {x} is smaller.",
    ),
    "absent": (
        "No {x}.",
        "There is no evidence of {x}.",
        "{X} is not seen.",
        "Negative for {x}.",
        "Previously seen {x} has resolved.",
        "No findings to suggest {x}.",
        "The examination is without {x}.",
    ),
    "possible": (
        "Possible {x}.",
        "This may represent {x}.",
        "{X} cannot be excluded.",
        "Appearance is suspicious for {x}.",
        "{X} is likely.",
        "Favor {x}.",
        "{X} is less likely but cannot be excluded.",
    ),
    "hypothetical": ("If {x} is suspected, further imaging is advised.", "Recommend follow-up to exclude {x}."),
    "historical": ("History of {x}.", "Status post treatment for {x}."),
}

PAIRS: tuple[tuple[str, str, str], ...] = (
    ("No {x}, but there is {y}.", "absent", "present"),
    ("{X} without {y}.", "present", "absent"),
    ("No {x} or {y}.", "absent", "absent"),
    ("{X} and {y} are not identified.", "absent", "absent"),
    ("There is {x}; no {y}.", "present", "absent"),
    ("{X} is stable and {y} is not seen.", "present", "absent"),
    ("{X} versus {y}.", "possible", "possible"),
    ("No {x}. Possible {y}.", "absent", "possible"),
    ("The {x} has resolved but {y} persists.", "absent", "present"),
)

PAIRED: dict[str, tuple[str, ...]] = {
    "CT CHEST": ("pleural effusion", "pneumothorax", "hilar lymphadenopathy"),
    "CT ABDOMEN AND PELVIS": ("hydronephrosis", "hydroureter", "adrenal hyperplasia"),
    "MRI BRAIN": ("mastoid effusion", "hippocampal atrophy"),
    "US ABDOMEN": ("hydronephrosis",),
    "XR KNEE": ("joint effusion", "soft tissue swelling"),
    "MRI LUMBAR SPINE": ("foraminal stenosis", "facet arthropathy"),
    "PET/CT": ("pleural effusion", "axillary lymphadenopathy"),
    "DIAGNOSTIC MAMMOGRAM": ("axillary lymphadenopathy", "skin thickening"),
}
"""Findings of one side or both, of each study."""

DETAILED: tuple[tuple[str, tuple[tuple[str, str | None, str | None], ...]], ...] = (
    ("Mild left {x}.", (("left", "mild", None),)),
    ("Moderate right {x}, unchanged.", (("right", "moderate", "stable"),)),
    ("New bilateral {x}.", (("bilateral", None, "new"),)),
    ("The left {x} has increased.", (("left", None, "increased"),)),
    ("Severe {x} on the right.", (("right", "severe", None),)),
    ("Mild right and severe left {x}.", (("right", "mild", None), ("left", "severe", None))),
    ("There is left {x}. It is unchanged.", (("left", None, "stable"),)),
    ("Bilateral {x}, mild on the left and severe on the right.", (("left", "mild", None), ("right", "severe", None))),
)
"""Sentences, and of each finding that they name its side, degree and course."""

LISTS: tuple[tuple[str, str], ...] = (
    ("subarachnoid", "intraventricular hemorrhage"),
    ("pleural", "pericardial effusion"),
    ("mediastinal", "hilar lymphadenopathy"),
    ("renal", "hepatic cysts"),
    ("gastric", "esophageal varices"),
    ("renal", "ureteral calculi"),
    ("mitral", "aortic regurgitation"),
)
"""Two findings, of which the first shares the head of the second."""

SHARED: tuple[tuple[str, str], ...] = (
    ("No {x} or {y}.", "absent"),
    ("There are {x} and {y}.", "present"),
    ("Possible {x} or {y}.", "possible"),
    ("{X} and {y} are not seen.", "absent"),
    ("History of {x} and {y}.", "historical"),
)

SEEN = ("nodule", "mass", "calcifications", "lesion")

HEADINGS = (
    ("FINDINGS:", "IMPRESSION:"),
    ("Findings:", "Conclusion:"),
    ("REPORT:", "OPINION:"),
    ("FINDINGS", "IMPRESSION"),
)


@dataclass(frozen=True, slots=True)
class Statement:
    """What a reader makes of the characters [start, end)."""

    start: int
    end: int
    assertion: str
    details: tuple[tuple[str, str | None, str | None], ...] = ()
    """Side, degree and course of each finding named there, where they are stated."""


@dataclass(frozen=True, slots=True)
class MadeReport:
    """A report and what it says."""

    text: str
    statements: tuple[Statement, ...]


class _Writer:
    def __init__(self) -> None:
        self.text = ""
        self.statements: list[Statement] = []

    def write(self, frame: str, words: dict[str, tuple[str, str]]) -> None:
        """Fill `frame`; `words` gives for each slot the finding and its assertion."""
        at = 0
        while (opening := frame.find("{", at)) >= 0:
            self.text += frame[at:opening]
            slot = frame[opening + 1]
            finding, assertion = words[slot.lower()]
            start = len(self.text)
            self.text += finding[0].upper() + finding[1:] if slot.isupper() else finding
            self.statements.append(Statement(start, len(self.text), assertion))
            at = opening + 3
        self.text += frame[at:]


def _write_details(writer: _Writer, study: str, chance: random.Random) -> None:
    """A sentence with side and degree, and a list that shares a head, in lines of their own."""
    writer.text = writer.text.rstrip() + "\n"
    frame, details = chance.choice(DETAILED)
    writer.write(frame, {"x": (chance.choice(PAIRED[study]), "present")})
    writer.statements[-1] = replace(writer.statements[-1], details=details)
    writer.text += "\n"
    one, other = chance.choice(LISTS)
    shared, assertion = chance.choice(SHARED)
    writer.write(shared, {"x": (one, assertion), "y": (other, assertion)})


def make_report(seed: int) -> MadeReport:
    """The report of this number: always the same."""
    chance = random.Random(seed)
    study = chance.choice(sorted(STUDIES))
    organs = STUDIES[study]
    findings = [finding for several in organs.values() for finding in several]
    chance.shuffle(findings)
    head, close = chance.choice(HEADINGS)
    layout = chance.choice(("prose", "lines", "dashes", "organs"))
    writer = _Writer()
    writer.text = f"EXAM: {study}\n\n"
    if chance.random() < 0.6:
        writer.write("INDICATION: Evaluate for {x}.\n\n", {"x": (findings[0], "hypothetical")})
    if chance.random() < 0.4:
        writer.text += "COMPARISON: None.\n\n"
    writer.text += f"{head}\n"
    while findings:
        writer.text += {
            "prose": "",
            "lines": "",
            "dashes": "- ",
            "organs": f"{chance.choice(sorted(organs)).title()}: ",
        }[layout]
        if len(findings) > 1 and chance.random() < 0.4:
            frame, one, other = chance.choice(PAIRS)
            finding = findings.pop()
            if one == "possible" and finding.endswith(SEEN):
                one = "present"  # what is seen is certain, what it is isn't
            writer.write(frame, {"x": (finding, one), "y": (findings.pop(), other)})
        else:
            assertion = chance.choices(sorted(FRAMES), weights=[4, 1, 1, 3, 4])[0]
            writer.write(chance.choice(FRAMES[assertion]), {"x": (findings.pop(), assertion)})
        writer.text += " " if layout == "prose" else "\n"
    said = [s for s in writer.statements if s.assertion == "present"]
    _write_details(writer, study, random.Random(seed))
    writer.text = writer.text.rstrip() + f"\n\n{close}\n"
    for number, statement in enumerate(said, start=1):
        writer.write(f"{number}. {{X}}.\n", {"x": (writer.text[statement.start : statement.end].lower(), "present")})
    if not said:
        writer.text += "Unremarkable study.\n"
    return MadeReport(writer.text, tuple(writer.statements))
