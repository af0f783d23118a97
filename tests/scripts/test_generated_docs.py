"""Files made from the code are those that the code makes now."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _generator():
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "scripts/generate_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", list(_generator().FILES))
def test_generated_file_is_current(name):
    """Run `python scripts/generate_docs.py` and commit what it writes."""
    assert (ROOT / name).read_text(encoding="utf-8") == _generator().FILES[name]()
