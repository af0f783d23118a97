"""The watched folder: when a file is taken, what becomes of it, and that nothing is lost however the process ends."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
import sqlalchemy as sa

from dicomnlp.errors import ConfigurationError, DatabaseError
from dicomnlp.receive import intake as intake_module
from dicomnlp.receive import watch
from dicomnlp.receive.intake import Intake
from dicomnlp.receive.watch import WatchedFolder
from dicomnlp.store.database import Database


class Watching:
    """A folder, what watches it, and a clock that tests set."""

    def __init__(self, folder, settings):
        self.folder = folder
        self.settings = settings
        self.database = Database.open(settings)
        self.intake = Intake(settings, self.database)
        self.watched = WatchedFolder(folder, 5.0, self.intake)

    def look(self):
        """One look; what is left in the folder after it, without the folder of the refused."""
        self.went_on = self.watched.look(threading.Event())
        return sorted(p.name for p in self.folder.rglob("*") if p.is_file() and p.parent.name != "refused")

    def ledger(self):
        """(outcome, reason_code, door) of each row."""
        with self.database.read() as connection:
            rows = connection.execute(sa.text("SELECT outcome, reason_code, door FROM ledger ORDER BY id"))
            return [tuple(row) for row in rows]

    def close(self):
        """Give everything back."""
        self.intake.close()
        self.database.close()


@pytest.fixture
def clock(monkeypatch):
    """The time that the watcher sees; `clock.now` is set."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(watch, "monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def watching(settings, tmp_path, clock):
    """An empty folder that is watched."""
    folder = tmp_path / "in"
    folder.mkdir()
    made = Watching(folder, settings())
    yield made
    made.close()


def put(watching, objects, name, **values):
    """Write a file into the folder as a slow program would: in place."""
    path = watching.folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    objects.file(path, objects.data_set(**values))
    return path


def test_file_is_taken_when_it_has_been_left_alone(watching, objects, clock):
    """Not before, and each change begins the wait anew; then it is in the database and no longer in the folder."""
    path = put(watching, objects, "a.dcm")
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    assert watching.look() == ["a.dcm"]
    clock.now += 4.9
    path.write_bytes(whole)
    assert watching.look() == ["a.dcm"]
    clock.now += 4.9
    assert watching.look() == ["a.dcm"]
    clock.now += 0.2
    assert watching.look() == []
    assert watching.ledger() == [("stored", None, "watched_folder")]


def test_file_that_is_moved_in_is_taken_at_once(watching, objects, tmp_path):
    """The way in which a program should do it; from a hidden name in the folder as well."""
    objects.file(tmp_path / "a.dcm")
    objects.file(watching.folder / ".b.dcm")
    assert watching.look() == [".b.dcm"]
    time.sleep(0.02)  # the time of a change has the grain of the kernel's clock
    (tmp_path / "a.dcm").rename(watching.folder / "a.dcm")
    (watching.folder / ".b.dcm").rename(watching.folder / "b.dcm")
    assert watching.look() == []
    assert [outcome for outcome, *_ in watching.ledger()] == ["stored", "stored"]


def test_files_of_subfolders_are_taken_and_what_is_no_file_stays(watching, objects, clock):
    """Links, pipes, empty files and hidden folders are left alone."""
    put(watching, objects, "sub/deeper/a.dcm")
    put(watching, objects, ".hidden/b.dcm")
    (watching.folder / "empty").write_bytes(b"")
    (watching.folder / "link").symlink_to(watching.folder / ".hidden" / "b.dcm")
    os.mkfifo(watching.folder / "pipe")
    watching.look()
    clock.now += 6
    assert watching.look() == ["b.dcm", "empty", "link"]
    assert len(watching.ledger()) == 1


def test_refused_file_is_moved_aside_with_its_reason(watching, objects, clock):
    """Two of a name as well; an object in quarantine is held, and its file shown."""
    (watching.folder / "sub").mkdir()
    for path in (watching.folder / "notes.txt", watching.folder / "sub" / "notes.txt"):
        path.write_text("Nothing but words, and more of them than a header has bytes.")
    put(watching, objects, "no_study.dcm", StudyInstanceUID=None)
    watching.look()
    clock.now += 6
    assert watching.look() == []
    refused = watching.folder / "refused"
    assert sorted(p.name for p in refused.iterdir()) == [
        "no_study.dcm",
        "no_study.dcm.reason.json",
        "notes.txt",
        "notes.txt.2",
        "notes.txt.2.reason.json",
        "notes.txt.reason.json",
    ]
    told = json.loads((refused / "notes.txt.2.reason.json").read_text())
    assert (told["status"], told["reason_code"]) == ("C000", "not_dicom")
    assert [outcome for outcome, *_ in watching.ledger()] == ["quarantined", "refused", "refused"]
    assert watching.look() == []
    assert len(watching.ledger()) == 3


def test_image_is_indexed(watching, objects, clock):
    """As from a sender whose images are."""
    put(watching, objects, "a.dcm", SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    watching.look()
    clock.now += 6
    assert watching.look() == []
    assert watching.ledger() == [("indexed", None, "watched_folder")]


def test_files_wait_while_the_store_takes_nothing(watching, objects, clock, monkeypatch):
    """No file is moved or deleted; as soon as it does, each is taken once."""
    for name in ("a.dcm", "b.dcm"):
        put(watching, objects, name)
    watching.look()
    clock.now += 6

    def fail(*_):
        raise DatabaseError("locked", reason_code="database_locked")

    with monkeypatch.context() as patch:
        patch.setattr(intake_module, "record_arrivals", fail)
        assert watching.look() == ["a.dcm", "b.dcm"]
        assert not watching.went_on
    assert not list((watching.folder / "refused").iterdir())
    watching.look()
    clock.now += 6
    assert watching.look() == []
    assert [outcome for outcome, *_ in watching.ledger()].count("stored") == 2


def test_file_that_is_too_large_for_ever_is_moved_aside(settings, objects, tmp_path, clock):
    """A700 too, but no other try would end otherwise."""
    folder = tmp_path / "in"
    folder.mkdir()
    watching = Watching(folder, settings(maximum_object_bytes=1024))
    put(watching, objects, "a.dcm", PatientComments="x" * 2000)
    watching.look()
    clock.now += 6
    assert watching.look() == []
    watching.close()
    assert json.loads((folder / "refused/a.dcm.reason.json").read_text())["reason_code"] == "object_too_large"


def test_file_that_is_written_to_while_it_is_taken_is_not_deleted(watching, objects, clock, monkeypatch):
    """What came in between would be lost."""
    path = put(watching, objects, "a.dcm")
    watching.look()
    clock.now += 6
    taken = watch.take_file

    def take_and_write(*arguments):
        receipt = taken(*arguments)
        objects.file(path, objects.data_set(SOPInstanceUID="1.2.3"))
        return receipt

    with monkeypatch.context() as patch:
        patch.setattr(watch, "take_file", take_and_write)
        assert watching.look() == ["a.dcm"]
    watching.look()
    clock.now += 6
    assert watching.look() == []
    assert [outcome for outcome, *_ in watching.ledger()] == ["stored", "stored"]


def test_folder_that_cannot_be_used_is_a_configuration_error(watching, tmp_path):
    """Said at the start."""
    with pytest.raises(ConfigurationError, match=r"watch\.folder"):
        WatchedFolder(tmp_path / "nowhere", 5.0, watching.intake)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigurationError, match=r"watch\.folder"):
        WatchedFolder(tmp_path / "file", 5.0, watching.intake)


def test_kill_at_any_moment_loses_nothing_and_takes_nothing_twice(tmp_path, objects):
    """Six times by SIGKILL while sixty files come in; at the end each is held once, and the folder is empty."""
    (tmp_path / "in").mkdir()
    (tmp_path / "config.toml").write_text('[watch]\nfolder = "in"\nstable_seconds = 0.05\n')
    command = [sys.executable, "-m", "dicomnlp", "--config", str(tmp_path / "config.toml")]
    subprocess.run([*command, "db", "upgrade"], check=True, capture_output=True)
    made = [objects.data_set() for _ in range(60)]
    chance = random.Random(3)
    waiting = list(made)

    def start():
        process = subprocess.Popen([*command, "watch"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout.readline().startswith(b"ready watch")
        return process

    for _ in range(6):
        process = start()
        for data_set in waiting[:10]:
            objects.file(tmp_path / "hidden", data_set)
            (tmp_path / "hidden").rename(tmp_path / "in" / f"{data_set.SOPInstanceUID}.dcm")
        del waiting[:10]
        time.sleep(chance.random() * 0.15)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    process = start()
    deadline = time.monotonic() + 30
    while any((tmp_path / "in").glob("*.dcm")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    assert process.wait(20) == 0
    process.stdout.close()
    assert [p.name for p in (tmp_path / "in").rglob("*")] == ["refused"]
    engine = sa.create_engine(f"sqlite:///{tmp_path}/var/dicomnlp.db")
    with engine.connect() as connection, contextlib.closing(connection.connection):
        held = connection.execute(sa.text("SELECT sop_instance_uid, version FROM sop_instance")).all()
        outcomes = set(connection.scalars(sa.text("SELECT outcome FROM ledger")))
    engine.dispose()
    assert sorted(held) == sorted((d.SOPInstanceUID, 1) for d in made)
    assert outcomes <= {"stored", "duplicate"}
