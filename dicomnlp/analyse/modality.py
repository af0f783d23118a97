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

_NAMED = re.compile(r"(?<![^\W\d_])(CT|MR|US|MG|PT|NM|DX|CR|RF|XA|BMD)(?![^\W\d_])")
"""Modality (C.7.3.1.1.1) as the code itself, in capitals."""
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
        Code of the pack whose words are looked for; without such a pack, or a pack without procedures, only the codes
        themselves are.

    Returns
    -------
    tuple of str
        In the order of the alphabet: ("CT", "PT"); () when nothing names one.
    """
    words = _words(pack_folder(language)) if language in languages() else None
    for text in texts:
        start = text[:_CHARACTERS]
        found = set(_NAMED.findall(start))
        if words is not None:
            phrases, modalities = words
            hits = phrases.find(passage(start).words)
            found |= {modalities[hit.value] for hit in hits}
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
