"""Reading a report prints nothing and leaves the process as it was."""

import os
import subprocess
import sys

SCRIPT = """
import warnings
before = list(warnings.filters)
import dicomnlp.analyse as analyse
from dicomnlp.model import Narrative
assert list(warnings.filters) == before, "import changed the warning filters"
text = "FINDINGS: Zebulon has no pneumothorax. Quixotic nodule, 6 mm.\\nIMPRESSION: Zebulon."
found = analyse.analyse(Narrative(text), language="en").findings
assert any(f.text == "pneumothorax" for f in found)
try:
    analyse.analyse(Narrative("Zebulon Квиксотик Квиксотик"))
except Exception as error:
    assert "Zebulon" not in str(error)
"""


def test_nothing_is_printed_and_warnings_stay_on() -> None:
    """Canary words of a report reach no stream, warnings are errors throughout, and the filters stay."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")
