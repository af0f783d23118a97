"""The words of the reports that are read now, as each database indexes them; `words` says what a word is.

SQLite has them in an FTS5 table, PostgreSQL in a tsvector under a GIN index: the one table that the two don't share, so
that it is not among those of `schema`.
"""

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicomnlp.store.columns import clean
from dicomnlp.store.words import fts5_query, tsquery, words_of

TABLE = "report_words"
_MAXIMUM_WORDS = 200_000
"""PostgreSQL takes a megabyte of them at most; a report has some hundred."""


def create(connection: Connection) -> None:
    """Make the table; of the migrations."""
    if connection.dialect.name == "sqlite":
        # all columns of a token's place are needed for phrases; the text itself is not: what is found is an object
        connection.execute(sa.text(f"CREATE VIRTUAL TABLE {TABLE} USING fts5(words, tokenize='ascii')"))
        return
    connection.execute(
        sa.text(
            f"CREATE TABLE {TABLE} (object_id BIGINT PRIMARY KEY REFERENCES sop_instance (id) ON DELETE CASCADE, "
            "words TSVECTOR NOT NULL)"
        )
    )
    connection.execute(sa.text(f"CREATE INDEX ix_{TABLE}_words ON {TABLE} USING gin (words)"))


def index_texts(connection: Connection, texts: Mapping[int, str]) -> None:
    """Let the words of `texts` be those by which their objects are found.

    Parameters
    ----------
    texts
        Object -> narrative.
    """
    rows = [
        {"object_id": object_id, "words": " ".join(words_of(clean(text))[:_MAXIMUM_WORDS])}
        for object_id, text in texts.items()
    ]
    drop_texts(connection, texts.keys())
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        connection.execute(sa.text(f"INSERT INTO {TABLE} (rowid, words) VALUES (:object_id, :words)"), rows)
    else:
        connection.execute(
            sa.text(f"INSERT INTO {TABLE} (object_id, words) VALUES (:object_id, to_tsvector('simple', :words))"), rows
        )


def drop_texts(connection: Connection, object_ids: Collection[int]) -> None:
    """Let nothing be found of these objects."""
    if object_ids:
        key = "rowid" if connection.dialect.name == "sqlite" else "object_id"
        connection.execute(sa.text(f"DELETE FROM {TABLE} WHERE {key} = :id"), [{"id": i} for i in object_ids])


def objects_with(connection: Connection, query: str) -> sa.Select[Any]:
    """The ids of the objects whose narrative has all words and phrases of `query`."""
    if connection.dialect.name == "sqlite":
        chosen = sa.text(f"SELECT rowid FROM {TABLE} WHERE words MATCH :words").bindparams(words=fts5_query(query))
    else:
        chosen = sa.text(f"SELECT object_id FROM {TABLE} WHERE words @@ to_tsquery('simple', :words)").bindparams(
            words=tsquery(query)
        )
    found = chosen.columns(sa.column("object_id", sa.BigInteger)).subquery()
    return sa.select(found.c.object_id)
