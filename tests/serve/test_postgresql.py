"""The same answers on a real PostgreSQL, and what happens while it is away."""

import psutil
import pytest

from dicomnlp.config import DatabaseSettings, Settings
from dicomnlp.store.admin import upgrade
from dicomnlp.store.database import Database


@pytest.fixture
def database_name(postgres):
    """An empty database."""
    name = postgres.create_database()
    yield name
    postgres.drop_database(name)


@pytest.fixture
def settings(postgres, database_name, tmp_path):
    """Settings of that database, with short waits."""
    return Settings(
        database=DatabaseSettings(
            url=postgres.url(database_name), large_object_directory=tmp_path / "objects", lock_timeout_seconds=2.0
        )
    )


@pytest.fixture
def database(settings):
    """It with the current schema, open."""
    upgrade(settings)
    database = Database.open(settings)
    yield database
    database.close()


def test_findings_reports_status_and_metrics_are_the_same(client, archive):
    """One study through every route that reads the database."""
    archive.add()
    findings = client.get(f"/api/v1/studies/{archive.study}/findings?assertion=absent").json()["findings"]
    assert [(f["text"], f["is_negated"]) for f in findings] == [("effusion", True)]
    (report,) = client.get(f"/api/v1/studies/{archive.study}/reports").json()["reports"]
    assert report == client.get(f"/api/v1/reports/{archive.instance}").json()["reports"][0]
    assert client.get("/api/v1/status").json()["objects"]["analysed"] == 1
    assert 'dicomnlp_objects{state="analysed"} 1.0' in client.get("/metrics").text
    assert client.get("/api/v1/studies/1.2.3/findings").status_code == 404


def test_dispatcher_is_seen_by_its_advisory_lock(client, database, monkeypatch):
    """Red, green, red."""
    monkeypatch.setattr("dicomnlp.serve.readiness.KEEP_SECONDS", -1.0)
    assert client.get("/readyz").json()["checks"] == {"database": "ok", "dispatcher": "not_running", "intake": "ok"}
    with database.hold("dispatcher"):
        assert client.get("/readyz").status_code == 200
    assert client.get("/readyz").status_code == 503


def test_answers_come_back_when_the_database_does(client, archive, postgres, database_name, monkeypatch):
    """A server that refuses connections and cuts those it had: 503, and 200 once it admits them again."""
    monkeypatch.setattr("dicomnlp.serve.readiness.KEEP_SECONDS", -1.0)
    archive.add()
    path = f"/api/v1/studies/{archive.study}/findings"
    assert client.get(path).status_code == 200
    with postgres.connect() as connection:
        connection.execute(f"ALTER DATABASE {database_name} ALLOW_CONNECTIONS false")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database_name])
        away = client.get(path)
        assert (away.status_code, away.headers["content-type"]) == (503, "application/problem+json")
        assert away.json()["reason_code"].startswith("database_")
        assert database_name not in away.text
        assert client.get("/readyz").json()["checks"]["dispatcher"] == "unknown"
        assert "dicomnlp_database_up 0.0" in client.get("/metrics").text
        assert client.get("/healthz").status_code == 200
        connection.execute(f"ALTER DATABASE {database_name} ALLOW_CONNECTIONS true")
    assert client.get(path).status_code == 200


def test_suspended_server_is_answered_503_and_asked_again(client, archive, postgres, monkeypatch):
    """It answers nothing, and keeps its connections: requests must not hang with it."""
    path = f"/api/v1/studies/{archive.study}/findings"
    archive.add()
    assert client.get(path).status_code == 200
    archive.database.limit_waits(1.0)
    server = psutil.Process(postgres.process.pid)
    family = [server, *server.children(recursive=True)]
    for process in family:
        process.suspend()
    try:
        away = client.get(path)
    finally:
        for process in family:
            process.resume()
    assert (away.status_code, away.json()["reason_code"]) == (503, "database_unreachable")
    assert client.get(path).status_code == 200
