"""The house rules that no reviewer should have to check by eye."""

import subprocess
import sys
from pathlib import Path

import pytest

from dicomnlp import errors, model

ROOT = Path(__file__).resolve().parents[1]


def test_imports_go_down_the_layers_only():
    """import-linter's contracts in pyproject.toml hold."""
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_modules_stay_readable():
    """About 300 lines is the aim, 500 the ceiling."""
    long = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / "dicomnlp").rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 500
    }
    assert not long


def _tree(kind):
    for child in kind.__subclasses__():
        yield child
        yield from _tree(child)


def test_reason_codes_are_stable_words_and_distinct():
    """Clients and dashboards match on them."""
    classes = list(_tree(errors.DicomnlpError))
    codes = [c.reason_code for c in classes]
    assert len(set(codes)) == len(codes)
    assert all(code.replace("_", "").isalpha() and code.islower() for code in codes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.2.840.10008.1.1", True),
        ("2.25.0", True),
        ("1." + "2" * 62, True),
        ("1." + "2" * 63, False),  # 65 characters
        ("1.02", False),  # a component with a leading zero
        ("3.1", False),  # no such root
        ("1", False),
        ("1.2.", False),
        ("1.2\n", False),  # $ would let this one pass
        ("../../tmp", False),
        ("", False),
        (None, False),
    ],
)
def test_uid_is_checked_by_the_standard(text, expected):
    """PS3.5 9.1, to the letter: what passes may be logged and shown."""
    assert model.is_uid(text) is expected
