"""Reports in a database of each kind, really read and analysed, and an archive that takes what is sent to it."""

import contextlib
import datetime as dt
import hashlib
import http.server
import json
import shutil
import ssl
import threading

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import ComprehensiveSRStorage
from support.dicom_files import data_of, to_file
from support.service import free_port, make_report

from dicomnlp.config import DatabaseSettings, Settings
from dicomnlp.extract.identity import read_identity
from dicomnlp.model import Arrival, Door, IntakeRecord
from dicomnlp.pacs_settings import PacsSettings, WriteBackSettings
from dicomnlp.store import admin
from dicomnlp.store.database import Database
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.queue import save_processed, take_pending
from dicomnlp.work.process import process

KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
EXPLICIT = "1.2.840.10008.1.2.1"
TEXT = (
    "FINDINGS: A 6 x 4 mm nodule in the right upper lobe, previously 4 mm. Possible small left pleural effusion. "
    "No pneumothorax.\nIMPRESSION: Nodule."
)
CHINESE = "检查所见：右肺上叶见结节，大小约6mm×4mm。左侧可疑少量胸腔积液。未见气胸。\n诊断意见：右肺上叶结节。"


@pytest.fixture(scope="session")
def templates(tmp_path_factory):
    """A SQLite file with the schema, to copy."""
    file = tmp_path_factory.mktemp("template") / "test.db"
    admin.upgrade(Settings(database=DatabaseSettings(url=f"sqlite:///{file}")))
    return file


both = pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
"""Of a test whose SQL matters: on each database."""


@pytest.fixture
def url(request, tmp_path):
    """Of a database with the schema and nothing in it: SQLite, unless a test is asked to run on both."""
    if getattr(request, "param", "sqlite") == "sqlite":
        shutil.copy(request.getfixturevalue("templates"), tmp_path / "test.db")
        yield f"sqlite:///{tmp_path}/test.db"
        return
    server = request.getfixturevalue("postgres")
    name = server.create_database()
    admin.upgrade(Settings(database=DatabaseSettings(url=server.url(name))))
    yield server.url(name)
    server.drop_database(name)


class Hospital:
    """A database, its settings, and what comes into it."""

    def __init__(self, folder, url):
        self.folder, self.url = folder, url
        self.settings = Settings(database=DatabaseSettings(url=url, large_object_directory=folder / "objects"))
        self.database = Database.open(self.settings)

    def connect(self, *archives, **tables):
        """Make these archives known, and have them get findings."""
        names = [a.name for a in archives]
        self.settings = Settings(
            database=self.settings.database, pacs=list(archives), write_back=WriteBackSettings(to=names), **tables
        )
        return self.settings

    def receive(self, file, ae_title="PACS"):
        """Take in a DICOM file, and analyse what waits; the row of the object."""
        return self.take(data_of(file), ae_title)

    def take(self, data, ae_title="RIS"):
        """Take in a data set, and analyse what waits; the row of the object."""
        identity = read_identity(data, EXPLICIT)
        arrival = Arrival(
            data, EXPLICIT, identity.sop_class_uid, identity.sop_instance_uid, Door.C_STORE, ae_title, "DICOMNLP", ""
        )
        record = IntakeRecord(arrival, identity, hashlib.sha256(data).hexdigest(), dt.datetime.now(dt.UTC), 0)
        [receipt] = record_arrivals(self.database, [record])
        self.analyse()
        return receipt.object_id

    def analyse(self):
        """Process what waits."""
        waiting = take_pending(self.database, maximum_objects=100, maximum_bytes=1 << 24, exclude=())
        save_processed(self.database, process(waiting, ("gb18030", "cp1252"), "en"))

    def report(self, number, text=TEXT, *, predecessors=(), **values):
        """Receive a report; the row of the object."""
        dataset = make_report(number, text, **{k: values.pop(k) for k in ("study", "patient_name") if k in values})
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        if predecessors:
            dataset.PredecessorDocumentsSequence = [refer(p) for p in predecessors]
        return self.receive(to_file(dataset))


def refer(dataset, sop_class_uid=None):
    """An item that refers to an object (PS3.3 C.17.2.1)."""
    instance, series, study = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID = sop_class_uid or dataset.SOPClassUID
    instance.ReferencedSOPInstanceUID = dataset.SOPInstanceUID
    series.SeriesInstanceUID, series.ReferencedSOPSequence = dataset.SeriesInstanceUID, [instance]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = dataset.StudyInstanceUID, [series]
    return study


def note(report):
    """A key object selection that rejects a report (IHE IOCM)."""
    dataset = make_report(90, "", study=1)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = KEY_OBJECTS
    dataset.Modality = "KO"
    title = dataset.ConceptNameCodeSequence[0]
    title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning = "113001", "DCM", "Rejected for Quality Reasons"
    dataset.CurrentRequestedProcedureEvidenceSequence = [refer(report)]
    [item] = dataset.ContentSequence
    item.ValueType = "COMPOSITE"
    del item.TextValue, item.ConceptNameCodeSequence
    item.ReferencedSOPSequence = refer(report).ReferencedSeriesSequence[0].ReferencedSOPSequence
    return to_file(dataset)


@pytest.fixture
def hospital(url, tmp_path):
    """With nothing in it."""
    made = Hospital(tmp_path, url)
    yield made
    made.database.close()


class Taker:
    """An archive that takes Comprehensive SR by C-STORE, and says what it is told to say."""

    def __init__(self):
        self.port, self.objects, self.statuses = free_port(), [], []
        self.server = None

    def table(self, **keys):
        """What [[pacs]] says of it."""
        values = {"name": "archive", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": self.port, **keys}
        return PacsSettings(**values)

    def start(self, context=None):
        """Listen."""
        ae = AE("ARCHIVE")
        ae.require_called_aet = True
        ae.add_supported_context(ComprehensiveSRStorage)
        self.server = ae.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._take)], ssl_context=context
        )
        return self

    def stop(self):
        """Listen no longer."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
        self.server = None

    def _take(self, event):
        status = self.statuses.pop(0) if self.statuses else 0x0000
        if status == 0x0000 or 0xB000 <= status < 0xC000:
            dataset = event.dataset
            dataset.file_meta = event.file_meta
            self.objects.append(dataset)
        return status


@pytest.fixture
def archive():
    """One that listens."""
    taker = Taker()
    taker.start()
    yield taker
    taker.stop()


class WebServer(http.server.ThreadingHTTPServer):
    """Keeps what is posted, and answers what it is told to answer."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posted, self.answers = [], []

    @property
    def url(self):
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}/base"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        """Keep, and answer."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append((self.path, dict(self.headers), body))
        status, answer = self.server.answers.pop(0) if self.server.answers else (200, {})
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        """Nothing on standard error."""


@pytest.fixture
def web_server():
    """One that listens."""
    with contextlib.closing(WebServer()) as server:
        server.close = server.server_close
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def server_context(certificates):
    """TLS of an archive whose certificate is called "archive", and that asks for ours."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.folder / "archive.pem", certificates.folder / "archive.key")
    context.load_verify_locations(certificates.authority_file)
    context.verify_mode = ssl.CERT_REQUIRED
    return context
