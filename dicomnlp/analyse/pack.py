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
        seen: str | None = concept_id
        while seen is not None:
            yield seen
            entry = self.concepts.get(seen)
            seen = entry.parent if entry else None

    def critical(self, concept_id: str) -> bool:
        """Whether the concept or an ancestor of it is an actionable finding."""
        return any(self.concepts[i].critical is not None for i in self.lineage(concept_id) if i in self.concepts)


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
    pack = Pack(
        folder=folder,
        about=read_about(folder),
        concepts=_read(folder / "concepts.toml", schema.ConceptsFile).concepts,
        anatomy=_read(folder / "anatomy.toml", schema.AnatomyFile).anatomy,
        sections=_read(folder / "sections.toml", schema.SectionsFile),
        sentences=_read(folder / "sentences.toml", schema.SentencesFile),
        context=_read(folder / "context.toml", schema.ContextFile),
        attributes=_read(folder / "attributes.toml", schema.AttributesFile),
        measures=_read(folder / "measures.toml", schema.MeasuresFile),
        recommendations=_optional(folder / "recommendations.toml", statement_schema.RecommendationsFile),
        scores=_optional(folder / "scores.toml", statement_schema.ScoresFile),
        communication=_optional(folder / "communication.toml", statement_schema.CommunicationFile),
        demographics=_optional(folder / "demographics.toml", statement_schema.DemographicsFile),
        cases=_read(folder / "cases.toml", schema.CasesFile).cases,
        label_sets=tuple(_read(path, schema.LabelSet) for path in sorted(labels.glob("*.toml"))),
    )
    wrong = list(_inconsistencies(pack))
    if wrong:
        raise LanguagePackError(f"language pack {folder.name}: " + "; ".join(wrong))
    return pack


def read_about(folder: Path) -> schema.PackFile:
    """``pack.toml`` of the pack in `folder` alone."""
    return _read(folder / "pack.toml", schema.PackFile)


def _optional(path: Path, kind: type[_File]) -> _File | None:
    return _read(path, kind) if path.exists() else None


def _read(path: Path, kind: type[_File]) -> _File:
    place = f"{path.parent.name}/{path.name}"
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LanguagePackError(f"language pack file {place} is missing") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LanguagePackError(f"language pack file {place} isn't TOML: {error}") from error
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        details = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:10])
        raise LanguagePackError(f"language pack file {place}: {details}") from error


def _inconsistencies(pack: Pack) -> Iterator[str]:
    """What no single file's schema can see."""
    if not any(group.category == "NEGATED_EXISTENCE" for group in pack.context.cues):
        # a pack without them reads every "no fracture" as a fracture
        yield "context.toml: no negation cues"
    for identifier, entry in pack.concepts.items():
        where = f"concepts.toml: {identifier}"
        if not (entry.terms or entry.cased or entry.compose or _is_parent(pack, identifier)):
            yield f"{where} has no terms and is nobody's parent"
        if (entry.code is None) != (entry.scheme is None):
            yield f"{where} needs both code and scheme, or neither"
        yield from (f"{where} implies {i}, which isn't there" for i in entry.implies if i not in pack.concepts)
        yield from _broken_lineage(pack, identifier)
    for identifier, site in pack.anatomy.items():
        if (site.code is None) != (site.scheme is None):
            yield f"anatomy.toml: {identifier} needs both code and scheme, or neither"
    for labels in pack.label_sets:
        yield from _unknown_in(labels, pack)


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


def _broken_lineage(pack: Pack, identifier: str) -> Iterator[str]:
    seen = {identifier}
    parent = pack.concepts[identifier].parent
    while parent is not None:
        if parent not in pack.concepts:
            yield f"concepts.toml: {identifier} descends from {parent}, which isn't there"
            return
        if parent in seen:
            yield f"concepts.toml: {identifier} is its own ancestor"
            return
        seen.add(parent)
        parent = pack.concepts[parent].parent
