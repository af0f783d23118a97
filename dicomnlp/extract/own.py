"""Documents that dicomnlp itself has written: known by the device that says in them that it observed.

Whoever hands one on may have given it other UIDs, other header values, or another order of its items; what the content
tree says of its observer stays.
"""

from collections.abc import Iterable
from typing import Final

from dicomnlp.model import ContentItem

MANUFACTURER: Final = "dicomnlp"
"""Device Observer Manufacturer (121014, DCM) of what is written."""
MODEL_NAME: Final = "dicomnlp write-back"
"""Device Observer Model Name (121015, DCM), likewise."""
_OBSERVER: Final = frozenset({("121014", MANUFACTURER), ("121015", MODEL_NAME)})


def is_own(items: Iterable[ContentItem]) -> bool:
    """Whether a content tree is of a document that this or another dicomnlp has written (PS3.16 TID 1004)."""
    said = {
        (item.concept.value, item.value.strip())
        for item in items
        if item.relationship == "HAS OBS CONTEXT"
        and item.concept is not None
        and item.concept.scheme == "DCM"
        and isinstance(item.value, str)
    }
    return said >= _OBSERVER
