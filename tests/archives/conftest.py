"""Archives for a whole session, and a site beside them: a database, and a listener where the archives send to."""

import io
import shutil
import threading

import pytest
from support.archives import DICOMWEB_PLUGIN, reports, run_dcmqrscp, run_orthanc
from support.dicom_files import to_file
from support.service import free_port

from dicomnlp.config import DatabaseSettings, ListenerSettings, Settings
from dicomnlp.model import Door
from dicomnlp.receive.files import take_file
from dicomnlp.receive.intake import Intake
from dicomnlp.receive.listener import run_listener
from dicomnlp.store.admin import upgrade
from dicomnlp.store.database import Database

HELD = 24
"""Reports that each archive of the session holds."""


class Site:
    """A database, and what fills and asks it."""

    def __init__(self, settings):
        self.settings = settings
        self.database = Database.open(settings)
        self._stop = threading.Event()
        self._listener = None

    def take(self, datasets):
        """Take reports in by hand."""
        intake = Intake(self.settings, self.database)
        for dataset in datasets:
            take_file(intake, io.BytesIO(to_file(dataset)), Door.IMPORT)
        intake.close()

    def listen(self):
        """Receive at the listener's port until the test ends."""
        ready = threading.Event()
        self._listener = threading.Thread(
            target=run_listener,
            args=(self.settings, self.database),
            kwargs={"on_ready": lambda _: ready.set(), "stop": self._stop},
        )
        self._listener.start()
        assert ready.wait(30)
        return self

    def end(self):
        """Stop, and give everything back."""
        self._stop.set()
        if self._listener is not None:
            self._listener.join(30)
        self.database.close()


@pytest.fixture(scope="session")
def listener_port():
    """Where the archives of the session send to what they call DICOMNLP."""
    return free_port()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """A SQLite file with the schema and nothing in it, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "empty.db"
    upgrade(Settings(database=DatabaseSettings(url=f"sqlite:///{path}")))
    return path


@pytest.fixture
def site(tmp_path, empty_database, listener_port):
    """Makes a site with these archives."""
    made = []

    def make(*archives, ae_title="DICOMNLP", **tables):
        path = tmp_path / f"site{len(made)}.db"
        shutil.copy(empty_database, path)
        settings = Settings(
            database=DatabaseSettings(url=f"sqlite:///{path}", large_object_directory=tmp_path / "objects"),
            listener=ListenerSettings(ae_title=ae_title, port=listener_port, network_timeout_seconds=5),
            pacs=list(archives),
            **tables,
        )
        made.append(Site(settings))
        return made[-1]

    yield make
    for each in made:
        each.end()


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory, listener_port):
    """Orthanc with `HELD` reports."""
    if shutil.which("Orthanc") is None:
        pytest.skip("Orthanc is not installed")
    with run_orthanc(tmp_path_factory.mktemp("orthanc"), destination=listener_port) as archive:
        archive.put(reports(HELD))
        yield archive


@pytest.fixture(scope="session")
def orthanc_web(orthanc):
    """The same, where its DICOMweb plugin is installed."""
    if not DICOMWEB_PLUGIN.exists():
        pytest.skip("Orthanc's DICOMweb plugin is not installed")
    return orthanc


@pytest.fixture(scope="session")
def dcmqrscp(tmp_path_factory, listener_port):
    """DCMTK's archive with `HELD` reports."""
    if shutil.which("dcmqrscp") is None:
        pytest.skip("DCMTK is not installed")
    with run_dcmqrscp(tmp_path_factory.mktemp("dcmqrscp"), destination=listener_port) as archive:
        archive.put(reports(HELD))
        yield archive
