"""Storage commitment that a real archive asks for: told over an association of this service's own."""

import time

import pytest
from support.archives import reports, run_orthanc
from support.service import free_port

from dicomnlp.store.commitment import next_unreported
from dicomnlp.work.committing import CommitmentReporter, commitment_reporters


@pytest.fixture
def beside(tmp_path, site, listener_port):
    """Orthanc with three reports, and a site that holds two of them and knows where Orthanc listens."""
    with run_orthanc(tmp_path / "orthanc", destination=listener_port) as archive:
        every = reports(3)
        archive.put(every)
        beside = site(archive.table()).listen()
        beside.take(every[:2])
        yield archive, beside, every


def ask(archive, datasets):
    """Have Orthanc ask for these; where its answer will be."""
    references = ",".join(f'["{d.SOPClassUID}", "{d.SOPInstanceUID}"]' for d in datasets)
    body = f'{{"DicomInstances": [{references}], "Timeout": 20}}'.encode()
    return archive.ask("/modalities/dicomnlp/storage-commitment", body)["Path"]


def answered(archive, path):
    """What Orthanc was told, once it was."""
    deadline = time.monotonic() + 30
    while (report := archive.ask(path))["Status"] == "Pending":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return report


def rows(site):
    """(reported, attempts, further attempt, reason) of each transaction."""
    with site.database.read() as connection:
        text = (
            "SELECT reported_at IS NOT NULL, attempts, next_attempt_at IS NOT NULL, reason_code FROM storage_commitment"
        )
        return [tuple(row) for row in connection.exec_driver_sql(text)]


def test_orthanc_is_told_what_is_kept(beside):
    """All of it: its report is a success."""
    archive, site, every = beside
    path = ask(archive, every[:2])
    assert rows(site) == [(0, 0, 1, None)]
    [duty] = commitment_reporters(site.settings, site.database)
    assert [duty.run(), duty.run()] == [True, False]
    report = answered(archive, path)
    assert report["Status"] == "Success"
    assert {each["SOPInstanceUID"] for each in report["Success"]} == {str(d.SOPInstanceUID) for d in every[:2]}
    assert rows(site) == [(1, 1, 0, None)]


def test_orthanc_is_told_what_is_not_kept(beside):
    """One that never came, with its reason."""
    archive, site, every = beside
    path = ask(archive, every)
    assert CommitmentReporter(site.settings, site.database).run()
    report = answered(archive, path)
    assert report["Status"] == "Failure"
    [failed] = report["Failures"]
    assert (failed["SOPInstanceUID"], failed["FailureReason"]) == (str(every[2].SOPInstanceUID), 0x0112)
    assert len(report["Success"]) == 2


def test_a_requestor_that_is_away_is_told_later(beside):
    """The pause is its own: another one is told meanwhile."""
    archive, site, every = beside
    ask(archive, every[:1])
    [pacs] = site.settings.pacs
    gone = site.settings.model_copy(update={"pacs": [pacs.model_copy(update={"port": free_port()})]})
    duty = CommitmentReporter(gone, site.database)
    assert [duty.run(), duty.run()] == [True, False]
    assert rows(site) == [(0, 1, 1, "pacs_unreachable")]
    assert next_unreported(site.database) is None
