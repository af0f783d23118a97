"""What a report says of its place among other documents, as rows: studies, references, what it is a copy of."""

import hashlib
import json
import re
from typing import Any

from dicomnlp.model import Analysis, Evidence, Report, SectionName, is_uid, to_json
from dicomnlp.store.prevailing import ADDENDUM_CODES, rejection_reason

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
_STANDARD_STORAGE = "1.2.840.10008.5.1.4.1.1."
_DOCUMENT_STORAGE = tuple(_STANDARD_STORAGE + tail for tail in ("88.", "104.", "78.", "79."))
_ADDENDUM_TITLE = re.compile(r"\b(addendum|nachtrag|aanvulling|suplemento|complemento|adendo|addenda)\b", re.IGNORECASE)
_WORD = re.compile(r"\w")
_CORRECTED = re.compile(r"\b(corrected|amended|revised|correction|revision)\b|更正|修正", re.IGNORECASE)
"""Of headings that stand over corrections as well as in corrected reports."""
_WHOLE = frozenset({SectionName.FINDINGS, SectionName.IMPRESSION})
"""Sections of a report that says everything itself."""

OWN, EVIDENCE, REQUEST, ACCESSION, IDENTICAL = "own", "evidence", "request", "accession", "identical"
COMPARISON = "comparison"
BELONGS = (OWN, EVIDENCE, REQUEST, ACCESSION, IDENTICAL)
"""Kinds of link by which a report's findings are those of the study; the strongest first."""
DERIVED = (ACCESSION, IDENTICAL)
"""Kinds that depend on what else is held."""
PREDECESSOR, IDENTICAL_DOCUMENT, REJECTED = "predecessor", "identical", "rejected"

_KIND_OF_EVIDENCE = {"current": EVIDENCE, "request": REQUEST, "pertinent": COMPARISON}


def study_links(report: Report, study_instance_uid: str) -> dict[str, str]:
    """Study Instance UID -> how the report is linked to it; the strongest kind of each.

    Its own study; those of Current Requested Procedure Evidence Sequence (0040,A375); those of Referenced Request
    Sequence (0040,A370); those of Pertinent Other Evidence Sequence (0040,A385) for comparison only (PS3.3 C.17.2).
    """
    found = {OWN: {study_instance_uid}, EVIDENCE: set(), REQUEST: set(), COMPARISON: set()}
    for e in report.evidence:
        if is_uid(e.study_instance_uid):
            found[_KIND_OF_EVIDENCE[e.kind]].add(e.study_instance_uid)
    return {uid: kind for kind in (COMPARISON, REQUEST, EVIDENCE, OWN) for uid in sorted(found[kind])}


def references(report: Report, sop_class_uid: str) -> set[tuple[str, str]]:
    """(SOP Instance UID, kind) of documents on which it depends what prevails."""
    found = {(uid, PREDECESSOR) for uid in report.predecessors}
    found |= {(uid, IDENTICAL_DOCUMENT) for uid in report.identical_documents}
    code = report.document_code
    if sop_class_uid == KEY_OBJECT_SELECTION and code is not None and rejection_reason(code.scheme, code.value):
        found |= {(uid, REJECTED) for uid in _selected(report)}
    own = report.identity.sop_instance_uid
    return {(uid, kind) for uid, kind in found if is_uid(uid) and uid != own}


def _selected(report: Report) -> set[str]:
    """What a key object selection selects, but images: notes on these may name thousands, none of them a report."""
    by_evidence = {e.sop_instance_uid for e in report.evidence if e.kind == "current" and _may_be_document(e)}
    by_items = {
        item.value["sop_instance_uid"]
        for item in report.items
        if item.value_type == "COMPOSITE" and isinstance(item.value, dict) and item.value.get("sop_instance_uid")
    }
    return by_evidence | by_items


def _may_be_document(evidence: Evidence) -> bool:
    uid = evidence.sop_class_uid
    return not uid.startswith(_STANDARD_STORAGE) or uid.startswith(_DOCUMENT_STORAGE)


def addendum_of(report: Report, analysis: Analysis | None) -> str:
    """Whether the document is called an addendum ("title"), or a part of it is ("section"); else ""."""
    code = report.document_code
    if (code is not None and (code.scheme, code.value) in ADDENDUM_CODES) or _ADDENDUM_TITLE.search(report.title):
        return "title"
    if any(i.concept and (i.concept.scheme, i.concept.value) in ADDENDUM_CODES for i in report.items):
        return "section"
    sections = (*report.narrative.sections, *(analysis.sections if analysis else ()))
    text = report.narrative.text
    # "CORRECTED REPORT." alone in its line reads like a heading, and with nothing below it nothing is added
    added = [s for s in sections if s.name is SectionName.ADDENDUM and _WORD.search(text, s.body_start, s.end)]
    if {s.name for s in sections} >= _WHOLE:
        # that a whole report says it is corrected doesn't make it a part of the one that it corrects
        added = [s for s in added if not _CORRECTED.search(s.title or "")]
    return "section" if added else ""


def content_sha256(report: Report) -> str:
    """A digest of what the report states, whoever it was issued for; "" when it states nothing."""
    if not (report.narrative.text or report.measurements or report.coded_findings):
        return ""
    content = [" ".join(report.narrative.text.split()), to_json(report.measurements), to_json(report.coded_findings)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def copy_key(header: Any, digest: str) -> str | None:
    """The same for objects that are copies of each other although they don't say so; None for one that can't be.

    Copies are of one study, patient, content date and time, and state the same. A time must be there: two reports
    that say only "normal" are not one.
    """
    parts = (
        header.study_instance_uid,
        header.issuer_of_patient_id,
        header.patient_id,
        header.content_date,
        header.content_time,
        digest,
    )
    if not all((header.patient_id, header.content_date, header.content_time, digest)):
        return None
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
