"""What a sentence says of one finding beside its assertion, and what the label of its line adds."""

from dataclasses import dataclass, replace

from dicomnlp.analyse.details import Lead
from dicomnlp.model import Acuity, Change, Laterality, Measurement, Severity

ACUITIES = {str(acuity): acuity for acuity in Acuity}
CHANGES = {str(change): change for change in Change}
SEVERITIES = {str(severity): severity for severity in Severity}
"""By their values: an enumeration is slow to call."""


@dataclass(slots=True)
class Attributes:
    """What a sentence says of one finding beside its assertion. Not frozen, as `Match`; none is ever changed."""

    anatomy: str | None = None
    """Id of the site."""
    laterality: Laterality | None = None
    severity: Severity | None = None
    change: Change | None = None
    measurements: tuple[Measurement, ...] = ()
    acuity: Acuity | None = None
    count: str | None = None
    levels: tuple[str, ...] = ()
    image_references: tuple[str, ...] = ()
    said_at: tuple[int, int] | None = None
    """Of the first of two sides: its tokens, on which cues act instead of the noun ("no right and mild left ...")."""


def led(attributes: Attributes, lead: Lead | None) -> Attributes:
    """`attributes` with what the label of the line adds: it fills what the sentence leaves open.

    Its level counts before one of the sentence, which may be a nerve's or a neighbour's.
    """
    if lead is None or not (lead.anatomy or lead.laterality or lead.levels):
        return attributes
    return replace(
        attributes,
        anatomy=attributes.anatomy or lead.anatomy,
        laterality=attributes.laterality or lead.laterality,
        levels=lead.levels or attributes.levels,
    )
