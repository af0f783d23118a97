"""Plots show the figures that were measured, where they belong."""

import importlib.util
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks/plots.py"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def plots():
    """The module."""
    spec = importlib.util.spec_from_file_location("plots", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_lengths_are_read_from_what_the_benchmark_prints(plots):
    """And nothing else of it."""
    printed = "  dicomnlp   1.00 ms a report\n\nours: cost for each character\n"
    printed += "     1000 characters: 2.05 microseconds, 1.00 of the shortest\n"
    printed += "   100000 characters: 1.90 microseconds, 0.93 of the shortest\n\n"
    printed += "theirs, slow: cost for each character\n"
    printed += "     1000 characters: 9.00 microseconds, 1.00 of the shortest\n\nlong ones\n  a report: 1.0 s\n"
    assert plots.of_lengths(printed) == {"ours": [(1000.0, 2.05), (100000.0, 1.9)], "theirs, slow": [(1000.0, 9.0)]}


def test_each_figure_is_a_point_and_higher_is_slower(plots):
    """On axes of whole decades around the figures; well-formed, whatever the names."""
    figures = [
        {"database": "sqlite", "reports": n, "query": "a <b>", "p99": p99}
        for n, p99 in ((1000, 2.0), (10_000, 3.0), (100_000, 30.0))
    ]
    drawn = ET.fromstring(plots.chart("t", "x", "y", plots.of_sizes(figures)))
    circles = [(float(c.get("cx")), float(c.get("cy"))) for c in drawn.iter(f"{SVG}circle")]
    assert len(circles) == 3
    assert sorted(circles) == circles
    assert [y for _, y in circles] == sorted((y for _, y in circles), reverse=True)
    texts = [t.text for t in drawn.iter(f"{SVG}text")]
    assert {"1,000", "100,000", "1", "100", "a <b>, sqlite"} <= set(texts)
