"""Column types that mean the same on SQLite and PostgreSQL."""

import datetime as dt
import json
import re
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, Text
from sqlalchemy.types import TypeDecorator

REPLACEMENT = "\ufffd"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# NUL in JSON is the escape \u0000 after an even number of backslashes; after an odd one it is somebody's own text
_ESCAPED_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")

RowId = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows by itself only in a column of type INTEGER."""

Bytes = BigInteger().with_variant(Integer(), "sqlite")
"""A size that may be above two gigabytes; SQLite's integers are as wide as they need be."""


def clean(text: str) -> str:
    """`text` with U+FFFD for each NUL (PostgreSQL refuses it) and each lone surrogate (UTF-8 has none).

    One character for one, so that offsets into a text stay true.
    """
    # nearly all of it is plain, and Python knows that without looking
    if text.isascii() and "\x00" not in text:
        return text
    return _UNSTORABLE.sub(REPLACEMENT, text)


_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def json_text(value: Any) -> str | None:
    """A JSON value as the text that is stored, with the same replacements as `clean`; None for None."""
    if value is None:
        return None
    if value == []:  # most lists of a finding are
        return "[]"
    text = _JSON.encode(value)
    if "\\u0000" in text:
        text = _ESCAPED_NUL.sub(rf"\1{REPLACEMENT}", text)
    return clean(text)


class CleanText(TypeDecorator[str]):
    """Text of any origin; what a database can't hold is replaced, see `clean`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Before writing, and before comparing."""
        # str(): the drivers would take an enumeration for its name
        return None if value is None else clean(str(value))


class Json(TypeDecorator[Any]):
    """A JSON value as text, with the same replacements as `CleanText` so that offsets agree between the two."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Before writing; None is NULL."""
        return json_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002
        """After reading."""
        # most of it is empty, and this is read for every finding
        return None if value is None else [] if value == "[]" else json.loads(value)


class UTCDateTime(TypeDecorator[dt.datetime]):
    """A moment: aware on both sides, UTC in the database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """Before writing; a naive time is a mistake of the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without zone can't be stored")
        value = value.astimezone(dt.UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """After reading."""
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if dialect.name == "sqlite" else value.astimezone(dt.UTC)
