"""Words of a text as both databases index them, and a search for them.

The two would cut and fold text differently, and neither cuts Chinese at all; so that a search means the same on both,
words are cut and folded here, and the database's own rules have nothing left to do.
"""

import re
import unicodedata
from collections.abc import Iterator

MAXIMUM_WORDS = 16_383
"""Of a text; PostgreSQL counts places of words no further, and a phrase must be found in order."""
MAXIMUM_CHARACTERS = 100_000
"""Of all words of a text: PostgreSQL takes a megabyte of them, whatever they are."""
_MAXIMUM_WORD = 100
"""Characters: longer ones are cut, in texts and in queries alike."""
_WORD = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\W_\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
_PART = re.compile(r'"([^"]*)"?|([^\s"]+)')


def words_of(text: str) -> list[str]:
    """The words of `text` in order: one Chinese character, or a run of letters and digits, without case and accents."""
    folded = unicodedata.normalize("NFKD", text).casefold()
    return [word[:_MAXIMUM_WORD] for word in _WORD.findall("".join(c for c in folded if not unicodedata.combining(c)))]


def indexed_words(text: str) -> list[str]:
    """The words of `text` that are indexed: all, unless there are more than `MAXIMUM_WORDS` or `MAXIMUM_CHARACTERS`."""
    kept, length = [], 0
    for word in words_of(text)[:MAXIMUM_WORDS]:
        length += len(word)
        if length > MAXIMUM_CHARACTERS:
            break
        kept.append(word)
    return kept


def phrases_of(query: str) -> list[list[str]]:
    """What a user's query asks for: all of these phrases, each of one or more words that follow one another.

    Words in double quotation marks are a phrase; so are those that a query writes as one ("T2-weighted", 肺结节).
    A query without a word asks for nothing: [].
    """
    return [words for words in _phrases(query) if words]


def _phrases(query: str) -> Iterator[list[str]]:
    for quoted, single in _PART.findall(query):
        yield words_of(quoted or single)


def fts5_query(query: str) -> str:
    """`query` for SQLite's FTS5: every word is quoted, so none is an operator."""
    return " AND ".join('"' + " ".join(words) + '"' for words in phrases_of(query))


def tsquery(query: str) -> str:
    """`query` as a `tsquery` of PostgreSQL: likewise."""
    return " & ".join("(" + " <-> ".join(f"'{word}'" for word in words) + ")" for words in phrases_of(query))


def tsvector(words: list[str]) -> str:
    """`words` as a `tsvector` of PostgreSQL, each at its place; its parser is passed by."""
    return " ".join(f"'{word}':{place}" for place, word in enumerate(words, 1))
