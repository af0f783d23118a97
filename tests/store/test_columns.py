"""What a database can't hold is replaced one for one, in texts and in JSON alike."""

import datetime as dt
import json

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql, sqlite

from dicomnlp.store.columns import Json, UTCDateTime, clean

ANY_TEXT = st.text(st.characters(codec=None) | st.sampled_from('\x00\ud800\\u0"'))


@given(ANY_TEXT)
def test_clean_keeps_the_length(text):
    """So that offsets stay true; the result can be encoded and holds no NUL."""
    cleaned = clean(text)
    assert len(cleaned) == len(text)
    assert b"\x00" not in cleaned.encode()
    assert clean(cleaned) == cleaned


@given(ANY_TEXT)
def test_json_agrees_with_text(text):
    """A string within JSON comes back as the same string in a text column does."""
    column = Json()
    dialect = postgresql.dialect()
    written = column.process_bind_param({"k": [text], text: 1}, dialect)
    assert column.process_result_value(written, dialect)["k"] == [clean(text)]
    assert set(json.loads(written)) == {"k", clean(text)}


@pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.dialect()], ids=["sqlite", "postgresql"])
def test_time_without_zone_is_refused(dialect):
    """It could be of any clock."""
    with pytest.raises(ValueError, match="zone"):
        UTCDateTime().process_bind_param(dt.datetime(2026, 1, 1), dialect)  # noqa: DTZ001


def test_times_come_back_aware_and_equal(database):
    """Whatever zone they were given in, down to the microsecond, and compare right in SQL."""
    zone = dt.timezone(dt.timedelta(hours=5, minutes=30))
    moment = dt.datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=zone)
    with database.read() as connection:
        back = connection.scalar(sa.select(sa.literal(moment, UTCDateTime)))
        later = sa.literal(moment.astimezone(dt.UTC) + dt.timedelta(microseconds=1), UTCDateTime)
        assert connection.scalar(sa.select(sa.literal(moment, UTCDateTime) < later))
    assert back == moment
    assert back.tzinfo is dt.UTC
