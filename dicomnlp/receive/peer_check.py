"""What a DICOM peer would take: asked as a requestor, without sending it anything but a C-ECHO."""

import datetime as dt
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from pydicom.uid import UID
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.presentation import PresentationContext

from dicomnlp.export.pacs import closing_sockets
from dicomnlp.export.reactor import hold_reactor
from dicomnlp.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicomnlp.model import to_json
from dicomnlp.receive.contexts import (
    STORAGE_SOP_CLASSES,
    TRANSFER_SYNTAXES,
    VERIFICATION_SOP_CLASS,
)
from dicomnlp.receive.images import IMAGE_SOP_CLASSES, IMAGE_TRANSFER_SYNTAXES

SECONDS: Final = 10.0
"""For each answer."""
_MAXIMUM_CONTEXTS: Final = 128
"""Of an association (PS3.8 9.3.2.2: odd numbers of a byte)."""

REFUSALS: Final = {
    1: "refused by the user of the service",
    2: "refused without a reason",
    3: "SOP class not supported",
    4: "none of the transfer syntaxes supported",
}
"""By the result of PS3.8 Table 9-18."""


@dataclass(frozen=True, slots=True)
class TLSFound:
    """What a TLS handshake showed."""

    version: str
    cipher_suite: str
    versions: tuple[str, ...]
    """All that it takes of TLS 1.2 and 1.3."""
    subject: str
    issuer: str
    names: tuple[str, ...]
    """DNS names and addresses that the certificate is for."""
    not_valid_after: dt.datetime
    fingerprint: str
    """SHA-256, hexadecimal, as `peers.certificates` takes it."""
    is_trusted: bool | None
    """By the authorities that were given; None when none were."""


@dataclass(frozen=True, slots=True)
class ContextFound:
    """A SOP class, and what the peer says to it."""

    sop_class_uid: str
    name: str
    kind: str
    """"verification", "report" or "image"."""
    transfer_syntaxes: tuple[str, ...]
    """UIDs of those accepted; of an image's the one that the peer prefers."""
    refused: tuple[str, ...]
    """UIDs of those refused, of reports."""
    reason: str | None
    """Why, when none was accepted."""


@dataclass(slots=True)
class PeerFound:
    """What was found; what comes after a failure isn't known."""

    address: str
    calling_ae_title: str
    called_ae_title: str
    problem: str | None = None
    """Why the peer can't be used, and what to do; None when it can."""
    tls: TLSFound | None = None
    echo_status: int | None = None
    echo_seconds: float | None = None
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    maximum_length_received: int | None = None
    contexts: list[ContextFound] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether it can be used: it answers C-ECHO, and takes reports."""
        return self.problem is None

    def to_json(self) -> dict[str, Any]:
        """The finding in the public form."""
        json: dict[str, Any] = {"ok": self.ok, **to_json(self)}
        return json


def check_peer(
    host: str,
    port: int,
    *,
    calling_ae_title: str,
    called_ae_title: str,
    tls: Callable[[], ssl.SSLContext] | None = None,
    is_trusting: bool = False,
) -> PeerFound:
    """Ask a peer what it is and what it would take.

    Parameters
    ----------
    host, port
        Where it listens.
    calling_ae_title, called_ae_title
        What is proposed.
    tls
        Makes the TLS context of a connection; None: without TLS.
    is_trusting
        Whether these contexts take any certificate.
    """
    found = PeerFound(f"{host}:{port}", calling_ae_title, called_ae_title)
    try:
        socket.create_connection((host, port), SECONDS).close()
    except OSError as error:
        found.problem = (
            f"no connection ({error.strerror or type(error).__name__}); is the address right, and the way open?"
        )
        return found
    if tls is not None:
        try:
            found.tls = _look_at_tls(host, port, tls, is_trusting=is_trusting)
        except ssl.SSLCertVerificationError as error:
            found.problem = f"TLS: its certificate is not trusted ({error.verify_message}); see tls.client_ca"
            return found
        except OSError as error:
            found.problem = (
                f"TLS: no handshake ({_ssl_reason(error)}); does the port speak TLS, and trust tls.certificate?"
            )
            return found
    proposals = _proposals()
    for begin in range(0, len(proposals), _MAXIMUM_CONTEXTS):
        part = proposals[begin : begin + _MAXIMUM_CONTEXTS]
        # once more when nothing was said: a peer that takes one connection at a time may not be done with the last
        if not any(_associate(found, host, port, part, tls) or found.problem for _ in range(2)):
            hint = "does the port speak TLS?" if tls is None else "does it want another certificate?"
            found.problem = f"no association: the peer aborted, closed the connection or didn't answer; {hint}"
        if found.problem is not None:
            return found
    found.contexts = _merged(found.contexts)
    if found.echo_status != 0:
        found.problem = "C-ECHO isn't answered with success; is Verification allowed to this AE title?"
    elif not any(context.transfer_syntaxes for context in found.contexts if context.kind == "report"):
        found.problem = "no SOP class of reports is accepted, so nothing could be sent to it"
    return found


def _proposals() -> list[tuple[str, PresentationContext]]:
    """(kind, context): reports in each transfer syntax by itself, images in all of theirs."""
    proposals = [("verification", build_context(VERIFICATION_SOP_CLASS, list(TRANSFER_SYNTAXES)))]
    proposals += [("report", build_context(uid, syntax)) for uid in STORAGE_SOP_CLASSES for syntax in TRANSFER_SYNTAXES]
    proposals += [("image", build_context(uid, list(IMAGE_TRANSFER_SYNTAXES))) for uid in IMAGE_SOP_CLASSES]
    return proposals


def _associate(
    found: PeerFound,
    host: str,
    port: int,
    proposals: Sequence[tuple[str, PresentationContext]],
    tls: Callable[[], ssl.SSLContext] | None,
) -> bool:
    """Open an association, note what it shows, release it; whether there was one. A rejection is a problem noted."""
    ae = AE(found.calling_ae_title)
    ae.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = SECONDS
    with closing_sockets(tls() if tls is not None else None) as context:
        association = ae.associate(
            host,
            port,
            contexts=[context for _, context in proposals],
            ae_title=found.called_ae_title,
            tls_args=None if context is None else (context, host),
        )
        if not association.is_established:
            found.problem = _rejection(association)
            return False
        hold_reactor(association)
        _note(found, association, {context.abstract_syntax: kind for kind, context in proposals})
    return True


def _note(found: PeerFound, association: Association, kinds: dict[Any, str]) -> None:
    """Take down what an association shows, send C-ECHO if it may be, and release."""
    acceptor = association.acceptor
    found.implementation_class_uid = str(acceptor.implementation_class_uid or "")
    found.implementation_version_name = acceptor.implementation_version_name or ""
    found.maximum_length_received = acceptor.maximum_length
    if "verification" in kinds.values():
        began = time.monotonic()
        if any(context.abstract_syntax == VERIFICATION_SOP_CLASS for context in association.accepted_contexts):
            status = association.send_c_echo()
            found.echo_status = status.Status if status else None
            found.echo_seconds = round(time.monotonic() - began, 4)
    for context in association.accepted_contexts:
        found.contexts.append(_context(context, kinds, accepted=(str(context.transfer_syntax[0]),)))
    for context in association.rejected_contexts:
        found.contexts.append(_context(context, kinds, accepted=()))
    if association.is_established:
        association.release()


def _context(context: PresentationContext, kinds: dict[Any, str], *, accepted: tuple[str, ...]) -> ContextFound:
    uid = str(context.abstract_syntax)
    return ContextFound(
        sop_class_uid=uid,
        name=STORAGE_SOP_CLASSES.get(uid) or IMAGE_SOP_CLASSES.get(uid) or UID(uid).name,
        kind=kinds[context.abstract_syntax],
        transfer_syntaxes=accepted,
        refused=(),
        reason=None if accepted else REFUSALS.get(context.result or 2, REFUSALS[2]),
    )


def _merged(contexts: Sequence[ContextFound]) -> list[ContextFound]:
    """One a SOP class, in the order of the proposals."""
    order = [VERIFICATION_SOP_CLASS, *STORAGE_SOP_CLASSES, *IMAGE_SOP_CLASSES]
    merged = []
    for uid in order:
        of_class = [context for context in contexts if context.sop_class_uid == uid]
        if not of_class:
            continue
        accepted = tuple(syntax for context in of_class for syntax in context.transfer_syntaxes)
        asked_one_by_one = TRANSFER_SYNTAXES if of_class[0].kind == "report" else ()
        merged.append(
            ContextFound(
                sop_class_uid=uid,
                name=of_class[0].name,
                kind=of_class[0].kind,
                transfer_syntaxes=accepted,
                refused=tuple(syntax for syntax in asked_one_by_one if syntax not in accepted),
                reason=None if accepted else of_class[0].reason,
            )
        )
    return merged


def _rejection(association: Association) -> str | None:
    """How an association was rejected; None when it wasn't, and ended otherwise."""
    primitive = association.acceptor.primitive
    # a peer that closes at once after its rejection is taken for one that aborted, but the rejection is there
    if primitive is None or not primitive.result:
        return None
    pdu = A_ASSOCIATE_RJ()
    pdu.from_primitive(primitive)
    numbers = f"{pdu.result}, {pdu.source}, {pdu.reason_diagnostic}"
    return f"association rejected: {pdu.reason_str.lower()} ({pdu.result_str.lower()}; {numbers})"


# --- TLS


def _look_at_tls(host: str, port: int, make: Callable[[], ssl.SSLContext], *, is_trusting: bool) -> TLSFound:
    with _handshake(host, port, make()) as connection:
        # a peer that wants a certificate says so in TLS 1.3 only after the handshake
        certificate = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")
        cipher = connection.cipher()
        version = connection.version() or ""
    versions = []
    for candidate in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = make()
        context.minimum_version = context.maximum_version = candidate
        try:
            _handshake(host, port, context).close()
        except OSError:
            continue
        versions.append(candidate.name.replace("TLSv1_", "TLSv1."))
    return TLSFound(
        version=version,
        cipher_suite=cipher[0] if cipher else "",
        versions=tuple(versions),
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        names=_names(certificate),
        not_valid_after=certificate.not_valid_after_utc,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        is_trusted=None if is_trusting else True,
    )


def _handshake(host: str, port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection((host, port), SECONDS)
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(getattr(name, "value", "")) for name in extension.value)


def _ssl_reason(error: OSError) -> str:
    reason = getattr(error, "reason", None)
    return str(reason).lower().replace("_", " ") if reason else (error.strerror or type(error).__name__)
