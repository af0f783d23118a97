"""What a principal is shown of findings and reports: all of it, or what a researcher may see.

A researcher gets texts without identities and with dates shifted, offsets pointing into these texts; UIDs stay, because
everything is asked for by them. What is filtered by can single a patient out as well as what is shown, so that some
filters aren't for researchers.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from dicomnlp.export.deidentified import CleanedReport, Deidentifier
from dicomnlp.export.pseudonyms import shifted
from dicomnlp.serve.access import Principal
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.problems import ProblemError
from dicomnlp.store.answers import StoredFinding, StoredReport
from dicomnlp.store.exports import ExportedReport
from dicomnlp.store.follow_up import FollowUp
from dicomnlp.store.search_filters import Filters

IDENTITIES = frozenset({"patient_id", "text", "institution", "station", "calling_ae_title"})
"""Filters, and fields of counts, that tell where somebody was or can ask for a person: not for researchers."""
_WITHHELD = IDENTITIES | {"pipeline"}
"""Filters that aren't for researchers: texts are cleaned as the analysis that counts has them."""


def may_use(principal: Principal, filters: Filters) -> bool:
    """Whether a search by `filters` is for `principal`: to a researcher by none of `_WITHHELD`."""
    return principal.sees_identities or not (_WITHHELD & filters.to_json().keys())


def check_filters(principal: Principal, filters: Filters) -> None:
    """Refuse filters that aren't for `principal`, see `may_use`.

    Raises
    ------
    ProblemError
        not_allowed.
    """
    if not may_use(principal, filters):
        raise ProblemError(
            "not_allowed",
            f"The filters {', '.join(sorted(IDENTITIES))} tell whom or where, and pipeline what doesn't hold: not for "
            "researchers.",
        )


class Shown:
    """Findings and reports in the public form, as far as they are for who asks.

    Parameters
    ----------
    connection
        Where the originals are, whose headers say whom a report names.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def findings(self, principal: Principal, found: Sequence[StoredFinding]) -> list[dict[str, Any]]:
        """The findings; to a researcher those of reports whose original can't be read are withheld."""
        return [f.to_json() for f in self.of_findings(principal, found)]

    def reports(self, principal: Principal, found: Sequence[StoredReport]) -> list[dict[str, Any]]:
        """The reports; to a researcher those whose original can't be read are withheld."""
        return [r.to_json() for r in self.of_reports(principal, found)]

    def of_findings(self, principal: Principal, found: Sequence[StoredFinding]) -> list[StoredFinding]:
        """As `findings`, for who makes something else of them than JSON."""
        if principal.sees_identities:
            return list(found)
        by, reports = self._cleaned(principal, {f.sop_instance_uid for f in found})
        return [_finding(f, by, reports[f.sop_instance_uid]) for f in found if f.sop_instance_uid in reports]

    def of_reports(self, principal: Principal, found: Sequence[StoredReport]) -> list[StoredReport]:
        """As `reports`, likewise."""
        if principal.sees_identities:
            return list(found)
        by, reports = self._cleaned(principal, {r.sop_instance_uid for r in found if r.report is not None})
        shown = []
        for stored in found:
            cleaned = reports.get(stored.sop_instance_uid)
            if stored.report is None:
                shown.append(stored)
            elif cleaned is not None and cleaned.original == stored.report.narrative.text:
                shown.append(_report(stored, by, cleaned))
        return shown

    def recommendations(self, principal: Principal, found: Sequence[FollowUp]) -> list[dict[str, Any]]:
        """The recommendations; withheld as `findings`."""
        return [r.to_json() for r in self.of_recommendations(principal, found)]

    def of_recommendations(self, principal: Principal, found: Sequence[FollowUp]) -> list[FollowUp]:
        """As `recommendations`, likewise."""
        if principal.sees_identities:
            return list(found)
        _, reports = self._cleaned(principal, {r.sop_instance_uid for r in found})
        return [_follow_up(r, reports[r.sop_instance_uid]) for r in found if r.sop_instance_uid in reports]

    def _cleaned(
        self, principal: Principal, sop_instance_uids: Collection[str]
    ) -> tuple[Deidentifier, dict[str, CleanedReport]]:
        by = Deidentifier(self._connection.within(principal.scope))
        return by, by.reports(sop_instance_uids)


def _finding(stored: StoredFinding, by: Deidentifier, report: CleanedReport) -> StoredFinding:
    return replace(
        by.finding(stored, report),
        id=stored.id,
        study_instance_uid=stored.study_instance_uid,
        sop_instance_uid=stored.sop_instance_uid,
        analysed_at=stored.analysed_at,
        standing=stored.standing,
        studies=stored.studies,
    )


def _report(stored: StoredReport, by: Deidentifier, report: CleanedReport) -> StoredReport:
    cleaned = by.exported(ExportedReport(report.header, stored, ()), report).report
    assert cleaned.report is not None
    assert stored.report is not None
    return replace(
        cleaned,
        object_id=stored.object_id,
        sop_instance_uid=stored.sop_instance_uid,
        study_instance_uid=stored.study_instance_uid,
        received_at=stored.received_at,
        analysed_at=stored.analysed_at,
        standing=stored.standing,
        studies=stored.studies,
        report=replace(
            cleaned.report,
            predecessors=stored.report.predecessors,
            identical_documents=stored.report.identical_documents,
        ),
    )


def _follow_up(stored: FollowUp, report: CleanedReport) -> FollowUp:
    stated, clean, days = stored.recommendation, report.cleaner.clean, report.cleaner.shift_days
    start, end = report.narrative.span(stated.start, stated.end)
    return replace(
        stored,
        study_date=shifted(stored.study_date, days),
        due_from=shifted(stored.due_from, days) if stored.due_from else stored.due_from,
        due_to=shifted(stored.due_to, days) if stored.due_to else stored.due_to,
        recommendation=replace(
            stated,
            text=report.narrative.text[start:end],
            start=start,
            end=end,
            procedure=clean(stated.procedure).text if stated.procedure else stated.procedure,
            guideline=clean(stated.guideline).text if stated.guideline else stated.guideline,
        ),
    )
