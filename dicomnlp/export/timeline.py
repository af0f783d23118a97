"""The course of a patient's lesions in the public form."""

from typing import Any

from dicomnlp.export.follow_up import iso_day
from dicomnlp.model import to_json
from dicomnlp.review.timeline import Lesion


def lesion_to_json(lesion: Lesion) -> dict[str, Any]:
    """The lesion with its points, and how it changed between the first size and the last."""
    sizes = [p.size_mm for p in lesion.points if p.size_mm is not None]
    first, last = (sizes[0], sizes[-1]) if sizes else (None, None)
    change = last - first if first is not None and last is not None and len(sizes) > 1 else None
    return {
        "concept": to_json(lesion.concept),
        "family": lesion.family,
        "anatomy": to_json(lesion.anatomy),
        "laterality": to_json(lesion.laterality),
        "first_mm": first,
        "last_mm": last,
        "change_mm": round(change, 3) if change is not None else None,
        "change_percent": round(100 * change / first, 1) if change is not None and first else None,
        "points": [
            {**to_json(point), "study_date": iso_day(point.study_date), "size_mm": point.size_mm}
            for point in lesion.points
        ],
    }
