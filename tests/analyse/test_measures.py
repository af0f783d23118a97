"""Quantities in a sentence, by the English words."""

import pytest

from dicomnlp.analyse import analyse, load_pack
from dicomnlp.analyse.measures import MeasureReader
from dicomnlp.model import Narrative

Row = tuple[tuple[float, ...], str, str, str]

CASES: dict[str, list[Row]] = {
    "A 7 mm stone.": [((7.0,), "mm", "size", "current")],
    "Mass of 3.2 x 2.1 x 4 cm.": [((32.0, 21.0, 40.0), "mm", "size", "current")],
    "Node, 12mm by 0.9cm.": [((12.0, 9.0), "mm", "size", "current")],
    "1.4 cm AP x 1.1 cm transverse": [((14.0, 11.0), "mm", "size", "current")],
    # the German comma is a decimal, the English one parts thousands
    "Cyst of 1,5 cm.": [((15.0,), "mm", "size", "current")],
    "Volume 1,250 mL.": [((1250.0,), "mL", "volume", "current")],
    "Stones of 2-3 mm.": [((2.0, 3.0), "mm", "size", "current")],
    "Stones ranging from 2 to 3 mm.": [((2.0, 3.0), "mm", "size", "current")],
    "Nodes of 6, 7 and 9 mm.": [((6.0, 7.0, 9.0), "mm", "size", "current")],
    "Nodes of 6 mm and 9 mm.": [((6.0,), "mm", "size", "current"), ((9.0,), "mm", "size", "current")],
    "6 mm nodule, previously 4 mm.": [((6.0,), "mm", "size", "current"), ((4.0,), "mm", "size", "prior")],
    "Now 6 mm, 4 mm on the prior.": [((6.0,), "mm", "size", "current"), ((4.0,), "mm", "size", "prior")],
    "It has grown from 4 to 6 mm.": [((4.0,), "mm", "size", "prior"), ((6.0,), "mm", "size", "current")],
    "Increased from 4 mm in May to 6 mm now.": [((4.0,), "mm", "size", "prior"), ((6.0,), "mm", "size", "current")],
    "Tip 3 cm above the carina.": [((30.0,), "mm", "distance", "current")],
    "Shift of 8 mm.": [((8.0,), "mm", "distance", "current")],
    "Attenuation of -12 HU.": [((-12.0,), "[hnsf'U]", "density", "current")],
    # a name before a bare number, and what it was
    "SUVmax of 6.4 (previously 9.1).": [
        ((6.4,), "g/ml{SUVbw}", "uptake", "current"),
        ((9.1,), "g/ml{SUVbw}", "uptake", "prior"),
    ],
    "60-70% stenosis": [((60.0, 70.0), "%", "ratio", "current")],
    "Area of 2.5 cm2.": [((250.0,), "mm2", "area", "current")],
    "Broken\n4\nmm stone": [((4.0,), "mm", "size", "current")],
    # no sizes: references, levels, sequences, dates, pressures, velocities of another kind
    "Series 4 image 112 (4:112).": [],
    "T2 bright focus at L4-L5 and T2.": [],
    "On 3/14/2021 at 10:42.": [],
    "Gradient of 82 mm of mercury.": [((82.0,), "mm[Hg]", "pressure", "current")],
    "Flow of 99 cm per second.": [((99.0,), "cm/s", "velocity", "current")],
    "Type 2, grade 3, stage 4 M1.": [],
}


@pytest.mark.parametrize(("text", "rows"), CASES.items())
def test_quantities_are_read_in_millimetres_or_their_unit(text: str, rows: list[Row]) -> None:
    """Values, unit, kind and whether it is of an earlier study; offsets give the words."""
    read = MeasureReader(load_pack("en").measures).read(text)
    assert [(m.values, m.unit, m.kind, m.temporality.value) for m in read] == rows
    assert all(text[m.start : m.end] == m.text for m in read)


WHEN: dict[str, list[tuple[float, str]]] = {
    "en: It measures 21 mm, having measured 29 mm.": [(21, "current"), (29, "prior")],
    "en: The cyst, 12 mm on the last MRI, measures 19 mm today.": [(12, "prior"), (19, "current")],
    "en: Nodule of 8 mm (11 mm on the CT of January).": [(8, "current"), (11, "prior")],
    "en: It was seen two years ago and is 9 mm.": [(9, "current")],
    "en: 9 mm, 7 mm two years ago.": [(9, "current"), (7, "prior")],
    # a rate of growth is of no earlier study
    "en: It grows by 2 mm a year.": [(2, "current")],
    "zh: 左肾囊肿前12mm，现15mm。": [(12, "prior"), (15, "current")],
    "zh: 左肾囊肿现15mm，前12mm。": [(15, "current"), (12, "prior")],
    "zh: 结节现7mm（2025年3月约11mm）。": [(7, "current"), (11, "prior")],
    "zh: 结节大小约7mm，当时约11mm。": [(7, "current"), (11, "prior")],
    # a place
    "zh: 椎体前12mm处见结节，大小约5mm。": [(12, "current"), (5, "current")],
    "zh: 目前12mm。": [(12, "current")],
}


@pytest.mark.parametrize(("said", "times"), WHEN.items())
def test_a_size_is_dated_by_the_words_beside_it(said: str, times: list[tuple[float, str]]) -> None:
    """By a study or a date after it, a date before it, or its half of "then, now"."""
    language, text = said.split(": ", 1)
    found = analyse(Narrative(text), language=language).measurements
    assert [(m.values[0], m.temporality.value) for m in found] == times


OWNERS: dict[str, dict[str, list[str]]] = {
    "A 6 mm nodule in the right upper lobe, previously 4 mm, and a fracture.": {
        "nodule": ["6 mm", "4 mm"],
        "fracture": [],
    },
    "Pneumothorax with a nodule measuring 2 cm.": {"Pneumothorax": [], "nodule": ["2 cm"]},
    "The nodule is unchanged; 3 cm fracture gap.": {"nodule": []},
}


@pytest.mark.parametrize(("text", "owners"), OWNERS.items())
def test_sizes_belong_to_their_findings(text: str, owners: dict[str, list[str]]) -> None:
    """A size goes to the finding it stands before or after in its clause."""
    targets = [(text.index(span), text.index(span) + len(span)) for span in owners]
    findings = analyse(Narrative(text), language="en", targets=targets).findings
    assert {f.text: [m.text for m in f.measurements] for f in findings} == owners
