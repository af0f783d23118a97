"""Documents of dicomnlp's own are known by what their content says of its observer."""

import pytest

from dicomnlp.extract.own import MANUFACTURER, MODEL_NAME, is_own
from dicomnlp.model import Code, ContentItem


def item(code, value, relationship="HAS OBS CONTEXT", scheme="DCM", path="1.1"):
    """A TEXT item."""
    return ContentItem(path, relationship, "TEXT", Code(code, scheme, "whatever it is called"), value)


OBSERVER = (item("121014", MANUFACTURER), item("121015", MODEL_NAME))
CASES = [
    (OBSERVER, True),
    (OBSERVER[::-1], True),
    ((*OBSERVER, item("121071", "A nodule.", "CONTAINS")), True),
    (tuple(item(i.concept.value, f"{i.value}  ") for i in OBSERVER), True),  # padded on the way
    (OBSERVER[:1], False),
    (OBSERVER[1:], False),
    ((item("121014", "Somebody else"), item("121015", MODEL_NAME)), False),
    # a report that speaks of dicomnlp isn't by it
    (tuple(item(i.concept.value, i.value, "CONTAINS") for i in OBSERVER), False),
    (tuple(item(i.concept.value, i.value, scheme="99SITE") for i in OBSERVER), False),
    ((), False),
    ((ContentItem("1", "", "CONTAINER", None, None),), False),
]


@pytest.mark.parametrize(("items", "own"), CASES)
def test_own_documents_are_known_by_their_observer(items, own):
    """Manufacturer and model name of the device that observed, in any order."""
    assert is_own(items) is own
