"""The drift command: weeks, what moved, another reference, acknowledging, and counting anew."""

import json

import pytest
from support.drifted import MONDAY, WEEK, count_weeks

from dicomnlp.audit.reading import TrailFilters, read_trail
from dicomnlp.config import load
from dicomnlp.store.admin import upgrade
from dicomnlp.store.database import Database
from dicomnlp.store.drift import read_weeks


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A configuration and a database with an alarm."""
    place = tmp_path_factory.mktemp("drift")
    (place / "config.toml").write_text(
        f'[database]\nurl = "sqlite:///{place}/test.db"\n[drift]\nminimum_reports = 20\n', encoding="utf-8"
    )
    upgrade(load(place / "config.toml"))
    return place


@pytest.fixture
def database(folder):
    """Open, with the alarm as it was raised."""
    opened = Database.open(load(folder / "config.toml"))
    if not read_weeks(opened):
        count_weeks(opened)
    yield opened
    opened.close()


def test_an_alarm_is_told_and_ends_with_one(run, database):
    """The weeks, the largest moves of the alarm; as JSON all of them."""
    told = run("drift")
    assert told.exit_code == 1
    for words in (WEEK, "alarm", "stable", "pleural_effusion", "station_name:ROOM2", "20.0%", "100.0%"):
        assert words in told.stdout
    lines = run("drift", "--json", "--weeks", "2")
    assert lines.exit_code == 1
    weeks = [json.loads(line) for line in lines.stdout.splitlines()]
    assert [(w["week"], w["state"]) for w in weeks] == [("2026-11-09", "stable"), (WEEK, "alarm")]
    assert {m["measure"] for m in weeks[-1]["moves"]} == {"present", "assertion"}
    assert run("drift", "--language", "zh").exit_code == 0


def test_another_reference_is_looked_at_and_not_kept(run, database):
    """Where there are enough weeks it is an alarm, too."""
    first = MONDAY.replace(month=10, day=5)
    found = run("drift", "--reference", f"{first}..2026-11-15", "--json", "--weeks", "1")
    assert found.exit_code == 1
    [week] = map(json.loads, found.stdout.splitlines())
    assert (week["reference_from"], week["reference_to"]) == ("2026-10-05", "2026-11-09")
    none = run("drift", "--reference", "2025-01-01..2025-02-01", "--json", "--weeks", "1")
    assert (none.exit_code, json.loads(none.stdout)["state"]) == (0, "no_reference")
    assert [w.state for w in read_weeks(database, limit=1)] == ["alarm"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--reference", "2026-01-05"),
        ("--reference", "2026-02-05..2026-01-05"),
        ("--acknowledge", WEEK),  # of which language?
        ("--acknowledge", WEEK, "--language", "en", "--json"),
        ("--acknowledge", WEEK, "--language", "en", "--again"),
        ("--again", "--json"),
    ],
)
def test_wrong_usage_is_told(run, database, arguments):
    """With 2, and nothing is done."""
    assert run("drift", *arguments).exit_code == 2
    assert [w.state for w in read_weeks(database, limit=1)] == ["alarm"]


def test_an_alarm_is_acknowledged_and_that_is_in_the_trail(run, database):
    """By any day of the week; then the command ends with 0. Counting again forgets all."""
    assert run("drift", "--acknowledge", "2026-11-09", "--language", "en").exit_code == 1  # a stable week
    done = run("drift", "--acknowledge", "2026-11-20", "--language", "en")
    assert done.exit_code == 0, done.output
    assert "acknowledged by local:" in done.stdout
    assert run("drift").exit_code == 0
    rows = [(e.kind, e.action) for e in read_trail(database, TrailFilters(), 50)]
    assert ("admin", "drift") in rows
    assert ("query", "drift") in rows
    assert run("drift", "--again").exit_code == 0
    assert read_weeks(database) == []
    assert run("drift").exit_code == 0
