"""Storage that senders asked to be committed: what is held, what was answered, and what is still to be told."""

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.model import State
from dicomnlp.store.batches import batches
from dicomnlp.store.database import Database
from dicomnlp.store.schema import sop_instance
from dicomnlp.store.schema_archives import IS_UNREPORTED, storage_commitment

PROCESSING_FAILURE: Final = 0x0110
NO_SUCH_OBJECT_INSTANCE: Final = 0x0112
CLASS_INSTANCE_CONFLICT: Final = 0x0119
"""Failure reasons (0008,1197), PS3.3 C.14.1.1."""
FAILURE_REASONS: Final[dict[int, str]] = {
    PROCESSING_FAILURE: "it is in quarantine, and its C-STORE was answered with a failure",
    NO_SUCH_OBJECT_INSTANCE: "it isn't held, or is an image of which only the header is",
    CLASS_INSTANCE_CONFLICT: "it is held as of another SOP class",
}
"""When each is given."""

LONGEST_PAUSE: Final = dt.timedelta(hours=1)
GIVEN_UP_AFTER: Final = dt.timedelta(days=7)
"""A requestor that can't be reached for so long has asked again by then."""


@dataclass(frozen=True, slots=True)
class CommittedInstance:
    """An instance of a request, and what is promised of it."""

    sop_class_uid: str
    sop_instance_uid: str
    failure_reason: int
    """0: it is held, and will be."""


@dataclass(frozen=True, slots=True)
class Commitment:
    """A request, and its answer."""

    id: int
    transaction_uid: str
    calling_ae_title: str
    called_ae_title: str
    instances: tuple[CommittedInstance, ...]

    @property
    def failures(self) -> int:
        """How many instances aren't held."""
        return sum(each.failure_reason != 0 for each in self.instances)


def commit_storage(
    database: Database,
    transaction_uid: str,
    calling_ae_title: str,
    called_ae_title: str,
    references: Sequence[tuple[str, str]],
    *,
    reports_by_itself: bool,
) -> Commitment:
    """Decide about a request, and keep it with its answer; the same transaction again is decided anew.

    Of an image only the header is held, so that it is not committed. What is in quarantine was answered with a failure
    when it came, and is answered with one here.

    Parameters
    ----------
    references
        (SOP Class UID, SOP Instance UID) of each instance.
    reports_by_itself
        Whether the requestor's address is known, so that it can be told over an association of its own.
    """
    now = dt.datetime.now(dt.UTC)

    def work(connection: Connection) -> Commitment:
        instances = _decide(connection, references)
        columns = storage_commitment.c
        values = {
            "called_ae_title": called_ae_title,
            "requested_at": now,
            "instances": [[i.sop_class_uid, i.sop_instance_uid, i.failure_reason] for i in instances],
            "failures": sum(i.failure_reason != 0 for i in instances),
            "reported_at": None,
            "attempts": 0,
            "next_attempt_at": now if reports_by_itself else None,
            "reason_code": None,
        }
        key = {"calling_ae_title": calling_ae_title, "transaction_uid": transaction_uid}
        where = [columns[name] == value for name, value in key.items()]
        number = connection.scalar(sa.select(columns.id).where(*where).with_for_update())
        if number is None:
            inserted = connection.execute(sa.insert(storage_commitment).values(**key, **values))
            assert inserted.inserted_primary_key is not None
            number = inserted.inserted_primary_key[0]
        else:
            connection.execute(sa.update(storage_commitment).where(columns.id == number).values(**values))
        return Commitment(int(number), transaction_uid, calling_ae_title, called_ae_title, tuple(instances))

    return database.transact(work)


def _decide(connection: Connection, references: Sequence[tuple[str, str]]) -> list[CommittedInstance]:
    columns = sop_instance.c
    held: defaultdict[str, set[str]] = defaultdict(set)
    quarantined: set[str] = set()
    for batch in batches({uid for _, uid in references}):
        rows = connection.execute(
            sa.select(columns.sop_instance_uid, columns.sop_class_uid, columns.state)
            .where(columns.sop_instance_uid.in_(batch))
            .distinct()
        )
        for uid, sop_class_uid, state in rows:
            if state == State.QUARANTINED.value:
                quarantined.add(uid)
            else:
                held[uid].add(sop_class_uid)
    return [CommittedInstance(c, uid, _failure(c, held.get(uid), uid in quarantined)) for c, uid in references]


def _failure(sop_class_uid: str, held: set[str] | None, is_quarantined: bool) -> int:
    if held is None:
        return PROCESSING_FAILURE if is_quarantined else NO_SUCH_OBJECT_INSTANCE
    return 0 if sop_class_uid in held else CLASS_INSTANCE_CONFLICT


def next_unreported(database: Database) -> Commitment | None:
    """The answer that is to be sent next over an association of this service's own, if it is time to."""
    columns = storage_commitment.c
    query = (
        sa.select(storage_commitment)
        .where(sa.text(IS_UNREPORTED), columns.next_attempt_at <= dt.datetime.now(dt.UTC))
        .order_by(columns.next_attempt_at)
        .limit(1)
    )
    with database.read() as connection:
        row = connection.execute(query).mappings().first()
    return None if row is None else _commitment(row)


def note_reported(database: Database, number: int) -> None:
    """The requestor has taken the answer."""
    columns = storage_commitment.c
    database.transact(
        lambda connection: connection.execute(
            sa.update(storage_commitment)
            .where(columns.id == number)
            .values(
                reported_at=dt.datetime.now(dt.UTC),
                attempts=columns.attempts + 1,
                next_attempt_at=None,
                reason_code=None,
            )
        )
    )


def note_unreported(database: Database, number: int, reason_code: str) -> None:
    """The answer couldn't be sent: it is tried again after twice as long, until it is given up."""
    now = dt.datetime.now(dt.UTC)

    def work(connection: Connection) -> None:
        columns = storage_commitment.c
        row = connection.execute(sa.select(storage_commitment).where(columns.id == number).with_for_update()).first()
        if row is None:
            return
        pause = min(LONGEST_PAUSE, dt.timedelta(seconds=5 * 2 ** min(row.attempts, 20)))
        given_up = now - row.requested_at > GIVEN_UP_AFTER
        connection.execute(
            sa.update(storage_commitment)
            .where(columns.id == number)
            .values(
                attempts=row.attempts + 1,
                next_attempt_at=None if given_up else now + pause,
                reason_code=reason_code,
            )
        )

    database.transact(work)


def _commitment(row: Any) -> Commitment:
    return Commitment(
        id=row["id"],
        transaction_uid=row["transaction_uid"],
        calling_ae_title=row["calling_ae_title"],
        called_ae_title=row["called_ae_title"],
        instances=tuple(CommittedInstance(*each) for each in row["instances"]),
    )
