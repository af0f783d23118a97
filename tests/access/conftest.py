"""A service with authentication, keys of every sort, and reports of two sites that must not learn of each other."""

import datetime as dt
import hashlib
import shutil

import pytest
from support.app_client import Client
from support.dicom_files import data_of, to_file
from support.service import make_report

from dicomnlp.audit.reading import TrailFilters, read_trail
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
    Recommendation,
    Report,
    Section,
    SectionName,
    State,
)
from dicomnlp.serve.app import create_app
from dicomnlp.store.admin import upgrade
from dicomnlp.store.database import Database
from dicomnlp.store.follow_up_items import ItemFilters, list_items
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.keys import add_key
from dicomnlp.store.queue import save_processed
from dicomnlp.store.scope import EVERYTHING, Scope
from dicomnlp.web_settings import OIDCSettings, WebSettings
from dicomnlp.work.follow_up import refresh_all

PIPELINE = "en-2026.1+0123456789ab"
FAMILY_NAME = "Quetzalcoatlus"
"""Of every patient here; stands in header and text."""
BIRTH_DATE = "19571113"


class Site:
    """A sender with an institution, and the report that it sent."""

    def __init__(self, number, name):
        self.number, self.name = number, name
        self.title, self.institution = name.upper(), f"{name} Clinic"
        self.patient_id, self.accession = f"PID-{name}-7781", f"ACC-{name}-5512"
        self.dataset = make_report(number, self.text, patient_name=f"{FAMILY_NAME}^{name}", patient_id=self.patient_id)
        self.dataset.PatientBirthDate = BIRTH_DATE
        self.dataset.InstitutionName, self.dataset.AccessionNumber = self.institution, self.accession
        self.study = str(self.dataset.StudyInstanceUID)
        self.instance = str(self.dataset.SOPInstanceUID)
        self.image = f"{self.instance}.9"
        self.image_series = f"{self.instance}.8"

    @property
    def text(self):
        """Name before the finding: its offsets move when the name goes."""
        return (
            f"FINDINGS: {FAMILY_NAME} {self.name} has a nodule of 5 mm. No effusion. Recommend CT in 3 months, "
            f"Dr. {FAMILY_NAME} was told on 01/02/2026."
        )

    @property
    def secrets(self):
        """What nobody of another site may see in any answer."""
        return (self.study, self.instance, self.patient_id, self.accession, self.institution, self.title, self.image)

    @property
    def identities(self):
        """What a researcher may not see in any answer."""
        return (FAMILY_NAME, self.patient_id, self.accession, BIRTH_DATE, "1957-11-13")


def _identity(site, **changes):
    values = {
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.88.11",
        "sop_instance_uid": site.instance,
        "study_instance_uid": site.study,
        "series_instance_uid": str(site.dataset.SeriesInstanceUID),
        "patient_id": site.patient_id,
        "patient_birth_date": BIRTH_DATE,
        "patient_sex": "F",
        "accession_number": site.accession,
        "study_date": "20260102",
        "modality": "SR",
        "institution_name": site.institution,
        **changes,
    }
    return Identity(**values)


def _processed(object_id, site):
    text = site.text
    body = len("FINDINGS: ")
    end = text.index("Dr.") - 2

    def finding(word, code, assertion, cues=()):
        start = text.index(word)
        return Finding(
            concept=Concept(f"{word}_concept", code, "SCT", word.capitalize()),
            text=word,
            start=start,
            end=start + len(word),
            sentence=text[body : text.index("No effusion") - 1] if word == "nodule" else "No effusion.",
            section=SectionName.FINDINGS,
            assertion=assertion,
            is_negated=assertion is Assertion.ABSENT,
            cues=cues,
            language="en",
        )

    cue = Cue("No", text.index("No e"), text.index("No e") + 2, "NEGATED_EXISTENCE")
    start = text.index("Recommend")
    advice = Recommendation(text[start:end], start, end, "CT", "CT", None, 90, 90, False)
    sections = (Section(SectionName.FINDINGS, "FINDINGS:", 0, len(text), body),)
    findings = (
        finding("nodule", "27925004", Assertion.PRESENT),
        finding("effusion", "41699000", Assertion.ABSENT, (cue,)),
    )
    report = Report(_identity(site), Narrative(text), State.PENDING, title="Report")
    analysis = Analysis("en", PIPELINE, sections, findings, recommendations=(advice,))
    return Processed(object_id, State.ANALYSED, PIPELINE, report, analysis)


def put(database, site):
    """Store a site's report with its analysis, and the header of one of its images."""
    data = data_of(to_file(site.dataset))
    now = dt.datetime.now(dt.UTC)
    explicit = "1.2.840.10008.1.2.1"
    arrival = Arrival(data, explicit, "1.2.840.10008.5.1.4.1.1.88.11", site.instance, Door.C_STORE, site.title)
    record = IntakeRecord(arrival, _identity(site), hashlib.sha256(data).hexdigest(), now, 0, None, True)
    (receipt,) = record_arrivals(database, [record])
    save_processed(database, [_processed(receipt.object_id, site)])
    header = _identity(
        site, sop_class_uid="1.2.840.10008.5.1.4.1.1.2", sop_instance_uid=site.image,
        series_instance_uid=site.image_series, modality="CT",
    )  # fmt: skip
    arrival = Arrival(b"image", explicit, header.sop_class_uid, site.image, Door.C_STORE, site.title)
    sha256 = hashlib.sha256(site.image.encode()).hexdigest()
    image = ImageHeader(header, sha256, 1000)
    record_arrivals(database, [IntakeRecord(arrival, header, sha256, now, 0, None, True, image)])
    refresh_all(database)
    items = list_items(database, ItemFilters(study_instance_uid=site.study), today=dt.date(2026, 11, 22)).items
    [site.item] = [item.id for item in items]


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory):
    """A SQLite file with the current schema, to be copied."""
    file = tmp_path_factory.mktemp("empty") / "dicomnlp.db"
    upgrade(Settings(database=DatabaseSettings(url=f"sqlite:///{file}")))
    return file


@pytest.fixture
def make_settings(tmp_path, empty_file):
    """Settings with authentication on, of a database of the test's own; keys of [web] and [oidc] may be given."""
    (tmp_path / "var").mkdir()
    shutil.copyfile(empty_file, tmp_path / "var" / "dicomnlp.db")

    def make(oidc=None, **web):
        return Settings(
            database=DatabaseSettings(
                url=f"sqlite:///{tmp_path}/var/dicomnlp.db", large_object_directory=tmp_path / "var" / "objects"
            ),
            web=WebSettings(**{"authentication": "on", **web}),
            oidc=OIDCSettings(**(oidc or {})),
        )

    return make


@pytest.fixture
def settings(make_settings):
    """Settings with authentication on."""
    return make_settings()


@pytest.fixture
def database(settings):
    """An open database with nothing in it."""
    opened = Database.open(settings)
    yield opened
    opened.close()


@pytest.fixture
def client(settings, database):
    """Asks an application on `database`."""
    return Client(create_app(settings, lambda: database))


@pytest.fixture
def north(database):
    """A site with a report."""
    site = Site(1, "North")
    put(database, site)
    return site


@pytest.fixture
def south(database):
    """Another site with a report."""
    site = Site(2, "South")
    put(database, site)
    return site


@pytest.fixture
def make_key(database):
    """Makes a key; its text."""

    def make(role="reader", *, name=None, titles=None, institutions=None, expires_at=None):
        scope = Scope(
            frozenset(titles) if titles is not None else None,
            frozenset(institutions) if institutions is not None else None,
        )
        return add_key(
            database, name or f"{role} key", role, scope if titles or institutions else EVERYTHING, expires_at
        )[1]

    return make


@pytest.fixture
def trail(database):
    """Reads the rows of the trail, the oldest first."""
    return lambda **filters: read_trail(database, TrailFilters(**filters), 10_000)
