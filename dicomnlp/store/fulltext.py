"""The words of the reports, as each database indexes them; `words` says what a word is.

SQLite has them in an FTS5 table, PostgreSQL in a tsvector under a GIN index: the one table that the two don't share, so
that it is not among those of `schema`.
"""

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR
from sqlalchemy.engine import Connection

from dicomnlp.store.batches import batches
from dicomnlp.store.columns import clean
from dicomnlp.store.rows import copy, driver
from dicomnlp.store.words import fts5_query, indexed_words, tsquery, tsvector

_WORDS = sa.table("report_words", sa.column("object_id", sa.BigInteger), sa.column("words", TSVECTOR))


def create(connection: Connection) -> None:
    """Make the table; of the migrations."""
    if connection.dialect.name == "sqlite":
        # ascii: what isn't ASCII is part of a word, as `words` has cut it. The text is kept beside the index, because
        # SQLite before 3.43 can't delete from an index without it
        connection.execute(sa.text("CREATE VIRTUAL TABLE report_words USING fts5(words, tokenize='ascii')"))
        return
    connection.execute(
        sa.text(
            "CREATE TABLE report_words (object_id BIGINT PRIMARY KEY REFERENCES sop_instance (id) ON DELETE CASCADE, "
            "words TSVECTOR NOT NULL)"
        )
    )
    connection.execute(sa.text("CREATE INDEX ix_report_words_words ON report_words USING gin (words)"))


def index_texts(connection: Connection, texts: Mapping[int, str]) -> None:
    """Let the words of `texts` be those by which their objects are found.

    Parameters
    ----------
    texts
        Object -> narrative.
    """
    index_words(connection, {object_id: " ".join(indexed_words(clean(text))) for object_id, text in texts.items()})


def index_words(connection: Connection, words: Mapping[int, str]) -> None:
    """As `index_texts`, of words that `words.indexed_words` has cut, with a blank between."""
    if not words:
        return
    if connection.dialect.name == "sqlite":
        driver(connection).executemany(
            "INSERT OR REPLACE INTO report_words (rowid, words) VALUES (?, ?)", list(words.items())
        )
        return
    for batch in batches(words):
        connection.execute(sa.delete(_WORDS).where(_WORDS.c.object_id.in_(batch)))
    copy(
        connection,
        "report_words",
        ("object_id", "words"),
        ((object_id, tsvector(found.split(" ") if found else [])) for object_id, found in words.items()),
    )


def with_words(
    connection: Connection, query: str
) -> tuple[sa.FromClause, sa.ColumnElement[int], sa.ColumnElement[bool]]:
    """Where the objects are found whose narrative has all words and phrases of `query`, which must have one.

    Returns
    -------
    tuple
        The table, its column of objects, and the condition.
    """
    if connection.dialect.name == "sqlite":
        table = sa.table("report_words", sa.column("rowid", sa.Integer))
        return (
            table,
            table.c.rowid,
            sa.literal_column("report_words").op("MATCH", return_type=sa.Boolean())(fts5_query(query)),
        )
    words = _WORDS.c.words.op("@@", return_type=sa.Boolean())(sa.cast(tsquery(query), TSQUERY))
    return _WORDS, _WORDS.c.object_id, words
