"""Label sets of researchers over a report's findings."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache

from dicomnlp.analyse.pack import Pack
from dicomnlp.analyse.schema import LabelSet, LabelSource
from dicomnlp.model import Assertion, Finding, SectionName

COUNTED = frozenset({SectionName.FINDINGS, SectionName.IMPRESSION, SectionName.ADDENDUM, SectionName.COMMUNICATION})
"""Sections that say what is seen; a label never comes from what was asked or remembered."""
_STRENGTH = {Assertion.PRESENT: 0, Assertion.POSSIBLE: 1, Assertion.ABSENT: 2}
"""The strongest statement, the least number, wins."""
_VALUES = tuple(assertion.value for assertion in _STRENGTH)
_RAISED = 1
"""The weakest statement by which a label is raised: possible."""
_SEEN = 8192
"""Statements that a process keeps with what they count for; a report has dozens, and radiology repeats itself."""

_NOWHERE: frozenset[str] = frozenset()

Labels = dict[str, dict[str, str | None]]
"""Label set -> label -> present, possible, absent or None."""


class Labeller:
    """The label sets of one pack, turned round: what each concept counts for.

    Parameters
    ----------
    pack
        Its label sets and the descent of its concepts.
    """

    def __init__(self, pack: Pack) -> None:
        self._sets = pack.label_sets
        self._elsewhere = {labels.set: frozenset(labels.elsewhere) for labels in pack.label_sets}
        self._within = {site: frozenset(pack.site_lineage(site)) for site in pack.anatomy}
        self._counts_for = _turned_round(pack)
        self._unsaid: dict[str, dict[str, str | None]] = {s.set: dict.fromkeys(s.labels) for s in pack.label_sets}
        self._counts = lru_cache(_SEEN)(self._count)

    def __call__(self, findings: Iterable[Finding], sections: Iterable[SectionName]) -> Labels:
        """The labels of a report, by its findings of the patient and by which sections it has."""
        said: dict[str, dict[str, int]] = {labels.set: {} for labels in self._sets}
        statements = {
            (f.concept.id, f.anatomy and f.anatomy.id, f.assertion)
            for f in findings
            if f.section in COUNTED and f.assertion in _STRENGTH and (not f.subject or _is_of_patient(f.subject))
        }
        for statement in statements:
            strength = _STRENGTH[statement[2]]
            for labels, label in self._counts(*statement):
                known = said[labels]
                if strength < known.get(label, len(_STRENGTH)):
                    known[label] = strength
        speaks = any(name in COUNTED for name in sections)
        return {labels.set: self._set(labels, said[labels.set], speaks=speaks) for labels in self._sets}

    def _count(self, concept: str, site: str | None, assertion: Assertion) -> tuple[tuple[str, str], ...]:
        """The labels (set, label) that a finding with this concept, at this site, counts for."""
        # a part is at its whole: what is in the right upper lobe is in the lung
        sites = self._within[site] if site else _NOWHERE
        return tuple(
            (labels, label)
            for labels, label, source in self._counts_for.get(concept, ())
            if sites.isdisjoint(self._elsewhere[labels])
            and not (source.at and sites.isdisjoint(source.at))
            and (not source.denies or assertion is Assertion.ABSENT)
        )

    def _set(self, labels: LabelSet, said: Mapping[str, int], *, speaks: bool) -> dict[str, str | None]:
        values = self._unsaid[labels.set].copy()
        for label, strength in said.items():
            values[label] = _VALUES[strength]
        raised = {label for label, strength in said.items() if strength <= _RAISED}
        for label, rule in labels.nothing_else.items():
            raised.discard(label)
            values[label] = None
            if speaks and raised.issubset(rule.besides):
                raised.add(label)
                values[label] = Assertion.PRESENT.value
        return values


def _is_of_patient(subject: str) -> bool:
    """A specimen is part of the patient; a fetus isn't, nor is a device."""
    return not subject or subject.startswith("specimen")


def _turned_round(pack: Pack) -> dict[str, list[tuple[str, str, LabelSource]]]:
    """Concept -> (set, label, and as what) of every label that it counts for."""
    counts_for: dict[str, list[tuple[str, str, LabelSource]]] = defaultdict(list)
    for concept in pack.concepts:
        lineage = tuple(pack.lineage(concept))
        for labels in pack.label_sets:
            for label, sources in labels.labels.items():
                counts_for[concept] += [(labels.set, label, source) for source in sources if _covers(source, lineage)]
    return dict(counts_for)


def _covers(source: LabelSource, lineage: tuple[str, ...]) -> bool:
    """Whether the concept whose descent is `lineage`, itself first, is one that `source` names."""
    if source.exactly:
        return lineage[0] == source.concept
    return source.concept in lineage and set(source.without).isdisjoint(lineage)
