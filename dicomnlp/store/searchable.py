"""What is written of a report so that searches find it: its profile, its words, and what it recommends."""

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.model import to_json
from dicomnlp.store.batches import batches
from dicomnlp.store.fulltext import index_words
from dicomnlp.store.prepared import Prepared
from dicomnlp.store.rows import Inserter
from dicomnlp.store.schema import recommendation, report_profile

PROFILE_COLUMNS = (
    "patient_birth_date",
    "patient_sex",
    "body_part_examined",
    "station_name",
    "institution_name",
    "calling_ae_title",
)
"""Of `sop_instance`, beside its dates: what `index_reports` needs of a header."""
_DATE = re.compile(r"[0-9]{8}")
_PROFILES = Inserter(report_profile)
_RECOMMENDATIONS = Inserter(recommendation)


def index_reports(connection: Connection, results: Sequence[Prepared], headers: Mapping[int, Any]) -> None:
    """Replace what searches know of these reports; each must have one.

    Parameters
    ----------
    headers
        Rows of `sop_instance` by id.
    """
    for table in (report_profile, recommendation):
        for batch in batches([r.object_id for r in results]):
            connection.execute(sa.delete(table).where(table.c.object_id.in_(batch)))
    _PROFILES.insert(connection, [_profile(r.object_id, headers[r.object_id], r.modalities) for r in results])
    asked = [row for r in results for row in _recommendations(r, date_of(headers[r.object_id]))]
    if asked:
        _RECOMMENDATIONS.insert(connection, asked)
    index_words(connection, {r.object_id: r.words for r in results})


def _profile(object_id: int, header: Any, modalities: Sequence[str]) -> dict[str, Any]:
    return {
        "object_id": object_id,
        "study_date": date_of(header),
        "modality": "\\".join(modalities),
        "body_part_examined": header.body_part_examined.upper(),
        "patient_sex": header.patient_sex,
        "patient_age": age_at(header.patient_birth_date, date_of(header)),
        "station_name": header.station_name,
        "institution_name": header.institution_name,
        "calling_ae_title": header.calling_ae_title,
    }


def _recommendations(result: Prepared, study_date: str) -> Iterator[dict[str, Any]]:
    for asked in result.recommendations:
        yield {
            "object_id": result.object_id,
            "study_date": study_date,
            "procedure": asked.procedure,
            "modality": asked.modality,
            "anatomy_id": asked.anatomy.id if asked.anatomy else None,
            "kind": asked.kind.value,
            "conditional": asked.conditional,
            "due_from": days_after(study_date, asked.interval_days_min),
            "due_to": days_after(study_date, asked.interval_days_max),
            "statement": to_json(asked),
        }


def date_of(header: Any) -> str:
    """The date by which findings are found and ordered, YYYYMMDD: of the study, else of the content; "" without one."""
    return next((date for date in (header.study_date, header.content_date) if _DATE.fullmatch(date)), "")


def age_at(birth_date: str, date: str) -> int | None:
    """Whole years from one date to the other, both YYYYMMDD; None where one is none, or they are in the wrong order."""
    if not (_DATE.fullmatch(birth_date) and _DATE.fullmatch(date)) or birth_date > date:
        return None
    return (int(date) - int(birth_date)) // 10000


def days_after(date: str, days: int | None) -> str | None:
    """The date so many days after `date`, YYYYMMDD; None without either, or beyond the calendar."""
    if days is None:
        return None
    try:
        return f"{dt.datetime.strptime(date, '%Y%m%d').date() + dt.timedelta(days=days):%Y%m%d}"  # noqa: DTZ007  a date has no zone
    except (ValueError, OverflowError):
        return None
