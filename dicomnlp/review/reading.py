"""A second reading of one report: contradictions, guidance and measures of quality at once."""

from collections.abc import Collection
from dataclasses import dataclass

from dicomnlp.model import Analysis, Report
from dicomnlp.remarks import DiscrepancyKind, Remarks
from dicomnlp.review.case import Case
from dicomnlp.review.contradictions import contradictions_of
from dicomnlp.review.guidance import guidance
from dicomnlp.review.quality import quality_measures


@dataclass(frozen=True, slots=True)
class Switches:
    """What is looked for."""

    kinds: frozenset[DiscrepancyKind] = frozenset(DiscrepancyKind)
    guidelines_off: frozenset[str] = frozenset()
    quality: bool = True


EVERYTHING = Switches()


def read_again(
    report: Report, analysis: Analysis, modalities: Collection[str], switches: Switches = EVERYTHING
) -> Remarks:
    """What a second reader would remark on `report`.

    Parameters
    ----------
    modalities
        DICOM modalities by which the study was made, as far as the object tells.
    """
    case = Case(report, analysis)
    return Remarks(
        discrepancies=contradictions_of(case, switches.kinds),
        guidance=tuple(guidance(case, modalities, switches.guidelines_off)),
        quality_measures=tuple(quality_measures(case, modalities)) if switches.quality else (),
    )
