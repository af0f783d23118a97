"""Encapsulated documents (PS3.3 A.45, C.24.2): PDF and CDA have words, models have none."""

from dicomnlp.extract.cda import read_cda
from dicomnlp.extract.elements import DataSet
from dicomnlp.extract.pdf import read_pdf
from dicomnlp.model import Narrative, State

ENCAPSULATED_PDF_STORAGE = "1.2.840.10008.5.1.4.1.1.104.1"
ENCAPSULATED_CDA_STORAGE = "1.2.840.10008.5.1.4.1.1.104.2"

_ENCAPSULATED_DOCUMENT = 0x00420011
_DOCUMENT_LENGTH = 0x00420015


def read_document(
    elements: DataSet, sop_class_uid: str, *, big_endian: bool, warnings: list[str]
) -> tuple[Narrative, State, str, str] | None:
    """The words of the encapsulated document; None when the object holds none.

    What it is follows from its own first bytes rather than from the SOP class, since objects exist in which the two
    differ.

    Returns
    -------
    tuple
        Narrative, state, title and language ("" where the document has none).

    Raises
    ------
    ObjectError
        As `cda.read_cda` raises.
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
        return Narrative(""), State.NO_TEXT, "", ""
    if b"%PDF-" in data[:1024]:
        narrative, state = read_pdf(data, warnings)
        return narrative, state, "", ""
    start = data[:256].lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n")
    if sop_class_uid == ENCAPSULATED_CDA_STORAGE or start.startswith((b"<?xml", b"<ClinicalDocument")):
        return read_cda(data, warnings)
    if sop_class_uid == ENCAPSULATED_PDF_STORAGE:
        warnings.append("pdf_broken")
    return Narrative(""), State.NO_TEXT, "", ""
