"""By which modality a study was made, from the words that name the exam: "CT CHEST W/O CONTRAST" is CT.

A report object says only that it is one: its Modality (0008,0060) is "SR" (PS3.3 C.17.1).
"""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from dicomnlp.analyse.language import languages, pack_folder
from dicomnlp.analyse.pack import read_pack
from dicomnlp.analyse.passages import Phrases, passage

_ALIASES = {"XR": "DX", "CXR": "DX", "CTA": "CT", "MRI": "MR", "MRA": "MR", "MRT": "MR", "PET": "PT", "DXA": "BMD"}
"""Abbreviations with which names of exams begin in any language."""
_CODES = "|".join(("CT", "MR", "US", "MG", "PT", "NM", "DX", "CR", "RF", "XA", "BMD", *_ALIASES))
_NAMED = re.compile(rf"(?<![^\W\d_])({_CODES})(?![^\W\d_])")
"""Modality (C.7.3.1.1.1) as the code itself or an alias, in capitals."""
_HEADERS_IN = "en"
"""Descriptions in headers are often English, whatever the report's language is."""
_VOLUME = frozenset({"CT", "MR", "PT", "NM", "MG"})
_ALSO = frozenset({"DX", "RF", "XA"})
"""Their words also name parts of the others: "views", "contrast study", "angiography"."""
_CHARACTERS = 300
"""Of a text: the name of an exam is short, and stands at its beginning."""


def exam_modalities(texts: Iterable[str], language: str) -> tuple[str, ...]:
    """DICOM modalities that the name of an exam names.

    Parameters
    ----------
    texts
        What names the exam, the most trusted first: the first that names a modality counts alone.
    language
        Code of the pack whose words are looked for, and English ones where these and the codes name none.

    Returns
    -------
    tuple of str
        In the order of the alphabet: ("CT", "PT"); () when nothing names one.
    """
    codes = [code for code in dict.fromkeys((language, _HEADERS_IN)) if code in languages()]
    packs = [words for code in codes if (words := _words(pack_folder(code))) is not None]
    for text in texts:
        start = text[:_CHARACTERS]
        found = {_ALIASES.get(code, code) for code in _NAMED.findall(start)}
        for phrases, modalities in packs:
            found |= {modalities[hit.value] for hit in phrases.find(passage(start).words)}
            if found:
                break
        if found & _VOLUME:
            found -= _ALSO
        if found:
            return tuple(sorted(found))
    return ()


@cache
def _words(folder: Path) -> tuple[Phrases, tuple[str, ...]] | None:
    """The words of a pack that name a modality, and the modality of each by its number."""
    rules = read_pack(folder).recommendations
    if rules is None:
        return None
    imaging = [(entry.modality, entry.terms) for entry in rules.procedures if entry.modality is not None]
    phrases = Phrases("recommendations.toml", [("procedure", n, terms) for n, (_, terms) in enumerate(imaging)])
    return phrases, tuple(modality for modality, _ in imaging)
