"""Many phrases looked for at once."""

from hypothesis import given
from hypothesis import strategies as st

from dicomnlp.analyse.phrases import ANY, NUMBER, PhraseTable

WORDS = st.lists(st.sampled_from(["a", "b", "c", ",", "7"]), max_size=8)


def test_phrases_are_found_with_every_overlap() -> None:
    """One that begins, ends or lies within another is found too, and each value of a phrase."""
    table: PhraseTable[str] = PhraseTable()
    for words, value in (("a b", "ab"), ("a b c", "abc"), ("b", "b"), ("b", "other")):
        table.add(words.split(), value)
    assert list(table.find(["x", "a", "b", "c"])) == [("ab", 1, 3), ("abc", 1, 4), ("b", 2, 3), ("other", 2, 3)]


def test_patterns_have_alternatives_gaps_numbers_and_words_that_may_be_missing() -> None:
    """A gap doesn't step over a mark."""
    table: PhraseTable[str] = PhraseTable(marks=[","])
    steps = [(("a", "b"), False), ((ANY,), True), (("c",), True), ((NUMBER,), False)]
    assert table.add_pattern(steps, "found")
    for text, count in (
        ("a 7", 1),
        ("b c 7", 1),
        ("a x c 12", 1),
        ("a x 7", 1),
        ("a , 7", 0),
        ("a x x 7", 0),
        ("a", 0),
    ):
        assert len(set(table.find(text.split()))) == count, text


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    """Only steps that may be missing, or a gap at the beginning."""
    table: PhraseTable[str] = PhraseTable()
    assert not table.add_pattern([(("a",), True)], "x")
    assert not table.add_pattern([((ANY,), True), (("a",), False)], "x")
    assert list(table.find(["a"])) == []


@given(st.lists(WORDS.filter(bool), max_size=8), WORDS)
def test_the_table_finds_what_a_plain_search_finds(phrases: list[list[str]], text: list[str]) -> None:
    """Whatever the phrases and the text."""
    table: PhraseTable[tuple[str, ...]] = PhraseTable()
    for phrase in phrases:
        table.add(phrase, tuple(phrase))
    plain = [(tuple(p), i, i + len(p)) for p in phrases for i in range(len(text)) if text[i : i + len(p)] == p]
    assert sorted(table.find(text)) == sorted(plain)
