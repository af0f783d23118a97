"""Words of a site's own that an administrator accepts as names of a concept: written into the site's overlay.

They stand in ``<language>/concepts/accepted.toml``, a file that this module alone writes; what the site writes by hand
is in other files and is never touched.
"""

import json
import os
import shutil
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dicomnlp.analyse import languages, refused_overlays, use_overlays
from dicomnlp.analyse.language import pack_folder
from dicomnlp.analyse.overlay import lay
from dicomnlp.analyse.pack import Pack, read_pack
from dicomnlp.errors import LanguageNotSupportedError, NotFoundError, UsageError
from dicomnlp.learn.features import tokens_of
from dicomnlp.learn.neighbours import Lexicon

FILE = Path("concepts") / "accepted.toml"
_HEAD = (
    "# Words of our own, accepted as names of concepts by `dicomnlp features accept`, which alone writes this file.\n"
    "# To take a word back, delete it here, and check with `dicomnlp languages check`.\n"
)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What was written."""

    file: Path
    concept: str
    added: tuple[str, ...]
    known: tuple[str, ...]
    """What named the concept before."""


def accept(overlays: Path, language: str, concept: str, words: Sequence[str]) -> Accepted:
    """Make `words` names of `concept` in the overlay of `language`; those that are already change nothing.

    The overlay is tried as it will be, with all its cases and the pack's, before anything of it is changed.

    Parameters
    ----------
    overlays
        Folder of the site's overlays, which is made where it is missing.
    language
        Of the pack.
    concept
        Identifier.
    words
        Words and phrases, as they are written in reports.

    Raises
    ------
    LanguageNotSupportedError
        There is no such pack.
    NotFoundError
        The lexicon has no such concept.
    UsageError
        The overlay wouldn't be sound: a word names something else, or a case fails; or it wasn't before. Nothing is
        written.
    """
    if language not in languages():
        message = f"no language pack {language!r}; there are packs for {', '.join(languages())}"
        raise LanguageNotSupportedError(message)
    base = read_pack(pack_folder(language))
    laid = lay(base, overlays / language)
    if laid.faults:
        raise UsageError(f"the overlay isn't sound as it is: {laid.faults[0]}")
    pack = laid.pack
    if concept not in pack.concepts:
        raise NotFoundError(f"the lexicon has no concept {concept}; see docs/reference/lexicon.md")
    lexicon = Lexicon(pack)
    terms = list(dict.fromkeys(" ".join(word.lower().split()) for word in words if tokens_of(word)))
    added = tuple(term for term in terms if lexicon.concept(tokens_of(term)) != concept)
    found = Accepted(overlays / language / FILE, concept, added, tuple(t for t in terms if t not in added))
    if not added:
        return found
    entries = _read(found.file)
    entries[concept] = [*entries.get(concept, []), *added]
    text = _written(entries)
    _try(base, overlays, text)
    found.file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=overlays, prefix=".accepted-", delete=False, encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
        # the service may run as another user than who accepts
        os.fchmod(file.fileno(), 0o644)
    Path(file.name).replace(found.file)
    use_overlays(overlays)
    return found


def _read(path: Path) -> dict[str, list[str]]:
    if not path.exists():
        return {}
    table = tomllib.loads(path.read_text(encoding="utf-8")).get("concepts", {})
    others = [i for i, entry in table.items() if set(entry) != {"terms"}]
    if others:
        raise UsageError(f"{path}: {others[0]} has more than terms; write what is yours into another file")
    return {identifier: list(entry["terms"]) for identifier, entry in table.items()}


def _written(entries: dict[str, list[str]]) -> str:
    """TOML: a string of JSON without escapes of pairs is one of TOML."""
    lines = [
        f"{identifier} = {{ terms = [{', '.join(json.dumps(term, ensure_ascii=False) for term in terms)}] }}"
        for identifier, terms in sorted(entries.items())
    ]
    return "\n".join([_HEAD + "[concepts]", *lines]) + "\n"


def _try(base: Pack, overlays: Path, text: str) -> None:
    """Raise UsageError where the overlay with `text` as its file wouldn't be used."""
    with tempfile.TemporaryDirectory(prefix="dicomnlp-overlay-") as place:
        trial = Path(place) / "overlays"
        folder = trial / base.language
        folder.mkdir(parents=True)
        if (overlays / base.language).is_dir():
            shutil.copytree(overlays / base.language, folder, dirs_exist_ok=True)
        (folder / FILE).parent.mkdir(exist_ok=True)
        (folder / FILE).write_text(text, encoding="utf-8")
        # the cases take seconds, and what is wrong without them is told at once
        refused = lay(base, folder).faults
        if not refused:
            use_overlays(trial)
            try:
                refused = refused_overlays().get(base.language, ())
            finally:
                use_overlays(overlays if overlays.is_dir() else None)
    if refused:
        rest = f", and {len(refused) - 1} more" if len(refused) > 1 else ""
        raise UsageError(f"not written, the overlay wouldn't be used: {refused[0]}{rest}")
