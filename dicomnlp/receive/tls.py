"""TLS for DICOM by BCP 195 (RFC 8996, RFC 9325), as PS3.15 B.12 asks for it.

TLS 1.2 with ephemeral elliptic curve key agreement and authenticated encryption, and TLS 1.3; nothing older or weaker.
"""

import contextlib
import datetime as dt
import hashlib
import math
import os
import re
import select
import socket
import ssl
import stat
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from dicomnlp.config import Settings
from dicomnlp.errors import ConfigurationError
from dicomnlp.receive.pdu import ConnectionClosedError

HANDSHAKE_SECONDS: Final = 5.0
"""From accept to the end of the handshake."""

_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
"""Of TLS 1.2 (RFC 9325 4.2); level 2 asks for at least 112 bits of security, RSA keys of 2048 bits."""


class HandshakeError(ConnectionClosedError):
    """No TLS connection came about; the reason code is OpenSSL's, after "tls_"."""

    reason_code = "tls_failed"


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """What a client certificate says of its holder."""

    names: frozenset[str]
    """"sha256:" with the fingerprint, "dns:" with subject alternative names, "cn:" with common names, as
    `peers.certificates` writes them."""


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """What `settings.tls` says, read from its files; None when no address speaks TLS.

    Raises
    ------
    ConfigurationError
        A file is missing or isn't what it should be, or others may read the key.
    """
    if not settings.speaks_tls:
        return None
    context = strong_context()
    _load_certificate(context, settings)
    if settings.tls.client_ca:
        authorities = settings.folder / settings.tls.client_ca
        try:
            context.load_verify_locations(authorities)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"tls.client_ca: {_fault(authorities, error)}") from None
        # a peer's own certificate may stand among the authorities, whoever has issued it
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = ssl.CERT_REQUIRED if settings.tls.require_client_certificate else ssl.CERT_OPTIONAL
    return context


def strong_context() -> ssl.SSLContext:
    """A server's context by BCP 195, without a certificate yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    # no resumption either: each connection's peer is looked at anew, and no ticket key has to be kept secret
    context.options |= (
        ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_TICKET
    )
    context.num_tickets = 0
    return context


def client_context(settings: Settings) -> ssl.SSLContext:
    """What a connection to another's TLS port is opened with: [tls]'s own certificate, and trust in its authorities.

    Where no authorities are given any certificate is taken. Names aren't compared: peers are known by address and AE
    title, and their certificates seldom hold either (PS3.15 B.1 leaves that to the site).

    Raises
    ------
    ConfigurationError
        A file of [tls] can't be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    if settings.tls.client_ca:
        authorities = settings.folder / settings.tls.client_ca
        try:
            context.load_verify_locations(authorities)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"tls.client_ca: {_fault(authorities, error)}") from None
    else:
        context.verify_mode = ssl.CERT_NONE
    if settings.tls.certificate:
        _load_certificate(context, settings)
    return context


def _load_certificate(context: ssl.SSLContext, settings: Settings) -> None:
    load_certificate(context, settings.folder / settings.tls.certificate, settings.folder / settings.tls.key, "tls")


def load_certificate(context: ssl.SSLContext, certificate: Path, key: Path, table: str) -> None:
    """Have `context` show a certificate, from now on where it showed another before.

    Parameters
    ----------
    table
        Of the configuration, whose keys "certificate" and "key" name the files.

    Raises
    ------
    ConfigurationError
        A file is missing or isn't what it should be, or others may read the key.
    """
    try:
        mode = key.stat().st_mode
    except OSError as error:
        raise ConfigurationError(f"{table}.key: {_fault(key, error)}") from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ConfigurationError(f"{table}.key: others may read or write {key}; do `chmod o= {key}`")
    if not os.access(certificate, os.R_OK):
        raise ConfigurationError(f"{table}.certificate: {certificate} is missing or can't be read")
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise ConfigurationError(f"{table}.certificate, {table}.key: {_fault(certificate, error)}") from None


def expiry_of(settings: Settings) -> dt.datetime:
    """When this service's certificate ends, in UTC; `server_context` has accepted its file."""
    encoded = (settings.folder / settings.tls.certificate).read_bytes()
    return x509.load_pem_x509_certificates(encoded)[0].not_valid_after_utc


def _no_passphrase() -> str:
    # OpenSSL would ask for it on the terminal
    raise ValueError("the key has a passphrase; write it to a file without one")


def _fault(path: Path, error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        # "KEY_VALUES_MISMATCH", "NO_START_LINE"
        words = (error.reason or "not PEM").replace("_", " ").lower()
    elif isinstance(error, OSError):
        words = error.strerror or type(error).__name__
    else:
        words = str(error)
    return f"{path} can't be used: {words}"


class TLSTransport:
    """A TLS connection, with those methods of a socket that `pdu.Connection` calls.

    An OpenSSL connection must not be used by two threads at a time. A lock sees to that; nothing waits while it is
    held, so that one thread can send while another reads.

    Parameters
    ----------
    transport
        The accepted socket; it belongs to this object from here on.
    context
        From `server_context`.

    Raises
    ------
    ConnectionClosedError
        The peer has gone.
    """

    def __init__(self, transport: socket.socket, context: ssl.SSLContext) -> None:
        self._lock = threading.Lock()
        self._seconds: float | None = None
        try:
            self._socket = context.wrap_socket(transport, server_side=True, do_handshake_on_connect=False)
        except (OSError, ValueError):
            transport.close()
            raise ConnectionClosedError("the peer closed the connection") from None

    def handshake(self, seconds: float = HANDSHAKE_SECONDS) -> PeerCertificate | None:
        """Do the handshake, within so many seconds as a whole; the peer's certificate if it shows one that is trusted.

        Raises
        ------
        HandshakeError
            It failed or took too long.
        """
        try:
            self._socket.settimeout(seconds)
            self._socket.do_handshake()
            self._socket.setblocking(False)
            encoded = self._socket.getpeercert(binary_form=True)
            named: dict[str, Any] | None = self._socket.getpeercert()
        except TimeoutError:
            raise HandshakeError("the handshake took too long", reason_code="tls_timeout") from None
        except (ssl.SSLEOFError, ssl.SSLSyscallError, ssl.SSLZeroReturnError):
            # as monitors do it, and some clients that don't trust what they are shown
            raise ConnectionClosedError("the peer closed the connection") from None
        except ssl.SSLError as error:
            reason = re.sub(r"[^a-z0-9]+", "_", (error.reason or "failed").lower())
            raise HandshakeError("the handshake failed", reason_code=f"tls_{reason}"[:64]) from None
        except (OSError, ValueError):
            raise ConnectionClosedError("the peer closed the connection") from None
        return _peer_certificate(encoded, named) if encoded and named else None

    # --- what `pdu.Connection` calls

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """As of a socket."""
        self._socket.setsockopt(level, option, value)

    def settimeout(self, seconds: float | None) -> None:
        """As of a socket."""
        self._seconds = seconds

    def fileno(self) -> int:
        """As of a socket."""
        return self._socket.fileno()

    def recv_into(self, buffer: memoryview) -> int:
        """As of a socket; 0 also when the peer closes without saying so, for DICOM has an end of its own."""
        until = self._until()
        while True:
            with self._lock:
                try:
                    return self._socket.recv_into(buffer)
                except ssl.SSLWantReadError:
                    events = select.POLLIN
                except ssl.SSLWantWriteError:
                    events = select.POLLOUT
            self._wait(events, until)

    def sendall(self, data: bytes) -> None:
        """As of a socket; one thread at a time."""
        until = self._until()
        rest = memoryview(data)
        while rest:
            with self._lock:
                try:
                    rest = rest[self._socket.send(rest) :]
                    continue
                except ssl.SSLWantReadError:
                    events = select.POLLIN
                except ssl.SSLWantWriteError:
                    events = select.POLLOUT
            self._wait(events, until)

    def shutdown(self, how: int) -> None:
        """As of a socket; where nothing more is to be sent, the peer is told so first (close_notify, RFC 8446 6.1)."""
        if how == socket.SHUT_WR:
            # the peer's own is not there yet, or the connection is no more: either way this one is sent
            with self._lock, contextlib.suppress(OSError, ValueError):
                self._socket.unwrap()
        # of the socket itself: an SSLSocket's own method would forget the keys under a reader's hands
        socket.socket.shutdown(self._socket, how)

    def close(self) -> None:
        """As of a socket."""
        self._socket.close()

    def pending(self) -> int:
        """How many bytes are decrypted and not yet read."""
        with self._lock:
            try:
                return self._socket.pending()
            except (OSError, ValueError):  # closed by another thread
                return 0

    def _until(self) -> float:
        return math.inf if self._seconds is None else time.monotonic() + self._seconds

    def _wait(self, events: int, until: float) -> None:
        """Wait for the socket to be ready.

        Raises
        ------
        TimeoutError
            It isn't by then.
        """
        poll = select.poll()
        poll.register(self._socket.fileno(), events)
        milliseconds = None if until == math.inf else max(0.0, until - time.monotonic()) * 1000
        if not poll.poll(milliseconds):
            raise TimeoutError


def _peer_certificate(encoded: bytes, named: dict[str, Any]) -> PeerCertificate:
    names = {f"sha256:{hashlib.sha256(encoded).hexdigest()}"}
    for attributes in named.get("subject", ()):
        names |= {f"cn:{value}" for kind, value in attributes if kind == "commonName"}
    names |= {f"dns:{value.lower()}" for kind, value in named.get("subjectAltName", ()) if kind == "DNS"}
    return PeerCertificate(frozenset(names))
