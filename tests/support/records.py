"""Made-up arrivals and results, as intake and the workers hand them to the store."""

import datetime as dt
import hashlib

from dicomnlp.model import (
    Analysis,
    Arrival,
    Assertion,
    Change,
    CharacterSet,
    Code,
    CodedMeasurement,
    Concept,
    ContentItem,
    Cue,
    Door,
    Evidence,
    Finding,
    Identity,
    IntakeRecord,
    Laterality,
    Measurement,
    Narrative,
    Processed,
    Report,
    Section,
    SectionName,
    Segment,
    Severity,
    State,
    Temporality,
)

BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
STUDY = "1.2.826.0.1.3680043.10.1511.1.1"
TEXT = "FINDINGS: A 6 mm nodule in the right upper lobe. No effusion."


def instance_uid(number):
    """The SOP Instance UID number `number`."""
    return f"1.2.826.0.1.3680043.10.1511.3.{number}"


def make_record(
    number,
    data=None,
    *,
    study=STUDY,
    patient_id="T-1",
    status=0,
    reason_code=None,
    keep=True,
    received_at=None,
    calling_ae_title="PACS",
):
    """An arrival of SOP instance `number` as intake judged it."""
    data = f"object {number}".encode() if data is None else data
    uid = instance_uid(number) if isinstance(number, int) else number
    return IntakeRecord(
        arrival=Arrival(
            data=data,
            transfer_syntax_uid=EXPLICIT_LITTLE_ENDIAN,
            sop_class_uid=BASIC_TEXT_SR,
            sop_instance_uid=uid,
            door=Door.C_STORE,
            calling_ae_title=calling_ae_title,
            called_ae_title="DICOMNLP",
            peer_address="127.0.0.1",
        ),
        identity=Identity(
            sop_class_uid=BASIC_TEXT_SR,
            sop_instance_uid=uid,
            study_instance_uid=study,
            patient_id=patient_id,
            accession_number="A-1",
            study_date="20261122",
        ),
        sha256=hashlib.sha256(data).hexdigest(),
        received_at=received_at or dt.datetime.now(dt.UTC),
        status=status,
        reason_code=reason_code,
        keep=keep,
    )


def make_finding(concept="pulmonary_nodule", text="nodule", start=16, assertion=Assertion.PRESENT):
    """A finding in which every field says something."""
    return Finding(
        concept=Concept(concept, "427359005", "SCT", "Pulmonary nodule"),
        text=text,
        start=start,
        end=start + len(text),
        sentence="A 6 mm nodule in the right upper lobe.",
        section=SectionName.FINDINGS,
        assertion=assertion,
        is_negated=assertion is Assertion.ABSENT,
        is_uncertain=assertion is Assertion.POSSIBLE,
        is_historical=True,
        is_hypothetical=True,
        is_family=True,
        cues=(Cue("No", 49, 51, "NEGATED_EXISTENCE"),),
        anatomy=Concept("right_upper_lobe", None, None, "Upper lobe of right lung"),
        laterality=Laterality.RIGHT,
        severity=Severity.MILD,
        change=Change.INCREASED,
        measurements=(Measurement((6.0, 4.5), "mm", "size", Temporality.CURRENT, "6 mm", 12, 16),),
        critical=True,
        item_path="1.2.1",
        language="en",
        rules_assertion=Assertion.POSSIBLE,
        model_probability=0.75,
    )


def make_report(text=TEXT):
    """A report in which every field says something."""
    nodule = Code("27925004", "SCT", "Nodule")
    millimetre = Code("mm", "UCUM", "mm")
    return Report(
        identity=Identity(),
        narrative=Narrative(
            text=text,
            sections=(Section(SectionName.FINDINGS, "FINDINGS:", 0, len(text), 10),),
            segments=(Segment(0, len(text), "1.2.1"),),
        ),
        state=State.PENDING,
        title="Chest CT",
        document_code=Code("18748-4", "LN", "Diagnostic imaging report"),
        completion_flag="COMPLETE",
        verification_flag="VERIFIED",
        preliminary_flag="FINAL",
        language="en-US",
        character_set=CharacterSet(("ISO_IR 192",), "utf_8", 1.0),
        items=(
            ContentItem("1", "", "CONTAINER", nodule, None),
            ContentItem("1.1", "CONTAINS", "CODE", None, {"code": "1", "scheme": "SCT", "meaning": "m"}),
            ContentItem("1.2", "CONTAINS", "NUM", nodule, ["6.0"], millimetre),
        ),
        measurements=(CodedMeasurement("1.2", nodule, (6.0,), millimetre, None, ((nodule, nodule),)),),
        evidence=(Evidence(STUDY, "1.2.3", BASIC_TEXT_SR, "1.2.3.4", "current"),),
        predecessors=("1.2.3.5",),
        warnings=("truncated_element at 0040A730",),
    )


def make_analysis(pipeline, findings):
    """An analysis in which every field says something."""
    return Analysis(
        language="en",
        pipeline=pipeline,
        sections=(Section(SectionName.FINDINGS, None, 0, 10, 0),),
        findings=tuple(findings),
        measurements=(Measurement((6.0,), "mm", "size", Temporality.PRIOR, "6 mm", 12, 16),),
        labels={"chestxray14": {"Nodule": "present", "Mass": None}},
        warnings=("long_sentence",),
    )


def make_processed(object_id, pipeline="en-1", findings=None, text=TEXT, **more):
    """An object that was analysed."""
    findings = (make_finding(),) if findings is None else findings
    report, analysis = make_report(text), make_analysis(pipeline, findings)
    return Processed(object_id, State.ANALYSED, pipeline, report, analysis, **more)
