"""Keeps items of follow-up, and remarks between documents, true: whatever changed since is looked at again."""

import time
from collections.abc import Collection
from typing import Any

from dicomnlp.model import to_json
from dicomnlp.remarks import DiscrepancyKind
from dicomnlp.review.follow_up import items_of
from dicomnlp.review.follow_up_items import Item
from dicomnlp.store.database import Database
from dicomnlp.store.follow_up_pending import marked_studies
from dicomnlp.store.follow_up_refresh import Refresh
from dicomnlp.work.comparing import compare_studies

SECONDS = 2.0
"""Between two looks for what changed: part of the time after which a report's items are known."""
RUN_SECONDS = 5.0
"""What one run of the duty may take before it lets others stop it."""
STUDIES_AT_ONCE = 50


class FollowUpDuty:
    """Looks at what changed, a batch of studies at a time.

    Parameters
    ----------
    database
        Whose.
    kinds
        Of discrepancies between the documents of a study, those that are looked for.
    """

    name = "follow_up"
    seconds = SECONDS

    def __init__(self, database: Database, kinds: Collection[DiscrepancyKind] = frozenset(DiscrepancyKind)) -> None:
        self._database = database
        self._kinds = kinds
        self._after = ""

    def run(self) -> bool:
        """Work off marks for some seconds; true where more wait."""
        until = time.monotonic() + RUN_SECONDS
        while time.monotonic() < until:
            marks = marked_studies(self._database, self._after, STUDIES_AT_ONCE)
            if not marks and not self._after:
                return False
            # round and round in the order of UIDs, so that what changes again and again keeps nothing else waiting
            self._after = max(marks, default="") if len(marks) == STUDIES_AT_ONCE else ""
            if marks:
                refresh(self._database, marks, self._kinds)
        return True


def refresh_all(database: Database) -> int:
    """Work off all marks there are; how many studies were looked at."""
    looked_at, after = 0, ""
    while marks := marked_studies(database, after, STUDIES_AT_ONCE):
        refresh(database, marks)
        after = max(marks)
        looked_at += len(marks)
    return looked_at


def refresh(
    database: Database, marks: dict[str, int], kinds: Collection[DiscrepancyKind] = frozenset(DiscrepancyKind)
) -> None:
    """Write the items of all patients of marked studies anew, compare their documents, and take the marks off.

    Raises
    ------
    DatabaseError
        No item was written, and all is still marked.
    Exception
        Of the first patient who can't be judged, after the others' items were written: a fault of this program must
        not end the follow-up of everybody.
    """
    pending = Refresh(database, marks)
    outcome = []
    failure: Exception | None = None
    for course in pending.courses():
        try:
            outcome.append((course, [_row(item) for item in items_of(course.course)]))
        except Exception as error:  # noqa: BLE001  raised below
            failure = failure or error
    compare_studies(database, pending.studies, kinds)
    pending.finish(outcome)
    if failure is not None:
        raise failure


def _row(item: Item) -> dict[str, Any]:
    answer = item.answer
    return {
        "study_instance_uid": item.study_instance_uid,
        "key": item.key,
        "object_id": item.object_id,
        "study_date": item.study_date,
        "category": item.category,
        "modalities": "\\".join(item.modalities),
        "procedure": item.recommendation.procedure,
        "anatomy_id": item.sites[0] if item.sites else None,
        "laterality": item.laterality.value if item.laterality else None,
        "kind": item.recommendation.kind.value,
        "conditional": item.recommendation.conditional,
        "due_from": item.due_from,
        "due_to": item.due_to,
        "overdue_on": item.overdue_on,
        "status": "done" if answer else "waiting",
        "done_study_instance_uid": answer.study_instance_uid if answer else None,
        "done_on": answer.study_date if answer else None,
        "statement": to_json(item.recommendation),
        "explanation": {
            "asked": to_json(item.parts),
            "mentions": to_json(item.mentions),
            "examinations": to_json(item.judged),
        },
    }
