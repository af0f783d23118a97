"""A report of an HL7 message as an object that is kept: the message as it came, under a DICOM header made of it.

The message is the encapsulated document (PS3.3 C.24.2), byte for byte, so that it can be read again by better rules;
the header says whose it is, in the attributes that every other object has too. The SOP class is a private one.

UIDs that the message doesn't tell are made of what it tells: the same report gets the same ones whenever it comes, so
that a correction is a further version of it, and the same bytes again are known.
"""

import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from dicomnlp.extract.conformity import date_of, time_of
from dicomnlp.extract.hl7 import Field, Message
from dicomnlp.extract.hl7_report import MessageReport, Order
from dicomnlp.terms import HL7_MESSAGE_STORAGE

MIME_TYPE: Final = "x-application/hl7-v2+er7"
_LONG: Final = frozenset({"OB", "SQ", "UT"})
_MAXIMUM_VALUE: Final = 1024
"""Characters; no attribute of the header takes as many."""
_MODALITIES: Final = frozenset(
    {"BMD", "CR", "CT", "DG", "DX", "ECG", "ES", "GM", "IO", "IVUS", "MG", "MR", "NM", "OCT", "OP", "OPT", "PT", "PX"}
    | {"RF", "RG", "TG", "US", "XA", "XC"}
)
_SERVICES: Final = {
    "NMR": "MR",
    "MRI": "MR",
    "NMS": "NM",
    "RUS": "US",
    "CUS": "US",
    "VUS": "US",
    "OUS": "US",
    "PET": "PT",
    "CTH": "CT",
}
"""Diagnostic services (OBR-24, table 0074) that are one modality."""

_Value = str | bytes | list["_Elements"]
_Elements = dict[int, tuple[str, _Value]]


@dataclass(frozen=True, slots=True)
class EncodedReport:
    """What is handed to intake."""

    data: bytes
    """The data set, explicit VR little endian."""
    sop_instance_uid: str


@dataclass(slots=True)
class _People:
    referring: list[str] = field(default_factory=list)
    reading: list[str] = field(default_factory=list)


def encode_report(
    message: Message, report: MessageReport, encoded: bytes, accession_fields: Sequence[str]
) -> EncodedReport:
    """The object of a report.

    Parameters
    ----------
    message, report
        Of which it is.
    encoded
        The message as it came.
    accession_fields
        Where accession numbers are looked for.
    """
    first = report.orders[0]
    accession_numbers = report.accession_numbers(accession_fields)
    patient_id, issuer = _patient(first)
    header = message.header
    moment = first.component("OBR", 22) or header.component(7)
    identifying = [
        [header.component(3), header.component(4)],
        [o.component("OBR", 3) or o.component("ORC", 3) for o in report.orders],
        list(accession_numbers),
        [issuer, patient_id],
    ]
    is_known = any(identifying[1]) or bool(accession_numbers)
    kind = "preliminary" if report.is_preliminary else "addendum" if report.is_addendum else "report"
    key = [*identifying, kind] if is_known else [*identifying, kind, header.component(10), report.number]
    if report.is_addendum:
        key.append(moment)
    sop_instance_uid = _uid("instance", key)
    study_instance_uid = report.study_instance_uid
    if not study_instance_uid and accession_numbers:
        # until an object of the study itself comes: then the accession number links both (store.life)
        study_instance_uid = _uid("study", [issuer, patient_id, accession_numbers[0]])
    people = _people(report)
    study_moment = first.component("OBR", 7) or first.component("OBR", 36)
    procedures = [o.component("OBR", 4, 2) or o.component("OBR", 4, 5) or o.component("OBR", 4) for o in report.orders]
    elements: _Elements = {
        0x00080005: ("CS", "ISO_IR 192"),
        0x00080016: ("UI", HL7_MESSAGE_STORAGE),
        0x00080018: ("UI", sop_instance_uid),
        0x00080020: ("DA", date_of(study_moment[:8])),
        0x00080023: ("DA", date_of(moment[:8])),
        0x00080030: ("TM", time_of(study_moment[8:14])),
        0x00080033: ("TM", time_of(moment[8:14])),
        0x00080050: ("SH", accession_numbers[0] if accession_numbers else ""),
        0x00080060: ("CS", _modality(report)),
        0x00080080: ("LO", header.component(4)),
        0x00080090: ("PN", people.referring[0] if people.referring else ""),
        0x0008009C: ("PN", "\\".join(people.referring[1:])),
        0x00081030: ("LO", ", ".join(dict.fromkeys(filter(None, procedures)))[:64]),
        0x00081060: ("PN", "\\".join(people.reading)),
        0x00100010: ("PN", _person_name(first.patient.field(5), 1)),
        0x00100020: ("LO", patient_id),
        0x00100021: ("LO", issuer),
        0x00100030: ("DA", date_of(first.patient.component(7)[:8])),
        0x00100040: ("CS", _sex(first.patient.component(8))),
        0x00101000: ("LO", "\\".join(_other_ids(first, patient_id))),
        0x00101040: ("LO", _address(first)),
        0x00102154: ("SH", "\\".join(filter(None, (f.text for n in (13, 14) for f in first.patient.repetitions(n))))),
        0x0020000D: ("UI", study_instance_uid),
        0x0020000E: ("UI", _uid("series", key)),
        0x00200011: ("IS", "1"),
        0x00200013: ("IS", str(report.number)),
        0x0040A370: ("SQ", [_request(o, accession_fields) for o in report.orders]),
        0x0040A491: ("CS", "PARTIAL" if report.status == "A" else "COMPLETE"),
        0x0040A493: ("CS", "UNVERIFIED" if report.is_preliminary or not report.status else "VERIFIED"),
        0x0040A496: ("CS", "PRELIMINARY" if report.is_preliminary else "FINAL" if report.status else ""),
        0x00420010: ("ST", ", ".join(dict.fromkeys(filter(None, procedures)))),
        0x00420011: ("OB", encoded),
        0x00420012: ("LO", MIME_TYPE),
        0x00420015: ("UL", struct.pack("<I", len(encoded))),
    }
    if people.reading and not report.is_preliminary and moment[:8]:
        elements[0x0040A073] = (
            "SQ",
            [{0x0040A030: ("DT", moment[:14]), 0x0040A075: ("PN", people.reading[0])}],
        )
    return EncodedReport(_encode(elements), sop_instance_uid)


def _uid(what: str, key: Sequence[object]) -> str:
    """A UID derived from a digest, in the form of one derived from a UUID (PS3.5 B.2)."""
    digest = hashlib.sha256(json.dumps(["dicomnlp hl7", what, *key], ensure_ascii=True).encode()).hexdigest()
    return f"2.25.{int(digest[:32], 16)}"


def _patient(order: Order) -> tuple[str, str]:
    """Identifier and assigning authority: of the identifiers of PID-3 the medical record number, else the first."""
    listed = [f for f in order.patient.repetitions(3) if f.component(1).strip()]
    chosen = next((f for f in listed if f.component(5).strip().upper() == "MR"), listed[0] if listed else None)
    if chosen is None:
        return order.patient.component(2).strip(), ""
    return chosen.component(1).strip(), chosen.component(4).strip()


def _other_ids(order: Order, patient_id: str) -> list[str]:
    found = [f.component(1).strip() for n in (2, 3, 4, 18, 19) for f in order.patient.repetitions(n)]
    return [i for i in dict.fromkeys(found) if i and i != patient_id][:20]


def _address(order: Order) -> str:
    address = order.patient.field(11)
    return " ".join(filter(None, (address.component(n).strip() for n in range(1, 7))))


def _sex(code: str) -> str:
    return code.strip().upper() if code.strip().upper() in {"F", "M", "O"} else ""


def _modality(report: MessageReport) -> str:
    told = [o.component("OBR", 24).upper() for o in report.orders]
    found = {_SERVICES.get(service, service) for service in told} & _MODALITIES
    return found.pop() if len(found) == 1 else "DOC"


def _person_name(name: Field, first: int) -> str:
    """XPN, or the name within XCN, as PN: the prefix comes before the suffix there (PS3.5 6.2.1.2)."""
    parts = [name.component(first + n).strip() for n in range(5)]
    family, given, middle, suffix, prefix = (p.replace("^", " ").replace("=", " ").replace("\\", " ") for p in parts)
    return f"{family}^{given}^{middle}^{prefix}^{suffix}".rstrip("^")


def _people(report: MessageReport) -> _People:
    people = _People()
    for order in report.orders:
        for segment in order.segments:
            fields = {"OBR": (16, 28), "ORC": (12,), "PV1": (7, 8, 9, 17)}.get(segment.name, ())
            people.referring += [_person_name(f, 2) for n in fields for f in segment.repetitions(n)]
            if segment.name == "OBR":
                for number in (32, 33, 34, 35):
                    for each in segment.repetitions(number):
                        # NDL: the parts of the name are subcomponents
                        names = [each.component(1, n).strip() for n in (2, 3, 4, 6, 5)]
                        people.reading.append("^".join(names).rstrip("^"))
            elif segment.name == "OBX":
                people.reading += [_person_name(f, 2) for f in segment.repetitions(16)]
    people.referring = [name for name in dict.fromkeys(people.referring) if name][:20]
    people.reading = [name for name in dict.fromkeys(people.reading) if name][:20]
    return people


def _request(order: Order, accession_fields: Sequence[str]) -> _Elements:
    """An item of Referenced Request Sequence (PS3.3 C.17.2)."""
    numbers = MessageReport(1, (order,)).accession_numbers(accession_fields)
    return {
        0x00080050: ("SH", numbers[0] if numbers else ""),
        0x00321060: ("LO", order.component("OBR", 4, 2)),
        0x00402016: ("LO", order.component("OBR", 2) or order.component("ORC", 2)),
        0x00402017: ("LO", order.component("OBR", 3) or order.component("ORC", 3)),
    }


def _encode(elements: _Elements) -> bytes:
    """A data set in explicit VR little endian (PS3.5 7.1.2)."""
    return b"".join(_element(tag, vr, value) for tag, (vr, value) in sorted(elements.items()))


def _element(tag: int, vr: str, value: _Value) -> bytes:
    if isinstance(value, list):
        items = [_encode(item) for item in value]
        encoded = b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(item)) + item for item in items)
    elif isinstance(value, bytes):
        encoded = value + b"\0" * (len(value) % 2)
    else:
        # of a name that may have several values, and of a UID, backslash and full length are ours
        kept = value if vr in {"PN", "UI"} or tag in {0x00101000, 0x00102154} else value.replace("\\", "/")
        text = "".join(c for c in kept[:_MAXIMUM_VALUE] if c.isprintable()).strip()
        encoded = text.encode("utf-8", "replace")
        encoded += (b"\0" if vr == "UI" else b" ") * (len(encoded) % 2)
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    if vr in _LONG:
        return head + struct.pack("<HI", 0, len(encoded)) + encoded
    return head + struct.pack("<H", len(encoded)) + encoded
