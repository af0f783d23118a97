"""Measures of quality: whether a report has what a measure counts, where the measure is for it."""

from collections.abc import Collection, Iterator

from dicomnlp.model import Assertion, Finding
from dicomnlp.remarks import Place, QualityMeasure
from dicomnlp.review.case import Case, lengths, parts_of, unsided
from dicomnlp.review.critical import CriticalFinding, critical_findings
from dicomnlp.review.guidance_rules import Measure, guidance_rules
from dicomnlp.review.orders import exam_statements, orders


def quality_measures(case: Case, modalities: Collection[str]) -> Iterator[QualityMeasure]:
    """Each measure that is for this report.

    Parameters
    ----------
    modalities
        DICOM modalities by which the study was made.
    """
    for measure in guidance_rules().measures:
        if measure.modalities and not set(modalities) & set(measure.modalities):
            continue
        if measure.exam_words and not any(measure.exam.search(p.words) for p in _exams(case)):
            continue
        found = _finding(case, measure)
        if (measure.concepts or measure.critical) and found is None:
            continue
        shown = _shown(case, measure)
        because = shown or (case.clause_of(found) if found else None)
        yield QualityMeasure(measure.id, (shown is None) if measure.inverse else shown is not None, because)


def _exams(case: Case) -> list[Place]:
    return [o.place for o in (*orders(case), *exam_statements(case))]


def _finding(case: Case, measure: Measure) -> Finding | None:
    """The finding that the measure is for."""
    if measure.critical:
        return next((c.finding for c in _urgent(case)), None)
    if not measure.concepts:
        return None
    for finding in case.stated:
        if finding.assertion is not Assertion.PRESENT:
            continue
        if finding.concept.id not in measure.kinds:
            continue
        sizes = [max(m.values) for m in lengths(finding)]
        if measure.size_mm is None or (sizes and measure.size_mm.hold(max(sizes))):
            return finding
    return None


def _urgent(case: Case) -> list[CriticalFinding]:
    """Of the ACR's categories 1 and 2, which are to be told within minutes or hours."""
    if not any(f.critical for f in case.stated):
        return []
    return [c for c in critical_findings(case.analysis.findings) if c.category < 3]


def _shown(case: Case, measure: Measure) -> Place | None:
    """What the report has of what the measure counts."""
    match = measure.met.search(case.text)
    if match:
        return case.place(*match.span())
    for score in case.analysis.scores:
        wanted = not measure.met_categories or score.category.split(" ", maxsplit=1)[0] in measure.met_categories
        if score.system in measure.met_scores and wanted and score.scope != "prior":
            return case.place(score.start, score.end)
    region = {s for site in measure.met_recommendation for s in parts_of(site)}
    for asked in case.analysis.recommendations if region else ():
        if asked.anatomy is None or unsided(asked.anatomy.id) in region:
            return case.place(asked.start, asked.end)
    told = next((c for c in case.analysis.communications if c.completed), None) if measure.met_communication else None
    return case.place(told.start, told.end) if told else None
