"""Reconciliation with archives as hospitals have them: Orthanc, and DCMTK's dcmqrscp."""

import datetime as dt
import json

import pytest
from support.archives import Archive, reports, run_orthanc
from support.service import free_port
from typer.testing import CliRunner

from dicomnlp import config_file
from dicomnlp.cli.main import app
from dicomnlp.errors import PacsError
from dicomnlp.pacs_settings import PacsSettings
from dicomnlp.store.reconciliation import FetchState, Gap, read_comparison, read_comparisons, read_wanting
from dicomnlp.store.reconciling import NIGHTLY, held_among, want_missing, wanted
from dicomnlp.work.reconciling import Reconciler, compare_day, fetch_wanted

HELD = 24
"""As in conftest.py."""
WITHHELD = range(7, 12)
DAY = dt.date(2026, 1, 2)

WAYS = {
    "orthanc, C-MOVE": ("orthanc", lambda archive: archive.table()),
    "orthanc, C-GET": ("orthanc", lambda archive: archive.table(retrieve="get")),
    "orthanc, DICOMweb": ("orthanc_web", lambda archive: archive.web_table()),
    "orthanc, QIDO-RS and C-MOVE": ("orthanc_web", lambda archive: archive.web_table(wado_url="", **by_dicom(archive))),
    "dcmqrscp, C-MOVE": ("dcmqrscp", lambda archive: archive.table()),
    "dcmqrscp, C-GET": ("dcmqrscp", lambda archive: archive.table(retrieve="get")),
}


def by_dicom(archive):
    """Where it is called."""
    return {"ae_title": archive.ae_title, "host": "127.0.0.1", "port": archive.port}


def uids(datasets):
    """Their SOP Instance UIDs."""
    return {str(dataset.SOPInstanceUID) for dataset in datasets}


def wanting(site, number, **filters):
    """SOP Instance UIDs of what is wanting."""
    return {each.object.sop_instance_uid for each in read_wanting(site.database, number, limit=1000, **filters).objects}


def fetch_all(site):
    """Fetch whatever is wanted."""
    [pacs] = site.settings.pacs
    while objects := wanted(site.database, pacs.name, 50):
        fetch_wanted(site.settings, site.database, pacs, objects)


@pytest.fixture
def filled(request, site):
    """A site beside the archive of a way, which has all reports but the withheld ones."""

    def make(way):
        name, table = WAYS[way]
        beside = site(table(request.getfixturevalue(name))).listen()
        every = reports(HELD)
        withheld = [every[n] for n in WITHHELD]
        beside.take([each for each in every if each not in withheld])
        return beside, uids(withheld)

    return make


@pytest.mark.parametrize("way", WAYS)
def test_exactly_what_was_withheld_is_listed_and_fetched(filled, way):
    """Whichever way it is asked and fetched by; compared again nothing is missing."""
    site, withheld = filled(way)
    [pacs] = site.settings.pacs
    seen = []
    number = compare_day(
        site.settings, site.database, pacs, DAY, fetches=True, on_study=lambda done, total: seen.append((done, total))
    )
    found = read_comparison(site.database, number)
    assert (found.state, found.reason_code, found.studies, found.objects) == ("done", None, HELD, HELD)
    assert found.gaps == {Gap.NEVER_RECEIVED: len(withheld)}
    assert found.waiting == HELD - len(withheld)
    assert wanting(site, number) == withheld
    assert seen == [(n, HELD) for n in range(1, HELD + 1)]
    fetch_all(site)
    assert read_comparison(site.database, number).fetches == {FetchState.FETCHED: len(withheld)}
    assert held_among(site.database, withheld) == withheld
    assert wanting(site, compare_day(site.settings, site.database, pacs, DAY)) == set()


@pytest.mark.parametrize("way", ["orthanc, C-GET", "orthanc, DICOMweb"])
def test_what_is_fetched_here_is_of_the_archive(filled, way):
    """Its title is the sender's, as if it had sent it: whoever may see what it sends may see this."""
    site, withheld = filled(way)
    compare_day(site.settings, site.database, site.settings.pacs[0], DAY, fetches=True)
    fetch_all(site)
    with site.database.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT calling_ae_title, outcome FROM ledger WHERE door = 'retrieved'"
        ).fetchall()
    assert {tuple(row) for row in rows} == {(site.settings.pacs[0].ae_title, "stored")}
    assert len(rows) == len(withheld)


def test_a_wrong_title_is_told_and_kept(orthanc, site):
    """Whose title, and where to correct it; the day has failed, and says why."""
    beside = site(orthanc.table(ae_title="NOBODY"))
    with pytest.raises(PacsError, match=r"not called NOBODY; correct ae_title") as caught:
        compare_day(beside.settings, beside.database, beside.settings.pacs[0], DAY)
    assert caught.value.reason_code == "pacs_called_title"
    [found] = read_comparisons(beside.database).comparisons
    assert (found.state, found.reason_code, found.compared_at is not None) == ("failed", "pacs_called_title", True)


@pytest.mark.parametrize("way", ["dicom", "web"])
def test_an_archive_that_is_away_is_told(site, way):
    """At once: nobody listens there."""
    port = free_port()
    away = Archive(port, "AWAY", port)
    beside = site(away.table() if way == "dicom" else away.web_table())
    with pytest.raises(PacsError, match="can't be reached") as caught:
        compare_day(beside.settings, beside.database, beside.settings.pacs[0], DAY)
    assert caught.value.reason_code == "pacs_unreachable"


def test_what_was_known_of_a_day_outlives_a_failure(orthanc, site):
    """An archive that is away tonight doesn't make last night's list empty."""
    beside = site(orthanc.table())
    [pacs] = beside.settings.pacs
    number = compare_day(beside.settings, beside.database, pacs, DAY)
    gone = pacs.model_copy(update={"port": free_port()})
    with pytest.raises(PacsError):
        compare_day(beside.settings, beside.database, gone, DAY)
    found = read_comparison(beside.database, number)
    assert (found.state, found.gaps[Gap.NEVER_RECEIVED]) == ("failed", HELD)


def test_an_archive_that_knows_no_destination_says_so(dcmqrscp, site):
    """A801 is of all objects: what is wanted stays wanted, with the reason, and what to do is told."""
    beside = site(dcmqrscp.table(calling_ae_title="DICOMNLP"), ae_title="STRANGER")
    [pacs] = beside.settings.pacs
    number = compare_day(beside.settings, beside.database, pacs, DAY, fetches=True)
    objects = wanted(beside.database, "archive", 50)
    with pytest.raises(PacsError, match="where STRANGER is") as caught:
        fetch_wanted(beside.settings, beside.database, pacs, objects)
    assert caught.value.reason_code == "pacs_destination"
    told = read_wanting(beside.database, number).objects
    assert {(o.fetch_state, o.fetch_reason_code) for o in told} == {(FetchState.WANTED, "pacs_destination")}


def test_what_an_archive_does_not_send_has_not_been_fetched(orthanc, site):
    """Nobody listens where it sends to: each object has failed, and why is kept; asked for again it is tried again."""
    beside = site(orthanc.table())
    [pacs] = beside.settings.pacs
    number = compare_day(beside.settings, beside.database, pacs, DAY, fetches=True)
    fetch_wanted(beside.settings, beside.database, pacs, wanted(beside.database, "archive", 2))
    found = read_wanting(beside.database, number).objects
    failed = [o for o in found if o.fetch_state is FetchState.FAILED]
    assert [o.fetch_reason_code for o in failed] == ["pacs_failed"] * 2
    assert want_missing(beside.database, number) == HELD
    beside.listen()
    fetch_all(beside)
    assert read_comparison(beside.database, number).fetches == {FetchState.FETCHED: HELD}


def test_an_archive_that_cuts_its_answers_short_is_asked_in_parts(tmp_path, site):
    """Orthanc with a limit of ten answers, and thirty studies: all are found, by their times."""
    with run_orthanc(tmp_path / "orthanc", LimitFindResults=10) as archive:
        archive.put(reports(30))
        beside = site(archive.table())
        number = compare_day(beside.settings, beside.database, beside.settings.pacs[0], DAY)
    found = read_comparison(beside.database, number)
    assert (found.state, found.objects) == ("done", 30)
    assert wanting(beside, number) == uids(reports(30))


def test_studies_that_no_time_finds_leave_the_day_in_part(tmp_path, site):
    """More than the limit without a time can't all be had: what was told is compared, and that there may be more."""
    with run_orthanc(tmp_path / "orthanc", LimitFindResults=3) as archive:
        archive.put(reports(6, StudyTime=""))
        beside = site(archive.table())
        number = compare_day(beside.settings, beside.database, beside.settings.pacs[0], DAY)
    found = read_comparison(beside.database, number)
    assert (found.state, found.reason_code) == ("partial", "pacs_cut_short")
    assert wanting(beside, number) <= uids(reports(6))


def test_only_reports_that_are_expected_are_looked_for(orthanc, site):
    """SOP classes that the archive doesn't forward, and series of other modalities, are nobody's loss."""
    for keys in ({"unexpected_sop_classes": ["1.2.840.10008.5.1.4.1.1.88.11"]}, {"report_modalities": ["DOC"]}):
        beside = site(orthanc.table(**keys))
        found = read_comparison(
            beside.database, compare_day(beside.settings, beside.database, beside.settings.pacs[0], DAY)
        )
        assert (found.studies, found.objects, found.gaps) == (HELD, 0, {})


def test_each_night_the_days_before_are_compared_once(orthanc, site):
    """The latest first; then what was asked for is done, and after that nothing."""
    from dicomnlp.config import ReconcileSettings

    beside = site(orthanc.table(reconcile=True), reconcile=ReconcileSettings(at="00:00", days=3))
    duty = Reconciler(beside.settings, beside.database, 1)
    assert [duty.run() for _ in range(4)] == [True, True, True, False]
    today = dt.datetime.now().astimezone().date()
    found = read_comparisons(beside.database).comparisons
    assert [each.study_date for each in found] == [f"{today - dt.timedelta(days=n):%Y%m%d}" for n in (1, 2, 3)]
    assert {(each.requested_by, each.state) for each in found} == {(NIGHTLY, "done")}
    with beside.database.read() as connection:
        trail = connection.exec_driver_sql("SELECT kind, action, outcome FROM audit_event").fetchall()
    assert [tuple(row) for row in trail] == [("query", "reconcile", "success")] * 3


def test_the_duty_does_what_was_asked_for(orthanc, site):
    """A day that a reader wants compared and fetched, with nothing nightly."""
    from dicomnlp.store.reconciling import request_comparison

    beside = site(orthanc.table(retrieve="get"))
    duty = Reconciler(beside.settings, beside.database, 1)
    assert duty.run() is False
    number = request_comparison(beside.database, "archive", DAY, requested_by="somebody", fetches=True)
    assert [duty.run(), duty.run(), duty.run()] == [True, True, False]
    found = read_comparison(beside.database, number)
    assert (found.state, found.requested_by, found.fetches) == ("done", "somebody", {FetchState.FETCHED: HELD})


def test_command_compares_and_fetches(orthanc, filled, tmp_path):
    """One JSON line a day; exit code 1 when the archive is away, 2 when there is none of that name."""
    site, withheld = filled("orthanc, C-MOVE")
    file = tmp_path / "config.toml"
    text = config_file.default_file() + (
        f'[[pacs]]\nname = "archive"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {orthanc.port}\n'
        f'[[pacs]]\nname = "away"\nae_title = "AWAY"\nhost = "127.0.0.1"\nport = {free_port()}\n'
    )
    text = text.replace("sqlite:///var/dicomnlp.db", site.settings.database.url)
    file.write_text(text.replace("port = 11112", f"port = {site.settings.listener.port}"))
    command = ["--config", str(file), "reconcile", "--date", "2026-01-02"]
    listed = CliRunner().invoke(app, [*command, "--pacs", "archive", "--json"])
    assert listed.exit_code == 0, listed.output
    line = json.loads(listed.stdout)
    assert {each["sop_instance_uid"] for each in line["wanting"]} == withheld
    assert (line["study_date"], line["never_received"], line["fetch"]["wanted"]) == ("2026-01-02", len(withheld), 0)
    fetched = CliRunner().invoke(app, [*command, "--pacs", "archive", "--fetch"])
    assert fetched.exit_code == 0, fetched.output
    assert f"{len(withheld)} fetched" in fetched.stdout
    assert held_among(site.database, withheld) == withheld
    assert CliRunner().invoke(app, [*command, "--pacs", "away"]).exit_code == 1
    nobody = CliRunner().invoke(app, [*command, "--pacs", "nobody"])
    assert "archive, away" in str(nobody.exception)


def test_an_archive_without_a_title_is_not_spoken_to(site):
    """By DICOM: DICOMweb needs none."""
    from dicomnlp.errors import ConfigurationError

    beside = site(PacsSettings(name="archive", stow_url="https://archive.example.org/rs"))
    with pytest.raises(ConfigurationError, match="ae_title and host"):
        compare_day(beside.settings, beside.database, beside.settings.pacs[0], DAY)
