"""Label sets of researchers over a report's findings."""

from collections.abc import Iterable

from dicomnlp.analyse.pack import Pack
from dicomnlp.model import Assertion, Finding, SectionName

COUNTED = frozenset({SectionName.FINDINGS, SectionName.IMPRESSION, SectionName.ADDENDUM, SectionName.COMMUNICATION})
"""Sections that say what is seen; a label never comes from what was asked or remembered."""
_ORDER = (Assertion.PRESENT, Assertion.POSSIBLE, Assertion.ABSENT)


def label(pack: Pack, findings: Iterable[Finding]) -> dict[str, dict[str, str | None]]:
    """Label set -> label -> present, possible, absent or None, by the findings of a report.

    The strongest statement wins, present before possible before absent; a concept counts for the labels that name it
    or an ancestor of it.
    """
    said: dict[str, set[Assertion]] = {}
    for finding in findings:
        if finding.section in COUNTED:
            for concept in pack.lineage(finding.concept.id):
                said.setdefault(concept, set()).add(finding.assertion)
    return {
        labels.set: {
            name: next((a.value for a in _ORDER if any(a in said.get(c, ()) for c in concepts)), None)
            for name, concepts in labels.labels.items()
        }
        for labels in pack.label_sets
    }
