"""Telling the trail to a syslog collector over TLS (RFC 5424, RFC 5425), row by row, each at least once.

Syslog has no acknowledgement. So the cursor in the database stands behind what was sent: it follows once the connection
has lasted for `SETTLE_SECONDS` after, or was closed by both. Whatever stops before that, this service, the collector or
the network, what stands after the cursor is sent again; number and hash tell that a row is the same. One process
forwards at a time.
"""

import contextlib
import datetime as dt
import os
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import sqlalchemy as sa

from dicomnlp.audit.events import Outcome
from dicomnlp.audit.messages import SOURCE_ID, to_xml
from dicomnlp.audit.reading import Recorded, rows_after
from dicomnlp.config import Settings
from dicomnlp.errors import AlreadyRunningError, ConfigurationError, DatabaseError
from dicomnlp.logs import Event, describe, log
from dicomnlp.store.database import Database
from dicomnlp.store.schema_access import audit_cursor
from dicomnlp.store.trail_subjects import patients_of_studies

ROLE: Final = "audit-forwarder"
AT_ONCE: Final = 100
"""Rows that are read and sent together."""
POLL_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0
CONNECT_SECONDS: Final = 10.0
SETTLE_SECONDS: Final = 5.0
_FACILITY: Final = 10
"""Security and authorisation messages (RFC 5424 table 1)."""
_NOTICE, _WARNING = 5, 4
_STRUCTURED_DATA: Final = "row@32473"
"""32473 is the enterprise number for examples (RFC 5612): this project has none of its own."""
_BOM: Final = b"\xef\xbb\xbf"


def frame(row: Recorded, node: str, patient_ids: Sequence[str] = ()) -> bytes:
    """A row as a syslog message with its length before it (RFC 5425 4.3)."""
    severity = _NOTICE if row.outcome is Outcome.SUCCESS else _WARNING
    head = (
        f"<{_FACILITY * 8 + severity}>1 {row.at.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%S.%f}Z {node} {SOURCE_ID} "
        f'{os.getpid()} DICOM+RFC3881 [{_STRUCTURED_DATA} number="{row.id}" hash="{row.hash}"] '
    )
    message = head.encode("ascii") + _BOM + to_xml(row, node, patient_ids)
    return str(len(message)).encode() + b" " + message


def trust_of(settings: Settings) -> ssl.SSLContext:
    """What the collector is spoken to with: its certificate is checked, name included; ours is shown if there is one.

    Raises
    ------
    ConfigurationError
        A file can't be used.
    """
    authorities = settings.folder / settings.audit.collector_ca if settings.audit.collector_ca else None
    try:
        context = ssl.create_default_context(cafile=str(authorities) if authorities else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.tls.certificate:
            context.load_cert_chain(settings.folder / settings.tls.certificate, settings.folder / settings.tls.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"audit.collector_ca, tls.certificate: can't be used ({type(error).__name__})"
        ) from None
    return context


class Forwarder:
    """Sends what is new in the trail to the collector of [audit], from a thread of its own.

    Parameters
    ----------
    settings
        With a collector.
    open_database
        Called when the database is needed, and again as long as that fails; it is closed at the end.

    Raises
    ------
    ConfigurationError
        The files of the configuration can't be used.
    """

    def __init__(self, settings: Settings, open_database: Callable[[], Database]) -> None:
        host, _, port = settings.audit.collector.rpartition(":")
        self._address = host.strip("[]"), int(port)
        self._context = trust_of(settings)
        self._open_database = open_database
        self._opened: Database | None = None
        self._node = socket.gethostname()[:64] or "localhost"
        self._stop = threading.Event()
        self._connection: ssl.SSLSocket | None = None
        self._sent = 0
        """Number of the last row that was sent on this connection, or before it."""
        self._unconfirmed: deque[tuple[Recorded, float]] = deque()
        """Last rows of what was sent lately, each with when."""
        self._thread = threading.Thread(target=self._run, name="audit-forwarder", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, when what is being sent is sent."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        pause, failing_since = PAUSE_SECONDS, 0.0
        while not self._stop.is_set():
            try:
                with self._database.hold(ROLE):
                    while not self._stop.is_set():
                        if self.send_some():
                            if failing_since:
                                seconds = round(time.monotonic() - failing_since, 3)
                                log(Event.AUDIT_FORWARDING_RESUMED, component="web", seconds=seconds)
                            pause, failing_since = PAUSE_SECONDS, 0.0
                        else:
                            self._stop.wait(POLL_SECONDS)
            except AlreadyRunningError:
                # another process forwards; this one is there when that ends
                self._stop.wait(LONGEST_PAUSE_SECONDS / 4)
            except (OSError, DatabaseError) as error:
                self._disconnect()
                if not failing_since:
                    log(Event.AUDIT_FORWARDING_FAILED, component="web", **describe(error))
                failing_since = failing_since or time.monotonic()
                self._stop.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        self._disconnect()
        if self._opened is not None:
            self._opened.close()

    @property
    def _database(self) -> Database:
        if self._opened is None:
            self._opened = self._open_database()
        return self._opened

    def send_some(self) -> bool:
        """Send the next rows, and keep how far the collector can be believed to have them; whether there were any.

        Raises
        ------
        OSError
            The collector can't be reached, isn't who it should be, or has gone: what it may not have is sent again.
        DatabaseError
            The trail can't be read, or the cursor not be kept.
        """
        if self._connection is not None:
            _check_alive(self._connection)
            self._confirm(time.monotonic() - SETTLE_SECONDS)
        else:
            self._sent = self._cursor()
        rows = rows_after(self._database, self._sent, AT_ONCE)
        if not rows:
            return False
        patients = patients_of_studies(self._database, {r.study_instance_uid for r in rows if r.study_instance_uid})
        if self._connection is None:
            self._connection = self._connect()
        for row in rows:
            self._connection.sendall(frame(row, self._node, patients.get(row.study_instance_uid or "", ())))
        self._sent = rows[-1].id
        self._unconfirmed.append((rows[-1], time.monotonic()))
        return True

    def _cursor(self) -> int:
        with self._database.read() as connection:
            return int(connection.scalar(sa.select(audit_cursor.c.event_id)) or 0)

    def _confirm(self, before: float) -> None:
        """Keep the cursor at what was sent before that moment, on a connection that is still there."""
        row = None
        while self._unconfirmed and self._unconfirmed[0][1] <= before:
            row, _ = self._unconfirmed.popleft()
        if row is not None:
            values = {"event_id": row.id, "hash": row.hash, "sent_at": dt.datetime.now(dt.UTC)}
            self._database.transact(lambda connection: connection.execute(sa.update(audit_cursor).values(values)))

    def _connect(self) -> ssl.SSLSocket:
        raw = socket.create_connection(self._address, timeout=CONNECT_SECONDS)
        try:
            # what nobody acknowledges is noticed soon
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SETTLE_SECONDS * 1000))
            return self._context.wrap_socket(raw, server_hostname=self._address[0])
        except BaseException:
            raw.close()
            raise

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with contextlib.closing(connection), contextlib.suppress(OSError, ValueError):
            connection.settimeout(1.0)
            # its answer says that it has read everything before; else what is unconfirmed is sent again
            connection.unwrap()
            self._confirm(time.monotonic())
        self._unconfirmed.clear()


def _check_alive(connection: ssl.SSLSocket) -> None:
    """Notice a collector that has closed: syslog has no acknowledgement, and TCP takes what nobody will read."""
    connection.settimeout(0.0)
    try:
        if connection.recv(4096) == b"":
            raise ConnectionResetError
    except ssl.SSLWantReadError:
        # nothing of its own has come, which is as it should be
        return
    finally:
        connection.settimeout(CONNECT_SECONDS)
