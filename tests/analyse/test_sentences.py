"""Where sentences end, by the English rules."""

import pytest

from dicomnlp.analyse import load_pack
from dicomnlp.analyse.sentences import SentenceSplitter

CASES: dict[str, tuple[str, list[str]]] = {
    "prose": ("No leak. The liver is large. Cyst?", ["No leak.", "The liver is large.", "Cyst?"]),
    "abbreviations": ("Seen by Dr. Lee vs. Dr. May approx. at noon.", ["Seen by Dr. Lee vs. Dr. May approx. at noon."]),
    "decimals": ("It is 2.5 cm. It was 1.5 cm. in May.", ["It is 2.5 cm.", "It was 1.5 cm. in May."]),
    "numbered lines": ("1. No leak\n2. Cyst, 3. grade\n10) Scar", ["1. No leak", "2. Cyst, 3. grade", "10) Scar"]),
    "numbered in one line": ("1. No leak. 2. Cyst.", ["1. No leak.", "2. Cyst."]),
    # a number that ends a sentence is no item of a list
    "number at the end": ("Diagnosed at 50. No leak.", ["Diagnosed at 50.", "No leak."]),
    "lines without full stops": ("Small cyst\nNo leak\nOld scar", ["Small cyst", "No leak", "Old scar"]),
    "wrapped lines": (
        (
            "There is no evidence of any leak from the anastomosis of the\nsmall bowel or of the stomach. "
            "The liver is normal in size and\nshape."
        ),
        [
            "There is no evidence of any leak from the anastomosis of the\nsmall bowel or of the stomach.",
            "The liver is normal in size and\nshape.",
        ],
    ),
    "wrapped capitals": (
        "THERE IS NO EVIDENCE OF ANY LEAK FROM THE ANASTOMOSIS OF THE\nSMALL BOWEL.\nNO CYST",
        ["THERE IS NO EVIDENCE OF ANY LEAK FROM THE ANASTOMOSIS OF THE\nSMALL BOWEL.", "NO CYST"],
    ),
    "labels begin a line": ("Liver: Normal\nSpleen: Absent", ["Liver: Normal", "Spleen: Absent"]),
    "bullets": ("- Cyst\n- Scar", ["- Cyst", "- Scar"]),
    "blank lines": ("No cyst\n\nor scar", ["No cyst", "or scar"]),
    "lower case": ("the mass is large. the liver is normal.", ["the mass is large.", "the liver is normal."]),
    "nothing": (" \n ", []),
}


def splitter(limit: int = 900) -> SentenceSplitter:
    """The English rules."""
    return SentenceSplitter(load_pack("en").sentences, limit)


@pytest.mark.parametrize(("text", "sentences"), CASES.values(), ids=CASES)
def test_sentences_end_where_a_reader_ends_them(text: str, sentences: list[str]) -> None:
    """The sentences of each text."""
    assert [text[a:b] for a, b in splitter().split(text, 0, len(text))] == sentences


def test_an_endless_sentence_is_cut_at_clause_marks() -> None:
    """No part is above the limit, no word is lost, and commas are preferred to blanks."""
    text = "no cyst in the liver, " * 500 + "x" * 3000
    parts = [text[a:b] for a, b in splitter(200).split(text, 0, len(text))]
    assert max(map(len, parts)) <= 200
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(part.endswith(",") for part in parts[:50])
