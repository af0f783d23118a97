"""Rows of the trail as DICOM audit messages (PS3.15 A.5), XML by the schema of PS3.15 A.5.1.

Which message a kind of row becomes is said by `_MESSAGES`; codes are those of PS3.16 CID 400 to 405. Patients are named
by their identifier only, which the standard asks for where the message is about a study; names are not sent.
"""

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from lxml import etree

from dicomnlp.audit.events import Kind, Outcome
from dicomnlp.audit.reading import Recorded

SOURCE_ID: Final = "dicomnlp"
_DCM: Final = "DCM"
_OUTCOMES: Final = {Outcome.SUCCESS: "0", Outcome.REFUSED: "4", Outcome.FAILED: "8"}
"""Nothing, minor failure, serious failure (PS3.15 A.5.1)."""


@dataclass(frozen=True, slots=True)
class _Code:
    value: str
    meaning: str
    scheme: str = _DCM

    def put(self, parent: etree._Element, name: str) -> None:
        """Add it as an element: code, system and text are what the schema asks for."""
        attributes = {"csd-code": self.value, "codeSystemName": self.scheme, "originalText": self.meaning}
        etree.SubElement(parent, name, attributes)


@dataclass(frozen=True, slots=True)
class _Message:
    event: _Code
    action: str
    """C create, R read, U update, D delete, E execute."""
    type: _Code | None = None


_APPLICATION: Final = _Code("110150", "Application")
_LAUNCHER: Final = _Code("110151", "Application Launcher")
_DESTINATION: Final = _Code("110152", "Destination Role ID")
_SOURCE: Final = _Code("110153", "Source Role ID")
_STUDY_UID: Final = _Code("110180", "Study Instance UID")
_PATIENT_NUMBER: Final = _Code("2", "Patient Number", "RFC-3881")
_NODE_ID: Final = _Code("110182", "Node ID")
_URI: Final = _Code("12", "URI", "RFC-3881")

_MESSAGES: Final = {
    Kind.QUERY: _Message(_Code("110112", "Query"), "E"),
    Kind.VIEW: _Message(_Code("110103", "DICOM Instances Accessed"), "R"),
    Kind.EXPORT: _Message(_Code("110106", "Export"), "R"),
    Kind.TRANSFER: _Message(_Code("110104", "DICOM Instances Transferred"), "C"),
    Kind.ADMIN: _Message(_Code("110113", "Security Alert"), "E", _Code("110137", "User Security Attributes Changed")),
    Kind.LOGIN: _Message(_Code("110114", "User Authentication"), "E", _Code("110122", "Login")),
    Kind.ASSOCIATION: _Message(_Code("110104", "DICOM Instances Transferred"), "C"),
    Kind.ALERT: _Message(_Code("110113", "Security Alert"), "E", _Code("110126", "Node Authentication")),
    Kind.ACTIVITY: _Message(_Code("110100", "Application Activity"), "E", _Code("110120", "Application Start")),
    Kind.AUDIT: _Message(_Code("110101", "Audit Log Used"), "R"),
}
_LOGOUT: Final = _Code("110123", "Logout")
_STOP: Final = _Code("110121", "Application Stop")
_REFUSED_NODE: Final = _MESSAGES[Kind.ALERT]
_KEYS: Final = "keys "
"""Commands of this name change who may do what; other admin actions change what is held."""
_CHANGED: Final = _Message(_Code("110103", "DICOM Instances Accessed"), "U")


def _message_of(row: Recorded) -> _Message:
    message = _MESSAGES[row.kind]
    if row.kind is Kind.LOGIN and row.action == "logout":
        return _Message(message.event, message.action, _LOGOUT)
    if row.kind is Kind.ACTIVITY and row.action.endswith("stopped"):
        return _Message(message.event, message.action, _STOP)
    if row.kind is Kind.ASSOCIATION and row.outcome is Outcome.REFUSED:
        return _REFUSED_NODE
    if row.kind is Kind.ADMIN and not row.action.startswith(_KEYS):
        return _CHANGED
    return message


def to_xml(row: Recorded, node: str, patient_ids: Sequence[str] = ()) -> bytes:
    """The message of a row.

    Parameters
    ----------
    node
        Name of this host: who reports, and the process that acted (PS3.15 A.5.2.3).
    patient_ids
        Those of the study that the row is about.
    """
    message = _message_of(row)
    root = etree.Element("AuditMessage")
    event = etree.SubElement(
        root,
        "EventIdentification",
        {
            "EventActionCode": message.action,
            "EventDateTime": row.at.isoformat(timespec="microseconds"),
            "EventOutcomeIndicator": _OUTCOMES[row.outcome],
        },
    )
    message.event.put(event, "EventID")
    if message.type is not None:
        message.type.put(event, "EventTypeCode")
    _put_participants(root, row, node)
    source = {"AuditEnterpriseSiteID": node, "AuditSourceID": SOURCE_ID}
    # 4: application server
    etree.SubElement(
        etree.SubElement(root, "AuditSourceIdentification", source), "AuditSourceTypeCode", {"csd-code": "4"}
    )
    _put_objects(root, row, patient_ids)
    encoded: bytes = etree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return encoded


def _put_participants(root: etree._Element, row: Recorded, node: str) -> None:
    """Who acted, and this service; of a transfer the sender is the source, of a query it is answered by us."""
    who, ours = {
        Kind.QUERY: (_SOURCE, _DESTINATION),
        Kind.EXPORT: (_DESTINATION, _SOURCE),
        Kind.TRANSFER: (_SOURCE, _DESTINATION),
        Kind.ASSOCIATION: (_SOURCE, _DESTINATION),
        Kind.ACTIVITY: (_LAUNCHER, _APPLICATION),
    }.get(row.kind, (None, _APPLICATION))
    is_process = row.kind in {Kind.ASSOCIATION, Kind.ALERT}
    _put_participant(root, row.principal or "unknown", who, row.address, is_requestor=True, role=row.role)
    called = (row.query or {}).get("called_ae_title") if is_process else None
    _put_participant(root, called or SOURCE_ID, ours, node, is_requestor=False)


def _put_participant(
    root: etree._Element, user: str, code: _Code | None, address: str, *, is_requestor: bool, role: str = ""
) -> None:
    attributes = {"UserID": _printable(user), "UserIsRequestor": str(is_requestor).lower()}
    if role:
        attributes["AlternativeUserID"] = f"role {role}"
    if address:
        # 1 machine name, 2 IP address
        is_number = address.replace(".", "").replace(":", "").isalnum() and any(c in address for c in ".:")
        numeric = is_number and all(c in "0123456789abcdefABCDEF.:" for c in address)
        attributes |= {
            "NetworkAccessPointID": _printable(address),
            "NetworkAccessPointTypeCode": "2" if numeric else "1",
        }
    participant = etree.SubElement(root, "ActiveParticipant", attributes)
    if code is not None:
        code.put(participant, "RoleIDCode")


def _put_objects(root: etree._Element, row: Recorded, patient_ids: Iterable[str]) -> None:
    message = _message_of(row)
    details = {"action": row.action, "count": None if row.count is None else str(row.count)}
    if row.study_instance_uid is not None:
        # system object, report
        study = _put_object(root, row.study_instance_uid, "2", "3", _STUDY_UID)
        _put_details(study, details)
        described = etree.SubElement(study, "ParticipantObjectDescription")
        held = etree.SubElement(described, "ParticipantObjectContainsStudy")
        etree.SubElement(held, "StudyIDs", {"UID": row.study_instance_uid})
    for patient_id in patient_ids:
        # person, patient
        _put_object(root, _printable(patient_id), "1", "1", _PATIENT_NUMBER)
    if message.event.value == "110112" or (
        row.study_instance_uid is None and message.event.value in {"110106", "110103"}
    ):
        # system object, report (PS3.15 A.5.3.10): what was asked with
        asked = _put_object(root, row.action, "2", "3", _URI, query=row.query or {})
        _put_details(asked, {"count": details["count"]})
    elif message.event.value == "110113":
        # system object, security resource
        alerted = _put_object(root, row.principal or "unknown", "2", "13", _NODE_ID)
        _put_details(alerted, {**details, **(row.query or {})})
    elif message.event.value == "110101":
        _put_object(root, "audit_event", "2", "13", _URI, name="Security Audit Log")


def _put_object(
    root: etree._Element,
    identifier: str,
    kind: str,
    role: str,
    code: _Code,
    *,
    query: dict[str, str] | None = None,
    name: str = "",
) -> etree._Element:
    attributes = {
        "ParticipantObjectID": identifier or "unknown",
        "ParticipantObjectTypeCode": kind,
        "ParticipantObjectTypeCodeRole": role,
    }
    made = etree.SubElement(root, "ParticipantObjectIdentification", attributes)
    code.put(made, "ParticipantObjectIDTypeCode")
    if query is not None:
        text = json.dumps(query, ensure_ascii=False, sort_keys=True).encode()
        etree.SubElement(made, "ParticipantObjectQuery").text = base64.b64encode(text).decode()
    else:
        etree.SubElement(made, "ParticipantObjectName").text = name or identifier
    return made


def _put_details(made: etree._Element, details: dict[str, str | None]) -> None:
    for name, value in details.items():
        if value:
            encoded = base64.b64encode(value.encode()).decode()
            etree.SubElement(made, "ParticipantObjectDetail", {"type": name, "value": encoded})


def _printable(text: str) -> str:
    """`text` without what XML 1.0 can't hold; the trail has taken out most."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text) or "unknown"
