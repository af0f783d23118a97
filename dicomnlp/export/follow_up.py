"""Items of follow-up in the public form: JSON, and CSV that no spreadsheet runs as a formula."""

import csv
import datetime as dt
import io
from collections.abc import Iterable, Iterator
from typing import Any

from dicomnlp.export.cells import cell
from dicomnlp.model import to_json, utc_text
from dicomnlp.store.database import Database
from dicomnlp.store.follow_up_items import MAXIMUM_PAGE, Decision, ItemFilters, StoredItem, list_items

COLUMNS = (
    "id", "state", "study_instance_uid", "sop_instance_uid", "patient_id", "issuer_of_patient_id", "study_date",
    "category", "modalities", "procedure", "anatomy", "laterality", "kind", "conditional", "due_from", "due_to",
    "overdue_on", "done_study_instance_uid", "done_on", "text",
)  # fmt: skip


def item_to_json(item: StoredItem, *, explained: bool = False) -> dict[str, Any]:
    """The item in the public form; `explained` with the explanation and what was decided of it."""
    json: dict[str, Any] = {
        "id": item.id,
        "state": item.state,
        "study_instance_uid": item.study_instance_uid,
        "sop_instance_uid": item.sop_instance_uid,
        "patient_id": item.patient_id,
        "issuer_of_patient_id": item.issuer_of_patient_id,
        "study_date": iso_day(item.study_date),
        "category": item.category,
        "modalities": list(item.modalities),
        "procedure": item.procedure,
        "anatomy": item.anatomy_id,
        "laterality": item.laterality,
        "kind": item.kind.value,
        "conditional": item.conditional,
        "due_from": iso_day(item.due_from),
        "due_to": iso_day(item.due_to),
        "overdue_on": iso_day(item.overdue_on),
        "done_study_instance_uid": item.done_study_instance_uid,
        "done_on": iso_day(item.done_on),
        "text": item.recommendation.text,
        "start": item.recommendation.start,
        "end": item.recommendation.end,
    }
    if explained:
        json["explanation"] = item.explanation
        json["decisions"] = [_decision_to_json(d) for d in item.decisions]
    return json


def _decision_to_json(decision: Decision) -> dict[str, Any]:
    return {
        **to_json(decision),
        "decided_at": utc_text(decision.decided_at),
        "undone_at": utc_text(decision.undone_at) if decision.undone_at else None,
    }


def iso_day(date: str | None) -> str | None:
    """A date as YYYY-MM-DD; None for none."""
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if date else None


def all_items(database: Database, filters: ItemFilters, today: dt.date) -> Iterator[StoredItem]:
    """Every item that fits, page by page from the database."""
    after = None
    while True:
        page = list_items(database, filters, today=today, after=after, limit=MAXIMUM_PAGE)
        yield from page.items
        after = page.next
        if after is None:
            return


def csv_lines(items: Iterable[StoredItem]) -> Iterator[str]:
    """A header line, and a line for each of `items`, with their line ends (RFC 4180)."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)

    def line(values: Iterable[Any]) -> str:
        buffer.seek(0)
        buffer.truncate()
        writer.writerow(values)
        return buffer.getvalue()

    yield line(COLUMNS)
    for item in items:
        json = item_to_json(item)
        json["modalities"] = " ".join(item.modalities)
        yield line(cell(json[column]) for column in COLUMNS)
