"""What isn't HTTP, or too slow, on a bare connection to the real server."""

import json
import socket
import time

import httpx
import pytest
from support.web_server import run_server

from dicomnlp.serve import protocol, web


@pytest.fixture(scope="module")
def address(empty_file):
    """Of a service with an empty database."""
    from dicomnlp.config import DatabaseSettings, Settings

    with run_server(Settings(database=DatabaseSettings(url=f"sqlite:///{empty_file}"))) as address:
        yield address


def connect(address):
    """A bare connection."""
    host, _, port = address.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=15)


def read(connection):
    """Status, header and document of the answer; the connection has to end after it."""
    answer = b""
    while part := connection.recv(65536):
        answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.lower(), json.loads(body)


@pytest.mark.parametrize(
    ("sent", "status", "reason_code"),
    [
        (b"nonsense\r\n\r\n", 400, "malformed_request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "malformed_request"),  # no Host
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "malformed_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400, "malformed_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "malformed_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"z" * web.MAXIMUM_HEADER_BYTES, 431, "header_too_large"),
        (b"GET /" + b"z" * web.MAXIMUM_HEADER_BYTES, 431, "header_too_large"),
    ],
)
def test_what_is_not_http_is_a_problem_document(address, sent, status, reason_code):
    """With the security headers of every other answer, nothing of what was sent, and the end of the connection."""
    with connect(address) as connection:
        connection.sendall(sent)
        found, head, document = read(connection)
    assert (found, document["status"], document["reason_code"]) == (status, status, reason_code)
    assert b"content-type: application/problem+json" in head
    assert b"content-security-policy: default-src 'self'" in head
    assert b"connection: close" in head
    assert "zzz" not in json.dumps(document)


def post_slowly(address, pieces, pause):
    """Send a STOW-RS body in pieces, with pauses; whether the service heard it to its end."""
    head = (
        "POST /dicom-web/studies HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: multipart/related; boundary=part\r\nContent-Length: {sum(map(len, pieces))}\r\n\r\n"
    )
    with connect(address) as connection:
        connection.sendall(head.encode())
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
            answer = connection.recv(65536)
        except OSError:
            return False
    return answer.startswith(b"HTTP/1.1 ")


def test_large_body_has_time_as_long_as_it_comes_on(address, monkeypatch):
    """Longer than a request has, at more than the least rate; below that the connection is closed."""
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(protocol, "MINIMUM_BYTES", 1000)
    begin = b"--part\r\nContent-Type: application/dicom\r\n\r\n"
    end = b"\r\n--part--\r\n"
    assert post_slowly(address, [begin, *[b"x" * 1000] * 12, end], 0.1)
    assert not post_slowly(address, [begin, *[b"x" * 10] * 12, end], 0.1)
    assert httpx.get(f"{address}/healthz").status_code == 200
