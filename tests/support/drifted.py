"""Weeks of reports as counts: some that are stable, and a last one in which negations got lost."""

import dataclasses
import datetime as dt
from collections import Counter

from dicomnlp.drift_settings import DriftSettings
from dicomnlp.store.drift_counting import Countable, Counted, next_countable, save_counted, week_of
from dicomnlp.work.drifting import judge_weeks

SETTINGS = DriftSettings(minimum_reports=20)
REPORTS = 40
STABLE = 6
MONDAY = dt.date(2026, 11, 16)
"""Of the week that drifted; it is over by `UNTIL`."""
UNTIL = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
WEEK = MONDAY.isoformat()


def count_weeks(database, language="en", *, objects=(1, 9)):
    """Six stable weeks and the one that drifted, said to be of the objects from the first to the last, and judged."""
    for back in range(STABLE, -1, -1):
        week = week_of(MONDAY - dt.timedelta(weeks=back))
        counted = [_report(n, week, language, objects[bool(n)], is_lost=not back) for n in range(REPORTS)]
        batch = next_countable(database, 1)
        batch = dataclasses.replace(batch, reports=[], to=batch.after + 1)
        assert save_counted(database, batch, counted, "words", ("known", "unknown"))
    judge_weeks(database, SETTINGS, UNTIL)


def _report(number, week, language, object_id, *, is_lost):
    denied = number % 5 and not is_lost
    counts = Counter()
    for source in ("all", "station_name:ROOM2"):
        counts[source, "reports", ""] = 1
        counts[source, "concept", "pleural_effusion"] = 1
        counts[source, "present", "pleural_effusion"] = 0 if denied else 1
        counts[source, "assertion", "absent" if denied else "present"] = 1
        counts[source, "section", "findings"] = 1
        counts[source, "words", "known"] = 100
    report = Countable(
        object_id, language, week, "en-1", "CT1", "ROOM2", ("CT",), frozenset({"findings"}), "", str(number), ()
    )
    return Counted(report, counts, {}, ("all", "station_name:ROOM2"))
