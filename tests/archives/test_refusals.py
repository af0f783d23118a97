"""Archives that refuse: objects by WADO-RS that aren't given, or not whole, and associations over TLS without trust."""

import contextlib
import http.server
import ssl
import threading

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from support.archives import Archive, reports
from support.certificates import Certificates
from support.dicom_files import to_file

from dicomnlp.config import Settings, TLSSettings
from dicomnlp.errors import PacsError
from dicomnlp.pacs_settings import PacsSettings
from dicomnlp.receive.archive import list_reports
from dicomnlp.receive.fetch import fetch
from dicomnlp.receive.intake import Intake
from dicomnlp.store.reconciliation import ArchivedObject

from .test_answers import DAY, FIND, SR, row, study

MULTIPART = 'multipart/related; type="application/dicom"; boundary=XX'
WANTED = reports(2)
FILES = [to_file(dataset) for dataset in WANTED]


def parts(*files, closed=True):
    """A multipart answer (RFC 2046 5.1.1)."""
    body = b"".join(b"--XX\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n" for file in files)
    return body + b"--XX--\r\n" if closed else body.removesuffix(b"\r\n")


class Wado(http.server.BaseHTTPRequestHandler):
    """Answers the first object as it is told to, every other as it should."""

    def do_GET(self):
        """Answer."""
        status, media_type, body, missing = self.server.first
        if not self.path.endswith(WANTED[0].SOPInstanceUID):
            status, media_type, body, missing = 200, MULTIPART, parts(FILES[1]), 0
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body) + missing))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_):
        """Say nothing."""


@contextlib.contextmanager
def wado_archive(status, media_type=MULTIPART, body=b"", missing=0):
    """An archive by WADO-RS that answers so when it is asked for the first object; `missing` bytes never come."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Wado)
    server.first = status, media_type, body, missing
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    base = f"http://127.0.0.1:{server.server_port}/rs"
    try:
        yield PacsSettings(name="web", qido_url=base, wado_url=base)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fetched(made, pacs):
    """What became of each object: the reason why it couldn't be fetched, None where it was."""
    wanted = [ArchivedObject(d.SOPInstanceUID, d.StudyInstanceUID, d.SeriesInstanceUID, d.SOPClassUID) for d in WANTED]
    told = []
    intake = Intake(made.settings, made.database)
    try:
        fetch(
            made.settings,
            made.database,
            pacs,
            wanted,
            intake=intake,
            on_fetched=lambda _, reason_code: told.append(reason_code),
        )
    finally:
        intake.close()
    return told


@pytest.mark.parametrize(
    ("answer", "reason_code"),
    [
        ((200, MULTIPART, parts(FILES[0])), None),
        ((200, "application/dicom", FILES[0]), None),  # some send one object without the envelope
        ((200, MULTIPART, parts(*FILES)), None),  # the first is what was asked for
        ((404,), "pacs_gone"),
        ((410,), "pacs_gone"),
        ((406,), "pacs_failed"),  # it has it in no transfer syntax that it would send
        ((500, "text/plain", b"secret words"), "pacs_failed"),
        ((200, MULTIPART, parts(FILES[0])[:700], 300), "pacs_failed"),  # the connection breaks
        ((200, MULTIPART, parts(FILES[0])[:700]), "pacs_answer"),  # cut, as if that were all
        ((200, MULTIPART, parts(FILES[0], closed=False)), "pacs_answer"),  # whole, but who could know
        ((206, MULTIPART, parts(FILES[0][:-40])), "truncated"),  # a part of the object
        ((200, MULTIPART, parts(FILES[1])), "pacs_answer"),  # another object
        ((200, MULTIPART, b""), "pacs_answer"),
        ((200, "application/dicom+json", b"[]"), "pacs_answer"),
        ((200, 'multipart/related; type="application/dicom"', parts(FILES[0])), "pacs_answer"),  # no boundary
        ((200, MULTIPART, parts(b"<html>secret words</html>")), "not_dicom"),
    ],
)
def test_an_object_that_is_not_given_leaves_the_others(site, answer, reason_code):
    """Its reason is told, nothing of it is kept, and the next one is fetched."""
    made = site()
    with wado_archive(*answer) as pacs:
        told = fetched(made, pacs)
    assert told == [reason_code, None]
    with made.database.read() as connection:
        held = connection.exec_driver_sql("SELECT sop_instance_uid FROM sop_instance WHERE state = 'pending'")
        assert {uid for (uid,) in held} == {d.SOPInstanceUID for d in WANTED[reason_code is not None :]}


@pytest.mark.parametrize(
    ("status", "reason_code"),
    [(401, "pacs_not_authorized"), (403, "pacs_not_authorized"), (429, "pacs_busy"), (503, "pacs_busy")],
)
def test_an_archive_that_lets_nobody_in_is_asked_for_nothing_more(site, status, reason_code):
    """One refusal is all of them; nothing of the answer is repeated."""
    with wado_archive(status, "text/plain", b"secret words") as pacs, pytest.raises(PacsError) as caught:
        fetched(site(), pacs)
    assert caught.value.reason_code == reason_code
    assert "secret" not in str(caught.value)


# --- DICOM over TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Those of an archive and of this service, by one authority; and another authority."""
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    made.issue("archive", "127.0.0.1")
    made.issue("server")
    stranger = tmp_path_factory.mktemp("stranger")
    made.stranger_file = Certificates(stranger).authority_file
    return made


@contextlib.contextmanager
def archive_over_tls(certificates, *, asks_for_ours):
    """An archive by C-FIND over TLS that holds one report, and may ask for a certificate of the same authority."""

    def find(event):
        query = event.identifier
        if query.QueryRetrieveLevel == "STUDY":
            yield 0xFF00, study(1)
        elif query.QueryRetrieveLevel == "SERIES":
            yield 0xFF00, row(SeriesInstanceUID="2.25.2", Modality="SR")
        else:
            yield 0xFF00, row(SOPInstanceUID="2.25.3", SOPClassUID=SR)
        yield 0x0000, Dataset()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.folder / "archive.pem", certificates.folder / "archive.key")
    if asks_for_ours:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificates.authority_file)
    ae = AE("FAKE")
    ae.add_supported_context(FIND)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find)], ssl_context=context)
    try:
        yield Archive(server.socket.getsockname()[1], "FAKE")
    finally:
        server.shutdown()


def listed(archive, ours=None, **keys):
    """The reports that it tells of."""
    pacs = archive.table(**keys)
    return list(list_reports(Settings(pacs=[pacs], tls=TLSSettings(**(ours or {}))), pacs, DAY).objects)


@pytest.mark.parametrize("asks_for_ours", [False, True], ids=["its own", "and ours"])
def test_an_archive_is_asked_over_tls(certificates, asks_for_ours):
    """Trusted by `ca`, or by the authorities of [tls], whose certificate is shown where it is asked for."""
    with archive_over_tls(certificates, asks_for_ours=asks_for_ours) as archive:
        assert listed(archive, certificates.table(), tls=True) == ["2.25.3"]
        ours = {name: value for name, value in certificates.table().items() if name != "client_ca"}
        assert listed(archive, ours, tls=True, ca=str(certificates.authority_file)) == ["2.25.3"]


def test_without_trust_nothing_is_asked(certificates):
    """Its certificate is of another authority, ours isn't shown, or one of both speaks without TLS."""
    trusted = {"tls": True, "ca": str(certificates.authority_file)}
    with archive_over_tls(certificates, asks_for_ours=True) as archive:
        for ours, keys in (
            (certificates.table(), {"tls": True, "ca": str(certificates.stranger_file)}),
            ({}, trusted),
            (certificates.table(), {"tls": False}),
        ):
            with pytest.raises(PacsError) as caught:
                listed(archive, ours, **keys)
            assert caught.value.reason_code in {"pacs_tls", "pacs_aborted", "pacs_timeout", "pacs_unreachable"}, keys
    ae = AE("FAKE")
    ae.add_supported_context(FIND)
    server = ae.start_server(("127.0.0.1", 0), block=False)
    try:
        with pytest.raises(PacsError) as caught:
            listed(Archive(server.socket.getsockname()[1], "FAKE"), **trusted)
        assert caught.value.reason_code in {"pacs_tls", "pacs_aborted", "pacs_timeout", "pacs_unreachable"}
    finally:
        server.shutdown()
