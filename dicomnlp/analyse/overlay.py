"""A site's own words over a language pack: terms, cues, headings and cases, from a folder of its own.

An overlay is a folder with a folder for each language (``zh/``), which holds files as a pack does. Everything in it is
looked at, and whatever is wrong is told with its line; an overlay with a fault isn't used.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from dicomnlp.analyse import schema
from dicomnlp.analyse.context import CATEGORIES, steps
from dicomnlp.analyse.pack import WORDS, Pack, files, inconsistencies
from dicomnlp.analyse.toml_lines import line_numbers, line_of
from dicomnlp.errors import LanguagePackError
from dicomnlp.model import SectionName

FILES = ("concepts", "anatomy", "sections", "context", "cases")
"""What an overlay may hold; the entries of each may stand in several files of a folder of that name."""

_Lines = dict[tuple[str | int, ...], int]
"""Where each key stands, as `line_numbers` tells it."""
_Entry = TypeVar("_Entry", bound=schema.Table)
_Site = TypeVar("_Site", schema.ConceptEntry, schema.AnatomyEntry)


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """Something wrong in an overlay."""

    file: str
    """Below the overlay's folder."""
    line: int | None
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"


@dataclass(frozen=True, slots=True)
class Laid:
    """A pack with an overlay's sound parts, and what is wrong with the others."""

    pack: Pack
    faults: tuple[Fault, ...]
    cases: tuple[tuple[schema.Case, str, int | None], ...]
    """The overlay's cases with their files and lines."""


def languages_of(overlays: Path) -> list[str]:
    """Codes of the languages that `overlays` has a folder for, in order."""
    return sorted(path.name for path in overlays.iterdir() if path.is_dir()) if overlays.is_dir() else []


def lay(pack: Pack, folder: Path) -> Laid:
    """`pack` with what the overlay in `folder` adds; what is faulty is left out."""
    return _Layer(pack, folder).laid()


class _Layer:
    def __init__(self, pack: Pack, folder: Path) -> None:
        self._pack = pack
        self._folder = folder
        self._faults: list[Fault] = []
        self._fold = pack.about.folding

    def laid(self) -> Laid:
        for path in sorted(self._folder.rglob("*")):
            inside = path.relative_to(self._folder).with_suffix("").parts
            if path.is_file() and (path.suffix != ".toml" or inside[0] not in FILES or len(inside) > 2):
                self._faults.append(Fault(self._name(path), None, f"an overlay has no such file; {_KNOWN}"))
        concepts = self._entries("concepts", schema.ConceptEntry, self._pack.concepts)
        anatomy = self._entries("anatomy", schema.AnatomyEntry, self._pack.anatomy)
        sections = self._sections()
        cues = [cue for cue, _, _ in self._listed("context", "cues", schema.CueGroup, self._cue)]
        cases = self._listed("cases", "cases", schema.Case, lambda *_: True)
        pack = replace(
            self._pack,
            concepts=concepts,
            anatomy=anatomy,
            sections=sections,
            context=self._pack.context.model_copy(update={"cues": (*self._pack.context.cues, *cues)}),
        )
        self._faults += [Fault(self._folder.name, None, wrong) for wrong in inconsistencies(pack)]
        return Laid(pack, tuple(sorted(self._faults, key=lambda f: (f.file, f.line or 0))), tuple(cases))

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder.parent).as_posix()

    def _read(self, name: str) -> Iterator[tuple[dict[str, Any], _Lines, str]]:
        """(data, lines, name) of each file of `name` that is TOML."""
        for path in files(self._folder, name):
            try:
                text = path.read_text(encoding="utf-8")
                data = tomllib.loads(text)
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                line = _line_in(str(error))
                self._faults.append(Fault(self._name(path), line, f"isn't TOML in UTF-8: {error}"))
                continue
            lines = line_numbers(text)
            for key in data.keys() - {_TABLE[name]}:
                message = f"{key} can't be in an overlay's {name}.toml, {_TABLE[name]} alone"
                self._faults.append(Fault(self._name(path), line_of(lines, (key,)), message))
            yield data, lines, self._name(path)

    def _valid(
        self, kind: type[_Entry], data: object, lines: _Lines, path: Sequence[str | int], file: str
    ) -> _Entry | None:
        try:
            return kind.model_validate(data)
        except ValidationError as error:
            for wrong in error.errors():
                place = (*path, *wrong["loc"])
                self._faults.append(Fault(file, line_of(lines, place), f"{_dotted(place)}: {wrong['msg']}"))
            return None

    def _entries(self, name: str, kind: type[_Site], known: Mapping[str, _Site]) -> dict[str, _Site]:
        """The pack's entries with the overlay's: further words of those there are, and new ones."""
        entries = dict(known)
        taken = {self._key(term): i for i, entry in known.items() for term in entry.terms}
        parents: list[tuple[str, str, int | None]] = []
        for data, lines, file in self._read(name):
            table = data.get(name, {})
            for identifier, given in table.items() if isinstance(table, dict) else ():
                path: tuple[str, str] = (name, identifier)
                old = known.get(identifier)
                if not isinstance(given, dict):
                    self._faults.append(Fault(file, line_of(lines, path), f"{_dotted(path)} must be a table"))
                    continue
                owned = sorted(given.keys() - WORDS) if old else []
                if owned and owned[0] in kind.model_fields:
                    message = f"{_dotted(path)} is the pack's; its {owned[0]} can't be changed, only words be added"
                    self._faults.append(Fault(file, line_of(lines, (*path, owned[0])), message))
                    continue
                entry = self._valid(kind, {"meaning": old.meaning, **given} if old else given, lines, path, file)
                if entry is None:
                    continue
                if self._clashes(entry, identifier, taken, lines, path, file):
                    continue
                if entry.parent is not None and old is None:
                    parents.append((identifier, file, line_of(lines, (*path, "parent"))))
                entries[identifier] = _joined(old, entry) if old else entry
        for identifier, file, line in parents:
            parent = entries[identifier].parent
            if parent not in entries or parent == identifier:
                self._faults.append(Fault(file, line, f"{name}.{identifier}: there is no {parent} to descend from"))
                del entries[identifier]
        return entries

    def _clashes(
        self,
        entry: schema.ConceptEntry | schema.AnatomyEntry,
        identifier: str,
        taken: dict[str, str],
        lines: _Lines,
        path: tuple[str, str],
        file: str,
    ) -> bool:
        found = False
        for number, term in enumerate(entry.terms):
            other = taken.setdefault(self._key(term), identifier)
            if other != identifier:
                line = line_of(lines, (*path, "terms", number))
                self._faults.append(Fault(file, line, f"{_dotted(path)}: {term!r} already names {other}"))
                found = True
        return found

    def _key(self, term: str) -> str:
        return " ".join(term.translate(self._fold).lower().replace("-", " ").split())

    def _sections(self) -> schema.SectionsFile:
        headings: dict[Any, tuple[str, ...]] = dict(self._pack.sections.headings)
        for data, lines, file in self._read("sections"):
            given = self._valid(_Headings, {"headings": data.get("headings", {})}, lines, (), file)
            for name, words in given.headings.items() if given else ():
                headings[name] = (*headings.get(name, ()), *words)
        return self._pack.sections.model_copy(update={"headings": headings})

    def _listed(
        self, name: str, key: str, kind: type[_Entry], fits: Callable[[_Entry, Callable[[int], int | None], str], bool]
    ) -> list[tuple[_Entry, str, int | None]]:
        """The sound entries of an array, with file and line."""
        found: list[tuple[_Entry, str, int | None]] = []
        for data, lines, file in self._read(name):
            given = data.get(key, [])
            if not isinstance(given, list):
                self._faults.append(Fault(file, line_of(lines, (key,)), f"{key} must be a list"))
                continue
            for number, item in enumerate(given):
                entry = self._valid(kind, item, lines, (key, number), file)

                def line(term: int, number: int = number, lines: _Lines = lines) -> int | None:
                    return line_of(lines, (key, number, "terms", term))

                if entry is not None and fits(entry, line, file):
                    found.append((entry, file, line_of(lines, (key, number))))
        return found

    def _cue(self, group: schema.CueGroup, line: Callable[[int], int | None], file: str) -> bool:
        """Whether each cue of the group can match, and the group does something."""
        sound = True
        if group.direction in ("forward", "backward", "bidirectional") and group.category not in CATEGORIES:
            message = f"{group.category} is no category that acts; there are {', '.join(sorted(CATEGORIES))}"
            self._faults.append(Fault(file, line(0), message))
            sound = False
        for number, term in enumerate(group.terms):
            try:
                words = list(steps(term))
            except LanguagePackError as error:
                self._faults.append(Fault(file, line(number), str(error)))
                sound = False
                continue
            if all(optional for _, optional in words) or not isinstance(words[0][0][0], str):
                message = f"the cue {term!r} can match nothing, or begins with a gap"
                self._faults.append(Fault(file, line(number), message))
                sound = False
        return sound


class _Headings(schema.Table):
    """``sections.toml`` of an overlay."""

    headings: dict[SectionName, schema.Words]


_TABLE = {"concepts": "concepts", "anatomy": "anatomy", "sections": "headings", "context": "cues", "cases": "cases"}
_KNOWN = "it may hold " + ", ".join(f"{name}.toml" for name in FILES)


def _joined(old: _Site, new: _Site) -> _Site:
    return old.model_copy(update=_words_of(old, new))


def _words_of(*entries: schema.Table) -> dict[str, tuple[object, ...]]:
    """The words of all `entries` together; sites have no compositions."""
    names = [name for name in sorted(WORDS) if hasattr(entries[0], name)]
    return {name: tuple(word for entry in entries for word in getattr(entry, name)) for name in names}


def _dotted(path: Sequence[str | int]) -> str:
    return ".".join(map(str, path))


def _line_in(message: str) -> int | None:
    """The line that tomllib names: "(at line 3, column 5)"."""
    _, found, after = message.partition("(at line ")
    return int(after.partition(",")[0]) if found and after.partition(",")[0].isdigit() else None
