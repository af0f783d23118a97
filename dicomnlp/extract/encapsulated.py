"""Encapsulated documents (PS3.3 A.45, C.24.2): PDF and CDA have words, models have none."""

from collections.abc import Sequence
from typing import NamedTuple

from dicomnlp.extract.cda import read_cda
from dicomnlp.extract.charset import DEFAULT_FALLBACKS
from dicomnlp.extract.elements import DataSet
from dicomnlp.extract.hl7 import is_message, parse_message
from dicomnlp.extract.hl7_report import read_report, reports_of
from dicomnlp.extract.pdf import read_pdf
from dicomnlp.model import CharacterSet, Narrative, State

ENCAPSULATED_PDF_STORAGE = "1.2.840.10008.5.1.4.1.1.104.1"
ENCAPSULATED_CDA_STORAGE = "1.2.840.10008.5.1.4.1.1.104.2"

_ENCAPSULATED_DOCUMENT = 0x00420011
_DOCUMENT_LENGTH = 0x00420015
_INSTANCE_NUMBER = 0x00200013


class Document(NamedTuple):
    """What a document says."""

    narrative: Narrative
    state: State
    title: str = ""
    language: str = ""
    """Title and language are "" where the document has none."""
    character_set: CharacterSet | None = None
    """Its own, where it isn't decoded with the rest of the object."""


def read_document(
    elements: DataSet,
    sop_class_uid: str,
    *,
    big_endian: bool,
    warnings: list[str],
    fallbacks: Sequence[str] = DEFAULT_FALLBACKS,
    character_set: str | None = None,
) -> Document | None:
    """The words of the encapsulated document; None when the object holds none.

    What it is follows from its own first bytes rather than from the SOP class, since objects exist in which the two
    differ.

    Parameters
    ----------
    fallbacks, character_set
        Of an HL7 message, as of `extract`.

    Raises
    ------
    ObjectError
        As `cda.read_cda` and `hl7.parse_message` raise.
    """
    element = elements.get(_ENCAPSULATED_DOCUMENT)
    if element is None:
        return None
    data = element.value
    length = elements.get(_DOCUMENT_LENGTH)
    if length is not None and len(length.value) == 4:
        # the value is padded to even length; this says how much of it is the document
        stated = int.from_bytes(length.value, "big" if big_endian else "little")
        if stated in {len(data), len(data) - 1}:
            data = data[:stated]
        else:
            warnings.append("document_length_mismatch")
    if not data:
        warnings.append("empty_document")
        return Document(Narrative(""), State.NO_TEXT)
    if is_message(data):
        return _read_message(data, elements, warnings, fallbacks, character_set)
    if b"%PDF-" in data[:1024]:
        return Document(*read_pdf(data, warnings))
    start = data[:256].lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n")
    if sop_class_uid == ENCAPSULATED_CDA_STORAGE or start.startswith((b"<?xml", b"<ClinicalDocument")):
        return Document(*read_cda(data, warnings))
    if sop_class_uid == ENCAPSULATED_PDF_STORAGE:
        warnings.append("pdf_broken")
    return Document(Narrative(""), State.NO_TEXT)


def _read_message(
    data: bytes, elements: DataSet, warnings: list[str], fallbacks: Sequence[str], character_set: str | None
) -> Document:
    """The report of an HL7 message that the object's Instance Number says."""
    message = parse_message(data, fallbacks=fallbacks, character_set=character_set)
    warnings.extend(message.warnings)
    number = elements.get(_INSTANCE_NUMBER)
    wanted = number.value.decode("ascii", "replace").strip(" \0") if number is not None else "1"
    report = next((r for r in reports_of(message) if str(r.number) == wanted), None)
    if report is None:
        return Document(Narrative(""), State.NO_TEXT, character_set=message.character_set)
    return Document(*read_report(report, warnings), character_set=message.character_set)
