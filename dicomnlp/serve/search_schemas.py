"""The bodies of searches as the OpenAPI document describes them, with examples."""

import dataclasses
import datetime as dt
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from dicomnlp.model import Concept, Recommendation, RecommendationKind
from dicomnlp.serve import schemas
from dicomnlp.store.cohorts import Cohort as StoredCohort
from dicomnlp.store.follow_up import FollowUp
from dicomnlp.store.reprocess import Run
from dicomnlp.store.search import Counts, Filters

_NEXT = "MjAyNjExMjI6MTI6ODEy"


class FoundFindings(BaseModel):
    """A page of findings, the newest study first."""

    findings: list[schemas.FindingOfStudy]
    next: str | None


class FindingCounts(BaseModel):
    """How many findings fit, and in how many reports, studies and patients they are."""

    findings: int
    reports: int
    studies: int
    patients: int


class FacetValue(BaseModel):
    """A value of a field, and how many findings have it."""

    value: str
    findings: int


class FindingFacets(BaseModel):
    """The commonest values of each field."""

    facets: dict[str, list[FacetValue]]
    counted_at: dt.datetime | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RecommendationOfStudy(Recommendation):
    """What a report asks to be done next, and when that is due."""

    id: int
    study_instance_uid: str
    sop_instance_uid: str
    study_date: dt.date | None
    due_from: dt.date | None
    due_to: dt.date | None


class Recommendations(BaseModel):
    """A page of recommendations, the newest study first."""

    recommendations: list[RecommendationOfStudy]
    next: str | None


class CohortFilters(BaseModel):
    """The filters to keep, by the names of the query parameters; those that take several values have lists."""

    model_config = ConfigDict(extra="forbid")

    filters: dict[str, str | int | float | bool | list[str]] = Field(
        examples=[{"concept": ["pulmonary_nodule"], "assertion": ["present"], "min_size": 6, "modality": "CT"}]
    )


class Cohort(BaseModel):
    """A kept search."""

    name: str
    filters: dict[str, Any]
    created_at: dt.datetime
    created_by: str


class CountedCohort(Cohort, FindingCounts):
    """A kept search, and how much fits it now."""


class Cohorts(BaseModel):
    """All kept searches."""

    cohorts: list[Cohort]


class ReprocessRequest(BaseModel):
    """What to analyse again: one of the four."""

    model_config = ConfigDict(extra="forbid")

    uids: list[str] = Field(default=[], max_length=1000, description="Study or SOP Instance UIDs.")
    everything: bool = Field(default=False, description="Every stored report.")
    outdated: bool = Field(default=False, description="Reports analysed by another pipeline than the one now in use.")
    failed: bool = Field(default=False, description="Objects whose analysis failed.")


class ReprocessRun(BaseModel):
    """A run that was begun, or that goes on."""

    id: int
    total: int
    done: int
    failed: int
    resumed: bool


def counts_to_json(counts: Counts) -> dict[str, int]:
    """The counts in the public form."""
    return dataclasses.asdict(counts)


def run_to_json(run: Run) -> dict[str, Any]:
    """The run in the public form."""
    return dataclasses.asdict(run)


_MOMENT = dt.datetime(2026, 11, 22, 6, 0, tzinfo=dt.UTC)
_FOLLOW_UP = "Follow-up CT chest in 6 months."
_COUNTS = Counts(findings=412, reports=398, studies=395, patients=371)
FOUND_EXAMPLE = {"findings": schemas.FINDINGS_EXAMPLE["findings"], "next": _NEXT}
COUNTS_EXAMPLE = counts_to_json(_COUNTS)
FACETS_EXAMPLE = {
    "facets": {
        "assertion": [{"value": "present", "findings": 300}, {"value": "possible", "findings": 112}],
        "modality": [{"value": "CT", "findings": 412}],
    },
    "counted_at": None,
}
RECOMMENDATIONS_EXAMPLE = {
    "recommendations": [
        FollowUp(
            id=77,
            study_instance_uid=schemas.STUDY_INSTANCE_UID,
            sop_instance_uid=schemas.SOP_INSTANCE_UID,
            study_date="20261122",
            due_from="20270521",
            due_to="20270521",
            recommendation=Recommendation(
                text=_FOLLOW_UP[:-1],
                start=412,
                end=412 + len(_FOLLOW_UP) - 1,
                procedure="Follow-up CT",
                modality="CT",
                anatomy=Concept("chest", "816094009", "SCT", "Chest"),
                interval_days_min=180,
                interval_days_max=180,
                conditional=False,
                kind=RecommendationKind.RECOMMENDED,
            ),
        ).to_json()
    ],
    "next": None,
}
COHORT_EXAMPLE = StoredCohort(
    "nodules-2026", Filters(concepts=("pulmonary_nodule",), minimum_size=6.0, modality="CT"), _MOMENT, ""
).to_json()
COUNTED_COHORT_EXAMPLE = {**COHORT_EXAMPLE, **COUNTS_EXAMPLE}
COHORTS_EXAMPLE = {"cohorts": [COHORT_EXAMPLE]}
RUN_EXAMPLE = run_to_json(Run(id=5, total=9871, done=0, failed=0, resumed=False))
