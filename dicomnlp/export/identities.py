"""Whom and what an object names: every person name, identifier, address and date of its header and content tree.

The attributes are those that the Basic Application Level Confidentiality Profile (PS3.15 table E.1-1) has removed or
replaced and that hold words or numbers somebody may also have dictated.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from lxml import etree

from dicomnlp.export.concepts import CONCEPTS, Identifying
from dicomnlp.export.deidentify import Identities
from dicomnlp.extract.charset import CharacterSets, Declared, declared_in
from dicomnlp.extract.elements import DataSet, scan
from dicomnlp.extract.values import Reader
from dicomnlp.model import StoredObject

_BIRTH_DATE, _STUDY_DATE = 0x00100030, 0x00080020
_PATIENT_NAMES = frozenset({0x00100010, 0x00101001, 0x00101005})
"""Patient's, other and birth name."""
_IDENTIFIERS = frozenset(
    {
        0x00080050,  # Accession Number
        0x00100020,  # Patient ID, in items of Other Patient IDs Sequence too
        0x00101000,  # Other Patient IDs
        0x00101050,  # Insurance Plan Identification
        0x00101090,  # Medical Record Locator
        0x00181000,  # Device Serial Number
        0x00200010,  # Study ID
        0x00380010,  # Admission ID
        0x00380060,  # Service Episode ID
        0x00400009,  # Scheduled Procedure Step ID
        0x00400253,  # Performed Procedure Step ID
        0x00401001,  # Requested Procedure ID
        0x00402006,  # Placer Order Number / Procedure
        0x00402007,  # Filler Order Number / Procedure
        0x00402016,  # Placer Order Number / Imaging Service Request
        0x00402017,  # Filler Order Number / Imaging Service Request
    }
)
_PHONES = frozenset(
    {
        0x00080094,  # Referring Physician's Telephone Numbers
        0x00102154,  # Patient's Telephone Numbers
        0x00401103,  # Person's Telephone Numbers
        0x00402010,  # Order Callback Phone Number
    }
)
_PLACES = frozenset(
    {
        0x00080080,  # Institution Name
        0x00080081,  # Institution Address
        0x00080092,  # Referring Physician's Address
        0x00101040,  # Patient's Address
        0x00102299,  # Responsible Organization
        0x00380300,  # Current Patient Location
        0x00401102,  # Person's Address
        0x0040A027,  # Verifying Organization
    }
)
_PERSON_CODES = 0x00401101
"""Person Identification Code Sequence: a staff number, and as its meaning often a name."""
_CODE_VALUE, _CODE_MEANING = 0x00080100, 0x00080104
_VALUE_TYPE, _CONCEPT_NAME, _CONCEPT_CODE, _TEXT_VALUE = 0x0040A040, 0x0040A043, 0x0040A168, 0x0040A160
_CDA_DOCUMENT = 0x00420011
_MOST_VALUES = 500
"""Of each sort: no report names more people, and each costs a search through the text."""


@dataclass
class _Collected:
    """Values of each sort in their order, each once."""

    values: dict[str, dict[str, None]] = field(default_factory=dict)

    def add(self, sort: str, *texts: str) -> None:
        held = self.values.setdefault(sort, {})
        for text in texts:
            stripped = text.strip()
            if stripped.strip("^= ") and len(held) < _MOST_VALUES:
                held[stripped] = None

    def identities(self) -> Identities:
        return Identities(**{sort: tuple(held) for sort, held in self.values.items()})


def identities_of(stored: StoredObject) -> Identities:
    """What is to be looked for in the text of this object.

    Raises
    ------
    ObjectError
        It can't be read; an object that was analysed can.
    """
    scanned = scan(stored.data, stored.transfer_syntax_uid)
    character_sets = CharacterSets.of(scanned.elements, override=stored.character_set_override or None)
    reader = Reader(character_sets, big_endian=scanned.big_endian)
    found = _Collected()
    # first, because it is the year of dates that name none
    found.add("dates", reader.word(scanned.elements, _STUDY_DATE))
    stack: list[tuple[DataSet, Declared | None, bool]] = [(scanned.elements, None, False)]
    while stack:
        elements, inherited, of_person = stack.pop()
        own = declared_in(elements)
        declared = inherited if own is None else own
        for tag, element in elements.items():
            if element.items is not None:
                stack.extend((item, declared, tag == _PERSON_CODES) for item in element.items)
            elif element.value:
                _add_element(found, tag, element.vr, elements, reader, declared)
        if of_person:
            found.add("identifiers", reader.text(elements, _CODE_VALUE, declared))
            found.add("person_names", reader.text(elements, _CODE_MEANING, declared))
        if _CONCEPT_NAME in elements:
            _add_content(found, elements, reader, declared)
    for name, value in _names_of_document(scanned.elements):
        found.add(name, value)
    return found.identities()


def _add_element(
    found: _Collected, tag: int, vr: str, elements: DataSet, reader: Reader, declared: Declared | None
) -> None:
    if vr == "PN":
        sort = "patient_names" if tag in _PATIENT_NAMES else "person_names"
        found.add(sort, *reader.text(elements, tag, declared).split("\\"))
    elif tag in _IDENTIFIERS:
        found.add("identifiers", *reader.text(elements, tag, declared).split("\\"))
    elif tag in _PHONES:
        found.add("phones", *reader.text(elements, tag, declared).split("\\"))
    elif tag in _PLACES:
        found.add("places", *reader.text(elements, tag, declared).split("\\"))
    elif vr in {"DA", "DT"}:
        sort = "birth_dates" if tag == _BIRTH_DATE else "dates"
        found.add(sort, *(value[:8] for value in reader.word(elements, tag).split("\\")))


def _add_content(found: _Collected, elements: DataSet, reader: Reader, declared: Declared | None) -> None:
    """What a content item says, where its concept name tells that it identifies."""
    concept = reader.code(elements, _CONCEPT_NAME, declared)
    what = CONCEPTS.get((concept.scheme, concept.value)) if concept else None
    if what is None:
        return
    text = reader.text(elements, _TEXT_VALUE, declared)
    if what is Identifying.PATIENT_NAME:
        found.add("patient_names", text, reader.text(elements, 0x0040A123, declared))
    elif what is Identifying.PERSON_NAME:
        found.add("person_names", text)
    elif what is Identifying.IDENTIFIER:
        code = reader.code(elements, _CONCEPT_CODE, declared)
        found.add("identifiers", text, code.value if code else "")
    elif what is Identifying.PLACE:
        found.add("places", text)
    elif what is Identifying.BIRTH_DATE:
        found.add("birth_dates", reader.word(elements, 0x0040A121)[:8])


_CDA_NAMES = {"name": "person_names", "telecom": "phones", "addr": "places"}


def _names_of_document(elements: DataSet) -> Iterator[tuple[str, str]]:
    """Names, identifiers, numbers and addresses in the header of an encapsulated CDA document."""
    element = elements.get(_CDA_DOCUMENT)
    if element is None or b"ClinicalDocument" not in element.value[:20_000]:
        return
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, recover=True, huge_tree=False)
    try:
        root = etree.fromstring(element.value.rstrip(b"\0 "), parser)
    except (etree.XMLSyntaxError, ValueError):
        return
    if root is None:
        return
    for header in root:
        section = etree.QName(header).localname if isinstance(header.tag, str) else ""
        if section in {"", "component"}:
            continue
        for node in header.iter():
            local = etree.QName(node).localname if isinstance(node.tag, str) else ""
            if local in _CDA_NAMES:
                of_patient = section == "recordTarget" and local == "name" and _below(node, "patient")
                value = node.get("value") or " ".join(node.itertext())
                yield "patient_names" if of_patient else _CDA_NAMES[local], value.removeprefix("tel:")
            elif local == "id" and node.get("extension"):
                yield "identifiers", node.get("extension", "")
            elif local == "birthTime":
                yield "birth_dates", node.get("value", "")[:8]


def _below(node: etree._Element, local: str) -> bool:
    parent = node.getparent()
    return parent is not None and etree.QName(parent).localname == local
