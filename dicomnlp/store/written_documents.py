"""What was written of reports for others to keep, what takes the place of what, and who is still to get it.

A document says what its report says; when that changes another one takes its place. Rows of `delivery` with the topic
`document` say who is to get which, and who has got it.
"""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from dicomnlp.model import State
from dicomnlp.store.batches import batches, select_in
from dicomnlp.store.database import Database
from dicomnlp.store.deliveries import DeliveryState, new_analyses, progress_of
from dicomnlp.store.facts import related_to
from dicomnlp.store.intake import lock_instances
from dicomnlp.store.prevailing import ReportStatus
from dicomnlp.store.schema import CURRENT_ANALYSIS, analysis, report_reference, report_standing, sop_instance
from dicomnlp.store.schema_delivery import delivery, destination
from dicomnlp.store.schema_write_back import written_document

TOPIC: Final = "document"
"""Of the deliveries that are of documents."""
OVERTAKEN: Final = "overtaken"
"""Why a delivery was dropped: a later document took the place of one that nobody had."""
_CURSOR: Final = "documents:"
"""Begins the names of rows of `destination` that are of documents: a name in the configuration has no colon."""

D = written_document.c


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it is sent."""

    form: str
    """"sr" or "fhir"."""
    document_uid: str
    object_id: int | None
    source_sop_instance_uid: str
    study_instance_uid: str
    pipeline: str
    content_sha256: str
    data: bytes = field(repr=False)
    series_instance_uid: str | None = None
    is_withdrawal: bool = False
    predecessors: tuple[str, ...] = ()
    """`document_uid` of those whose place it takes."""
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a report stands, and what was written before of what it says now."""

    status: ReportStatus
    own: Document | None
    """The latest document of the report itself."""
    taken_over: tuple[Document, ...]
    """The latest documents of reports in whose place it stands."""


@dataclass(frozen=True, slots=True)
class Due:
    """A document that somebody is to get."""

    delivery_id: int
    destination: str
    attempts: int
    created_at: dt.datetime
    document: Document


# --- what is to be looked at


def next_to_look_at(database: Database, name: str, limit: int) -> tuple[list[int], int | None]:
    """Objects of which there may be something new to send to a destination, and the analysis that this goes up to.

    These are what was analysed since it was last asked, with all reports whose standing depends on that; of them those
    that came since the destination was asked about first, and those of which something was written before.

    Returns
    -------
    tuple
        Rows of objects, and what to give to `looked_at` when they are done; None when nothing was analysed.
    """
    progress = progress_of(database, _CURSOR + name)
    analyses = new_analyses(database, progress.analysis_id, limit)
    if not analyses:
        return [], None
    with database.read() as connection:
        objects = {object_id for _, object_id in analyses}
        named = select_in(connection, report_reference.c.sop_instance_uid, report_reference.c.object_id, objects)
        related = related_to(connection, objects, named)
        columns = sop_instance.c
        written = sa.exists().where(D.source_sop_instance_uid == columns.sop_instance_uid)
        wanted = sa.or_(columns.id > progress.from_object_id, written)
        found = select_in(connection, columns.id, columns.id, related, columns.is_current, wanted)
        return sorted(found), analyses[-1][0]


def looked_at(database: Database, name: str, analysis_id: int) -> None:
    """Note how far a destination is."""
    database.transact(
        lambda connection: connection.execute(
            sa.update(destination).where(destination.c.name == _CURSOR + name).values(analysis_id=analysis_id)
        )
    )


def no_longer_true(database: Database, after: int, limit: int) -> list[int]:
    """Objects whose latest document is of another pipeline or standing than the report has now, in their order.

    So it is after a pipeline was promoted, a note revoked or a study assigned, which no analysis tells of.

    Parameters
    ----------
    after
        Only objects behind this one.
    limit
        So many at the most.
    """
    withdrawn, prevailing = ReportStatus.WITHDRAWN.value, ReportStatus.PREVAILING.value
    standing = report_standing.c
    query = (
        sa.select(D.object_id)
        .join_from(written_document, analysis, analysis.c.object_id == D.object_id)
        .join(report_standing, standing.object_id == D.object_id)
        .where(
            D.is_latest,
            D.object_id > after,
            CURRENT_ANALYSIS,
            sa.or_(
                sa.and_(standing.status == prevailing, D.is_withdrawal),
                sa.and_(standing.status == withdrawn, sa.not_(D.is_withdrawal)),
                sa.and_(standing.status == prevailing, D.pipeline != analysis.c.pipeline),
            ),
        )
        .distinct()
        .order_by(D.object_id)
        .limit(limit)
    )
    with database.read() as connection:
        return list(connection.scalars(query))


def objects_of_study(database: Database, study_instance_uid: str) -> list[int]:
    """The reports that are filed under a study, and are analysed."""
    columns = sop_instance.c
    query = sa.select(columns.id).where(
        columns.study_instance_uid == study_instance_uid, columns.is_current, columns.state == State.ANALYSED.value
    )
    with database.read() as connection:
        return sorted(connection.scalars(query))


# --- what takes the place of what


def lineage_of(database: Database, object_id: int, form: str) -> Lineage | None:
    """Where a report stands and what was written of it; None for what has no standing."""
    standing = report_standing.c
    with database.read() as connection:
        row = connection.execute(
            sa.select(standing.status, sop_instance.c.sop_instance_uid)
            .join_from(report_standing, sop_instance, sop_instance.c.id == standing.object_id)
            .where(standing.object_id == object_id, sop_instance.c.is_current)
        ).one_or_none()
        if row is None:
            return None
        latest = _latest(connection, {row.sop_instance_uid} | _replaced_by(connection, row.sop_instance_uid), form)
    own = [d for d in latest if d.source_sop_instance_uid == row.sop_instance_uid]
    others = tuple(d for d in latest if d.source_sop_instance_uid != row.sop_instance_uid)
    return Lineage(ReportStatus(row.status), own[0] if own else None, others)


def _replaced_by(connection: Connection, sop_instance_uid: str) -> set[str]:
    """SOP Instance UIDs of the reports in whose place one stands, theirs included."""
    standing = report_standing.c
    found: set[str] = set()
    ahead = {sop_instance_uid}
    query = (
        sa.select(sop_instance.c.sop_instance_uid)
        .join_from(report_standing, sop_instance, sop_instance.c.id == standing.object_id)
        .where(standing.status.in_([ReportStatus.SUPERSEDED.value, ReportStatus.IDENTICAL.value]))
    )
    while ahead:
        new: set[str] = set()
        for batch in batches(ahead):
            new.update(connection.scalars(query.where(standing.superseded_by.in_(batch))))
        ahead = new - found - {sop_instance_uid}
        found |= ahead
    return found


def _latest(connection: Connection, sources: Collection[str], form: str) -> list[Document]:
    rows: list[RowMapping] = []
    for batch in batches(sources):
        query = sa.select(written_document).where(D.source_sop_instance_uid.in_(batch), D.form == form, D.is_latest)
        rows += connection.execute(query).mappings()
    return [_document(row) for row in sorted(rows, key=lambda row: row["id"])]


def _document(row: RowMapping) -> Document:
    return Document(
        form=row["form"],
        document_uid=row["document_uid"],
        object_id=row["object_id"],
        source_sop_instance_uid=row["source_sop_instance_uid"],
        study_instance_uid=row["study_instance_uid"],
        pipeline=row["pipeline"],
        content_sha256=row["content_sha256"],
        data=row["data"],
        series_instance_uid=row["series_instance_uid"],
        is_withdrawal=row["is_withdrawal"],
        predecessors=tuple(row["predecessors"]),
        left_out=row["left_out"] or {},
    )


def sent_ancestors(database: Database, documents: Sequence[Document]) -> list[Document]:
    """These documents; in place of one that was never sent those that it would have taken the place of."""
    columns = delivery.c
    found: dict[str, Document] = {}
    ahead = list(documents)
    with database.read() as connection:
        while ahead:
            document = ahead.pop(0)
            was_sent = sa.exists().where(
                columns.key == document.document_uid,
                columns.topic == TOPIC,
                sa.or_(columns.state == DeliveryState.SENT.value, columns.attempts > 0),
            )
            if connection.scalar(sa.select(was_sent)):
                found[document.document_uid] = document
            elif document.predecessors:
                query = sa.select(written_document).where(D.document_uid.in_(document.predecessors))
                ahead += [_document(row) for row in connection.execute(query.order_by(D.id)).mappings()]
    return list(found.values())


def keep_document(
    database: Database, document: Document, destinations: Collection[str], known: Collection[str] = ()
) -> bool:
    """Keep a document and note who is to get it; what nobody has yet of those whose place it takes is not sent.

    Parameters
    ----------
    destinations
        Who is to get it.
    known
        Who is to get it, too, if they got one of those whose place it takes: else they would keep what isn't true.

    Returns
    -------
    bool
        False, and nothing is changed, when another document took the place of its predecessors meanwhile.
    """

    def work(connection: Connection) -> bool:
        lock_instances(connection, [document.source_sop_instance_uid])
        own = D.source_sop_instance_uid == document.source_sop_instance_uid
        now_latest = set(connection.scalars(sa.select(D.document_uid).where(own, D.form == document.form, D.is_latest)))
        replaced = list(
            connection.scalars(sa.select(D.document_uid).where(D.document_uid.in_(document.predecessors), D.is_latest))
        )
        if not now_latest <= set(replaced) or len(replaced) < len(document.predecessors):
            return False
        now = dt.datetime.now(dt.UTC)
        columns = delivery.c
        had = select_in(connection, columns.destination, columns.key, replaced, columns.topic == TOPIC)
        if replaced:
            connection.execute(sa.update(written_document).where(D.document_uid.in_(replaced)).values(is_latest=False))
            connection.execute(
                sa.update(delivery)
                .where(columns.topic == TOPIC, columns.key.in_(replaced), columns.state == DeliveryState.WAITING.value)
                .values(state=DeliveryState.DROPPED.value, due_at=None, changed_at=now, reason_code=OVERTAKEN)
            )
        connection.execute(
            sa.insert(written_document).values(
                form=document.form,
                document_uid=document.document_uid,
                series_instance_uid=document.series_instance_uid,
                object_id=document.object_id,
                source_sop_instance_uid=document.source_sop_instance_uid,
                study_instance_uid=document.study_instance_uid,
                pipeline=document.pipeline,
                is_withdrawal=document.is_withdrawal,
                is_latest=True,
                content_sha256=document.content_sha256,
                predecessors=list(document.predecessors),
                left_out=document.left_out,
                data=document.data,
                written_at=now,
            )
        )
        _order(connection, document, sorted({*destinations, *(set(had) & set(known))}), now)
        return True

    return database.transact(work)


def order(database: Database, document: Document, destinations: Collection[str]) -> int:
    """Note who is to get a document that is kept, unless it has it already; how many are to get it now.

    That it says what the report says by the pipeline which is current now is noted, too.
    """

    def work(connection: Connection) -> int:
        connection.execute(
            sa.update(written_document)
            .where(D.document_uid == document.document_uid)
            .values(pipeline=document.pipeline)
        )
        return _order(connection, document, destinations, dt.datetime.now(dt.UTC))

    return database.transact(work)


def _order(connection: Connection, document: Document, destinations: Collection[str], now: dt.datetime) -> int:
    columns = delivery.c
    of_document = (columns.key == document.document_uid, columns.topic == TOPIC)
    held = set(connection.scalars(sa.select(columns.destination).where(*of_document)))
    # what was given up is tried again for who asks again
    again = (*of_document, columns.destination.in_(sorted(destinations)), columns.state == DeliveryState.DEAD.value)
    connection.execute(
        sa.update(delivery)
        .where(*again)
        .values(state=DeliveryState.WAITING.value, attempts=0, created_at=now, due_at=now, changed_at=now)
    )
    new = [name for name in destinations if name not in held]
    if new and document.object_id is not None:
        connection.execute(
            sa.insert(delivery),
            [
                {
                    "destination": name,
                    "topic": TOPIC,
                    "key": document.document_uid,
                    "object_id": document.object_id,
                    "study_instance_uid": document.study_instance_uid,
                    "sop_instance_uid": document.source_sop_instance_uid,
                    "concept_id": None,
                    "state": DeliveryState.WAITING.value,
                    "attempts": 0,
                    "created_at": now,
                    "due_at": now,
                    "changed_at": now,
                    "reason_code": None,
                }
                for name in new
            ],
        )
    return len(new)


# --- who is still to get it


def due(
    database: Database,
    destinations: Collection[str],
    limit: int,
    studies: Collection[str] = (),
    but: Collection[int] = (),
) -> list[Due]:
    """Documents that are to be sent now, in the order in which they were written.

    Parameters
    ----------
    destinations
        To these.
    limit
        So many at the most.
    studies
        Of these only, whenever their next attempt is; none: of all, when it is due.
    but
        Without these deliveries.
    """
    columns = delivery.c
    query = (
        sa.select(
            columns.id.label("delivery_id"), columns.destination, columns.attempts, columns.created_at, written_document
        )
        .join_from(delivery, written_document, D.document_uid == columns.key)
        .where(
            columns.topic == TOPIC,
            columns.state == DeliveryState.WAITING.value,
            columns.destination.in_(sorted(destinations)),
        )
    )
    if studies:
        query = query.where(columns.study_instance_uid.in_(sorted(studies)))
        query = query.where(columns.id.not_in(sorted(but)))
    else:
        query = query.where(columns.due_at <= dt.datetime.now(dt.UTC))
    with database.read() as connection:
        rows = connection.execute(query.order_by(D.id).limit(limit)).mappings().all()
    return [
        Due(row["delivery_id"], row["destination"], row["attempts"], row["created_at"], _document(row)) for row in rows
    ]


def note_sent(database: Database, delivery_ids: Sequence[int]) -> None:
    """These have arrived."""
    _note(database, delivery_ids, state=DeliveryState.SENT.value, due_at=None, reason_code=None)


def note_failed(database: Database, delivery_id: int, reason_code: str, again_at: dt.datetime | None) -> None:
    """One was not taken; it is tried again at a time, or given up."""
    state = DeliveryState.DEAD.value if again_at is None else DeliveryState.WAITING.value
    _note(database, [delivery_id], state=state, due_at=again_at, reason_code=reason_code, failed=True)


def _note(
    database: Database,
    delivery_ids: Sequence[int],
    *,
    state: str,
    due_at: dt.datetime | None,
    reason_code: str | None,
    failed: bool = False,
) -> None:
    columns = delivery.c
    values = {"state": state, "due_at": due_at, "reason_code": reason_code, "changed_at": dt.datetime.now(dt.UTC)}

    def work(connection: Connection) -> None:
        for batch in batches(delivery_ids):
            connection.execute(
                sa.update(delivery)
                # one that was dropped meanwhile has arrived all the same
                .where(columns.id.in_(batch))
                .values(**values, attempts=columns.attempts + int(failed))
            )

    database.transact(work)
