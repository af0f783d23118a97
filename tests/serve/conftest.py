"""A database with objects in it, and a client that asks the application without a server."""

import asyncio
import dataclasses
import datetime as dt
import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dicomnlp.config import DatabaseSettings, Settings
from dicomnlp.model import (
    Analysis,
    Arrival,
    Assertion,
    Concept,
    Cue,
    Door,
    Finding,
    Identity,
    ImageHeader,
    IntakeRecord,
    Narrative,
    Processed,
    Receipt,
    Report,
    Section,
    SectionName,
    State,
)
from dicomnlp.serve.app import create_app
from dicomnlp.store.admin import upgrade
from dicomnlp.store.database import Database
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.queue import save_processed

STUDY = "1.2.826.0.1.3680043.10.543.1"
INSTANCE = "1.2.826.0.1.3680043.10.543.1.1"
PIPELINE = "en-2026.1+0123456789ab"
CANARY = "Quetzalcoatlus"
"""Stands in the narrative, the patient's name and the descriptions of every object made here."""


class Client:
    """GET and friends on an application, answered in this process."""

    def __init__(self, app: Any, base_url: str = "http://127.0.0.1:8080") -> None:
        self.app = app
        self._base_url = base_url

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """One request on a connection of its own."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=self._base_url) as client:
                return await client.request(method, path, **arguments)

        return asyncio.run(ask())

    def get(self, path: str, **arguments: Any) -> httpx.Response:
        """One GET."""
        return self.request("GET", path, **arguments)


class Archive:
    """A database, and ways to put objects into it."""

    study = STUDY
    instance = INSTANCE
    canary = CANARY
    pipeline = PIPELINE

    def __init__(self, database: Database) -> None:
        self.database = database

    def receive(self, study: str = STUDY, instance: str = INSTANCE, *, data: bytes = b"", keep: bool = True) -> Receipt:
        """Store an object, or with `keep` False only the ledger's row of one that was refused."""
        (receipt,) = record_arrivals(self.database, [make_record(study, instance, data=data, keep=keep)])
        return receipt

    def add(self, study: str = STUDY, instance: str = INSTANCE, *, data: bytes = b"", text: str = "") -> int:
        """Store an object and its analysis; its row."""
        receipt = self.receive(study, instance, data=data)
        assert receipt.object_id is not None
        save_processed(self.database, [make_processed(receipt.object_id, study, instance, text)])
        return receipt.object_id

    def index(self, instance: str, *, series: str, **header: str) -> None:
        """Keep the header of an image of the study."""
        record = make_record(STUDY, instance, data=b"", keep=True)
        identity = dataclasses.replace(record.identity, series_instance_uid=series, modality="MG")
        image = ImageHeader(identity, record.sha256, 10**10, **header)
        record_arrivals(self.database, [dataclasses.replace(record, identity=identity, image=image)])

    def fail(self, object_id: int) -> None:
        """Let the analysis of an object fail."""
        save_processed(self.database, [Processed(object_id, State.FAILED, PIPELINE, reason_code="unreadable")])


def make_record(study: str, instance: str, *, data: bytes, keep: bool) -> IntakeRecord:
    """An arrival as intake hands it to the store."""
    data = data or f"{instance} {CANARY}".encode()
    arrival = Arrival(data, "1.2.840.10008.1.2.1", "1.2.840.10008.5.1.4.1.1.88.11", instance, Door.C_STORE, "PACS")
    now = dt.datetime.now(dt.UTC)
    reason_code = None if keep else "unreadable"
    status = 0 if keep else 0xC000
    sha256 = hashlib.sha256(data).hexdigest()
    return IntakeRecord(arrival, make_identity(study, instance), sha256, now, status, reason_code, keep)


def make_identity(study: str, instance: str) -> Identity:
    """The header of an object of a patient who must not be named."""
    return Identity(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.11",
        sop_instance_uid=instance,
        study_instance_uid=study,
        patient_id=CANARY,
        accession_number=CANARY,
        study_description=CANARY,
    )


def make_processed(object_id: int, study: str, instance: str, text: str) -> Processed:
    """An analysis with two findings: nodule present, effusion absent."""
    text = text or f"FINDINGS: A nodule in {CANARY}. No effusion."
    body = len("FINDINGS: ")
    sections = (Section(SectionName.FINDINGS, "FINDINGS:", 0, len(text), body),)

    def finding(word: str, code: str, assertion: Assertion, cues: tuple[Cue, ...] = ()) -> Finding:
        start = text.index(word)
        return Finding(
            concept=Concept(word, code, "SCT", word.capitalize()),
            text=word,
            start=start,
            end=start + len(word),
            sentence=text[body:],
            section=SectionName.FINDINGS,
            assertion=assertion,
            is_negated=assertion is Assertion.ABSENT,
            cues=cues,
            language="en",
        )

    cue = Cue("No", text.index("No "), text.index("No ") + 2, "NEGATED_EXISTENCE")
    findings = (
        finding("nodule", "27925004", Assertion.PRESENT),
        finding("effusion", "41699000", Assertion.ABSENT, (cue,)),
    )
    report = Report(make_identity(study, instance), Narrative(text), State.PENDING, title="Report")
    return Processed(object_id, State.ANALYSED, PIPELINE, report, Analysis("en", PIPELINE, sections, findings))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a SQLite file that is not there yet."""
    folder = tmp_path / "var"
    return Settings(
        database=DatabaseSettings(url=f"sqlite:///{folder}/dicomnlp.db", large_object_directory=folder / "objects")
    )


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the current schema, to be copied: the migrations take longer than most tests here."""
    file = tmp_path_factory.mktemp("empty") / "dicomnlp.db"
    upgrade(Settings(database=DatabaseSettings(url=f"sqlite:///{file}")))
    return file


@pytest.fixture
def database(settings: Settings, empty_file: Path, tmp_path: Path) -> Iterator[Database]:
    """An open database with an empty, current schema."""
    (tmp_path / "var").mkdir()
    shutil.copyfile(empty_file, tmp_path / "var" / "dicomnlp.db")
    database = Database.open(settings)
    yield database
    database.close()


@pytest.fixture
def archive(database: Database) -> Archive:
    """An empty archive."""
    return Archive(database)


@pytest.fixture
def client(settings: Settings, database: Database) -> Client:
    """Asks an application on the archive's database."""
    return Client(create_app(settings, lambda: database))


@pytest.fixture(scope="session")
def empty_client(empty_file: Path) -> Iterator[Client]:
    """Asks an application on an empty database: for tests that put nothing into it."""
    settings = Settings(database=DatabaseSettings(url=f"sqlite:///{empty_file}"))
    database = Database.open(settings)
    yield Client(create_app(settings, lambda: database))
    database.close()


@pytest.fixture(scope="module")
def make_archive(empty_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Any]]:
    """A client and its archive, for tests that only read what a module's fixture puts into it."""
    opened = []

    def make() -> tuple[Client, Archive]:
        file = tmp_path_factory.mktemp("archive") / "dicomnlp.db"
        shutil.copyfile(empty_file, file)
        settings = Settings(database=DatabaseSettings(url=f"sqlite:///{file}"))
        database = Database.open(settings)
        opened.append(database)
        return Client(create_app(settings, lambda: database)), Archive(database)

    yield make
    for database in opened:
        database.close()


@pytest.fixture
def make_client(settings: Settings) -> Callable[..., Client]:
    """A client of an application whose database is opened by a function of the test's own."""

    def make(open_database: Callable[[], Database], settings: Settings = settings, **arguments: Any) -> Client:
        return Client(create_app(settings, open_database), **arguments)

    return make
