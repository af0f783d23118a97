"""The trail: what is added stays, and whatever is done to its rows is found."""

import contextlib
import os
import subprocess
import sys
import threading
import time

import pytest
import sqlalchemy as sa

from dicomnlp.audit.anchor import Anchor, Place
from dicomnlp.audit.events import Kind, Outcome, recorded
from dicomnlp.audit.reading import TrailFilters, read_trail, rows_after, verify
from dicomnlp.audit.trail import GENESIS, Recorder, record
from dicomnlp.errors import DatabaseError
from dicomnlp.store.database import Database
from dicomnlp.store.schema_access import audit_event, audit_head

STUDY = "1.2.826.0.1.3680043.10.543.1"


def tamper(database, *statements):
    """Change rows as somebody does who owns the database: the triggers that refuse it are put away first."""
    with database.write() as connection:
        if database.is_sqlite:
            for change in ("update", "delete"):
                connection.execute(sa.text(f"DROP TRIGGER IF EXISTS audit_event_no_{change}"))
        else:
            connection.execute(sa.text("DROP TRIGGER IF EXISTS audit_event_append_only ON audit_event"))
        for statement in statements:
            connection.execute(statement if isinstance(statement, sa.sql.ClauseElement) else sa.text(statement))


def test_rows_are_numbered_from_one_and_chained(database, make_event):
    """Each row has the hash of the one before it; the first that of nothing; verification reads them all."""
    record(database, make_event("one"), make_event("two"))
    record(database, make_event("three", study_instance_uid=STUDY, query={"concept": "nodule"}, count=3))
    with database.read() as connection:
        rows = connection.execute(sa.select(audit_event).order_by(audit_event.c.id)).mappings().all()
    assert [row["id"] for row in rows] == [1, 2, 3]
    assert [row["previous_hash"] for row in rows] == [GENESIS, rows[0]["hash"], rows[1]["hash"]]
    found = verify(database)
    assert (found.rows, found.breaks, found.head) == (3, (), Place(3, rows[2]["hash"]))
    assert Anchor.of(database).read() == found.head


def test_empty_trail_is_whole(database):
    """Before anything was done there is nothing to be missed."""
    assert verify(database).breaks == ()


def test_rows_are_read_by_what_they_say(database, make_event):
    """Filters fit together; the newest rows, the oldest of them first."""
    record(
        database,
        make_event("a"),
        make_event("b", kind=Kind.VIEW, study_instance_uid=STUDY),
        make_event("b", outcome=Outcome.REFUSED),
        make_event("c", address="10.0.0.7"),
    )
    for filters, expected in (
        (TrailFilters(), [1, 2, 3, 4]),
        (TrailFilters(principal="b"), [2, 3]),
        (TrailFilters(kind=Kind.VIEW), [2]),
        (TrailFilters(principal="b", outcome=Outcome.REFUSED), [3]),
        (TrailFilters(address="10.0.0.7"), [4]),
        (TrailFilters(study_instance_uid=STUDY), [2]),
    ):
        assert [row.id for row in read_trail(database, filters, 100)] == expected
    assert [row.id for row in read_trail(database, TrailFilters(), 2)] == [3, 4]
    assert [row.id for row in rows_after(database, 1, 2)] == [2, 3]


EDITS = [
    ("principal", "UPDATE audit_event SET principal = 'nobody' WHERE id = 4"),
    ("outcome", "UPDATE audit_event SET outcome = 'success' WHERE id = 4"),
    ("study", "UPDATE audit_event SET study_instance_uid = '1.2.3' WHERE id = 4"),
    ("query", 'UPDATE audit_event SET query = \'{"concept":"other"}\' WHERE id = 4'),
    ("count", "UPDATE audit_event SET count = 0 WHERE id = 4"),
    ("emptied", "UPDATE audit_event SET address = '' WHERE id = 4"),
]


@pytest.mark.parametrize("statement", [s for _, s in EDITS], ids=[name for name, _ in EDITS])
def test_an_edited_row_is_found(database, make_event, statement):
    """Every column that says something is under the hash, and the break is told by the row's number."""
    event = make_event("viewer", outcome=Outcome.REFUSED, study_instance_uid=STUDY, query={"concept": "x"}, count=7)
    record(database, *[event] * 6)
    tamper(database, statement)
    assert verify(database).breaks == ("row 4 was changed: its hash is not that of what it says",)


def test_an_edited_time_is_found(database, make_event):
    """When something was done is under the hash to the microsecond."""
    record(database, *[make_event()] * 3)
    with database.read() as connection:
        at = connection.scalar(sa.select(audit_event.c.at).where(audit_event.c.id == 2))
    later = at.replace(microsecond=(at.microsecond + 1) % 1_000_000)
    tamper(database, sa.update(audit_event).where(audit_event.c.id == 2).values(at=later))
    assert verify(database).breaks[0].startswith("row 2 was changed")


def test_an_edit_with_its_own_hash_made_right_is_found_at_the_next_row(database, make_event):
    """Whoever makes one hash right again has to make all that follow right."""
    record(database, *[make_event()] * 4)
    with database.read() as connection:
        row = dict(connection.execute(sa.select(audit_event).where(audit_event.c.id == 2)).mappings().one())
    from dicomnlp.audit.trail import hash_of

    forged = hash_of({**row, "principal": "nobody"}, row["previous_hash"])
    tamper(database, sa.update(audit_event).where(audit_event.c.id == 2).values(principal="nobody", hash=forged))
    assert verify(database).breaks == ("row 3 doesn't follow row 2: one of them was put there, or changed",)


def test_a_removed_row_is_found(database, make_event):
    """Numbers have no gaps."""
    record(database, *[make_event()] * 5)
    tamper(database, "DELETE FROM audit_event WHERE id = 3")
    assert verify(database).breaks == ("row 3 is missing: row 4 comes after row 2",)


def test_a_first_row_removed_is_found(database, make_event):
    """The trail begins with row 1."""
    record(database, *[make_event()] * 3)
    tamper(database, "DELETE FROM audit_event WHERE id = 1")
    assert verify(database).breaks == ("row 1 is missing: row 2 comes after row 0",)


def test_reordered_rows_are_found(database, make_event):
    """Two rows that change places keep their hashes, but not their numbers and neighbours."""
    record(database, *[make_event(f"user {n}") for n in range(5)])
    tamper(
        database,
        "UPDATE audit_event SET id = 99 WHERE id = 2",
        "UPDATE audit_event SET id = 2 WHERE id = 3",
        "UPDATE audit_event SET id = 3 WHERE id = 99",
    )
    assert verify(database).breaks[0].startswith("row 2 ")


def test_a_row_put_in_between_is_found(database, make_event):
    """Behind the end, too: the head doesn't know of it."""
    record(database, *[make_event()] * 3)
    tamper(
        database,
        "INSERT INTO audit_event SELECT 4, at, kind, action, principal, role, address, outcome, study_instance_uid,"
        " query, count, hash, hash FROM audit_event WHERE id = 3",
    )
    assert verify(database).breaks[0].startswith("row 4 was changed")


def test_a_trail_cut_off_is_found_by_its_head(database, make_event):
    """The head in the database says how far it went."""
    record(database, *[make_event()] * 5)
    tamper(database, "DELETE FROM audit_event WHERE id > 3")
    assert "rows 4 to 5 are missing at the end: the head kept in the database knows of them" in verify(database).breaks


def test_a_trail_cut_off_with_its_head_is_found_by_the_anchor(database, make_event):
    """Whoever owns the database can make its head agree; the file of this host still says how far it went."""
    record(database, *[make_event()] * 5)
    with database.read() as connection:
        third = connection.scalar(sa.select(audit_event.c.hash).where(audit_event.c.id == 3))
    tamper(
        database,
        "DELETE FROM audit_event WHERE id > 3",
        sa.update(audit_head).values(event_id=3, hash=third),
    )
    assert verify(database).breaks == ("rows 4 to 5 are missing at the end: the anchor file knows of them",)


def test_a_trail_that_grows_again_after_it_was_cut_off_is_still_found(database, make_event):
    """The anchor doesn't follow a trail that lacks the row it names, however long that becomes."""
    record(database, *[make_event()] * 5)
    noted = Anchor.of(database).read()
    with database.read() as connection:
        third = connection.scalar(sa.select(audit_event.c.hash).where(audit_event.c.id == 3))
    tamper(
        database,
        "DELETE FROM audit_event WHERE id > 3",
        sa.update(audit_head).values(event_id=3, hash=third),
    )
    for _ in range(4):
        record(database, make_event("afterwards"))
    assert Anchor.of(database).read() == noted
    assert verify(database).breaks == ("row 5 is another than the anchor file knows: the trail was written anew",)


def test_a_trail_written_anew_is_found_by_what_was_written_down(database, make_event):
    """Without head and anchor only a hash kept elsewhere tells: the collector's, or one on paper."""
    record(database, *[make_event("true")] * 3)
    with database.read() as connection:
        row = connection.execute(sa.select(audit_event).where(audit_event.c.id == 2)).mappings().one()
    written_down = Place(2, row["hash"])
    assert verify(database, written_down).breaks == ()
    tamper(database, "DELETE FROM audit_event", sa.update(audit_head).values(event_id=0, hash=GENESIS))
    Anchor.of(database).path.unlink()
    record(database, *[make_event("false")] * 3)
    assert verify(database).breaks == ()
    assert verify(database, written_down).breaks == (
        "row 2 is another than the row expected knows: the trail was written anew",
    )


def test_database_itself_refuses_to_change_rows(database, make_event):
    """An administrator's slip, or a fault of this program, can't change the trail."""
    record(database, make_event())
    for statement in ("UPDATE audit_event SET principal = 'x'", "DELETE FROM audit_event"):
        with pytest.raises(DatabaseError), database.write() as connection:
            connection.execute(sa.text(statement))
    assert verify(database).rows == 1


def test_several_threads_and_databases_write_one_chain(settings, make_event):
    """Rows of two connections that come at the same time stand one behind the other."""
    databases = [Database.open(settings) for _ in range(2)]

    def write(database, name):
        for _ in range(20):
            record(database, make_event(name))

    threads = [threading.Thread(target=write, args=(databases[n % 2], f"user {n}")) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = verify(databases[0])
    assert (found.rows, found.breaks) == (80, ())
    for database in databases:
        database.close()


def test_two_processes_write_one_chain_and_one_killed_leaves_it_whole(settings):
    """A process killed in the middle of writing leaves no half row, no gap, and the other goes on."""
    folder = str(settings.large_object_directory)
    command = [sys.executable, "-m", "support.trail_writer", settings.database.url, folder]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["tests", *sys.path])}
    database = Database.open(settings)

    def await_rows(name, number):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if len(read_trail(database, TrailFilters(principal=name), 100_000)) >= number:
                return
            time.sleep(0.02)
        pytest.fail(f"{name} wrote no {number} rows")

    with contextlib.ExitStack() as stack:
        processes = [subprocess.Popen([*command, name], env=environment) for name in ("first", "second")]
        for process in processes:
            stack.callback(process.wait)
            stack.callback(process.kill)
        await_rows("first", 20)
        await_rows("second", 1)
        processes[0].kill()
        processes[0].wait()
        assert verify(database).breaks == ()
        before = len(read_trail(database, TrailFilters(principal="second"), 100_000))
        await_rows("second", before + 20)
    found = verify(database)
    assert found.breaks == ()
    assert found.rows >= 41
    database.close()


def test_recorder_commits_what_waits_together_and_tells_each_when_it_is_durable(database, make_event):
    """A future is done only when its row can be read by another connection."""
    recorder = Recorder(lambda: database)
    futures = [recorder.submit(make_event(f"user {n}")) for n in range(200)]
    for future in futures:
        future.result(60)
    assert len(read_trail(database, TrailFilters(), 1000)) == 200
    recorder.close()
    assert verify(database).breaks == ()


def test_recorder_tells_whoever_waits_that_nothing_could_be_written(make_event):
    """The database is away: the request that waits is to fail, and the next may succeed."""

    def away():
        raise DatabaseError("away", reason_code="database_unreachable")

    recorder = Recorder(away)
    with pytest.raises(DatabaseError) as raised:
        recorder.submit(make_event()).result(60)
    assert raised.value.reason_code == "database_unreachable"
    recorder.close()


def test_words_and_names_never_reach_the_trail(database, make_event):
    """Values that are codes are kept, words are kept as a digest by which only a suspicion can be checked."""
    kept = recorded(
        [
            ("concept", "pulmonary_nodule,mass"),
            ("from", "2026-01-01"),
            ("patient_id", "P-17"),
            ("text", "Quetzalcoatlus"),
            ("PatientName", "Doe"),
            ("station", "room of Dr Doe"),
        ]
    )
    assert kept["concept"] == "pulmonary_nodule,mass"
    assert kept["patient_id"] == "P-17"
    assert all(kept[name].startswith("sha256:") for name in ("text", "PatientName", "station"))
    assert kept["text"] == recorded([("text", "Quetzalcoatlus")])["text"]


def test_control_characters_are_taken_out(database, make_event):
    """A sender's title or a user's name can't write lines of its own into what an officer reads."""
    record(database, make_event("a\x1b[31m\nb\x00", action="x" * 1000, address="\ud800"))
    (row,) = read_trail(database, TrailFilters(), 1)
    assert row.principal == "a\ufffd[31m\ufffdb\ufffd"
    assert len(row.action) == 256
    assert verify(database).breaks == ()


def test_an_anchor_that_was_tampered_with_is_not_believed(database, make_event):
    """Something else in its file is an error, not an anchor."""
    record(database, make_event())
    Anchor.of(database).path.write_text("nothing")
    with pytest.raises(DatabaseError):
        verify(database)
