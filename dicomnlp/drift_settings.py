"""The table of config.toml about drift: from when on the reports of a week aren't what they were."""

import datetime as dt
import re
from typing import Self

from pydantic import Field, model_validator

from dicomnlp.setting_tables import Table

_PERIOD = re.compile(r"(\d{4}-\d{2}-\d{2})\.\.(\d{4}-\d{2}-\d{2})")


def period_of(text: str) -> tuple[dt.date, dt.date]:
    """First and last day of a period such as "2026-01-05..2026-03-29"; ValueError where it is none."""
    match = _PERIOD.fullmatch(text)
    if match is None:
        raise ValueError("must be two days such as 2026-01-05..2026-03-29")
    first, last = map(dt.date.fromisoformat, match.groups())
    if last < first:
        raise ValueError("the first day must not be after the last")
    return first, last


class DriftSettings(Table):
    """Drift: concepts, assertions, sections and unknown words of each week, compared with those of a reference."""

    reference: str = Field(
        "",
        description='Days that weeks are compared with, such as "2026-01-05..2026-03-29"; empty: the weeks before '
        "each, without those of alarms that nobody acknowledged.",
    )
    weeks: int = Field(12, ge=4, le=104, description="Without reference: how many weeks before each.")
    minimum_reports: int = Field(
        100, ge=20, description="Weeks, senders, stations and modalities with fewer reports a week aren't judged."
    )
    false_alarms: float = Field(
        0.01, gt=0, lt=1, description="Share of weeks that may raise an alarm although nothing has changed."
    )
    least_change: float = Field(
        0.2, ge=0, le=3.14, description="Smaller changes of a share are no alarm: Cohen's h, 0.2 small, 0.5 medium."
    )
    least_instability: float = Field(
        0.25, ge=0, description="Smaller changes of a distribution are none: population stability index."
    )

    @property
    def period(self) -> tuple[dt.date, dt.date] | None:
        """First and last day of the reference; None for the weeks before each."""
        return period_of(self.reference) if self.reference else None

    @model_validator(mode="after")
    def _check_reference(self) -> Self:
        if self.reference:
            period_of(self.reference)
        return self
