"""What a document says of being an addendum."""

from dataclasses import replace

import pytest
from support.records import make_report

from dicomnlp.analyse import analyse
from dicomnlp.model import Narrative
from dicomnlp.store.documents import addendum_of

WHOLE = "FINDINGS: No pneumothorax. IMPRESSION: Normal."


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (WHOLE, ""),
        (f"{WHOLE} ADDENDUM: There is a nodule in the left lung.", "section"),
        ("CORRECTION: The nodule is in the right lung, not the left.", "section"),
        ("CORRECTED REPORT: The nodule is in the right lung.\nIMPRESSION: Nodule.", "section"),
        # a whole report, in place of the one that it corrects
        (f"CORRECTED REPORT:\n{WHOLE}", ""),
        (f"AMENDED REPORT:\nThe side is corrected.\n{WHOLE}", ""),
        (f"CORRECTED REPORT:\n{WHOLE}\nADDENDUM: There is a nodule in the left lung.", "section"),
        ("更正:右肺改为左肺。", "section"),
        # a remark in a line of its own reads like a heading, and adds nothing
        ("FINDINGS: No hemorrhage.\nIMPRESSION:\n1. Normal study.\n2. CORRECTED REPORT.", ""),
        ("FINDINGS: No hemorrhage.\nAmended report.", ""),
        ("ADDENDUM:\nNo change.", "section"),
        ("更正报告:\n影像所见:双肺未见异常。\n诊断意见:未见异常。", ""),
    ],
)
def test_corrected_report_is_no_addendum_and_a_correction_alone_is(text, says):
    """Only a document that says everything itself takes the place of another."""
    report = replace(make_report(), narrative=Narrative(text), items=(), document_code=None)
    assert addendum_of(report, analyse(report.narrative)) == says
