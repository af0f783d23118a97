"""Comparing what archives hold with what was received: days asked for, objects found wanting, and their fetching.

An archive's whole day is compared again each time; what it was found to hold takes the place of what was known before.
"""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.model import State, to_json
from dicomnlp.store.batches import batches, select_in
from dicomnlp.store.database import Database
from dicomnlp.store.reconciliation import ArchivedObject, ComparisonState, FetchState, Gap, Listing, Wanting, wanting_of
from dicomnlp.store.reprocess import is_by_another
from dicomnlp.store.schema import CURRENT_ANALYSIS, IS_REFUSED, analysis, ledger, sop_instance
from dicomnlp.store.schema_archives import IS_REQUESTED, IS_WANTED, reconciliation, reconciliation_item
from dicomnlp.store.schema_write_back import written_document

NIGHTLY: Final = "nightly"
"""Who asked for a comparison that nobody asked for."""


def request_comparison(database: Database, pacs: str, day: dt.date, *, requested_by: str, fetches: bool) -> int:
    """Have a day compared by the dispatcher's next duty; the number of the comparison.

    Parameters
    ----------
    fetches
        Whether what is missing is fetched afterwards.
    """
    now = dt.datetime.now(dt.UTC)
    values = {
        "state": ComparisonState.REQUESTED.value,
        "fetches": fetches,
        "requested_by": requested_by,
        "requested_at": now,
    }
    return database.transact(lambda connection: _upsert(connection, pacs, day, values))


def _upsert(connection: Connection, pacs: str, day: dt.date, values: dict[str, Any]) -> int:
    columns = reconciliation.c
    key = {"pacs": pacs, "study_date": f"{day:%Y%m%d}"}
    where = (columns.pacs == key["pacs"], columns.study_date == key["study_date"])
    known = connection.scalar(sa.select(columns.id).where(*where).with_for_update())
    if known is not None:
        connection.execute(sa.update(reconciliation).where(columns.id == known).values(**values))
        return int(known)
    zero = dict.fromkeys(("studies", "unread_studies", "objects", "waiting"), 0)
    inserted = connection.execute(sa.insert(reconciliation).values(**key, **{"fetches": False, **zero, **values}))
    assert inserted.inserted_primary_key is not None
    return int(inserted.inserted_primary_key[0])


def compare(
    database: Database,
    pacs: str,
    day: dt.date,
    listing: Listing,
    *,
    pipelines: Collection[str],
    requested_by: str | None = None,
    fetches: bool | None = None,
) -> int:
    """Compare what an archive holds of a day with what was received, and keep what is wanting; the comparison's number.

    Objects that this service wrote itself are left out: they are not to come back.

    Parameters
    ----------
    pipelines
        Names of those in use today.
    requested_by
        Whose comparison it is; None: whoever had asked for it, else nobody.
    fetches
        Whether to fetch what is missing; None: as had been asked for, else not.
    """
    now = dt.datetime.now(dt.UTC)

    def work(connection: Connection) -> int:
        asked = connection.execute(
            sa.select(reconciliation.c.requested_by, reconciliation.c.fetches).where(
                reconciliation.c.pacs == pacs,
                reconciliation.c.study_date == f"{day:%Y%m%d}",
                reconciliation.c.state == ComparisonState.REQUESTED.value,
            )
        ).first()
        who = requested_by or (asked.requested_by if asked else NIGHTLY)
        fetch = (asked.fetches if asked else False) if fetches is None else fetches
        objects = _not_own(connection, listing.objects)
        found, waiting = _judge(connection, objects, pipelines)
        whole = listing.reason_code is None and not listing.unread_studies
        number = _upsert(
            connection,
            pacs,
            day,
            {
                "state": (ComparisonState.DONE if whole else ComparisonState.PARTIAL).value,
                "fetches": fetch,
                "requested_by": who,
                "requested_at": now,
                "compared_at": now,
                "reason_code": listing.reason_code,
                "studies": listing.studies,
                "unread_studies": listing.unread_studies,
                "objects": len(objects),
                "waiting": waiting,
            },
        )
        _replace_items(connection, number, found, fetch=fetch)
        return number

    return database.transact(work)


def fail_comparison(
    database: Database, pacs: str, day: dt.date, reason_code: str, *, requested_by: str | None = None
) -> int:
    """Keep that an archive told nothing of a day; what was known of it before stays. The comparison's number."""
    now = dt.datetime.now(dt.UTC)
    values = {"state": ComparisonState.FAILED.value, "compared_at": now, "reason_code": reason_code}

    def work(connection: Connection) -> int:
        columns = reconciliation.c
        known = connection.scalar(
            sa.select(columns.id).where(columns.pacs == pacs, columns.study_date == f"{day:%Y%m%d}")
        )
        who = {"requested_by": requested_by or NIGHTLY, "requested_at": now}
        return _upsert(connection, pacs, day, values if known and not requested_by else {**who, **values})

    return database.transact(work)


def _not_own(connection: Connection, objects: Mapping[str, ArchivedObject]) -> dict[str, ArchivedObject]:
    column = written_document.c.document_uid
    own = set(select_in(connection, column, column, objects.keys()))
    return {uid: each for uid, each in objects.items() if uid not in own}


def _judge(
    connection: Connection, objects: Mapping[str, ArchivedObject], pipelines: Collection[str]
) -> tuple[dict[str, dict[str, Any]], int]:
    """What is wanting, by SOP Instance UID, and how many objects wait for their analysis."""
    found: dict[str, dict[str, Any]] = {}
    waiting = 0
    received: set[str] = set()
    for row in _held(connection, objects.keys(), pipelines):
        received.add(row.sop_instance_uid)
        if row.state in {State.FAILED.value, State.QUARANTINED.value}:
            found[row.sop_instance_uid] = {"kind": Gap.FAILED.value, "reason_code": row.reason_code}
        elif row.state == State.PENDING.value:
            waiting += 1
        elif row.is_outdated:
            found[row.sop_instance_uid] = {"kind": Gap.OUTDATED.value, "pipeline": row.pipeline}
    missing = objects.keys() - received
    refused = _refused(connection, missing)
    for uid in sorted(missing):
        reason = refused.get(uid)
        gap = Gap.NEVER_RECEIVED if reason is None else Gap.FAILED
        found[uid] = {"kind": gap.value, "reason_code": reason}
    return {uid: {**to_json(objects[uid]), **what} for uid, what in found.items()}, waiting


def _held(connection: Connection, uids: Collection[str], pipelines: Collection[str]) -> list[Any]:
    """The current version of each object, and whether another pipeline than today's analysed it."""
    columns = sop_instance.c
    by = sa.join(sop_instance, analysis, sa.and_(analysis.c.object_id == columns.id, CURRENT_ANALYSIS), isouter=True)
    rows: list[Any] = []
    for batch in batches(uids):
        rows += connection.execute(
            sa.select(
                columns.sop_instance_uid,
                columns.state,
                columns.reason_code,
                analysis.c.pipeline,
                sa.and_(analysis.c.pipeline.is_not(None), is_by_another(sorted(pipelines))).label("is_outdated"),
            )
            .select_from(by)
            .where(columns.sop_instance_uid.in_(batch), columns.is_current)
        )
    return rows


def _refused(connection: Connection, uids: Collection[str]) -> dict[str, str]:
    """Why objects that aren't held were refused the last time, by SOP Instance UID."""
    reasons: dict[str, str] = {}
    columns = ledger.c
    for batch in batches(uids):
        rows = connection.execute(
            sa.select(columns.sop_instance_uid, columns.reason_code)
            .where(
                sa.text(IS_REFUSED),
                columns.sop_instance_uid.in_(batch),
            )
            .order_by(columns.id)
        )
        reasons.update((row.sop_instance_uid, row.reason_code or "refused") for row in rows)
    return reasons


def _replace_items(connection: Connection, number: int, found: Mapping[str, dict[str, Any]], *, fetch: bool) -> None:
    columns = reconciliation_item.c
    connection.execute(sa.delete(reconciliation_item).where(columns.reconciliation_id == number))
    rows = [
        {
            "reconciliation_id": number,
            "reason_code": None,
            "pipeline": None,
            "fetch_state": None,
            **what,
        }
        for what in found.values()
    ]
    for batch in batches(rows):
        connection.execute(sa.insert(reconciliation_item), list(batch))
    if fetch:
        _want(connection, number)


# --- what is next


def next_requested(database: Database, pacs: str) -> dt.date | None:
    """The day of an archive that somebody has waited longest for; None: nobody waits."""
    columns = reconciliation.c
    query = (
        sa.select(columns.study_date)
        .where(sa.text(IS_REQUESTED), columns.pacs == pacs)
        .order_by(columns.requested_at)
        .limit(1)
    )
    with database.read() as connection:
        day = connection.scalar(query)
    return None if day is None else dt.datetime.strptime(day, "%Y%m%d").date()  # noqa: DTZ007  a day has no zone


def compared_since(database: Database, pacs: str, days: Sequence[dt.date], since: dt.datetime) -> set[dt.date]:
    """Of `days` those of which the archive told anything at that moment or later."""
    columns = reconciliation.c
    named = {f"{day:%Y%m%d}": day for day in days}
    with database.read() as connection:
        told = columns.state.in_([ComparisonState.DONE.value, ComparisonState.PARTIAL.value])
        of_these = (columns.pacs == pacs, columns.compared_at >= since, told)
        found = select_in(connection, columns.study_date, columns.study_date, named, *of_these)
    return {named[day] for day in found}


# --- fetching


def want_missing(database: Database, number: int) -> int:
    """Have what is missing of a comparison fetched, once more where that failed; how many objects."""
    return database.transact(lambda connection: _want(connection, number))


def _want(connection: Connection, number: int) -> int:
    columns = reconciliation_item.c
    held = sa.exists().where(sop_instance.c.sop_instance_uid == columns.sop_instance_uid)
    done = connection.execute(
        sa.update(reconciliation_item)
        .where(
            columns.reconciliation_id == number,
            # what is held already would only come again as it is
            columns.kind.in_([Gap.NEVER_RECEIVED.value, Gap.FAILED.value]),
            ~held,
        )
        .values(fetch_state=FetchState.WANTED.value, fetch_reason_code=None)
    )
    return int(done.rowcount)


def wanted(database: Database, pacs: str, limit: int, *, number: int | None = None) -> list[Wanting]:
    """Objects to be fetched from an archive, series by series.

    Parameters
    ----------
    number
        Only of this comparison.
    """
    item, columns = reconciliation_item.c, reconciliation.c
    query = (
        sa.select(reconciliation_item)
        .join(reconciliation, columns.id == item.reconciliation_id)
        .where(sa.text(IS_WANTED), columns.pacs == pacs)
        .order_by(item.study_instance_uid, item.series_instance_uid, item.id)
        .limit(limit)
    )
    if number is not None:
        query = query.where(columns.id == number)
    with database.read() as connection:
        return [wanting_of(row) for row in connection.execute(query).mappings()]


def note_fetched(database: Database, results: Mapping[int, str | None]) -> None:
    """Keep what came of the fetching of objects: by their `Wanting.id` why it failed, None where it did not."""
    now = dt.datetime.now(dt.UTC)

    def work(connection: Connection) -> None:
        for number, reason_code in results.items():
            state = FetchState.FETCHED if reason_code is None else FetchState.FAILED
            connection.execute(
                sa.update(reconciliation_item)
                .where(reconciliation_item.c.id == number)
                .values(
                    fetch_state=state.value,
                    fetch_reason_code=reason_code,
                    fetched_at=now if reason_code is None else None,
                )
            )

    database.transact(work)


def note_hindrance(database: Database, pacs: str, reason_code: str) -> None:
    """Keep why nothing can be fetched from an archive at present; what is wanted of it stays wanted."""
    columns = reconciliation_item.c
    of_archive = sa.select(reconciliation.c.id).where(reconciliation.c.pacs == pacs)
    database.transact(
        lambda connection: connection.execute(
            sa.update(reconciliation_item)
            .where(sa.text(IS_WANTED), columns.reconciliation_id.in_(of_archive))
            .values(fetch_reason_code=reason_code)
        )
    )


def held_among(database: Database, uids: Collection[str]) -> set[str]:
    """The SOP Instance UIDs under which something is held."""
    column = sop_instance.c.sop_instance_uid
    with database.read() as connection:
        return set(select_in(connection, column, column, uids))
