"""Reports are counted as they come, each once; weeks are judged when they are over; an alarm is seen, or clears."""

import dataclasses
import datetime as dt
import shutil

import pytest
import sqlalchemy as sa
from support.records import make_finding, make_processed, make_record

from dicomnlp.config import DatabaseSettings, Settings
from dicomnlp.drift_settings import DriftSettings
from dicomnlp.errors import NotFoundError
from dicomnlp.model import Assertion, Section, SectionName
from dicomnlp.store import drift, drift_counting
from dicomnlp.store.database import Database
from dicomnlp.store.drift_counting import week_of
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.queue import save_processed
from dicomnlp.store.schema_drift import drift_count, drift_word
from dicomnlp.work.drifting import DriftDuty, compare

SETTINGS = Settings(drift=DriftSettings(minimum_reports=20))
NOW = dt.datetime.now(dt.UTC)
MONDAY = dt.datetime.fromisoformat(week_of(NOW)).replace(tzinfo=dt.UTC)
A_WEEK = 24
"""Reports."""
USUAL, WITHOUT_NEGATION = 20, 0
"""Of these, reports that deny an effusion."""


class Site:
    """Sends reports of a week, and has them counted."""

    def __init__(self, database):
        self.database = database
        self.sent = 0

    def week(self, back, denied=USUAL, *, reports=A_WEEK, text="", station="ST1", pipeline="en-1", study_date=None):
        """Reports of the week so many weeks ago; their objects."""
        when = MONDAY - dt.timedelta(weeks=back) + dt.timedelta(hours=1)
        records = [self.record(when, station, study_date) for _ in range(reports)]
        receipts = record_arrivals(self.database, records)
        objects = [receipt.object_id for receipt in receipts]
        self.analyse(objects, denied=denied, text=text, pipeline=pipeline)
        return objects

    def record(self, when, station="ST1", study_date=None):
        """One arrival; each is of another patient."""
        self.sent += 1
        made = make_record(self.sent, received_at=when, patient_id=f"P-{self.sent}", study=f"1.2.826.0.9.{self.sent}")
        date = study_date or when.strftime("%Y%m%d")
        return dataclasses.replace(
            made, identity=dataclasses.replace(made.identity, station_name=station, study_date=date)
        )

    def analyse(self, objects, *, denied=USUAL, text="", pipeline="en-1"):
        """What workers make of them."""
        made = [self.made_of(o, n < denied, text, pipeline) for n, o in enumerate(objects)]
        save_processed(self.database, made)

    def made_of(self, object_id, is_denied, text, pipeline):
        """One finding, one section with a heading, and a name that nobody else has."""
        assertion = Assertion.ABSENT if is_denied else Assertion.PRESENT
        narrative = (
            f"FINDINGS: No effusion. {text} Reported for Quetzal{chr(97 + object_id % 26) * (object_id % 9 + 1)}."
        )
        done = make_processed(
            object_id, pipeline, [make_finding("pleural_effusion", "effusion", 13, assertion)], text=narrative
        )
        sections = (Section(SectionName.FINDINGS, "FINDINGS:", 0, len(narrative), 10),)
        analysis = dataclasses.replace(done.analysis, sections=sections, language="en")
        return dataclasses.replace(done, analysis=analysis)

    def count(self, settings=SETTINGS):
        """What the duty does."""
        duty = DriftDuty(settings, self.database)
        while duty.run():
            pass
        return {w.week: w for w in drift.read_weeks(self.database)}

    def of(self, back):
        """The week so many weeks ago, as it is held."""
        week = week_of(MONDAY - dt.timedelta(weeks=back))
        return next(w for w in drift.read_weeks(self.database) if w.week == week)


def fill(site):
    """Five weeks in which nothing drifted, before those that a test adds."""
    for back in range(9, 4, -1):
        site.week(back)
    return site


@pytest.fixture(scope="module")
def five_weeks(sqlite_template, tmp_path_factory):
    """These in a SQLite file, and how many reports they are."""
    folder = tmp_path_factory.mktemp("drift")
    shutil.copy(sqlite_template, folder / "test.db")
    opened = Database.open(settings_in(folder))
    sent = fill(Site(opened)).sent
    opened.close()
    return folder / "test.db", sent


def settings_in(folder):
    """Settings of the database there."""
    return Settings(database=DatabaseSettings(url=f"sqlite:///{folder}/test.db", large_object_directory=folder / "o"))


@pytest.fixture
def site(five_weeks, tmp_path):
    """A site with five weeks in which nothing drifted."""
    file, sent = five_weeks
    shutil.copy(file, tmp_path / "test.db")
    made = Site(Database.open(settings_in(tmp_path)))
    made.sent = sent
    yield made
    made.database.close()


@pytest.fixture
def empty(sqlite_template, tmp_path):
    """A site that has sent nothing yet."""
    shutil.copy(sqlite_template, tmp_path / "test.db")
    made = Site(Database.open(settings_in(tmp_path)))
    yield made
    made.database.close()


def items(week):
    """What of it moved."""
    return {(m["source"], m["measure"], m["item"]) for m in week.moves}


def test_a_week_that_drifted_is_an_alarm_when_it_is_over_and_names_what_did(database):
    """With reports that show it, each of that week; the weeks before are stable or had no reference yet."""
    site = fill(Site(database))
    site.week(4)
    drifted = site.week(3, WITHOUT_NEGATION)
    site.week(0, WITHOUT_NEGATION)
    site.count()
    assert [site.of(back).state for back in (9, 6, 5, 4, 3, 0)] == [
        "no_reference",
        "no_reference",
        "stable",
        "stable",
        "alarm",
        "counting",  # this one isn't over
    ]
    [alarm] = drift.read_alarms(site.database)
    assert alarm == site.of(3)
    assert {("all", "present", "pleural_effusion"), ("station_name:ST1", "assertion", "absent")} <= items(alarm)
    move = next(m for m in alarm.moves if m["measure"] == "present" and m["source"] == "all")
    assert (move["before"], move["now"]) == (round(4 / 24, 4), 1.0)
    assert alarm.reference_to == week_of(MONDAY - dt.timedelta(weeks=4))
    shown = {e["sop_instance_uid"] for m in alarm.moves for e in m["examples"]}
    with site.database.read() as connection:
        rows = connection.execute(sa.text("SELECT id, sop_instance_uid FROM sop_instance")).all()
    assert shown
    assert shown <= {uid for number, uid in rows if number in drifted}


def test_an_alarm_clears_by_itself_once_a_week_is_as_before(site):
    """The next week that is compared takes its place."""
    site.week(4, WITHOUT_NEGATION)
    site.week(3)
    site.count()
    assert [site.of(back).state for back in (4, 3)] == ["cleared", "stable"]
    assert drift.read_alarms(site.database) == []


def test_an_alarm_that_nobody_saw_stands_and_is_no_reference(site):
    """However long it lasts; the reference is that of the weeks before."""
    for back in (4, 3, 2, 1):
        site.week(back, WITHOUT_NEGATION)
    site.count()
    assert [w.week for w in drift.read_alarms(site.database)] == [site.of(1).week]
    assert site.of(1).reference_to == site.of(5).week
    assert site.of(2).state == "cleared"


def test_what_was_acknowledged_is_not_said_again_and_becomes_the_rule(site):
    """But what drifts beside it is."""
    site.week(4, WITHOUT_NEGATION)
    site.count()
    seen = drift.acknowledge_drift(site.database, "en", site.of(4).week, "anna")
    assert (seen.state, seen.acknowledged_by) == ("acknowledged", "anna")
    site.week(3, WITHOUT_NEGATION)
    site.count()
    assert (site.of(3).state, site.of(3).acknowledged_by) == ("acknowledged", "anna")
    assert site.of(3).reference_to == site.of(4).week
    site.week(2, WITHOUT_NEGATION, text="consolidatory zygomorphic perivascularly trabecularly " * 3)
    site.count()
    assert site.of(2).state == "alarm"
    assert ("all", "words", "unknown") in items(site.of(2))


def test_only_an_alarm_can_be_acknowledged(site):
    """Neither a stable week nor one that isn't there."""
    site.count()
    for week in (site.of(5).week, "1999-01-04"):
        with pytest.raises(NotFoundError):
            drift.acknowledge_drift(site.database, "en", week, "anna")


def counts(database):
    """All that is counted."""
    with database.read() as connection:
        return sorted(tuple(row) for row in connection.execute(sa.select(drift_count)))


def test_each_report_is_counted_once(site):
    """Not again by the next run, nor when it is read again; only when that is asked for."""
    objects = site.week(4)
    site.count()
    before = counts(site.database)
    site.count()
    site.analyse(objects, denied=0, pipeline="en-2")
    site.count()
    assert counts(site.database) == before
    drift_counting.count_again(site.database)
    assert counts(site.database) == []
    site.count()
    after = {row[:5]: row[5] for row in counts(site.database)}
    week = site.of(4).week
    assert after["en", week, "all", "present", "pleural_effusion"] == A_WEEK
    assert after["en", week, "all", "pipeline", "en-2"] == A_WEEK
    assert after["en", week, "all", "reports", ""] == A_WEEK


def test_two_leaders_count_a_report_once(site):
    """Whoever comes second finds that it is done."""
    batch = drift_counting.next_countable(site.database, 10)
    other = drift_counting.next_countable(site.database, 20)
    assert drift_counting.save_counted(site.database, batch, [], "words", ("known", "unknown"))
    assert not drift_counting.save_counted(site.database, other, [], "words", ("known", "unknown"))
    assert drift_counting.next_countable(site.database, 10).after == batch.to


def test_a_report_that_waits_holds_up_the_count_for_a_day(site):
    """A week isn't judged while something of it may still come; what waits for ever doesn't stop the others."""
    long_ago, lately = MONDAY - dt.timedelta(weeks=1), NOW - dt.timedelta(hours=1)
    record_arrivals(site.database, [site.record(long_ago)])
    [waits] = record_arrivals(site.database, [site.record(lately)])
    batch = drift_counting.next_countable(site.database, 1000)
    assert (batch.counted_until, batch.more) == (lately, False)
    assert batch.to == waits.object_id - 1
    assert drift_counting.next_countable(site.database, 1000, NOW + dt.timedelta(days=2)).to == waits.object_id


def test_archives_that_are_moved_here_are_not_counted(site):
    """Reports of studies of another year say nothing of this week."""
    site.week(4, study_date="20010203")
    site.count()
    assert week_of(MONDAY - dt.timedelta(weeks=4)) not in {w.week for w in drift.read_weeks(site.database)}


def test_the_first_count_begins_half_a_year_ago(empty):
    """However old the archive is."""
    empty.week(60, reports=4)
    empty.week(40, reports=5)
    empty.week(20, reports=3)
    assert set(empty.count()) == {empty.of(20).week}


def test_no_word_is_kept_that_may_be_a_name(site):
    """Of each only a digest, until it was in ten reports of five patients."""
    site.week(4, text="Perivascularly.")
    rare = site.week(3, text="Zygomorphic.", reports=9)
    site.count()
    with site.database.read() as connection:
        rows = connection.execute(sa.select(drift_word)).all()
    words = {row.word for row in rows if row.word is not None}
    assert "perivascularly" in words
    assert rare
    assert "zygomorphic" not in words
    assert not {word for word in words if word.startswith("quetzal")}
    assert all(row.reports >= 10 for row in rows if row.word is not None)
    assert "zygomorphic" not in str([tuple(row) for row in rows])
    counted = {row[:5]: row[5] for row in counts(site.database)}
    # each of its reports has one, beside the name
    assert counted["en", site.of(3).week, "all", "words", "unknown"] >= 9


def test_a_word_of_one_patient_is_never_kept(empty):
    """However many reports it is in."""
    made, database = empty, empty.database
    when = MONDAY - dt.timedelta(weeks=2)
    records = [
        dataclasses.replace(r, identity=dataclasses.replace(r.identity, patient_id="ONE"))
        for r in (made.record(when) for _ in range(30))
    ]
    made.analyse([receipt.object_id for receipt in record_arrivals(database, records)], text="Zygomorphic.")
    made.count()
    with database.read() as connection:
        assert "zygomorphic" not in connection.scalars(sa.select(drift_word.c.word)).all()


def test_new_words_are_named_where_unknown_ones_are_the_alarm(site):
    """As far as they are kept."""
    site.week(4, text="Consolidatory zygomorphic perivascularly trabecularly. " * 3)
    site.count()
    assert ("all", "words", "unknown") in items(site.of(4))
    assert {"consolidatory", "zygomorphic"} <= set(site.of(4).words)
    site.week(3, text="Consolidatory zygomorphic perivascularly trabecularly. " * 3)
    site.count()
    assert site.of(3).state == "stable"  # known by now


def test_words_that_were_not_seen_for_long_are_forgotten(site):
    """Those that are known stay."""
    site.week(4, text="Perivascularly.")
    site.week(3, text="Zygomorphic.", reports=9)
    site.count()
    drift_counting.forget_words(site.database, week_of(NOW + dt.timedelta(weeks=1)))
    with site.database.read() as connection:
        rows = connection.execute(sa.select(drift_word)).all()
    assert "perivascularly" in {row.word for row in rows}
    assert all(row.word is not None for row in rows)


def test_a_reference_can_be_named(site):
    """For one look, or by the settings; nothing is kept of the look."""
    site.week(4, WITHOUT_NEGATION)
    site.week(3, WITHOUT_NEGATION)
    site.count()
    first, last = MONDAY - dt.timedelta(weeks=9), MONDAY - dt.timedelta(weeks=5)
    verdict, reference = compare(site.database, SETTINGS.drift, site.of(3), (first.date(), last.date()))
    assert [w.week for w in reference] == [site.of(back).week for back in (9, 8, 7, 6, 5)]
    assert verdict.moves
    named = DriftSettings(minimum_reports=20, reference=f"{first.date()}..{last.date()}")
    assert compare(site.database, named, site.of(3))[1] == reference


@pytest.mark.parametrize("wrong", ["2026-01-05", "2026-03-29..2026-01-05", "2026-02-30..2026-03-29", "a..b"])
def test_a_reference_that_is_none_is_refused(wrong):
    """At the start, not in the night."""
    with pytest.raises(ValueError, match=r"must be|must not|day is out"):
        DriftSettings(reference=wrong)
