"""The worklist of critical results: reports with something that somebody must be told, by category, age and state."""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from dicomnlp.errors import NotFoundError
from dicomnlp.model import to_json, utc_text
from dicomnlp.review.critical import CriticalFinding, Documented, critical_findings, documented
from dicomnlp.store.critical import CriticalFilters, CriticalReport, Place, critical_report, critical_reports, place_of
from dicomnlp.store.cursors import check_page, encode
from dicomnlp.store.database import Database

MAXIMUM_PAGE: Final = 200
_LOOKED_AT: Final = 2000
"""Reports that are judged for a page, at the most: where few fit, a page may be short, and the next goes on."""


class CriticalState(StrEnum):
    """How a critical result stands."""

    OPEN = "open"
    """Nobody is known to have been told."""
    DOCUMENTED = "documented"
    """The report itself says that somebody was."""
    ACKNOWLEDGED = "acknowledged"
    """Somebody answers for it here."""


@dataclass(frozen=True, slots=True)
class CriticalResult:
    """A report on the worklist."""

    report: CriticalReport
    found: tuple[CriticalFinding, ...]
    """The most urgent first; at least one."""
    documented: Documented | None

    @property
    def category(self) -> int:
        """That of the most urgent: 1 within minutes, 2 within hours, 3 within days."""
        return self.found[0].category

    @property
    def concepts(self) -> tuple[str, ...]:
        """Ids of what was found."""
        return tuple(f.finding.concept.id for f in self.found)

    @property
    def state(self) -> CriticalState:
        """How it stands; a result that came with a later version is open again."""
        if set(self.concepts) <= {a.concept_id for a in self.report.acknowledgements}:
            return CriticalState.ACKNOWLEDGED
        return CriticalState.DOCUMENTED if self.documented else CriticalState.OPEN

    def age(self, now: dt.datetime) -> dt.timedelta:
        """Since the report was received."""
        return max(dt.timedelta(0), now - self.report.received_at)

    def to_json(self, now: dt.datetime) -> dict[str, Any]:
        """In the public form."""
        report = self.report
        date = report.study_date
        return {
            "sop_instance_uid": report.sop_instance_uid,
            "study_instance_uid": report.study_instance_uid,
            "category": self.category,
            "state": self.state.value,
            "documented": self.documented is not None,
            "received_at": utc_text(report.received_at),
            "age_seconds": int(self.age(now).total_seconds()),
            "study_date": f"{date[:4]}-{date[4:6]}-{date[6:]}" if date else None,
            "modality": report.modality or None,
            "study_description": report.study_description or None,
            "accession_number": report.accession_number or None,
            "patient_id": report.patient_id or None,
            "is_preliminary": report.is_preliminary,
            "sentence": self.found[0].finding.sentence,
            "findings": [finding_to_json(f) for f in self.found],
            "communication": self.documented.to_json() if self.documented else None,
            "acknowledgements": [a.to_json() for a in report.acknowledgements],
        }


def finding_to_json(found: CriticalFinding) -> dict[str, Any]:
    """A critical finding in the public form."""
    finding = found.finding
    return {
        "concept": to_json(finding.concept),
        "category": found.category,
        "reason": found.reason,
        "assertion": finding.assertion.value,
        "laterality": finding.laterality.value if finding.laterality else None,
        "change": finding.change.value if finding.change else None,
        "text": finding.text,
        "start": finding.start,
        "end": finding.end,
        "sentence": finding.sentence,
        "section": finding.section.value,
    }


@dataclass(frozen=True, slots=True)
class CriticalPage:
    """A part of the worklist."""

    results: list[CriticalResult]
    next: str | None
    """What the next page is asked for with; None when this is the last."""


def judge(report: CriticalReport) -> CriticalResult | None:
    """The result of a report; None when nothing in it is one."""
    found = critical_findings(report.findings)
    return CriticalResult(report, tuple(found), documented(report.communications)) if found else None


def critical_results(
    database: Database,
    filters: CriticalFilters,
    *,
    category: int | None = None,
    state: CriticalState | None = None,
    after: str | None = None,
    limit: int = 100,
) -> CriticalPage:
    """One page of the worklist, the newest study first.

    Parameters
    ----------
    category, state
        Only such results; None for all.
    after
        `CriticalPage.next` of the page before.
    limit
        1 to `MAXIMUM_PAGE`.

    Raises
    ------
    UsageError
        `after` is none of ours, or `limit` isn't within its bounds.
    """
    check_page(limit, MAXIMUM_PAGE, "critical results")
    place: Place | None = place_of(after) if after is not None else None
    found: list[CriticalResult] = []
    for _ in range(_LOOKED_AT // MAXIMUM_PAGE):
        reports = critical_reports(database, filters, place, MAXIMUM_PAGE)
        for report in reports:
            if len(found) == limit:
                return CriticalPage(found, encode(place) if place else None)
            place = (report.study_date, report.object_id)
            result = judge(report)
            if result is None or category not in {None, result.category} or state not in {None, result.state}:
                continue
            found.append(result)
        if len(reports) < MAXIMUM_PAGE:
            return CriticalPage(found, None)
    return CriticalPage(found, encode(place) if place else None)


def critical_result(database: Database, sop_instance_uid: str) -> CriticalResult:
    """That of a report.

    Raises
    ------
    NotFoundError
        It has none, isn't there, or doesn't count.
    """
    result = judge(critical_report(database, sop_instance_uid))
    if result is None:
        raise NotFoundError("no report that counts holds a critical result under this SOP Instance UID")
    return result
