"""What an ORU^R01 message reports (HL7 v2 chapter 7.3.1): whose it is, of which study, and its words.

A message may hold several orders, and several reports. An order with words begins a report; one without any shares the
report of the one before it, as when several examinations are read together.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dicomnlp.extract.cda import read_cda
from dicomnlp.extract.charset import codec_of_undeclared
from dicomnlp.extract.headings import Heading, heading_of
from dicomnlp.extract.hl7 import OWN_SCHEME, Message, Segment
from dicomnlp.extract.hygiene import plain_text
from dicomnlp.extract.paragraphs import NarrativeBuilder
from dicomnlp.extract.pdf import read_pdf
from dicomnlp.model import Code, Narrative, SectionName, State, is_uid

ACCESSION_FIELDS = ("IPC-1", "OBR-18", "OBR-3", "ORC-3")
"""Where an accession number is looked for: where IHE puts it (RAD TF-2 4.28), else the filler's order number."""

_PRELIMINARY = frozenset("PRAM")
"""OBR-25 and OBX-11 (tables 0123, 0085) of results that are to be confirmed."""
_WITHOUT_RESULT = frozenset("DWXN")
"""OBX-11: deleted, posted as wrong, can't be obtained, not asked for."""
_WORDS = frozenset({"TX", "FT", "ST", ""})
_STUDY_UID_NAMES = frozenset({"113014", "0020000D", "(0020,000D)", "STUDYINSTANCEUID", "DICOMSTUDY"})
_SUFFIXES = {
    "IMP": SectionName.IMPRESSION,
    "REC": SectionName.RECOMMENDATION,
    "GDT": SectionName.FINDINGS,
    "ADT": SectionName.ADDENDUM,
}
"""Suffixes of observation identifiers (7.2.3): what part of a report it is."""
_SCHEMES = {"L": "L", "LN": "LN", "LOINC": "LN", "SCT": "SCT", "DCM": "DCM"}
_ED_TEXT = frozenset({"TEXT", "PLAIN", "HTML", "RTF", "TX", "FT"})


@dataclass(frozen=True, slots=True)
class Order:
    """An order and what was observed for it."""

    patient: Segment
    """PID."""
    segments: tuple[Segment, ...]
    """ORC, OBR, OBX, NTE ... of this order, and PV1 of its patient."""

    def all(self, name: str) -> list[Segment]:
        """The segments of a name, in order."""
        return [s for s in self.segments if s.name == name]

    def component(self, name: str, field: int, component: int = 1, subcomponent: int = 1) -> str:
        """The text of a component in the first segment of a name that has it, without surrounding blanks."""
        found = (s.component(field, component, subcomponent).strip() for s in self.segments if s.name == name)
        return next((text for text in found if text), "")

    @property
    def has_words(self) -> bool:
        """Whether something of it is to be read."""
        return any(_holds_words(s) or s.component(2) == "ED" for s in self.all("OBX")) or (
            not self.all("OBX") and any(s.field(3).text for s in self.all("NTE"))
        )


@dataclass(frozen=True, slots=True)
class MessageReport:
    """A report of a message."""

    number: int
    """From 1 on."""
    orders: tuple[Order, ...]

    @property
    def observations(self) -> list[Segment]:
        """OBX of all its orders."""
        return [s for o in self.orders for s in o.all("OBX")]

    @property
    def status(self) -> str:
        """Result status (table 0123): "F", "P", "C" ...; "" when the message tells none."""
        told = (o.component("OBR", 25).upper() for o in self.orders)
        observed = (s.component(11).strip().upper() for s in self.observations if _holds_words(s))
        return next((status for status in (*told, *observed) if status), "")

    @property
    def is_preliminary(self) -> bool:
        """Whether it is to be confirmed."""
        return self.status in _PRELIMINARY

    @property
    def is_addendum(self) -> bool:
        """Whether all its words are called an addendum, so that they don't replace what was reported before."""
        read = [s for s in self.observations if _holds_words(s)]
        return bool(read) and all(_suffix(s) == "ADT" for s in read)

    @property
    def study_instance_uid(self) -> str:
        """As an observation (IHE RAD TF-2 4.128: DICOM Study), IPC-3 or ZDS-1 tell it; "" when none does."""
        for order in self.orders:
            for segment in order.all("OBX"):
                names = (segment.component(3), segment.component(3, 2))
                if any(re.sub(r"[\s_]", "", name).upper() in _STUDY_UID_NAMES for name in names):
                    told = segment.component(5).strip()
                    if is_uid(told):
                        return told
            for name, field in (("IPC", 3), ("ZDS", 1)):
                told = order.component(name, field)
                if is_uid(told):
                    return told
        return ""

    def accession_numbers(self, fields: Sequence[str] = ACCESSION_FIELDS) -> tuple[str, ...]:
        """Of each order the first that one of `fields`, such as "OBR-18", holds; each once."""
        found = (next(filter(None, (_value(order, field) for field in fields)), "") for order in self.orders)
        return tuple(dict.fromkeys(number for number in found if number))


def _value(order: Order, field: str) -> str:
    segment, _, number = field.partition("-")
    whole, _, component = number.partition(".")
    return order.component(segment, int(whole), int(component or 1))


def reports_of(message: Message) -> list[MessageReport]:
    """The reports of a message, in order; none when it has no order."""
    groups: list[list[Order]] = []
    waiting: list[Order] = []
    for order in _orders(message):
        if not order.has_words:
            (groups[-1] if groups else waiting).append(order)
        else:
            groups.append([*waiting, order])
            waiting = []
    if waiting:
        groups.append(waiting)
    return [MessageReport(number, tuple(group)) for number, group in enumerate(groups, 1)]


def _orders(message: Message) -> Iterator[Order]:
    patient, visit = Segment("PID", "PID", message.separators), None
    current: list[Segment] = []
    before: list[Segment] = []
    for segment in message.segments[1:]:
        if segment.name in {"PID", "ORC", "OBR"} and any(s.name == "OBR" for s in current):
            yield Order(patient, tuple(current))
            current, before = [], [visit] if visit else []
        if segment.name == "PID":
            patient, visit, before = segment, None, []
        elif segment.name == "PV1":
            visit = segment
            before.append(segment)
        elif segment.name in {"OBR", "ORC"} and not current:
            current = [*before, segment]
        elif current:
            current.append(segment)
        elif segment.name in {"OBX", "NTE"}:
            # of the patient, and no order's
            continue
    if any(s.name == "OBR" for s in current):
        yield Order(patient, tuple(current))


def _holds_words(segment: Segment) -> bool:
    return (
        segment.name == "OBX"
        and segment.component(2).strip().upper() in _WORDS
        and segment.component(11).strip().upper() not in _WITHOUT_RESULT
        and not _is_no_report(segment)
        and bool(segment.encoded(5).strip())
    )


def _is_no_report(segment: Segment) -> bool:
    """Whether an observation is no word of a report: the study's UID, or what this program wrote itself."""
    if segment.component(3, 3).strip() == OWN_SCHEME:
        return True
    return any(re.sub(r"[\s_]", "", segment.component(3, n)).upper() in _STUDY_UID_NAMES for n in (1, 2))


def _suffix(segment: Segment) -> str:
    """The suffix of an observation identifier: "IMP" of "&IMP", "71020&IMP" and "IMP"."""
    own = segment.component(3, 1, 2).strip().upper() or segment.component(3).strip().upper()
    return own if own in _SUFFIXES else ""


def read_report(report: MessageReport, warnings: list[str]) -> tuple[Narrative, State]:
    """The words of a report.

    Texts of observations in their order, under headings that their identifiers stand for. Documents (ED) are read where
    there are no such texts: many systems send the same words as text and as PDF. Notes are read where an order has
    nothing else.

    Parameters
    ----------
    warnings
        Gets ``hl7_reference_not_read``, ``hl7_coded_not_read``, ``hl7_bad_encoding``, and those of `pdf.read_pdf` and
        `cda.read_cda`.

    Raises
    ------
    ObjectError
        As `cda.read_cda` and `pdf.read_pdf` raise.
    """
    builder = NarrativeBuilder()
    has_words = False
    for order in report.orders:
        observations = order.all("OBX")
        if any(_holds_words(s) for s in observations):
            has_words = _write_texts(observations, builder) or has_words
        elif not observations:
            for number, note in enumerate(order.all("NTE"), 1):
                text = plain_text("\n".join(f.text for f in note.repetitions(3)))
                builder.paragraph(text, f"NTE {number}")
                has_words = has_words or bool(text.strip())
        for segment in observations:
            kind = segment.component(2).strip().upper()
            if kind == "RP" and not _is_no_report(segment):
                warnings.append("hl7_reference_not_read")
            elif kind in {"CE", "CWE", "CNE"}:
                warnings.append("hl7_coded_not_read")
    if has_words:
        return builder.build(), State.PENDING
    if any(s.component(3, 3).strip() == OWN_SCHEME for s in report.observations):
        return Narrative(""), State.OWN
    return _read_documents(report, warnings)


def _write_texts(observations: Sequence[Segment], builder: NarrativeBuilder) -> bool:
    opened: Heading | None = None
    blank = ""
    written = False
    for number, segment in enumerate(observations, 1):
        if segment.component(2).strip().upper() not in _WORDS or _is_no_report(segment):
            continue
        if segment.component(11).strip().upper() in _WITHOUT_RESULT:
            continue
        text = plain_text("\n".join(f.text for f in segment.repetitions(5)))
        if not text.strip():
            # an empty line, as between paragraphs
            blank = "\n" if written else ""
            continue
        heading, title = _heading(segment)
        if heading is not None and heading.section is not None and heading != opened:
            starts_with_it = title and text.lstrip().casefold().startswith(title.casefold())
            builder.heading(heading.section, "" if starts_with_it else title, f"OBX {number}")
            blank = ""
        elif heading is None and opened is not None:
            builder.close_section()
        opened = heading if heading is not None and heading.section is not None else None
        builder.paragraph(blank + text, f"OBX {number}")
        blank, written = "", True
    return written


def _heading(segment: Segment) -> tuple[Heading | None, str]:
    """The part of a report that an observation is, and what it is called."""
    title = segment.component(3, 2).strip()
    suffix = _suffix(segment)
    if suffix:
        return Heading(_SUFFIXES[suffix]), title
    scheme = segment.component(3, 3).strip().upper()
    value = segment.component(3).strip()
    found = heading_of(Code(value, _SCHEMES.get(scheme, scheme), title or value))
    return found, title or value


def _read_documents(report: MessageReport, warnings: list[str]) -> tuple[Narrative, State]:
    builder = NarrativeBuilder()
    state = State.NO_TEXT
    for number, segment in enumerate(report.observations, 1):
        if segment.component(2).strip().upper() != "ED" or segment.component(11).strip().upper() in _WITHOUT_RESULT:
            continue
        data = _document(segment)
        if data is None:
            warnings.append("hl7_bad_encoding")
            continue
        narrative, found = _read_document(data, segment, warnings)
        for part in narrative.segments:
            builder.paragraph(narrative.text[part.start : part.end], f"OBX {number} {part.path}".rstrip())
        if found is State.PENDING or (found is State.NEEDS_OCR and state is State.NO_TEXT):
            state = found
    return builder.build(), state


def _document(segment: Segment) -> bytes | None:
    """The bytes of encapsulated data (2.A.24); None when they aren't in the encoding that is named."""
    encoding = segment.component(5, 4).strip().upper()
    value = segment.component(5, 5)
    try:
        if encoding == "BASE64":
            return base64.b64decode(re.sub(r"\s", "", value), validate=True)
        if encoding == "HEX":
            return bytes.fromhex(re.sub(r"\s", "", value))
    except (binascii.Error, ValueError):
        return None
    return value.encode()


def _read_document(data: bytes, segment: Segment, warnings: list[str]) -> tuple[Narrative, State]:
    if b"%PDF-" in data[:1024]:
        return read_pdf(data, warnings)
    start = data[:256].lstrip(b"\xef\xbb\xbf\r\n\t ")
    if start.startswith((b"<?xml", b"<ClinicalDocument")):
        narrative, state, _, _ = read_cda(data, warnings)
        return narrative, state
    kinds = {segment.component(5, n).strip().upper() for n in (2, 3)}
    if not (kinds & _ED_TEXT or start.startswith((b"{\\rtf", b"<html", b"<HTML", b"<!DOCTYPE html"))):
        return Narrative(""), State.NO_TEXT
    codec = codec_of_undeclared(data)
    text = plain_text(data.decode("ascii" if codec == "iso2022" else codec, "replace"))
    builder = NarrativeBuilder()
    builder.paragraph(text, "")
    return builder.build(), State.PENDING if text.strip() else State.NO_TEXT
