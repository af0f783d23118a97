"""What is owed to a patient, and how that was found out: the records of the follow-up loop."""

import datetime as dt
import re
from dataclasses import dataclass

from dicomnlp.model import Laterality, Recommendation
from dicomnlp.review.follow_up_rules import Category

NEVER = "99991231"
"""In place of a day that never comes."""
_DATE = re.compile(r"[0-9]{8}")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of what is asked, and where that comes from."""

    name: str
    """"category", "modality", "anatomy", "laterality", "window" or "firmness"."""
    value: str
    origin: str
    """"words" of the request, the "procedure" that it names, the "finding" that it is about, the "study" after which it
    is asked, a "rule" of its own, or "nothing"."""
    source: str = ""
    """Of the rule that decided."""
    words: str = ""
    """Those of the finding that it is about."""
    start: int | None = None
    end: int | None = None
    """Where these stand in the report."""


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison of an item with an examination."""

    name: str
    """"date", "modality", "anatomy", "laterality" or "tissue"."""
    fits: bool
    asked: str
    found: str
    """"" where nothing tells it."""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """A later examination, and whether it answers the item."""

    study_instance_uid: str
    study_date: str
    answers: bool
    checks: tuple[Check, ...]
    """Up to the first that doesn't fit."""
    told_by: str
    """"reports", "images" or "reports and images"."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A request that an item was made of."""

    sop_instance_uid: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """What is owed to a patient."""

    study_instance_uid: str
    key: str
    object_id: int
    sop_instance_uid: str
    study_date: str
    category: Category
    modalities: tuple[str, ...]
    """Any of which will do; () for any."""
    sites: tuple[str, ...]
    laterality: Laterality | None
    due_from: str
    due_to: str | None
    overdue_on: str
    """The first day on which it is overdue, `NEVER` for what isn't watched."""
    recommendation: Recommendation
    parts: tuple[Part, ...]
    mentions: tuple[Mention, ...]
    judged: tuple[Judged, ...] = ()
    """Later examinations, in their order; the last answers it, or none does."""

    @property
    def answer(self) -> Judged | None:
        """The examination that answers it."""
        return self.judged[-1] if self.judged and self.judged[-1].answers else None


def is_date(text: str) -> bool:
    """Whether `text` has the form of a date, YYYYMMDD."""
    return _DATE.fullmatch(text) is not None


def days_after(date: str, days: int | None) -> str | None:
    """So many days after `date`, YYYYMMDD; None without a date, and beyond the calendar."""
    if days is None or not is_date(date):
        return None
    try:
        day = dt.datetime.strptime(date, "%Y%m%d").date() + dt.timedelta(days=days)  # noqa: DTZ007  a date has no zone
    except (ValueError, OverflowError):
        return None
    return f"{day:%Y%m%d}"
