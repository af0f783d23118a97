"""Where sections begin and what they are, by the English headings."""

import pytest

from dicomnlp.analyse import load_pack
from dicomnlp.analyse.sections import SectionFinder
from dicomnlp.model import Narrative

Found = list[tuple[str, str | None, int]]

CASES: dict[str, tuple[str, Found]] = {
    "capitals": (
        "EXAM: MRI KNEE\nFINDINGS: Tear.\nIMPRESSION: Tear.",
        [("exam", "EXAM", 0), ("findings", "FINDINGS", 15), ("impression", "IMPRESSION", 31)],
    ),
    "one line": (
        "HISTORY: Fall. FINDINGS: No fracture. IMPRESSION: Normal.",
        [("history", "HISTORY", 0), ("findings", "FINDINGS", 15), ("impression", "IMPRESSION", 38)],
    ),
    "alone on the line": (
        "Indication\nPain\n\nFindings\nCyst.\n\nConclusion\nCyst.",
        [("indication", "Indication", 0), ("findings", "Findings", 17), ("impression", "Conclusion", 33)],
    ),
    # the marks before a heading belong to it, its number doesn't
    "numbered and marked": (
        "1. FINDINGS: Cyst.\n2. **IMPRESSION:** Cyst.",
        [("other", None, 0), ("findings", "FINDINGS", 3), ("impression", "IMPRESSION", 22)],
    ),
    "qualified and joined": (
        "CLINICAL HISTORY AND INDICATION: Pain.\nCT FINDINGS (abdomen): Cyst.\nFINAL IMPRESSION: Cyst.",
        [
            ("indication", "CLINICAL HISTORY AND INDICATION", 0),
            ("findings", "CT FINDINGS (abdomen)", 39),
            ("impression", "FINAL IMPRESSION", 68),
        ],
    ),
    # organ sub-headings stay within their section
    "organs": (
        "FINDINGS:\nLUNGS: Clear.\nPleura: No effusion.\nIMPRESSION: Normal.",
        [("findings", "FINDINGS", 0), ("impression", "IMPRESSION", 45)],
    ),
    # the words of headings in prose are no headings
    "prose": ("Findings are unchanged. The impression of the radius is old.", [("findings", None, 0)]),
    # no heading for what is seen: it begins where the paragraph before it ends
    "missing findings": (
        "COMPARISON: CT 2020.\n\nThe liver is normal.\nIMPRESSION: Normal.",
        [("comparison", "COMPARISON", 0), ("findings", None, 22), ("impression", "IMPRESSION", 43)],
    ),
    "missing findings, one line": (
        "COMPARISON: None. The liver is normal. IMPRESSION: Normal.",
        [("comparison", "COMPARISON", 0), ("findings", None, 18), ("impression", "IMPRESSION", 39)],
    ),
    "title line": ("CT HEAD WITHOUT CONTRAST\nNo bleed.", [("exam", None, 0), ("findings", None, 25)]),
    "none at all": ("No bleed.", [("findings", None, 0)]),
    "examination as heading": (
        "CT ABDOMEN: Liver normal.\nCT PELVIS: Bladder normal.",
        [("findings", "CT ABDOMEN", 0), ("findings", "CT PELVIS", 26)],
    ),
    "addendum": (
        "IMPRESSION: Normal.\nADDENDUM: There is a cyst.",
        [("impression", "IMPRESSION", 0), ("addendum", "ADDENDUM", 20)],
    ),
    "windows line ends": (
        "FINDINGS:\r\nCyst.\r\nIMPRESSION\r\nCyst.",
        [("findings", "FINDINGS", 0), ("impression", "IMPRESSION", 18)],
    ),
}


@pytest.mark.parametrize(("text", "found"), CASES.values(), ids=CASES)
def test_headings_begin_sections(text: str, found: Found) -> None:
    """Name, title and place of each section."""
    sections = SectionFinder(load_pack("en").sections).find(Narrative(text))
    assert [(s.name.value, s.title, s.start) for s in sections] == found
    assert sections[0].start == 0
    assert sections[-1].end == len(text)
