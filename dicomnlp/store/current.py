"""What has to be written when another analysis becomes the one that counts for a report, new or held for long."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.store.batches import batches
from dicomnlp.store.history import begin_periods
from dicomnlp.store.life import save_links, settle
from dicomnlp.store.prepared import Prepared
from dicomnlp.store.schema import CURRENT_ANALYSIS, analysis, finding, sop_instance
from dicomnlp.store.searchable import PROFILE_COLUMNS, index_reports

HEADER = tuple(
    sop_instance.c[name]
    for name in (
        "id",
        "is_current",
        "sop_instance_uid",
        "sop_class_uid",
        "study_instance_uid",
        "patient_id",
        "issuer_of_patient_id",
        "accession_number",
        "study_date",
        "content_date",
        "content_time",
        "character_set_override",
        *PROFILE_COLUMNS,
    )
)
"""Columns of `sop_instance` that these functions ask of an object's header."""


def unset_current(connection: Connection, object_ids: Collection[int]) -> None:
    """Let no analysis and no finding of these objects count, before others do."""
    for table, is_current in ((analysis, CURRENT_ANALYSIS), (finding, finding.c.is_current)):
        for batch in batches(object_ids):
            connection.execute(
                sa.update(table).where(table.c.object_id.in_(batch), is_current).values(is_current=False)
            )


def make_current(
    connection: Connection,
    results: Sequence[Prepared],
    headers: dict[int, Any],
    analysis_ids: Mapping[int, int],
    now: dt.datetime,
) -> None:
    """Let held analyses count for their objects; parameters as of `follow`, and the analysis of each object."""
    unset_current(connection, analysis_ids)
    for batch in batches(analysis_ids.values()):
        connection.execute(sa.update(analysis).where(analysis.c.id.in_(batch)).values(is_current=True))
    speaking = [found for object_id, found in analysis_ids.items() if headers[object_id].is_current]
    for batch in batches(speaking):
        connection.execute(sa.update(finding).where(finding.c.analysis_id.in_(batch)).values(is_current=True))
    follow(connection, results, headers, now)


def follow(connection: Connection, results: Sequence[Prepared], headers: dict[int, Any], now: dt.datetime) -> None:
    """Write all that depends on which analysis counts, once it and its findings are there.

    Parameters
    ----------
    results
        What the analyses that count now were made of.
    headers
        By object, a row with the columns of `HEADER`, locked.
    now
        Since when they count.
    """
    begin_periods(connection, {r.object_id: r.pipeline for r in results if headers[r.object_id].is_current}, now)
    index_reports(connection, results, headers)
    referred_to = save_links(connection, results, headers)
    settle(connection, [r.object_id for r in results], referred_to)
