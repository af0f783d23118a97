"""The scripts as modules: they live beside the package, not in it."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="session")
def make_samples() -> ModuleType:
    """scripts/make_samples.py."""
    return _import("make_samples")


@pytest.fixture(scope="session")
def demo() -> ModuleType:
    """scripts/demo.py."""
    return _import("demo")


@pytest.fixture(scope="session")
def demo_reports() -> ModuleType:
    """scripts/demo_reports.py."""
    return _import("demo_reports")


def _import(name: str) -> ModuleType:
    sys.path.insert(0, str(SCRIPTS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(SCRIPTS))
