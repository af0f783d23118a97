"""Tokens and their offsets."""

from dicomnlp.analyse.tokens import tokenize


def test_text_is_cut_into_words_numbers_marks_and_han_characters() -> None:
    """A hyphen inside a word leaves no token, one between numbers or free-standing does; apostrophes stay."""
    text = "T2-weighted, Murphy\u2019s 1.5 x 2-3 cm \u2013 \u672a\u89c1L4"
    words = ["T2", "weighted", ",", "Murphy's", "1.5", "x", "2", "-", "3", "cm", "\u2013", "\u672a", "\u89c1", "L4"]
    tokens = tokenize(text)
    assert list(tokens.words) == words
    assert [text[a:b].replace("\u2019", "'") for a, b in zip(tokens.starts, tokens.ends, strict=True)] == words


def test_characters_give_the_tokens_they_touch() -> None:
    """A span may begin or end inside a token, and may touch none."""
    tokens = tokenize("no large  mass")
    assert tokens.span(0, 2) == (0, 1)
    assert tokens.span(4, 11) == (1, 3)
    assert tokens.span(8, 9) == (2, 2)
