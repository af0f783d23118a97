"""Speaking to an archive of [[pacs]] as the one who asks: an association, or an HTTP client.

Whatever goes wrong is a `PacsError`: it says which archive, what failed and what to look at, and never what was sent or
answered.
"""

import contextlib
import socket
import ssl
import stat
from collections.abc import Iterator, Sequence
from typing import Any, Final

import httpx
from pydicom.uid import UID
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from dicomnlp.config import Settings
from dicomnlp.errors import ConfigurationError, PacsError
from dicomnlp.export.reactor import hold_reactor
from dicomnlp.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicomnlp.pacs_settings import PacsSettings

CONNECT_SECONDS: Final = 10.0
"""For the connection, its handshake, and the answer to an association request."""
ANSWER_SECONDS: Final = 30.0
"""For each response: some archives look long for the first match of a day."""

# else each is written out as text, in whatever character set it says, for a log that takes none of it
_config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False

_REJECTIONS: Final[dict[tuple[int | None, int | None], tuple[str, str]]] = {
    (1, 3): ("pacs_calling_title", "it doesn't know the AE title that calls it; make {calling} known there"),
    (1, 7): ("pacs_called_title", "it is not called {called}; correct ae_title in [[pacs]]"),
    (3, 1): ("pacs_busy", "it is busy"),
    (3, 2): ("pacs_busy", "it has as many associations as it takes"),
}
"""By source and diagnostic of an A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""


def calling_ae_title(settings: Settings, pacs: PacsSettings) -> str:
    """What this service calls itself there."""
    return pacs.calling_ae_title or settings.listener.ae_title


def tls_context(settings: Settings, pacs: PacsSettings) -> ssl.SSLContext:
    """What an association over TLS is opened with: trust in `pacs.ca`, else tls.client_ca; [tls]'s own certificate.

    Names aren't compared: certificates of archives seldom hold the address that they are reached by, and those who may
    issue them are few (PS3.15 B.1 leaves it to the site).

    Raises
    ------
    ConfigurationError
        A file can't be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    _trust(context, settings, pacs.ca or settings.tls.client_ca, pacs)
    # the archive's own certificate may stand among the authorities, whoever has issued it
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if settings.tls.certificate:
        certificate, key = settings.folder / settings.tls.certificate, settings.folder / settings.tls.key
        try:
            context.load_cert_chain(certificate, key, password="")
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ConfigurationError(f"tls.certificate, tls.key: can't be used: {type(error).__name__}") from None
    return context


def _trust(context: ssl.SSLContext, settings: Settings, file: str, pacs: PacsSettings) -> None:
    try:
        context.load_verify_locations(settings.folder / file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"pacs {pacs.name}: ca: {file} can't be used: {type(error).__name__}") from None


@contextlib.contextmanager
def associate(
    settings: Settings,
    pacs: PacsSettings,
    contexts: Sequence[PresentationContext],
    *,
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
    handlers: Sequence[tuple[Any, ...]] = (),
) -> Iterator[Association]:
    """An association with an archive; released at the block's end, aborted where an exception ends it.

    Parameters
    ----------
    contexts
        What is proposed.
    roles
        Of whom, where they aren't the usual ones.
    handlers
        Of pynetdicom's events.

    Raises
    ------
    PacsError
        There is none: the archive can't be reached, or rejects, or accepts none of the contexts.
    ConfigurationError
        It has no AE title, or its certificates can't be used.
    """
    if not pacs.ae_title:
        raise ConfigurationError(f"pacs {pacs.name}: ae_title and host are needed to speak DICOM to it")
    ae = AE(calling_ae_title(settings, pacs))
    ae.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.acse_timeout = ae.connection_timeout = CONNECT_SECONDS
    ae.dimse_timeout = ae.network_timeout = ANSWER_SECONDS
    _look(pacs)
    opened: list[socket.socket] = []

    def note(event: evt.Event) -> None:
        connection = event.assoc.dul.socket
        transport = connection.socket if connection is not None else None
        if transport is not None:
            opened.append(transport)
            # no data set is to wait for the acknowledgement of its command (Nagle's algorithm): that is 40 ms a message
            with contextlib.suppress(OSError):  # gone again already: whoever asks something finds out
                transport.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    with closing_sockets(tls_context(settings, pacs) if pacs.tls else None) as context:
        association = ae.associate(
            pacs.host,
            pacs.port,
            contexts=list(contexts),
            ae_title=pacs.ae_title,
            ext_neg=list(roles),
            evt_handlers=[*handlers, (evt.EVT_CONN_OPEN, note), (evt.EVT_CONN_CLOSE, _wake)],
            tls_args=None if context is None else (context, pacs.host),
        )
        try:
            if not association.is_established:
                raise _not_established(association, settings, pacs)
            hold_reactor(association)
            yield association
            if association.is_established:
                association.release()
        finally:
            if association.is_established:
                association.abort()
            # pynetdicom leaves one open that its peer has closed first
            if association.is_alive():
                association.join(CONNECT_SECONDS)
            for each in opened:
                each.close()


def _look(pacs: PacsSettings) -> None:
    """See that somebody listens there: pynetdicom doesn't tell why nobody does, and leaves its socket open."""
    try:
        socket.create_connection((pacs.host, pacs.port), CONNECT_SECONDS).close()
    except OSError as error:
        why = error.strerror or type(error).__name__
        message = f"{pacs.name} ({pacs.host}:{pacs.port}) can't be reached ({why}); is it running, and the way open?"
        raise PacsError(message, reason_code="pacs_unreachable") from None


def _wake(event: evt.Event) -> None:
    """Let whoever waits for a response know that none will come: else that would be found out at the deadline."""
    event.assoc.dimse.msg_queue.put((None, None))


def _not_established(association: Association, settings: Settings, pacs: PacsSettings) -> PacsError:
    primitive = association.acceptor.primitive
    where = f"{pacs.name} ({pacs.host}:{pacs.port}"
    if primitive is not None and primitive.result:
        known = _REJECTIONS.get((primitive.result_source, primitive.diagnostic))
        code, words = known or ("pacs_rejected", "it gives no reason that helps")
        titles = {"calling": calling_ae_title(settings, pacs), "called": pacs.ae_title}
        return PacsError(f"{where}) rejects the association: {words.format(**titles)}", reason_code=code)
    if primitive is not None and primitive.result == 0:
        return PacsError(f"{where}) accepts none of the services that are asked for", reason_code="pacs_context")
    hint = "is its certificate trusted by ca, and ours there?" if pacs.tls else "does it speak DICOM there, or TLS?"
    return PacsError(f"{where}) accepts no association and says nothing; {hint}", reason_code="pacs_aborted")


@contextlib.contextmanager
def closing_sockets(context: ssl.SSLContext | None) -> Iterator[ssl.SSLContext | None]:
    """Close what is opened with `context` in the end: pynetdicom leaves a TLS socket open that its peer has closed."""
    opened: list[ssl.SSLSocket] = []

    class Noted(ssl.SSLSocket):
        def connect(self, addr: Any) -> None:
            opened.append(self)
            super().connect(addr)

    if context is not None:
        context.sslsocket_class = Noted
    try:
        yield context
    finally:
        for each in opened:
            each.close()


# --- DICOMweb


@contextlib.contextmanager
def web_client(settings: Settings, pacs: PacsSettings) -> Iterator[httpx.Client]:
    """An HTTP client for an archive's URLs: its certificate is checked, name included; what fails is a `PacsError`.

    Raises
    ------
    PacsError
        Of a request in the block: the archive can't be reached, isn't trusted, or doesn't answer in time.
    ConfigurationError
        `ca` or `authorization_file` can't be used.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if pacs.ca:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        _trust(context, settings, pacs.ca, pacs)
    with (
        httpx.Client(
            verify=context,
            headers=_authorization(settings, pacs),
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            trust_env=False,
        ) as client,
        _translated(pacs),
    ):
        yield client


@contextlib.contextmanager
def _translated(pacs: PacsSettings) -> Iterator[None]:
    try:
        yield
    except httpx.ConnectError as error:
        if isinstance(error.__context__, ssl.SSLError) or "CERTIFICATE" in str(error):
            message = f"{pacs.name}: its certificate is not trusted; see ca"
            raise PacsError(message, reason_code="pacs_tls") from None
        message = f"{pacs.name} can't be reached; is it running, and the way open?"
        raise PacsError(message, reason_code="pacs_unreachable") from None
    except httpx.TimeoutException:
        raise PacsError(f"{pacs.name} doesn't answer in time", reason_code="pacs_timeout") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        message = f"{pacs.name}: the exchange failed ({type(error).__name__})"
        raise PacsError(message, reason_code="pacs_failed") from None


def read_bounded(
    client: httpx.Client,
    pacs: PacsSettings,
    url: str,
    *,
    headers: dict[str, str],
    maximum_bytes: int,
    params: dict[str, str] | None = None,
) -> httpx.Response:
    """GET `url`, and read what is answered with success, so many bytes at the most.

    Raises
    ------
    PacsError
        There is no such answer.
    """
    content = bytearray()
    with _translated(pacs), client.stream("GET", url, params=params, headers=headers) as response:
        require_success(pacs, response)
        for part in response.iter_bytes():
            content += part
            if len(content) > maximum_bytes:
                raise PacsError(f"{pacs.name} answers more than can be an answer", reason_code="pacs_failed")
    # it is decoded already: said again, that would be tried once more
    kept = [(name, value) for name, value in response.headers.multi_items() if name.lower() != "content-encoding"]
    return httpx.Response(response.status_code, headers=kept, content=bytes(content))


def require_success(pacs: PacsSettings, response: httpx.Response) -> None:
    """Raise `PacsError` for a response that isn't of the 200s."""
    if response.is_success:
        return
    if response.status_code in {401, 403}:
        message = f"{pacs.name} doesn't let this service in (HTTP {response.status_code}); see authorization_file"
        raise PacsError(message, reason_code="pacs_not_authorized")
    if response.status_code in {404, 410}:
        raise PacsError(f"{pacs.name} has nothing there (HTTP {response.status_code})", reason_code="pacs_gone")
    if response.status_code in {429, 503}:
        raise PacsError(f"{pacs.name} is busy (HTTP {response.status_code})", reason_code="pacs_busy")
    raise PacsError(f"{pacs.name} answers HTTP {response.status_code}", reason_code="pacs_failed")


def _authorization(settings: Settings, pacs: PacsSettings) -> dict[str, str]:
    if not pacs.authorization_file:
        return {}
    file = settings.folder / pacs.authorization_file
    key = f"pacs {pacs.name}: authorization_file: {file}"
    try:
        mode, value = file.stat().st_mode, file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{key} can't be read: {type(error).__name__}") from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ConfigurationError(f"{key}: others may read or write it; do `chmod o= {file}`")
    if not value or not value.isprintable():
        raise ConfigurationError(f"{key}: must hold one line, the value of the Authorization header")
    return {"Authorization": value}
