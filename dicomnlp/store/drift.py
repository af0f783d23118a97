"""Weeks of reports as they were counted, what came of comparing them, and whether anybody has seen it."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.errors import NotFoundError
from dicomnlp.model import to_json
from dicomnlp.store.database import Database
from dicomnlp.store.schema import CURRENT_ANALYSIS, analysis, finding, sop_instance
from dicomnlp.store.schema_drift import drift_count, drift_week, drift_word

MAXIMUM_WEEKS: Final = 520
MAXIMUM_WORDS: Final = 20
"""New words that are named in an alarm, those in most reports first."""

_OF_SOURCE = {"calling_ae_title": sop_instance.c.calling_ae_title, "station_name": sop_instance.c.station_name}


@dataclass(frozen=True, slots=True)
class DriftWeek:
    """A week of the reports in one language."""

    language: str
    week: str
    """Date of its Monday."""
    reports: int
    first_object_id: int
    last_object_id: int
    judged_at: dt.datetime | None
    """None: it isn't over, or its turn hasn't come."""
    reason_code: str | None
    """Why it wasn't compared: "few_reports" or "no_reference"."""
    reference_from: str | None
    reference_to: str | None
    """Mondays of the first and last week of the reference."""
    reference_reports: int
    instability: Mapping[str, float]
    moves: Sequence[Mapping[str, Any]]
    """What drifted, the largest first, as `review.drift.Move` in the public form with examples."""
    words: Sequence[str]
    """New words, where unknown ones are what drifted."""
    is_alarm: bool
    cleared_at: dt.datetime | None
    """When a later week took its place: an alarm is that of the last week that was compared."""
    acknowledged_at: dt.datetime | None
    acknowledged_by: str

    @property
    def state(self) -> str:
        """One word for people: "counting", why it wasn't compared, "alarm", "acknowledged", "cleared" or "stable"."""
        if self.judged_at is None:
            return "counting"
        if self.reason_code is not None:
            return self.reason_code
        if not self.is_alarm:
            return "stable"
        if self.acknowledged_at is not None:
            return "acknowledged"
        return "alarm" if self.cleared_at is None else "cleared"

    def to_json(self) -> dict[str, Any]:
        """In the public form."""
        values: dict[str, Any] = to_json(self)
        for name in ("first_object_id", "last_object_id", "is_alarm"):
            del values[name]
        return {**values, "state": self.state}


def read_weeks(database: Database, language: str | None = None, limit: int = 53) -> list[DriftWeek]:
    """The last `limit` weeks of each language, the latest first."""
    columns = drift_week.c
    query = sa.select(drift_week).order_by(columns.week.desc(), columns.language)
    if language is not None:
        query = query.where(columns.language == language)
    seen: dict[str, int] = {}
    found = []
    with database.read() as connection:
        for row in connection.execute(query):
            seen[row.language] = seen.get(row.language, 0) + 1
            if seen[row.language] <= limit:
                found.append(DriftWeek(**row._mapping))  # noqa: SLF001
    return found


def read_alarms(database: Database) -> list[DriftWeek]:
    """Alarms that stand, those that somebody has acknowledged included; one a language at the most."""
    columns = drift_week.c
    query = sa.select(drift_week).where(columns.is_alarm.is_(True), columns.cleared_at.is_(None))
    with database.read() as connection:
        rows = connection.execute(query.order_by(columns.language, columns.week)).all()
    return [DriftWeek(**row._mapping) for row in rows]  # noqa: SLF001


def read_counts(
    database: Database, language: str, weeks: Collection[str], source: str | None = None
) -> dict[str, dict[tuple[str, str, str], int]]:
    """Week -> (source, measure, item) -> how many; of one source only where it is given."""
    columns = drift_count.c
    found: dict[str, dict[tuple[str, str, str], int]] = {week: {} for week in weeks}
    with database.read() as connection:
        for week in weeks:
            query = sa.select(columns.source, columns.measure, columns.item, columns["count"]).where(
                columns.language == language, columns.week == week
            )
            if source is not None:
                query = query.where(columns.source == source)
            found[week] = {(row[0], row[1], row[2]): row[3] for row in connection.execute(query)}
    return found


def save_verdict(
    database: Database,
    week: DriftWeek,
    *,
    reason_code: str | None,
    reference: Sequence[DriftWeek],
    instability: Mapping[str, float],
    moves: Sequence[Mapping[str, Any]],
    words: Sequence[str],
) -> bool:
    """Keep what came of a week's comparison; whether it is an alarm that nobody has seen.

    An alarm of a week before ends with it. Where nothing drifted that wasn't acknowledged then, it is acknowledged.
    """
    return database.transact(
        lambda connection: _save_verdict(connection, week, reason_code, reference, instability, moves, words)
    )


def _save_verdict(
    connection: Connection,
    week: DriftWeek,
    reason_code: str | None,
    reference: Sequence[DriftWeek],
    instability: Mapping[str, float],
    moves: Sequence[Mapping[str, Any]],
    words: Sequence[str],
) -> bool:
    columns = drift_week.c
    now = dt.datetime.now(dt.UTC)
    values: dict[str, Any] = {}
    if reason_code is None:
        standing = [columns.language == week.language, columns.is_alarm.is_(True), columns.cleared_at.is_(None)]
        for row in connection.execute(sa.select(drift_week).where(*standing, columns.acknowledged_at.is_not(None))):
            if _what(moves) <= _what(row.moves):
                values = {"acknowledged_at": row.acknowledged_at, "acknowledged_by": row.acknowledged_by}
        connection.execute(sa.update(drift_week).where(*standing).values(cleared_at=now))
    connection.execute(
        sa.update(drift_week)
        .where(columns.language == week.language, columns.week == week.week)
        .values(
            judged_at=now,
            reason_code=reason_code,
            reference_from=min((w.week for w in reference), default=None),
            reference_to=max((w.week for w in reference), default=None),
            reference_reports=sum(w.reports for w in reference),
            instability=dict(instability),
            moves=list(moves),
            words=list(words),
            is_alarm=bool(moves),
            **(values if moves else {}),
        )
    )
    return bool(moves) and not values


def _what(moves: Sequence[Mapping[str, Any]]) -> set[tuple[str, str, str]]:
    return {(move["source"], move["measure"], move["item"]) for move in moves}


def acknowledge_drift(database: Database, language: str, week: str, by: str) -> DriftWeek:
    """Note that somebody has seen an alarm; what it is about is how reports are from now on.

    Raises
    ------
    NotFoundError
        No alarm stands for that week.
    """
    columns = drift_week.c
    where = [columns.language == language, columns.week == week, columns.is_alarm.is_(True)]

    def work(connection: Connection) -> DriftWeek:
        connection.execute(
            sa.update(drift_week)
            .where(*where, columns.acknowledged_at.is_(None))
            .values(acknowledged_at=dt.datetime.now(dt.UTC), acknowledged_by=by)
        )
        row = connection.execute(sa.select(drift_week).where(*where)).one_or_none()
        if row is None:
            raise NotFoundError("there is no alarm of that language and week")
        return DriftWeek(**row._mapping)  # noqa: SLF001

    return database.transact(work)


def new_words(database: Database, language: str, week: str) -> list[str]:
    """Words that weren't known before a week and came in it in reports of several patients; the most frequent first."""
    columns = drift_word.c
    query = (
        sa.select(columns.word)
        .where(columns.language == language, columns.known_from == week)
        .order_by(columns.reports.desc(), columns.word)
        .limit(MAXIMUM_WORDS)
    )
    with database.read() as connection:
        return list(connection.scalars(query))


def examples(
    database: Database, week: DriftWeek, source: str, measure: str, item: str, *, fell: bool, limit: int
) -> list[tuple[str, str]]:
    """(study, instance) of reports of a week that show how an item moved; where it fell, reports of that source."""
    columns = sop_instance.c
    where: list[Any] = [columns.id.between(week.first_object_id, week.last_object_id), columns.is_current.is_(True)]
    kind, _, name = source.partition(":")
    if kind in _OF_SOURCE:
        where.append(_OF_SOURCE[kind].in_([name, f"{name} ", f" {name}"]))
    query = (
        sa.select(columns.study_instance_uid, columns.sop_instance_uid)
        .join(analysis, sa.and_(analysis.c.object_id == columns.id, CURRENT_ANALYSIS))
        .where(*where, analysis.c.language == week.language)
    )
    if kind == "modality":
        query = query.where(analysis.c.modalities.cast(sa.Text).contains(f'"{name}"', autoescape=True))
    found = query
    if measure == "assertion" and item and not fell:
        found = _with_finding(query, finding.c.assertion == item)
    elif measure in {"concept", "present"} and item and not (fell and measure == "concept"):
        says = finding.c.assertion != "present" if fell else finding.c.assertion == "present"
        conditions = [finding.c.concept_id == item, *([says] if measure == "present" else [])]
        found = _with_finding(query, *conditions)
    with database.read() as connection:
        rows = connection.execute(found.order_by(columns.id.desc()).limit(limit)).all()
        rows = rows or connection.execute(query.order_by(columns.id.desc()).limit(limit)).all()
    return [(row[0], row[1]) for row in rows]


def _with_finding(query: Any, *conditions: Any) -> Any:
    return query.where(sa.exists().where(finding.c.analysis_id == analysis.c.id, *conditions))
