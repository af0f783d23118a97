"""Made-up documents of a report's life: preliminary, final, addendum, rejection note, as the store takes them."""

import dataclasses
import hashlib

from support.records import BASIC_TEXT_SR, STUDY, instance_uid, make_analysis, make_finding, make_record

from dicomnlp.model import Code, Evidence, Identity, Narrative, Processed, Report, Section, SectionName, State
from dicomnlp.store import queue
from dicomnlp.store.intake import record_arrivals

RADIOLOGY_REPORT = Code("11528-7", "LN", "Radiology Report")
ADDENDUM = Code("55107-7", "LN", "Addendum Document")
REJECTED_FOR_QUALITY = Code("113001", "DCM", "Rejected for Quality Reasons")
KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"


@dataclasses.dataclass(frozen=True)
class Document:
    """A document as its object says it; unlike an analysed one, it can be sent in any order."""

    number: int
    preliminary_flag: str = ""
    completion_flag: str = "COMPLETE"
    verification_flag: str = "VERIFIED"
    title: Code | None = RADIOLOGY_REPORT
    predecessors: tuple = ()
    """Numbers, like the next two."""
    identical_documents: tuple = ()
    rejects: tuple = ()
    study: str = STUDY
    evidence: tuple = ()
    """(study, kind)."""
    accession_numbers: tuple = ()
    text: str = ""
    concepts: tuple = ("pulmonary_nodule",)
    findings: tuple = ()
    """Instead of `concepts`."""
    addendum_section: bool = False
    content_date: str = ""
    content_time: str = ""
    patient_id: str = "T-1"
    accession_number: str = "A-1"
    data: bytes = b""

    @property
    def uid(self):
        """Its SOP Instance UID."""
        return instance_uid(self.number)

    @property
    def record(self):
        """Its arrival."""
        record = make_record(self.number, self.data or None, study=self.study, patient_id=self.patient_id)
        identity = dataclasses.replace(
            record.identity,
            sop_class_uid=KEY_OBJECT_SELECTION if self.rejects else BASIC_TEXT_SR,
            accession_number=self.accession_number,
            content_date=self.content_date,
            content_time=self.content_time,
        )
        return dataclasses.replace(record, identity=identity, sha256=hashlib.sha256(record.arrival.data).hexdigest())

    def processed(self, object_id, pipeline="en-1", character_set=""):
        """What a worker makes of it."""
        text = self.text or f"Report {self.number}."
        sections = (Section(SectionName.ADDENDUM, "ADDENDUM:", 0, len(text), 9),) if self.addendum_section else ()
        report = Report(
            identity=Identity(sop_instance_uid=self.uid),
            narrative=Narrative("" if self.rejects else text, sections),
            state=State.NO_TEXT if self.rejects else State.PENDING,
            title=self.title.meaning if self.title else "",
            document_code=self.title,
            completion_flag=self.completion_flag,
            verification_flag=self.verification_flag,
            preliminary_flag=self.preliminary_flag,
            evidence=(
                *(Evidence(study, "", "", "", kind) for study, kind in self.evidence),
                *(Evidence(self.study, "1.2.3", BASIC_TEXT_SR, instance_uid(n), "current") for n in self.rejects),
            ),
            predecessors=tuple(instance_uid(n) for n in self.predecessors),
            identical_documents=tuple(instance_uid(n) for n in self.identical_documents),
            accession_numbers=self.accession_numbers,
        )
        if self.rejects:
            return Processed(object_id, State.NO_TEXT, pipeline, report, character_set_override=character_set)
        findings = self.findings or [make_finding(concept) for concept in self.concepts]
        analysis = make_analysis(pipeline, findings)
        return Processed(
            object_id,
            State.ANALYSED,
            pipeline,
            report,
            dataclasses.replace(analysis, sections=()),
            character_set_override=character_set,
        )


def arrive(database, *documents):
    """Let each come and be analysed, one after the other; their rows."""
    ids = []
    for document in documents:
        [receipt] = record_arrivals(database, [document.record])
        queue.save_processed(database, [document.processed(receipt.object_id)])
        ids.append(receipt.object_id)
    return ids
