"""What concepts and sites are called, and how they are found by name."""

import pytest

from dicomnlp.analyse.hierarchy import expand_concept
from dicomnlp.analyse.names import concept_name, find_concepts, find_sites, site_name, states_normality
from dicomnlp.analyse.pack import LANGUAGES, read_pack


@pytest.mark.parametrize(
    ("identifier", "language", "name"),
    [
        ("pulmonary_nodule", "en", "Pulmonary nodule"),
        ("pulmonary_nodule", "zh", "肺结节"),
        # a concept that English has no words for still has a meaning there
        ("renal_enlargement", "en", read_pack(LANGUAGES / "zh").concepts["renal_enlargement"].meaning),
        ("no_such_concept", "en", None),
        ("pulmonary_nodule", "xx", None),
    ],
)
def test_concepts_are_named_in_each_language(identifier, language, name):
    """By the first word of the pack; by the meaning in English."""
    assert concept_name(identifier, language) == name


def test_sites_are_named_in_each_language():
    """Likewise."""
    assert (site_name("lung", "zh"), site_name("lung", "en")) == (
        "肺",
        read_pack(LANGUAGES / "en").anatomy["lung"].meaning,
    )


@pytest.mark.parametrize(
    ("words", "language", "first"),
    [
        ("pneumothorax", "en", ("pneumothorax", "Pneumothorax")),
        ("Pneumothorax", "zh", ("pneumothorax", "气胸")),
        ("肺结节", "en", ("pulmonary_nodule", "Pulmonary nodule")),
        ("pulmonary_nodule", "en", ("pulmonary_nodule", "Pulmonary nodule")),
        ("  pulmonary   NODULE ", "en", ("pulmonary_nodule", "Pulmonary nodule")),
    ],
)
def test_concepts_are_found_by_any_of_their_words(words, language, first):
    """Whatever the language of the words; the one that is called exactly so comes first."""
    found = find_concepts(words, language)[0]
    assert (found.id, found.name) == first


def test_what_is_found_is_bounded_and_can_be_searched_for():
    """Every id is one that searches know; nothing is found by nothing."""
    found = find_concepts("fracture", "en", 7)
    assert len(found) == 7
    assert all(expand_concept(named.id) for named in found)
    assert find_concepts("  ", "en") == find_concepts("no such words", "en") == []
    assert find_sites("上叶", "zh")[0].name


def test_what_states_normality_is_told():
    """By the packs' own mark."""
    assert states_normality("normal_heart_size")
    assert not states_normality("pulmonary_nodule")
