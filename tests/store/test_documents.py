"""What a report says of its place among other documents."""

import pytest
from support.records import make_report

from dicomnlp.analyse import analyse
from dicomnlp.model import Narrative
from dicomnlp.store.documents import addendum_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FINDINGS: No hemorrhage.\nADDENDUM: A rib fracture.", "section"),
        ("ADDENDUM:\nNo change.", "section"),
        # a remark in a line of its own reads like a heading, and adds nothing
        ("FINDINGS: No hemorrhage.\nIMPRESSION:\n1. Normal study.\n2. CORRECTED REPORT.", ""),
        ("FINDINGS: No hemorrhage.\nIMPRESSION:\nNormal study.\nAmended report.", ""),
        ("FINDINGS: No hemorrhage.\nIMPRESSION: Normal study. CORRECTED REPORT.", ""),
    ],
)
def test_an_addendum_adds_something(text, expected):
    """A report that only says that it was corrected takes the place of the earlier one."""
    narrative = Narrative(text)
    assert addendum_of(make_report(text), analyse(narrative, language="en")) == expected
