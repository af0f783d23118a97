"""Since when, and until when, an analysis counted: what "as known at that time" is answered from."""

import datetime as dt
from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.store.prepared import Prepared
from dicomnlp.store.rows import Inserter
from dicomnlp.store.schema import analysis, analysis_period

ENDED_BY_VERSION = "new_version"
ENDED_BY_ANALYSIS = "new_analysis"
ENDED_BY_ASSIGNMENT = "assignment_changed"
_PERIODS = Inserter(analysis_period)


def begin_periods(connection: Connection, pipelines: Mapping[int, str], at: dt.datetime) -> None:
    """From `at` on, the analysis by this pipeline counts for each object; one that counts already goes on."""
    columns = analysis_period.c
    counting = {
        row.object_id: row
        for row in connection.execute(
            sa.select(analysis_period).where(columns.object_id.in_(pipelines), columns.current_until.is_(None))
        )
    }
    new = [i for i, pipeline in pipelines.items() if i not in counting or counting[i].pipeline != pipeline]
    end_periods(connection, [i for i in new if i in counting], at, ENDED_BY_ANALYSIS)
    if new:
        _PERIODS.insert(connection, [{"object_id": i, "pipeline": pipelines[i], "current_from": at} for i in new])


def end_periods(connection: Connection, object_ids: Sequence[int], at: dt.datetime, ended_by: str) -> None:
    """From `at` on, nothing counts for these objects."""
    columns = analysis_period.c
    if object_ids:
        connection.execute(
            sa.update(analysis_period)
            .where(columns.object_id.in_(object_ids), columns.current_until.is_(None))
            .values(current_until=at, ended_by=ended_by)
        )


def set_aside(connection: Connection, results: Sequence[Prepared]) -> None:
    """Keep the analysis that one of `results` would replace, where it was read by another character set.

    The same pipeline says the same of the same text, but not of a text that is read in another way. What was known
    from it stays known under the pipeline's name with the character set appended.
    """
    by_object = {r.object_id: r for r in results}
    rows = connection.execute(
        sa.select(analysis.c.id, analysis.c.object_id, analysis.c.pipeline, analysis.c.character_set_override).where(
            analysis.c.object_id.in_(by_object)
        )
    ).all()
    for row in rows:
        result = by_object[row.object_id]
        if row.pipeline != result.pipeline or row.character_set_override == result.character_set_override:
            continue
        name = f"{row.pipeline}/{row.character_set_override or 'declared'}"
        connection.execute(
            sa.delete(analysis).where(analysis.c.object_id == row.object_id, analysis.c.pipeline == name)
        )
        for table in (analysis, analysis_period):
            connection.execute(
                sa.update(table)
                .where(table.c.object_id == row.object_id, table.c.pipeline == row.pipeline)
                .values(pipeline=name)
            )
