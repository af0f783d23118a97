"""Counts and failures: what an operator looks at."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.model import Outcome, State, is_uid, to_json
from dicomnlp.store.database import Database, read_revision
from dicomnlp.store.deliveries import DeliveryState
from dicomnlp.store.schema import IS_FAILURE, IS_REFUSED, LANE_REPROCESS, analysis, image, ledger, sop_instance
from dicomnlp.store.schema_delivery import delivery
from dicomnlp.store.scope import visible, visible_ledger


@dataclass(frozen=True, slots=True)
class Status:
    """Where the service stands."""

    counted_at: dt.datetime
    """When this was so: the web part asks the less often, the longer it takes."""
    objects: dict[str, int]
    """By state; every state is there."""
    ledger: dict[str, int]
    """Arrivals by outcome; every outcome is there."""
    reason_codes: dict[str, int]
    """Arrivals that were refused or quarantined, by reason."""
    failure_reason_codes: dict[str, int]
    """Failed objects, by reason."""
    oldest_pending_seconds: float | None
    """How long the longest waits, None when nothing is pending."""
    received_last_minute: int
    received_last_hour: int
    received_last_day: int
    analysed_last_hour: int
    deliveries: dict[str, int]
    """What others are to be told or sent (webhooks, mail, HL7, write-back): "waiting", and "dead" what was given up."""
    images: int
    """Of which the header is held."""
    original_bytes: int
    database_bytes: int
    pipelines: dict[str, int]
    """Current analyses by pipeline."""
    schema_revision: str | None

    def to_json(self) -> dict[str, Any]:
        """The status in the public form."""
        json: dict[str, Any] = to_json(self)
        return json


@dataclass(frozen=True, slots=True)
class Failure:
    """An arrival that was refused, or an object that is failed or in quarantine."""

    kind: str
    """"refused", "failed" or "quarantined"."""
    object_id: int | None
    """None when refused."""
    sop_instance_uid: str
    """"" when it is not well-formed, like `study_instance_uid`."""
    study_instance_uid: str
    reason_code: str | None
    attempts: int
    at: dt.datetime
    """When it was refused, quarantined or given up."""
    calling_ae_title: str

    def to_json(self) -> dict[str, Any]:
        """The failure in the public form."""
        json: dict[str, Any] = to_json(self)
        return json


def read_status(database: Database) -> Status:
    """Counts as of now, read from indexes alone (but for the reasons of failures)."""
    now = dt.datetime.now(dt.UTC)
    objects, arrivals = sop_instance.c, ledger.c
    with database.read() as connection:
        states = connection.execute(
            sa.select(objects.state, sa.func.count(), sa.func.sum(objects.size)).group_by(objects.state)
        ).all()
        # most are stored, and have no reason: to count these apart takes a fraction of what it takes to sort all
        outcomes = connection.execute(
            sa.union_all(
                sa.select(sa.literal(Outcome.STORED.value), sa.null(), sa.func.count()).where(
                    arrivals.outcome == Outcome.STORED.value
                ),
                sa.select(arrivals.outcome, arrivals.reason_code, sa.func.count())
                .where(arrivals.outcome != Outcome.STORED.value)
                .group_by(arrivals.outcome, arrivals.reason_code),
            )
        ).all()
        failures = connection.execute(
            sa.select(objects.reason_code, sa.func.count())
            .where(sa.text(IS_FAILURE), objects.state == State.FAILED.value)
            .group_by(objects.reason_code)
        ).all()
        oldest = connection.scalar(
            sa.select(sa.func.min(objects.state_changed_at)).where(objects.state == State.PENDING.value)
        )
        received = [
            _count_since(connection, arrivals.received_at, now - dt.timedelta(seconds=s)) for s in (60, 3600, 86400)
        ]
        pipelines = connection.execute(
            sa.select(analysis.c.pipeline, sa.func.count())
            .where(analysis.c.is_current.is_(True))
            .group_by(analysis.c.pipeline)
        ).all()
        # what was sent grows for ever, and is nobody's concern here
        open_or_dead = {
            state.value: connection.scalar(
                sa.select(sa.func.count()).select_from(delivery).where(delivery.c.state == state.value)
            )
            or 0
            for state in (DeliveryState.WAITING, DeliveryState.DEAD)
        }
        reasons: dict[str, int] = {}
        for _, reason_code, count in outcomes:
            if reason_code is not None:
                reasons[reason_code] = reasons.get(reason_code, 0) + count
        return Status(
            counted_at=now,
            objects={s.value: sum(n for state, n, _ in states if state == s) for s in State},
            ledger={o.value: sum(n for outcome, _, n in outcomes if outcome == o) for o in Outcome},
            reason_codes=dict(sorted(reasons.items())),
            failure_reason_codes={reason or "unknown": n for reason, n in failures},
            # a clock that was set back must not make it negative
            oldest_pending_seconds=max(0.0, (now - oldest).total_seconds()) if oldest else None,
            received_last_minute=received[0],
            received_last_hour=received[1],
            received_last_day=received[2],
            analysed_last_hour=_count_since(connection, analysis.c.analysed_at, now - dt.timedelta(hours=1)),
            deliveries=open_or_dead,
            images=connection.scalar(sa.select(sa.func.count()).select_from(image)) or 0,
            original_bytes=int(sum(size for _, _, size in states)),
            database_bytes=_database_bytes(connection),
            pipelines=dict(pipelines),
            schema_revision=read_revision(connection),
        )


def _count_since(connection: Connection, column: sa.Column[dt.datetime], moment: dt.datetime) -> int:
    return connection.scalar(sa.select(sa.func.count()).where(column >= moment)) or 0


def _database_bytes(connection: Connection) -> int:
    if connection.dialect.name == "sqlite":
        query = sa.text("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
    else:
        query = sa.text("SELECT pg_database_size(current_database())")
    return int(connection.scalar(query) or 0)


def read_failures(database: Database, limit: int) -> list[Failure]:
    """The latest `limit` arrivals refused and objects failed or quarantined, the latest first."""
    arrivals, objects = ledger.c, sop_instance.c
    failures: list[Failure] = []
    with database.read() as connection:
        refused = connection.execute(
            sa.select(ledger)
            .where(sa.text(IS_REFUSED), arrivals.outcome == Outcome.REFUSED.value, *visible_ledger(database.scope))
            .order_by(arrivals.id.desc())
            .limit(limit)
        )
        failures += [
            Failure(
                kind=Outcome.REFUSED.value,
                object_id=None,
                sop_instance_uid=row.sop_instance_uid or "",
                study_instance_uid=row.study_instance_uid or "",
                reason_code=row.reason_code,
                attempts=0,
                at=row.received_at,
                calling_ae_title=row.calling_ae_title,
            )
            for row in refused
        ]
        bad = connection.execute(
            sa.select(sop_instance)
            .where(sa.text(IS_FAILURE), *visible(database.scope))
            .order_by(objects.state_changed_at.desc(), objects.id.desc())
            .limit(limit)
        )
        failures += [
            Failure(
                kind=row.state,
                object_id=row.id,
                sop_instance_uid=_shown(row.sop_instance_uid),
                study_instance_uid=_shown(row.study_instance_uid),
                reason_code=row.reason_code,
                attempts=row.attempts,
                at=row.state_changed_at,
                calling_ae_title=row.calling_ae_title,
            )
            for row in bad
        ]
    failures.sort(key=lambda f: f.at, reverse=True)
    return failures[:limit]


def _shown(uid: str) -> str:
    return uid if is_uid(uid) else ""


def retry_failed(database: Database) -> int:
    """Make all failed objects pending again, with their attempts forgotten; how many these are."""
    objects = sop_instance.c

    def work(connection: Connection) -> int:
        return connection.execute(
            sa.update(sop_instance)
            .where(objects.state == State.FAILED.value, *visible(database.scope))
            .values(
                state=State.PENDING.value,
                state_changed_at=dt.datetime.now(dt.UTC),
                reason_code=None,
                attempts=0,
                lane=LANE_REPROCESS,
            )
        ).rowcount

    return database.transact(work)
