"""Label sets of researchers over a report's findings."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from dicomnlp.analyse.pack import Pack
from dicomnlp.analyse.schema import LabelSet, LabelSource
from dicomnlp.model import Assertion, Finding, SectionName

COUNTED = (SectionName.FINDINGS, SectionName.IMPRESSION, SectionName.ADDENDUM, SectionName.COMMUNICATION)
"""Sections that say what is seen; a label never comes from what was asked or remembered."""
_ORDER = (Assertion.PRESENT, Assertion.POSSIBLE, Assertion.ABSENT)
"""The strongest statement wins."""
_RAISED = (Assertion.PRESENT.value, Assertion.POSSIBLE.value)

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

    def __call__(self, findings: Iterable[Finding], sections: Iterable[SectionName]) -> Labels:
        """The labels of a report, by its findings of the patient and by which sections it has."""
        said: dict[str, dict[str, int]] = {labels.set: {} for labels in self._sets}
        for finding in findings:
            if finding.section not in COUNTED or finding.assertion not in _ORDER or not _is_of_patient(finding.subject):
                continue
            strength = _ORDER.index(finding.assertion)
            # a part is at its whole: what is in the right upper lobe is in the lung
            sites = self._within[finding.anatomy.id] if finding.anatomy else _NOWHERE
            for labels, label, source in self._counts_for.get(finding.concept.id, ()):
                if not sites.isdisjoint(self._elsewhere[labels]) or (source.at and sites.isdisjoint(source.at)):
                    continue
                if not source.denies or finding.assertion is Assertion.ABSENT:
                    said[labels][label] = min(strength, said[labels].get(label, strength))
        speaks = any(name in COUNTED for name in sections)
        return {labels.set: self._set(labels, said[labels.set], speaks=speaks) for labels in self._sets}

    @staticmethod
    def _set(labels: LabelSet, said: Mapping[str, int], *, speaks: bool) -> dict[str, str | None]:
        values: dict[str, str | None] = dict.fromkeys(labels.labels)
        values.update((label, _ORDER[strength].value) for label, strength in said.items())
        raised = {label for label, value in values.items() if value in _RAISED}
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
