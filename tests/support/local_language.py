"""Annotated reports of a made-up site whose radiologists say some things in their own way.

"Effusion zilch." says that there is none, which no rule knows; everything else is as elsewhere.
"""

from dicomnlp.learn.gold import read_record

FINDINGS = ("pleural effusion", "pneumothorax", "consolidation", "cardiomegaly", "atelectasis", "pulmonary edema")
PATTERNS = (
    ("{} zilch.", "absent"),
    ("Zilch as to {}.", "absent"),
    ("There is {}.", "present"),
    ("No {} is seen.", "absent"),
    ("Possible {}.", "possible"),
)


def site_reports(number, *, wrong=False):
    """`number` reports of a patient each, with two marked spans; `wrong`: absent for present and present for absent."""
    reports = []
    for n in range(number):
        text, marked = "FINDINGS: ", []
        for step in (0, 1):
            finding = FINDINGS[(n + 3 * step) % len(FINDINGS)]
            pattern, assertion = PATTERNS[(2 * n + step + n // len(FINDINGS)) % len(PATTERNS)]
            sentence = pattern.format(finding).replace("{", "")
            sentence = sentence[0].upper() + sentence[1:]
            start = len(text) + sentence.lower().index(finding)
            if wrong:
                assertion = {"absent": "present", "present": "absent"}.get(assertion, assertion)
            marked.append({"start": start, "end": start + len(finding), "assertion": assertion})
            text += sentence + " "
        record = {"id": f"r{n}", "patient": f"p{n}", "text": text, "language": "en", "targets": marked}
        record["labels"] = {"site": {"quiet": 1 if "zilch" in text.lower() else 0}}
        reports.append(record)
    return reports


def gold(records):
    """The records as they are read."""
    return tuple(read_record(record, record["id"]) for record in records)
