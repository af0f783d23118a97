"""Every error is a problem document that repeats nothing, and every response carries the security headers."""

import pytest
import structlog

from dicomnlp.config import Settings, WebSettings
from dicomnlp.errors import DatabaseError, DicomnlpError, UsageError
from dicomnlp.serve import gate, problems

CANARY = "Quetzalcoatlus"
KEYS = {"type", "title", "status", "detail", "reason_code"}


def assert_problem(response, status, reason_code):
    """`response` is a whole problem document of that kind."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert set(document) >= KEYS
    assert (document["status"], document["reason_code"]) == (status, reason_code)
    assert document["type"] == f"/docs#{reason_code}"


@pytest.mark.parametrize("path", ["/nothing", "/api/v1", "/healthz/", "/docs/../etc", "/api/v2/status", f"/{CANARY}"])
def test_unknown_path_is_a_problem(empty_client, path):
    """Also a known one with a slash too many: there are no redirects, which would repeat the Host header."""
    response = empty_client.get(path)
    assert_problem(response, 404, "no_such_path")
    assert CANARY not in response.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", CANARY.upper()])
def test_other_methods_are_a_problem_that_names_those_taken(empty_client, method):
    """405 with Allow."""
    response = empty_client.request(method, "/healthz")
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "GET, HEAD"
    assert CANARY.upper() not in response.text


@pytest.mark.parametrize(
    ("error", "reason_code"),
    [
        (DatabaseError(CANARY, reason_code="database_missing"), "database_missing"),
        (DatabaseError(CANARY, reason_code="database_outdated"), "database_outdated"),
        (DatabaseError(CANARY, reason_code="database_unreachable"), "database_unreachable"),
        (DatabaseError(CANARY, reason_code="database_locked"), "database_locked"),
        # a reason that has no words of its own here
        (DatabaseError(CANARY, reason_code="database_conflict"), "database_failed"),
        (DatabaseError(CANARY), "database_failed"),
    ],
)
def test_database_that_fails_is_503_with_when_to_come_again(make_client, error, reason_code):
    """Without the error's own message, which may name files and servers."""

    def open_database():
        raise error

    client = make_client(open_database)
    for path in ("/api/v1/studies/1.2.3/findings", "/api/v1/reports/1.2.3", "/api/v1/status"):
        response = client.get(path)
        assert_problem(response, 503, reason_code)
        assert int(response.headers["retry-after"]) > 0
        assert CANARY not in response.text


@pytest.mark.parametrize("error", [RuntimeError(CANARY), KeyError(CANARY), DicomnlpError(CANARY), UsageError(CANARY)])
def test_unforeseen_exception_is_500_without_its_message(make_client, error):
    """Neither in the answer nor in the log, which has its place."""

    def open_database():
        raise error

    with structlog.testing.capture_logs() as entries:
        response = make_client(open_database).get("/api/v1/studies/1.2.3/findings")
    assert_problem(response, 500, "internal_error")
    assert CANARY not in response.text
    assert CANARY not in str(entries)
    failed, request = entries
    assert failed["event"] == "request_failed"
    assert failed["route"] == request["route"] == "/api/v1/studies/{study_instance_uid}/findings"
    assert "test_problems.py" in failed["place"]
    assert request["status"] == 500


def test_database_is_opened_again_after_it_failed(make_client, archive, monkeypatch):
    """Answers come back by themselves; in between, requests fail at once rather than each by its own time-out."""
    monkeypatch.setattr("dicomnlp.serve.connection.PAUSE_SECONDS", 60.0)
    archive.add()
    tries = []

    def open_database():
        tries.append(len(tries))
        if len(tries) == 1:
            raise DatabaseError("away", reason_code="database_unreachable")
        return archive.database

    client = make_client(open_database)
    path = f"/api/v1/studies/{archive.study}/findings"
    assert [client.get(path).status_code for _ in range(3)] == [503, 503, 503]
    assert len(tries) == 1
    monkeypatch.setattr("dicomnlp.serve.connection.time.monotonic", lambda: float("inf"))
    assert client.get(path).status_code == 200
    assert client.get(path).status_code == 200
    assert len(tries) == 2


@pytest.mark.parametrize(
    ("headers", "status", "reason_code"),
    [
        ({"Content-Length": str(gate.MAXIMUM_BODY_BYTES + 1)}, 413, "body_too_large"),
        ({"Content-Length": str(4 << 30)}, 413, "body_too_large"),
        ({"Transfer-Encoding": "chunked"}, 411, "length_required"),
    ],
)
def test_bodies_are_refused_before_they_are_read(empty_client, headers, status, reason_code):
    """And the connection ends, so that nobody goes on sending one."""
    response = empty_client.get("/healthz", headers=headers)
    assert_problem(response, status, reason_code)
    assert response.headers["connection"] == "close"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8080", "localhost:9", "LOCALHOST", "[::1]:8080", "127.9.9.9"])
def test_loopback_names_are_answered(empty_client, host):
    """Whatever the port."""
    assert empty_client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "[::1", "user@evil.example", "10.0.0.1"]
)
def test_foreign_host_is_not_answered_on_loopback(empty_client, host):
    """DNS rebinding: a stranger's name that points here must not read findings through a browser on this machine."""
    response = empty_client.get("/healthz", headers={"Host": host})
    assert_problem(response, 421, "host_not_served")
    assert "evil" not in response.text


def test_any_host_is_answered_where_others_may_reach_the_service(make_client, archive):
    """By which names it is known there is not ours to know."""
    settings = Settings(web=WebSettings(host="0.0.0.0", authentication="on", allow_remote=True))
    client = make_client(lambda: archive.database, settings)
    assert client.get("/healthz", headers={"Host": "findings.hospital.example"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/docs"),
        ("GET", "/style.css"),
        ("GET", "/openapi.json"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
        ("GET", "/api/v1/status"),
        ("GET", "/api/v1/studies/1.2.3/findings"),
        ("GET", "/nothing"),
        ("POST", "/healthz"),
        ("GET", "/healthz?x=1"),
    ],
)
def test_security_headers_are_on_every_response(empty_client, method, path):
    """Errors too; and nothing tells what program answers."""
    headers = empty_client.request(method, path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "cache-control" in headers
    assert "server" not in headers


def test_log_has_route_status_and_time_and_nothing_that_was_asked(client, archive):
    """A template, not a path; no query."""
    archive.add()
    with structlog.testing.capture_logs() as entries:
        client.get(f"/api/v1/studies/{archive.study}/findings?assertion=present")
        client.get(f"/{CANARY}?{CANARY}={CANARY}", headers={"User-Agent": CANARY})
    assert [set(e) for e in entries] == [{"event", "route", "status", "seconds", "log_level"}] * 2
    assert [(e["route"], e["status"]) for e in entries] == [
        ("/api/v1/studies/{study_instance_uid}/findings", 200),
        ("unmatched", 404),
    ]
    assert CANARY not in str(entries)
    assert archive.study not in str(entries)


def test_every_kind_of_problem_has_words():
    """A title, an advice, and an error status."""
    for kind in problems.KINDS.values():
        assert kind.title
        assert kind.advice
        assert kind.status >= 400


@pytest.mark.parametrize(
    ("path", "media_type", "begins"),
    [
        ("/status", "text/html", "<!DOCTYPE html>"),
        ("/api/v1/status", problems.MEDIA_TYPE, '{"type"'),
        ("/fhir/Observation", "application/fhir+json", '{"resourceType": "OperationOutcome"'),
    ],
)
def test_unforeseen_exception_is_told_in_the_form_that_was_asked_for(make_client, path, media_type, begins):
    """A page to a browser, an outcome below /fhir, a problem document to other programs."""

    def open_database():
        raise RuntimeError(CANARY)

    response = make_client(open_database).get(path, headers={"Accept": "text/html, */*"})
    assert response.status_code == 500
    assert response.headers["content-type"].partition(";")[0] == media_type
    assert response.text.startswith(begins)
    assert CANARY not in response.text


def test_page_of_a_failure_that_fails_too_is_a_problem_document(make_client, monkeypatch):
    """Whatever is broken, there is an answer."""

    def open_database():
        raise RuntimeError(CANARY)

    client = make_client(open_database)
    monkeypatch.setattr("dicomnlp.serve.error_pages.render", lambda *_, **__: 1 / 0)
    assert_problem(client.get("/status", headers={"Accept": "text/html"}), 500, "internal_error")
