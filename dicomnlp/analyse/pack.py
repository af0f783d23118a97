"""A language pack: the data files of one language, read, checked and held.

One engine reads every language; a pack is a folder ``languages/<code>/`` of TOML files and nothing else. What a file
may hold is in `dicomnlp.analyse.schema`; a pack that breaks it is refused with the file, the key and what is wrong.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from dicomnlp.analyse import schema, statement_schema
from dicomnlp.errors import LanguagePackError
from dicomnlp.model import Concept

LANGUAGES = Path(__file__).parent / "languages"
LABELS = Path(__file__).parent / "labels"
TARGET = "target"
"""The concept id of a span that the caller asked for and the lexicon doesn't know."""
UNLISTED = "unlisted_finding"
"""The concept id of a span that a trained model found and the lexicon doesn't list."""

WORDS = frozenset({"terms", "cased", "compose"})
"""What a pack doesn't take from its base: the words of a language."""

_File = TypeVar("_File", bound=schema.Table)


@dataclass(frozen=True, slots=True)
class Pack:
    """One language's data."""

    folder: Path
    about: schema.PackFile
    concepts: Mapping[str, schema.ConceptEntry]
    anatomy: Mapping[str, schema.AnatomyEntry]
    sections: schema.SectionsFile
    sentences: schema.SentencesFile
    context: schema.ContextFile
    attributes: schema.AttributesFile
    measures: schema.MeasuresFile
    recommendations: statement_schema.RecommendationsFile | None
    scores: statement_schema.ScoresFile | None
    communication: statement_schema.CommunicationFile | None
    demographics: statement_schema.DemographicsFile | None
    cases: tuple[schema.Case, ...]
    label_sets: tuple[schema.LabelSet, ...]

    @property
    def language(self) -> str:
        """The language's code."""
        return self.about.language

    def lineage(self, concept_id: str) -> Iterator[str]:
        """`concept_id` and its ancestors, nearest first."""
        return _lineage(self.concepts, concept_id)

    def site_lineage(self, site_id: str) -> Iterator[str]:
        """`site_id` and the sites that it is part of, nearest first."""
        return _lineage(self.anatomy, site_id)

    def critical(self, concept_id: str) -> bool:
        """Whether the concept or an ancestor of it is an actionable finding."""
        return any(self.concepts[i].critical is not None for i in self.lineage(concept_id) if i in self.concepts)


def _lineage(entries: Mapping[str, schema.ConceptEntry] | Mapping[str, schema.AnatomyEntry], of: str) -> Iterator[str]:
    seen: str | None = of
    while seen is not None:
        yield seen
        entry = entries.get(seen)
        seen = entry.parent if entry else None


def concept_of(identifier: str, entry: schema.ConceptEntry | schema.AnatomyEntry) -> Concept:
    """The public form of an entry."""
    return Concept(identifier, entry.code, entry.scheme, entry.meaning)


def read_pack(folder: Path, labels: Path = LABELS) -> Pack:
    """Read the pack in `folder` and the label sets in `labels`.

    Raises
    ------
    LanguagePackError
        A file is missing, isn't TOML, breaks its schema, or refers to a concept that isn't there.
    """
    about = read_about(folder)
    base = base_of(folder, about)
    pack = Pack(
        folder=folder,
        about=about,
        concepts=_entries(folder, "concepts", schema.ConceptsFile, base).concepts,
        anatomy=_entries(folder, "anatomy", schema.AnatomyFile, base).anatomy,
        sections=_read(folder / "sections.toml", schema.SectionsFile),
        sentences=_read(folder / "sentences.toml", schema.SentencesFile),
        context=_read(folder / "context.toml", schema.ContextFile),
        attributes=_read(folder / "attributes.toml", schema.AttributesFile),
        measures=_read(folder / "measures.toml", schema.MeasuresFile),
        recommendations=_optional(folder / "recommendations.toml", statement_schema.RecommendationsFile),
        scores=_optional(folder / "scores.toml", statement_schema.ScoresFile),
        communication=_optional(folder / "communication.toml", statement_schema.CommunicationFile),
        demographics=_optional(folder / "demographics.toml", statement_schema.DemographicsFile),
        cases=tuple(case for path in files(folder, "cases") for case in _read(path, schema.CasesFile).cases),
        label_sets=tuple(_read(path, schema.LabelSet) for path in sorted(labels.glob("*.toml"))),
    )
    wrong = list(inconsistencies(pack))
    if wrong:
        raise LanguagePackError(f"language pack {folder.name}: " + "; ".join(wrong))
    return pack


def codes_in(packs: Path | None = None) -> tuple[str, ...]:
    """Codes of the languages that have a pack: the program's, and those of the folder `packs`."""
    folders = [LANGUAGES, *([packs] if packs is not None else [])]
    return tuple(sorted({path.parent.name for folder in folders for path in folder.glob("*/pack.toml")}))


def folder_of(language: str, packs: Path | None = None) -> Path:
    """The folder of the pack of `language`: that of the folder `packs` where it has one, else the program's."""
    own = packs / language if packs is not None else None
    return own if own is not None and (own / "pack.toml").exists() else LANGUAGES / language


def base_of(folder: Path, about: schema.PackFile) -> Path | None:
    """The folder of the pack that the one in `folder` is based on: beside it, else the program's; None without one."""
    return folder_of(about.base, folder.parent) if about.base else None


def read_about(folder: Path) -> schema.PackFile:
    """``pack.toml`` of the pack in `folder` alone."""
    return _read(folder / "pack.toml", schema.PackFile)


def _optional(path: Path, kind: type[_File]) -> _File | None:
    return _read(path, kind) if path.exists() else None


def files(folder: Path, name: str) -> list[Path]:
    """The files that a pack keeps `name` in: ``name.toml``, and those of a folder of that name."""
    return [path for path in (folder / f"{name}.toml",) if path.exists()] + sorted((folder / name).glob("*.toml"))


def _entries(folder: Path, name: str, kind: type[_File], base: Path | None) -> _File:
    """The entries of all files of `name`, with what isn't words from those of the same ids in the pack `base`."""
    entries: dict[str, Any] = {}
    if base is not None:
        for path in files(base, name):
            for identifier, entry in _load(path).get(name, {}).items():
                entries[identifier] = {key: value for key, value in entry.items() if key not in WORDS}
    own: set[str] = set()
    for path in files(folder, name) or [folder / f"{name}.toml"]:
        for identifier, entry in _load(path).get(name, {}).items():
            if identifier in own:
                raise LanguagePackError(f"language pack file {_place(path)}: {identifier} is in another file too")
            own.add(identifier)
            entries[identifier] = {**entries.get(identifier, {}), **entry} if isinstance(entry, dict) else entry
    return _validated({name: entries}, kind, f"{folder.name}/{name}.toml")


def _read(path: Path, kind: type[_File]) -> _File:
    return _validated(_load(path), kind, _place(path))


def _place(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LanguagePackError(f"language pack file {_place(path)} is missing") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LanguagePackError(f"language pack file {_place(path)} isn't TOML: {error}") from error


def _validated(data: dict[str, Any], kind: type[_File], place: str) -> _File:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        details = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:10])
        raise LanguagePackError(f"language pack file {place}: {details}") from error


def inconsistencies(pack: Pack) -> Iterator[str]:
    """What no single file's schema can see."""
    if not any(group.category == "NEGATED_EXISTENCE" for group in pack.context.cues):
        # a pack without them reads every "no fracture" as a fracture
        yield "context.toml: no negation cues"
    for identifier, entry in pack.concepts.items():
        where = f"concepts.toml: {identifier}"
        named = entry.terms or entry.cased or entry.compose
        if not (named or pack.about.base or _is_parent(pack, identifier)):
            yield f"{where} has no terms and is nobody's parent"
        if (entry.code is None) != (entry.scheme is None):
            yield f"{where} needs both code and scheme, or neither"
        yield from (f"{where} implies {i}, which isn't there" for i in entry.implies if i not in pack.concepts)
        yield from _broken_lineage("concepts.toml", pack.concepts, identifier)
    for identifier, site in pack.anatomy.items():
        if (site.code is None) != (site.scheme is None):
            yield f"anatomy.toml: {identifier} needs both code and scheme, or neither"
        yield from _broken_lineage("anatomy.toml", pack.anatomy, identifier)
        unknown = [c for c in site.instead if c not in pack.concepts] + [
            other for other in site.instead.values() if other not in pack.anatomy
        ]
        yield from (f"anatomy.toml: {identifier} names {other} instead, which isn't there" for other in unknown)
    yield from _ambiguous(pack)
    for labels in pack.label_sets:
        yield from _unknown_in(labels, pack)


def _ambiguous(pack: Pack) -> Iterator[str]:
    """Compositions that name no site of the pack, or mean two concepts at one."""
    meant: dict[tuple[str, str], str] = {}
    for identifier, entry in pack.concepts.items():
        for composition in entry.compose:
            for site in composition.at:
                if site not in pack.anatomy:
                    yield f"concepts.toml: {identifier} composes at {site}, which isn't a site"
                for term in composition.change:
                    other = meant.setdefault((term.lower(), site), identifier)
                    if other != identifier:
                        yield f"concepts.toml: {term} at {site} means both {other} and {identifier}"


def _unknown_in(labels: schema.LabelSet, pack: Pack) -> Iterator[str]:
    where = f"labels {labels.set}"
    for label, sources in labels.labels.items():
        named = [i for source in sources for i in (source.concept, *source.without)]
        yield from (f"{where}: {label} names {i}, which isn't a concept" for i in named if i not in pack.concepts)
        sites = [i for source in sources for i in source.at]
        yield from (f"{where}: {label} names {i}, which isn't a site" for i in sites if i not in pack.anatomy)
        if bool(sources) == (label in labels.nothing_else):
            yield f"{where}: {label} needs either concepts or a rule under nothing_else"
    yield from (f"{where}: elsewhere names {i}, which isn't a site" for i in labels.elsewhere if i not in pack.anatomy)
    for label, rule in labels.nothing_else.items():
        unknown = [i for i in (label, *rule.besides) if i not in labels.labels]
        yield from (f"{where}: nothing_else names {i}, which isn't a label" for i in unknown)


def _is_parent(pack: Pack, identifier: str) -> bool:
    return any(entry.parent == identifier for entry in pack.concepts.values())


def _broken_lineage(
    file: str, entries: Mapping[str, schema.ConceptEntry] | Mapping[str, schema.AnatomyEntry], identifier: str
) -> Iterator[str]:
    seen = {identifier}
    parent = entries[identifier].parent
    while parent is not None:
        if parent not in entries:
            yield f"{file}: {identifier} descends from {parent}, which isn't there"
            return
        if parent in seen:
            yield f"{file}: {identifier} is its own ancestor"
            return
        seen.add(parent)
        parent = entries[parent].parent
