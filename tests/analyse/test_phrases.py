"""Many phrases looked for at once."""

from hypothesis import given
from hypothesis import strategies as st

from dicomnlp.analyse.phrases import ANY, NUMBER, PhraseTable, signs

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


def test_a_whole_phrase_is_looked_up() -> None:
    """Neither its beginning nor a longer one is it."""
    table: PhraseTable[str] = PhraseTable()
    table.add(["a", "b"], "ab")
    assert (table.whole(["a", "b"]), table.whole(["a"]), table.whole(["a", "b", "c"])) == (["ab"], (), ())


def test_signs_are_words_that_every_match_has() -> None:
    """A step that is a sign already is enough; else the longest; a pattern of numbers alone has none."""
    one = [(("ct",), False)]
    two = [(("chest",), False), (("ct",), False)]
    either = [(("is", "are"), False), ((ANY,), True), (("recommended", "advised"), False), (("strongly",), True)]
    assert signs([two, one]) == frozenset({"ct"})
    assert signs([two]) == frozenset({"chest"})
    assert signs([either]) == frozenset({"recommended", "advised"})
    assert signs([one, [((NUMBER,), False)]]) is None


STEPS = st.lists(
    st.tuples(st.lists(st.sampled_from(["a", "b", "cc", ANY, NUMBER]), min_size=1, max_size=2), st.booleans()),
    min_size=1,
    max_size=4,
)


@given(st.lists(STEPS, max_size=3), WORDS)
def test_what_has_no_sign_has_no_match(patterns: list[list[tuple[list[str | int], bool]]], words: list[str]) -> None:
    """Sentences are left out by their signs alone: none may be lost by it."""
    table: PhraseTable[str] = PhraseTable(marks=[","])
    added = [pattern for pattern in patterns if table.add_pattern(pattern, "found")]
    known = signs(added)
    if known is not None and known.isdisjoint(words):
        assert not list(table.find(words))
