"""Structured reports made for these tests, by pydicom and by hand."""

import io
import struct
import zlib
from collections.abc import Sequence as SequenceOf
from types import SimpleNamespace

import pytest
from pydicom.dataset import Dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

from dicomnlp.extract import extract
from dicomnlp.model import Report, StoredObject

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG = "1.2.840.10008.1.2.2"
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
FINDINGS = ("59776-5", "LN", "Findings")
FINDING = ("121071", "DCM", "Finding")
STUDY = "1.2.826.0.1.3680043.8.498.1"


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """A coded entry."""
    entry = Dataset()
    entry.CodeValue, entry.CodingSchemeDesignator, entry.CodeMeaning = value, scheme, meaning
    return entry


def item(
    value_type: str | None,
    concept: tuple[str, str, str] | None = None,
    value: object = None,
    *,
    relationship: str | None = "CONTAINS",
    children: SequenceOf[Dataset] = (),
    unit: tuple[str, str, str] | None = None,
    continuity: str = "SEPARATE",
) -> Dataset:
    """A content item."""
    content = Dataset()
    if relationship:
        content.RelationshipType = relationship
    if value_type:
        content.ValueType = value_type
    if concept:
        content.ConceptNameCodeSequence = Sequence([code(*concept)])
    if value_type == "CONTAINER":
        content.ContinuityOfContent = continuity
    elif value_type == "CODE":
        content.ConceptCodeSequence = Sequence([code(*value)])
    elif value_type == "NUM":
        measured = []
        if value is not None:
            entry = Dataset()
            entry.NumericValue = value
            if unit:
                entry.MeasurementUnitsCodeSequence = Sequence([code(*unit)])
            measured.append(entry)
        content.MeasuredValueSequence = Sequence(measured)
    elif value_type == "PNAME":
        content.PersonName = value
    elif value_type == "DATE":
        content.Date = value
    elif value is not None:
        content.TextValue = value
    if children:
        content.ContentSequence = Sequence(children)
    return content


def document(
    children: SequenceOf[Dataset],
    *,
    character_set: str | list[str] | None = "ISO_IR 192",
    title: tuple[str, str, str] = ("18748-4", "LN", "Diagnostic Imaging Report"),
    sop_class_uid: str = BASIC_TEXT_SR,
) -> Dataset:
    """A report with these items below its root."""
    report = item("CONTAINER", title, relationship=None, children=children)
    if character_set is not None:
        report.SpecificCharacterSet = character_set
    report.SOPClassUID = sop_class_uid
    report.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.3"
    report.StudyInstanceUID = STUDY
    report.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.2"
    report.StudyDate = "20261101"
    report.AccessionNumber = "A1"
    report.Modality = "SR"
    report.PatientID = "P1"
    report.CompletionFlag = "COMPLETE"
    report.VerificationFlag = "VERIFIED"
    return report


def encode(report: Dataset, transfer_syntax_uid: str = EXPLICIT) -> bytes:
    """The data set as it goes over the wire."""
    from pydicom.filebase import DicomBytesIO

    uid = UID(transfer_syntax_uid)
    buffer = DicomBytesIO()
    buffer.is_little_endian = uid.is_little_endian
    buffer.is_implicit_VR = uid.is_implicit_VR
    write_dataset(buffer, report)
    data = buffer.getvalue()
    if transfer_syntax_uid == DEFLATED:
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        data = packer.compress(data) + packer.flush()
    return data


def stored(data: bytes, transfer_syntax_uid: str = EXPLICIT, sop_class_uid: str = "") -> StoredObject:
    """What a worker would be handed."""
    return StoredObject(1, "", sop_class_uid, transfer_syntax_uid, data)


def element(tag: int, vr: str, value: bytes) -> bytes:
    """One element in explicit little endian, by hand, whatever it holds."""
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    value += b"\0" if len(value) % 2 else b""
    if vr in {"OB", "OW", "SQ", "UN", "UT", "UC"}:
        return head + struct.pack("<HI", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def raw_report(text: bytes, character_set: bytes | None, vr: str = "UT") -> bytes:
    """A report with one TEXT item of exactly these bytes."""
    child = element(0x0040A010, "CS", b"CONTAINS") + element(0x0040A040, "CS", b"TEXT") + element(0x0040A160, vr, text)
    children = struct.pack("<HHI", 0xFFFE, 0xE000, len(child)) + child
    head = io.BytesIO()
    if character_set is not None:
        head.write(element(0x00080005, "CS", character_set))
    head.write(element(0x00080016, "UI", BASIC_TEXT_SR.encode()))
    head.write(element(0x00080018, "UI", b"1.2.3.4"))
    head.write(element(0x0020000D, "UI", STUDY.encode()))
    head.write(element(0x0040A040, "CS", b"CONTAINER"))
    head.write(element(0x0040A730, "SQ", children))
    return head.getvalue()


def read(report: Dataset, transfer_syntax_uid: str = EXPLICIT) -> Report:
    """What extract makes of it."""
    return extract(stored(encode(report, transfer_syntax_uid), transfer_syntax_uid))


@pytest.fixture(scope="session")
def sr() -> SimpleNamespace:
    """Everything above, since test folders are no packages to import from."""
    return SimpleNamespace(
        IMPLICIT=IMPLICIT, EXPLICIT=EXPLICIT, DEFLATED=DEFLATED, BIG=BIG, FINDINGS=FINDINGS, FINDING=FINDING,
        STUDY=STUDY, BASIC_TEXT_SR=BASIC_TEXT_SR, code=code, item=item, document=document, encode=encode,
        stored=stored, element=element, raw_report=raw_report, read=read,
    )  # fmt: skip


@pytest.fixture
def small_report(sr: SimpleNamespace) -> Dataset:
    """A report with a heading, text, a code and a measurement."""
    return document(
        [
            item(
                "CONTAINER",
                FINDINGS,
                children=[
                    item("TEXT", FINDING, "No pleural effusion. Größe: 6 mm nodule in the right upper lobe."),
                    item("CODE", FINDING, ("36118008", "SCT", "Pneumothorax")),
                    item("NUM", ("410668003", "SCT", "Length"), "6", unit=("mm", "UCUM", "millimeter")),
                ],
            ),
            item(
                "CONTAINER", ("19005-8", "LN", "Impressions"),
                children=[item("TEXT", ("121073", "DCM", "Impression"), "No evidence of pneumothorax.")],
            ),
        ]
    )  # fmt: skip
