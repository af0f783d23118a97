"""Association negotiation as an acceptor (PS3.8 7.1, PS3.7 Annex D): what is asked for, and what is answered.

Items and PDUs are decoded and encoded by pynetdicom's public classes.
"""

import functools
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    AsynchronousOperationsWindowNegotiation,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)
from pynetdicom.presentation import PresentationContext, negotiate_as_acceptor

from dicomnlp.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicomnlp.receive.contexts import (
    APPLICATION_CONTEXT_NAME,
    MAXIMUM_LENGTH_RECEIVED,
    STORAGE_COMMITMENT_SOP_CLASS,
    STORAGE_SOP_CLASSES,
    TRANSFER_SYNTAXES,
    VERIFICATION_SOP_CLASS,
)
from dicomnlp.receive.images import IMAGE_SOP_CLASSES, IMAGE_TRANSFER_SYNTAXES
from dicomnlp.receive.pdu import HEADER, AbortReason, AssociationError, PDUType

MAXIMUM_REQUEST_LENGTH = 1048576
"""Bytes of an A-ASSOCIATE-RQ; 128 presentation contexts of 50 transfer syntaxes each take a third of it."""

_FIXED_FIELDS = 68
"""Protocol version, AE titles and reserved bytes before the variable items (PS3.8 Table 9-11)."""

_ITEM_HEADER = struct.Struct(">BxH")
_VARIABLE_ITEMS = frozenset({0x10, 0x20, 0x50})
_USER_INFORMATION = 0x50
_USER_INFORMATION_ITEMS = frozenset({0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58})

_STORAGE_EXTENDED_NEGOTIATION = bytes((2, 0, 3, 0, 0))
"""Level 2 (all attributes are kept), signature level 3 (bits are preserved), no coercion (PS3.4 Table B.3-1)."""


@dataclass(frozen=True, slots=True)
class AcceptedContext:
    """A presentation context as agreed."""

    sop_class_uid: str
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True)
class RefusedContext:
    """A presentation context that can't be had; what the peer said of it may not be well-formed."""

    sop_class_uid: str
    transfer_syntax_uid: str
    """The first that was proposed."""
    reason_code: str


_REFUSALS = {
    1: "role_not_supported",
    2: "provider_rejection",
    3: "abstract_syntax_not_supported",
    4: "transfer_syntaxes_not_supported",
}
"""By the result of PS3.8 Table 9-18; the first, user rejection, is given for a requestor that won't be an SCU."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Fields of an A-ASSOCIATE-RJ PDU (PS3.8 Table 9-21), and the reason for the log."""

    result: int
    source: int
    diagnostic: int
    reason_code: str

    def encode(self) -> bytes:
        """The PDU."""
        primitive = A_ASSOCIATE()
        primitive.result, primitive.result_source, primitive.diagnostic = self.result, self.source, self.diagnostic
        pdu = A_ASSOCIATE_RJ()
        pdu.from_primitive(primitive)
        return bytes(pdu.encode())


PROTOCOL_VERSION_NOT_SUPPORTED = Rejection(1, 2, 2, "protocol_version_not_supported")
APPLICATION_CONTEXT_NOT_SUPPORTED = Rejection(1, 1, 2, "application_context_not_supported")
CALLED_AE_TITLE_NOT_RECOGNIZED = Rejection(1, 1, 7, "called_ae_title_not_recognized")
CALLING_AE_TITLE_NOT_RECOGNIZED = Rejection(1, 1, 3, "calling_ae_title_not_recognized")
NETWORK_NOT_ALLOWED = Rejection(1, 1, 3, "network_not_allowed")
CERTIFICATE_NOT_OF_AE_TITLE = Rejection(1, 1, 3, "certificate_not_of_ae_title")
USER_IDENTITY_REFUSED = Rejection(1, 2, 1, "user_identity_refused")
TEMPORARY_CONGESTION = Rejection(2, 3, 1, "temporary_congestion")
LOCAL_LIMIT_EXCEEDED = Rejection(2, 3, 2, "local_limit_exceeded")


@dataclass(frozen=True, slots=True)
class Request:
    """An A-ASSOCIATE-RQ, decoded."""

    calling_ae_title: str
    called_ae_title: str
    maximum_length: int
    """Bytes of a P-DATA-TF PDU's variable field that the requestor takes; 0: any number."""
    primitive: A_ASSOCIATE = field(repr=False)

    @property
    def user_identity(self) -> UserIdentityNegotiation | None:
        """The user identity item (PS3.7 D.3.3.7); None also when there are several, of which none is the one."""
        items = [item for item in self.primitive.user_information if isinstance(item, UserIdentityNegotiation)]
        return items[0] if len(items) == 1 else None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What was agreed, and the A-ASSOCIATE-AC PDU that says so."""

    contexts: dict[int, AcceptedContext]
    """By presentation context ID."""
    refused: tuple[RefusedContext, ...]
    """One a SOP class that can't be sent at all and should have been: all if nothing can be stored, else those that
    are offered. (To propose a whole archive's list and to get a part of it is the normal course of things.)"""
    encoded: bytes


@functools.cache
def _supported_contexts(storage_sop_classes: frozenset[str]) -> list[PresentationContext]:
    contexts = []
    for sop_class_uid in (VERIFICATION_SOP_CLASS, STORAGE_COMMITMENT_SOP_CLASS, *sorted(storage_sop_classes)):
        is_image = sop_class_uid in IMAGE_SOP_CLASSES
        context = build_context(sop_class_uid, list(IMAGE_TRANSFER_SYNTAXES if is_image else TRANSFER_SYNTAXES))
        # of the roles that a requestor proposes: it may be the SCU, it may not be the SCP (PS3.7 D.3.3.4)
        context.scu_role, context.scp_role = True, False
        contexts.append(context)
    return contexts


def decode_request(body: bytes) -> Request | Rejection:
    """Decode what follows the header of an A-ASSOCIATE-RQ PDU, or say with what it is to be rejected.

    Raises
    ------
    AssociationError
        It can't be decoded, or is not what PS3.8 9.3.2 allows.
    """
    if len(body) < _FIXED_FIELDS:
        raise _malformed()
    if not int.from_bytes(body[:2], "big") & 1:
        return PROTOCOL_VERSION_NOT_SUPPORTED
    variable_items = b"".join(_known_items(body[_FIXED_FIELDS:], _VARIABLE_ITEMS))
    known = body[:_FIXED_FIELDS] + variable_items
    pdu = A_ASSOCIATE_RQ()
    try:
        pdu.decode(HEADER.pack(PDUType.A_ASSOCIATE_RQ, len(known)) + known)
        primitive = pdu.to_primitive()
        maximum_length = primitive.maximum_length_received or 0
    except Exception:  # noqa: BLE001 - pynetdicom meets malformed items with whatever its code runs into
        raise _malformed() from None
    if primitive.application_context_name != APPLICATION_CONTEXT_NAME:
        return APPLICATION_CONTEXT_NOT_SUPPORTED
    contexts = primitive.presentation_context_definition_list
    identifiers = {context.context_id for context in contexts}
    complete = all(context.abstract_syntax and context.transfer_syntax for context in contexts)
    if not contexts or not complete or len(identifiers) != len(contexts):
        raise _malformed()
    return Request(
        calling_ae_title=primitive.calling_ae_title.strip(),
        called_ae_title=primitive.called_ae_title.strip(),
        maximum_length=maximum_length,
        primitive=primitive,
    )


def _malformed() -> AssociationError:
    return AssociationError(AbortReason.INVALID_PDU_PARAMETER, "malformed_association_request")


def _known_items(encoded: bytes, known: frozenset[int]) -> Iterator[bytes]:
    """The items whose types are in `known`: those of other types shall be ignored (PS3.8 9.3.1, PS3.7 D.3.3)."""
    position = 0
    while position < len(encoded):
        if position + _ITEM_HEADER.size > len(encoded):
            raise _malformed()
        kind, length = _ITEM_HEADER.unpack_from(encoded, position)
        begin = position + _ITEM_HEADER.size
        position = begin + length
        if position > len(encoded):
            raise _malformed()
        if kind not in known:
            continue
        value = encoded[begin:position]
        if kind == _USER_INFORMATION:
            value = b"".join(_known_items(value, _USER_INFORMATION_ITEMS))
        yield _ITEM_HEADER.pack(kind, len(value)) + value


def accept(request: Request, *, private_sop_classes: Collection[str], images: bool, confirms_user: bool) -> Acceptance:
    """Agree with a request on presentation contexts and the rest (PS3.8 7.1.1, PS3.7 D.3.3).

    Asynchronous operations are answered with a window of one.

    Parameters
    ----------
    request
        As decoded.
    private_sop_classes
        UIDs of storage SOP classes that are accepted beside the standard ones.
    images
        Whether images are accepted, too.
    confirms_user
        Whether the user identity has been checked, and is confirmed if that is asked for (PS3.7 D.3.3.7.2).

    Raises
    ------
    AssociationError
        An item of the request is inconsistent.
    """
    storage_sop_classes = frozenset(
        {*STORAGE_SOP_CLASSES, *private_sop_classes, *(IMAGE_SOP_CLASSES if images else ())}
    )
    proposed = request.primitive.user_information
    roles = {
        item.sop_class_uid: (item.scu_role, item.scp_role)
        for item in proposed
        if isinstance(item, SCP_SCU_RoleSelectionNegotiation) and item.sop_class_uid
    }
    try:
        results, role_items = negotiate_as_acceptor(
            request.primitive.presentation_context_definition_list, _supported_contexts(storage_sop_classes), roles
        )
    except (KeyError, ValueError, TypeError):
        raise _malformed() from None
    contexts = {
        context.context_id: AcceptedContext(str(context.abstract_syntax), str(context.transfer_syntax[0]))
        for context in results
        if context.result == 0 and context.context_id is not None
    }

    refused = _notable_refusals(request, contexts, {c.context_id: c.result for c in results}, storage_sop_classes)

    maximum_length = MaximumLengthNotification()
    maximum_length.maximum_length_received = MAXIMUM_LENGTH_RECEIVED
    implementation_class = ImplementationClassUIDNotification()
    implementation_class.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    implementation_version = ImplementationVersionNameNotification()
    implementation_version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    answer: list[Any] = [maximum_length, implementation_class, implementation_version, *role_items]
    if any(isinstance(item, AsynchronousOperationsWindowNegotiation) for item in proposed):
        window = AsynchronousOperationsWindowNegotiation()
        window.maximum_number_operations_invoked = 1
        window.maximum_number_operations_performed = 1
        answer.append(window)
    identity = request.user_identity
    if confirms_user and identity is not None and identity.positive_response_requested:
        confirmation = UserIdentityNegotiation()
        confirmation.server_response = b""
        answer.append(confirmation)
    accepted_sop_classes = {context.sop_class_uid for context in contexts.values()}
    for item in proposed:
        if isinstance(item, SOPClassExtendedNegotiation) and item.sop_class_uid in accepted_sop_classes:
            answer += _extended_negotiation(str(item.sop_class_uid), storage_sop_classes)

    primitive = A_ASSOCIATE()
    primitive.application_context_name = APPLICATION_CONTEXT_NAME
    primitive.calling_ae_title = request.primitive.calling_ae_title
    primitive.called_ae_title = request.primitive.called_ae_title
    primitive.result, primitive.result_source = 0, 1
    primitive.presentation_context_definition_results_list = results
    primitive.user_information = answer
    pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(primitive)
    return Acceptance(contexts, refused, bytes(pdu.encode()))


def _notable_refusals(
    request: Request,
    contexts: Mapping[int, AcceptedContext],
    results: Mapping[int | None, int | None],
    storage_sop_classes: frozenset[str],
) -> tuple[RefusedContext, ...]:
    accepted = {context.sop_class_uid for context in contexts.values()}
    stores = accepted - {VERIFICATION_SOP_CLASS, STORAGE_COMMITMENT_SOP_CLASS}
    refused: dict[str, RefusedContext] = {}
    for context in request.primitive.presentation_context_definition_list:
        sop_class_uid = str(context.abstract_syntax)
        if sop_class_uid in accepted or (stores and sop_class_uid not in storage_sop_classes):
            continue
        reason_code = _REFUSALS[results[context.context_id] or 2]
        refused.setdefault(sop_class_uid, RefusedContext(sop_class_uid, str(context.transfer_syntax[0]), reason_code))
    return tuple(refused.values())


def _extended_negotiation(sop_class_uid: str, storage_sop_classes: frozenset[str]) -> list[SOPClassExtendedNegotiation]:
    """The answer for a storage SOP class (PS3.4 B.3.1); Verification defines none."""
    if sop_class_uid not in storage_sop_classes:
        return []
    item = SOPClassExtendedNegotiation()
    item.sop_class_uid = sop_class_uid
    item.service_class_application_information = _STORAGE_EXTENDED_NEGOTIATION
    return [item]
