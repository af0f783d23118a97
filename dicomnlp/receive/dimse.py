"""DIMSE messages (PS3.7): command sets parsed in place and encoded, and messages put together from their fragments.

Command sets are always implicit VR little endian (PS3.7 6.3.1), and only a handful of elements matters to a C-STORE and
C-ECHO provider, so no general data set decoder is involved.
"""

import enum
import struct
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from dicomnlp.errors import CANNOT_UNDERSTAND, DATA_SET_DOES_NOT_MATCH, OUT_OF_RESOURCES, PROCESSING_FAILURE, SUCCESS
from dicomnlp.receive.pdu import HEADER, PDV_HEADER, AbortReason, AssociationError, PDUType
from dicomnlp.receive.places import FREE_BYTES, Allowance

NO_DATA_SET: Final = 0x0101
"""Command Data Set Type of a message without one (PS3.7 E.1); any other value announces a data set."""

MAXIMUM_COMMAND_BYTES: Final = 65536
"""A C-STORE-RQ takes some 200."""

MAXIMUM_LENGTH_SENT: Final = 131072
"""Bytes of a PDU to a peer that takes any number."""

_RESPONSE: Final = 0x8000
_IS_COMMAND: Final = 0x01
_IS_LAST: Final = 0x02

_ELEMENT: Final = struct.Struct("<HHI")
_GROUP_LENGTH: Final = struct.Struct("<HHII")
_FOUR_US: Final = struct.Struct("<HHIHHHIHHHIHHHIH")
"""Four elements of VR US, each with its value."""

_WITH_ERROR_COMMENT: Final = frozenset(
    {OUT_OF_RESOURCES, DATA_SET_DOES_NOT_MATCH, CANNOT_UNDERSTAND, PROCESSING_FAILURE}
)
"""Statuses beside which Error Comment (0000,0902) may stand (PS3.4 Table B.2-1, PS3.7 C.5.8)."""


class CommandField(enum.IntEnum):
    """Values of (0000,0100) that are not answered as unrecognized operations (PS3.7 E.1)."""

    C_STORE_RQ = 0x0001
    C_ECHO_RQ = 0x0030
    N_EVENT_REPORT_RQ = 0x0100
    N_EVENT_REPORT_RSP = 0x8100
    N_ACTION_RQ = 0x0130
    C_CANCEL_RQ = 0x0FFF


class Element(enum.IntEnum):
    """Element numbers of group 0000 (PS3.7 E.1)."""

    AFFECTED_SOP_CLASS_UID = 0x0002
    REQUESTED_SOP_CLASS_UID = 0x0003
    COMMAND_FIELD = 0x0100
    MESSAGE_ID = 0x0110
    MESSAGE_ID_BEING_RESPONDED_TO = 0x0120
    COMMAND_DATA_SET_TYPE = 0x0800
    STATUS = 0x0900
    ERROR_COMMENT = 0x0902
    AFFECTED_SOP_INSTANCE_UID = 0x1000
    REQUESTED_SOP_INSTANCE_UID = 0x1001
    EVENT_TYPE_ID = 0x1002
    ACTION_TYPE_ID = 0x1008


@dataclass(frozen=True, slots=True)
class Command:
    """The elements of a request's command set that matter to a provider."""

    command_field: int
    message_id: int
    has_data_set: bool
    affected_sop_class_uid: str
    """"" when absent. As sent: it may hold anything."""
    affected_sop_instance_uid: str
    """Likewise."""


def elements_of(encoded: bytes) -> dict[int, bytes]:
    """The elements of a command set, by their number.

    Raises
    ------
    AssociationError
        It isn't a command set.
    """
    elements: dict[int, bytes] = {}
    position, size = 0, len(encoded)
    while position < size:
        if size - position < _ELEMENT.size:
            raise _malformed()
        group, number, length = _ELEMENT.unpack_from(encoded, position)
        begin = position + _ELEMENT.size
        position = begin + length
        if group != 0 or position > size:
            raise _malformed()
        elements[number] = encoded[begin:position]
    return elements


def decode_command(encoded: bytes) -> Command:
    """Parse a command set.

    Raises
    ------
    AssociationError
        It isn't a command set, or an element that each request needs is missing: such a message can't be answered.
    """
    elements = elements_of(encoded)
    command_field = _unsigned_short(elements, Element.COMMAND_FIELD)
    # a response and a C-CANCEL carry the message ID of the request they belong to
    is_about_other = command_field & _RESPONSE or command_field == CommandField.C_CANCEL_RQ
    return Command(
        command_field=command_field,
        message_id=_unsigned_short(
            elements, Element.MESSAGE_ID_BEING_RESPONDED_TO if is_about_other else Element.MESSAGE_ID
        ),
        has_data_set=_unsigned_short(elements, Element.COMMAND_DATA_SET_TYPE) != NO_DATA_SET,
        affected_sop_class_uid=_uid(elements, Element.AFFECTED_SOP_CLASS_UID),
        affected_sop_instance_uid=_uid(elements, Element.AFFECTED_SOP_INSTANCE_UID),
    )


def _malformed() -> AssociationError:
    return AssociationError(AbortReason.SERVICE_USER, "malformed_command_set")


def _unsigned_short(elements: dict[int, bytes], number: Element) -> int:
    value = elements.get(number, b"")
    if len(value) != 2:
        raise _malformed()
    return int.from_bytes(value, "little")


def _uid(elements: dict[int, bytes], number: Element) -> str:
    # padded with NUL by PS3.5 9.1, with a blank by some; anything beyond ASCII can't become a valid UID
    return elements.get(number, b"").decode("ascii", "replace").rstrip("\0 ")


def encode_response(request: Command, status: int, *, uids: bool, error_comment: str | None = None) -> bytes:
    """The command set that answers `request` (PS3.7 9.3.1.2, 9.3.5.2).

    Parameters
    ----------
    request
        What is answered.
    status
        A DIMSE status.
    uids
        Whether the affected SOP class and instance are repeated; they must then be well-formed.
    error_comment
        Left out with statuses that don't go with one.
    """
    body = _FOUR_US.pack(
        *(0, Element.COMMAND_FIELD, 2, request.command_field | _RESPONSE),
        *(0, Element.MESSAGE_ID_BEING_RESPONDED_TO, 2, request.message_id),
        *(0, Element.COMMAND_DATA_SET_TYPE, 2, NO_DATA_SET),
        *(0, Element.STATUS, 2, status),
    )
    if status != SUCCESS and status in _WITH_ERROR_COMMENT and error_comment:
        body += _text(Element.ERROR_COMMENT, error_comment[:64], " ")
    if uids and request.affected_sop_class_uid:
        body = _text(Element.AFFECTED_SOP_CLASS_UID, request.affected_sop_class_uid, "\0") + body
    if uids and request.affected_sop_instance_uid:
        body += _text(Element.AFFECTED_SOP_INSTANCE_UID, request.affected_sop_instance_uid, "\0")
    return _GROUP_LENGTH.pack(0, 0, 4, len(body)) + body


def _text(number: Element, value: str, padding: str) -> bytes:
    encoded = value.encode("ascii")
    if len(encoded) % 2:
        encoded += padding.encode("ascii")
    return _ELEMENT.pack(0, number, len(encoded)) + encoded


def encode_command(values: Mapping[Element, int | str]) -> bytes:
    """A command set of these elements, in their order: numbers are of VR US, texts UIDs."""
    parts = []
    for number, value in values.items():
        if isinstance(value, str):
            parts.append(_text(number, value, "\0"))
        else:
            parts.append(_ELEMENT.pack(0, number, 2) + value.to_bytes(2, "little"))
    body = b"".join(parts)
    return _GROUP_LENGTH.pack(0, 0, 4, len(body)) + body


def encode_command_pdus(context_id: int, command_set: bytes, maximum_length: int) -> bytes:
    """`command_set` as P-DATA-TF PDUs (PS3.8 9.3.5) with at most `maximum_length` bytes after the header (0: any)."""
    return _pdus(context_id, command_set, maximum_length, _IS_COMMAND)


def encode_data_pdus(context_id: int, data_set: bytes, maximum_length: int) -> bytes:
    """`data_set` likewise."""
    return _pdus(context_id, data_set, maximum_length or MAXIMUM_LENGTH_SENT, 0)


def _pdus(context_id: int, encoded: bytes, maximum_length: int, kind: int) -> bytes:
    size = len(encoded)
    if maximum_length:
        # fragments are of even length (PS3.8 F); a limit too small for one pair of bytes is not obeyed
        size = max(2, (maximum_length - PDV_HEADER.size) & ~1)
    pdus = []
    for begin in range(0, len(encoded), size):
        fragment = encoded[begin : begin + size]
        control = kind | (_IS_LAST if begin + size >= len(encoded) else 0)
        pdus.append(
            HEADER.pack(PDUType.P_DATA_TF, PDV_HEADER.size + len(fragment))
            + PDV_HEADER.pack(2 + len(fragment), context_id, control)
            + fragment
        )
    return b"".join(pdus)


class DataSetStream(Protocol):
    """Takes a data set as it comes in, so that it needn't be held."""

    def feed(self, fragment: memoryview, /) -> None:
        """Take the next bytes; the view is valid during the call only."""


@dataclass(slots=True)
class Message:
    """A message as far as it has come in."""

    context_id: int
    taken: int = 0
    """Bytes of the connection up to the end of the PDU in which it began."""
    command_set: bytearray = field(default_factory=bytearray)
    command: Command | None = None
    """Once the command set is complete."""
    data_set: bytearray = field(default_factory=bytearray)
    is_complete: bool = False
    """False when it is handed out because its data set grew above the bound, or there was no memory for more of it."""
    is_starved: bool = False
    """There was no memory for it."""
    stream: DataSetStream | None = None
    """What takes the data set in place of `data_set`, when it isn't to be held."""
    held: int = 0
    """Bytes of the allowance that it has."""


class Assembler:
    """Puts messages together from presentation data values, within bounds.

    Parameters
    ----------
    context_ids
        Those of the accepted presentation contexts.
    maximum_data_set_bytes
        A data set that grows above this ends its message: it is handed out cut short, one fragment above the bound.
    allowance
        Of which larger data sets take; a message that finds none left ends likewise.
    open_stream
        Makes what takes the data set of a C-STORE in a presentation context; None where it is to be held.
    """

    def __init__(
        self,
        context_ids: Container[int],
        maximum_data_set_bytes: int,
        allowance: Allowance,
        *,
        open_stream: Callable[[int], DataSetStream | None] = lambda _: None,
    ) -> None:
        self._context_ids = context_ids
        self._maximum_data_set_bytes = maximum_data_set_bytes
        self._allowance = allowance
        self._open_stream = open_stream
        self._message: Message | None = None

    @property
    def is_within_message(self) -> bool:
        """Whether a message has begun and is not complete."""
        return self._message is not None

    def release(self, message: Message) -> None:
        """Give back what a message that was handed out has of the allowance."""
        message.data_set = bytearray()
        self._allowance.give_back(message.held)
        message.held = 0

    def close(self) -> None:
        """The association ends: what has come of an incomplete message is dropped."""
        if self._message is not None:
            self.release(self._message)
            self._message = None

    def feed(self, body: memoryview, taken: int) -> Iterator[Message]:
        """The messages that the variable field of a P-DATA-TF PDU completes.

        Parameters
        ----------
        body
            The variable field.
        taken
            Bytes of the connection up to its end.

        Raises
        ------
        AssociationError
            The presentation data values are malformed, in a context that wasn't accepted, or in an impossible order.
        """
        position, size = 0, len(body)
        if size == 0:
            raise _invalid_pdv()
        while position < size:
            if size - position < PDV_HEADER.size:
                raise _invalid_pdv()
            length, context_id, control = PDV_HEADER.unpack_from(body, position)
            end = position + 4 + length
            if length < 2 or end > size or context_id not in self._context_ids:
                raise _invalid_pdv()
            message = self._add(context_id, control, body[position + PDV_HEADER.size : end], taken)
            position = end
            if message is not None:
                self._message = None
                yield message

    def _add(self, context_id: int, control: int, fragment: memoryview, taken: int) -> Message | None:
        """Add a fragment; the message if it is the last one (PS3.7 6.3.1, PS3.8 E.2)."""
        message = self._message
        if message is None:
            message = self._message = Message(context_id, taken)
        is_command, is_last = bool(control & _IS_COMMAND), bool(control & _IS_LAST)
        if message.context_id != context_id or is_command != (message.command is None):
            raise AssociationError(AbortReason.UNEXPECTED_PDU_PARAMETER, "fragment_out_of_order")
        if message.command is None:
            message.command_set += fragment
            if len(message.command_set) > MAXIMUM_COMMAND_BYTES:
                raise AssociationError(AbortReason.SERVICE_USER, "command_set_too_long")
            if not is_last:
                return None
            message.command = decode_command(bytes(message.command_set))
            message.is_complete = not message.command.has_data_set
            if message.command.command_field == CommandField.C_STORE_RQ:
                message.stream = self._open_stream(context_id)
            return message if message.is_complete else None
        if message.stream is not None:
            message.stream.feed(fragment)
            message.is_complete = is_last
            return message if is_last else None
        size = len(message.data_set) + len(fragment)
        if size > FREE_BYTES:
            held = self._allowance.take(message.held, size)
            if held is None:
                message.is_starved = True
                return message
            message.held = held
        message.data_set += fragment
        message.is_complete = is_last
        return message if is_last or size > self._maximum_data_set_bytes else None


def _invalid_pdv() -> AssociationError:
    return AssociationError(AbortReason.INVALID_PDU_PARAMETER, "invalid_presentation_data_value")
