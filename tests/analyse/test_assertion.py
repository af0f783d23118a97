"""What assertions rest on: the cues. The rules' own rows are in ``cases/assertion.txt``."""

from dicomnlp.analyse import analyse
from dicomnlp.model import Narrative


def test_cues_are_reported_where_they_stand() -> None:
    """A cue's offsets are into the narrative, and its category is ConText's."""
    text = "FINDINGS: Liver is normal. No evidence of ascites."
    (finding,) = analyse(Narrative(text), targets=[(42, 49)]).findings
    assert [(c.text, text[c.start : c.end], c.category) for c in finding.cues] == [
        ("No evidence of", "No evidence of", "NEGATED_EXISTENCE")
    ]
    assert finding.is_negated
    assert not finding.is_uncertain
