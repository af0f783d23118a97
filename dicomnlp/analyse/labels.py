"""Label sets of researchers over a report's findings."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from dicomnlp.analyse.pack import Pack
from dicomnlp.analyse.schema import LabelSet, LabelSource
from dicomnlp.model import Assertion, Finding, SectionName

COUNTED = frozenset({SectionName.FINDINGS, SectionName.IMPRESSION, SectionName.ADDENDUM, SectionName.COMMUNICATION})
"""Sections that say what is seen; a label never comes from what was asked or remembered."""
_ORDER = (Assertion.PRESENT, Assertion.POSSIBLE, Assertion.ABSENT)
"""The strongest statement wins."""

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
        self._counts_for = _turned_round(pack)

    def __call__(self, findings: Iterable[Finding], sections: Iterable[SectionName]) -> Labels:
        """The labels of a report, by its findings of the patient and by which sections it has."""
        said: dict[tuple[str, str], set[Assertion]] = defaultdict(set)
        for finding in findings:
            if finding.section not in COUNTED or not _is_of_patient(finding.subject):
                continue
            site = finding.anatomy.id if finding.anatomy else None
            for labels, label, source in self._counts_for.get(finding.concept.id, ()):
                if site in self._elsewhere[labels] or (source.at and site not in source.at):
                    continue
                if not source.denies or finding.assertion is Assertion.ABSENT:
                    said[labels, label].add(finding.assertion)
        speaks = not COUNTED.isdisjoint(sections)
        return {labels.set: self._set(labels, said, speaks=speaks) for labels in self._sets}

    @staticmethod
    def _set(
        labels: LabelSet, said: Mapping[tuple[str, str], set[Assertion]], *, speaks: bool
    ) -> dict[str, str | None]:
        values: dict[str, str | None] = dict.fromkeys(labels.labels)
        for (name, label), found in said.items():
            if name == labels.set:
                values[label] = next((a.value for a in _ORDER if a in found), None)
        for label, rule in labels.nothing_else.items():
            raised = any(
                value in {Assertion.PRESENT, Assertion.POSSIBLE}
                for other, value in values.items()
                if other != label and other not in rule.besides
            )
            values[label] = Assertion.PRESENT.value if speaks and not raised else None
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
