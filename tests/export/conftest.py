"""A database of reports with planted identities: real SR objects, read by extract, with a few findings each."""

import datetime as dt
import hashlib
import shutil

import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from support.planted import chinese, english

from dicomnlp.config import DatabaseSettings, Settings
from dicomnlp.extract import extract
from dicomnlp.model import (
    Analysis,
    Arrival,
    Assertion,
    Communication,
    Concept,
    Cue,
    Door,
    Finding,
    IntakeRecord,
    Laterality,
    Measurement,
    Processed,
    Section,
    SectionName,
    State,
    StoredObject,
    Temporality,
)
from dicomnlp.store.admin import upgrade
from dicomnlp.store.database import Database
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.queue import save_processed

EXPLICIT = "1.2.840.10008.1.2.1"
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
ROOT = "1.2.826.0.1.3680043.10.1544"
REPORTS = 24
OBSERVER = "Quetzalcoatlus^Observa"
LOGIN = "qzlogin77"
WORDS = {
    "en": ("nodule", "pleural effusion", "No", "6 x 4 mm"),
    "zh": ("结节", "胸腔积液", "未见", "6mm×4mm"),
}


def code(value, scheme, meaning):
    """A coded entry."""
    entry = Dataset()
    entry.CodeValue, entry.CodingSchemeDesignator, entry.CodeMeaning = value, scheme, meaning
    return entry


def item(value_type, concept, relationship, **values):
    """A content item."""
    made = Dataset()
    made.RelationshipType, made.ValueType, made.ConceptNameCodeSequence = relationship, value_type, [code(*concept)]
    for name, value in values.items():
        setattr(made, name, value)
    return made


def make_object(number, planted):
    """The SR of a planted report, with observers and subject in its content tree."""
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID, made.SOPInstanceUID = BASIC_TEXT_SR, f"{ROOT}.3.{number}"
    made.StudyInstanceUID, made.SeriesInstanceUID = f"{ROOT}.1.{number}", f"{ROOT}.2.{number}"
    made.Modality, made.CompletionFlag, made.VerificationFlag = "SR", "COMPLETE", "VERIFIED"
    name = planted.header["PatientName"]
    made.StudyDescription, made.StationName = f"CT {name.replace('=', '').replace('^', ' ')}", f"STATION{number}"
    for keyword, value in planted.header.items():
        setattr(made, keyword, value)
    observer = Dataset()
    observer.VerifyingObserverName, observer.VerifyingOrganization = OBSERVER, planted.header["InstitutionName"]
    observer.VerificationDateTime = planted.header["StudyDate"] + "101112+0000"
    observer.VerifyingObserverIdentificationCodeSequence = []
    made.VerifyingObserverSequence = [observer]
    made.ValueType, made.ContinuityOfContent = "CONTAINER", "SEPARATE"
    made.ConceptNameCodeSequence = [code("18748-4", "LN", "Diagnostic imaging report")]
    context = "HAS OBS CONTEXT"
    made.ContentSequence = [
        item("PNAME", ("121008", "DCM", "Person Observer Name"), context, PersonName=OBSERVER),
        item("TEXT", ("128774", "DCM", "Person Observer's Login Name"), context, TextValue=LOGIN),
        item("PNAME", ("121029", "DCM", "Subject Name"), context, PersonName=planted.header["PatientName"]),
        item("TEXT", ("121030", "DCM", "Subject ID"), context, TextValue=planted.header["PatientID"]),
        item("DATE", ("121031", "DCM", "Subject Birth Date"), context, Date=planted.header["PatientBirthDate"]),
        item("UIDREF", ("121018", "DCM", "Procedure Study Instance UID"), context, UID=made.StudyInstanceUID),
        item("DATE", ("111060", "DCM", "Study Date"), context, Date=planted.header["StudyDate"]),
        item(
            "CODE", ("121023", "DCM", "Procedure Code"), context, ConceptCodeSequence=[code("P1", "99SITE", OBSERVER)]
        ),
        item("TEXT", ("121071", "DCM", "Finding"), "CONTAINS", TextValue=planted.text),
    ]
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    write_dataset(file, made)
    return file.getvalue()


def find(text, word, concept, assertion, **more):
    """A finding at a word of the text."""
    start = text.index(word)
    begin = max(text.rfind(mark, 0, start) for mark in "\n.。") + 1
    end = min(i for mark in "\n.。" if (i := text.find(mark, start)) >= 0) + 1
    return Finding(
        Concept(concept, "1234567", "SCT", concept), word, start, start + len(word), text[begin:end].strip(),
        SectionName.FINDINGS, assertion, is_negated=assertion is Assertion.ABSENT, language="en", **more,
    )  # fmt: skip


def analysed(object_id, stored):
    """The object with its findings: a nodule that is there, an effusion that isn't."""
    report = extract(stored)
    text = report.narrative.text
    nodule, effusion, negation, size = WORDS["zh" if "结节" in text else "en"]
    at, cue = text.index(size), text.index(negation)
    told = text.index("Discussed with") if "Discussed with" in text else text.index("已通知")
    findings = (
        find(
            text, nodule, "pulmonary_nodule", Assertion.PRESENT, laterality=Laterality.RIGHT,
            measurements=(Measurement((6.0, 4.0), "mm", "size", Temporality.CURRENT, size, at, at + len(size)),),
        ),
        find(text, effusion, "pleural_effusion", Assertion.ABSENT,
             cues=(Cue(negation, cue, cue + len(negation), "NEGATED_EXISTENCE"),)),
    )  # fmt: skip
    analysis = Analysis(
        "en",
        "en-1",
        (Section(SectionName.FINDINGS, None, 0, len(text), 0),),
        findings,
        labels={"chexpert14": {"Lung Lesion": "present", "Pleural Effusion": "absent", "Edema": "possible"}},
        communications=(Communication(text[told:], told, len(text), text[told : told + 30], None, None, False, True),),
    )
    return Processed(object_id, State.ANALYSED, "en-1", report, analysis, modalities=("CT",))


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    """The folder of a database with planted reports, to be copied, and the reports."""
    folder = tmp_path_factory.mktemp("filled")
    settings = Settings(database=DatabaseSettings(url=f"sqlite:///{folder}/dicomnlp.db"))
    upgrade(settings)
    database = Database.open(settings)
    planted = [english(seed) if seed % 2 else chinese(seed) for seed in range(REPORTS)]
    for number, report in enumerate(planted):
        data = make_object(number, report)
        add(database, data)
    database.close()
    return folder, planted


def add(database, data):
    """Take in an object and its analysis."""
    stored = StoredObject(0, "", BASIC_TEXT_SR, EXPLICIT, data)
    identity = extract(stored).identity
    arrival = Arrival(data, EXPLICIT, BASIC_TEXT_SR, identity.sop_instance_uid, Door.C_STORE, "PACS")
    now = dt.datetime.now(dt.UTC)
    record = IntakeRecord(arrival, identity, hashlib.sha256(data).hexdigest(), now, 0)
    [receipt] = record_arrivals(database, [record])
    save_processed(database, [analysed(receipt.object_id, stored)])


@pytest.fixture
def database(filled, tmp_path):
    """An open database with the planted reports."""
    folder, _ = filled
    shutil.copyfile(folder / "dicomnlp.db", tmp_path / "dicomnlp.db")
    database = Database.open(Settings(database=DatabaseSettings(url=f"sqlite:///{tmp_path}/dicomnlp.db")))
    yield database
    database.close()


@pytest.fixture
def planted(filled):
    """What is planted."""
    return filled[1]
