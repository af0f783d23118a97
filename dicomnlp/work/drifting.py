"""The duty of seeing whether reports change: they are counted as they come, and each week is judged once it is over."""

import datetime as dt
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from dicomnlp.analyse.vocabulary import lexicon_words, words_of
from dicomnlp.config import Settings
from dicomnlp.drift_settings import DriftSettings
from dicomnlp.logs import Event, log
from dicomnlp.review.drift import ALL, KNOWN, LEAST_REFERENCE_WEEKS, UNKNOWN, Measure, Move, Thresholds, Verdict, judge
from dicomnlp.store.database import Database
from dicomnlp.store.drift import DriftWeek, examples, new_words, read_counts, read_weeks, save_verdict
from dicomnlp.store.drift_counting import (
    FORGET_WEEKS,
    Countable,
    Counted,
    forget_words,
    next_countable,
    save_counted,
    week_of,
)

AT_ONCE: Final = 200
RUN_SECONDS: Final = 3.0
LOOK_SECONDS: Final = 60.0
MOST_MOVES: Final = 100
"""Of an alarm, the largest; what drifted so far that there are more needs no more to be seen."""
MOVES_WITH_EXAMPLES: Final = 20
EXAMPLES: Final = 3


class DriftDuty:
    """Counts what came since it was here last, and judges weeks that are over."""

    name = "drift"
    seconds = LOOK_SECONDS

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database

    def run(self) -> bool:
        """Count some reports, or else judge what can be judged; whether there is more to count."""
        until = time.monotonic() + RUN_SECONDS
        while True:
            batch = next_countable(self._database, AT_ONCE)
            if batch.to > batch.after:
                counted = [count(report, self._settings) for report in batch.reports]
                save_counted(self._database, batch, counted, Measure.WORDS.value, (KNOWN, UNKNOWN))
            if not batch.more:
                judge_weeks(self._database, self._settings.drift, batch.counted_until)
                return False
            if time.monotonic() > until:
                return True


def count(report: Countable, settings: Settings) -> Counted:
    """What is counted of a report: of all, of its sender, its station and how the study was made."""
    of_one: Counter[tuple[str, str]] = Counter(
        {(Measure.REPORTS.value, ""): 1, (Measure.PIPELINE.value, report.pipeline): 1}
    )
    of_one.update((Measure.SECTION.value, section) for section in report.sections)
    of_one.update((Measure.ASSERTION.value, assertion) for _, assertion in report.findings)
    of_one.update((Measure.CONCEPT.value, concept) for concept in {concept for concept, _ in report.findings})
    of_one.update(
        (Measure.PRESENT.value, concept)
        for concept in {c for c, assertion in report.findings if assertion == "present"}
    )
    words = words_of(report.narrative)
    of_one[Measure.WORDS.value, KNOWN] = len(words)
    lexicon = lexicon_words(report.language, settings.overlays)
    sources = list(_sources(report))
    counts = Counter({(source, *key): number for source in sources for key, number in of_one.items()})
    return Counted(report, counts, Counter(word for word in words if word not in lexicon), sources)


def _sources(report: Countable) -> Iterator[str]:
    yield ALL
    if report.calling_ae_title:
        yield f"calling_ae_title:{report.calling_ae_title}"
    if report.station_name:
        yield f"station_name:{report.station_name}"
    for modality in report.modalities:
        yield f"modality:{modality}"


def judge_weeks(database: Database, settings: DriftSettings, counted_until: dt.datetime) -> None:
    """Compare each week that is over and wasn't compared yet with the reference, the first one first."""
    unfinished = week_of(counted_until)
    judged = False
    for language in sorted({week.language for week in read_weeks(database, limit=1)}):
        weeks = read_weeks(database, language, limit=53)
        due = [week for week in weeks if week.judged_at is None and week.week < unfinished]
        for week in sorted(due, key=lambda w: w.week):
            _judge(database, settings, week)
            judged = True
    if judged:
        forget_words(database, week_of(counted_until - dt.timedelta(weeks=FORGET_WEEKS)))


def _judge(database: Database, settings: DriftSettings, week: DriftWeek) -> None:
    verdict, reference = compare(database, settings, week)
    moves = verdict.moves[:MOST_MOVES]
    told = [_told(database, week, move, has_examples=n < MOVES_WITH_EXAMPLES) for n, move in enumerate(moves)]
    strange = any(move.measure is Measure.WORDS for move in moves)
    is_news = save_verdict(
        database,
        week,
        reason_code=verdict.reason_code,
        reference=reference,
        instability={measure.value: index for measure, index in (verdict.instability or {}).items()},
        moves=told,
        words=new_words(database, week.language, week.week) if strange else (),
    )
    if is_news:
        log(Event.DRIFT, language=week.language, week=week.week, count=len(verdict.moves))


def _told(database: Database, week: DriftWeek, move: Move, *, has_examples: bool) -> dict[str, Any]:
    found: Sequence[tuple[str, str]] = ()
    if has_examples:
        fell = move.change < 0
        found = examples(database, week, move.source, move.measure.value, move.item, fell=fell, limit=EXAMPLES)
    shown = [{"study_instance_uid": study, "sop_instance_uid": instance} for study, instance in found]
    return {**move.to_json(), "examples": shown}


def compare(
    database: Database, settings: DriftSettings, week: DriftWeek, period: tuple[dt.date, dt.date] | None = None
) -> tuple[Verdict, list[DriftWeek]]:
    """Compare a week with its reference, and keep nothing of it.

    Parameters
    ----------
    period
        First and last day of the reference; None for that of the settings.

    Returns
    -------
    Verdict
        What came of it.
    list of DriftWeek
        The reference.
    """
    reference = reference_of(settings, week, read_weeks(database, week.language, limit=520), period)
    if len(reference) < LEAST_REFERENCE_WEEKS:
        return judge_few(week, settings), reference
    counts = read_counts(database, week.language, [week.week, *(w.week for w in reference)])
    now = counts.pop(week.week)
    return judge(now, list(counts.values()), thresholds_of(settings)), reference


def judge_few(week: DriftWeek, settings: DriftSettings) -> Verdict:
    """Why a week without a reference isn't judged."""
    return Verdict("few_reports" if week.reports < settings.minimum_reports else "no_reference")


def thresholds_of(settings: DriftSettings) -> Thresholds:
    """What the settings say of when a difference is one."""
    return Thresholds(
        settings.minimum_reports, settings.false_alarms, settings.least_change, settings.least_instability
    )


def reference_of(
    settings: DriftSettings, week: DriftWeek, weeks: Sequence[DriftWeek], period: tuple[dt.date, dt.date] | None
) -> list[DriftWeek]:
    """The weeks that a week is compared with, the first one first.

    A week with an alarm that nobody has acknowledged is no measure of others: no fault becomes the rule by lasting.
    """
    period = period or settings.period
    others = [w for w in weeks if w.week != week.week and w.reports >= settings.minimum_reports]
    if period is not None:
        first, last = week_of(period[0]), week_of(period[1])
        return sorted((w for w in others if first <= w.week <= last), key=lambda w: w.week)
    earliest = week_of(dt.date.fromisoformat(week.week) - dt.timedelta(weeks=2 * settings.weeks))
    before = [w for w in others if earliest <= w.week < week.week and not (w.is_alarm and w.acknowledged_at is None)]
    return sorted(before, key=lambda w: w.week)[-settings.weeks :]
