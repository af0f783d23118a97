"""Findings of a report as an ORU^R01 message (HL7 v2.5.1), and sending it over MLLP.

What is sent is a machine's reading: result status P until somebody confirms it, C where it corrects what was sent
before. It holds no text of the report but the sentences that the findings are of, under a coding scheme of its own, by
which this program knows its messages again and doesn't read them as reports.
"""

import contextlib
import datetime as dt
import hashlib
import re
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Final

from dicomnlp import __version__
from dicomnlp.config import Settings
from dicomnlp.errors import ConfigurationError
from dicomnlp.export.telling import SECONDS, TellingError, client_trust
from dicomnlp.extract.hl7 import OWN_SCHEME, Separators
from dicomnlp.hl7_settings import HL7ReceiverSettings
from dicomnlp.model import Assertion, Concept, Finding, Laterality
from dicomnlp.store.answers import StoredReport

CODECS: Final = {"UNICODE UTF-8": "utf_8", "GB 18030-2000": "gb18030"}
_FINDING: Final = "121071^Finding^DCM"
_SITE: Final = "363698007^Finding site^SCT"
_SIDE: Final = "272741003^Laterality^SCT"
_SIDES: Final = {
    Laterality.LEFT: "7771000^Left^SCT",
    Laterality.RIGHT: "24028007^Right^SCT",
    Laterality.BILATERAL: "51440002^Right and left^SCT",
    Laterality.MIDLINE: "399488007^Midline^SCT",
}
_STUDY: Final = "113014^DICOM Study^DCM"
_REPORT: Final = "59776-5^Procedure findings^LN"
_TOLD: Final = (Assertion.PRESENT, Assertion.POSSIBLE, Assertion.ABSENT)
_MAXIMUM_ANSWER: Final = 65536
_ESCAPE: Final = Separators()


def compose_oru(
    receiver: HL7ReceiverSettings,
    report: StoredReport,
    findings: Sequence[Finding],
    *,
    control_id: str,
    moment: dt.datetime,
    is_correction: bool = False,
) -> bytes:
    """The message.

    Parameters
    ----------
    receiver
        To whom.
    report
        That prevails, with its header.
    findings
        Of the report; those that are said to be there, to be possible, or not to be there are told.
    control_id
        MSH-10.
    moment
        MSH-7.
    is_correction
        Whether it takes the place of one that was sent before.
    """
    now = f"{moment.astimezone(dt.UTC):%Y%m%d%H%M%S}+0000"
    who = (
        receiver.sending_application,
        receiver.sending_facility,
        receiver.receiving_application,
        receiver.receiving_facility,
    )
    header = ["MSH|^~\\&", *map(_text, who), now, "", "ORU^R01^ORU_R01", _text(control_id), "P", "2.5.1"]
    header += ["", "", "", "", "", receiver.character_set]
    segments = ["|".join(header), *_body(report, findings, "C" if is_correction else "P", now)]
    text = "".join(segment.rstrip("|") + "\r" for segment in segments)
    return text.encode(CODECS[receiver.character_set], "replace")


def digest_of(report: StoredReport, findings: Sequence[Finding]) -> str:
    """The same as long as a receiver would be told the same."""
    body = _body(report, findings, "P", "")
    return hashlib.sha256("\r".join(body).encode()).hexdigest()[:24]


def _body(report: StoredReport, findings: Sequence[Finding], status: str, now: str) -> list[str]:
    assert report.report is not None
    identity = report.report.identity
    study_moment = identity.study_date + identity.study_time[:6] if identity.study_date else ""
    patient_id = f"{_text(identity.patient_id)}^^^{_text(identity.issuer_of_patient_id)}^MR"
    sex = identity.patient_sex if identity.patient_sex in {"F", "M", "O"} else ""
    order = {
        1: "1",
        3: _text(identity.accession_number or report.sop_instance_uid),
        4: _REPORT,
        7: study_moment,
        18: _text(identity.accession_number),
        22: now,
        24: _text(identity.modality),
        25: status,
    }
    segments = [
        _segment("PID", {1: "1", 3: patient_id, 7: identity.patient_birth_date, 8: sex}),
        _segment("OBR", order),
        _segment("OBX", {1: "1", 2: "HD", 3: _STUDY, 5: report.study_instance_uid, 11: status}),
        _segment(
            "OBX",
            {1: "2", 2: "ST", 3: _own("sop_instance_uid", "Report read"), 5: report.sop_instance_uid, 11: status},
        ),
    ]
    told = [f for f in findings if f.assertion in _TOLD and not f.subject]
    for group, finding in enumerate(told, 1):
        for kind, what, value, unit in _observations(finding):
            segments.append(
                _segment(
                    "OBX",
                    {
                        1: str(len(segments) - 1),
                        2: kind,
                        3: what,
                        4: str(group),
                        5: value,
                        6: unit,
                        8: "AA" if what == _FINDING and finding.critical else "",
                        11: status,
                        18: f"dicomnlp^{_text(__version__)}",
                    },
                )
            )
    return segments


def _observations(finding: Finding) -> list[tuple[str, str, str, str]]:
    """(value type, identifier, value, unit) of each thing that is told of a finding."""
    found = [
        ("CWE", _FINDING, _coded(finding.concept), ""),
        ("CWE", _own("assertion", "Assertion"), _own(finding.assertion.value, finding.assertion.value), ""),
    ]
    if finding.anatomy is not None:
        found.append(("CWE", _SITE, _coded(finding.anatomy), ""))
    if finding.laterality is not None:
        found.append(("CWE", _SIDE, _SIDES[finding.laterality], ""))
    for name, value in (("severity", finding.severity), ("change", finding.change), ("acuity", finding.acuity)):
        if value is not None:
            found.append(("CWE", _own(name, name.capitalize()), _own(value.value, value.value.replace("_", " ")), ""))
    for m in finding.measurements:
        what = _own(f"{m.kind}_{m.temporality.value}", f"{m.kind} ({m.temporality.value})")
        found += [("NM", what, f"{value:g}", f"{_text(m.unit)}^{_text(m.unit)}^UCUM") for value in m.values]
    found.append(("TX", _own("sentence", "Sentence"), _text(finding.sentence), ""))
    return found


def _coded(concept: Concept) -> str:
    own = _own(concept.id, concept.meaning)
    if not (concept.code and concept.scheme):
        return own
    return f"{_text(concept.code)}^{_text(concept.meaning)}^{_text(concept.scheme)}^{own}"


def _own(identifier: str, meaning: str) -> str:
    return f"{_text(identifier)}^{_text(meaning)}^{OWN_SCHEME}"


def _text(value: str) -> str:
    return _ESCAPE.escaped(value)


def _segment(name: str, fields: dict[int, str]) -> str:
    return "|".join([name, *(fields.get(n, "") for n in range(1, max(fields) + 1))]).rstrip("|")


def send_message(settings: Settings, receiver: HL7ReceiverSettings, message: bytes, control_id: str) -> None:
    """Send a message, and wait for its acknowledgement; returns when that is AA or CA.

    Raises
    ------
    TellingError
        ``hl7_ae`` (the receiver would refuse it again), ``hl7_ar``, ``hl7_no_acknowledgement``,
        ``hl7_other_acknowledgement``, or what kept it from being reached.
    ConfigurationError
        The authorities, or the own certificate, can't be read.
    """
    context = _trust(settings, receiver) if receiver.tls else None
    try:
        with contextlib.ExitStack() as stack:
            plain = stack.enter_context(socket.create_connection((receiver.host, receiver.port), SECONDS))
            connection = plain
            if context is not None:
                connection = stack.enter_context(context.wrap_socket(plain, server_hostname=receiver.host))
            connection.sendall(b"\x0b" + message + b"\x1c\r")
            answer = _read_answer(connection)
    except ssl.SSLCertVerificationError:
        raise TellingError("certificate_not_trusted", is_unreachable=True) from None
    except ssl.SSLError:
        raise TellingError("tls_failed", is_unreachable=True) from None
    except TimeoutError:
        raise TellingError("timeout", is_unreachable=True) from None
    except OSError:
        raise TellingError("unreachable", is_unreachable=True) from None
    codec = CODECS[receiver.character_set]
    found = re.search(r"[\r\n]MSA(.)(..)\1([^\r\n]*)", answer.decode(codec, "replace"))
    if found is None:
        raise TellingError("hl7_no_acknowledgement")
    if found[3].split(found[1])[0].strip() != control_id:
        raise TellingError("hl7_other_acknowledgement", is_unreachable=True)
    code = found[2].upper()
    if code not in {"AA", "CA"}:
        raise TellingError("hl7_ae" if code[1] == "E" else "hl7_ar", is_final=code[1] == "E")


def _read_answer(connection: socket.socket) -> bytes:
    """The first message that comes, within its time and size."""
    deadline = time.monotonic() + SECONDS
    received = b""
    while b"\x1c" not in received:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        part = connection.recv(8192)
        received += part
        if not part or len(received) > _MAXIMUM_ANSWER:
            raise TellingError("hl7_no_acknowledgement")
    return received.partition(b"\x1c")[0].rpartition(b"\x0b")[2]


def _trust(settings: Settings, receiver: HL7ReceiverSettings) -> ssl.SSLContext:
    context = client_trust(settings, receiver.ca, f"hl7_receivers {receiver.name}")
    if settings.tls.certificate:
        certificate, key = settings.folder / settings.tls.certificate, settings.folder / settings.tls.key
        try:
            context.load_cert_chain(certificate, key, password="")
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ConfigurationError(f"tls.certificate, tls.key: can't be used: {type(error).__name__}") from None
    return context
