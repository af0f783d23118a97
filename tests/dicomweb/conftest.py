"""A running service with an archive behind it."""

import pytest
import sqlalchemy as sa
from dicomweb_client.api import DICOMwebClient
from support.web_server import run_server

from dicomnlp.config import DatabaseSettings, ListenerSettings, Settings
from dicomnlp.extract.file import read_file
from dicomnlp.model import Arrival, Door
from dicomnlp.receive.images import ImageStream
from dicomnlp.receive.intake import Intake
from dicomnlp.store.admin import upgrade
from dicomnlp.store.database import Database
from dicomnlp.store.schema import image, ledger, sop_instance


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def settings(request, tmp_path_factory):
    """Settings with a database, SQLite and a real PostgreSQL."""
    folder = tmp_path_factory.mktemp("dicomweb")
    server = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    name = server.create_database() if server else ""
    url = server.url(name) if server else f"sqlite:///{folder}/dicomnlp.db"
    database = DatabaseSettings(url=url, large_object_directory=folder / "objects")
    settings = Settings(database=database, listener=ListenerSettings(maximum_object_bytes=1048576))
    upgrade(settings)
    yield settings
    if server:
        server.drop_database(name)


@pytest.fixture(scope="session")
def service(settings):
    """Address of a service that runs as long as the tests of this folder do."""
    with run_server(settings) as address:
        yield address


@pytest.fixture
def database(settings):
    """The database of the service, open, with nothing in it."""
    database = Database.open(settings)
    with database.write() as connection:
        for table in (ledger, sop_instance, image):
            connection.execute(sa.delete(table))
    yield database
    database.close()


@pytest.fixture
def address(service, database):
    """Of a running service on `database`."""
    return service


@pytest.fixture
def client(address):
    """dicomweb-client, pointed at the service."""
    return DICOMwebClient(f"{address}/dicom-web")


@pytest.fixture
def receive(settings, database):
    """Takes files as the DICOM port does: `receive(file, calling_ae_title="PACS")`."""
    intake = Intake(settings, database)

    def take(file, calling_ae_title="PACS"):
        content = read_file(file)
        receipt = intake.accept(
            Arrival(
                content.data,
                content.transfer_syntax_uid,
                content.sop_class_uid,
                content.sop_instance_uid,
                Door.C_STORE,
                calling_ae_title,
            )
        )
        assert receipt.status == 0
        return receipt

    yield take
    intake.close()


@pytest.fixture
def index(settings, database):
    """Keeps the header of an image file, as the DICOM port does of a sender whose images are indexed."""
    intake = Intake(settings, database)

    def take(file, calling_ae_title="CT1"):
        content = read_file(file)
        stream = ImageStream(content.transfer_syntax_uid, maximum_header_bytes=65536)
        stream.feed(content.data)
        arrival = Arrival(
            b"",
            content.transfer_syntax_uid,
            content.sop_class_uid,
            content.sop_instance_uid,
            Door.C_STORE,
            calling_ae_title,
        )
        receipt = intake.index(arrival, stream)
        assert receipt.status == 0

    yield take
    intake.close()
