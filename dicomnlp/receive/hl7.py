"""An HL7 message that came in, and its acknowledgement: AA only when all its reports are durable.

How a message is answered (HL7 v2 2.9.2, tables 0008 and 0357), by the message's own wish in the original or the
enhanced mode:

==== ==== ======================================================================================
AA   CA   All reports of the message are durable, or were already
AE   CE   The message is at fault: sent again as it is, it would be answered alike
AR   CR   Not taken for a cause outside of its content, or of a kind that isn't taken (200 to 203)
==== ==== ======================================================================================
"""

import datetime as dt
import itertools
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dicomnlp.config import Settings
from dicomnlp.errors import CANNOT_UNDERSTAND, OUT_OF_RESOURCES, DicomnlpError
from dicomnlp.extract.hl7 import Message, declared_in, parse_message, read_separators
from dicomnlp.extract.hl7_report import MessageReport, reports_of
from dicomnlp.model import Arrival, Door, Outcome, Receipt
from dicomnlp.receive.contexts import EXPLICIT_VR_LITTLE_ENDIAN
from dicomnlp.receive.hl7_object import encode_report
from dicomnlp.receive.intake import Intake
from dicomnlp.receive.reasons import Reason
from dicomnlp.terms import HL7_MESSAGE_STORAGE

MAXIMUM_REPORTS: Final = 100
"""Of a message: each is kept with all of it."""
_ECHOED: Final = 256
"""Characters of a header's field that an answer repeats."""
_TITLE: Final = re.compile(r"[ -\[\]-~]{1,16}\Z")

_TEXTS: Final = {
    100: "Segment sequence error",
    101: "Required field missing",
    102: "Data type error",
    200: "Unsupported message type",
    201: "Unsupported event code",
    202: "Unsupported processing id",
    203: "Unsupported version id",
    205: "Duplicate key identifier",
    207: "Application internal error",
}
"""Table 0357."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is answered."""

    code: str
    """"A", "E" or "R": the second letter of the acknowledgement."""
    reason_code: str | None = None
    error: int = 0
    """Of table 0357; 0 where nothing is wrong."""
    place: str = ""
    """Segment, sequence and field of what is wrong (ERL): "MSH^1^9"."""


ACCEPTED: Final = Verdict("A")
TOO_LARGE: Final = Verdict("E", "message_too_large", 207)
TOO_MUCH_AT_A_TIME: Final = Verdict("R", "too_much_at_a_time", 207)


@dataclass(frozen=True, slots=True)
class Answered:
    """What was done with a message."""

    acknowledgements: tuple[bytes, ...]
    """To be sent, in this order, without frames; none where the sender wants none."""
    verdict: Verdict
    sending_application: str
    """MSH-3, "" when it can't be a name."""
    receipts: tuple[Receipt, ...] = ()


class MessageDoor:
    """Hands the reports of messages to intake.

    Parameters
    ----------
    settings
        Table hl7.
    intake
        Open; it stays the caller's to close.
    """

    def __init__(self, settings: Settings, intake: Intake) -> None:
        self._settings = settings.hl7
        self._intake = intake
        self._numbers = itertools.count(1)
        self._prefix = secrets.token_hex(5)

    def answer(self, data: bytes, peer_address: str, refusal: Verdict | None = None) -> Answered:
        """Take a message in, and say how it is acknowledged; returns when what was decided is durable.

        Never raises for what the message holds or for what the database does.

        Parameters
        ----------
        data
            The message without its frame.
        refusal
            Why it isn't looked into; it is answered all the same.
        """
        header = _Header.of(data)
        if refusal is None:
            verdict, receipts = self._take(data, header, peer_address)
        else:
            verdict, receipts = refusal, [self._refuse(refusal, data, header, peer_address)]
        number = f"{self._prefix}{next(self._numbers)}"
        return Answered(tuple(header.acknowledgements(verdict, number)), verdict, header.application, tuple(receipts))

    def _take(self, data: bytes, header: "_Header", peer_address: str) -> tuple[Verdict, list[Receipt]]:
        hindrance = self._intake.hindrance
        if hindrance is not None:
            verdict = Verdict("R", hindrance, 207)
            return verdict, [self._refuse(verdict, data, header, peer_address)]
        try:
            message = parse_message(data)
            reports = reports_of(message)
        except DicomnlpError as error:
            verdict = Verdict("E", error.reason_code, 100, "MSH^1")
        else:
            verdict = self._judge(message, header, reports)
        if verdict is not ACCEPTED:
            return verdict, [self._refuse(verdict, data, header, peer_address)]
        receipts = []
        for report in reports:
            encoded = encode_report(message, report, data, self._settings.accession_number)
            arrival = _arrival(encoded.data, encoded.sop_instance_uid, header.application, peer_address)
            receipts.append(self._intake.accept(arrival))
        return max(map(_verdict, receipts), key=lambda v: "AER".index(v.code)), receipts

    def _refuse(self, verdict: Verdict, data: bytes, header: "_Header", peer_address: str) -> Receipt:
        """Leave a row of the ledger, as of every object that isn't taken."""
        status = OUT_OF_RESOURCES if verdict.code == "R" else CANNOT_UNDERSTAND
        arrival = _arrival(data, "", header.application, peer_address)
        return self._intake.refuse(arrival, status, verdict.reason_code or "internal_error")

    def _judge(self, message: Message, header: "_Header", reports: Sequence[MessageReport]) -> Verdict:
        """Why a message isn't taken; ACCEPTED when it is."""
        kind, event = header.component(9, 1), header.component(9, 2)
        if not kind:
            return Verdict("E", "hl7_no_message_type", 101, "MSH^1^9")
        if kind != "ORU":
            return Verdict("R", "hl7_message_type", 200, "MSH^1^9")
        if event not in {"R01", ""}:
            return Verdict("R", "hl7_event", 201, "MSH^1^9")
        if not header.component(10):
            return Verdict("E", "hl7_no_control_id", 101, "MSH^1^10")
        if header.component(11) not in {"P", ""}:
            # what is sent to train or to try must not become somebody's findings
            return Verdict("R", "hl7_processing_id", 202, "MSH^1^11")
        if not header.component(12):
            return Verdict("E", "hl7_no_version", 101, "MSH^1^12")
        if not header.component(12).startswith("2."):
            return Verdict("R", "hl7_version", 203, "MSH^1^12")
        allowed = self._settings.sending_applications
        if allowed and header.component(3) not in allowed:
            return Verdict("R", "hl7_sender_not_allowed", 207, "MSH^1^3")
        if message.all("DSC") or header.component(14):
            return Verdict("R", "hl7_continuation", 207, "DSC^1")
        if not message.all("PID"):
            return Verdict("E", "hl7_no_patient", 100, "PID^1")
        if not reports:
            return Verdict("E", "hl7_no_order", 100, "OBR^1")
        if len(reports) > MAXIMUM_REPORTS:
            return Verdict("E", "hl7_too_many_reports", 207, "OBR^1")
        return ACCEPTED


def _arrival(data: bytes, sop_instance_uid: str, application: str, peer_address: str) -> Arrival:
    return Arrival(
        data=data,
        transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
        sop_class_uid=HL7_MESSAGE_STORAGE,
        sop_instance_uid=sop_instance_uid,
        door=Door.HL7,
        calling_ae_title=application,
        peer_address=peer_address,
    )


def _verdict(receipt: Receipt) -> Verdict:
    if receipt.outcome is Outcome.QUARANTINED:
        is_conflict = receipt.reason_code != Reason.NO_STUDY_INSTANCE_UID.answer[1]
        return Verdict("E", receipt.reason_code, 205 if is_conflict else 101, "OBR^1^18")
    if receipt.outcome is not Outcome.REFUSED:
        return ACCEPTED
    too_large = receipt.reason_code == Reason.OBJECT_TOO_LARGE.answer[1]
    return Verdict("R" if receipt.status == OUT_OF_RESOURCES and not too_large else "E", receipt.reason_code, 207)


@dataclass(frozen=True, slots=True)
class _Header:
    """The header of a message, as far as it can be read, whatever becomes of the rest."""

    fields: tuple[str, ...]
    """By their numbers; [0] is "MSH"."""
    codec: str
    field: str
    component_separator: str
    encoding_characters: str

    @classmethod
    def of(cls, data: bytes) -> "_Header":
        try:
            separators, rest = read_separators(data)
            line = re.split(rb"[\r\n]", rest, maxsplit=1)[0]
            declared = declared_in(data)
        except DicomnlpError:
            return cls(("MSH", "|"), "ascii", "|", "^", "^~\\&")
        # byte for byte as it came, unless bytes of a character would be taken for separators
        codec = next((c for c in ("gb18030", "big5") if c.upper() in {d.replace("-", "") for d in declared}), "latin_1")
        try:
            text = line.decode(codec)
        except UnicodeDecodeError:
            codec, text = "latin_1", line.decode("latin_1")
        fields = text.split(separators.field, 30)
        return cls(
            ("MSH", separators.field, *fields[1:]),
            codec,
            separators.field,
            separators.component,
            separators.encoding_characters.replace("\0", ""),
        )

    def encoded(self, number: int) -> str:
        """A field as it came, if it isn't longer than any can be."""
        value = self.fields[number] if number < len(self.fields) else ""
        return value if len(value) <= _ECHOED else ""

    def component(self, number: int, component: int = 1) -> str:
        parts = self.encoded(number).split(self.component_separator)
        return parts[component - 1].strip() if component <= len(parts) else ""

    @property
    def application(self) -> str:
        """MSH-3, if it can be a name (as of AE titles), else ""."""
        name = self.component(3)
        return name if _TITLE.match(name) else ""

    def acknowledgements(self, verdict: Verdict, control_id: str) -> list[bytes]:
        """What is answered: in the enhanced mode only what the sender wishes for (2.9.3)."""
        accept, application = self.component(15).upper(), self.component(16).upper()
        if not (accept or application):
            return [self._acknowledgement(f"A{verdict.code}", verdict, control_id)]
        wanted = {"AL", "SU" if verdict.code == "A" else "ER"}
        found = []
        if accept in wanted:
            found.append(self._acknowledgement(f"C{verdict.code}", verdict, control_id))
        if application in wanted:
            found.append(self._acknowledgement(f"A{verdict.code}", verdict, f"{control_id}-2"))
        return found

    def _acknowledgement(self, code: str, verdict: Verdict, control_id: str) -> bytes:
        version = self.encoded(12)
        now = f"{dt.datetime.now(dt.UTC):%Y%m%d%H%M%S}+0000"
        c = self.component_separator
        event = self.component(9, 2)
        kind = f"ACK{c}{event}{c}ACK" if event else "ACK"
        header = [
            *("MSH", *map(self.encoded, (5, 6, 3, 4)), now, "", kind, control_id),
            *(self.encoded(11) or "P", version or "2.5"),
            *("",) * 5,
            self.encoded(18),
        ]
        header[0] = f"MSH{self.field}{self.encoding_characters}"
        segments = [header, ["MSA", code, self.encoded(10), verdict.reason_code or ""]]
        if verdict.error and _has_error_segment(version):
            named = f"{verdict.error}{c}{_TEXTS[verdict.error]}{c}HL70357"
            segments.append(["ERR", "", verdict.place.replace("^", c), named, "E"])
        encoded = "".join(self.field.join(s).rstrip(self.field) + "\r" for s in segments)
        return encoded.encode(self.codec, "replace")


def _has_error_segment(version: str) -> bool:
    """Whether ERR has fields 2 to 4: since version 2.5."""
    found = re.match(r"2\.(\d+)", version)
    return found is not None and int(found[1]) >= 5
