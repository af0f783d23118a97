"""Records for people: nothing is cut, whatever the width."""

import dataclasses
import datetime as dt
import subprocess
import sys

import pytest
from rich.cells import cell_len
from support.records import make_finding

from dicomnlp.cli import context, reading, tables
from dicomnlp.cli.context import out
from dicomnlp.model import Measurement, State, Temporality
from dicomnlp.store.answers import StoredFinding, StoredReport

UID = "1.2.826.0.1.3680043.8.498." + "7" * 38
"""64 characters, the longest there is."""
ROWS = [
    ("2026-11-22T06:00:00Z", "language_not_supported", UID, "", "words of a long sentence " * 5),
    ("2026-11-22T06:00:01Z", "not_dicom", "1.2.3", "", ""),
]
NAMES = ("when", "reason", "SOP instance", "always empty", "sentence")


def test_findings_of_a_fetus_and_of_a_device_say_so(monkeypatch):
    """They must not be read as the patient's, or a physician's, who is not named."""
    monkeypatch.setattr(out, "width", 400)
    now = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
    shown = []
    for subject, observer in (("", "person"), ("fetus B", "device")):
        finding = dataclasses.replace(make_finding(), subject=subject, observer=observer)
        with out.capture() as captured:
            reading.print_findings([StoredFinding(1, "1.2", "1.2.3", finding, "en-1", now)])
        shown.append(captured.get())
    assert not any(word in shown[0] for word in ("fetus", "device", "person"))
    assert all(word in shown[1] for word in ("fetus B", "device"))


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 200, 10_000])
def test_no_identifier_is_cut_or_broken(monkeypatch, width):
    """A table where it fits, else a block each; in both every identifier can be copied from one line."""
    monkeypatch.setattr(out, "width", width)
    with out.capture() as captured:
        tables.print_records(NAMES, ROWS)
    text = captured.get()
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    assert "always empty" not in text
    shown = [UID] if width >= 80 else []  # 60 columns can only fold it
    for word in (*shown, "language_not_supported", "not_dicom", "2026-11-22T06:00:00Z"):
        assert any(word in line for line in text.splitlines()), word
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [40, 80, 200])
def test_chinese_takes_two_columns_a_character(monkeypatch, width):
    """The frame of a table stays straight, and no line of a table or a block is wider than the terminal."""
    monkeypatch.setattr(out, "width", width)
    rows = [("肺结节", "右肺上叶见一磨玻璃结节，大小约８ｍｍ×６ｍｍ。" * 3, "8x6 mm"), ("胸腔积液", "左侧，少量。", "")]
    with out.capture() as captured:
        tables.print_records(("concept", "sentence", "size"), rows)
    lines = captured.get().splitlines()
    assert max(map(cell_len, lines)) <= width
    framed = [line for line in lines if line.startswith("│")]
    assert len({cell_len(line) for line in framed}) == (1 if width == 200 else 0)
    shown = "".join("".join(lines).split())
    assert all(word in shown for word in ("肺结节", "胸腔积液", "左侧，少量。"))


def test_control_characters_of_a_cell_are_replaced(monkeypatch):
    """A sender's title must not steer the terminal, in a table or in a block."""
    for width in (30, 200):
        monkeypatch.setattr(out, "width", width)
        with out.capture() as captured:
            tables.print_records(("name", "text"), [("[red]\x1b[2J", "x" * 40)])
        assert "\x1b[2J" not in captured.get()
        assert "[red]" in captured.get()


def test_what_is_no_terminal_has_no_width():
    """A pipe gets whole lines, whatever COLUMNS says."""
    code = "from dicomnlp.cli.context import out; print(out.width)"
    done = subprocess.run([sys.executable, "-c", code], env={"COLUMNS": "80"}, capture_output=True, check=True)
    assert int(done.stdout) == context.PIPE_WIDTH


@pytest.mark.parametrize(
    ("temporality", "expected"), [(Temporality.CURRENT, "5x4 mm"), (Temporality.PRIOR, "(prior 5x4 mm)")]
)
def test_a_prior_size_is_marked(temporality, expected):
    """It is not the size now."""
    assert reading.size_text(Measurement((5.0, 4.0), "mm", "size", temporality, "5 x 4 mm", 0, 8)) == expected


def test_states_but_analysed_are_told_with_count_and_reasons():
    """Each state once, its reasons once each, and the command that tells more."""

    def stored(state, reason_code=None):
        return StoredReport(1, "1.2", "1", 1, True, state, reason_code, None, None, None, None)

    told = reading.states_told(
        [
            stored(State.FAILED, "language_not_supported"), stored(State.ANALYSED), stored(State.NEEDS_OCR),
            stored(State.NO_TEXT), stored(State.FAILED, "timeout"), stored(State.FAILED, "timeout"),
            stored(State.PENDING), stored(State.QUARANTINED, "uid_conflict"),
        ]
    )  # fmt: skip
    assert told == [
        "1 report waiting for analysis",
        "1 report without text (no_text)",
        "1 report made of images without text (needs_ocr)",
        "3 reports failed: language_not_supported, timeout; see dicomnlp failures",
        "1 report in quarantine: uid_conflict; see dicomnlp quarantine",
    ]
