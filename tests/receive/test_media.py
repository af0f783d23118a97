"""DICOMDIRs and ZIP archives: what their records and entries name, and what hostile ones try."""

import io
import struct
import warnings
import zipfile
from types import SimpleNamespace

import pydicom
import pytest
import sqlalchemy as sa
from pydicom.fileset import FileSet

from dicomnlp.errors import UsageError
from dicomnlp.receive import archives
from dicomnlp.receive.importer import import_paths
from dicomnlp.receive.intake import Intake
from dicomnlp.store.database import Database

CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.fixture
def take(settings):
    """Imports one path: [(name, outcome, reason_code)]; the ledger has the same."""

    def import_one(path, **listener):
        chosen = settings(**listener)
        database = Database.open(chosen)
        intake = Intake(chosen, database)
        seen = []
        try:
            import_paths(intake, [path], on_receipt=lambda p, r: seen.append((p.name, r.outcome.value, r.reason_code)))
            with database.read() as connection:
                ledger = connection.execute(sa.text("SELECT outcome, reason_code FROM ledger ORDER BY id"))
                assert [tuple(row) for row in ledger] == [(outcome, reason_code) for _, outcome, reason_code in seen]
        finally:
            intake.close()
            database.close()
        return seen

    return import_one


@pytest.fixture
def disc(objects, tmp_path, tmp_path_factory, monkeypatch):
    """A file-set with two reports and an image, and beside them what a disc has too."""
    # pydicom leaves its own temporary folders to the garbage collector, which warns
    monkeypatch.setattr(
        "pydicom.fileset.TemporaryDirectory",
        lambda: SimpleNamespace(name=str(tmp_path_factory.mktemp("stage")), cleanup=int),
    )
    source = tmp_path / "source"
    source.mkdir()
    file_set = FileSet()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(3):
            values = {"SOPClassUID": CT, "Modality": "CT"} if number == 2 else {}
            data_set = objects.data_set(
                StudyDate="20261122",
                StudyTime="060000",
                StudyID="1",
                AccessionNumber="A1",
                PatientName="Test",
                SeriesNumber="1",
                InstanceNumber=str(number),
                ContentDate="20261122",
                ContentTime="060000",
                CompletionFlag="COMPLETE",
                VerificationFlag="UNVERIFIED",
                ConceptNameCodeSequence=[code()],
                **values,
            )
            objects.file(source / f"{number}.dcm", data_set)
            file_set.add(source / f"{number}.dcm")
        file_set.write(tmp_path / "disc")
    (tmp_path / "disc" / "VIEWER.EXE").write_bytes(b"MZ" * 500)
    return tmp_path / "disc"


def code():
    """A coded title."""
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "18748-4", "LN", "Diagnostic imaging report"
    return item


def edit(directory, change):
    """Write a DICOMDIR anew, with its records as `change` leaves them."""
    data_set = pydicom.dcmread(directory)
    change(data_set.DirectoryRecordSequence)
    data_set.save_as(directory)


@pytest.mark.parametrize("named", [".", "DICOMDIR"])
def test_files_of_a_file_set_are_taken_and_nothing_else_of_its_folder(take, disc, named):
    """By its folder or by its DICOMDIR; neither that nor the viewer leaves a ledger row."""
    seen = take(disc / named)
    assert sorted(outcome for _, outcome, _ in seen) == ["indexed", "stored", "stored"]


def test_file_set_below_a_folder_is_followed_too(take, disc, objects):
    """A folder of discs, with a loose file beside them."""
    folder = disc.parent / "all"
    folder.mkdir()
    disc.rename(folder / "disc")
    (disc.parent / "source").rename(folder / "source")
    objects.file(folder / "loose.dcm")
    seen = take(folder)
    assert len(seen) == 1 + 3 + 3  # the source's three files, which are the disc's
    assert sum(outcome == "duplicate" for _, outcome, _ in seen) == 3


def test_names_are_found_in_whatever_case_a_disc_is_shown(take, disc):
    """Linux shows many a disc in lower case, with version numbers."""
    for path in sorted(disc.rglob("*"), key=lambda p: -len(p.parts)):
        suffix = ";1" if path.is_file() else ""
        path.rename(path.with_name(path.name.lower() + suffix))
    seen = take(disc)
    assert sorted(outcome for _, outcome, _ in seen) == ["indexed", "stored", "stored"]


def test_missing_file_leaves_a_row_with_the_uid_of_its_record(take, disc):
    """So that it is known what is missing."""
    next(p for p in sorted(disc.rglob("*")) if p.is_file() and p.parent != disc).unlink()
    seen = take(disc)
    assert [reason_code for _, outcome, reason_code in seen if outcome == "refused"] == ["file_missing"]


def test_file_of_another_object_than_its_record_says_is_refused(take, disc):
    """Files that were swapped."""

    def change(records):
        record = next(r for r in records if "ReferencedFileID" in r)
        record.ReferencedSOPInstanceUIDInFile = "1.2.3.4.5"

    edit(disc / "DICOMDIR", change)
    assert [r for _, _, r in take(disc) if r] == ["identity_mismatch"]


def test_inactive_records_are_passed_over(take, disc):
    """Deleted from the file-set, with the file still there."""

    def change(records):
        next(r for r in records if "ReferencedFileID" in r).RecordInUseFlag = 0

    edit(disc / "DICOMDIR", change)
    assert len(take(disc)) == 2


@pytest.mark.parametrize("file_id", [["..", "OUTSIDE"], ["/etc", "passwd"], ["LINK"], ["A", "..", "..", "OUTSIDE"]])
def test_records_cannot_name_files_outside_of_the_file_set(take, disc, objects, file_id):
    """Neither by their words nor by a link."""
    objects.file(disc.parent / "OUTSIDE")
    (disc / "LINK").symlink_to(disc.parent / "OUTSIDE")

    def change(records):
        next(r for r in records if "ReferencedFileID" in r).ReferencedFileID = file_id

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        edit(disc / "DICOMDIR", change)
    assert [r for _, _, r in take(disc) if r] == ["file_outside"]


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda data: data[:200], lambda _: b"nothing"])
def test_damaged_directory_is_said_to_be_one_before_anything_is_imported(take, disc, damage):
    """Its folder isn't taken for one of loose files."""
    (disc / "DICOMDIR").write_bytes(damage((disc / "DICOMDIR").read_bytes()))
    with pytest.raises(UsageError, match="DICOMDIR"):
        take(disc)


# --- archives


@pytest.fixture
def pack(objects, tmp_path):
    """Makes an archive of (name, bytes) pairs and of one report, "report.dcm"."""

    def make(*entries, compression=zipfile.ZIP_DEFLATED):
        objects.file(tmp_path / "report.dcm")
        path = tmp_path / "in.zip"
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, data in entries:
                archive.writestr(name, data)
            archive.write(tmp_path / "report.dcm", "report.dcm")
        return path

    return make


def test_entries_of_an_archive_are_taken_as_files_of_a_folder_are(take, pack, objects, disc):
    """Images, noise; folders, hidden files, what macOS adds and the DICOMDIR are passed over."""
    image = (disc.parent / "source" / "2.dcm").read_bytes()
    entries = [
        ("folder/", b""),
        ("folder/image.dcm", image),
        (".hidden", b"noise"),
        ("__MACOSX/._report.dcm", b"noise"),
        ("DICOMDIR", (disc / "DICOMDIR").read_bytes()),
        ("notes.txt", b"nothing of DICOM" * 20),
    ]
    assert take(pack(*entries)) == [
        ("image.dcm", "indexed", None),
        ("notes.txt", "refused", "not_dicom"),
        ("report.dcm", "stored", None),
    ]


def test_archive_is_known_by_its_bytes_and_not_by_its_name(take, pack):
    """And an object named .zip is an object."""
    path = pack()
    path.rename(path.with_name("export"))
    assert take(path.with_name("export")) == [("report.dcm", "stored", None)]
    (path.parent / "report.dcm").rename(path)
    assert take(path) == [("in.zip", "stored", None)]


def test_nothing_of_an_archive_is_written_wherever_its_names_point(take, pack, tmp_path):
    """The entry is taken; its name is no path."""
    before = sorted(tmp_path.parent.rglob("evil*"))
    entries = [("../../evil.txt", b"noise, more than eight"), ("/tmp/evil.txt", b"noise, more than eight")]
    seen = take(pack(*entries))
    assert [reason_code for _, _, reason_code in seen] == ["not_dicom", "not_dicom", None]
    assert sorted(tmp_path.parent.rglob("evil*")) == before


def test_bomb_is_refused_by_its_ratio_and_the_rest_of_the_archive_is_taken(take, pack):
    """50 MB of zeros in 50 kB."""
    assert take(pack(("bomb", bytes(50_000_000)))) == [
        ("bomb", "refused", "entry_bomb"),
        ("report.dcm", "stored", None),
    ]


def test_entry_that_lies_about_its_size_is_not_read_beyond_it(take, pack):
    """Declared as 1000 bytes in both headers, 50 MB in truth: damaged."""
    path = pack(("bomb", bytes(50_000_000)))
    data = path.read_bytes().replace(struct.pack("<I", 50_000_000), struct.pack("<I", 1000))
    path.write_bytes(data)
    assert take(path)[0] == ("bomb", "refused", "entry_unreadable")


def test_archive_within_an_archive_is_not_followed(take, pack):
    """Bombs are built so."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("x", b"noise")
    assert take(pack(("inner.zip", inner.getvalue())))[0] == ("inner.zip", "refused", "nested_archive")


def test_encrypted_entry_is_refused_as_such(take, pack):
    """By its flag, in both places where that stands."""
    path = pack(("secret", b"noise, more than eight"), compression=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert take(path) == [("secret", "refused", "entry_encrypted"), ("report.dcm", "stored", None)]


def test_link_in_an_archive_is_not_followed(take, tmp_path):
    """Its target's name would be all that it holds."""
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    assert take(tmp_path / "in.zip") == [("link", "refused", "entry_unreadable")]


@pytest.mark.parametrize("packed", ["bzip2", "lzma"])
def test_rare_packings_are_refused(take, pack, packed):
    """They can ask for any memory."""
    method = {"bzip2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}[packed]
    assert take(pack(compression=method)) == [("report.dcm", "refused", "entry_unreadable")]


@pytest.mark.parametrize(
    ("limit", "value"), [("MAXIMUM_ENTRIES", 1), ("MAXIMUM_TOTAL_BYTES", 100), ("MAXIMUM_DIRECTORY_BYTES", 50)]
)
def test_archive_above_a_limit_is_not_gone_into(take, pack, monkeypatch, limit, value):
    """By entries, by their size together, by the size of their list."""
    monkeypatch.setattr(archives, limit, value)
    assert take(pack(("a", b"x" * 200))) == [("in.zip", "refused", "archive_too_large")]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-10],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-12] + b"\xff" * 12,
        lambda data: data.replace(b"PK\x01\x02", b"PK\x09\x09"),
    ],
)
def test_damaged_archive_is_refused_as_a_whole(take, pack, damage):
    """Cut, or with a list of entries that is none."""
    path = pack()
    path.write_bytes(damage(path.read_bytes()))
    assert take(path) == [("in.zip", "refused", "archive_damaged")]


def test_damaged_entry_is_refused_and_others_are_taken(take, pack):
    """A flipped bit is seen by the check sum."""
    path = pack(("bad.dcm", b"noise that is long enough to be damaged somewhere" * 9), compression=zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"somewhere", b"sOmewhere", 1))
    assert take(path) == [("bad.dcm", "refused", "entry_unreadable"), ("report.dcm", "stored", None)]
