"""Duties are done again and again, by whoever leads, and a failing one is tried again without disturbing others."""

import threading
import time

import pytest

from dicomnlp.errors import DatabaseError
from dicomnlp.work import duties, standby
from dicomnlp.work.duties import Duties


class Counted:
    """A duty that notes its runs; what it does in each is given."""

    def __init__(self, name="counted", seconds=0.0, does=lambda _run: None):
        self.name, self.seconds, self.does, self.runs = name, seconds, does, 0

    def run(self):
        """Count, and do."""
        self.runs += 1
        return self.does(self.runs)


def until(condition):
    """Wait for `condition`."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def fail(error):
    """Raise `error`."""
    raise error


@pytest.fixture(autouse=True)
def logged(monkeypatch):
    """(event, fields) in their order, in place of lines."""
    seen = []
    monkeypatch.setattr(duties, "log", lambda event, **fields: seen.append((event.name, fields)))
    return seen


def test_each_runs_at_once_and_again_after_its_seconds_whatever_others_do():
    """One that hangs keeps none from running; one of an hour runs once."""
    release = threading.Event()
    often, hourly = Counted("often"), Counted("hourly", 3600.0)
    hanging = Counted("hanging", does=lambda _run: release.wait(30) and None)
    with Duties([hanging, often, hourly], threading.Event()):
        until(lambda: often.runs > 20)
        assert (hanging.runs, hourly.runs) == (1, 1)
        release.set()
    runs = often.runs
    time.sleep(0.02)
    assert often.runs == runs


def test_one_that_says_that_more_waits_is_run_again_at_once():
    """Until nothing waits; then its seconds count again."""
    duty = Counted(seconds=3600.0, does=lambda run: run < 5)
    with Duties([duty], threading.Event()):
        until(lambda: duty.runs == 5)
        time.sleep(0.02)
    assert duty.runs == 5


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DatabaseError("away", reason_code="database_unreachable"), "database_unreachable"),
        # a defect is told by its place, and ends the duty as little as a network that is down
        (ZeroDivisionError(), "internal_error"),
    ],
)
def test_failure_is_logged_and_tried_again(error, code, logged, monkeypatch):
    """With how often it has failed; a success afterwards is said, once."""
    monkeypatch.setattr(duties, "FIRST_PAUSE_SECONDS", 0.001)
    duty = Counted(does=lambda run: fail(error) if run <= 3 else None)
    with Duties([duty], threading.Event()):
        until(lambda: duty.runs > 5)
    failed = [fields for event, fields in logged if event == "DUTY_FAILED"]
    assert [(f["component"], f["reason_code"], f["attempts"]) for f in failed] == [
        ("counted", code, n) for n in (1, 2, 3)
    ]
    assert [fields for event, fields in logged if event == "DUTY_RESUMED"] == [{"component": "counted", "attempts": 3}]


def test_pauses_after_failures_double_up_to_a_longest(monkeypatch):
    """From a second to five minutes, however often it fails."""
    pauses = []
    running = Duties([], threading.Event())

    def wait(seconds):
        pauses.append(seconds)
        if len(pauses) == 2000:
            running._left.set()

    monkeypatch.setattr(running, "_wait", wait)
    running._keep(Counted(does=lambda _run: fail(DatabaseError("away"))))
    assert pauses[:10] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert set(pauses[9:]) == {300}


def test_stop_begins_no_further_run_and_ends_waits():
    """Also before the block is left, and of one that would wait for an hour."""
    stop = threading.Event()
    often, hourly = Counted("often"), Counted("hourly", 3600.0)
    with Duties([often, hourly], stop) as running:
        until(lambda: often.runs and hourly.runs)
        stop.set()
        until(lambda: not any(thread.is_alive() for thread in running._threads.values()))
    assert hourly.runs == 1


def test_run_that_does_not_end_is_left_behind_and_told(logged, monkeypatch):
    """The stop goes on without it; it is named."""
    monkeypatch.setattr(duties, "END_SECONDS", 0.05)
    release = threading.Event()
    duty = Counted(does=lambda _run: release.wait(30) and None)
    with Duties([duty], threading.Event()) as running:
        until(lambda: duty.runs)
    assert logged == [("DUTY_FAILED", {"component": "counted", "reason_code": "cut_off"})]
    release.set()
    running._threads["counted"].join(30)


def test_only_who_leads_has_duties(tmp_path, monkeypatch):
    """They begin with the role and end with it."""
    from work.bench import make_settings

    from dicomnlp.store import admin
    from dicomnlp.store.database import Database

    class Leading:
        """In place of a dispatcher."""

        def __init__(self, settings, database, *, check_role):
            pass

        def run(self, stop, on_ready):
            """Lead until `stop`."""
            on_ready("leads")
            stop.wait(30)

    settings = make_settings(tmp_path)
    admin.upgrade(settings)
    duty = Counted()
    monkeypatch.setattr(standby, "Dispatcher", Leading)
    monkeypatch.setattr(standby, "duties_of", lambda _settings, _database: [duty])
    database = Database.open(settings)
    stop = threading.Event()
    with database.hold("dispatcher"):
        thread = threading.Thread(
            target=standby.run_dispatcher, args=(settings, database), kwargs={"on_ready": lambda _: None, "stop": stop}
        )
        thread.start()
        time.sleep(0.05)
        assert duty.runs == 0
    until(lambda: duty.runs)
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    runs = duty.runs
    database.close()
    time.sleep(0.02)
    assert duty.runs == runs
