"""Findings and reports without identities: the same records, so that whoever writes them need not know.

Offsets point into the cleaned narrative, and `text[start:end]` is still what a finding says.
"""

import datetime as dt
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TypeVar

from dicomnlp.errors import ObjectError
from dicomnlp.export.concepts import Identifying
from dicomnlp.export.content import clean_code, clean_items, identifying
from dicomnlp.export.deidentify import OLDEST_TOLD, CleanedText, Cleaner, Identities
from dicomnlp.export.identities import identities_of
from dicomnlp.export.pseudonyms import Pseudonyms, read_key, shifted
from dicomnlp.model import (
    Analysis,
    CodedFinding,
    CodedMeasurement,
    Communication,
    Cue,
    Finding,
    Identity,
    Measurement,
    Narrative,
    PatientStatement,
    Recommendation,
    Report,
    Score,
    Section,
    Segment,
    StoredObject,
)
from dicomnlp.store.answers import ReportStanding, StoredFinding, StoredReport, StudyLink
from dicomnlp.store.database import Database
from dicomnlp.store.exports import ExportedReport, ReportHeader, headers_of, narratives_of, read_objects

WITHHELD = "withheld"
"""Counted beside what was replaced: reports whose original can't be read, so that nobody knows whom they name."""
_Marked = TypeVar("_Marked", Cue, Measurement, Recommendation, Score, Communication, PatientStatement)
_Stated = TypeVar("_Stated", CodedMeasurement, CodedFinding)


@dataclass(frozen=True, slots=True)
class CleanedReport:
    """What findings and narrative of one report are cleaned by."""

    header: ReportHeader
    """Without identities."""
    cleaner: Cleaner
    original: str
    narrative: CleanedText


class Deidentifier:
    """Takes identities out of what a database holds.

    Parameters
    ----------
    database
        Where the originals are, whose headers say whom a report names.
    key
        The site's secret; None: that beside the database, made where there is none.

    Attributes
    ----------
    counts
        How many of each kind have been replaced in narratives, and how many reports were withheld.
    """

    def __init__(self, database: Database, key: bytes | None = None) -> None:
        self._database = database
        self._key = key if key is not None else read_key(database.beside("deidentification-key"))
        self.pseudonyms = Pseudonyms(self._key)
        self.counts: Counter[str] = Counter()
        self._last: dict[str, CleanedReport] = {}
        """Of the page before: a report's findings may go on in the next."""

    def reports(self, sop_instance_uids: Collection[str]) -> dict[str, CleanedReport]:
        """The cleaned headers and narratives of these reports; of those whose original can't be read none."""
        wanted = set(sop_instance_uids)
        known = {uid: report for uid, report in self._last.items() if uid in wanted}
        headers = headers_of(self._database, wanted - known.keys())
        by_object = {h.object_id: h for h in headers.values()}
        narratives = narratives_of(self._database, by_object)
        for object_id, header in sorted(by_object.items()):
            cleaned = self._cleaned(header, narratives.get(object_id, ""))
            if cleaned is not None:
                known[header.identity.sop_instance_uid] = cleaned
        self._last = known
        return known

    def _cleaned(self, header: ReportHeader, narrative: str) -> CleanedReport | None:
        try:
            # reading may fail for one, and the others are to go out
            [stored] = read_objects(self._database, [header.object_id])
            cleaner = self.cleaner(stored, header)
        except ObjectError:
            self.counts[WITHHELD] += 1
            return None
        cleaned = cleaner.clean(narrative)
        self.counts.update(cleaned.counts())
        return CleanedReport(self._header(header, cleaner), cleaner, narrative, cleaned)

    def cleaner(self, stored: StoredObject, header: ReportHeader) -> Cleaner:
        """What cleans any text of this object.

        Raises
        ------
        ObjectError
            It can't be read.
        """
        found = identities_of(stored)
        identity = header.identity
        known = Identities(
            patient_names=found.patient_names,
            person_names=found.person_names,
            identifiers=tuple(
                dict.fromkeys(
                    i
                    for i in (*found.identifiers, identity.patient_id, header.patient[0], identity.accession_number)
                    if i
                )
            ),
            phones=found.phones,
            places=tuple(dict.fromkeys(p for p in (*found.places, identity.institution_name) if p)),
            birth_dates=found.birth_dates,
            dates=tuple(d for d in (header.study_date, *found.dates) if d),
        )
        return Cleaner(known, self._key, self._shift_of(header))

    def _shift_of(self, header: ReportHeader) -> int:
        patient_id, issuer = header.patient
        return self.pseudonyms.shift_days(
            self.pseudonyms.object_key(patient_id, issuer, header.identity.sop_instance_uid)
        )

    def _patient(self, header: ReportHeader) -> str:
        patient_id, issuer = header.patient
        return self.pseudonyms.identifier("patient", f"{patient_id}\0{issuer}") if patient_id else ""

    def _header(self, header: ReportHeader, cleaner: Cleaner) -> ReportHeader:
        days = cleaner.shift_days
        age = header.patient_age
        return replace(
            header,
            identity=self._identity(header.identity, self._patient(header), cleaner),
            patient=(self._patient(header), ""),
            study_date=shifted(header.study_date, days),
            patient_age=age if age is None or age <= OLDEST_TOLD else OLDEST_TOLD + 1,
            calling_ae_title="",
        )

    def _identity(self, identity: Identity, patient: str, cleaner: Cleaner) -> Identity:
        uid, days = self.pseudonyms.uid, cleaner.shift_days
        return Identity(
            sop_class_uid=identity.sop_class_uid,
            sop_instance_uid=uid(identity.sop_instance_uid),
            study_instance_uid=uid(identity.study_instance_uid),
            series_instance_uid=uid(identity.series_instance_uid),
            patient_id=patient,
            patient_sex=identity.patient_sex,
            accession_number=self.pseudonyms.identifier("accession", identity.accession_number),
            modality=identity.modality,
            study_date=shifted(identity.study_date, days),
            study_time=identity.study_time,
            content_date=shifted(identity.content_date, days),
            content_time=identity.content_time,
            study_description=cleaner.clean(identity.study_description).text,
            series_description=cleaner.clean(identity.series_description).text,
            manufacturer=identity.manufacturer,
            body_part_examined=identity.body_part_examined,
        )

    def is_of(self, report: CleanedReport, text: str, start: int = 0, end: int | None = None) -> bool:
        """Whether `text` stands there in the narrative that was cleaned, counted as withheld where it doesn't.

        It doesn't where the report was analysed anew since it was read: spans would lead to other words then.
        """
        if report.original[start:end] == text:
            return True
        self.counts[WITHHELD] += 1
        return False

    def finding(self, stored: StoredFinding, report: CleanedReport) -> StoredFinding:
        """A finding of `report` without identities; its number is another, too."""
        uid = self.pseudonyms.uid
        return replace(
            stored,
            id=self.pseudonyms.number("finding", stored.id),
            study_instance_uid=uid(stored.study_instance_uid),
            sop_instance_uid=uid(stored.sop_instance_uid),
            finding=_finding(stored.finding, report),
            analysed_at=_moment(stored.analysed_at, report.cleaner),
            standing=self._standing(stored.standing),
            studies=self._studies(stored.studies),
        )

    def exported(self, exported: ExportedReport, report: CleanedReport) -> ExportedReport:
        """A report and its findings without identities; `report` is of the same object."""
        return ExportedReport(
            report.header,
            self._stored_report(exported.report, report),
            tuple(self.finding(f, report) for f in exported.findings),
        )

    def _stored_report(self, stored: StoredReport, by: CleanedReport) -> StoredReport:
        uid = self.pseudonyms.uid
        return replace(
            stored,
            object_id=self.pseudonyms.number("object", stored.object_id),
            sop_instance_uid=uid(stored.sop_instance_uid),
            study_instance_uid=uid(stored.study_instance_uid),
            received_at=_moment(stored.received_at, by.cleaner),
            report=self._report(stored.report, by) if stored.report else None,
            analysis=_analysis(stored.analysis, by) if stored.analysis else None,
            analysed_at=_moment(stored.analysed_at, by.cleaner) if stored.analysed_at else None,
            standing=self._standing(stored.standing),
            studies=self._studies(stored.studies),
        )

    def _report(self, report: Report, by: CleanedReport) -> Report:
        uid, cleaner = self.pseudonyms.uid, by.cleaner
        moment = report.verification_date_time
        verified = shifted(moment[:8], cleaner.shift_days)
        return replace(
            report,
            identity=by.header.identity,
            narrative=Narrative(
                by.narrative.text,
                tuple(_section(s, by) for s in report.narrative.sections),
                tuple(_segment(s, by) for s in report.narrative.segments),
            ),
            title=cleaner.clean(report.title).text,
            document_code=clean_code(report.document_code, cleaner),
            items=clean_items(report.items, cleaner, self.pseudonyms),
            # an age stays among the content items, where it is told as 90
            measurements=tuple(
                _stated(m, cleaner) for m in report.measurements if identifying(m.concept, "NUM") is not Identifying.AGE
            ),
            coded_findings=tuple(_coded(_stated(f, cleaner), cleaner) for f in report.coded_findings),
            evidence=tuple(
                replace(
                    e,
                    study_instance_uid=uid(e.study_instance_uid),
                    series_instance_uid=uid(e.series_instance_uid),
                    sop_instance_uid=uid(e.sop_instance_uid),
                )
                for e in report.evidence
            ),
            predecessors=tuple(map(uid, report.predecessors)),
            identical_documents=tuple(map(uid, report.identical_documents)),
            accession_numbers=tuple(self.pseudonyms.identifier("accession", a) for a in report.accession_numbers),
            verification_date_time=verified + moment[8:] if verified else "",
        )

    def _standing(self, standing: ReportStanding) -> ReportStanding:
        superseded_by = standing.superseded_by
        return replace(standing, superseded_by=self.pseudonyms.uid(superseded_by) if superseded_by else superseded_by)

    def _studies(self, links: tuple[StudyLink, ...]) -> tuple[StudyLink, ...]:
        return tuple(replace(s, study_instance_uid=self.pseudonyms.uid(s.study_instance_uid)) for s in links)


def _moment(moment: dt.datetime, cleaner: Cleaner) -> dt.datetime:
    """When something was done with a report, which tells when the study was."""
    return moment + dt.timedelta(days=cleaner.shift_days)


def _finding(finding: Finding, by: CleanedReport) -> Finding:
    start, end = by.narrative.span(finding.start, finding.end)
    clean = by.cleaner.clean
    return replace(
        finding,
        text=by.narrative.text[start:end],
        start=start,
        end=end,
        sentence=_sentence(finding, by),
        cues=tuple(_marked(c, by) for c in finding.cues),
        measurements=tuple(_marked(m, by) for m in finding.measurements),
        subject=clean(finding.subject).text,
        observer=clean(finding.observer).text,
        count=clean(finding.count).text if finding.count else finding.count,
        levels=tuple(clean(level).text for level in finding.levels),
        image_references=tuple(clean(reference).text for reference in finding.image_references),
    )


def _sentence(finding: Finding, by: CleanedReport) -> str:
    """The sentence as it stands in the cleaned narrative, where it can be found in the original."""
    length = len(finding.sentence)
    at = by.original.find(finding.sentence, max(0, finding.end - length), finding.start + length) if length else -1
    if at < 0:
        return by.cleaner.clean(finding.sentence).text
    start, end = by.narrative.span(at, at + length)
    return by.narrative.text[start:end]


def _marked(marked: _Marked, by: CleanedReport) -> _Marked:
    """Something that quotes a stretch of the narrative."""
    start, end = by.narrative.span(marked.start, marked.end)
    return replace(marked, start=start, end=end, text=by.narrative.text[start:end])


def _section(section: Section, by: CleanedReport) -> Section:
    start, end = by.narrative.span(section.start, section.end)
    body, _ = by.narrative.span(section.body_start, max(section.body_start, section.end))
    return replace(
        section,
        start=start,
        end=end,
        body_start=min(body, end),
        title=by.cleaner.clean(section.title).text if section.title else section.title,
    )


def _segment(segment: Segment, by: CleanedReport) -> Segment:
    start, end = by.narrative.span(segment.start, segment.end)
    return replace(
        segment,
        start=start,
        end=end,
        subject=by.cleaner.clean(segment.subject).text,
        observer=by.cleaner.clean(segment.observer).text,
    )


def _stated(stated: _Stated, cleaner: Cleaner) -> _Stated:
    modifiers = []
    for name, value in stated.modifiers:
        clean_name, clean_value = clean_code(name, cleaner), clean_code(value, cleaner)
        assert clean_name is not None
        assert clean_value is not None
        modifiers.append((clean_name, clean_value))
    return replace(
        stated,
        concept=clean_code(stated.concept, cleaner),
        modifiers=tuple(modifiers),
        subject=cleaner.clean(stated.subject).text,
        observer=cleaner.clean(stated.observer).text,
    )


def _coded(coded: CodedFinding, cleaner: Cleaner) -> CodedFinding:
    value = clean_code(coded.value, cleaner)
    assert value is not None
    return replace(coded, value=value)


def _analysis(analysis: Analysis, by: CleanedReport) -> Analysis:
    clean = by.cleaner.clean
    return replace(
        analysis,
        sections=tuple(_section(s, by) for s in analysis.sections),
        findings=(),
        measurements=tuple(_marked(m, by) for m in analysis.measurements),
        recommendations=tuple(
            replace(
                _marked(r, by),
                procedure=clean(r.procedure).text if r.procedure else r.procedure,
                guideline=clean(r.guideline).text if r.guideline else r.guideline,
            )
            for r in analysis.recommendations
        ),
        scores=tuple(_marked(s, by) for s in analysis.scores),
        communications=tuple(
            # whom and when: a person by whatever words, and a moment that dates the study
            replace(_marked(c, by), recipient="[PERSON]" if c.recipient else None, time="[DATE]" if c.time else None)
            for c in analysis.communications
        ),
        demographics=tuple(
            replace(
                _marked(d, by),
                age_years=d.age_years if d.age_years is None or d.age_years < OLDEST_TOLD + 1 else OLDEST_TOLD + 1.0,
            )
            for d in analysis.demographics
        ),
    )
