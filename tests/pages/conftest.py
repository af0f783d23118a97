"""A running service with reports that are hard to show, and one browser for all tests of it."""

import dataclasses
import datetime as dt
import hashlib
import os
import shutil

import pytest
from support.dicom_files import data_of, to_file
from support.provider import running_provider
from support.service import make_report
from support.web_server import free_port, run_server

from dicomnlp.analyse import Source
from dicomnlp.analyse.archive import names_of, pack_archive
from dicomnlp.config import DatabaseSettings, Settings
from dicomnlp.model import (
    Analysis,
    Arrival,
    Assertion,
    Change,
    Concept,
    Cue,
    Door,
    Finding,
    Identity,
    IntakeRecord,
    Laterality,
    Measurement,
    Narrative,
    Processed,
    Recommendation,
    Report,
    Section,
    SectionName,
    State,
    Temporality,
)
from dicomnlp.store.admin import upgrade
from dicomnlp.store.annotation_records import Mark, Verdict
from dicomnlp.store.annotations import adjudicate, annotate, mark_done
from dicomnlp.store.database import Database
from dicomnlp.store.follow_up_items import ItemFilters, list_items
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.pipelines import CONFIGURED, add_pipeline, promote
from dicomnlp.store.queries import findings_of_study, reports_of_study
from dicomnlp.store.queue import save_processed
from dicomnlp.store.shadow import record_shadow_failure, save_shadow
from dicomnlp.store.switching import bring_all
from dicomnlp.web_settings import OIDCSettings
from dicomnlp.work.follow_up import refresh_all

SCRIPT = '<img src=x onerror="window.ran=1">'
HOSTILE = f'">{SCRIPT}<svg/onload=window.ran=1>'
"""In every field of a header and in the text: none of it may ever run, or become an element."""
PIPELINE = "en-2026.1+0123456789ab"
LUNG = Concept("right_upper_lobe", "45653009", "SCT", "Upper lobe of right lung")


def _finding(text, words, assertion=Assertion.PRESENT, *, concept="pulmonary_nodule", nth=0, cue=None, **more):
    start = -1
    for _ in range(nth + 1):
        start = text.index(words, start + 1)
    cues = ()
    if cue is not None:
        at = text.index(cue)
        cues = (Cue(cue, at, at + len(cue), "NEGATED_EXISTENCE"),)
    return Finding(
        concept=Concept(concept, "427359005", "SCT", concept.replace("_", " ").capitalize()),
        text=words,
        start=start,
        end=start + len(words),
        sentence=next(line for line in text.splitlines() if words.splitlines()[0] in line),
        section=SectionName.FINDINGS,
        assertion=assertion,
        cues=cues,
        language=more.pop("language", "en"),
        **more,
    )


def _sized(text, words, *values, temporality=Temporality.CURRENT):
    start = text.index(words)
    return Measurement(values, "mm", "size", temporality, words, start, start + len(words))


class Hall:
    """The database, and ways to put reports into it."""

    def __init__(self, database):
        self.database = database

    def receive(self, number, dataset=None, **changes):
        """An object as it comes in; its row."""
        dataset = dataset or make_report(number, "FINDINGS: A nodule.")
        keep = changes.pop("keep", True)
        reason_code = changes.pop("reason_code", None)
        title = changes.pop("calling_ae_title", "PACS")
        identity = Identity(
            **{
                "sop_class_uid": str(dataset.SOPClassUID),
                "sop_instance_uid": str(dataset.SOPInstanceUID),
                "study_instance_uid": str(dataset.StudyInstanceUID),
                "patient_id": str(dataset.PatientID),
                "patient_birth_date": "19600101",
                "patient_sex": "F",
                "accession_number": str(dataset.AccessionNumber),
                "study_date": str(dataset.StudyDate),
                "study_time": "0900",
                "content_date": str(dataset.ContentDate),
                "content_time": "0910",
                "study_description": "CT CHEST",
                "modality": "SR",
                "institution_name": "Clinic",
                **changes,
            }
        )
        data = data_of(to_file(dataset))
        arrival = Arrival(
            data, "1.2.840.10008.1.2.1", identity.sop_class_uid, identity.sop_instance_uid, Door.C_STORE, title
        )
        record = IntakeRecord(
            arrival,
            identity,
            hashlib.sha256(data).hexdigest(),
            dt.datetime.now(dt.UTC),
            0 if keep else 0xC000,
            reason_code,
            keep,
        )
        (receipt,) = record_arrivals(self.database, [record])
        return receipt.object_id, identity

    def add(self, number, text, findings, *, study=None, language="en", report=None, sections=None, **changes):
        """An analysed report; its Study and SOP Instance UIDs."""
        dataset = make_report(number, text, study=study, patient_id=changes.get("patient_id", "T-1"))
        object_id, identity = self.receive(number, dataset, **changes)
        body = text.index("\n") + 1 if "\n" in text else 0
        sections = sections or (Section(SectionName.FINDINGS, text[:body].strip() or None, 0, len(text), body),)
        about = {"title": "CT Chest Report", "completion_flag": "COMPLETE", **(report or {})}
        analysis = about.pop("analysis", {})
        read = Report(identity, Narrative(text), State.PENDING, **about)
        made = Analysis(language, PIPELINE, sections, tuple(findings), **analysis)
        done = Processed(object_id, State.ANALYSED, PIPELINE, read, made, modalities=("CT",))
        save_processed(self.database, [done])
        return identity.study_instance_uid, identity.sop_instance_uid

    def fail(self, number):
        """An object whose analysis failed."""
        object_id, _ = self.receive(number)
        save_processed(self.database, [Processed(object_id, State.FAILED, PIPELINE, reason_code="bad_xml")])


HARD_TEXT = (
    "FINDINGS:\r\n"
    "\U0001f600 \U0001d6fc A 6 mm nodule, previously 4 mm,\r\nin the right upper lobe <b>&amp; beyond</b>.\r\n"
    f"No pleural effusion. {SCRIPT} spiculated pulmonary nodule mass\U0001fac1."
)
"""Returns, characters beyond 16 bits, markup, and findings that stand within and across each other."""
CHINESE_TEXT = "影像所见：\n右肺上叶见一结节，大小约8mm。𠮷 双侧胸腔未见积液。"


def _fill(hall):
    text = HARD_TEXT
    hard = [
        _finding(
            text,
            "nodule",
            anatomy=LUNG,
            laterality=Laterality.RIGHT,
            change=Change.INCREASED,
            measurements=(
                _sized(text, "6 mm", 6.0),
                _sized(text, "4 mm", 4.0, temporality=Temporality.PRIOR),
            ),
            critical=True,
        ),
        _finding(text, "4 mm,\r\nin the right", Assertion.HISTORICAL, concept="across_lines"),
        _finding(text, "pleural effusion", Assertion.ABSENT, concept="pleural_effusion", cue="No"),
        # within, across and equal to each other
        _finding(text, "pulmonary nodule", Assertion.POSSIBLE, nth=0),
        _finding(text, "spiculated pulmonary", Assertion.HYPOTHETICAL, concept="spiculation"),
        _finding(text, "nodule mass\U0001fac1", Assertion.FAMILY, concept="mass"),
        _finding(text, "pulmonary nodule", Assertion.POSSIBLE, concept="lung_mass"),
    ]
    recommendation = Recommendation("CT in 3 months", 0, 0, "CT", "CT", LUNG, 90, 90, False)
    hall.study, hall.instance = hall.add(
        1,
        text,
        hard,
        patient_id=HOSTILE[:64],
        study_description=HOSTILE,
        accession_number=HOSTILE[:40],
        institution_name=HOSTILE,
        station_name=HOSTILE,
        calling_ae_title="<svg/onload=a()>",
        report={"title": HOSTILE, "analysis": {"recommendations": (recommendation,)}},
    )
    chinese = [
        _finding(CHINESE_TEXT, "结节", language="zh", laterality=Laterality.RIGHT,
                 measurements=(_sized(CHINESE_TEXT, "8mm", 8.0),)),
        _finding(CHINESE_TEXT, "积液", Assertion.ABSENT, concept="pleural_effusion", cue="未见", language="zh"),
    ]  # fmt: skip
    hall.chinese, hall.chinese_instance = hall.add(
        2, CHINESE_TEXT, chinese, language="zh", patient_id=HOSTILE[:64], study_date="20250102"
    )
    first = "FINDINGS:\nNo nodule."
    hall.chain, hall.preliminary = hall.add(
        3,
        first,
        [_finding(first, "nodule", Assertion.ABSENT, cue="No")],
        patient_id="T-3",
        report={"preliminary_flag": "PRELIMINARY"},
    )
    last = "FINDINGS:\nA nodule."
    _, hall.final = hall.add(
        4,
        last,
        [_finding(last, "nodule")],
        study=3,
        patient_id="T-3",
        content_time="1200",
        report={"preliminary_flag": "FINAL", "predecessors": (hall.preliminary,)},
    )
    hall.receive(5)
    hall.fail(6)
    hall.receive(7, keep=False, reason_code="object_too_large")
    hall.receive(8, study_instance_uid="", reason_code="no_study_instance_uid")
    for number in range(100, 112):
        line = f"FINDINGS:\nReport {number} with a nodule. No effusion."
        hall.add(
            number,
            line,
            [
                _finding(line, "nodule"),
                _finding(line, "effusion", Assertion.ABSENT, concept="pleural_effusion", cue="No"),
            ],
            patient_id=f"T-{number}",
        )


def _annotate(hall):
    """Two readers who differ, of the report with hostile words, and a decision; a reader's name is hostile too."""
    first, second = f"ann {SCRIPT}", "ben"
    spans = {f.finding.concept.id: f.finding for f in findings_of_study(hall.database, hall.study)}
    marks = [
        (first, Verdict.CONFIRM, "mass", {}),
        (first, Verdict.RELABEL, "pleural_effusion", {"assertion": Assertion.POSSIBLE, "laterality": Laterality.LEFT}),
        (first, Verdict.REJECT, "spiculation", {}),
        (second, Verdict.REJECT, "mass", {}),
        (second, Verdict.CONFIRM, "pleural_effusion", {}),
    ]
    for reader, verdict, concept, label in marks:
        found = spans[concept]
        annotate(hall.database, hall.instance, reader, Mark(verdict, found.start, found.end, concept, **label))
    at = HARD_TEXT.index(SCRIPT)
    added = Mark(Verdict.ADD, at, at + len(SCRIPT), concept="atelectasis", assertion=Assertion.PRESENT)
    annotate(hall.database, hall.instance, second, added)
    for reader in (first, second):
        mark_done(hall.database, hall.instance, reader)
    mass = spans["mass"]
    decided = Mark(Verdict.CONFIRM, mass.start, mass.end, "mass")
    adjudicate(hall.database, hall.instance, "chief", decided, is_operator=True)


def _try_pipeline(hall, folder):
    """A pipeline that was added, and has read two of the reports in shadow: hostile words among what it changes."""
    (folder / "de").mkdir(parents=True)
    (folder / "de" / "sections.toml").write_text('[headings]\nimpression = ["Fazit"]\n', encoding="utf-8")
    archive, sha256 = pack_archive(Source(overlays=folder))
    names = names_of(archive, None) | {"en": "en-2026.1+ba9876543210"}
    add_pipeline(hall.database, "next", archive, sha256, names, "local:test")
    promotion = promote(hall.database, "next", names, HOSTILE)
    rollback = promote(hall.database, CONFIGURED, {"en": PIPELINE}, HOSTILE, undoes=promotion.id)
    bring_all(hall.database, rollback.id, [PIPELINE])
    read = next(iter(reports_of_study(hall.database, hall.study)))
    [mass] = [f.finding for f in findings_of_study(hall.database, hall.study) if f.finding.concept.id == "lung_mass"]
    sentence = dataclasses.replace(mass, assertion=Assertion.PRESENT, sentence=f"{SCRIPT} {mass.text} {SCRIPT}")
    made = Analysis("en", names_of(archive, None)["en"], (), (sentence,))
    done = Processed(read.object_id, State.ANALYSED, made.pipeline, read.report, made)
    save_shadow(hall.database, "next", [done])
    record_shadow_failure(hall.database, "next", read.object_id + 1, "timeout")


@pytest.fixture(scope="session")
def hall(tmp_path_factory):
    """The reports."""
    folder = tmp_path_factory.mktemp("pages")
    settings = Settings(
        database=DatabaseSettings(url=f"sqlite:///{folder}/dicomnlp.db", large_object_directory=folder / "objects")
    )
    upgrade(settings)
    database = Database.open(settings)
    made = Hall(database)
    made.settings = settings
    _fill(made)
    _annotate(made)
    _try_pipeline(made, folder / "overlays")
    refresh_all(database)
    [item] = list_items(database, ItemFilters(), today=dt.date(2026, 11, 22)).items
    made.item = item.id
    yield made
    database.close()


ANNOTATED_TEXTS = (
    f"FINDINGS:\r\n\U0001f600 A nodule, {SCRIPT} no effusion.\r\nBasal atelectasis; a nodule again.",
    "FINDINGS:\nA nodule without effusion. Cardiomegaly.",
    "FINDINGS:\nNo nodule, no effusion.",
)


def _to_be_annotated(hall, number, text, sender):
    findings = [
        _finding(text, "nodule", Assertion.ABSENT if "No nodule" in text else Assertion.PRESENT),
        _finding(text, "effusion", Assertion.ABSENT, concept="pleural_effusion"),
    ]
    return hall.add(number, text, findings, patient_id=f"T-{number}", calling_ae_title=sender)[1]


@pytest.fixture(scope="session")
def reports(hall):
    """Reports to be annotated, of one sender, whom the readers' scope lets them see: SOP Instance UID -> text."""
    return {_to_be_annotated(hall, n, text, "ANNOTATED"): text for n, text in enumerate(ANNOTATED_TEXTS, 301)}


@pytest.fixture(scope="session")
def lone_report(hall):
    """Another, of another sender, for one reader alone: (SOP Instance UID, text)."""
    return _to_be_annotated(hall, 304, ANNOTATED_TEXTS[1], "FORMS"), ANNOTATED_TEXTS[1]


@pytest.fixture(scope="session")
def address(hall):
    """Where the service answers."""
    with run_server(hall.settings) as found:
        yield found


@pytest.fixture(scope="session")
def guarded_address(hall):
    """Where a service on the same reports answers to those who log in, by a key or at a provider that lets all in."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with running_provider() as provider:
        oidc = OIDCSettings(
            issuer=provider.issuer, client_id="dicomnlp", public_url=address, roles={"radiologists": "reader"}
        )
        settings = hall.settings.model_copy(update={"oidc": oidc})
        with run_server(settings, port=port, authentication="on") as found:
            yield found


@pytest.fixture(scope="module")
def browser():
    """Chromium, without a window. Ended with the module: while it is there, no test after it could run a loop."""
    api = pytest.importorskip("playwright.sync_api")
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on the PATH")
    with api.sync_playwright() as playwright:
        # as root there is no sandbox, and in a container little shared memory
        opened = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        yield opened
        opened.close()


class Watched:
    """What a page complained of."""

    def __init__(self, page):
        self.complaints = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._note)
        page.on("requestfailed", self._failed)

    def _note(self, message):
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _failed(self, request):
        # what a page that is left was still asking for
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"{request.url}: {request.failure}")


@pytest.fixture
def open_page(browser, address):
    """Open pages; in the end none may have complained, nor any script of a report have run."""
    contexts = []

    def make(path="/", *, status=200, base_url=address, **options):
        context = browser.new_context(base_url=base_url, viewport={"width": 1280, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.watched = Watched(page)
        page.set_default_timeout(10_000)
        answer = page.goto(path)
        assert answer.status == status
        if status != 200:
            page.watched.complaints.clear()  # that the page itself is an error is told too
        return page

    yield make
    for context in contexts:
        for page in context.pages:
            assert page.watched.complaints == []
        context.close()
