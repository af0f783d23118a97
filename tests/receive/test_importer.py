"""Files and folders through the same intake as the network."""

import hashlib
import os
import struct
import tracemalloc
import zipfile

import pytest
import sqlalchemy as sa

from dicomnlp.errors import UsageError
from dicomnlp.receive.importer import import_paths
from dicomnlp.receive.intake import Intake
from dicomnlp.store.database import Database
from dicomnlp.store.quarantine import assign_study, read_quarantine

DEFLATED = "1.2.840.10008.1.2.1.99"


@pytest.fixture
def take(settings):
    """Imports paths: ([(name, outcome, status, reason_code)], the summary, the ledger's rows)."""

    def import_into_fresh_database(*paths, **listener):
        chosen = settings(**listener)
        database = Database.open(chosen)
        intake = Intake(chosen, database)
        seen = []

        def on_receipt(path, receipt):
            seen.append((path.name, receipt.outcome.value, receipt.status, receipt.reason_code))

        try:
            summary = import_paths(intake, paths, on_receipt=on_receipt)
            with database.read() as connection:
                rows = connection.execute(sa.text("SELECT outcome, status, reason_code, door FROM ledger ORDER BY id"))
                ledger = [tuple(row) for row in rows]
        finally:
            intake.close()
            database.close()
        return seen, summary, ledger

    return import_into_fresh_database


def test_each_file_of_a_folder_leaves_a_receipt_and_a_ledger_row(take, objects, tmp_path):
    """DICOM and not, down the tree, in the order of names."""
    folder = tmp_path / "export"
    (folder / "sub").mkdir(parents=True)
    first = objects.file(folder / "a.dcm")
    objects.file(folder / "b_again", first)
    (folder / "c_no_meta.dcm").write_bytes(objects.encode(objects.data_set(), "1.2.840.10008.1.2"))
    (folder / "d_notes.txt").write_text("Nothing but words, and more of them than a header has bytes." * 9)
    (folder / "e_empty.dcm").write_bytes(b"")
    objects.file(folder / "f_image.dcm", objects.data_set(SOPClassUID="1.2.840.10008.5.1.4.1.1.2"))
    objects.file(folder / "f_plan.dcm", objects.data_set(SOPClassUID="1.2.840.10008.5.1.4.1.1.481.5"))
    objects.file(folder / "g_no_study.dcm", objects.data_set(StudyInstanceUID=None))
    objects.file(folder / "sub" / "deflated.dcm", transfer_syntax_uid=DEFLATED)
    whole = (folder / "a.dcm").read_bytes()
    (folder / "h_cut.dcm").write_bytes(whole[:-5])
    seen, summary, ledger = take(folder)
    assert seen == [
        ("a.dcm", "stored", 0, None),
        ("b_again", "duplicate", 0, None),
        ("c_no_meta.dcm", "stored", 0, None),
        ("d_notes.txt", "refused", 0xC000, "not_dicom"),
        ("e_empty.dcm", "refused", 0xC000, "empty"),
        ("f_image.dcm", "indexed", 0, None),
        ("f_plan.dcm", "refused", 0x0122, "sop_class_not_supported"),
        ("g_no_study.dcm", "quarantined", 0xC000, "no_study_instance_uid"),
        ("h_cut.dcm", "refused", 0xC000, seen[8][3]),
        ("deflated.dcm", "stored", 0, None),
    ]
    assert ledger == [(outcome, status, reason_code, "import") for _, outcome, status, reason_code in seen]
    assert summary.total == 10
    assert summary.outcomes["stored"] == 3
    assert summary.reason_codes["not_dicom"] == 1


def test_file_whose_meta_information_names_another_object_is_refused(take, objects, tmp_path):
    """The same A900 as on the network."""
    data_set = objects.file(tmp_path / "a.dcm")
    content = (tmp_path / "a.dcm").read_bytes()
    uid = data_set.SOPInstanceUID.encode()
    position = content.index(uid)
    (tmp_path / "a.dcm").write_bytes(content[:position] + uid[:-1] + b"7" + content[position + len(uid) :])
    seen, _, _ = take(tmp_path / "a.dcm")
    assert seen == [("a.dcm", "refused", 0xA900, "identity_mismatch")]


def test_file_above_the_size_limit_is_not_read_to_its_end(take, objects, tmp_path):
    """A700 for a report of a terabyte; what isn't DICOM at all is known by its beginning."""
    folder = tmp_path / "in"
    folder.mkdir()
    objects.file(folder / "a_huge.dcm")
    (folder / "b_noise").write_bytes(b"")
    for name in ("a_huge.dcm", "b_noise"):
        os.truncate(folder / name, 1 << 40)
    seen, _, _ = take(folder, maximum_object_bytes=300_000)
    assert seen == [
        ("a_huge.dcm", "refused", 0xA700, "object_too_large"),
        ("b_noise", "refused", 0xC000, "not_dicom"),
    ]


def test_image_of_any_size_is_indexed_without_being_held(take, objects, tmp_path):
    """Sixty megabytes of pixel data against a limit of 64 kB."""
    objects.file(tmp_path / "a.dcm", objects.data_set(SOPClassUID="1.2.840.10008.5.1.4.1.1.2"))
    with (tmp_path / "a.dcm").open("ab") as file:
        file.write(struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 60_000_000))
    os.truncate(tmp_path / "a.dcm", (tmp_path / "a.dcm").stat().st_size + 60_000_000)
    tracemalloc.start()
    seen, _, _ = take(tmp_path / "a.dcm", maximum_object_bytes=65536)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen == [("a.dcm", "indexed", 0, None)]
    assert peak < 10_000_000


def test_hidden_files_and_folders_leave_no_trace(take, objects, tmp_path):
    """What a desktop leaves behind is nobody's report; a hidden file that is named itself is taken."""
    folder = tmp_path / "in"
    (folder / ".cache").mkdir(parents=True)
    objects.file(folder / ".cache" / "a.dcm")
    (folder / ".DS_Store").write_bytes(b"noise of a desktop")
    objects.file(folder / ".hidden.dcm")
    objects.file(folder / "b.dcm")
    seen, _, ledger = take(folder)
    assert [name for name, *_ in seen] == ["b.dcm"]
    assert len(ledger) == 1
    seen, _, _ = take(folder / ".hidden.dcm")
    assert [name for name, *_ in seen] == [".hidden.dcm"]


def test_number_of_files_is_told_before_the_first(settings, objects, tmp_path):
    """For a progress bar, whatever they are in."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.dcm", "b.dcm"):
        objects.file(folder / name)
    with zipfile.ZipFile(folder / "c.zip", "w") as archive:
        archive.write(folder / "a.dcm", "x.dcm")
        archive.write(folder / "b.dcm", "y.dcm")
    chosen = settings()
    database = Database.open(chosen)
    intake = Intake(chosen, database)
    told = []
    import_paths(intake, [folder], on_receipt=lambda path, _: told.append(path.name), on_total=told.append)
    intake.close()
    database.close()
    assert told == [4, "a.dcm", "b.dcm", "x.dcm", "y.dcm"]


def test_pipes_and_dangling_links_do_not_hold_up_an_import(take, objects, tmp_path):
    """What isn't a file is said to be none."""
    folder = tmp_path / "in"
    folder.mkdir()
    os.mkfifo(folder / "a_pipe")
    (folder / "b_dangling").symlink_to(tmp_path / "nowhere")
    (folder / "c_loop").symlink_to(folder)
    objects.file(folder / "d.dcm")
    seen, _, _ = take(folder)
    assert [(name, reason_code) for name, _, _, reason_code in seen] == [
        ("a_pipe", "not_a_file"),
        ("b_dangling", "file_unreadable"),
        ("d.dcm", None),
    ]


def test_missing_path_is_a_usage_error_and_nothing_is_imported(take, objects, tmp_path):
    """A misspelt argument must not look like an empty folder; the message doesn't repeat the name."""
    objects.file(tmp_path / "a.dcm")
    with pytest.raises(UsageError, match="path 2 of 2") as caught:
        take(tmp_path / "a.dcm", tmp_path / "no_such_name")
    assert "no_such_name" not in str(caught.value)


def test_file_without_any_instance_uid_is_kept_apart_under_one_made_of_its_bytes(settings, objects, tmp_path):
    """The same each time, so that a second import of it is no second object; it can be assigned."""
    data = objects.encode(objects.data_set(SOPInstanceUID=None), "1.2.840.10008.1.2")
    (tmp_path / "bare").write_bytes(data)
    (tmp_path / "again").write_bytes(data)
    uid = f"2.25.{int.from_bytes(hashlib.sha256(data).digest()[:16], 'big')}"
    chosen = settings()
    database = Database.open(chosen)
    intake = Intake(chosen, database)
    receipts = []
    try:
        import_paths(intake, [tmp_path / "bare", tmp_path / "again"], on_receipt=lambda _, r: receipts.append(r))
        held = read_quarantine(database, 10)
        assign_study(database, uid, "1.2.3")
        assert read_quarantine(database, 10) == []
    finally:
        intake.close()
        database.close()
    assert [(r.outcome.value, r.status, r.reason_code, r.sop_instance_uid) for r in receipts] == [
        ("quarantined", 0xC000, "no_sop_instance_uid", uid)
    ] * 2
    assert [(row.sop_instance_uid, row.reason_code) for row in held] == [(uid, "no_sop_instance_uid")]
