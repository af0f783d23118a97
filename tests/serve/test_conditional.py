"""Entity tags and gzip: what is sent again, what isn't, and in which form."""

import gzip
import json

import pytest
from starlette.requests import Request

from dicomnlp.serve.conditional import MINIMUM_GZIP_BYTES, answer, answer_bytes

LARGE = {"text": "nodule " * MINIMUM_GZIP_BYTES}


def asked(**headers):
    """A request with these header fields."""
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": fields})


@pytest.mark.parametrize(
    ("accept_encoding", "is_packed"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("deflate, gzip;q=0.5", True),
        ("br;q=1.0, *;q=0.1", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("gzipped", False),
    ],
)
def test_large_answers_are_packed_for_who_takes_that(accept_encoding, is_packed):
    """By the coding's quality; either way they are the same document."""
    response = answer(asked(accept_encoding=accept_encoding), LARGE)
    assert response.headers["vary"] == "Accept-Encoding"
    assert ("content-encoding" in response.headers) is is_packed
    body = gzip.decompress(response.body) if is_packed else response.body
    assert json.loads(body) == LARGE
    assert int(response.headers["content-length"]) == len(response.body)


def test_small_answers_and_pages_are_never_packed():
    """What fits a packet; and HTML, beside whose secrets stands what a request says."""
    assert "content-encoding" not in answer(asked(accept_encoding="gzip"), {"a": 1}).headers
    page = answer_bytes(asked(accept_encoding="gzip"), b"x" * 100000, "text/html")
    assert "content-encoding" not in page.headers


def test_packed_and_plain_answers_have_tags_of_their_own_and_either_is_known():
    """A strong tag is of the bytes (RFC 9110 8.8.3.3)."""
    plain = answer(asked(), LARGE).headers["etag"]
    packed = answer(asked(accept_encoding="gzip"), LARGE).headers["etag"]
    assert plain != packed
    for tag in (plain, packed, f'W/{plain}, "other"'):
        again = answer(asked(if_none_match=tag), LARGE)
        assert (again.status_code, again.body) == (304, b"")
        assert again.headers["etag"] in tag
    assert answer(asked(if_none_match="*"), LARGE).status_code == 304
    assert answer(asked(if_none_match='"other"'), LARGE).status_code == 200
    assert answer(asked(if_none_match=plain), {"other": 1}).status_code == 200
