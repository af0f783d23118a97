"""Which kinds are scored, and when a remark is what was planted."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from department.records import Planted
from department.scores import Flag, Kind

GUIDELINES = {
    "fleischner": "fleischner",
    "adrenal": "adrenal",
    "renal": "renal",
    "thyroid": "thyroid",
    "pancreas": "pancrea",
    "liver": "liver",
}
"""What a guideline's name holds."""
SAME_MILLIMETRES = 0.6
RADIOGRAPHY = {"DX", "CR"}


def modality_fits(row: Planted, flag: Flag) -> bool:
    """The item asks for what was asked for."""
    asked = RADIOGRAPHY if row.facts["modality"] in RADIOGRAPHY else {row.facts["modality"]}
    return bool(asked & set(flag.facts["modalities"]))


def state_fits(row: Planted, flag: Flag) -> bool:
    """It stands where it should, closed by the study that closed it."""
    return (
        modality_fits(row, flag)
        and flag.facts["state"] in row.facts["states"]
        and flag.facts["done_study_instance_uid"] == row.facts.get("closed_by")
    )


def category_fits(row: Planted, flag: Flag) -> bool:
    """It is as urgent as it should be."""
    return bool(flag.facts["category"] == row.facts["category"])


def documentation_fits(row: Planted, flag: Flag) -> bool:
    """Whether somebody was told is known."""
    return (flag.facts["communication"] is not None) is row.facts["documented"]


def guideline_fits(row: Planted, flag: Flag) -> bool:
    """It is the guideline for what was found."""
    return GUIDELINES[row.facts["guideline"]] in str(flag.facts["guideline"])


def sizes_fit(row: Planted, flag: Flag) -> bool:
    """One course with each study's size."""
    sizes = dict(zip(row.facts["studies"], row.facts["sizes"], strict=True))
    told = {point["study_instance_uid"]: point["size_mm"] for point in flag.facts["points"]}
    return all(
        told.get(study) is not None and abs(told[study] - size) < SAME_MILLIMETRES for study, size in sizes.items()
    )


def is_superseded(row: Planted, flag: Flag) -> bool:
    """The mistaken report doesn't count any more, and the corrected one does."""
    standing = _standing(flag)
    return standing.get(row.facts["superseded"]) == "superseded" and standing.get(row.sop_instance_uid) == "prevailing"


def both_stand(row: Planted, flag: Flag) -> bool:
    """The report and its addendum count."""
    standing = _standing(flag)
    return standing.get(row.facts["stands"]) == standing.get(row.sop_instance_uid) == "prevailing"


def _standing(flag: Flag) -> Mapping[str, Any]:
    standing: Mapping[str, Any] = flag.facts["standing"]
    return standing


def _became(state: str, how: str, row: Planted) -> bool:
    return bool(row.facts["states"][0] == state and row.facts["how"] == how)


KINDS = (
    Kind("follow-up: an item", "follow_up", "follow_up", modality_fits),
    *(
        Kind(
            f"follow-up: {state}{how and ', ' + how}",
            "follow_up",
            "follow_up",
            state_fits,
            of=partial(_became, state, how),
            counts_elsewhere=False,
        )
        for state, how in (
            ("done", "report"),
            ("done", "images"),
            ("overdue", ""),
            ("overdue", "unrelated"),
            ("due", ""),
            ("open", ""),
        )
    ),
    Kind("critical result", "critical", "critical"),
    Kind("critical: its category", "critical", "critical", category_fits, counts_elsewhere=False),
    Kind("critical: told or not", "critical", "critical", documentation_fits, counts_elsewhere=False),
    Kind("laterality: order and text", "laterality_order", "laterality_order"),
    Kind("laterality: images and text", "laterality_image", "laterality_header"),
    Kind("laterality: findings and impression", "laterality_sections", "laterality_text"),
    Kind("laterality: missing", "laterality_missing", "laterality_missing"),
    Kind("sex", "sex", "sex"),
    Kind("age", "age", "age"),
    Kind("findings and impression", "sections", "findings_impression"),
    Kind("measured item and text", "coded", "measurement_item"),
    Kind("category and description", "category", "category"),
    Kind("complete order, part described", "order_complete", "complete_order"),
    Kind("limited order, all described", "order_limited", "limited_order"),
    Kind("growth and sizes", "size", "prior_size"),
    Kind("preliminary and final", "preliminary", "preliminary_final"),
    Kind("size in findings and impression", "measurement_text", "measurement_text"),
    Kind("guidance", "guidance", "guidance", guideline_fits),
    Kind("timeline", "timeline", "timeline", sizes_fit, of=lambda row: row.facts["counts"], counts_elsewhere=False),
    Kind("correction supersedes", "correction", "correction", is_superseded),
    Kind("addendum leaves standing", "addendum", "addendum", both_stand),
    Kind("never received", "withheld", "never_received"),
    Kind("received and failed", "damaged", "failed"),
    Kind("analysed by another pipeline", "outdated", "outdated"),
)
