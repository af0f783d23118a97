"""A result as the values of its rows.

Most of what it costs to save a report is turning records into JSON, text into words, and values into what drivers take.
There is one process that writes and there are many workers, so it is the workers that do it.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from dicomnlp.model import Narrative, Processed, Recommendation, Report, State
from dicomnlp.store.columns import CleanText, Json, clean, json_text
from dicomnlp.store.records import analysis_row, finding_row
from dicomnlp.store.remarks import NO_REMARKS, RemarkRows, remark_rows
from dicomnlp.store.schema import analysis, finding
from dicomnlp.store.words import indexed_words

OF_ANALYSIS = tuple(c.name for c in analysis.c if c.name not in {"id", "analysed_at"})
"""Columns of `analysis` that a result decides, in the order of `Prepared.analysis`."""
OF_FINDING = tuple(
    c.name
    for c in finding.c
    if c.name
    not in {
        *("id", "analysis_id", "object_id", "study_instance_uid", "sop_instance_uid"),
        *("is_current", "pipeline", "analysed_at", "study_date"),
    }
)
"""Columns of `finding` that a finding decides, in the order of each of `Prepared.findings`."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The outcome of one object, ready to be written."""

    object_id: int
    state: State
    pipeline: str
    reason_code: str | None
    character_set_override: str
    generation: int | None = None
    report: Report | None = None
    """Without its text and its content: what its links to studies and other documents are made of."""
    recommendations: tuple[Recommendation, ...] = ()
    modalities: tuple[str, ...] = ()
    content_sha256: str = ""
    analysis: tuple[Any, ...] = ()
    findings: tuple[tuple[Any, ...], ...] = ()
    words: str = ""
    """Those that are indexed, with a blank between."""
    remarks: RemarkRows = NO_REMARKS


def prepare_rows(result: Processed) -> Prepared:
    """The values of the rows that `result` becomes; whatever isn't known before it is written is left out."""
    report = result.report
    prepared = Prepared(
        object_id=result.object_id,
        state=result.state,
        pipeline=result.pipeline,
        reason_code=result.reason_code,
        character_set_override=result.character_set_override,
        generation=result.generation,
    )
    if report is None:
        return prepared
    row = analysis_row(result)
    return dataclasses.replace(
        prepared,
        report=without_content(report),
        recommendations=result.analysis.recommendations if result.analysis else (),
        modalities=result.modalities,
        content_sha256=row["content_sha256"],
        analysis=tuple(_convert(row[name]) for name, _convert in _ANALYSIS),
        findings=tuple(
            tuple(_convert(values[name]) for name, _convert in _FINDING)
            for values in (finding_row(f) for f in (result.analysis.findings if result.analysis else ()))
        ),
        words=" ".join(indexed_words(clean(report.narrative.text))),
        remarks=remark_rows(result.remarks),
    )


def without_content(report: Report) -> Report:
    """`report` without its text and its content, as `Prepared` has it."""
    return dataclasses.replace(
        report,
        narrative=Narrative(""),
        # of a rejection note these are what it rejects
        items=tuple(item for item in report.items if item.value_type == "COMPOSITE"),
        measurements=(),
        coded_findings=(),
    )


def _text(value: Any) -> str | None:
    # str(): the drivers would take an enumeration for its name
    return None if value is None else clean(str(value))


def _same(value: Any) -> Any:
    return value


def _conversion(kind: Any) -> Any:
    if isinstance(kind, CleanText):
        return _text
    return json_text if isinstance(kind, Json) else _same


_ANALYSIS = tuple((name, _conversion(analysis.c[name].type)) for name in OF_ANALYSIS)
_FINDING = tuple((name, _conversion(finding.c[name].type)) for name in OF_FINDING)
