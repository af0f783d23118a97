"""Preprocessing: each step of a text, in each language, and the matrix that is made of it."""

import json

import numpy as np
import pytest

from dicomnlp.errors import UsageError
from dicomnlp.learn.feature_matrix import make_matrix, write_matrix
from dicomnlp.learn.features import Preprocessor, cleaned


@pytest.fixture(scope="module")
def english():
    """Of the English pack."""
    return Preprocessor("en")


@pytest.mark.parametrize(
    ("text", "clean", "count"),
    [
        ("seen on [**2011-4-5**] by", "seen on _ by", 1),
        ("XXXX, compared to XXXX.", "_ , compared to _ .", 2),
        ("Dr. <NAME 1> of [HOSPITAL]", "Dr. _ of _", 2),
        ("signed ___  and\t****", "signed _ and _", 2),
        ("[sic] <b> XX chromosomes, T2*", "[sic] <b> XX chromosomes, T2*", 0),  # none of these is a placeholder
        ("", "", 0),
    ],
)
def test_placeholders_and_white_space_are_cleaned(text, clean, count):
    """What de-identification left behind becomes one mark, and runs of white space one space."""
    assert cleaned(text) == (clean, count)


def test_every_step_of_an_english_text_can_be_seen(english):
    """Headings, numbers, marks and stop words go; words are stemmed and joined within a clause."""
    steps = english.steps("FINDINGS: There is a 6 mm nodule, and opacities of XXXX.\nIMPRESSION: No effusions.")
    assert steps.headings == ("FINDINGS", "IMPRESSION")
    assert steps.placeholders == 1
    assert steps.clean == "There is a 6 mm nodule, and opacities of _ .\nNo effusions."
    first, second = steps.sentences
    assert first.tokens[:6] == ("there", "is", "a", "#", "mm", "nodule")
    assert first.kept == ("mm", "nodule", "opacities")
    assert first.stems == ("mm", "nodul", "opac")
    assert first.ngrams == ("mm nodul",)  # the comma parts nodule and opacities
    assert second.ngrams == ("no effus",)


def test_words_that_turn_an_assertion_are_no_stop_words(english):
    """What ConText acts on is kept, though spaCy lists it among the stop words."""
    assert english.stop_words.isdisjoint({"no", "not", "without", "may", "never"})
    assert {"the", "is", "and", "of"} <= english.stop_words


def test_chinese_has_no_stems_and_keeps_characters_of_its_terms():
    """Characters are tokens; "上" is a stop word and stays, because lobes are named by it."""
    steps = Preprocessor("zh").steps("检查所见：右肺上叶见结节，约8mm。\n印象：未见积液。")
    assert steps.headings == ("检查所见", "印象")
    assert "上" in steps.sentences[0].kept
    assert "结节" in steps.sentences[0].ngrams
    assert "节约" not in steps.sentences[0].ngrams
    assert {"未", "见"} <= set(steps.sentences[1].kept)


def test_german_is_stemmed_as_german():
    """The stemmer is that of the language."""
    [sentence] = Preprocessor("de").steps("Keine Verschattungen.").sentences
    assert sentence.stems == ("kein", "verschatt")


def test_an_empty_text_has_no_steps(english):
    """Nothing comes of nothing."""
    assert english.steps(" \n").sentences == ()


TEXTS = [
    ("a", "FINDINGS: Small pleural effusion. Small effusion."),
    ("b", "FINDINGS: No pleural effusion."),
    ("c", "FINDINGS: Fracture of the radius."),
]


def test_the_matrix_weighs_what_is_rare_and_often_in_a_report(english):
    """Term frequency times smoothed inverse document frequency, each row of length 1."""
    matrix = make_matrix(TEXTS, english, least=1)
    first = matrix.row(0)
    # twice in two of three reports, against once in one of three
    assert first["small"] / first["pleural"] == pytest.approx(2 * (np.log(4 / 2) + 1) / (np.log(4 / 3) + 1))
    assert sum(weight**2 for weight in first.values()) == pytest.approx(1)
    assert "pleural effus" in first
    assert matrix.reports == ("a", "b", "c")


def test_what_is_in_too_few_reports_is_no_feature(english):
    """The vocabulary has what is in so many reports, and a report without any is an empty row."""
    matrix = make_matrix(TEXTS, english, least=2)
    assert matrix.vocabulary == ("effus", "pleural", "pleural effus")
    assert matrix.in_reports == (2, 2, 2)
    assert matrix.row(2) == {}
    with pytest.raises(UsageError):
        make_matrix(TEXTS, english, least=4)


def test_the_files_hold_the_matrix_without_pickles(english, tmp_path):
    """What is written is what scipy.sparse.load_npz reads: five arrays, none of objects."""
    matrix = make_matrix(TEXTS, english, least=1)
    write_matrix(matrix, tmp_path / "out")
    with np.load(tmp_path / "out" / "matrix.npz", allow_pickle=False) as saved:
        assert saved["format"].item() == b"csr"
        dense = np.zeros(saved["shape"])
        for row, (first, last) in enumerate(zip(saved["indptr"][:-1], saved["indptr"][1:], strict=True)):
            dense[row, saved["indices"][first:last]] = saved["data"][first:last]
    said = json.loads((tmp_path / "out" / "features.json").read_text())
    assert dense[0, said["vocabulary"].index("small")] == pytest.approx(matrix.row(0)["small"])
    assert said["reports"] == ["a", "b", "c"]
    with pytest.raises(UsageError, match="exists already"):
        write_matrix(matrix, tmp_path / "out")
