"""Counting what came, report by report in the order of arrival, each once: what drift is seen by.

A report is counted by the analysis that is current when its turn comes. Reading it again by another pipeline counts
nothing anew, unless that is asked for by `count_again`.
"""

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.model import State
from dicomnlp.store.batches import batches
from dicomnlp.store.database import Database
from dicomnlp.store.schema import CURRENT_ANALYSIS, analysis, finding, sop_instance
from dicomnlp.store.schema_drift import drift_count, drift_progress, drift_week, drift_word

REACH: Final = dt.timedelta(weeks=26)
"""So far back the first count begins."""
PATIENCE: Final = dt.timedelta(days=1)
"""So long a report that waits for its analysis is waited for; then the others go on without it."""
OLD: Final = dt.timedelta(days=60)
"""Reports of studies made so long before they came are of an archive that is moved, and say nothing of this week."""
WORD_REPORTS: Final = 10
WORD_PATIENTS: Final = 5
"""A word is known, and kept by its text, once it was in so many reports of so many patients; before, it may be a name.
"""
FORGET_WEEKS: Final = 26
"""Words that didn't get so far, and weren't seen for so long, are forgotten."""

_THE_ROW: Final = drift_progress.c.id == 1

Key = tuple[str, str, str, str, str]
"""language, week, source, measure, item"""


@dataclass(frozen=True, slots=True)
class Countable:
    """A report, as it is counted."""

    object_id: int
    language: str
    week: str
    """Date of the Monday of its arrival (UTC)."""
    pipeline: str
    calling_ae_title: str
    station_name: str
    modalities: tuple[str, ...]
    sections: frozenset[str]
    """Those that have a heading."""
    narrative: str
    patient: str
    """A digest, by which patients are told apart."""
    findings: tuple[tuple[str, str], ...]
    """(concept, assertion)"""


@dataclass(frozen=True, slots=True)
class Batch:
    """The next reports to be counted."""

    reports: list[Countable]
    after: int
    """Number of the object up to which was counted before."""
    to: int
    """And up to which these are."""
    counted_until: dt.datetime
    """What came before is counted with these; what comes next isn't yet."""
    more: bool


@dataclass(slots=True)
class Counted:
    """A report's counts, and the words in it that the lexicon doesn't know."""

    report: Countable
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(source, measure, item) -> how many."""
    strangers: Mapping[str, int] = field(default_factory=dict)
    """Word -> how often."""
    sources: Sequence[str] = ()
    """To which what the vocabulary makes of its words is added."""


def week_of(moment: dt.datetime | dt.date) -> str:
    """Date of the Monday of the week of a moment (UTC), by which weeks are named."""
    day = moment.astimezone(dt.UTC).date() if isinstance(moment, dt.datetime) else moment
    return (day - dt.timedelta(days=day.weekday())).isoformat()


def next_countable(database: Database, limit: int, now: dt.datetime | None = None) -> Batch:
    """Up to `limit` objects that came after what was counted, those of them that count."""
    now = now or dt.datetime.now(dt.UTC)
    columns = sop_instance.c
    with database.read() as connection:
        after = connection.scalar(sa.select(drift_progress.c.last_object_id).where(_THE_ROW))
        if after is None:
            after = _first_since(connection, now - REACH) - 1
        query = sa.select(sop_instance).where(columns.id > after).order_by(columns.id).limit(limit)
        rows = connection.execute(query).all()
        until, to, taken = now, after, []
        for row in rows:
            if row.state == State.PENDING.value and row.received_at > now - PATIENCE:
                until = row.received_at
                break
            to = row.id
            if row.state == State.ANALYSED.value and row.is_current and not _is_old(row):
                taken.append(row)
        else:
            until = rows[-1].received_at if len(rows) == limit else now
        return Batch(_read(connection, taken), after, to, until, len(rows) == limit and to == rows[-1].id)


def _first_since(connection: Connection, moment: dt.datetime) -> int:
    """Number of the first object that came since a moment: by halves, for there is no index by time."""
    columns = sop_instance.c
    low = connection.scalar(sa.select(sa.func.min(columns.id))) or 1
    high = (connection.scalar(sa.select(sa.func.max(columns.id))) or 0) + 1
    while low < high:
        middle = (low + high) // 2
        query = sa.select(columns.received_at).where(columns.id >= middle).order_by(columns.id).limit(1)
        received_at = connection.scalar(query)
        if received_at is None or received_at >= moment:
            high = middle
        else:
            low = middle + 1
    return low


def _is_old(row: Any) -> bool:
    try:
        made = dt.datetime.strptime(row.study_date, "%Y%m%d").replace(tzinfo=dt.UTC)
    except ValueError:
        return False
    return bool(row.received_at - made > OLD)


def _read(connection: Connection, rows: Sequence[Any]) -> list[Countable]:
    columns = analysis.c
    headers = {row.id: row for row in rows}
    read: dict[int, Any] = {}
    for ids in batches(headers):
        query = sa.select(
            *(columns.id, columns.object_id, columns.language, columns.pipeline),
            *(columns.sections, columns.modalities, columns.narrative),
        ).where(columns.object_id.in_(ids), CURRENT_ANALYSIS)
        read |= {row.id: row for row in connection.execute(query) if row.language}
    findings: dict[int, list[tuple[str, str]]] = {}
    for ids in batches(read):
        chosen = sa.select(finding.c.analysis_id, finding.c.concept_id, finding.c.assertion)
        for row in connection.execute(chosen.where(finding.c.analysis_id.in_(ids))):
            findings.setdefault(row.analysis_id, []).append((row.concept_id, row.assertion))
    return [
        Countable(
            object_id=row.object_id,
            language=row.language,
            week=week_of(header.received_at),
            pipeline=row.pipeline,
            calling_ae_title=header.calling_ae_title.strip(),
            station_name=header.station_name.strip(),
            modalities=tuple(row.modalities or ()),
            sections=frozenset(s["name"] for s in row.sections or () if s.get("title")),
            narrative=row.narrative,
            patient=_digest(
                f"{header.patient_id}\n{header.issuer_of_patient_id}"
                if header.patient_id.strip()
                else header.study_instance_uid
            ),
            findings=tuple(findings.get(row.id, ())),
        )
        for row in read.values()
        for header in (headers[row.object_id],)
    ]


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def save_counted(
    database: Database, batch: Batch, counted: Sequence[Counted], measure: str, kinds: tuple[str, str]
) -> bool:
    """Add the counts of a batch, in one transaction; false where somebody else has counted it meanwhile.

    Parameters
    ----------
    measure, kinds
        Under which words are counted: those known, and those unknown.
    """
    return database.transact(lambda connection: _save(connection, batch, counted, measure, kinds))


def _save(
    connection: Connection, batch: Batch, counted: Sequence[Counted], measure: str, kinds: tuple[str, str]
) -> bool:
    if not _go_on(connection, batch):
        return False
    sums: Counter[Key] = Counter()
    for each in counted:
        for key, count in each.counts.items():
            sums[each.report.language, each.report.week, *key] += count
    unknown = _meet(connection, counted)
    for each, count in zip(counted, unknown, strict=True):
        # what was counted as known is, but for these
        for source in each.sources:
            of = each.report.language, each.report.week, source, measure
            sums[*of, kinds[1]] += count
            sums[*of, kinds[0]] -= count
    _add(connection, sums)
    _note_weeks(connection, counted)
    return True


def _go_on(connection: Connection, batch: Batch) -> bool:
    columns = drift_progress.c
    held = connection.scalar(sa.select(columns.last_object_id).where(_THE_ROW).with_for_update())
    if held is None:
        connection.execute(sa.insert(drift_progress).values(id=1, last_object_id=batch.to))
    elif held != batch.after:
        return False
    else:
        connection.execute(sa.update(drift_progress).where(_THE_ROW).values(last_object_id=batch.to))
    return True


def _add(connection: Connection, sums: Mapping[Key, int]) -> None:
    columns = drift_count.c
    names = ("language", "week", "source", "measure", "item")
    held: set[Key] = set()
    for language, week in {key[:2] for key in sums}:
        query = sa.select(*(columns[n] for n in names)).where(columns.language == language, columns.week == week)
        for sources in batches({key[2] for key in sums if key[:2] == (language, week)}):
            held |= {tuple(row) for row in connection.execute(query.where(columns.source.in_(sources)))}
    known = [
        {f"key_{name}": value for name, value in zip(names, key, strict=True)} | {"more": count}
        for key, count in sums.items()
        if key in held and count
    ]
    if known:
        where = [columns[name] == sa.bindparam(f"key_{name}") for name in names]
        connection.execute(
            sa.update(drift_count).where(*where).values(count=columns["count"] + sa.bindparam("more")), known
        )
    new = [dict(zip(names, key, strict=True)) | {"count": count} for key, count in sums.items() if key not in held]
    if new:
        connection.execute(sa.insert(drift_count), new)


def _note_weeks(connection: Connection, counted: Sequence[Counted]) -> None:
    columns = drift_week.c
    weeks: dict[tuple[str, str], list[int]] = {}
    for each in counted:
        weeks.setdefault((each.report.language, each.report.week), []).append(each.report.object_id)
    for (language, week), ids in weeks.items():
        of = [columns.language == language, columns.week == week]
        done = connection.execute(
            sa.update(drift_week).where(*of).values(reports=columns.reports + len(ids), last_object_id=max(ids))
        )
        if not done.rowcount:
            connection.execute(
                sa.insert(drift_week).values(
                    language=language,
                    week=week,
                    reports=len(ids),
                    first_object_id=min(ids),
                    last_object_id=max(ids),
                    reference_reports=0,
                    instability={},
                    moves=[],
                    words=[],
                    is_alarm=False,
                    acknowledged_by="",
                )
            )


# --- words ---------------------------------------------------------------------------------------------------------


def _meet(connection: Connection, counted: Sequence[Counted]) -> list[int]:
    """Note the words that the lexicon doesn't know; of each report, how many were not known before its week, either."""
    held: dict[tuple[str, str], dict[str, Any]] = {}
    digests = {word: _digest(word) for each in counted for word in each.strangers}
    columns = drift_word.c
    for language in {each.report.language for each in counted}:
        wanted = {digests[word] for each in counted if each.report.language == language for word in each.strangers}
        for some in batches(wanted):
            query = sa.select(drift_word).where(columns.language == language, columns.digest.in_(some))
            held |= {(language, row.digest): dict(row._mapping) for row in connection.execute(query)}  # noqa: SLF001
    there = set(held)
    changed: set[tuple[str, str]] = set()
    unknown = []
    for each in counted:
        report, count = each.report, 0
        for word, times in each.strangers.items():
            key = report.language, digests[word]
            row = held.setdefault(key, _first_met(report, digests[word]))
            if row["known_from"] is not None and row["known_from"] < report.week:
                continue
            count += times
            changed.add(key)
            _meet_again(row, word, report)
        unknown.append(count)
    _write_words(connection, [held[key] for key in changed & there], [held[key] for key in changed - there])
    return unknown


def _first_met(report: Countable, digest: str) -> dict[str, Any]:
    return {
        "language": report.language,
        "digest": digest,
        "word": None,
        "reports": 0,
        "patients": [],
        "known_from": None,
        "last_week": report.week,
    }


def _meet_again(row: dict[str, Any], word: str, report: Countable) -> None:
    row["reports"] += 1
    row["last_week"] = max(row["last_week"], report.week)
    if row["known_from"] is not None:
        return
    if report.patient not in row["patients"]:
        row["patients"] = [*row["patients"], report.patient][:WORD_PATIENTS]
    if row["reports"] >= WORD_REPORTS and len(row["patients"]) >= WORD_PATIENTS:
        row |= {"word": word, "patients": [], "known_from": report.week}


def _write_words(connection: Connection, changed: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> None:
    columns = drift_word.c
    if changed:
        values = [row | {"of": row["language"], "by": row["digest"]} for row in changed]
        names = ("word", "reports", "patients", "known_from", "last_week")
        statement = (
            sa.update(drift_word)
            .where(columns.language == sa.bindparam("of"), columns.digest == sa.bindparam("by"))
            .values({name: sa.bindparam(f"new_{name}", type_=columns[name].type) for name in names})
        )
        connection.execute(
            statement,
            [{"of": row["of"], "by": row["by"]} | {f"new_{name}": row[name] for name in names} for row in values],
        )
    if new:
        connection.execute(sa.insert(drift_word), list(new))


def forget_words(database: Database, before: str) -> None:
    """Forget words that are known by their digest only, and weren't seen since the week `before`."""
    columns = drift_word.c

    def work(connection: Connection) -> None:
        connection.execute(sa.delete(drift_word).where(columns.known_from.is_(None), columns.last_week < before))

    database.transact(work)


def count_again(database: Database) -> None:
    """Forget all counts, weeks and words: what is held is counted anew, by what is current."""

    def work(connection: Connection) -> None:
        for table in (drift_count, drift_week, drift_word, drift_progress):
            connection.execute(sa.delete(table))

    database.transact(work)
