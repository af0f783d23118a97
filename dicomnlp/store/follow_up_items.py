"""Items of follow-up: written when a patient's course changes, and listed by where they stand."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.model import Recommendation, RecommendationKind
from dicomnlp.store.batches import batches
from dicomnlp.store.cursors import check_page, decode, place_after
from dicomnlp.store.database import Database
from dicomnlp.store.patients import is_patient
from dicomnlp.store.records import from_json
from dicomnlp.store.schema import image, sop_instance
from dicomnlp.store.schema_follow_up import NEVER, follow_up_decision, follow_up_item
from dicomnlp.store.scope import scope_of, visible

MAXIMUM_PAGE = 1000
STATES = ("open", "due", "overdue", "done", "dismissed")
"""Where an item stands on a day."""
_COMPARED = (
    "object_id",
    "study_date",
    "category",
    "modalities",
    "procedure",
    "anatomy_id",
    "laterality",
    "kind",
    "conditional",
    "due_from",
    "due_to",
    "overdue_on",
    "status",
    "done_study_instance_uid",
    "done_on",
    "statement",
    "explanation",
)
"""Columns that are written when one of them differs."""


@dataclass(frozen=True, slots=True)
class ItemFilters:
    """What an item must be; all fields given must fit."""

    states: tuple[str, ...] = ()
    """Of `STATES`, any of them; () for all."""
    category: str | None = None
    modality: str | None = None
    """One that will do."""
    anatomy: tuple[str, ...] = ()
    """Ids of sites, parts included by who asks."""
    kind: RecommendationKind | None = None
    conditional: bool | None = None
    due_from: dt.date | None = None
    """Due to be done on this day or later; what names no time fits not."""
    due_to: dt.date | None = None
    date_from: dt.date | None = None
    """Of the study; both ends belong to the range."""
    date_to: dt.date | None = None
    patient_id: str | None = None
    study_instance_uid: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Why and by whom an item was dismissed, and whether that was undone."""

    reason: str
    note: str
    decided_at: dt.datetime
    decided_by: str
    undone_at: dt.datetime | None
    undone_by: str | None


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item, as it stands on the day on which it was asked for."""

    id: int
    state: str
    study_instance_uid: str
    sop_instance_uid: str
    patient_id: str
    issuer_of_patient_id: str
    study_date: str
    """YYYYMMDD, "" when nothing tells it; as all dates here."""
    category: str
    modalities: tuple[str, ...]
    procedure: str | None
    anatomy_id: str | None
    laterality: str | None
    kind: RecommendationKind
    conditional: bool
    due_from: str | None
    due_to: str | None
    overdue_on: str | None
    """The first day on which it is overdue; None: never."""
    done_study_instance_uid: str | None
    """None also where that study isn't within the scope of who asks."""
    done_on: str | None
    recommendation: Recommendation
    explanation: dict[str, Any] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()
    """The latest last; only of an item that is asked for by itself."""


@dataclass(frozen=True, slots=True)
class ItemPage:
    """A part of the list."""

    items: list[StoredItem]
    next: str | None
    """What the next page is asked for with; None when this is the last."""


# --- writing ---------------------------------------------------------------------------------------------------------


def write_items(connection: Connection, studies: Iterable[str], rows: Sequence[Mapping[str, Any]]) -> int:
    """Let the items of `studies` be `rows`, as far as people haven't dismissed them; how many rows were written.

    Parameters
    ----------
    studies
        All that were looked at; what they had and is not among `rows` goes.
    rows
        Values of the columns, all but `id` and `changed_at`; `status` is "waiting" or "done".
    """
    columns, wanted = follow_up_item.c, {(row["study_instance_uid"], row["key"]): dict(row) for row in rows}
    held: dict[tuple[str, str], RowMapping] = {}
    for batch in batches(sorted(set(studies))):
        query = (
            sa.select(follow_up_item)
            .where(columns.study_instance_uid.in_(batch))
            .order_by(columns.id)
            # nobody dismisses one of them between here and the end
            .with_for_update()
        )
        held.update({(r["study_instance_uid"], r["key"]): r for r in connection.execute(query).mappings()})
        for key in _dismissed(connection, batch):
            if key in wanted:
                wanted[key]["status"] = "dismissed"
    gone = [row["id"] for key, row in held.items() if key not in wanted]
    for some in batches(gone):
        connection.execute(sa.delete(follow_up_item).where(columns.id.in_(some)))
    now = dt.datetime.now(dt.UTC)
    new = [{**row, "changed_at": now} for key, row in wanted.items() if key not in held]
    changed = [
        {**{f"new_{name}": row[name] for name in _COMPARED}, "new_changed_at": now, "of_item": held[key]["id"]}
        for key, row in wanted.items()
        if key in held and any(held[key][name] != row[name] for name in _COMPARED)
    ]
    if new:
        connection.execute(sa.insert(follow_up_item), new)
    if changed:
        values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in (*_COMPARED, "changed_at")}
        connection.execute(
            sa.update(follow_up_item).where(columns.id == sa.bindparam("of_item")).values(values), changed
        )
    return len(gone) + len(new) + len(changed)


def studies_answered_by(connection: Connection, study_instance_uids: Iterable[str]) -> set[str]:
    """Studies with an item that one of these studies answers: if that changes, they are to be looked at, too."""
    columns = follow_up_item.c
    return {
        uid
        for batch in batches(sorted(set(study_instance_uids)))
        for uid in connection.scalars(
            sa.select(columns.study_instance_uid).where(columns.done_study_instance_uid.in_(batch)).distinct()
        )
    }


def _dismissed(connection: Connection, studies: Sequence[str]) -> set[tuple[str, str]]:
    columns = follow_up_decision.c
    query = sa.select(columns.study_instance_uid, columns.key).where(
        columns.study_instance_uid.in_(studies), columns.undone_at.is_(None)
    )
    return {(row.study_instance_uid, row.key) for row in connection.execute(query)}


# --- reading ---------------------------------------------------------------------------------------------------------


def list_items(
    database: Database, filters: ItemFilters, *, today: dt.date, after: str | None = None, limit: int = 100
) -> ItemPage:
    """One page of the items that fit, what is overdue longest first and what never is last.

    Parameters
    ----------
    today
        The day on which it is asked what is due.
    after
        `ItemPage.next` of the page before.
    limit
        1 to `MAXIMUM_PAGE`.

    Raises
    ------
    UsageError
        `after` is none of ours, or `limit` isn't within its bounds.
    """
    check_page(limit, MAXIMUM_PAGE, "items")
    columns = follow_up_item.c
    query = _items().order_by(columns.overdue_on, columns.id).limit(limit + 1)
    if after is not None:
        date, number = decode(after, "date", "number")
        query = query.where(sa.tuple_(columns.overdue_on, columns.id) > sa.tuple_(sa.literal(date), int(number)))
    with database.read() as connection:
        rows = connection.execute(query.where(*_conditions(connection, filters, today))).mappings().all()
        seen = _visible_studies(connection, {row["done_study_instance_uid"] for row in rows[:limit]} - {None})
    return ItemPage([_item(row, today, seen) for row in rows[:limit]], place_after(rows, limit, "overdue_on", "id"))


def count_items(database: Database, *, today: dt.date) -> dict[str, int]:
    """How many items stand where."""
    columns = follow_up_item.c
    found = {}
    with database.read() as connection:
        scope = scope_of(connection)
        for state in STATES:
            query = sa.select(sa.func.count()).select_from(follow_up_item).where(_is(state, f"{today:%Y%m%d}"))
            if not scope.is_everything:
                query = query.join(sop_instance, sop_instance.c.id == columns.object_id).where(*visible(scope))
            found[state] = connection.scalar(query) or 0
    return found


def read_item(database: Database, item_id: int, *, today: dt.date) -> StoredItem:
    """One item with all that explains it.

    Raises
    ------
    NotFoundError
        There is none of this number, or it isn't within the scope.
    """
    with database.read() as connection:
        row = row_of(connection, item_id)
        named = {row["done_study_instance_uid"], *(j["study_instance_uid"] for j in row["explanation"]["examinations"])}
        seen = _visible_studies(connection, named - {None})
        columns = follow_up_decision.c
        decisions = connection.execute(
            sa.select(follow_up_decision)
            .where(columns.study_instance_uid == row["study_instance_uid"], columns.key == row["key"])
            .order_by(columns.id)
        ).mappings()
        return _item(row, today, seen, [_decision(d) for d in decisions])


def _items() -> sa.Select[Any]:
    held = sop_instance.c
    return sa.select(follow_up_item, held.sop_instance_uid, held.patient_id, held.issuer_of_patient_id).join_from(
        follow_up_item, sop_instance, held.id == follow_up_item.c.object_id
    )


def row_of(connection: Connection, item_id: int) -> RowMapping:
    """The row of one item, with whose it is; raises as `read_item`."""
    query = _items().where(follow_up_item.c.id == item_id, *visible(scope_of(connection)))
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFoundError("there is no item of follow-up of this number")
    return row


def _is(state: str, today: str) -> sa.ColumnElement[bool]:
    columns = follow_up_item.c
    waits = columns.status == "waiting"
    if state == "open":
        return sa.and_(waits, sa.or_(columns.overdue_on == NEVER, columns.due_from > today))
    if state == "due":
        return sa.and_(waits, columns.due_from <= today, columns.overdue_on > today, columns.overdue_on < NEVER)
    if state == "overdue":
        return sa.and_(waits, columns.due_from <= today, columns.overdue_on <= today)
    return columns.status == state


def _conditions(connection: Connection, filters: ItemFilters, today: dt.date) -> Iterator[sa.ColumnElement[bool]]:
    columns = follow_up_item.c
    yield from visible(scope_of(connection))
    if filters.states:
        unknown = set(filters.states) - set(STATES)
        if unknown:
            raise UsageError(f"an item is {', '.join(STATES)}")
        yield sa.or_(*(_is(state, f"{today:%Y%m%d}") for state in filters.states))
    if filters.category is not None:
        yield columns.category == filters.category
    if filters.modality is not None:
        yield (sa.literal("\\") + columns.modalities + sa.literal("\\")).contains(
            f"\\{filters.modality}\\", autoescape=True
        )
    if filters.anatomy:
        yield columns.anatomy_id.in_(sorted(set(filters.anatomy)))
    if filters.kind is not None:
        yield columns.kind == filters.kind.value
    if filters.conditional is not None:
        yield columns.conditional.is_(filters.conditional)
    for column, first, last in (
        (columns.due_to, filters.due_from, filters.due_to),
        (columns.study_date, filters.date_from, filters.date_to),
    ):
        if first is not None:
            yield column >= f"{first:%Y%m%d}"
        if last is not None:
            yield column <= f"{last:%Y%m%d}"
            yield column > ""
    if filters.study_instance_uid is not None:
        yield columns.study_instance_uid == filters.study_instance_uid
    if filters.patient_id is not None:
        yield is_patient(connection, filters.patient_id)


def _visible_studies(connection: Connection, studies: Iterable[str]) -> set[str] | None:
    """Those of `studies` of which something is within the scope; None where everything is."""
    scope = scope_of(connection)
    if scope.is_everything:
        return None
    found: set[str] = set()
    for table in (sop_instance, image):
        for batch in batches(sorted(studies)):
            query = sa.select(table.c.study_instance_uid).where(
                table.c.study_instance_uid.in_(batch), *visible(scope, table)
            )
            found.update(connection.scalars(query.distinct()))
    return found


def state_on(status: str, due_from: str, overdue_on: str, today: str) -> str:
    """Where an item stands on a day (YYYYMMDD): one of `STATES`."""
    if status != "waiting":
        return status
    if overdue_on == NEVER or today < due_from:
        return "open"
    return "due" if today < overdue_on else "overdue"


def _item(row: RowMapping, today: dt.date, seen: set[str] | None, decisions: Sequence[Decision] = ()) -> StoredItem:
    explanation = row["explanation"]
    if seen is not None:
        known = [j for j in explanation["examinations"] if j["study_instance_uid"] in seen]
        explanation = {**explanation, "examinations": known}
    done = row["done_study_instance_uid"]
    return StoredItem(
        id=row["id"],
        state=state_on(row["status"], row["due_from"], row["overdue_on"], f"{today:%Y%m%d}"),
        study_instance_uid=row["study_instance_uid"],
        sop_instance_uid=row["sop_instance_uid"],
        patient_id=row["patient_id"],
        issuer_of_patient_id=row["issuer_of_patient_id"],
        study_date=row["study_date"],
        category=row["category"],
        modalities=tuple(m for m in row["modalities"].split("\\") if m),
        procedure=row["procedure"],
        anatomy_id=row["anatomy_id"],
        laterality=row["laterality"],
        kind=RecommendationKind(row["kind"]),
        conditional=row["conditional"],
        due_from=None if row["due_from"] == NEVER else row["due_from"],
        due_to=row["due_to"],
        overdue_on=None if row["overdue_on"] == NEVER else row["overdue_on"],
        done_study_instance_uid=done if seen is None or done in seen else None,
        done_on=row["done_on"],
        recommendation=from_json(Recommendation, row["statement"]),
        explanation=explanation,
        decisions=tuple(decisions),
    )


def _decision(row: RowMapping) -> Decision:
    return Decision(
        row["reason"], row["note"], row["decided_at"], row["decided_by"], row["undone_at"], row["undone_by"]
    )
