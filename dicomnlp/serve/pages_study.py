"""A study's page: its reports with their findings marked, what they recommend, and the patient's other reports."""

import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response

from dicomnlp.analyse.names import states_normality
from dicomnlp.errors import NotFoundError
from dicomnlp.model import Assertion, State, Temporality
from dicomnlp.serve.access import Principal, Role, audited, require
from dicomnlp.serve.access_identities import Shown
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.highlighting import MarkedText, marked_text
from dicomnlp.serve.naming import Names
from dicomnlp.serve.page_parameters import asked
from dicomnlp.serve.parameters import StudyInstanceUID
from dicomnlp.serve.problems import ProblemError
from dicomnlp.serve.rendering import render, words_of
from dicomnlp.store import queries
from dicomnlp.store.answers import StoredFinding, StoredReport
from dicomnlp.store.changes import changes_of_report, compare
from dicomnlp.store.database import Database
from dicomnlp.store.prevailing import ReportStatus
from dicomnlp.store.priors import other_reports

_NAMES = ("report", "beside")
_COMPARED = (Assertion.PRESENT, Assertion.POSSIBLE, Assertion.ABSENT)


@dataclass(frozen=True, slots=True)
class ShownReport:
    """A report with all that a page tells of it."""

    stored: StoredReport
    findings: list[StoredFinding]
    """In the order of the text."""
    text: MarkedText | None
    """None while there is nothing to read."""

    @property
    def critical(self) -> list[StoredFinding]:
        """What is to be told at once, each concept once."""
        found: dict[str, StoredFinding] = {}
        for f in self.findings:
            if f.finding.critical and f.finding.assertion in {Assertion.PRESENT, Assertion.POSSIBLE}:
                found.setdefault(f.finding.concept.id, f)
        return list(found.values())


def register(app: FastAPI, connection: Connection, shown: Shown) -> None:
    """Add the route of this module to `app`; what is `shown` depends on who asks."""

    @app.get("/studies/{study_instance_uid}", include_in_schema=False)
    def study(
        request: Request,
        study_instance_uid: StudyInstanceUID,
        who: Annotated[Principal, Depends(require(Role.READER, Role.RESEARCHER))],
    ) -> Response:
        """The reports of a study, or one of them (``report``), also beside one of another study (``beside``)."""
        values = asked(request, _NAMES)
        database = connection.within(who.scope)
        names = Names(words_of(request))
        desk = _Desk(database, who, shown, names)
        versions = queries.reports_of_study(database, study_instance_uid, all_versions=True)
        reports = _reports(desk, study_instance_uid, versions, values.get("report"))
        others = other_reports(database, study_instance_uid) if who.sees_identities else []
        beside = None
        if "beside" in values:
            # only of the same patient: a page that puts two patients side by side would be a trap
            if values["beside"] not in {other.sop_instance_uid for other in others}:
                raise ProblemError("not_found")
            beside = desk.of_instance(queries.reports_of_instance(database, values["beside"])[0], "beside-")
        audited(request, count=sum(len(report.findings) for report in reports))
        superseded = any(v.standing.status is ReportStatus.SUPERSEDED for v in versions)
        return render(
            request,
            "study.html",
            principal=who,
            names=names,
            values=values,
            study_instance_uid=study_instance_uid,
            reports=reports,
            waiting=any(report.stored.state is State.PENDING for report in reports),
            versions=_versions(versions),
            others=others,
            beside=beside,
            compared=_compared(reports, beside) if beside else None,
            changes=_changes(desk, reports) if superseded or len(versions) > len(reports) else None,
            assertions=list(Assertion),
        )


@dataclass(frozen=True, slots=True)
class _Desk:
    """What reports are read with: the reader's part of the database, and what of it is for them."""

    database: Database
    who: Principal
    shown: Shown
    names: Names

    def of_instance(self, stored: StoredReport, prefix: str = "") -> ShownReport:
        """A report with the findings of its current analysis, whether or not it prevails."""
        return self.report(stored, queries.findings_of_instance(self.database, stored.sop_instance_uid), prefix)

    def report(self, stored: StoredReport, found: Sequence[StoredFinding], prefix: str) -> ShownReport:
        """A report with its findings, ready to be shown; a researcher doesn't get what can't be cleaned."""
        told = self.shown.of_reports(self.who, [stored])
        if not told:
            return ShownReport(replace(stored, report=None, analysis=None), [], None)
        [stored] = told
        findings = sorted(self.shown.of_findings(self.who, found), key=lambda f: (f.finding.start, f.finding.end))
        report = stored.report
        if report is None or not report.narrative.text:
            return ShownReport(stored, findings, None)
        sections = stored.analysis.sections if stored.analysis else report.narrative.sections
        titles = {f.id: self._title(f) for f in findings}
        text = marked_text(report.narrative.text, sections, findings, prefix=prefix, titles=titles)
        return ShownReport(stored, findings, text)

    def _title(self, found: StoredFinding) -> str:
        concept, assertion = found.finding.concept, found.finding.assertion
        return f"{self.names.concept(concept.id, concept.meaning)}: {self.names.word('assertion', assertion)}"


def _reports(
    desk: _Desk, study_instance_uid: str, versions: Sequence[StoredReport], chosen: str | None
) -> list[ShownReport]:
    """The report that is `chosen`, else all that count for the study now."""
    if chosen is not None:
        of_instance = [v for v in versions if v.sop_instance_uid == chosen]
        if not of_instance:
            raise NotFoundError("no report of the study has that UID")
        # of its analyses the one that counts, which needn't be the newest
        return [desk.of_instance(queries.reports_of_instance(desk.database, chosen)[0])]
    counting: dict[str, list[StoredReport]] = defaultdict(list)
    for v in versions:
        if v.is_current and v.standing.status in {None, ReportStatus.PREVAILING}:
            counting[v.sop_instance_uid].append(v)
    found = queries.findings_of_study(desk.database, study_instance_uid)
    return [
        desk.report(
            _latest(analyses),
            [f for f in found if f.sop_instance_uid == uid],
            f"{analyses[0].object_id}-" if len(counting) > 1 else "",
        )
        for uid, analyses in counting.items()
    ]


def _latest(analyses: Sequence[StoredReport]) -> StoredReport:
    """Of the analyses of one version, the newest: `all_versions` gives earlier ones as well."""
    return max(analyses, key=lambda v: (v.analysed_at is not None, v.analysed_at or v.received_at))


@dataclass(frozen=True, slots=True)
class Version:
    """A line of the list of all that was received for the study."""

    stored: StoredReport
    number: int
    of: int
    is_newest: bool
    """Of the versions of its SOP instance: the one that can be looked at."""


def _versions(versions: Sequence[StoredReport]) -> list[Version]:
    """Each version of each report once, in the order in which they came."""
    by_object: dict[int, StoredReport] = {}
    for stored in versions:
        held = by_object.get(stored.object_id)
        by_object[stored.object_id] = stored if held is None else _latest([held, stored])
    listed = sorted(by_object.values(), key=lambda v: v.object_id)
    of = {v.sop_instance_uid: [o.version for o in listed if o.sop_instance_uid == v.sop_instance_uid] for v in listed}
    return [
        Version(v, v.version, len(of[v.sop_instance_uid]), v.version == max(of[v.sop_instance_uid])) for v in listed
    ]


@dataclass(frozen=True, slots=True)
class Compared:
    """What is new, gone and different in the study against another report of the patient."""

    added: list[StoredFinding]
    gone: list[StoredFinding]
    changed: list[tuple[StoredFinding, StoredFinding]]
    """(then, now)."""
    unchanged: int


def _compared(reports: Sequence[ShownReport], beside: ShownReport) -> Compared:
    """What differs between what the study states and what the other report did.

    What one of them asks, tells of the past, or excludes without the other speaking of it, is no difference.
    """
    then = [f for f in beside.findings if _is_compared(f)]
    now = [f for report in reports for f in report.findings if _is_compared(f)]
    added, gone, changed, unchanged = compare(then, now)
    resized = _resized(then, now)
    return Compared(
        [f for f in added if f.finding.assertion is not Assertion.ABSENT],
        [f for f in gone if f.finding.assertion is not Assertion.ABSENT],
        [*resized, *changed],
        unchanged - len(resized),
    )


def _is_compared(found: StoredFinding) -> bool:
    return found.finding.assertion in _COMPARED and not states_normality(found.finding.concept.id)


def _resized(then: Sequence[StoredFinding], now: Sequence[StoredFinding]) -> list[tuple[StoredFinding, StoredFinding]]:
    """(then, now) of what both state alike, but for its size; the largest that each tells."""
    before, after = _largest(then), _largest(now)
    pairs = [(before[key], after[key]) for key in after if key in before]
    return [(a, b) for a, b in pairs if _size_of(a) != _size_of(b)]


def _largest(findings: Sequence[StoredFinding]) -> dict[tuple[str, ...], StoredFinding]:
    found: dict[tuple[str, ...], StoredFinding] = {}
    for f in findings:
        key = (f.finding.concept.id, f.finding.assertion.value, str(f.finding.laterality))
        if _size_of(f) > (_size_of(found[key]) if key in found else 0.0):
            found[key] = f
    return found


def _size_of(found: StoredFinding) -> float:
    """The greatest length that is stated of it now, in millimetres; 0 for none."""
    lengths = [
        value
        for m in found.finding.measurements
        if m.unit == "mm" and m.temporality is Temporality.CURRENT
        for value in m.values
    ]
    return max(lengths, default=0.0)


def _changes(desk: _Desk, reports: Sequence[ShownReport]) -> Compared | None:
    """What the first of the shown reports that took another's place changed of it."""
    for report in reports:
        if report.stored.analysis is None:
            continue
        changes = changes_of_report(desk.database, report.stored.sop_instance_uid)
        if changes.earlier is not None:
            told = functools.partial(desk.shown.of_findings, desk.who)
            then, now = (told([pair[n] for pair in changes.changed]) for n in (0, 1))
            changed = list(zip(then, now, strict=True)) if len(then) == len(now) else []
            return Compared(told(changes.added), told(changes.gone), changed, changes.unchanged)
    return None
