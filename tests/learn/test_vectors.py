"""Word vectors: what is used alike is near, unknown words have a vector, folders are read without trusting them."""

import json
import pickle

import numpy as np
import pytest
from support.local_words import chinese, english

from dicomnlp.analyse import load_pack
from dicomnlp.errors import ModelRefusedError, NotFoundError, UsageError
from dicomnlp.learn.features import tokens_of
from dicomnlp.learn.neighbours import Lexicon, Neighbourhood
from dicomnlp.learn.vector_files import VECTORS, make_vectors, open_vectors, read_vectors
from dicomnlp.learn.vectors import SUBWORDS, associations, fit_table, normalised

ROWS = 3000


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A site's folder of models with vectors of its reports in two languages."""
    folder = tmp_path_factory.mktemp("models")
    make_vectors(english(), folder, "words-en", "en", rows=ROWS)
    make_vectors(chinese(), folder, "words-zh", "zh", rows=ROWS)
    return folder


@pytest.fixture(scope="module")
def hood(models):
    """Neighbours in the English reports."""
    return Neighbourhood(open_vectors(models, language="en"), Lexicon(load_pack("en")))


def texts(answer):
    """The words of an answer."""
    return [n.text for n in answer.neighbours]


@pytest.mark.parametrize(("concept", "local"), [("consolidation", "hazefield"), ("cardiomegaly", "ox heart")])
def test_a_local_word_is_proposed_for_its_concept(hood, concept, local):
    """A word, and a phrase, that are written like a concept's terms come first among what the lexicon lacks."""
    answer = hood.of(concept, 3, unknown=True)
    assert texts(answer)[0] == local
    assert answer.neighbours[0].concept is None
    assert answer.neighbours[0].count > 50
    assert concept in answer.terms


def test_what_the_lexicon_knows_is_said(hood):
    """The other way round: the nearest neighbour of a local word is the term that it stands for."""
    first = hood.of("hazefield", 5).neighbours[0]
    assert (first.text, first.concept, first.part) == ("consolidation", "consolidation", False)


def test_an_unknown_word_has_the_vector_of_its_letters(hood):
    """A misspelt word is compared by its parts, though it was never written."""
    assert texts(hood.of("cardiomegalia", 3))[0] == "cardiomegaly"


def test_what_the_reports_never_say_has_no_neighbours(hood):
    """A concept without a term in the reports is an error, not a guess."""
    with pytest.raises(NotFoundError):
        hood.of("hydronephrosis")


def test_chinese_phrases_are_found_without_a_segmenter(models):
    """A phrase of characters is proposed; pieces of it aren't."""
    hood = Neighbourhood(open_vectors(models, language="zh"), Lexicon(load_pack("zh")))
    proposed = texts(hood.of("pleural_effusion", 5, unknown=True))
    assert "胸腔渗液" in proposed
    assert "腔渗液" not in proposed


def test_a_withheld_term_counts_as_unknown(hood):
    """A lexicon can be asked as if it lacked a term, and whatever holds it."""
    lexicon = Lexicon(load_pack("en"), frozenset({tokens_of("consolidation")}))
    assert lexicon.concept(("consolidation",)) is None
    assert lexicon.concept(("airspace", "consolidation")) is None
    assert lexicon.concept(("pneumothorax",)) == "pneumothorax"


def test_the_same_reports_give_the_same_vectors(models, tmp_path):
    """Nothing is random."""
    again = make_vectors(english(), tmp_path, "words-en", "en", rows=ROWS)
    assert np.array_equal(again.table, open_vectors(models, "words-en").table)


def test_spacy_looks_up_what_was_fitted():
    """The table is floret's: spaCy's own look-up gives the vectors that it was fitted to."""
    wanted = normalised(np.random.default_rng(1).normal(size=(30, 8)).astype(np.float32))
    words = [f"word{n} finding" for n in range(30)]
    found = SUBWORDS.table(fit_table(words, wanted, SUBWORDS, 2000)).get_batch(words)
    assert (normalised(found) * wanted).sum(axis=1).min() > 0.97


def test_association_is_positive_and_of_what_is_together_oftener_than_by_chance():
    """Where a unit and a context are independent there is nothing; where they seek each other there is."""
    found = associations(np.array([[8, 2, 0], [2, 8, 0], [5, 5, 1]], dtype=np.float32))
    assert (found >= 0).all()
    assert found[0, 0] > 0
    assert found[0, 1] == 0
    assert found[1, 2] == 0


def test_names_are_never_taken_twice(models):
    """Vectors are never overwritten, and a name is that of a folder."""
    with pytest.raises(UsageError, match="never overwritten"):
        make_vectors(english(), models, "words-en", "en")
    with pytest.raises(UsageError, match="small letters"):
        make_vectors(english(), models, "../words", "en")


def test_too_few_reports_make_no_vectors(tmp_path):
    """A handful of reports teaches nothing, and leaves nothing behind."""
    with pytest.raises(UsageError, match="often enough"):
        make_vectors(english(3), tmp_path, "few", "en")
    assert not (tmp_path / VECTORS / "few").exists()


@pytest.fixture
def folder(models, tmp_path):
    """A copy of the English vectors that may be spoilt, and their digest."""
    vectors = open_vectors(models, "words-en")
    place = tmp_path / "words-en"
    place.mkdir()
    for file in vectors.path.iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    return place, vectors.digest


def pickled(path):
    """Puts a pickle in the table's place."""
    (path / "table.npy").write_bytes(pickle.dumps({"any": "thing"}))


def objects(path):
    """Puts an array of objects, which NumPy keeps as a pickle, in the table's place."""
    np.save(path / "table.npy", np.array([{"any": "thing"}], dtype=object), allow_pickle=True)


def a_word_more(path):
    """Changes the words alone."""
    words = json.loads((path / "units.json").read_text())
    (path / "units.json").write_text(json.dumps([*words, ["another", 7]]))


def a_script(path):
    """Lays something else beside."""
    (path / "load.py").write_text("print('loaded')")


def not_words(path):
    """Puts what are no words in their place."""
    (path / "units.json").write_text('{"secret": "text"}')


def shorter(path):
    """Cuts the table."""
    (path / "table.npy").write_bytes((path / "table.npy").read_bytes()[:-4])


@pytest.mark.parametrize(
    ("spoil", "registered", "code"),
    [
        (pickled, False, "model_unsafe"),
        (objects, False, "model_unsafe"),
        (a_script, False, "model_unsafe"),
        (a_word_more, True, "model_changed"),
        (not_words, False, "model_malformed"),
        (shorter, False, "model_malformed"),
    ],
)
def test_a_spoilt_folder_is_refused(folder, spoil, registered, code):
    """Pickles, foreign files, changed digests: each with its reason, and never with what stands in the files."""
    path, digest = folder
    assert read_vectors(path, digest).card.name == "words-en"
    spoil(path)
    with pytest.raises(ModelRefusedError) as refused:
        read_vectors(path, digest if registered else None)
    assert refused.value.reason_code == code
    assert "secret" not in str(refused.value)
