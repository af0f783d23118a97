"""What was written comes back: on whatever way, it is known, and not analysed."""

import io

import pytest
import sqlalchemy as sa
from pydicom import dcmread
from pydicom.sequence import Sequence
from support.dicom_files import to_file

from dicomnlp.export.write_back import write_report
from dicomnlp.model import State
from dicomnlp.pacs_settings import PacsSettings
from dicomnlp.store.queries import findings_of_study, reports_of_study
from dicomnlp.store.reprocess import Selection, start_run
from dicomnlp.store.schema import analysis
from dicomnlp.store.written_documents import due
from dicomnlp.work.writing_back import WritingBack

from .conftest import CHINESE, TEXT, both

STUDY = "1.2.826.0.1.3680043.10.1511.1.1"
ARCHIVE = PacsSettings(name="archive", ae_title="ARCHIVE", host="127.0.0.1")


def written(hospital, text=TEXT):
    """The document of a report, as an archive has it."""
    hospital.connect(ARCHIVE)
    object_id = hospital.report(1, text)
    write_report(hospital.settings, hospital.database, object_id, [ARCHIVE])
    [waiting] = due(hospital.database, ["archive"], 10)
    return dcmread(io.BytesIO(waiting.document.data))


def as_it_is(dataset):
    """Nothing changed."""


def other_uids(dataset):
    """An archive that gives objects UIDs of its own."""
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        setattr(dataset, keyword, f"1.2.840.99.{len(keyword)}")
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID


def other_header(dataset):
    """An archive that corrects headers: device and description are another's."""
    other_uids(dataset)
    dataset.Manufacturer = dataset.ManufacturerModelName = dataset.SeriesDescription = "ARCHIVE"
    dataset.PatientName = "DOE^JANE"


def other_order(dataset):
    """A system that writes the tree anew in an order of its own."""
    other_uids(dataset)
    turn(dataset)


def turn(item):
    """Every level from behind."""
    if "ContentSequence" in item:
        item.ContentSequence = Sequence(reversed(item.ContentSequence))
        for child in item.ContentSequence:
            turn(child)


def other_observer(dataset):
    """An anonymiser that takes the device out, and leaves the UID."""
    dataset.ContentSequence = Sequence(i for i in dataset.ContentSequence if i.RelationshipType != "HAS OBS CONTEXT")


@pytest.mark.parametrize("text", [TEXT, CHINESE])
@pytest.mark.parametrize("change", [as_it_is, other_uids, other_header, other_order, other_observer])
def test_an_own_document_that_comes_back_is_kept_and_not_analysed(hospital, change, text):
    """Its state says so, its study has the findings of the report and no others, and nothing is written of it."""
    document = written(hospital, text)
    before = [f.finding for f in findings_of_study(hospital.database, STUDY)]
    change(document)
    object_id = hospital.receive(to_file(document), "OTHERAE")
    assert [f.finding for f in findings_of_study(hospital.database, STUDY)] == before
    [own] = [r for r in reports_of_study(hospital.database, STUDY) if r.object_id == object_id]
    assert (own.state, own.report, own.analysis) == (State.OWN, None, None)
    assert write_report(hospital.settings, hospital.database, object_id, [ARCHIVE]) == {"sr": "nothing"}


@both
def test_two_services_beside_one_archive_do_not_answer_each_other(hospital, archive):
    """Each is sent what the other writes; what they send ends."""
    hospital.connect(archive.table())
    duty = WritingBack(hospital.settings, hospital.database)
    duty.run()
    hospital.report(1)
    for _ in range(4):
        while duty.run():
            pass
        for sent in list(archive.objects):
            other_uids(sent)
            sent.SOPInstanceUID = f"1.2.840.99.{len(archive.objects)}"
            sent.file_meta.MediaStorageSOPInstanceUID = sent.SOPInstanceUID
            hospital.receive(to_file(sent), "OTHERAE")
    assert len(archive.objects) == 1


@both
def test_processing_everything_again_changes_nothing_about_own_documents(hospital):
    """They stay what they are."""
    document = written(hospital)
    object_id = hospital.receive(to_file(document))
    start_run(hospital.database, Selection(everything=True))
    hospital.analyse()
    with hospital.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).where(analysis.c.object_id == object_id)) == 0
    [own] = [r for r in reports_of_study(hospital.database, STUDY) if r.object_id == object_id]
    assert own.state is State.OWN
