"""The table of headings: codes, meanings in many languages, and which of the two counts."""

import tomllib
from importlib import resources

import pytest

from dicomnlp.extract.headings import heading_of, is_never_narrative, section_of_words
from dicomnlp.model import Code, SectionName


@pytest.mark.parametrize(
    ("code", "section"),
    [
        (Code("59776-5", "LN", "Findings"), "findings"),
        (Code("19005-8", "LN", "Impressions"), "impression"),
        (Code("121070", "DCM", "Findings"), "findings"),  # retired, and still the commonest
        (Code("121076", "DCM", "Conclusions"), "impression"),
        (Code("121078", "DCM", "Addendum"), "addendum"),
        (Code("18834-2", "LN", "Previous Findings"), "comparison"),
        (Code("121068", "DCM", "Previous Findings"), "comparison"),
        (Code("121069", "DCM", "Previous Finding"), "comparison"),
        (Code("18785-6", "LOINC", "Indications for Procedure"), "indication"),
        (Code("18783-1", "LN", "Recommendations"), "recommendation"),
        (Code("73568-8", "LN", "Communication of Critical Results"), "communication"),
        (Code("59776-5", "LN", "Befund"), "findings"),  # a localised meaning agrees
        (Code("59776-5", "LN", "Constatări"), "findings"),  # an unknown language: the code decides
        (Code("X1", "99LOCAL", "Beurteilung"), "impression"),  # a private code: the meaning decides
        (Code("X2", "99LOCAL", "检查所见"), "findings"),
        (Code("X3", "99LOCAL", "Opis badania"), "findings"),
        (Code("X4", "99LOCAL", "CONCLUSION:"), "impression"),
        (Code("X5", "99LOCAL", "Previous Findings"), "comparison"),
    ],
)
def test_a_concept_name_opens_its_section(code, section):
    """By code, and by meaning where the code says nothing."""
    heading = heading_of(code)
    assert heading.section == section
    assert not heading.is_conflict


@pytest.mark.parametrize(
    ("code", "section"),
    [
        (Code("121072", "DCM", "Clinical History"), SectionName.HISTORY),
        (Code("121070", "DCM", "Conclusion"), SectionName.IMPRESSION),
        (Code("59776-5", "LN", "Recommendation"), SectionName.RECOMMENDATION),
        (Code("121071", "DCM", "Measurement Report"), None),
        (Code("19005-8", "LN", "Findings"), SectionName.FINDINGS),
        (Code("18834-2", "LN", "Impression"), SectionName.IMPRESSION),
    ],
)
def test_a_meaning_that_contradicts_the_code_wins(code, section):
    """One code with many meanings is what products do; the contradiction is flagged."""
    heading = heading_of(code)
    assert heading.section == section
    assert heading.is_conflict


def test_previous_findings_called_findings_do_not_become_current():
    """The word may be short for them; the contradiction is flagged all the same."""
    heading = heading_of(Code("18834-2", "LN", "Findings"))
    assert (heading.section, heading.is_conflict) == (SectionName.COMPARISON, True)


@pytest.mark.parametrize("words", ["Liver", "PA Chest", "SECTION2", "1", "", "De bello Gallico", "x" * 500])
def test_words_that_name_no_section_open_none(words):
    """Organs and numbers are labels."""
    assert section_of_words(words) is None


@pytest.mark.parametrize("words", ["Report", "Radiology Report", "Report Text", "Informe radiológico", "诊断报告"])
def test_names_of_the_whole_report_leave_its_division_to_the_text(words):
    """They open no section of their own."""
    assert section_of_words(words).section is None


def test_identifiers_and_context_are_never_narrative():
    """Unless a meaning shows that the code is abused for a heading."""
    assert is_never_narrative(Code("112039", "DCM", "Tracking Identifier"))
    assert is_never_narrative(Code("121013", "DCM", "Device Observer Name"))
    assert not is_never_narrative(Code("112039", "DCM", "Impression"))
    assert not is_never_narrative(Code("121071", "DCM", "Finding"))
    assert not is_never_narrative(None)


def test_no_code_opens_two_sections():
    """The table contradicts itself nowhere."""
    raw = tomllib.loads(resources.files("dicomnlp.extract").joinpath("headings.toml").read_text("utf-8"))
    for scheme, sections in raw["codes"].items():
        codes = [code for of_section in sections.values() for code in of_section]
        assert len(codes) == len(set(codes)), scheme
