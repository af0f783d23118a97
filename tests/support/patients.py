"""Made-up courses of patients: reports that are really read, and images by their headers, as the store takes them."""

import dataclasses
import functools
import hashlib

from support.records import instance_uid, make_record

from dicomnlp.analyse import analyse
from dicomnlp.model import Evidence, Identity, ImageHeader, Narrative, Processed, Report, State
from dicomnlp.review.reading import read_again
from dicomnlp.store import queue
from dicomnlp.store.intake import record_arrivals


@functools.cache
def read(text, language):
    """What a text says; tests say the same again and again."""
    return analyse(Narrative(text), language=language)


def study_uid(number):
    """The Study Instance UID number `number`."""
    return f"1.2.826.0.1.3680043.10.1511.9.{number}"


@dataclasses.dataclass(frozen=True)
class Visit:
    """A study, of which a report comes, or images."""

    number: int
    """Of the object; of the study, too, unless `study` says another."""
    date: str
    name: str
    """Study Description."""
    modality: str = "CT"
    text: str = ""
    """The report's; without one, an image comes."""
    study: int | None = None
    patient_id: str = "T-1"
    issuer: str = ""
    body_part: str = ""
    laterality: str = ""
    time: str = ""
    language: str = "en"
    evidence: tuple = ()
    """Numbers of other studies."""
    predecessors: tuple = ()
    preliminary_flag: str = ""
    ae_title: str = "PACS"
    sex: str = ""

    @property
    def study_uid(self):
        """Its Study Instance UID."""
        return study_uid(self.number if self.study is None else self.study)

    @property
    def record(self):
        """Its arrival."""
        data = f"{self!r}".encode()
        record = make_record(
            self.number, data, study=self.study_uid, patient_id=self.patient_id, calling_ae_title=self.ae_title
        )
        identity = dataclasses.replace(
            record.identity,
            issuer_of_patient_id=self.issuer,
            modality="SR" if self.text else self.modality,
            study_date=self.date,
            study_time=self.time,
            study_description=self.name,
            body_part_examined=self.body_part,
            accession_number=f"A-{self.number}",
        )
        image = None
        if not self.text:
            image = ImageHeader(identity, hashlib.sha256(data).hexdigest(), len(data), laterality=self.laterality)
        return dataclasses.replace(record, identity=identity, image=image)

    def processed(self, object_id, pipeline="en-1"):
        """What a worker makes of the report."""
        report = Report(
            identity=Identity(
                sop_instance_uid=instance_uid(self.number),
                study_date=self.date,
                study_description=self.name,
                patient_sex=self.sex,
            ),
            narrative=Narrative(self.text),
            state=State.PENDING,
            completion_flag="COMPLETE",
            verification_flag="VERIFIED",
            preliminary_flag=self.preliminary_flag,
            evidence=tuple(Evidence(study_uid(n), "", "", "", "current") for n in self.evidence),
            predecessors=tuple(instance_uid(n) for n in self.predecessors),
        )
        analysis = dataclasses.replace(read(self.text, self.language), pipeline=pipeline)
        modalities = tuple(m for m in self.modality.split("\\") if m)
        return Processed(
            object_id,
            State.ANALYSED,
            pipeline,
            report,
            analysis,
            modalities=modalities,
            remarks=read_again(report, analysis, modalities),
        )


def come(database, *visits):
    """Let each come, and its report be analysed, one after the other; rows of their objects, None for images."""
    ids = []
    for visit in visits:
        [receipt] = record_arrivals(database, [visit.record])
        if visit.text:
            queue.save_processed(database, [visit.processed(receipt.object_id)])
        ids.append(receipt.object_id)
    return ids
